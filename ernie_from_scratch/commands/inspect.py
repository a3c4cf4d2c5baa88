"""`ernie inspect`."""

HELP = """Show what is in a prepared corpus, and warn of what will hurt training

Examples:
  ernie inspect corpus/news
  ernie inspect corpus/news --vocab vocab.txt --samples 10 --verify
"""


def add_arguments(parser):
    parser.add_argument("prefix", metavar="PREFIX", help="of PREFIX_ids.npy and PREFIX_idx.npz")
    parser.add_argument(
        "--vocab", metavar="FILE", help="the vocabulary; by default the one it was prepared with"
    )
    parser.add_argument(
        "--samples", type=int, default=5, metavar="N", help="sentences and masked rows to show"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which samples")
    parser.add_argument("--verify", action="store_true", help="also compare the checksums of all files")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args):
    import dataclasses
    import json

    from rich.console import Console

    from ernie_from_scratch.diagnostics import inspect, inspect_view
    from ernie_from_scratch.text.corpus.prepared import open_prepared

    vocabulary = inspect.vocabulary_of(args.prefix, args.vocab)
    corpus = open_prepared(args.prefix, vocabulary, verify=args.verify)
    found = inspect.inspect_corpus(args.prefix, vocabulary)
    if args.json:
        print(json.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=2))
    else:
        inspect_view.show(found, corpus, vocabulary, max(0, args.samples), args.seed, Console())
