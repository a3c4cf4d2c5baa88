"""Dynamic masking of one row: which tokens the model predicts, in units from characters to entities.

Levels (Sun et al. 2019, "ERNIE: Enhanced representation through knowledge integration", section 3.2):
  char    single tokens (basic-level masking)
  word    words as segmented (whole word masking), in n-grams of words as in PaddleNLP's ernie-1.0
  phrase  phrases, runs of words (phrase-level masking)
  entity  named entities (entity-level masking)

The paper trains in three stages: it masks 15 percent of the basic units, then "a few phrases", then entities,
each time predicting every character of the unit; it does not say what to do when a row has fewer entities
than the budget. Here entities come first, in random order, and words outside entities use the rest of the
budget. ERNIE's released reader draws for each file whether words or characters are masked; here that is a mix
of levels by share.

As in PaddleNLP's create_masked_lm_predictions: the order of units is random, n-gram length n has p ~ 1/n, an
n-gram that exceeds the budget is shortened, and a unit that still exceeds it is skipped, as is one that
overlaps a masked token. 80 % become [MASK], 10 % stay unchanged, 10 % become a random token. Unlike there,
n-grams do not cross [SEP] or another special token, [UNK] is never masked, random tokens are never special
tokens or `##` forms, the budget counts tokens without [CLS] and [SEP], and a row with a unit always has at
least one masked token. The first entity drawn may exceed the budget, up to half of the row; otherwise long
entities would never be masked.
"""

from dataclasses import dataclass

import numpy as np

from ernie_from_scratch.dataset.rng import Purpose, below, below_at, draws, fold, uniform, uniform_at
from ernie_from_scratch.dataset.settings import LEVELS, DataSettings
from ernie_from_scratch.dataset.tokens import TokenTable
from ernie_from_scratch.text.corpus.spans import ENTITY_START, PHRASE_START, TYPE_SHIFT, WORD_START

CHAR, WORD, PHRASE, ENTITY = range(len(LEVELS))
MASKED, KEPT = 0.8, 0.9  # a draw below MASKED gives [MASK], below KEPT the token itself, else a random one


@dataclass(frozen=True)
class MaskingRules:
    """How rows are masked. The fingerprint of the data depends on the names of this class and its fields."""

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
        """Index into LEVELS of the level that a row is masked at."""
        shares = [shares for first, shares in self.stages if first <= sample_number][-1]
        draw = uniform_at(fold(key, Purpose.LEVEL), 0)
        return min(sum(draw >= share for share in shares), len(LEVELS) - 1)


@dataclass(frozen=True)
class MaskedRow:
    """A row as the model sees it. N tokens with [CLS] and [SEP], M masked."""

    input_ids: np.ndarray  # [N] int64
    positions: np.ndarray  # [M] int64, ascending
    labels: np.ndarray  # [M] int64
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
        spans: [N] uint8 of spans.py; [CLS], [SEP] and each segment's first token start a word.
        special: [N] bool, tokens that are never masked; what contains one is not a unit.
        level: index into LEVELS.
    """
    if level == CHAR:
        is_start = np.ones(len(spans), dtype=bool)
    else:
        is_start = (spans & (PHRASE_START if level == PHRASE else WORD_START)) != 0
    in_entity = entity_tokens(spans) if level == ENTITY else np.zeros(len(spans), dtype=bool)
    is_start = np.where(in_entity, spans & ENTITY_START != 0, is_start)
    is_start[0] = True
    is_start[1:] |= in_entity[:-1] & ~in_entity[1:]  # the rest of a word that starts inside an entity
    starts = np.flatnonzero(is_start)
    ends = np.append(starts[1:], len(spans))
    specials_before = np.concatenate([[0], np.cumsum(special)])
    maskable = specials_before[ends] == specials_before[starts]
    return Units(starts[maskable], ends[maskable], in_entity[starts[maskable]])


def entity_tokens(spans: np.ndarray) -> np.ndarray:
    """Which tokens are in an entity: from an ENTITY_START as long as the type stays the same ([N] bool)."""
    kinds = spans >> TYPE_SHIFT
    entity_start = (spans & ENTITY_START != 0) & (kinds != 0)
    run_start = entity_start.copy()
    run_start[0] = True
    run_start[1:] |= kinds[1:] != kinds[:-1]
    # A run of one type without ENTITY_START, truncated by the start of a segment, is not an entity.
    return entity_start[np.maximum.accumulate(np.where(run_start, np.arange(len(spans)), 0))]


def choose_masked(units: Units, count: int, level: int, rules: MaskingRules, key: int) -> dict[int, int]:
    """Which positions to mask: {position: start of its unit}; `count` is the number of tokens of A and B."""
    budget = max(1, round(rules.masked_lm_prob * count))
    masked: dict[int, int] = {}
    if level == ENTITY:
        entities, words = np.flatnonzero(units.entity), np.flatnonzero(~units.entity)
        _choose(units, entities, masked, budget, fold(key, Purpose.ENTITY_ORDER), None, count // 2)
        _choose(units, words, masked, budget, fold(key, Purpose.UNIT_ORDER), None, 0)
    else:
        all_units = np.arange(len(units.starts))
        lengths = _ngram_lengths(len(all_units), rules, key)
        _choose(units, all_units, masked, budget, fold(key, Purpose.UNIT_ORDER), lengths, 0)
    if not masked and len(units.starts):  # every unit is longer than the budget
        unit = below_at(fold(key, Purpose.UNIT_ORDER), 0, len(units.starts))
        start, end = int(units.starts[unit]), int(units.ends[unit])
        masked.update((position, start) for position in range(start, end))
    return masked


def _ngram_lengths(count: int, rules: MaskingRules, key: int) -> np.ndarray:
    draw = uniform(draws(fold(key, Purpose.NGRAM), np.arange(count)))
    return np.minimum(1 + np.searchsorted(rules.ngram_shares(), draw, side="right"), rules.max_ngrams)


def _choose(units, candidates, masked, budget, key, ngram_lengths, first_limit) -> None:
    """Go through `candidates` in random order (Fisher-Yates) and add to `masked` what fits the budget.

    The first unit may have up to `first_limit` tokens.
    """
    order = candidates.tolist()
    offsets = below(draws(key, np.arange(len(order))), len(order) - np.arange(len(order)))
    starts, ends = units.starts.tolist(), units.ends.tolist()
    for i in range(len(order)):
        if len(masked) >= budget:
            return
        swap = i + int(offsets[i])
        order[i], order[swap] = order[swap], order[i]
        first = last = order[i]
        if ngram_lengths is not None:
            target = first + int(ngram_lengths[i]) - 1
            while last < target and last + 1 < len(starts) and starts[last + 1] == ends[last]:
                last += 1
        limit = max(budget - len(masked), 0 if masked else first_limit)
        while ends[last] - starts[first] > limit and last > first:
            last -= 1
        if ends[last] - starts[first] > limit or any(p in masked for p in range(starts[first], ends[last])):
            continue
        for unit in range(first, last + 1):
            masked.update((position, starts[unit]) for position in range(starts[unit], ends[unit]))


def mask_row(
    ids: np.ndarray,
    spans: np.ndarray,
    count: int,
    tokens: TokenTable,
    level: int,
    rules: MaskingRules,
    key: int,
) -> MaskedRow:
    """Mask one row.

    Args:
        ids: [N] int64, [CLS] A [SEP] or [CLS] A [SEP] B [SEP], with `##` forms.
        spans: [N] uint8 as in `find_units`.
        count: tokens of A and B.
        level: index into LEVELS.
    """
    masked = choose_masked(find_units(spans, tokens.special[ids], level), count, level, rules, key)
    positions = np.array(sorted(masked), dtype=np.int64)  # [M]
    input_ids = tokens.model_ids[ids]  # [N]
    labels = input_ids[positions]  # [M]
    unit_starts = np.array([masked[position] for position in positions.tolist()], dtype=np.int64)  # [M]
    draw_at = unit_starts if rules.replace_per == "unit" else positions
    draw = uniform(draws(fold(key, Purpose.REPLACE), draw_at))  # [M]
    drawn = tokens.replacements[below(draws(fold(key, Purpose.TOKEN), positions), len(tokens.replacements))]
    input_ids[positions] = np.where(draw < MASKED, tokens.mask_id, np.where(draw < KEPT, labels, drawn))
    return MaskedRow(input_ids, positions, labels, spans[positions] >> TYPE_SHIFT)
