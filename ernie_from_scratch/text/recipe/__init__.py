"""Generates the text that ships with the package from true facts: corpus, cloze probes, task data sets."""

from ernie_from_scratch.text.recipe.fact_writer import RecipeSentence
from ernie_from_scratch.text.recipe.facts import Fact, check_facts, choose_facts, load_facts
from ernie_from_scratch.text.recipe.generator import (
    RecipeDocument,
    generate_corpus,
    write_jsonl,
    write_text,
)
from ernie_from_scratch.text.recipe.patterns import load_relations
from ernie_from_scratch.text.recipe.probes import Probe, WordingIndex, make_probes, wording_distance

__all__ = [
    "Fact",
    "Probe",
    "RecipeDocument",
    "RecipeSentence",
    "WordingIndex",
    "check_facts",
    "choose_facts",
    "generate_corpus",
    "load_facts",
    "load_relations",
    "make_probes",
    "wording_distance",
    "write_jsonl",
    "write_text",
]
