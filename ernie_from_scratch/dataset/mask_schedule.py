"""Which masking level a row gets: one level, a mix by share, or the paper's stages."""

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.settings import LEVELS, MASKING
from ernie_from_scratch.text.corpus.prepared import PreparedCorpus

KNOWLEDGE_MIX = {
    "char": 1.0,
    "phrase": 1.0,
    "entity": 1.0,
}  # the paper's levels, each for a third of the rows

Levels = str | dict[str, float]  # one level, or {level: share}
Schedule = Levels | list[tuple[int, Levels]]
Stages = tuple[tuple[int, tuple[float, ...]], ...]


def mask_stages(masking: str, schedule: Schedule | None = None) -> Stages:
    """(first sample number, cumulative shares of LEVELS) of each stage.

    Args:
        masking: a level, or "knowledge".
        schedule: for "knowledge": {level: share}, or [(first sample number, level or {level: share}), …]. The
            paper's three stages over n samples: [(0, "char"), (n // 3, "phrase"), (2 * n // 3, "entity")].

    Raises:
        UserError: the schedule is malformed, or given without masking="knowledge".
    """
    if masking not in MASKING:
        raise UserError(f"masking {masking!r} is unknown; choose one of {', '.join(MASKING)}")
    if masking != "knowledge":
        if schedule is not None:
            raise UserError(
                f"mask_schedule goes with masking=knowledge, not {masking}; leave one of the two out"
            )
        schedule = masking
    schedule = KNOWLEDGE_MIX if schedule is None else schedule
    stages = [(0, schedule)] if isinstance(schedule, dict | str) else schedule
    try:
        stages = [(int(first), levels) for first, levels in stages]
    except (TypeError, ValueError):
        stages = []
    firsts = [first for first, _ in stages]
    if not firsts or firsts[0] != 0 or firsts != sorted(set(firsts)):
        raise UserError(
            f"mask_schedule {schedule!r} is neither shares of levels nor stages in order from sample 0; "
            'write {"char": 1, "entity": 2} or [(0, "char"), (100000, "entity")]'
        )
    return tuple((first, _cumulative_shares(levels)) for first, levels in stages)


def read_schedule(text: str | None, steps: int, samples_per_step: int) -> Schedule | None:
    """The `schedule` of `mask_stages` from one line of text.

    Args:
        text: "stages", the paper's: char, phrase and entity for a third of the run each; or shares, as in
            "char 1, entity 2"; or stages that start at a step, as in "0: char; 5000: phrase 1, entity 1"; or
            None.
        steps: of the whole run.
        samples_per_step: the global batch size.

    Raises:
        UserError: the text is none of these.
    """
    if text is None:
        return None
    if text.strip() == "stages":
        return [(steps * n // 3 * samples_per_step, level) for n, level in enumerate(KNOWLEDGE_MIX)]
    stages = []
    for stage in text.split(";"):
        first, colon, levels = stage.rpartition(":")
        shares = [share.split() for share in levels.split(",")]
        try:
            step = int(first) if colon else 0
            names = [name for name, *_ in shares]
            mix = {name: float(*number) if number else 1.0 for name, *number in shares}
        except (ValueError, TypeError):
            step, names, mix = 0, [], {}
        if not mix or len(mix) < len(names) or not set(mix) <= set(LEVELS):
            raise UserError(
                f"mask_schedule {text!r}: cannot read {stage.strip()!r}; write stages, or shares of "
                f"{', '.join(LEVELS)} as in 'char 1, entity 2' or '0: char; 5000: phrase 1, entity 1'"
            )
        stages.append((step * samples_per_step, mix))
    return stages


def _cumulative_shares(levels: Levels) -> tuple[float, ...]:
    shares = {levels: 1.0} if isinstance(levels, str) else levels
    if not isinstance(shares, dict) or not set(shares) <= set(LEVELS):
        raise UserError(f"mask_schedule levels {levels!r}: choose from {', '.join(LEVELS)}")
    try:
        values = np.array([float(shares.get(level, 0.0)) for level in LEVELS])
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not (np.all(values >= 0) and 0 < values.sum() < np.inf):
        raise UserError(f"mask_schedule shares {shares!r}: give numbers of at least 0, not all 0")
    cumulative = np.cumsum(values) / values.sum()
    cumulative[np.flatnonzero(values)[-1] :] = 1.0  # exactly, despite rounding
    return tuple(cumulative.tolist())


def check_levels(corpus: PreparedCorpus, stages: Stages, masking: str) -> None:
    """Raise UserError when a corpus lacks the boundaries that `masking` needs."""
    shares = np.array([shares for _, shares in stages])  # [stages, levels]
    used = np.diff(shares, axis=1, prepend=0.0).max(axis=0) > 0
    needed = [level for level, is_used in zip(LEVELS, used, strict=True) if is_used]
    for level in ("phrase", "entity"):
        if level in needed and corpus.stored_spans is None:
            raise UserError(
                f"masking={masking} needs {level} boundaries, but {corpus.prefix}_spans.npy is missing; "
                "prepare the text again with `ernie prepare`, or use masking=word"
            )
    if "entity" in needed and not corpus.has_entities():
        raise UserError(
            f"masking={masking} needs entities, but {corpus.prefix}_spans.npy has none; prepare the text "
            "again with `--segmenter lac` or a `--user_dict` with entity types, or use masking=phrase"
        )
