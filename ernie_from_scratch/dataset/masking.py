"""Dynamic masking of one row: which tokens the model has to guess, in units of characters up to entities.

Levels (Sun et al. 2019, "ERNIE: Enhanced representation through knowledge integration", section 3.2):
  char    single tokens (basic-level masking)
  word    words as segmented: a word is masked whole, in n-grams of words (as in PaddleNLP's ernie-1.0)
  phrase  phrases, runs of words (phrase-level masking)
  entity  named entities (entity-level masking)

The paper trains in three stages: it masks 15 percent of the basic units, then "a few phrases", then entities,
each time predicting every character of the unit; it doesn't say what happens when a row's entities are fewer
than the budget. Here entities come first, in random order, and words outside entities fill the rest of the
budget. ERNIE's released reader draws per file whether words or characters are masked, which is what a mix by
share is here.

Taken from PaddleNLP's create_masked_lm_predictions: the order of units is random, n-gram length n has p ~
1/n, an n-gram that overshoots the budget is shortened, a unit that still overshoots is skipped, as is one
that touches a masked token. 80 % [MASK], 10 % unchanged, 10 % random. Unlike there: n-grams don't cross
[SEP] or a special token; [UNK] is never a target; random tokens are never specials or `##` forms; the budget
counts tokens without [CLS] and [SEP]; a row with a unit always has at least one masked token. The first
entity drawn may overshoot (short of half the row), else long entities would never be learnt.
"""

from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.dataset.rng import Purpose, below, below_at, draws, fold, uniform, uniform_at
from ernie_from_scratch.dataset.settings import LEVELS, DataSettings
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.spans import ENTITY_START, PHRASE_START, TYPE_SHIFT, WORD_START

CHAR, WORD, PHRASE, ENTITY = range(len(LEVELS))
MASKED, KEPT = 0.8, 0.9  # below the first: [MASK]; below the second: unchanged; else random


@dataclass(frozen=True)
class MaskingRules:
    """How rows are masked."""

    stages: tuple  # of (first sample number, cumulative shares of LEVELS), rising
    masked_lm_prob: float = DataSettings.masked_lm_prob
    max_ngrams: int = DataSettings.max_ngrams
    favor_longer_ngram: bool = DataSettings.favor_longer_ngram
    replace_per: str = DataSettings.replace_per  # "token"; "unit": one 80/10/10 draw for a unit (SpanBERT)

    def ngram_shares(self) -> np.ndarray:
        """Cumulative probability of n = 1 to max_ngrams."""
        shares = 1.0 / np.arange(1, self.max_ngrams + 1)
        shares = shares[::-1] if self.favor_longer_ngram else shares
        return np.cumsum(shares / shares.sum())

    def level(self, sample_number: int, key: int) -> int:
        """The level that a row is masked at."""
        shares = [shares for first, shares in self.stages if first <= sample_number][-1]
        draw = uniform_at(fold(key, Purpose.LEVEL), 0)
        return min(sum(draw >= share for share in shares), len(LEVELS) - 1)


@dataclass(frozen=True)
class MaskedRow:
    """A row as the model gets it. N tokens with specials, M masked."""

    input_ids: np.ndarray  # [N]
    positions: np.ndarray  # [M], rising
    labels: np.ndarray  # [M]
    kinds: np.ndarray  # [M] uint8, entity type of each masked token


@dataclass(frozen=True)
class Units:
    """What may be masked, from left to right. U units."""

    starts: np.ndarray  # [U] first position
    ends: np.ndarray  # [U] one past the last
    entity: np.ndarray  # [U] bool


def find_units(spans: np.ndarray, special: np.ndarray, level: int) -> Units:
    """The units of a row.

    Args:
        spans: [N] uint8, bits of text/spans.py; [CLS], [SEP] and each segment's first token start a word.
        special: [N] bool, tokens that are never masked; a unit that holds one isn't a unit.
        level: index into LEVELS.
    """
    if level == CHAR:
        begins = np.ones(len(spans), dtype=bool)
    else:
        begins = (spans & (PHRASE_START if level == PHRASE else WORD_START)) != 0
    inside = entity_tokens(spans) if level == ENTITY else np.zeros(len(spans), dtype=bool)
    begins = np.where(inside, spans & ENTITY_START != 0, begins)
    begins[0] = True
    begins[1:] |= inside[:-1] & ~inside[1:]  # the rest of a word whose beginning belongs to an entity
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(spans))
    specials_before = np.concatenate([[0], np.cumsum(special)])
    clean = specials_before[ends] == specials_before[starts]
    return Units(starts[clean], ends[clean], inside[starts[clean]])


def entity_tokens(spans: np.ndarray) -> np.ndarray:
    """Which tokens are in an entity: from an ENTITY_START on while the type, not 0, stays ([N] bool)."""
    kinds = spans >> TYPE_SHIFT
    begins = (spans & ENTITY_START != 0) & (kinds != 0)
    run_begins = begins.copy()
    run_begins[0] = True
    run_begins[1:] |= kinds[1:] != kinds[:-1]
    # A run of one type that doesn't begin with ENTITY_START (cut off by a segment's end) isn't an entity.
    return begins[np.maximum.accumulate(np.where(run_begins, np.arange(len(spans)), 0))]


def choose_masked(units: Units, count: int, level: int, rules: MaskingRules, key: int) -> dict[int, int]:
    """Which positions to mask: {position: start of its unit}; `count` tokens of A and B together."""
    budget = max(1, round(rules.masked_lm_prob * count))
    masked: dict[int, int] = {}
    if level == ENTITY:
        entities, words = np.flatnonzero(units.entity), np.flatnonzero(~units.entity)
        _choose(units, entities, masked, budget, fold(key, Purpose.ENTITY_ORDER), None, count // 2)
        _choose(units, words, masked, budget, fold(key, Purpose.UNIT_ORDER), None, 0)
    else:
        everything = np.arange(len(units.starts))
        lengths = _ngram_lengths(len(everything), rules, key)
        _choose(units, everything, masked, budget, fold(key, Purpose.UNIT_ORDER), lengths, 0)
    if not masked and len(units.starts):  # every unit is longer than the budget
        unit = below_at(fold(key, Purpose.UNIT_ORDER), 0, len(units.starts))
        masked.update(
            (position, int(units.starts[unit])) for position in range(units.starts[unit], units.ends[unit])
        )
    return masked


def _ngram_lengths(count: int, rules: MaskingRules, key: int) -> np.ndarray:
    draw = uniform(draws(fold(key, Purpose.NGRAM), np.arange(count)))
    return np.minimum(1 + np.searchsorted(rules.ngram_shares(), draw, side="right"), rules.max_ngrams)


def _choose(units, candidates, masked, budget, key, ngram_lengths, first_may_take) -> None:
    """Go through `candidates` in random order (Fisher-Yates) and mask what fits."""
    order = candidates.tolist()
    picks = below(draws(key, np.arange(len(order))), len(order) - np.arange(len(order)))
    starts, ends = units.starts.tolist(), units.ends.tolist()
    for turn in range(len(order)):
        if len(masked) >= budget:
            return
        swap = turn + int(picks[turn])
        order[turn], order[swap] = order[swap], order[turn]
        first = last = order[turn]
        if ngram_lengths is not None:
            wanted = first + int(ngram_lengths[turn]) - 1
            while last < wanted and last + 1 < len(starts) and starts[last + 1] == ends[last]:
                last += 1
        room = max(budget - len(masked), 0 if masked else first_may_take)
        while ends[last] - starts[first] > room and last > first:
            last -= 1
        if ends[last] - starts[first] > room or any(p in masked for p in range(starts[first], ends[last])):
            continue
        for unit in range(first, last + 1):
            masked.update((position, starts[unit]) for position in range(starts[unit], ends[unit]))


def mask_row(
    ids, spans, count: int, tokens: TokenTable, level: int, rules: MaskingRules, key: int
) -> MaskedRow:
    """Mask one row.

    Args:
        ids: [N] int64, [CLS] A [SEP] or [CLS] A [SEP] B [SEP], with `##` forms.
        spans: [N] uint8 as in `find_units`.
        count: tokens of A and B.
    """
    chosen = choose_masked(find_units(spans, tokens.special[ids], level), count, level, rules, key)
    positions = np.array(sorted(chosen), dtype=np.int64)
    input_ids = tokens.plain[ids]
    labels = input_ids[positions]
    decided_at = (
        [chosen[position] for position in positions.tolist()] if rules.replace_per == "unit" else positions
    )
    decision = uniform(draws(fold(key, Purpose.REPLACE), decided_at))
    other = tokens.replacements[below(draws(fold(key, Purpose.TOKEN), positions), len(tokens.replacements))]
    input_ids[positions] = np.where(
        decision < MASKED, tokens.mask_id, np.where(decision < KEPT, labels, other)
    )
    return MaskedRow(input_ids, positions, labels, spans[positions] >> TYPE_SHIFT)
