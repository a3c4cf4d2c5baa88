"""Small made-up corpora for the tests of dataset/, and a chi-square check without scipy."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ernie_from_scratch import native
from ernie_from_scratch.dataset.blending import Blend
from ernie_from_scratch.dataset.mask_schedule import mask_stages
from ernie_from_scratch.dataset.masking import MaskingRules
from ernie_from_scratch.dataset.sampler import PythonSampler
from ernie_from_scratch.dataset.samples import SampleRules, build_samples
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus, continuation_table
from ernie_from_scratch.text.corpus.spans import ENTITY_START, PHRASE_START, TYPE_SHIFT, WORD_START
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary
from ernie_from_scratch.utils.files import sha256_file

SPECIALS = 5  # [PAD] [CLS] [SEP] [MASK] [UNK]
HAN = [chr(0x4E00 + number) for number in range(300)]
FIRST, CONTINUATION = SPECIALS, SPECIALS + len(HAN)  # ids of the plain characters and of their ## forms

CPP = pytest.mark.skipif(native.helpers() is None, reason=f"C++ helpers: {native.why_missing()}")
BOTH = pytest.mark.parametrize("implementation", ["plain", pytest.param("cpp", marks=CPP)])


def toy_vocabulary() -> Vocabulary:
    """[PAD] … [UNK], 300 characters, their ## forms, and two Latin pieces."""
    return Vocabulary(
        ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *HAN, *(f"##{c}" for c in HAN), "ab", "##cd"]
    )


def random_sentence(rng, length, entity_share=0.2):
    """Tokens and span bits of one sentence made of words of 1 to 4 characters."""
    ids, bits = [], []
    while len(ids) < length:
        size = min(int(rng.integers(1, 5)), length - len(ids))
        entity = int(rng.integers(1, 7)) if rng.random() < entity_share else 0
        phrase = PHRASE_START if not ids or entity or rng.random() < 0.6 else 0
        for place in range(size):
            ids.append(int(rng.integers(len(HAN))) + (CONTINUATION if place else FIRST))
            starts = 0 if place else WORD_START | phrase | (ENTITY_START if entity else 0)
            bits.append(starts | entity << TYPE_SHIFT)
    return ids, bits


def random_documents(seed, count=40, sentences=(1, 12), lengths=(3, 40)):
    """Documents as lists of (ids, bits) sentences."""
    rng = np.random.default_rng(seed)
    return [
        [random_sentence(rng, int(rng.integers(*lengths))) for _ in range(int(rng.integers(*sentences)))]
        for _ in range(count)
    ]


def write_corpus(prefix, documents, spans=True, vocabulary=None):
    """PREFIX_ids.npy and the others; with `vocabulary` also PREFIX_meta.json. Returns the prefix."""
    sentences = [sentence for document in documents for sentence in document]
    ids = np.array([i for sentence_ids, _ in sentences for i in sentence_ids], dtype=np.uint16)
    np.save(f"{prefix}_ids.npy", ids)
    lens = np.array([len(sentence_ids) for sentence_ids, _ in sentences], dtype=np.int32)
    docs = np.cumsum([0] + [len(document) for document in documents], dtype=np.int64)
    np.savez(f"{prefix}_idx.npz", lens=lens, docs=docs)
    if spans:
        np.save(f"{prefix}_spans.npy", np.array([b for _, bits in sentences for b in bits], dtype=np.uint8))
    if vocabulary is not None:
        write_meta(prefix, vocabulary)
    return str(prefix)


def write_meta(prefix, vocabulary):
    names = ["_ids.npy", "_idx.npz", "_spans.npy"]
    paths = {name: prefix.with_name(prefix.name + name) for name in names}
    files = {n: {"bytes": p.stat().st_size, "sha256": sha256_file(p)} for n, p in paths.items() if p.exists()}
    words = {"path": "vocab.txt", "sha256": vocabulary.sha256, "size": len(vocabulary)}
    prefix.with_name(prefix.name + "_meta.json").write_text(json.dumps({"vocabulary": words, "files": files}))


def toy_corpus(documents, spans=True, ids_dtype=np.uint16):
    """The same in memory: what `open_prepared` gives."""
    sentences = [sentence for document in documents for sentence in document]
    lens = [len(sentence_ids) for sentence_ids, _ in sentences]
    return PreparedCorpus(
        prefix="toy",
        ids=np.array([i for sentence_ids, _ in sentences for i in sentence_ids], dtype=ids_dtype),
        sentences=np.cumsum([0] + lens, dtype=np.int64),
        documents=np.cumsum([0] + [len(document) for document in documents], dtype=np.int64),
        stored_spans=np.array([b for _, bits in sentences for b in bits], dtype=np.uint8) if spans else None,
        continuation=continuation_table(toy_vocabulary()),
    )


def toy_sampler(
    documents,
    implementation="plain",
    max_seq_len=64,
    masking="word",
    pairs="sop",
    spans=True,
    ids_dtype=np.uint16,
    **rules,
):
    """A sampler over all samples of one corpus; `rules` are those of `SampleRules` and `MaskingRules`."""
    tokens = TokenTable.of(toy_vocabulary())
    corpus = toy_corpus(documents, spans, ids_dtype)
    of_samples = {name: rules.pop(name) for name in ("short_seq_prob", "max_sentences") if name in rules}
    sample_rules = SampleRules(max_seq_len - (2 if pairs == "none" else 3), pairs, **of_samples)
    masking_rules = MaskingRules(mask_stages(masking, rules.pop("schedule", None)), **rules)
    table = build_samples(corpus, 0, len(documents), sample_rules, 11)
    size = np.array([len(table)])
    blend = Blend(size, size, 12)
    make = PythonSampler if implementation == "plain" else native.helpers().Sampler
    sampler = make([corpus], [table], tokens, sample_rules, masking_rules, blend, max_seq_len)
    return SimpleNamespace(batch=sampler.batch, corpus=corpus, table=table, tokens=tokens, blend=blend)


def standard_score(observed, expected) -> float:
    """Chi-square of counts against expected counts, in standard deviations above its mean; under 5 is no surprise.

    Cells with fewer than 5 expected are joined.
    """
    observed, expected = np.asarray(observed, dtype=float).ravel(), np.asarray(expected, dtype=float).ravel()
    small = expected < 5
    if small.any():
        observed = np.append(observed[~small], observed[small].sum())
        expected = np.append(expected[~small], expected[small].sum())
    keep = expected > 0
    assert not observed[~keep].any(), "something happened that never should"
    degrees = max(1, int(keep.sum()) - 1)
    value = ((observed[keep] - expected[keep]) ** 2 / expected[keep]).sum()
    return float((value - degrees) / np.sqrt(2 * degrees))


def two_sample_score(first, second) -> float:
    """The same for two histograms: do they come from one distribution?"""
    first, second = np.asarray(first, dtype=float).ravel(), np.asarray(second, dtype=float).ravel()
    total = first + second
    keep = total >= 10
    first, second = np.append(first[keep], first[~keep].sum()), np.append(second[keep], second[~keep].sum())
    total = first + second
    first, second, total = first[total > 0], second[total > 0], total[total > 0]
    share = first.sum() / total.sum()
    value = ((first - share * total) ** 2 / (share * (1 - share) * total)).sum()
    degrees = max(1, len(total) - 1)
    return float((value - degrees) / np.sqrt(2 * degrees))
