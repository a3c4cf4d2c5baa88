"""The small data sets of `data/tasks`: sentiment, NER, question answering and NLI, generated from a seed.

`python -m ernie_from_scratch.text.recipe.tasks` generates them again. Train, dev and test have no text in
common, and those about facts no fact.
"""

import argparse
import json
import random
from pathlib import Path

from ernie_from_scratch.text.recipe.facts import DATA_FOLDER, Fact, load_facts
from ernie_from_scratch.text.recipe.inference import PairWriter
from ernie_from_scratch.text.recipe.labelling import SEPARATOR, labelled_sentences
from ernie_from_scratch.text.recipe.patterns import load_relations
from ernie_from_scratch.text.recipe.questions import paragraphs
from ernie_from_scratch.text.recipe.sentiment import POLARITIES, ReviewWriter, load_opinions
from ernie_from_scratch.utils.files import atomic_write

SEED = 1234
SIZES = {
    "sentiment": {"train": 600, "dev": 200, "test": 400},
    "ner": {"train": 1200, "dev": 300, "test": 500},
    "qa": {"train": 800, "dev": 200, "test": 400},  # questions
    "nli": {"train": 1500, "dev": 300, "test": 600},
}
FACT_SHARES = (("train", 0.6), ("dev", 0.15), ("test", 0.25))


def split_facts(facts: list[Fact], seed: int) -> dict[str, list[Fact]]:
    """Splits the facts of every relation into train, dev and test, without copyable facts."""
    splits: dict[str, list[Fact]] = {name: [] for name, _ in FACT_SHARES}
    for relation in sorted({fact.relation for fact in facts}):
        table = sorted(fact for fact in facts if fact.relation == relation and not fact.copyable)
        random.Random(f"split:{seed}:{relation}").shuffle(table)
        start = 0.0
        for name, share in FACT_SHARES:
            splits[name] += table[round(start * len(table)) : round((start + share) * len(table))]
            start += share
    return splits


def sentiment_set(seed: int) -> dict[str, str]:
    """`label<TAB>text_a`, 1 = positive. Train has familiar phrases only, dev and test mostly others."""
    seen: set[str] = set()
    files = {}
    domains = load_opinions().domains
    for split, size in SIZES["sentiment"].items():
        rng = random.Random(f"sentiment:{seed}:{split}")
        writer = ReviewWriter(rng, familiar=split == "train")
        rows: list[tuple[int, str]] = []
        while len(rows) < size:
            label = len(rows) % 2
            review = writer.task_review(domains[len(rows) // 2 % len(domains)], POLARITIES[label])
            if review.text not in seen:
                seen.add(review.text)
                rows.append((label, review.text))
        rng.shuffle(rows)
        files[f"{split}.tsv"] = "label\ttext_a\n" + "".join(f"{label}\t{text}\n" for label, text in rows)
    return files


def ner_set(facts: dict[str, list[Fact]], seed: int) -> dict[str, str]:
    """`text_a<TAB>label`; characters and labels are separated by \\002."""
    files, seen = {}, set()
    for split, size in SIZES["ner"].items():
        rng = random.Random(f"ner:{seed}:{split}")
        rows = []
        for text, labels in labelled_sentences(facts[split], 2 * size, rng):
            if len(rows) < size and text not in seen:
                seen.add(text)
                rows.append(f"{SEPARATOR.join(text)}\t{SEPARATOR.join(labels)}\n")
        files[f"{split}.tsv"] = "text_a\tlabel\n" + "".join(rows)
    return files


def qa_set(facts: dict[str, list[Fact]], seed: int) -> dict[str, str]:
    """SQuAD's JSON format."""
    files = {}
    for split, size in SIZES["qa"].items():
        data = list(paragraphs(facts[split], size, split, seed))
        files[f"{split}.json"] = (
            json.dumps({"version": "1.0", "data": data}, ensure_ascii=False, indent=1) + "\n"
        )
    return files


def nli_set(facts: dict[str, list[Fact]], seed: int) -> dict[str, str]:
    """`label<TAB>text_a<TAB>text_b`: premise and hypothesis."""
    files = {}
    for split, size in SIZES["nli"].items():
        rng = random.Random(f"nli:{seed}:{split}")
        rows = list(PairWriter(facts[split], rng).pairs(size))
        rng.shuffle(rows)
        files[f"{split}.tsv"] = "label\ttext_a\ttext_b\n" + "".join("\t".join(row) + "\n" for row in rows)
    return files


def build_tasks(seed: int = SEED, facts: list[Fact] | None = None) -> dict[str, str]:
    """All files, as relative path -> content. Equal arguments give equal bytes."""
    facts = load_facts(relations=list(load_relations())) if facts is None else facts
    splits = split_facts(facts, seed)
    sets = {
        "sentiment": sentiment_set(seed),
        "ner": ner_set(splits, seed),
        "qa": qa_set(splits, seed),
        "nli": nli_set(splits, seed),
    }
    return {f"{task}/{name}": content for task, files in sets.items() for name, content in files.items()}


def main(arguments: list[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description="Generate the task data sets from the facts and the sentence patterns."
    )
    parser.add_argument(
        "--output", type=Path, default=DATA_FOLDER / "tasks", help="folder (default: data/tasks)"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    for name, content in build_tasks(options.seed).items():
        with atomic_write(options.output / name) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="\n")
        print(options.output / name)


if __name__ == "__main__":
    main()
