"""Stages "recipe", "vocabulary" and "prepare": from the table of facts, or the user's own text, to token ids."""

from itertools import islice

from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.corpus.reading import read_documents
from ernie_from_scratch.text.recipe import (
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


def chosen_facts(settings):
    """The facts that this demo tells and asks: all provincial capitals as far as they fit, and a balanced choice.

    Without element symbols: an element and its symbol are one token each, so that entity masking mostly hides both
    names of such a sentence at once, and nothing can be learnt from what is left.
    """
    facts = load_facts()
    check_facts(facts)
    capitals = [fact for fact in facts if fact.relation == "province_capital" and not fact.copyable]
    capitals = capitals[: settings.facts // 4]
    others = [fact for fact in facts if fact.relation not in ("province_capital", "element_symbol")]
    return capitals + choose_facts(others, settings.facts - len(capitals), seed=settings.seed)


def documents_of(settings):
    """The generated documents, the same at every call."""
    return list(generate_corpus(chosen_facts(settings), settings.sentences, seed=settings.seed))


def probes_of(settings):
    """Cloze questions: dict of "seen", "unseen" and "reworded" to equally long lists of Probe."""
    facts = chosen_facts(settings)
    return make_probes(facts, documents_of(settings), seed=settings.seed, limit=settings.probes)


def write_recipe(settings, target):
    """Stage "recipe"."""
    documents = documents_of(settings)
    sentences = write_jsonl(documents, target)
    facts = len(chosen_facts(settings))
    sample = documents[0].sentences[0].text
    said = f"{sentences:,} sentences in {len(documents):,} documents about {facts} facts, such as: {sample}"
    return {"facts": facts, "documents": len(documents), "sentences": sentences, "said": said}


def write_vocabulary(text, target):
    """Stage "vocabulary": from the sentences of `text` (files or folders)."""
    sentences = (sentence.text for document in read_documents(text) for sentence in document)
    vocabulary = build_vocabulary(islice(sentences, VOCABULARY_SENTENCES), size=VOCABULARY_SIZE, min_count=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.save(target)
    return {"size": len(vocabulary), "said": f"{len(vocabulary):,} tokens"}


def write_prepared(text, prefix, vocabulary, segmenter):
    """Stage "prepare"."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    meta = prepare(text, prefix, vocabulary, segmenter=segmenter, progress=False)
    counts = meta["counts"]
    said = f"{counts['tokens']:,} tokens in {counts['documents']:,} documents. {' '.join(meta['notes'])}"
    return {"counts": counts, "notes": meta["notes"], "said": said.strip()}
