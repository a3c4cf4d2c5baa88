"""`ernie pretrain`."""

from ernie_from_scratch.config import UserError
from ernie_from_scratch.parallel.launch import LaunchSettings, launched_processes
from ernie_from_scratch.training.settings import PretrainSettings
from ernie_from_scratch.utils.command_line import add_settings, read_settings
from ernie_from_scratch.utils.settings import convert

HELP = """Pretrain an ERNIE on a prepared corpus; the same command continues a run that was stopped.

examples:
  ernie prepare --input corpus.txt --output data/corpus --vocab vocab.txt
  ernie pretrain --input_dir data/corpus --output_dir runs/first --config_name tiny --max_seq_len 128 --max_steps 2000
  ernie pretrain --config runs/first/config.yaml --output_dir runs/second --masking entity
  ernie pretrain --config runs/first/config.yaml --dry_run
  ernie pretrain --config runs/first/config.yaml --output_dir runs/third --nproc 2
  ernie pretrain --config runs/first/config.yaml --output_dir runs/fourth --gpus 0,1,2,3
"""


def add_arguments(parser):
    add_settings(parser, PretrainSettings)
    several = parser.add_argument_group("several processes")
    add_settings(several, LaunchSettings, file=False)
    parser.add_argument(
        "--dry_run",
        nargs="?",
        const="true",
        default="false",
        metavar="true|false",
        help="show model size, tokens per step, memory, schedule and the first sample of each split, and stop",
    )


def run(args):
    settings = read_settings(PretrainSettings, args)
    several = read_settings(LaunchSettings, args, file=False).check()
    try:
        only_show = convert(args.dry_run, bool)
    except ValueError as expected:
        raise UserError(f"wrong value: --dry_run is {args.dry_run!r}; give {expected}") from None
    processes = several.processes if launched_processes() == 1 else None
    if only_show:
        from ernie_from_scratch.training.dry_run import dry_run

        for line in dry_run(settings, processes):
            print(line)
    elif processes:
        from ernie_from_scratch.training.launched import run_launched
        from ernie_from_scratch.training.pretrain import corpus_prefixes

        run_launched("pretrain", settings, several, check=lambda: corpus_prefixes(settings.input_dir))
    else:
        from ernie_from_scratch.training.pretrain import pretrain

        pretrain(settings)
