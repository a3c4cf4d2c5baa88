"""Operations that Paddle's Fleet needs and Paddle's Gloo backend for CPU processes lacks.

Fleet's layers for tensor, pipeline and sharded training are written for NCCL. `install()` adds what is missing in
Paddle 3.3 on a CPU; on a GPU it does nothing. tests/test_parallel_gloo.py shows each stock call failing: when such a
test no longer passes, Paddle has fixed the call, and its replacement here can be deleted.
"""

import os
import queue
import socket
import threading
from typing import Any

import paddle
import paddle.distributed as dist
from paddle import Tensor, _C_ops
from paddle.autograd import PyLayer
from paddle.base import core
from paddle.distributed.fleet.layers.mpu import mp_ops
from paddle.distributed.parallel import ParallelEnv

TIMEOUT_SECONDS = 300  # the longest wait for the other processes of a group
PORT_ATTEMPTS = 20  # ports tried for a group's store

_kept = []  # groups and their stores, which must not be garbage-collected
_numbers = {}  # id of a process group -> its number in Paddle
_pairs = {}  # (number of a group, lower rank, higher rank) -> group of these two processes
_channels = {}  # (number of a group, sender, receiver) -> `_Channel` between neighbours of a ring
_coalesced: list | None = None  # inside a coalesced batch of messages: the receives that are still to be done
_stock: Any = None  # ProcessGroupGloo's own (create, send, recv), after `install`


def install() -> bool:
    """Install the replacements, once, before Fleet is started; returns whether this device, a CPU, needs them."""
    global _stock
    if paddle.get_device() != "cpu":
        return False
    if _stock is None:
        group = core.ProcessGroupGloo
        _stock = group.create, group.send, group.recv
        _replace_groups(group)
        _replace_collectives(group)
        _replace_kernels()
        # Stock: PipelineLayer reads the device's number, which a CPU build never sets (AttributeError).
        ParallelEnv._device_id = 0  # pyright: ignore[reportAttributeAccessIssue]
    return True


# Groups ---------------------------------------------------------------------------------------------------------


def _replace_groups(group):
    # Stock: all groups of a run use the same keys of one store ("0/<rank>") and overwrite each other's addresses.
    group.create = staticmethod(_create)
    # Stock: missing. Messages between these two calls are one batch: receives wait until all is sent.
    group._start_coalescing, group._end_coalescing = _start_coalescing, _end_coalescing
    # Stock: a message's tag counts all calls of the group, those between other pairs too, so that in a group of more
    # than two processes a receiver waits for a tag that never comes.
    group.send = group.send_on_calc_stream = _send
    group.recv = group.recv_on_calc_stream = _receive


def _create(store, rank, size, number=0):
    if number == 0:  # the group of all processes is the first, so its keys are still free
        group = _stock[0](store, rank, size, number)
    else:
        group = _group_with_store(store, f"gloo/{number}", rank, size, number)
    _kept.append(group)
    _numbers[id(group)] = number
    return group


def _group_with_store(store, key, rank, size, number):
    """A group with its own store, whose address the first member publishes under `key`."""
    if rank == 0:
        own, address = _open_store()
        store.set(key, address)
    else:
        host, port = bytes(store.get(key)).decode().rsplit(":", 1)
        own = core.TCPStore(host, int(port), False, 0, TIMEOUT_SECONDS)
    group = _stock[0](own, rank, size, number)
    _kept.append(own)
    return group


def _open_store():
    """A store on a free port of this machine, and its address."""
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "127.0.0.1").split(":")[0]
    for attempt in range(PORT_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        try:  # another process may take the port in between
            return core.TCPStore(host, port, True, 0, TIMEOUT_SECONDS), f"{host}:{port}"
        except RuntimeError:
            if attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _pair(group, peer):
    """The group of this process and `peer`, and the peer's rank in it."""
    if group.size() == 2:
        return group, peer
    number, rank = _numbers.get(id(group), 0), group.rank()
    key = (number, min(rank, peer), max(rank, peer))
    if key not in _pairs:
        store = core.create_or_get_global_tcp_store()
        # a number that none of Paddle's groups has: those are counted from 0
        pair_number = 10**6 * (number + 1) + 1000 * key[1] + key[2]
        _pairs[key] = _group_with_store(store, "gloo/{}/{}-{}".format(*key), int(rank > peer), 2, pair_number)
    return _pairs[key], int(peer > rank)


def _send(group, tensor, peer, sync_op=True):
    channel = _channels.get((_numbers.get(id(group)), group.rank(), peer))
    if channel is not None:
        return channel.send(tensor)
    pair, rank = _pair(group, peer)
    return _done(_stock[1](pair, tensor, rank, True))


def _receive(group, tensor, peer, sync_op=True):
    channel = _channels.get((_numbers.get(id(group)), peer, group.rank()))
    if channel is not None:
        return channel.receive(tensor)
    pair, rank = _pair(group, peer)
    return _done(_stock[2](pair, tensor, rank, True))


# Ring -----------------------------------------------------------------------------------------------------------


class _Channel:
    """One direction between two neighbours: sent tensors wait in a queue until the receiver has taken them."""

    def __init__(self, pair):
        self.pair, self._error = pair, None
        self._queue = queue.Queue()
        self._thread = None

    def send(self, tensor):
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._queue.put(tensor.clone())  # the sender may overwrite its own
        return _Done()

    def receive(self, tensor):
        def receive():
            _stock[2](self.pair, tensor, 0, True).wait()

        receive() if _coalesced is None else _coalesced.append(receive)
        return _Done()

    def wait(self):
        self._queue.join()
        self._raise()

    def _work(self):
        while True:
            tensor = self._queue.get()
            try:
                if self._error is None:
                    _stock[1](self.pair, tensor, 1, True).wait()
            except Exception as error:  # raised in the caller's thread by its next call
                self._error = error
            finally:
                self._queue.task_done()

    def _raise(self):
        if self._error is not None:
            raise self._error


class _Done:
    def wait(self):
        return True


def _start_coalescing(group):
    global _coalesced
    _coalesced = []


def _end_coalescing(group, tasks=None):
    global _coalesced
    receives, _coalesced = _coalesced, None
    for receive in receives or ():
        receive()


def connect_ring(group: Any) -> None:
    """On a CPU, let neighbours of a group send without waiting for the receiver, as over NCCL; all must call it.

    Stock: a send returns when the receiver has taken the tensor, so that the interleaved pipeline, whose stages all
    send to the next and then receive from the one before, deadlocks.
    """
    if _stock is None:
        return
    process_group, size = group.process_group, group.nranks
    number = _numbers[id(process_group)]
    ring = sorted({(a, (a + 1) % size) for a in range(size)} | {((a + 1) % size, a) for a in range(size)})
    for sender, receiver in ring:  # in the same order everywhere
        key = (number, sender, receiver)
        if process_group.rank() in (sender, receiver) and key not in _channels:
            store = core.create_or_get_global_tcp_store()
            channel_number = 10**9 + 10**6 * (number + 1) + 1000 * sender + receiver
            name = "gloo/{}/{}>{}".format(*key)
            _channels[key] = _Channel(
                _group_with_store(store, name, int(process_group.rank() == receiver), 2, channel_number)
            )


def wait_for_sends() -> None:
    """Wait until all tensors sent along rings are received; raises the errors of the sending threads."""
    for channel in _channels.values():
        channel.wait()


# Collectives ----------------------------------------------------------------------------------------------------


def _replace_collectives(group):
    # Stock: "ProcessGroupGloo does not support ...". On a CPU the calling thread is the only stream, so these are
    # the plain collectives, waited for.
    group.all_reduce_on_calc_stream = lambda group, tensor, op=core.ReduceOp.SUM: _done(
        group.all_reduce(tensor, op, True)
    )
    group.all_gather_into_tensor_on_calc_stream = lambda group, out, tensor: _done(
        group.all_gather_into_tensor(out, tensor, True)
    )


def _done(task):
    task.wait()
    return task


# Kernels --------------------------------------------------------------------------------------------------------


def _replace_kernels():
    # Stock: the CPU kernels of these four are stubs that throw ("Do not support c_identity for cpu kernel now").
    ops = _C_ops
    ops.c_identity = lambda x, *ring: ops.assign(x)
    ops.c_split = lambda x, rank, size, *ring: paddle.split(x, size, axis=-1)[rank].clone()
    ops.c_concat = _concat
    mp_ops._c_softmax_with_cross_entropy = split_cross_entropy


def _concat(x, rank, size, ring, *flags):
    parts = []
    dist.all_gather(parts, x, group=dist.get_group(ring))
    return paddle.concat(parts, axis=-1)


def split_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    group: Any = None,
    return_softmax: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy [M, 1] of labels [M] or [M, 1] under logits [M, V / processes], each process with its slice.

    Shoeybi et al. 2019, section 3: only three numbers of each row are exchanged, never its logits.
    """
    if labels.ndim == logits.ndim - 1:
        labels = labels.unsqueeze(-1)  # [M, 1]
    return _SplitCrossEntropy.apply(logits, labels, group, ignore_index)


class _SplitCrossEntropy(PyLayer):
    @staticmethod
    def forward(ctx, logits, labels, group, ignore_index):
        width = logits.shape[-1]
        largest = logits.max(-1, keepdim=True)  # [M, 1]
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
        shifted = logits - largest  # [M, V / processes]
        powers = paddle.exp(shifted)
        total = powers.sum(-1, keepdim=True)  # [M, 1]
        dist.all_reduce(total, group=group)
        local = labels - group.rank * width  # [M, 1]
        is_local = (local >= 0) & (local < width)
        local = paddle.where(is_local, local, paddle.zeros_like(local))
        own_logit = paddle.take_along_axis(shifted, local, -1) * is_local.astype(logits.dtype)  # [M, 1]
        dist.all_reduce(own_logit, group=group)
        keep = (labels != ignore_index).astype(logits.dtype)
        ctx.save_for_backward(powers / total, local, is_local.astype(logits.dtype), keep)
        return (paddle.log(total) - own_logit) * keep

    @staticmethod
    def backward(ctx, grad):
        probabilities, local, is_local, keep = ctx.saved_tensor()
        one_hot = paddle.nn.functional.one_hot(local.squeeze(-1), probabilities.shape[-1]) * is_local
        return (probabilities - one_hot) * keep * grad
