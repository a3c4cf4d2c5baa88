"""The small task sets: what they hold is right, their splits share nothing, and the files are the seed's."""

import json
import re
from collections import Counter

import pytest

from ernie_from_scratch.text.recipe import choose_facts, generate_corpus, load_facts, load_relations
from ernie_from_scratch.text.recipe.facts import DATA_FOLDER
from ernie_from_scratch.text.recipe.inference import LABELS
from ernie_from_scratch.text.recipe.labelling import LABELLED_KINDS, SEPARATOR
from ernie_from_scratch.text.recipe.sentiment import POLARITIES, load_opinions
from ernie_from_scratch.text.recipe.tasks import SIZES, build_tasks, main, split_facts

SPLITS = ("train", "dev", "test")
DENIAL = re.compile("不是|并不|没有")


@pytest.fixture(scope="module")
def files():
    return build_tasks()


@pytest.fixture(scope="module")
def facts():
    return load_facts()


def rows(files, task, split):
    header, *lines = files[f"{task}/{split}.tsv"].rstrip("\n").split("\n")
    names = header.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def questions(files, split):
    for document in json.loads(files[f"qa/{split}.json"])["data"]:
        for paragraph in document["paragraphs"]:
            for qa in paragraph["qas"]:
                yield paragraph["context"], qa


def test_the_committed_files_are_what_the_seed_gives(files, tmp_path):
    folder = DATA_FOLDER / "tasks"
    committed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert committed == set(files)
    changed = [name for name, content in files.items() if (folder / name).read_bytes() != content.encode()]
    assert changed == [], "run python -m ernie_from_scratch.text.recipe.tasks"
    main(["--output", str(tmp_path), "--seed", "5"])
    other = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8")
        for path in tmp_path.rglob("*.*")
    }
    assert set(other) == set(files) and all(other[name] != files[name] for name in files)


def test_facts_are_dealt_out_once(facts):
    splits = split_facts(facts, 1)
    distributed = [fact for split in splits.values() for fact in split]
    assert len(distributed) == len(set(distributed)) and set(distributed) == {
        f for f in facts if not f.copyable
    }
    for relation in load_relations():
        shares = [sum(f.relation == relation for f in splits[split]) for split in SPLITS]
        assert min(shares) >= 3 and shares[0] == max(shares)


@pytest.mark.parametrize("task", ["sentiment", "ner", "nli"])
def test_sizes_and_no_text_in_two_splits(files, task):
    seen = Counter()
    for split in SPLITS:
        found = rows(files, task, split)
        assert len(found) == SIZES[task][split]
        seen.update((row["text_a"], row.get("text_b")) for row in found)
    assert max(seen.values()) == 1


# --- sentiment ------------------------------------------------------------------------------------


def test_sentiment_is_balanced_over_labels_and_domains(files):
    opinions = load_opinions()
    assert len(opinions.domains) >= 6
    for split in SPLITS:
        labels = Counter(row["label"] for row in rows(files, "sentiment", split))
        assert labels == {"0": SIZES["sentiment"][split] // 2, "1": SIZES["sentiment"][split] // 2}
        mentioned = Counter()
        for row in rows(files, "sentiment", split):
            for domain in opinions.domains:
                clauses = opinions.clauses[domain, "positive"] + opinions.clauses[domain, "negative"]
                mentioned[domain] += any(clause.text in row["text_a"] for clause in clauses)
        assert min(mentioned.values()) >= 0.9 * SIZES["sentiment"][split] / len(opinions.domains)


def test_labels_agree_with_the_phrases(files):
    """Most phrases of a review stand on its label's side; one of the other side is outweighed."""
    opinions = load_opinions()
    sides = {p: [] for p in POLARITIES}
    for (_, polarity), clauses in [*opinions.clauses.items(), *opinions.verdicts.items()]:
        sides[polarity] += [clause.text for clause in clauses]
    mixed = 0
    for row in (row for split in SPLITS for row in rows(files, "sentiment", split)):
        own, other = (
            {text for text in sides[polarity] if text in row["text_a"]}
            for polarity in (POLARITIES[int(row["label"])], POLARITIES[1 - int(row["label"])])
        )
        assert len(own) > len(other) <= 1, row
        mixed += bool(other)
    assert 0.15 < mixed / sum(SIZES["sentiment"].values()) < 0.4


def test_the_test_set_asks_for_phrases_that_only_the_notes_show(files, facts):
    opinions = load_opinions()
    clauses = {
        c.text: c for group in [*opinions.clauses.values(), *opinions.verdicts.values()] for c in group
    }
    trained = "\n".join(row["text_a"] for row in rows(files, "sentiment", "train"))
    assert all(c.familiar for text, c in clauses.items() if text in trained)
    unfamiliar = {text for text, c in clauses.items() if not c.familiar}
    reviews = [row["text_a"] for row in rows(files, "sentiment", "test")]
    found = [{text for text in unfamiliar if text in review} for review in reviews]
    assert sum(map(bool, found)) >= 0.9 * len(reviews)
    notes = [d for d in generate_corpus(choose_facts(facts, 600, seed=1234)) if d.is_note]
    shown = "\n".join(s.text for note in notes for s in note.sentences)
    needed = set().union(*found)
    assert len(needed) > 200 and sum(text in shown for text in needed) >= 0.98 * len(needed)
    texts = {row["text_a"] for split in SPLITS for row in rows(files, "sentiment", split)}
    complete = {"".join(s.text for s in note.sentences) for note in notes}
    assert not texts & (complete | {s.text for note in notes for s in note.sentences})


# --- labelling ------------------------------------------------------------------------------------


def entities(row):
    characters, labels = row["text_a"].split(SEPARATOR), row["label"].split(SEPARATOR)
    assert len(characters) == len(labels) and all(len(c) == 1 for c in characters)
    for before, label in zip(["O", *labels], labels, strict=False):
        assert label == "O" or label[2:] in LABELLED_KINDS
        assert label[0] != "I" or before[2:] == label[2:], "an I- label continues its own kind"
    text, kinds = "".join(characters), "".join(label[0] for label in labels)
    for match in re.finditer("BI*", kinds):
        yield text[match.start() : match.end()], labels[match.start()][2:]


def test_ner_labels_are_names_of_their_kind_and_facts_are_not_shared(files, facts):
    kinds, subjects = {}, {}
    for fact in facts:
        relation = load_relations()[fact.relation]
        kinds.setdefault(fact.subject, set()).add(relation.subject_kind)
        kinds.setdefault(fact.object, set()).add(relation.object_kind)
    for split in SPLITS:
        found = [entity for row in rows(files, "ner", split) for entity in entities(row)]
        assert all(kind in kinds[name] for name, kind in found)
        counts = Counter(kind for _, kind in found)
        assert set(counts) == set(LABELLED_KINDS) and min(counts.values()) >= 20
        subjects[split] = {name for name, kind in found if kind == "WORK"}
        plain = sum(row["label"].count("B-") == 0 for row in rows(files, "ner", split))
        assert 0.05 < plain / SIZES["ner"][split] < 0.35
    assert not subjects["train"] & subjects["test"] and not subjects["train"] & subjects["dev"]


# --- question answering ---------------------------------------------------------------------------


def test_answers_stand_where_they_are_said_to_and_are_right(files, facts):
    answers = {}
    for fact in facts:
        answers.setdefault((fact.subject, fact.object), []).append(fact)
    questioned = {}
    for split in SPLITS:
        found = list(questions(files, split))
        assert len(found) == SIZES["qa"][split] == len({qa["id"] for _, qa in found})
        questioned[split] = set()
        for context, qa in found:
            (answer,) = qa["answers"]
            start, text = answer["answer_start"], answer["text"]
            assert context[start : start + len(text)] == text and context.count(text) == 1
            subjects = [s for s, o in answers if o == text and s in qa["question"] and s in context]
            assert subjects, qa
            questioned[split].add((max(subjects, key=len), text))
        contexts = {context for context, _ in found}
        assert sum(map(len, contexts)) / len(contexts) > 80
    assert (
        not questioned["train"] & questioned["test"]
        and not questioned["train"] & questioned["dev"]
        and not questioned["dev"] & questioned["test"]
    )


# --- sentence pairs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stated(facts):
    """Finds the fact that a text states: the longest subject and object of the table that it names."""
    names = {(f.subject, f.object) for f in facts if not f.copyable}
    names = sorted(names, key=lambda pair: (-len("".join(pair)), pair))
    return lambda text: next(((s, o) for s, o in names if s in text and o in text), None)


def test_pair_labels_follow_from_the_table(files, stated):
    for split in SPLITS:
        for row in rows(files, "nli", split):
            (subject, answer), denies = stated(row["text_a"]), bool(DENIAL.search(row["text_b"]))
            if row["label"] == "neutral":
                assert stated(row["text_b"]) != (subject, answer), row
            else:
                assert subject in row["text_b"], row
                says_it = (answer in row["text_b"]) != denies
                assert says_it == (row["label"] == "entailment"), row


def test_pairs_are_balanced_and_share_no_fact(files, stated):
    used = {}
    for split in SPLITS:
        found = rows(files, "nli", split)
        assert Counter(row["label"] for row in found) == dict.fromkeys(LABELS, SIZES["nli"][split] // 3)
        used[split] = {stated(row["text_a"]) for row in found}
        denials = {
            name: sum(bool(DENIAL.search(r["text_b"])) for r in found if r["label"] == name)
            for name in LABELS
        }
        assert max(denials.values()) - min(denials.values()) <= 0.12 * SIZES["nli"][split] / 3, (
            "denial gives no label away"
        )
    assert not used["train"] & used["test"] and not (used["train"] | used["test"]) & used["dev"]
