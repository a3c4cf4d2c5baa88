"""`ernie replay`."""

HELP = """Compute a step again whose loss or gradient was not finite, and show where that began.

example:
  ernie replay runs/first/bad_step_812
"""


def add_arguments(parser):
    parser.add_argument(
        "folder", metavar="RUN/bad_step_N", help="what `ernie pretrain` has saved when it stopped"
    )


def run(args):
    from ernie_from_scratch.diagnostics.replay import describe, replay

    for line in describe(replay(args.folder)):
        print(line)
