"""`ernie pretrain`."""

from ernie_from_scratch.commands.arguments import add_settings, read_settings
from ernie_from_scratch.training.settings import PretrainSettings

HELP = """Pretrain an ERNIE on a prepared corpus; the same command continues a run that was stopped.

examples:
  ernie prepare --input corpus.txt --output data/corpus --vocab vocab.txt
  ernie pretrain --input_dir data/corpus --output_dir runs/first --config_name tiny --max_seq_len 128 --max_steps 2000
  ernie pretrain --config runs/first/config.yaml --output_dir runs/second --masking entity
"""


def add_arguments(parser):
    add_settings(parser, PretrainSettings)


def run(args):
    settings = read_settings(PretrainSettings, args)
    from ernie_from_scratch.training.loop import pretrain

    pretrain(settings)
