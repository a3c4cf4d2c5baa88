"""`ernie inspect`."""

from dataclasses import dataclass

from ernie_from_scratch.utils.settings import REQUIRED, Settings, option

HELP = """Show what is in a prepared corpus, and warn of what will hurt training

Examples:
  ernie inspect corpus/news
  ernie inspect corpus/news --vocab vocab.txt --samples 10 --verify
"""


@dataclass
class InspectSettings(Settings):
    """Settings of `ernie inspect`."""

    prefix: str = option(REQUIRED, "of PREFIX_ids.npy and PREFIX_idx.npz", positional=True, path=True)
    vocab: str | None = option(None, "the vocabulary; default: the one it was prepared with", path=True)
    samples: int = option(5, "sentences and masked rows to show")
    seed: int = option(0, "which samples")
    verify: bool = option(False, "also compare the checksums of all files")
    json: bool = option(False, "print the numbers as JSON")


SETTINGS = InspectSettings


def run(settings: InspectSettings) -> None:
    settings.check()
    import dataclasses
    import json

    from rich.console import Console

    from ernie_from_scratch.diagnostics import inspect, inspect_view
    from ernie_from_scratch.text.corpus.prepared import open_prepared

    vocabulary = inspect.vocabulary_of(settings.prefix, settings.vocab)
    corpus = open_prepared(settings.prefix, vocabulary, verify=settings.verify)
    found = inspect.inspect_corpus(settings.prefix, vocabulary)
    if settings.json:
        print(json.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=2))
    else:
        inspect_view.show(found, corpus, vocabulary, max(0, settings.samples), settings.seed, Console())
