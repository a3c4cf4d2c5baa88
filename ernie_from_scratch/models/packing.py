"""Short rows put together into fewer long ones, so that padding is not computed (as in Krell et al., 2021).

B batch, L sequence, H hidden; R packed rows of P places, T tokens that are no padding.
"""

import numpy as np
import paddle


class Packing:
    """Where each token of a padded batch lies among packed rows, and which tokens may see each other there."""

    def __init__(self, attention_mask, capacity=128):
        """attention_mask [B, L]: 1 for a token, 0 for padding.

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
        sources = np.zeros((len(packed), width), dtype="int64")  # which of the B * L places goes here
        owners = np.full((len(packed), width), -1)  # from which row of the batch it comes
        for line, row in enumerate(packed):
            count = sum(len(rows[number]) for number in row)
            sources[line, :count] = np.concatenate([rows[number] for number in row])
            owners[line, :count] = np.repeat(row, [len(rows[number]) for number in row])
        tokens = np.flatnonzero(owners.ravel() >= 0)
        self.sources = paddle.to_tensor(sources)  # [R, P]
        self.same_row = paddle.to_tensor(
            (owners[:, None, :] == owners[:, :, None]).astype("int64")
        )  # [R, P, P]
        self.tokens = paddle.to_tensor(tokens)  # [T], among R * P
        self.homes = paddle.to_tensor(sources.ravel()[tokens])  # [T], among B * L

    def pack(self, states):
        flat = states.reshape([-1, states.shape[-1]])  # [B * L, H]
        return paddle.gather(flat, self.sources.flatten()).reshape([*self.sources.shape, -1])  # [R, P, H]

    def unpack(self, states):
        """Each token back to its place; padding gets zeros."""
        flat = paddle.gather(states.reshape([-1, states.shape[-1]]), self.tokens)  # [T, H]
        batch = paddle.zeros([self.shape[0] * self.shape[1], flat.shape[-1]], dtype=flat.dtype)  # [B * L, H]
        return paddle.scatter(batch, self.homes, flat).reshape([*self.shape, -1])  # [B, L, H]
