"""Whole tensors in files, parts in processes: what was saved under any degrees loads under any others.

Files name tensors as one process would. `gather` sends them, one after the other, to the process that writes;
`part` takes out of whole tensors what a process holds.
"""

import paddle
import paddle.distributed as dist


def gather(network, tensors):
    """Whole tensors from the parts that all processes hold; every process must call it.

    Args:
        network: a `ParallelNetwork`.
        tensors: {name: tensor} of this process: weights, master weights, or optimizer state named parameter + "." +
            kind (`ernie.pooler.dense.weight.moment1_0`).

    Returns:
        {name: tensor} on process 0, else None.
    """
    if network.strategy.processes == 1:
        return dict(tensors)
    held = []
    dist.all_gather_object(
        held, {name: (tensor.shape, tensor.dtype.name) for name, tensor in tensors.items()}
    )
    names = dict.fromkeys(name for here in held for name in here)  # in order, each once
    me, whole = dist.get_rank(), {}
    for name in names:
        cut = _cut(network, name)
        parts = []
        for rank in _holders(held, name, cut.place(network.strategy)[1] if cut else 1):
            if rank == me == 0:
                parts.append(tensors[name])
            elif rank == me:
                dist.send(tensors[name], 0)
            elif me == 0:
                shape, dtype = held[rank][name]
                parts.append(paddle.empty(shape, dtype=dtype.lower()))
                dist.recv(parts[-1], rank)
        if me == 0:
            whole[name] = cut.whole(parts) if cut else parts[0]
    return whole if me == 0 else None


def part(network, tensors):
    """What this process holds of whole `tensors`, named as in `gather`."""
    strategy, own = network.strategy, set(network.model.state_dict())
    mine = {}
    for name, tensor in tensors.items():
        parameter = name if name in own else name.rpartition(".")[0]
        if parameter in own:
            cut, filling = _cut(network, name), name in network.cuts
            mine[name] = cut.part(tensor, *cut.place(strategy), filling) if cut else tensor
    return mine


def _cut(network, name):
    """How the tensor called `name` is shared out; None when it is not. Moments are cut as their parameter."""
    parameter, _, kind = name.rpartition(".")
    return network.cuts.get(parameter if kind.startswith("moment") else name)


def _holders(held, name, parts):
    """The first process that holds each part of a tensor. Fleet's numbers run fastest along tensor parallel, then
    sharding: stage 3 leaves the others out.
    """
    return [
        next(rank for rank, here in enumerate(held) if rank % parts == number and name in here)
        for number in range(parts)
    ]
