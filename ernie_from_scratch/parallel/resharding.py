"""Complete tensors in files, parts in processes: what was saved under any degrees loads under any others.

Files name tensors as one process would. `gather` sends them, one after the other, to the process that writes;
`take_own` extracts what a process holds from complete tensors.
"""

import paddle
import paddle.distributed as dist
from paddle import Tensor

from ernie_from_scratch.parallel.network import ParallelNetwork


def gather(network: ParallelNetwork, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Complete tensors from the parts that all processes hold; every process must call it.

    Args:
        tensors: {name: tensor} of this process: weights, master weights, or optimizer state named parameter + "." +
            kind (`ernie.pooler.dense.weight.moment1_0`).

    Returns:
        {name: tensor} on process 0, else None.
    """
    if network.strategy.processes == 1:
        return dict(tensors)
    held: list[dict] = []
    dist.all_gather_object(
        held, {name: (tensor.shape, str(tensor.dtype).rpartition(".")[2]) for name, tensor in tensors.items()}
    )
    names = dict.fromkeys(name for here in held for name in here)  # in order, each once
    rank, complete = dist.get_rank(), {}
    for name in names:
        split = _split_of(network, name)
        parts = []
        for holder in _holders(held, name, split.place(network.strategy)[1] if split else 1):
            if holder == rank == 0:
                parts.append(tensors[name])
            elif holder == rank:
                dist.send(tensors[name], 0)
            elif rank == 0:
                shape, dtype = held[holder][name]
                parts.append(paddle.empty(shape, dtype=dtype))
                dist.recv(parts[-1], holder)
        if rank == 0:
            complete[name] = split.merge(parts) if split else parts[0]
    return complete if rank == 0 else None


def take_own(network: ParallelNetwork, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What this process holds of complete `tensors`, named as in `gather`."""
    strategy, parameters = network.strategy, set(network.model.state_dict())
    own = {}
    for name, tensor in tensors.items():
        parameter = name if name in parameters else name.rpartition(".")[0]
        if parameter in parameters:
            split, padding = _split_of(network, name), name in network.splits
            own[name] = split.split(tensor, *split.place(strategy), padding) if split else tensor
    return own


def _split_of(network: ParallelNetwork, name: str):
    """How the tensor called `name` is split; None when it is not. Moments are split as their parameter."""
    parameter, _, kind = name.rpartition(".")
    return network.splits.get(parameter if kind.startswith("moment") else name)


def _holders(held: list[dict], name: str, parts: int) -> list[int]:
    """The first process that holds each part of a tensor. Fleet's ranks run fastest along tensor parallel, then
    sharding: stage 3 works without the others.
    """
    return [
        next(rank for rank, here in enumerate(held) if rank % parts == number and name in here)
        for number in range(parts)
    ]
