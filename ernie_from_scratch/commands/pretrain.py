"""`ernie pretrain`."""

from dataclasses import dataclass

from ernie_from_scratch.parallel.launch import LaunchSettings, launched_processes
from ernie_from_scratch.training.settings import PretrainSettings
from ernie_from_scratch.utils.settings import Settings, option

HELP = """Pretrain an ERNIE on a prepared corpus; the same command continues a run that was stopped.

examples:
  ernie prepare --input corpus.txt --output data/corpus --vocab vocab.txt
  ernie pretrain --input_dir data/corpus --output_dir runs/first --config_name tiny --max_seq_len 128 --max_steps 2000
  ernie pretrain --config runs/first/config.yaml --output_dir runs/second --masking entity
  ernie pretrain --config runs/first/config.yaml --dry_run
  ernie pretrain --config runs/first/config.yaml --output_dir runs/third --nproc 2
  ernie pretrain --config runs/first/config.yaml --output_dir runs/fourth --gpus 0,1,2,3
"""


@dataclass
class DryRunSettings(Settings):
    """Whether a run is only described."""

    dry_run: bool = option(
        False,
        "show model size, tokens per step, memory, schedule and the first sample of each split, and stop",
    )


SETTINGS = (PretrainSettings, LaunchSettings, DryRunSettings)


def run(settings: PretrainSettings, launch: LaunchSettings, mode: DryRunSettings) -> None:
    processes = launch.check().processes if launched_processes() == 1 else None
    if mode.check().dry_run:
        from ernie_from_scratch.training.dry_run import dry_run

        for line in dry_run(settings, processes):
            print(line)
    elif processes:
        from ernie_from_scratch.training.launched import run_launched
        from ernie_from_scratch.training.pretrain import corpus_prefixes

        run_launched("pretrain", settings, launch, check=lambda: corpus_prefixes(settings.input_dir))
    else:
        from ernie_from_scratch.training.pretrain import pretrain

        pretrain(settings)
