"""Beam search over the tokens of [MASK] spans, for thousands of texts at once.

Three orders in which the k masks of a text are filled:
- left_to_right: the leftmost mask first; each later one is predicted with the earlier ones filled in.
- all_at_once: one forward pass; the masks are predicted independently of each other.
- most_confident: whichever mask has the most probable token first, then again (as in mask-predict, Ghazvininejad
  et al. 2019, with one token per iteration).

The score of a filling is the product of its tokens' probabilities, each at the time it was filled.

B rows of a batch, L sequence length, V vocabulary, M masked positions of a batch, K candidates per position.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.dataset.labelled import by_length
from ernie_from_scratch.deployment.tasks import STRATEGIES

MASK = "[MASK]"
MASK_SPAN = re.compile(r"\[MASK\](?:\s*\[MASK\])*")  # masks separated by white space only are one span

# (input_ids [B, L], token_type_ids [B, L], masked_positions [M], indices into B * L) -> logits [M, V]
LogitsFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Filling:
    """Tokens for all masks of a text, from left to right.

    Attributes:
        token_ids: one id per mask.
        token_scores: probability of each token at the time it was filled.
        score: their product.
        span_lengths: number of masks of each span.
    """

    token_ids: tuple[int, ...]
    token_scores: tuple[float, ...]
    score: float
    span_lengths: tuple[int, ...]

    @cached_property
    def spans(self) -> list[tuple[int, ...]]:
        """The token ids of each span."""
        ends = np.cumsum(self.span_lengths)
        return [
            self.token_ids[end - length : end] for end, length in zip(ends, self.span_lengths, strict=True)
        ]


def mask_spans(text: str, spans: Sequence[tuple[int, int]], tokenizer: Any) -> str:
    """`text` with each (start, end) span of characters replaced by one [MASK] for each of its tokens."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + MASK * len(tokenizer.tokenize(text[start:end])) + text[end:]
    return text


def fill_spans(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    strategy: str = STRATEGIES[0],
    beam_size: int = 5,
    batch_size: int = 64,
    max_seq_len: int | None = None,
) -> list[list[Filling]]:
    """The best fillings of every text, best first, at most `beam_size` each.

    Args:
        model: a network with a masked LM or pretraining head, or a `LogitsFunction`.
        texts: texts that contain [MASK]; all spans of a text are filled jointly.
        spans: for texts without [MASK]: the (start, end) character spans of each text to mask.
        strategy: one of STRATEGIES.
        beam_size: partial fillings kept per text; 1 is greedy search.
        batch_size: rows of one forward pass; rows of similar length are batched together.
        max_seq_len: longest row in tokens; default: the tokenizer's.

    Raises:
        UserError: unknown strategy, a text without [MASK], or a [MASK] beyond max_seq_len.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"unknown strategy: {strategy}; choose one of {', '.join(STRATEGIES)}")
    if beam_size < 1:
        raise UserError(f"beam_size is {beam_size}; it must be at least 1")
    if spans is not None:
        texts = [mask_spans(text, hidden, tokenizer) for text, hidden in zip(texts, spans, strict=True)]
    beams = [_Beam(text, tokenizer, max_seq_len or tokenizer.max_seq_len) for text in texts]
    predictor = _Predictor(logits_function(model), tokenizer.vocabulary, batch_size, beam_size)
    while unfinished := [beam for beam in beams if not beam.finished]:
        queries = [(b, h, b.next_positions(h, strategy)) for b in unfinished for h in b.hypotheses]
        answers = predictor.candidates([(b.input_ids(h), b.token_type_ids, where) for b, h, where in queries])
        expansions: dict[int, list[_Expansion]] = {id(beam): [] for beam in unfinished}
        for (beam, hypothesis, where), (ids, log_probs) in zip(queries, answers, strict=True):
            expansions[id(beam)].append((hypothesis, where, ids, log_probs))
        for beam in unfinished:
            beam.extend(expansions[id(beam)], strategy, beam_size)
    return [beam.fillings() for beam in beams]


def logits_function(model: Any) -> LogitsFunction:
    """A Paddle network as a LogitsFunction (dropout is off during a call); a function is returned as it is."""
    import paddle

    if not isinstance(model, paddle.nn.Layer):
        return model

    def run(input_ids: np.ndarray, token_type_ids: np.ndarray, masked_positions: np.ndarray) -> np.ndarray:
        was_training = model.training
        model.eval()
        with paddle.no_grad():
            output = model(
                paddle.to_tensor(input_ids),
                token_type_ids=paddle.to_tensor(token_type_ids),
                masked_positions=paddle.to_tensor(masked_positions),
            )
        if was_training:
            model.train()
        return (output[0] if isinstance(output, tuple) else output).astype("float32").numpy()  # [M, V]

    return run


class _Predictor:
    """Runs the model, batch by batch, and keeps the K most probable tokens of each position."""

    def __init__(self, logits: LogitsFunction, vocabulary: Any, batch_size: int, beam_size: int):
        self.logits, self.batch_size, self.pad_id = logits, batch_size, vocabulary.pad_id
        self.special_ids = np.array(sorted(set(vocabulary.special_ids)))
        self.vocab_size = len(vocabulary)
        self.count = min(beam_size, self.vocab_size - len(self.special_ids))  # K

    def candidates(
        self, rows: Sequence[tuple[np.ndarray, np.ndarray, Sequence[int]]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """For rows (input_ids, token_type_ids, positions): token ids and log-probabilities [positions, K] of each
        row, the most probable first.
        """
        answers: list[Any] = [None] * len(rows)
        for numbers in by_length([len(ids) for ids, _, _ in rows], self.batch_size):
            batch = [rows[number] for number in numbers]
            length = max(len(ids) for ids, _, _ in batch)  # L
            input_ids = np.full((len(batch), length), self.pad_id, dtype=np.int64)  # [B, L]
            token_type_ids = np.zeros_like(input_ids)  # [B, L]
            for row, (ids, types, _) in enumerate(batch):
                input_ids[row, : len(ids)], token_type_ids[row, : len(ids)] = ids, types
            flat = [row * length + position for row, (_, _, where) in enumerate(batch) for position in where]
            logits = self.logits(input_ids, token_type_ids, np.array(flat, dtype=np.int64))  # [M, V]
            token_ids, log_probs = self._top(logits)  # [M, K] each
            start = 0
            for number, (_, _, where) in zip(numbers, batch, strict=True):
                end = start + len(where)
                answers[number] = (token_ids[start:end], log_probs[start:end])
                start = end
        return answers

    def _top(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        highest = logits.max(-1, keepdims=True)  # [M, 1]
        log_total = highest + np.log(np.exp(logits - highest).sum(-1, keepdims=True))  # [M, 1]
        allowed = logits[:, : self.vocab_size].copy()  # V may be larger than the vocabulary
        allowed[:, self.special_ids] = -np.inf
        if self.count == 1:
            ids = allowed.argmax(-1)[:, None]  # [M, 1]
        else:
            ids = np.argpartition(-allowed, self.count - 1, axis=-1)[:, : self.count]  # [M, K]
            order = np.argsort(-np.take_along_axis(allowed, ids, -1), axis=-1, kind="stable")
            ids = np.take_along_axis(ids, order, -1)
        return ids, np.take_along_axis(allowed, ids, -1) - log_total


@dataclass(frozen=True)
class _Hypothesis:
    """A partial filling: position in the row -> (token id, log-probability)."""

    filled: dict[int, tuple[int, float]]
    log_score: float


# A hypothesis, the positions predicted for it, and their candidates: token ids and log-probabilities.
_Expansion = tuple[_Hypothesis, Sequence[int], np.ndarray, np.ndarray]


class _Beam:
    """The hypotheses of one text."""

    def __init__(self, text: str, tokenizer: Any, max_seq_len: int):
        self.span_lengths = tuple(match.group().count(MASK) for match in MASK_SPAN.finditer(text))
        if not self.span_lengths:
            raise UserError(f"no [MASK] in the text {text[:40]!r}; write one [MASK] for each masked token")
        encoded = tokenizer.encode(text, max_seq_len=max_seq_len)
        self.masked_ids = np.array(encoded["input_ids"], dtype=np.int64)  # [L]
        self.token_type_ids = np.array(encoded["token_type_ids"], dtype=np.int64)  # [L]
        self.positions = np.flatnonzero(self.masked_ids == tokenizer.vocabulary.mask_id)
        if len(self.positions) < sum(self.span_lengths):
            raise UserError(
                f"text too long: {text[:40]!r} has a [MASK] beyond {max_seq_len} tokens; shorten it"
            )
        self.hypotheses = [_Hypothesis({}, 0.0)]

    @property
    def finished(self) -> bool:
        return len(self.hypotheses[0].filled) == len(self.positions)

    def input_ids(self, hypothesis: _Hypothesis) -> np.ndarray:
        ids = self.masked_ids.copy()
        for position, (token, _) in hypothesis.filled.items():
            ids[position] = token
        return ids

    def next_positions(self, hypothesis: _Hypothesis, strategy: str) -> list[int]:
        """The positions to predict next."""
        unfilled = [position for position in self.positions if position not in hypothesis.filled]
        return unfilled[:1] if strategy == "left_to_right" else unfilled

    def extend(self, expansions: Sequence[_Expansion], strategy: str, beam_size: int) -> None:
        """Replace the hypotheses by their best extensions."""
        if strategy == "all_at_once":
            _, positions, ids, log_probs = expansions[0]
            for number, position in enumerate(positions):
                steps = [(h, position, ids[number], log_probs[number]) for h in self.hypotheses]
                self._keep_best(steps, beam_size)
            return
        steps = []
        for hypothesis, positions, ids, log_probs in expansions:
            number = int(log_probs[:, 0].argmax())  # the position with the most probable token
            steps.append((hypothesis, positions[number], ids[number], log_probs[number]))
        self._keep_best(steps, beam_size)

    def _keep_best(
        self, steps: Iterable[tuple[_Hypothesis, int, np.ndarray, np.ndarray]], beam_size: int
    ) -> None:
        best: dict[tuple, _Hypothesis] = {}  # two orders may give the same tokens: the better score is kept
        for hypothesis, position, ids, log_probs in steps:
            for token, log_prob in zip(ids.tolist(), log_probs.tolist(), strict=True):
                filled = {**hypothesis.filled, int(position): (token, log_prob)}
                key = tuple(sorted((where, token_id) for where, (token_id, _) in filled.items()))
                extended = _Hypothesis(filled, hypothesis.log_score + log_prob)
                if key not in best or extended.log_score > best[key].log_score:
                    best[key] = extended
        self.hypotheses = sorted(best.values(), key=lambda h: -h.log_score)[:beam_size]

    def fillings(self) -> list[Filling]:
        """The hypotheses, once all masks are filled."""
        fillings = []
        for hypothesis in self.hypotheses:
            chosen = [hypothesis.filled[int(position)] for position in self.positions]
            fillings.append(
                Filling(
                    token_ids=tuple(token for token, _ in chosen),
                    token_scores=tuple(float(np.exp(log_prob)) for _, log_prob in chosen),
                    score=float(np.exp(hypothesis.log_score)),
                    span_lengths=self.span_lengths,
                )
            )
        return fillings
