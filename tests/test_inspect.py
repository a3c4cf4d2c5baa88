"""`ernie inspect`: counts against slow ones, warnings, and what is shown."""

import json

import numpy as np
import pytest
from rich.console import Console
from text_helpers import PARAGRAPHS, small_vocabulary, write_jsonl

from ernie_from_scratch.commands.main import main
from ernie_from_scratch.config import UserError
from ernie_from_scratch.diagnostics.inspect import inspect_corpus, random_sentences, vocabulary_of
from ernie_from_scratch.diagnostics.inspect_view import coloured_sentence, masked_samples, show
from ernie_from_scratch.text.corpus.prepare import prepare
from ernie_from_scratch.text.corpus.prepared import open_prepared
from ernie_from_scratch.text.corpus.spans import entity_runs, word_runs
from ernie_from_scratch.text.tokenizers.vocabulary import Vocabulary, build_vocabulary


@pytest.fixture(scope="module")
def vocabulary(prefix):
    return Vocabulary.load(prefix.parent)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Good text: 60 documents of three or more different sentences, with entities."""
    folder = tmp_path_factory.mktemp("inspect")
    rows = []
    for n in range(60):
        fact = {"text": f"哈尔滨是第{n}个黑龙江的省会。", "spans": [[0, 3, "LOC"]]}
        rows.append(
            {"sentences": [fact, {"text": f"{n}年{PARAGRAPHS[n % 5][:20]}"}, {"text": f"好吗？{n * 7}"}]}
        )
    texts = [sentence["text"] for row in rows for sentence in row["sentences"]]
    build_vocabulary(texts, size=2000, min_count=1).save(folder / "vocab.txt")
    prepare(write_jsonl(folder / "a.jsonl", rows), folder / "a", folder / "vocab.txt")
    return folder / "a"


def test_counts_against_a_loop(prefix, vocabulary):
    found, corpus = inspect_corpus(prefix, vocabulary), open_prepared(prefix)
    ends = np.cumsum(corpus.lens)
    rows = [np.array(corpus.spans[end - n : end]) for end, n in zip(ends, corpus.lens, strict=True)]
    assert found.counts["documents"] == 60 and found.counts["sentences"] == len(rows) == 180
    assert found.counts["words"] == sum(len(word_runs(bits)) for bits in rows)
    assert (
        found.counts["entities"]
        == found.entities["LOC"]
        == sum(len(entity_runs(bits)) for bits in rows)
        == 60
    )
    assert found.unknown_share == np.mean(corpus.ids == vocabulary.unk_id)
    bins = dict(found.histograms["tokens per sentence"])
    assert sum(bins.values()) == 180
    assert bins["5-8"] == sum(4 < n <= 8 for n in corpus.lens) and bins[">512"] == 0
    assert dict(found.histograms["sentences per document"])["3-4"] == 60
    words = [b - a for bits in rows for a, b in word_runs(bits)]
    assert dict(found.histograms["tokens per word"])["2"] == words.count(2)
    assert found.warnings == []


def test_warnings_of_poor_text(tmp_path):
    (tmp_path / "a.txt").write_text(
        "\n\n".join(["同样的一句话说了又说没有别的话"] * 30 + ["鱼鸟虫草树花叶根茎果实"]), encoding="utf-8"
    )
    prepare(tmp_path / "a.txt", tmp_path / "a", small_vocabulary(), segmenter="none")
    found = inspect_corpus(tmp_path / "a", small_vocabulary())
    said = "\n".join(found.warnings)
    for part in ("are [UNK]", "100% of the documents have one sentence", "of the sentences are repeated",
                 "nearly all words have one character", "no entities"):  # fmt: skip
        assert part in said
    assert 0.9 < found.duplicate_share < 1


def test_colours_and_masks(prefix, vocabulary):
    sentences = random_sentences(open_prepared(prefix), vocabulary, 200, seed=3)
    assert len(sentences) == 180
    tokens, bits = next(pair for pair in sentences if "哈" in pair[0])
    line = coloured_sentence(tokens, bits)
    assert line.plain.startswith("  哈尔滨·是·第")
    assert {(line.plain[span.start : span.end], str(span.style)) for span in line.spans} >= {("哈", "cyan")}
    assert random_sentences(open_prepared(prefix), vocabulary, 5, 1)[0][0] != []
    lines = masked_samples(str(prefix), vocabulary, "entity", 30, seed=1)
    masked = [line.plain[s.start : s.end] for line in lines for s in line.spans if "reverse" in str(s.style)]
    assert len(lines) == 30 and masked and "[MASK]" not in masked
    assert any("cyan" in str(span.style) for line in lines for span in line.spans)
    assert all("[CLS]" not in line.plain for line in lines)


def test_report(prefix, vocabulary):
    console = Console(width=160, record=True, file=open("/dev/null", "w"))
    corpus = open_prepared(prefix)
    show(inspect_corpus(prefix, vocabulary), corpus, vocabulary, 3, 0, console)
    text = console.export_text()
    for part in (
        "documents",
        "60",
        "tokens per sentence",
        "█",
        "Masked samples",
        "masking=entity",
        "nothing found",
    ):
        assert part in text


def test_command(prefix, capsys):
    assert main(["inspect", str(prefix), "--samples", "2", "--verify"]) == 0
    assert "Masked samples" in capsys.readouterr().out
    assert main(["inspect", str(prefix), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["documents"] == 60
    assert main(["inspect", str(prefix) + "x"]) == 2
    assert "no prepared corpus" in capsys.readouterr().err


def test_vocabulary_of(prefix, vocabulary, tmp_path):
    assert vocabulary_of(prefix).tokens == vocabulary.tokens
    prepare(
        prefix.parent / "a.jsonl", tmp_path / "b", small_vocabulary()
    )  # from memory: no file to find again
    with pytest.raises(UserError, match="unknown vocabulary: .*; give it with --vocab"):
        vocabulary_of(tmp_path / "b")
