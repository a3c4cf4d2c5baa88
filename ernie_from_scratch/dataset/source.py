"""What training reads from: a source has splits, and a split gives batches by sample number.

`PretrainingData` is one source; any class with these members is another (they are typing protocols, so
nothing has to be inherited).
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ernie_from_scratch.dataset.batch import Batch


class Split(Protocol):
    """A set of samples, for training or for evaluation."""

    def __len__(self) -> int:
        """Samples in one epoch."""
        ...

    def batch(self, indices: np.ndarray, /) -> Batch:
        """The batch of the given samples, always the same for the same indices.

        Args:
            indices: [B] int64, not negative. Index n is a sample of epoch n // len(self), so that a run
                resumes from a single number; each epoch has its own order.
        """
        ...


class Source(Protocol):
    """Named splits ("train", "valid", "test"), any of which may be empty."""

    @property
    def fingerprint(self) -> str:
        """A digest of all that the batches depend on; a resumed run must find the same one."""
        ...

    @property
    def splits(self) -> Mapping[str, Split]: ...

    def __getitem__(self, name: str, /) -> Split:
        """`splits[name]`; raises UserError for an unknown name."""
        ...
