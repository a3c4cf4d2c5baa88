"""The recipe's corpora, and the probes that ask what a model learnt from them."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from ernie_from_scratch.config import UserError
from ernie_from_scratch.text.corpus.reading import read_documents
from ernie_from_scratch.text.recipe import (
    Fact,
    WordingIndex,
    choose_facts,
    generate_corpus,
    load_facts,
    load_relations,
    make_probes,
    wording_distance,
    write_jsonl,
    write_text,
)
from ernie_from_scratch.text.recipe.patterns import KIND_LETTERS, is_reserved, wording
from ernie_from_scratch.text.recipe.probes import PROBE_KINDS, majority_share
from ernie_from_scratch.text.recipe.sentiment import POLARITIES, belongs_to_tasks, load_opinions

SEED = 7


@pytest.fixture(scope="module")
def facts():
    return load_facts(relations=list(load_relations()))


@pytest.fixture(scope="module")
def chosen(facts):
    return choose_facts(facts, 600, seed=SEED)


@pytest.fixture(scope="module")
def corpus(chosen):
    return list(generate_corpus(chosen, seed=SEED))


@pytest.fixture(scope="module")
def probes(chosen, corpus):
    return make_probes(chosen, corpus, seed=SEED)


@pytest.fixture(scope="module")
def index(corpus):
    return WordingIndex(corpus)


def fact_sentences(documents):
    return [s for d in documents for s in d.sentences if s.fact is not None]


# --- corpus ---------------------------------------------------------------------------------------


def test_corpus_size_length_and_variety(corpus):
    texts = [s.text for d in corpus for s in d.sentences]
    assert len(texts) >= 30000
    assert 1 - len(set(texts)) / len(texts) < 0.02
    assert 18 <= sum(map(len, texts)) / len(texts) <= 24
    assert max(map(len, texts)) <= 34
    assert all(text[-1] in "。！" and not any(c.isspace() for c in text) for text in texts)


def test_every_fact_gets_about_the_same_number_of_sentences_in_varied_wordings(corpus, chosen):
    counts = Counter(s.fact for s in fact_sentences(corpus))
    assert set(counts) == set(chosen)
    assert max(counts.values()) - min(counts.values()) <= 3
    triples = {fact: set() for fact in chosen}
    for s in fact_sentences(corpus):
        triples[s.fact].add(s.triple)
    assert all(len(triples[fact]) == counts[fact] for fact in chosen), "no fact is worded twice alike"
    for fact in chosen:
        assert {verb for _, verb, _ in triples[fact]} == set(
            range(len(load_relations()[fact.relation].verbs))
        )


def test_a_document_never_gives_an_answer_away(corpus):
    for document in corpus:
        assert 4 <= len(document.sentences) <= 10 or document.is_note
        facts = [s.fact for s in document.sentences if s.fact is not None]
        assert len(facts) in (0, len(document.sentences))
        assert len({f.object for f in facts}) == len({f.subject for f in facts}) == len(facts)
        for place, fact in enumerate(facts):
            texts = [s.text for s in document.sentences]
            assert texts[place].count(fact.object) == 1
            assert not any(fact.object in text for i, text in enumerate(texts) if i != place)


def test_spans_are_in_order_apart_and_of_known_kinds(corpus):
    for sentence in (s for d in corpus for s in d.sentences):
        end_before = 0
        for start, end, kind in sentence.spans:
            assert end_before <= start < end <= len(sentence.text)
            assert kind in KIND_LETTERS or kind == "PHRASE"
            end_before = end
        if sentence.fact:
            named = {sentence.text[a:b] for a, b, kind in sentence.spans if kind != "PHRASE"}
            assert named == {sentence.fact.subject, sentence.fact.object}


def test_places_in_a_document_have_their_connectives(corpus):
    for document in corpus:
        for i, s in enumerate(document.sentences):
            if s.fact:
                place = load_relations()[s.fact.relation].prefixes[s.triple[0]].place
                here = "opening" if i == 0 else "closing" if i == len(document.sentences) - 1 else "middle"
                assert place in (here, "any")


def test_a_document_seldom_repeats_a_prefix_or_a_suffix(corpus):
    repeats = total = 0
    for document in corpus:
        for part in (0, 2):
            ends = Counter()
            for s in document.sentences:
                if s.fact:
                    relation = load_relations()[s.fact.relation]
                    source = (relation.prefixes[s.triple[0]].pattern, relation.suffixes[s.triple[2]])[
                        part // 2
                    ].source
                    ends[source] += source not in ("", "。")
            repeats += sum(count - 1 for count in ends.values() if count > 1)
            total += sum(ends.values())
    assert repeats < 0.001 * total


def test_notes_are_a_share_of_the_documents_and_never_task_texts(corpus):
    notes = [d for d in corpus if d.is_note]
    assert 0.22 < len(notes) / len(corpus) < 0.28
    for note in notes:
        texts = [s.text for s in note.sentences]
        assert not any(belongs_to_tasks(text) for text in [*texts, "".join(texts)])
        assert len(texts) == 2 and len("".join(texts)) <= 37  # both fit a row of the demo's 40 tokens
    assert not any(
        d.is_note for d in generate_corpus([s.fact for s in fact_sentences(corpus)][:100], 500, 1, 0.0)
    )


def test_notes_praise_first_and_blame_then(corpus):
    opinions = load_opinions()
    notes = [d for d in corpus if d.is_note]
    for note in notes:
        domain = note.title.removesuffix("点评")
        for sentence, polarity in zip(note.sentences, ("positive", "negative"), strict=True):
            told = {
                p
                for p in POLARITIES
                for c in opinions.clauses[domain, p] + opinions.verdicts[domain, p]
                if c.text in sentence.text
            }
            assert polarity in told and len(told) == 1, sentence.text


def test_notes_use_every_opinion_phrase(corpus):
    told = "\n".join(s.text for d in corpus if d.is_note for s in d.sentences)
    opinions = load_opinions()
    for polarity in POLARITIES:
        clauses = [c for domain in opinions.domains for c in opinions.clauses[domain, polarity]]
        assert len({c.text for c in clauses}) >= 150
        assert sum(c.text in told for c in clauses) >= 0.98 * len(clauses)


def test_the_corpus_never_uses_reserved_or_held_out_wordings(corpus):
    held_out = {
        wording(*relation.render_patterns(Fact(name, "甲", "乙"), (pattern,)))
        for name, relation in load_relations().items()
        for pattern in relation.held_out
    }
    for s in fact_sentences(corpus):
        assert not is_reserved(s.fact.relation, s.triple, SEED)
        assert wording(s.text, list(s.spans)) not in held_out


def test_the_corpus_depends_on_its_seed_only(chosen):
    code = (
        "import hashlib, json\n"
        "from ernie_from_scratch.text.recipe import choose_facts, generate_corpus, load_facts\n"
        "docs = generate_corpus(choose_facts(load_facts(), 600, seed=7), 2000, seed=7)\n"
        "print(hashlib.sha256(json.dumps([d.to_dict() for d in docs]).encode()).hexdigest())"
    )
    documents = [d.to_dict() for d in generate_corpus(chosen, 2000, seed=SEED)]
    here = hashlib.sha256(json.dumps(documents).encode()).hexdigest()
    other = [d.to_dict() for d in generate_corpus(chosen, 2000, seed=SEED + 1)]
    assert other != documents
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == here


def test_files_hold_what_was_generated(tmp_path, corpus):
    some = corpus[:50]
    count = write_jsonl(some, tmp_path / "a.jsonl")
    assert count == write_text(some, tmp_path / "a.txt") == sum(len(d.sentences) for d in some)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows == [d.to_dict() for d in some]
    blocks = (tmp_path / "a.txt").read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    assert [block.split("\n") for block in blocks] == [[s.text for s in d.sentences] for d in some]
    read = list(read_documents([tmp_path / "a.jsonl"]))
    assert [[(s.text, [tuple(span) for span in s.spans]) for s in d] for d in read] == [
        [(s.text, list(s.spans)) for s in d.sentences] for d in some
    ]


def test_facts_that_make_no_corpus_are_refused():
    with pytest.raises(UserError, match="no patterns: relation planet_moon"):
        next(generate_corpus([Fact("planet_moon", "地球", "月球")]))
    with pytest.raises(UserError, match="too few facts"):
        next(generate_corpus([Fact("river_sea", "长江", "东海")]))


# --- probes ---------------------------------------------------------------------------------------


def test_every_fact_has_a_probe_of_every_kind(probes, chosen):
    known = {(f.relation, f.subject): f.object for f in chosen}
    assert set(probes) == set(PROBE_KINDS)
    asked = [[(p.relation, p.subject) for p in probes[kind]] for kind in PROBE_KINDS]
    assert asked[0] == asked[1] == asked[2] and len(set(asked[0])) == len(asked[0])
    assert len(asked[0]) >= 0.99 * len(chosen)
    for kind in PROBE_KINDS:
        for p in probes[kind]:
            assert p.kind == kind and p.answer == known[p.relation, p.subject]
            assert p.text[p.start : p.end] == p.answer and p.text.count(p.answer) == 1
            assert p.subject in p.text[: p.start] + p.text[p.end :]


def test_probes_are_limited_and_reproducible(chosen, corpus, probes):
    few = make_probes(chosen, corpus, seed=SEED, limit=40)
    assert all(few[kind] == probes[kind][:40] for kind in PROBE_KINDS)


def test_seen_probes_occur_and_the_others_do_not(probes, corpus):
    texts = {s.text for d in corpus for s in d.sentences}
    assert all(p.text in texts for p in probes["seen"])
    assert not any(p.text in texts for p in probes["unseen"] + probes["reworded"])


def test_unseen_combinations_are_close_but_never_equal(probes, index):
    distances = [wording_distance(p, index) for p in probes["unseen"][:200]]
    assert not any(d.equal for d in distances)
    assert min(d.bigram_overlap for d in distances) >= 0.5
    assert sum(d.bigram_overlap for d in distances) / len(distances) > 0.8
    assert all(wording_distance(p, index).equal for p in probes["seen"][:100])


def test_reworded_probes_are_far_from_all_training_text(probes, index):
    wordings = {p.wording: p for p in probes["reworded"]}
    distances = [wording_distance(p, index) for p in wordings.values()]
    assert len(distances) >= 50
    assert not any(d.equal for d in distances)
    assert max(d.common_substring for d in distances) <= 0.65
    assert max(d.bigram_overlap for d in distances) <= 0.70
    assert sum(d.common_substring for d in distances) / len(distances) < 0.42
    assert sum(d.bigram_overlap for d in distances) / len(distances) < 0.48


def test_wording_distance_equals_a_plain_search(probes, corpus):
    documents = random.Random(1).sample([d for d in corpus if not d.is_note], 60)
    index = WordingIndex(documents)
    trained = [wording(s.text, list(s.spans)) for s in fact_sentences(documents)]
    for p in probes["unseen"][:15] + probes["reworded"][:15]:
        text = p.wording.rstrip("。")
        pieces = {text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
        longest = max((len(piece) for piece in pieces if any(piece in t for t in trained)), default=0)
        pairs = {text[i : i + 2] for i in range(len(text) - 1)}
        overlap = max(sum(pair in t for pair in pairs) for t in trained)
        distance = wording_distance(p, index)
        assert distance.common_substring == pytest.approx(longest / len(text))
        assert distance.bigram_overlap == pytest.approx(overlap / len(pairs))


def test_knowing_no_fact_scores_low(probes):
    assert majority_share(probes["reworded"]) < 0.2
