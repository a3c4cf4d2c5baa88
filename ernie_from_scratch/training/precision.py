"""Mixed precision (Micikevicius et al. 2018): half-precision products, and a loss scale for float16."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ernie_from_scratch.training.settings import TrainSettings

CPU_NOTE = "use_amp: Paddle computes in float32 on a CPU, so mixed precision has no effect here"
# PaddleNLP's ernie-1.0 scripts run these in half precision too
HALF_PRECISION_TOO = ("softmax", "layer_norm", "gelu", "dropout")


class Precision:
    """The number types of one run, and its loss scale.

    Args:
        settings: those of the run: use_amp, fp16_opt_level, amp_dtype and scale_loss.
        model, optimizer: O2 turns the model's weights to half precision and gives the optimizer float32 ones.
        log: called once with a line where mixed precision can't have an effect.

    Attributes:
        enabled: products are computed in half precision.
        scaling: the loss is scaled, so that a step with an overflow can be skipped and the scale lowered.
    """

    def __init__(
        self, settings: TrainSettings, model: nn.Layer, optimizer, log: Callable[[str], None] = print
    ):
        on_cpu = paddle.get_device() == "cpu"
        self.enabled = settings.use_amp and not on_cpu
        if settings.use_amp and on_cpu:
            log(CPU_NOTE)
        self.level: Any = settings.fp16_opt_level
        self.dtype: Any = settings.amp_dtype
        self._scaler: Any = None
        if self.enabled and self.dtype == "float16":
            self._scaler = paddle.amp.GradScaler(init_loss_scaling=settings.scale_loss)
        if self.enabled and self.level == "O2":
            paddle.amp.decorate(models=model, optimizers=optimizer, level="O2", dtype=self.dtype)

    def wrap_scaler(self, wrap: Callable) -> None:
        """Let `wrap`, from scaler to scaler, make several processes agree on the loss scale."""
        if self.scaling:
            self._scaler = wrap(self._scaler)

    @property
    def product_type(self) -> Any:
        """The number type that matrix products are computed in."""
        return self.dtype if self.enabled else "float32"

    @property
    def scaling(self) -> bool:
        return self._scaler is not None

    @property
    def loss_scale(self) -> float:
        """The factor that the loss is multiplied by; 1 without scaling."""
        return float(self._scaler.state_dict()["scale"][0]) if self.scaling else 1.0

    def autocast(self) -> AbstractContextManager:
        """Context manager for the forward pass."""
        if not self.enabled:
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(level=self.level, dtype=self.dtype, custom_white_list=HALF_PRECISION_TOO)

    def scale(self, loss: Tensor) -> Tensor:
        return self._scaler.scale(loss) if self.scaling else loss

    def unscale(self, optimizer: Any) -> None:
        """Divide the gradients by the loss scale, before their norm is computed."""
        if self.scaling:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Any) -> None:
        """The optimizer's step; with a loss scale, skipped where a gradient is not finite, and the scale adapts."""
        if self.scaling:
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()

    def state(self) -> dict[str, Any] | None:
        """The scaler's state as a JSON-able dict; None without scaling."""
        if not self.scaling:
            return None
        return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in self._scaler.state_dict().items()}

    def load(self, state: dict[str, Any] | None) -> None:
        if self.scaling and state:
            self._scaler.load_state_dict({**state, "scale": np.array(state["scale"], dtype="float32")})
