"""A padded batch without its padding: the tokens in one long row, and for attention in fewer, fuller rows.

Only attention looks at more than one token at a time; everything else takes the tokens as they come. For
attention short rows share a long one, each blind to the others (as in Krell et al., 2021).

B batch, L sequence, H hidden; T tokens that are no padding; R packed rows of P places.
"""

import numpy as np
import paddle

from ernie_from_scratch.models.masks import additive_mask


class Packing:
    """Where each token of a padded batch goes, and in `mask` which tokens of the packed rows may see each other."""

    def __init__(self, attention_mask, dtype, capacity=128):
        """attention_mask [B, L]: 1 for a token, 0 for padding; `dtype` of the additive mask [R, 1, P, P].

        Packed rows have up to 2 L places, but no more than `capacity` unless L is: attention grows with their square.
        """
        self.shape = attention_mask.shape
        room = max(self.shape[1], min(2 * self.shape[1], capacity))
        rows = [np.flatnonzero(row) + start * len(row) for start, row in enumerate(attention_mask.numpy())]
        packed = []
        for number in sorted(range(len(rows)), key=lambda number: -len(rows[number])):  # longest first
            for row in packed:  # into the first row with room
                if sum(len(rows[other]) for other in row) + len(rows[number]) <= room:
                    row.append(number)
                    break
            else:
                packed.append([number])
        width = max(sum(len(rows[number]) for number in row) for row in packed)
        owners = np.full((len(packed), width), -1)  # which row of the batch the token in a place is from
        for line, row in enumerate(packed):
            owner = np.repeat(row, [len(rows[number]) for number in row])
            owners[line, : len(owner)] = owner
        tokens = np.flatnonzero(owners.ravel() >= 0)  # T of the R * P places hold one
        ranks = np.zeros(owners.size, dtype="int64")  # in an empty place the first token, seen by none
        ranks[tokens] = np.arange(len(tokens))
        same_row = owners[:, None, :] == owners[:, :, None]  # [R, P, P]
        self.mask = additive_mask(paddle.to_tensor(same_row), dtype)  # [R, 1, P, P]
        self.ranks = paddle.to_tensor(ranks)  # [R * P], among T
        self.tokens = paddle.to_tensor(tokens)  # [T], among R * P
        homes = np.concatenate([rows[number] for row in packed for number in row])
        self.homes = paddle.to_tensor(homes)  # [T], among B * L

    def pack(self, states):
        """The tokens alone: [B, L, H] -> [1, T, H]."""
        return paddle.gather(_flat(states), self.homes).unsqueeze(0)

    def unpack(self, states):
        """[1, T, H] -> [B, L, H], each token back in its place; padding gets zeros."""
        rows, length = self.shape
        batch = paddle.zeros([rows * length, states.shape[-1]], dtype=states.dtype)  # [B * L, H]
        return paddle.scatter(batch, self.homes, states[0]).reshape([*self.shape, -1])

    def to_rows(self, states):
        """[1, T, H] -> [R, P, H]: what attention, alone of all layers, needs rows for."""
        return paddle.gather(states[0], self.ranks).reshape([self.mask.shape[0], -1, states.shape[-1]])

    def from_rows(self, states):
        """[R, P, H] -> [1, T, H]."""
        return paddle.gather(_flat(states), self.tokens).unsqueeze(0)


def _flat(states):
    return states.reshape([-1, states.shape[-1]])
