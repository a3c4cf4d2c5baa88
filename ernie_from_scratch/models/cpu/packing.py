"""A padded batch without its padding: all tokens in one long row, and for attention in fewer, fuller rows.

Only attention looks at more than one token at a time; all other layers take the tokens as they come. For
attention several short rows share one packed row, masked from each other (as in Krell et al. 2021).

B batch, L sequence, H hidden; T tokens that are no padding; R packed rows of P positions.
"""

import numpy as np
import paddle
from paddle import Tensor

from ernie_from_scratch.models.masks import additive_mask


class Packing:
    """Where each token of a padded batch goes, and in `mask` which tokens of the packed rows may see each other."""

    def __init__(self, attention_mask: Tensor, dtype: paddle.dtype, capacity: int = 128):
        """attention_mask [B, L]: 1 for a token, 0 for padding; `dtype` of the additive mask [R, 1, P, P].

        Packed rows have up to 2 L positions, but no more than `capacity` unless L is: the cost of attention grows
        with their square.
        """
        self.shape = attention_mask.shape
        longest = max(self.shape[1], min(2 * self.shape[1], capacity))
        rows = [np.flatnonzero(row) + start * len(row) for start, row in enumerate(attention_mask.numpy())]
        packed: list[list[int]] = []
        for number in sorted(range(len(rows)), key=lambda number: -len(rows[number])):  # longest first
            for row in packed:  # first fit
                if sum(len(rows[other]) for other in row) + len(rows[number]) <= longest:
                    row.append(number)
                    break
            else:
                packed.append([number])
        width = max(sum(len(rows[number]) for number in row) for row in packed)
        source_rows = np.full((len(packed), width), -1)  # the batch row that the token in a position is from
        for line, row in enumerate(packed):
            source = np.repeat(row, [len(rows[number]) for number in row])
            source_rows[line, : len(source)] = source
        filled = np.flatnonzero(source_rows.ravel() >= 0)  # T of the R * P positions hold a token
        token_of = np.zeros(
            source_rows.size, dtype="int64"
        )  # in an empty position token 0, which nobody sees
        token_of[filled] = np.arange(len(filled))
        same_row = source_rows[:, None, :] == source_rows[:, :, None]  # [R, P, P]
        mask = additive_mask(paddle.to_tensor(same_row), dtype)  # [R, 1, P, P]
        assert mask is not None  # it is, for two axes only
        self.mask = mask
        self.token_of = paddle.to_tensor(token_of)  # [R * P], among T
        self.filled = paddle.to_tensor(filled)  # [T], among R * P
        batch_positions = np.concatenate([rows[number] for row in packed for number in row])
        self.batch_positions = paddle.to_tensor(batch_positions)  # [T], among B * L

    def pack(self, states: Tensor) -> Tensor:
        """The tokens without padding: [B, L, H] -> [1, T, H]."""
        return paddle.gather(_flat(states), self.batch_positions).unsqueeze(0)

    def unpack(self, states: Tensor) -> Tensor:
        """[1, T, H] -> [B, L, H], each token back in its position; padding gets zeros."""
        rows, length = self.shape
        batch = paddle.zeros([rows * length, states.shape[-1]], dtype=states.dtype)  # [B * L, H]
        return paddle.scatter(batch, self.batch_positions, states[0]).reshape([*self.shape, -1])

    def to_rows(self, states: Tensor) -> Tensor:
        """[1, T, H] -> [R, P, H]: the rows that attention needs."""
        return paddle.gather(states[0], self.token_of).reshape([self.mask.shape[0], -1, states.shape[-1]])

    def from_rows(self, states: Tensor) -> Tensor:
        """[R, P, H] -> [1, T, H]."""
        return paddle.gather(_flat(states), self.filled).unsqueeze(0)


def _flat(states: Tensor) -> Tensor:
    return states.reshape([-1, states.shape[-1]])
