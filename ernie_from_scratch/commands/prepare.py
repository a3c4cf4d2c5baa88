"""`ernie prepare`."""

from ernie_from_scratch.text.settings import PreparationSettings, PrepareSettings

HELP = """Turn raw text into token ids with word, phrase and entity boundaries

Reads .txt (blank lines between documents), .jsonl ({"text": "…"} per line), .gz, .xz and .zst of them,
folders, and - for standard input. Writes PREFIX_ids.npy and PREFIX_idx.npz, as PaddleNLP's ernie-1.0 tools do,
and PREFIX_spans.npy and PREFIX_meta.json beside them. An interrupted run resumes where it stopped.

Examples:
  ernie prepare --input news.txt --output corpus/news --vocab vocab.txt
  ernie prepare --input texts/ more.jsonl.gz --output corpus/all --vocab vocab.txt --workers 8 --shuffle
  zcat big.txt.gz | ernie prepare --input - --output corpus/big --vocab ernie-1.0-base-zh
"""

SETTINGS = PrepareSettings


def run(settings: PrepareSettings) -> None:
    settings.check()
    from ernie_from_scratch.text.corpus.prepare import prepare, summary

    options = settings.subset(PreparationSettings).to_dict()
    meta = prepare(settings.input, settings.output, settings.vocab, **options)
    print(summary(meta, settings.output))
