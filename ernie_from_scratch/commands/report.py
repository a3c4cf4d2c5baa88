"""`ernie report`."""

HELP = """Draw training runs into one HTML page: loss, learning rate, gradient norm, closing figures.

examples:
  ernie report runs/demo/pretrain_entity runs/demo/pretrain_char --output runs/compare.html
"""


def add_arguments(parser):
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or metrics.jsonl files")
    parser.add_argument(
        "--output", default=None, metavar="FILE.html", help="default: report.html in the first run"
    )


def run(args):
    from ernie_from_scratch.diagnostics.report import runs_report

    print(runs_report(args.runs, args.output))
