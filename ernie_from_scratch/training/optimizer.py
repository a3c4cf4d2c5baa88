"""AdamW as BERT and ERNIE use it: no weight decay on biases and layer norms, clipping by the global norm."""

from typing import Any

import paddle
from paddle import _C_ops, nn
from paddle.optimizer.lr import LRScheduler


def decays(name: str) -> bool:
    """True when the parameter called `name` in the state dict takes weight decay: all but biases and norms."""
    return not (name.endswith("bias") or "norm" in name)


def build_optimizer(
    model: nn.Layer,
    learning_rate: float | LRScheduler,
    weight_decay: float = 0.01,
    grad_clip: float | None = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> paddle.optimizer.AdamW:
    """Build AdamW (Loshchilov and Hutter 2019, algorithm 2) over all trainable parameters of `model`.

    Args:
        learning_rate: a float or a `WarmupDecay`.
        weight_decay: decoupled decay of every weight except biases and layer norms.
        grad_clip: largest global gradient norm; 0 or None leaves gradients as they are.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if not p.stop_gradient]
    decayed = {p.name for name, p in trainable if decays(name)}
    return paddle.optimizer.AdamW(
        learning_rate=learning_rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        parameters=[p for _, p in trainable],
        weight_decay=weight_decay,
        apply_decay_param_fun=lambda parameter_name: parameter_name in decayed,
        grad_clip=nn.ClipGradByGlobalNorm(grad_clip) if grad_clip else None,
    )


def parameter_count(model: nn.Layer) -> int:
    """Number of trainable parameters; shared ones count once."""
    return sum(p.size for p in model.parameters() if not p.stop_gradient)


def gradient_norm(model: nn.Layer) -> float:
    """Global L2 norm of the gradients now held by `model`'s parameters, before clipping, as a float."""
    gradients = [p.grad.astype("float32") for p in model.parameters() if p.grad is not None]
    # the kernel that clipping uses: on a CPU 60 times as fast as (gradient**2).sum(), cheap enough for every step
    squares = [_C_ops.squared_l2_norm(gradient) for gradient in gradients]
    return float(paddle.add_n(squares).sqrt().reshape([])) if squares else 0.0


def optimizer_state(model: nn.Layer, optimizer: Any) -> dict[str, Any]:
    """The optimizer's state keyed by structured names (`ernie.pooler.dense.weight.moment1_0`).

    Paddle keys it by automatic tensor names (`linear_3.w_0_moment1_0`), which count the layers that the process
    has built so far: a second model in one notebook would not find its own state again. `master` holds the
    float32 weights of mixed precision O2.
    """
    state = optimizer.state_dict()
    masters = state.pop("master_weights", {})
    renamed, master = {}, {}
    for name, parameter in model.named_parameters():
        prefix = parameter.name + "_"
        for key in [k for k in state if k.startswith(prefix)]:
            renamed[f"{name}.{key[len(prefix) :]}"] = state.pop(key)
        if parameter.name in masters:
            master[name] = masters[parameter.name]
    return {"tensors": renamed, "master": master, "scheduler": state.get("LR_Scheduler")}


def load_optimizer_state(model: nn.Layer, optimizer: Any, saved: dict[str, Any]) -> None:
    """Give `optimizer` the state that `optimizer_state` returned, for the same model under any tensor names."""
    state, masters, master = {}, saved.get("master", {}), {}
    for name, parameter in model.named_parameters():
        prefix = name + "."
        if name in masters:
            master[parameter.name] = masters[name]
        for key, tensor in saved["tensors"].items():
            if key.startswith(prefix) and "." not in key[len(prefix) :]:
                state[f"{parameter.name}_{key[len(prefix) :]}"] = tensor
    if master:
        state["master_weights"] = master
    if saved["scheduler"] is not None:
        state["LR_Scheduler"] = saved["scheduler"]
    optimizer.set_state_dict(state)
