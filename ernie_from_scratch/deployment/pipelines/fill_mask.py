"""Fill the [MASK] spans of texts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ernie_from_scratch.deployment.pipelines.base import Pipeline, check_count, check_text
from ernie_from_scratch.deployment.pipelines.beam_search import MASK_SPAN, Filling, fill_spans
from ernie_from_scratch.deployment.tasks import STRATEGIES


class FillMaskPipeline(Pipeline):
    """Fills the [MASK] spans of texts; see `fill_spans` for the strategies."""

    def predict(
        self,
        inputs: Sequence[str],
        top_k: int = 5,
        strategy: str = STRATEGIES[0],
        beam_size: int | None = None,
    ) -> list[list[dict[str, Any]]]:
        """For each text its best fillings, best first, at most `top_k`.

        Args:
            beam_size: partial fillings kept during the search; default: 5, or top_k if that is more.

        Returns:
            Per text a list of dicts: `token_str` (the filled span; several spans are joined by " … "),
            `sequence` (the text with its masks filled), `score` (joint probability), `tokens` and
            `token_scores` (one per [MASK]), `spans` (the string of each span).
        """
        check_count("top_k", top_k)
        texts = [check_text(text) for text in inputs]
        found = fill_spans(
            self._logits, self.tokenizer, texts, strategy=strategy, beam_size=max(top_k, beam_size or 5),
            batch_size=self.batch_size, max_seq_len=self.max_seq_len,
        )  # fmt: skip
        return [
            [self._answer(text, filling) for filling in fillings[:top_k]]
            for text, fillings in zip(texts, found, strict=True)
        ]

    def _logits(
        self, input_ids: np.ndarray, token_type_ids: np.ndarray, masked_positions: np.ndarray
    ) -> np.ndarray:
        outputs = self.backend.run(
            input_ids=input_ids, token_type_ids=token_type_ids, masked_positions=masked_positions
        )
        return outputs["logits"]  # [M, V]

    def _answer(self, text: str, filling: Filling) -> dict[str, Any]:
        spans = [self.tokenizer.decode(ids) for ids in filling.spans]
        unused = iter(spans)
        return {
            "token_str": " … ".join(spans),
            "sequence": MASK_SPAN.sub(lambda match: next(unused), text),
            "score": filling.score,
            "tokens": [self.tokenizer.vocabulary.tokens[token] for token in filling.token_ids],
            "token_scores": list(filling.token_scores),
            "spans": spans,
        }
