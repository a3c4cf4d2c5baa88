"""`ernie prepare`."""

HELP = """Turn raw text into token ids with word, phrase and entity boundaries

Reads .txt (blank lines between documents), .jsonl ({"text": "…"} per line), .gz, .xz and .zst of them,
folders, and - for standard input. Writes PREFIX_ids.npy and PREFIX_idx.npz, as PaddleNLP's ernie-1.0 tools do,
and PREFIX_spans.npy and PREFIX_meta.json beside them. A run that was stopped goes on where it was.

Examples:
  ernie prepare --input news.txt --output corpus/news --vocab vocab.txt
  ernie prepare --input texts/ more.jsonl.gz --output corpus/all --vocab vocab.txt --workers 8 --shuffle
  zcat big.txt.gz | ernie prepare --input - --output corpus/big --vocab ernie-1.0-base-zh
"""


def add_arguments(parser):
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, folders, or -")
    parser.add_argument("--output", required=True, metavar="PREFIX", help="of the files to write")
    parser.add_argument(
        "--vocab",
        required=True,
        metavar="FILE_OR_NAME",
        help="vocabulary: a file, a folder with vocab.txt, or a published model",
    )
    parser.add_argument(
        "--segmenter",
        default="builtin",
        metavar="NAME",
        help="builtin, jieba, rjieba, lac (finds entities) or none (default: builtin)",
    )
    parser.add_argument(
        "--user_dict",
        metavar="FILE",
        help="own words: word [frequency] [PER|LOC|ORG|TIME|WORK|OTHER] per line",
    )
    parser.add_argument(
        "--lac_model",
        metavar="FOLDER",
        help="folder lac_model of the LAC package; by default the installed one",
    )
    parser.add_argument(
        "--word_marks",
        default="position",
        metavar="RULE",
        help="position (exact) or paddlenlp (its ids, to the token) (default: position)",
    )
    parser.add_argument(
        "--split_sentences",
        default="punctuation",
        metavar="RULE",
        help="punctuation (。！？；… and newlines) or newline (default: punctuation)",
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
    parser.add_argument(
        "--min_document_length",
        type=int,
        default=10,
        metavar="N",
        help="characters; shorter documents are dropped (default: 10)",
    )
    parser.add_argument(
        "--max_sentence_length",
        type=int,
        default=512,
        metavar="N",
        help="tokens; longer sentences are split (default: 512)",
    )
    parser.add_argument("--keep_case", action="store_true", help="no lower case, accents stay")
    parser.add_argument(
        "--workers",
        type=int,
        default=cores,
        metavar="N",
        help=f"processes (default: {cores}, the cores of this machine)",
    )
    parser.add_argument("--shuffle", action="store_true", help="documents in a random order")
    parser.add_argument(
        "--seed", type=int, default=1234, metavar="N", help="of the random order (default: 1234)"
    )


def run(args):
    from ernie_from_scratch.text.corpus.prepare import prepare, summary

    same = ("segmenter", "user_dict", "lac_model", "word_marks", "split_sentences", "format", "json_key")
    lengths = ("min_document_length", "max_sentence_length")
    meta = prepare(
        args.input,
        args.output,
        args.vocab,
        workers=args.workers,
        shuffle=args.shuffle,
        seed=args.seed,
        do_lower_case=not args.keep_case,
        **{name: getattr(args, name) for name in same + lengths},
    )
    print(summary(meta, args.output))
