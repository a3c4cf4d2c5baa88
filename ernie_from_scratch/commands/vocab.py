"""`ernie vocab`."""

HELP = """Build a vocabulary from text the ERNIE way

Special tokens first, then every Han character that is frequent enough, punctuation and symbols, the ## forms
of the Han characters, and WordPiece pieces of everything written with letters and digits.

Example:
  ernie vocab --input texts/ --size 18000 --output vocab.txt
"""


def add_arguments(parser):
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, folders, or -")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the vocabulary to write, one token per line"
    )
    parser.add_argument("--size", type=int, default=18000, metavar="N", help="most tokens (default: 18000)")
    parser.add_argument(
        "--min_count", type=int, default=2, metavar="N", help="rarer characters are left out (default: 2)"
    )
    parser.add_argument(
        "--format",
        default="auto",
        metavar="FORMAT",
        help="auto (by the file's name), txt or jsonl (default: auto)",
    )
    parser.add_argument(
        "--json_key", default="text", metavar="KEY", help="of the text in .jsonl (default: text)"
    )
    parser.add_argument("--keep_case", action="store_true", help="no lower case, accents stay")


def run(args):
    from ernie_from_scratch.text.corpus.reading import read_texts
    from ernie_from_scratch.text.tokenizers.vocabulary import build_vocabulary

    texts = read_texts(args.input, args.format, args.json_key)
    vocabulary = build_vocabulary(texts, args.size, args.min_count, do_lower_case=not args.keep_case)
    print(f"{len(vocabulary)} tokens in {vocabulary.save(args.output)}")
