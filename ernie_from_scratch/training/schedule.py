"""Learning-rate schedule: warm-up from zero, then decay to a floor."""

import math

from paddle.optimizer.lr import LRScheduler

from ernie_from_scratch.config import UserError
from ernie_from_scratch.training.settings import DECAY_KINDS, TrainSettings


class WarmupDecay(LRScheduler):
    """Linear warm-up from 0 to `max_lr`, then linear or cosine decay to `min_lr`, as PaddleNLP's ernie-1.0 scripts.

    The rate of optimizer step s (counted from 0) is
    `max_lr * s / warmup_steps` while s <= warmup_steps, then
    `min_lr + (max_lr - min_lr) * c` with c falling from 1 to 0 at `decay_steps`, and `min_lr` from there on.

    Args:
        max_lr, min_lr: rates per optimizer step.
        warmup_steps, decay_steps: optimizer steps, counted from the start of the run.
        kind: "linear" or "cosine".

    Raises:
        UserError: an unknown kind, or a warm-up that is not shorter than the decay.
    """

    def __init__(
        self,
        max_lr: float,
        min_lr: float = 0.0,
        warmup_steps: int = 0,
        decay_steps: int = 1,
        kind: str = "linear",
    ):
        if kind not in DECAY_KINDS:
            raise UserError(f"unknown decay {kind!r}; choose one of {', '.join(DECAY_KINDS)}")
        if warmup_steps >= decay_steps:
            raise UserError(
                f"warm-up of {warmup_steps} steps does not end before decay_steps={decay_steps}; lower warmup_rate"
            )
        self.max_lr, self.min_lr = float(max_lr), float(min_lr)
        self.warmup_steps, self.decay_steps, self.kind = warmup_steps, decay_steps, kind
        super().__init__(learning_rate=self.max_lr)

    def get_lr(self) -> float:
        step = self.last_epoch  # Paddle's name for the number of scheduler steps taken
        if self.warmup_steps > 0 and step <= self.warmup_steps:
            return self.max_lr * step / self.warmup_steps
        if step > self.decay_steps:
            return self.min_lr
        progress = (step - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
        left = 1.0 - progress if self.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.min_lr + left * (self.max_lr - self.min_lr)


def build_schedule(settings: TrainSettings) -> WarmupDecay:
    """The schedule that the settings describe."""
    return WarmupDecay(
        settings.max_lr,
        settings.min_lr,
        settings.warmup_steps,
        settings.decay_steps or settings.max_steps,
        settings.lr_decay_style,
    )
