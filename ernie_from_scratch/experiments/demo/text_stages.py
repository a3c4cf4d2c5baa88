"""Stages "recipe", "vocabulary" and "prepare": from the table of facts, or the user's own text, to token ids."""

import os
from itertools import islice
from pathlib import Path

from ernie_from_scratch.experiments.demo.settings import DemoSettings
from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.corpus.reading import read_documents
from ernie_from_scratch.text.recipe import (
    Fact,
    Probe,
    RecipeDocument,
    check_facts,
    choose_facts,
    generate_corpus,
    load_facts,
    make_probes,
    write_jsonl,
)
from ernie_from_scratch.text.tokenizers.vocabulary import build_vocabulary

VOCABULARY_SIZE = 18_000
VOCABULARY_SENTENCES = 500_000


def demo_facts(settings: DemoSettings) -> list[Fact]:
    """The facts of the demo's corpus and cloze: up to a quarter provincial capitals, and a balanced choice of others.

    Element symbols are left out: an element and its symbol are one token each, so entity masking usually masks both
    names of such a sentence at once, and nothing can be learnt from the rest.
    """
    facts = load_facts()
    check_facts(facts)
    capitals = [fact for fact in facts if fact.relation == "province_capital" and not fact.copyable]
    capitals = capitals[: settings.facts // 4]
    others = [fact for fact in facts if fact.relation not in ("province_capital", "element_symbol")]
    return capitals + choose_facts(others, settings.facts - len(capitals), seed=settings.seed)


def demo_documents(settings: DemoSettings) -> list[RecipeDocument]:
    """The generated documents, the same ones at every call."""
    return list(generate_corpus(demo_facts(settings), settings.sentences, seed=settings.seed))


def make_demo_probes(settings: DemoSettings) -> dict[str, list[Probe]]:
    """Cloze questions: "seen", "unseen" and "reworded" -> equally long lists."""
    return make_probes(
        demo_facts(settings), demo_documents(settings), seed=settings.seed, limit=settings.probes
    )


def write_recipe(settings: DemoSettings, target: str | Path) -> dict:
    """Stage "recipe": write the generated documents to `target`, a .jsonl file."""
    documents = demo_documents(settings)
    sentences = write_jsonl(documents, target)
    facts = len(demo_facts(settings))
    example = documents[0].sentences[0].text
    return {
        "facts": facts,
        "documents": len(documents),
        "sentences": sentences,
        "summary": f"{sentences:,} sentences in {len(documents):,} documents about {facts} facts, such as: {example}",
    }


def write_vocabulary(text: str | os.PathLike, target: Path) -> dict:
    """Stage "vocabulary": build it from the sentences of `text` (a file or folder), and write it to `target`."""
    sentences = (sentence.text for document in read_documents(text) for sentence in document)
    vocabulary = build_vocabulary(islice(sentences, VOCABULARY_SENTENCES), size=VOCABULARY_SIZE, min_count=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.save(target)
    return {"size": len(vocabulary), "summary": f"{len(vocabulary):,} tokens"}


def write_prepared(
    text: str | os.PathLike, prefix: Path, vocabulary: str | os.PathLike, segmenter: str
) -> dict:
    """Stage "prepare": write the prepared corpus of `text` under `prefix`."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    meta = prepare(text, prefix, vocabulary, segmenter=segmenter, progress=False)
    counts, notes = meta["counts"], meta["notes"]
    summary = f"{counts['tokens']:,} tokens in {counts['documents']:,} documents. {' '.join(notes)}"
    return {"counts": counts, "notes": notes, "summary": summary.strip()}
