"""`ernie pretrain`."""

from ernie_from_scratch.commands.arguments import add_settings, convert, read_settings
from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.settings import PretrainSettings

HELP = """Pretrain an ERNIE on a prepared corpus; the same command continues a run that was stopped.

examples:
  ernie prepare --input corpus.txt --output data/corpus --vocab vocab.txt
  ernie pretrain --input_dir data/corpus --output_dir runs/first --config_name tiny --max_seq_len 128 --max_steps 2000
  ernie pretrain --config runs/first/config.yaml --output_dir runs/second --masking entity
  ernie pretrain --config runs/first/config.yaml --dry_run
"""


def add_arguments(parser):
    add_settings(parser, PretrainSettings)
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
    try:
        only_show = convert(args.dry_run, bool)
    except ValueError as expected:
        raise UserError(f"wrong value: --dry_run is {args.dry_run!r}; give {expected}") from None
    if only_show:
        from ernie_from_scratch.training.dry_run import dry_run

        for line in dry_run(settings):
            print(line)
        return
    from ernie_from_scratch.training.loop import pretrain

    pretrain(settings)
