"""Filling whole [MASK] spans: beam search over the tokens of a span, for thousands of texts at once.

Three orders of filling, for the k masks of a text:
- all_at_once: one forward pass; the masks are taken as independent of each other.
- left_to_right: the leftmost mask first; each later one sees what was filled before it.
- most_confident: whichever mask the model is surest of first, then again (as mask-predict, Ghazvininejad
  2019, with one token a round).

The score of a filling is the product of its tokens' probabilities, each taken when that token was filled.

B rows of a batch, L sequence, V vocabulary, M masked positions asked for in one batch.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ernie_from_scratch.config import UserError
from ernie_from_scratch.finetuning.batches import by_length

STRATEGIES = ("left_to_right", "all_at_once", "most_confident")
MASK = "[MASK]"
SPAN = re.compile(
    r"\[MASK\](?:\s*\[MASK\])*"
)  # masks with nothing but white space between them belong together

# (input_ids [B, L], token_type_ids [B, L], masked_positions [M] flat into B * L) -> logits [M, V]
Scorer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Filling:
    """Tokens for all masks of a text, from left to right.

    Attributes:
        token_ids: one id per mask.
        token_scores: probability of each token at the moment when it was filled.
        score: their product.
        span_lengths: how many of the masks belong to each span.
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


def mask_spans(text: str, spans: Sequence[tuple[int, int]], tokenizer) -> str:
    """`text` with each (start, end) of characters replaced by as many [MASK] as it has tokens."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + MASK * len(tokenizer.tokenize(text[start:end])) + text[end:]
    return text


def fill_spans(
    model,
    tokenizer,
    texts: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]] | None = None,
    strategy: str = "left_to_right",
    beam_size: int = 5,
    batch_size: int = 64,
    max_seq_len: int | None = None,
) -> list[list[Filling]]:
    """The best fillings of every text, best first, at most `beam_size` each.

    Args:
        model: ErnieForMaskedLM, ErnieForPretraining, or a `Scorer`.
        texts: texts with [MASK] in them; several spans in one text are filled together.
        spans: instead of written masks: for each text the (start, end) character spans to hide.
        strategy: one of STRATEGIES.
        beam_size: partial fillings kept per text; 1 is greedy search.
        batch_size: rows of one forward pass; rows of like length go together.
        max_seq_len: longest row in tokens; default: the tokenizer's.

    Raises:
        UserError: unknown strategy, a text without [MASK], or one too long for its masks.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"unknown strategy: {strategy}; choose one of {', '.join(STRATEGIES)}")
    if beam_size < 1:
        raise UserError(f"beam_size is {beam_size}; it must be at least 1")
    if spans is not None:
        texts = [mask_spans(text, places, tokenizer) for text, places in zip(texts, spans, strict=True)]
    searches = [_Search(text, tokenizer, max_seq_len or tokenizer.max_seq_len) for text in texts]
    scorer = _Candidates(as_scorer(model), tokenizer.vocabulary, batch_size, beam_size)
    while open_searches := [search for search in searches if not search.done]:
        asked = [(s, h, s.places_to_ask(h, strategy)) for s in open_searches for h in s.hypotheses]
        answers = scorer.best_tokens([(s.filled_in(h), s.types, places) for s, h, places in asked])
        found = {id(search): [] for search in open_searches}
        for (search, hypothesis, places), (ids, logs) in zip(asked, answers, strict=True):
            found[id(search)].append((hypothesis, places, ids, logs))
        for search in open_searches:
            search.extend(found[id(search)], strategy, beam_size)
    return [search.fillings() for search in searches]


def as_scorer(model) -> Scorer:
    """A Paddle model as a Scorer (dropout off while it is asked); a Scorer stays as it is."""
    import paddle

    if not isinstance(model, paddle.nn.Layer):
        return model

    def score(input_ids, token_type_ids, masked_positions):
        was_training = model.training
        model.eval()
        with paddle.no_grad():
            scores = model(
                paddle.to_tensor(input_ids),
                token_type_ids=paddle.to_tensor(token_type_ids),
                masked_positions=paddle.to_tensor(masked_positions),
            )
        if was_training:
            model.train()
        return (scores[0] if isinstance(scores, tuple) else scores).astype("float32").numpy()  # [M, V]

    return score


class _Candidates:
    """Asks the model, batch by batch, for the likeliest tokens of given places."""

    def __init__(self, scorer, vocabulary, batch_size, beam_size):
        self.scorer, self.batch_size, self.pad_id = scorer, batch_size, vocabulary.pad_id
        self.forbidden = np.array(sorted(set(vocabulary.special_ids)))
        self.count = min(beam_size, len(vocabulary) - len(self.forbidden))
        self.size = len(vocabulary)

    def best_tokens(self, rows) -> list[tuple[np.ndarray, np.ndarray]]:
        """For rows (ids, types, places): ids and log-probabilities [places, count] of each, best first."""
        answers = [None] * len(rows)
        for numbers in by_length([len(ids) for ids, _, _ in rows], self.batch_size):
            batch = [rows[number] for number in numbers]
            length = max(len(ids) for ids, _, _ in batch)  # L
            input_ids = np.full((len(batch), length), self.pad_id, dtype=np.int64)  # [B, L]
            token_type_ids = np.zeros_like(input_ids)  # [B, L]
            for row, (ids, types, _) in enumerate(batch):
                input_ids[row, : len(ids)], token_type_ids[row, : len(ids)] = ids, types
            flat = [row * length + place for row, (_, _, places) in enumerate(batch) for place in places]
            logits = self.scorer(input_ids, token_type_ids, np.array(flat, dtype=np.int64))  # [M, V]
            ids, logs = self._best(logits)  # [M, count] each
            start = 0
            for number, (_, _, places) in zip(numbers, batch, strict=True):
                answers[number] = (ids[start : start + len(places)], logs[start : start + len(places)])
                start += len(places)
        return answers

    def _best(self, logits):
        highest = logits.max(-1, keepdims=True)  # [M, 1]
        total = highest + np.log(np.exp(logits - highest).sum(-1, keepdims=True))  # [M, 1]
        allowed = logits[:, : self.size].copy()  # a model may have more rows than its vocabulary has tokens
        allowed[:, self.forbidden] = -np.inf
        if self.count == 1:
            ids = allowed.argmax(-1)[:, None]  # [M, 1]
        else:
            ids = np.argpartition(-allowed, self.count - 1, axis=-1)[:, : self.count]  # [M, count]
            order = np.argsort(-np.take_along_axis(allowed, ids, -1), axis=-1, kind="stable")
            ids = np.take_along_axis(ids, order, -1)
        return ids, np.take_along_axis(allowed, ids, -1) - total


@dataclass(frozen=True)
class _Hypothesis:
    """A partial filling: place in the row -> (token id, log-probability)."""

    filled: dict[int, tuple[int, float]]
    log_score: float


class _Search:
    """The beam of one text."""

    def __init__(self, text, tokenizer, max_seq_len):
        markers = [len(re.findall(re.escape(MASK), match.group())) for match in SPAN.finditer(text)]
        if not markers:
            raise UserError(f"no [MASK] in the text {text[:40]!r}; write one [MASK] for each hidden token")
        encoded = tokenizer.encode(text, max_seq_len=max_seq_len)
        self.ids = np.array(encoded["input_ids"], dtype=np.int64)  # [L]
        self.types = np.array(encoded["token_type_ids"], dtype=np.int64)  # [L]
        self.places = np.flatnonzero(self.ids == tokenizer.vocabulary.mask_id)
        if len(self.places) < sum(markers):
            raise UserError(
                f"text too long: {text[:40]!r} has a [MASK] beyond {max_seq_len} tokens; shorten it"
            )
        self.span_lengths = tuple(markers)
        self.hypotheses = [_Hypothesis({}, 0.0)]

    @property
    def done(self):
        return len(self.hypotheses[0].filled) == len(self.places)

    def filled_in(self, hypothesis):
        ids = self.ids.copy()
        for place, (token, _) in hypothesis.filled.items():
            ids[place] = token
        return ids

    def places_to_ask(self, hypothesis, strategy):
        rest = [place for place in self.places if place not in hypothesis.filled]
        return rest[:1] if strategy == "left_to_right" else rest

    def extend(self, answers, strategy, beam_size):
        """Replace the beam by the best continuations; answers hold (hypothesis, places, ids, logs)."""
        if strategy == "all_at_once":
            (_, places, ids, logs) = answers[0]
            for number, place in enumerate(places):
                self._keep([(h, place, ids[number], logs[number]) for h in self.hypotheses], beam_size)
            return
        surest = [int(logs[:, 0].argmax()) for _, _, _, logs in answers]
        steps = [
            (h, places[n], ids[n], logs[n]) for n, (h, places, ids, logs) in zip(surest, answers, strict=True)
        ]
        self._keep(steps, beam_size)

    def _keep(self, steps, beam_size):
        best = {}  # two orders of filling may lead to the same tokens: the likelier one stays
        for hypothesis, place, ids, logs in steps:
            for token, log in zip(ids.tolist(), logs.tolist(), strict=True):
                filled = {**hypothesis.filled, int(place): (token, log)}
                key = tuple(sorted((where, what) for where, (what, _) in filled.items()))
                extended = _Hypothesis(filled, hypothesis.log_score + log)
                if key not in best or extended.log_score > best[key].log_score:
                    best[key] = extended
        self.hypotheses = sorted(best.values(), key=lambda h: -h.log_score)[:beam_size]

    def fillings(self):
        fillings = []
        for hypothesis in self.hypotheses:
            chosen = [hypothesis.filled[int(place)] for place in self.places]
            fillings.append(
                Filling(
                    token_ids=tuple(token for token, _ in chosen),
                    token_scores=tuple(float(np.exp(log)) for _, log in chosen),
                    score=float(np.exp(hypothesis.log_score)),
                    span_lengths=self.span_lengths,
                )
            )
        return fillings
