"""The true facts behind the shipped corpus: loading, checking and choosing a balanced subset.

`data/facts/<relation>.tsv` has a fact per line, `subject<TAB>object`, below that header. A subject occurs once
per relation, so the question "subject -> object" has exactly one correct answer.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ernie_from_scratch.config import UserError

CHECKOUT_DATA = Path(__file__).resolve().parents[3] / "data"
INSTALLED_DATA = Path(sys.prefix) / "share" / "ernie_from_scratch" / "data"  # where a wheel puts it
DATA_FOLDER = CHECKOUT_DATA if (CHECKOUT_DATA / "facts").is_dir() else INSTALLED_DATA
HEADER = "subject\tobject"


@dataclass(frozen=True, order=True)
class Fact:
    """A true statement: `object` is the answer to the question for the `relation` of `subject`."""

    relation: str
    subject: str
    object: str

    @property
    def copyable(self) -> bool:
        """Whether the subject reveals the answer, as in 武汉大学 -> 武汉 or 墨西哥 -> 墨西哥城."""
        shared = max(
            (n for n in range(len(self.object) + 1) if _share(self.subject, self.object, n)), default=0
        )
        return shared >= 0.6 * len(self.object)


def _share(a: str, b: str, length: int) -> bool:
    """Whether `a` contains a substring of `b` of this length."""
    return any(b[i : i + length] in a for i in range(len(b) - length + 1))


def load_facts(folder: str | Path | None = None, relations: Sequence[str] | None = None) -> list[Fact]:
    """Reads every `<relation>.tsv` of `folder` (default: the shipped `data/facts`) in alphabetical order.

    `relations` names the tables that are allowed, by default all. Raises UserError if there is no table, an
    unknown one, or a malformed line (see `read_fact_table`).
    """
    folder = DATA_FOLDER / "facts" if folder is None else Path(folder)
    files = sorted(folder.glob("*.tsv"))
    if not files:
        raise UserError(f"no fact tables: {folder}; give a folder with <relation>.tsv files")
    facts: list[Fact] = []
    for file in files:
        if relations is not None and file.stem not in relations:
            raise UserError(f"unknown relation: {file}; known are {', '.join(sorted(relations))}")
        facts.extend(read_fact_table(file))
    return facts


def read_fact_table(file: str | Path) -> list[Fact]:
    """Reads one table; the relation is the stem of the file name. Raises UserError for malformed lines."""
    file = Path(file)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {file}; save the table as UTF-8 ({error.reason})") from None
    if not lines or lines[0] != HEADER:
        raise UserError(f"wrong header: {file}, line 1; the first line must be subject<TAB>object")
    facts: list[Fact] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        where = f"{file}, line {number}"
        fields = line.split("\t")
        if len(fields) != 2 or not all(fields):
            raise UserError(f"bad fact: {where}; a row is subject<TAB>object, this one is {line!r}")
        if any(field != field.strip() for field in fields):
            raise UserError(f"blanks around a field: {where}; remove them from {line!r}")
        subject, answer = fields
        if subject in first_line:
            raise UserError(
                f"subject occurs twice: {where}; {subject} is already on line {first_line[subject]}, keep one"
            )
        first_line[subject] = number
        facts.append(Fact(file.stem, subject, answer))
    return facts


def check_facts(facts: Iterable[Fact], min_facts: int = 2000, min_relations: int = 12) -> Counter:
    """Counts facts per relation. Raises UserError for too few facts, or for two answers to one subject."""
    counts: Counter = Counter()
    answers: dict[tuple[str, str], str] = {}
    for fact in facts:
        counts[fact.relation] += 1
        if answers.setdefault((fact.relation, fact.subject), fact.object) != fact.object:
            raise UserError(
                f"two answers: {fact.relation} of {fact.subject}; keep one object for each subject"
            )
    if counts.total() < min_facts or len(counts) < min_relations:
        raise UserError(
            f"too few facts: {counts.total()} over {len(counts)} relations; "
            f"the recipe needs {min_facts} over {min_relations}"
        )
    return counts


def choose_facts(facts: Sequence[Fact], count: int, seed: int = 1234, max_share: float = 0.25) -> list[Fact]:
    """Draws `count` facts, in proportion to the sizes of the relations, none above a share of `max_share`.

    Copyable facts (`Fact.copyable`) are left out: they would test copying, not memory. Equal arguments give
    equal facts. Raises UserError if there are not enough facts.
    """
    tables: dict[str, list[Fact]] = defaultdict(list)
    for fact in sorted(facts):
        if not fact.copyable:
            tables[fact.relation].append(fact)
    quotas = _quotas({name: len(table) for name, table in tables.items()}, count, max_share)
    chosen: list[Fact] = []
    for name, quota in quotas.items():
        chosen.extend(random.Random(f"{seed}:{name}").sample(tables[name], quota))
    random.Random(f"{seed}:order").shuffle(chosen)
    return chosen


def _quotas(sizes: dict[str, int], count: int, max_share: float) -> dict[str, int]:
    """Splits `count` in proportion to `sizes`, each at most `max_share` of it."""
    limit = {name: min(size, int(max_share * count)) for name, size in sizes.items()}
    if sum(limit.values()) < count:
        raise UserError(
            f"cannot choose {count} facts: {sum(limit.values())} remain with at most {max_share:.0%} for a "
            "relation; ask for fewer facts or raise the share"
        )
    low, high = 0.0, 1.0  # bisection for the sampling rate at which the capped quotas add up to `count`
    for _ in range(60):
        rate = (low + high) / 2
        taken = sum(min(limit[name], rate * size) for name, size in sizes.items())
        low, high = (rate, high) if taken < count else (low, rate)
    quotas = {name: int(min(limit[name], high * size)) for name, size in sizes.items()}
    by_free_capacity = sorted(sizes, key=lambda name: (quotas[name] - limit[name], name))
    while (missing := count - sum(quotas.values())) > 0:
        for name in [name for name in by_free_capacity if quotas[name] < limit[name]][:missing]:
            quotas[name] += 1
    return quotas
