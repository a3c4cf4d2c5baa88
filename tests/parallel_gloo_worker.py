"""One process of tests/test_parallel_gloo.py: makes the calls that Fleet makes, and writes down what came of each.

`parallel_gloo_worker.py FOLDER calls` makes them in two processes as Paddle has them, then with `gloo.install()`;
`… FOLDER EXCHANGE… stock|installed` makes exchanges among four processes.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import ernie_from_scratch  # noqa: F401  (applies the process settings before paddle)

# isort: split
import paddle
import paddle.distributed as dist
from paddle.base import core
from paddle.distributed.fleet.layers.mpu import mp_ops

from ernie_from_scratch.parallel import gloo

# What takes longer, hangs. As Paddle has them, exchanges must hang or fail, so that waiting longer proves nothing.
STOCK_SECONDS, SECONDS = 3, 600


def calls(rank):
    """{name of a call: function that makes it}; `x` is 1, 2, 3, 4 on rank 0 and ten times that on rank 1."""
    everyone = dist.get_group(0)
    group, ops = everyone.process_group, paddle._C_ops
    x = paddle.to_tensor([[1.0, 2.0, 3.0, 4.0]]) * 10**rank

    def all_reduce():
        total = x.clone()
        group.all_reduce_on_calc_stream(total, core.ReduceOp.SUM)
        return total

    def all_gather():
        both = paddle.empty([2, 4])
        group.all_gather_into_tensor_on_calc_stream(both, x)
        return both

    def send_and_receive():
        received = x.clone()
        if rank == 0:
            group.send_on_calc_stream(x, 1)
        else:
            group.recv_on_calc_stream(received, 0)
        return received

    def cross_entropy():
        # ten times the scores on rank 1, so 40 is the largest of the eight, and the loss of the last word is 0
        label = paddle.to_tensor([[7]])
        return mp_ops._c_softmax_with_cross_entropy(x, label, group=everyone)

    return {
        "all_reduce_on_calc_stream": all_reduce,
        "all_gather_into_tensor_on_calc_stream": all_gather,
        "send_on_calc_stream": send_and_receive,
        "device_id": lambda: paddle.to_tensor(dist.ParallelEnv().device_id),
        "c_identity": lambda: ops.c_identity(x, 0, True, True),
        "c_split": lambda: ops.c_split(x, rank, 2, 0, True),
        "c_concat": lambda: ops.c_concat(x, rank, 2, 0, True, True),
        "c_softmax_with_cross_entropy": cross_entropy,
    }


def groups(rank):
    """Sums in groups that share members, and messages from the first process to each of a group of four."""
    overlapping = [dist.new_group(ranks) for ranks in ([0, 1], [2, 3], [0, 2], [1, 3], [0, 1, 2, 3])]
    sums = []
    for group in overlapping:
        if rank in group.ranks:
            total = paddle.to_tensor([2.0**rank])
            dist.all_reduce(total, group=group)
            sums.append(total.item())
    return sums


def messages(rank):
    """What the first process sends to each other in turn, within the group of all."""
    if rank == 0:
        for other in range(1, dist.get_world_size()):
            dist.send(paddle.to_tensor([float(other)]), other)
        return [0.0]
    received = paddle.zeros([1])
    dist.recv(received, 0)
    return received.tolist()


def ring(rank):
    """What each process gets of the one before, when all send first and then receive."""
    group = dist.new_group(list(range(dist.get_world_size())))
    gloo.connect_ring(group)
    received = paddle.zeros([1])
    dist.send(paddle.to_tensor([float(rank)]), (rank + 1) % group.nranks, group=group)
    dist.recv(received, (rank - 1) % group.nranks, group=group)
    gloo.wait_for_sends()
    return received.tolist()


def batch(rank):
    """The same with both calls in one batch, in which the receive comes first."""
    group = dist.new_group(list(range(dist.get_world_size())))
    gloo.connect_ring(group)
    received = paddle.zeros([1])
    own = paddle.to_tensor([float(rank)])
    calls = [
        dist.P2POp(dist.irecv, received, (rank - 1) % group.nranks, group),
        dist.P2POp(dist.isend, own, (rank + 1) % group.nranks, group),
    ]
    dist.batch_isend_irecv(calls)
    gloo.wait_for_sends()
    return received.tolist()


def attempt(seconds, function, *arguments):
    """What it returns, or the error that it raises, or that it does not come back."""
    came = []

    def run():
        try:
            value = function(*arguments)
            came.append(value.tolist() if isinstance(value, paddle.Tensor) else value)
        except Exception as error:  # whatever Paddle raises is the result
            came.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return came[0] if came else "hangs"


EXCHANGES = {function.__name__: function for function in (messages, ring, batch, groups)}

if __name__ == "__main__":
    folder, *names, how = sys.argv[1:]
    if how == "installed":
        gloo.install()
    dist.init_parallel_env()
    here = dist.get_rank()
    if how == "calls":
        results = {"stock": {name: attempt(STOCK_SECONDS, call) for name, call in calls(here).items()}}
        gloo.install()
        results["installed"] = {name: attempt(SECONDS, call) for name, call in calls(here).items()}
    else:
        patience = STOCK_SECONDS if how == "stock" else SECONDS
        results = {name: attempt(patience, EXCHANGES[name], here) for name in names}
    Path(folder, f"{here}.json").write_text(json.dumps(results))
    if how == "stock":
        # a process that leaves while others still wait for it can take them down before they have written
        while len(list(Path(folder).glob("*.json"))) < dist.get_world_size():
            time.sleep(0.1)
        os._exit(0)  # a thread that hangs would hold it up
