"""Paddle's Fleet on CPU processes: what it calls and Gloo, Paddle's exchange between CPUs, does not have.

Fleet's layers for tensor, pipeline and sharded training are written for NCCL. `install()` fills the holes of
Paddle 3.3 on a CPU; on a GPU it does nothing. tests/test_parallel_gloo.py shows each stock call failing: a test
that no longer passes says that Paddle has mended the call, and that its replacement here can go.
"""

import os
import queue
import socket
import threading

import paddle
import paddle.distributed as dist
from paddle.autograd import PyLayer
from paddle.base import core
from paddle.distributed.fleet.layers.mpu import mp_ops
from paddle.distributed.parallel import ParallelEnv

SECONDS = 300  # the longest wait for the other processes of a group
ATTEMPTS = 20  # ports tried for a group's meeting place

_kept = []  # groups and their stores must outlive the Python names of those who asked for them
_numbers = {}  # id of a process group -> its number in Paddle
_pairs = {}  # (number of a group, lower rank, higher rank) -> the group of these two
_ways = {}  # (number of a group, sender, receiver) -> `_Way` between these two of a ring
_together = None  # inside of a batch of messages: the receives that are still to be done
_stock = None  # ProcessGroupGloo's own create, send, recv


def install() -> bool:
    """Put the replacements in place, once, before Fleet is started; returns whether this is a CPU, which needs them."""
    global _stock
    if paddle.get_device() != "cpu":
        return False
    if _stock is None:
        group = core.ProcessGroupGloo
        _stock = group.create, group.send, group.recv
        _replace_groups(group)
        _replace_collectives(group)
        _replace_kernels()
        # Stock: PipelineLayer asks for the device's number, which a CPU build never sets (AttributeError).
        ParallelEnv._device_id = 0
    return True


# Groups ---------------------------------------------------------------------------------------------------------


def _replace_groups(group):
    # Stock: all groups of a run meet under the same keys of one store ("0/<rank>") and find each other's addresses.
    group.create = staticmethod(_create)
    # Stock: nothing. Messages between these two calls belong together: what is received waits until all is sent.
    group._start_coalescing, group._end_coalescing = _begin_together, _end_together
    # Stock: a message's tag counts the group's calls, those between other pairs too, so that in a group of more
    # than two a receiver waits for a tag that never comes.
    group.send = group.send_on_calc_stream = _send
    group.recv = group.recv_on_calc_stream = _receive


def _create(store, rank, size, number=0):
    if number == 0:  # the group of all processes is the first: nothing to mistake it for
        group = _stock[0](store, rank, size, number)
    else:
        group = _meet(store, f"gloo/{number}", rank, size, number)
    _kept.append(group)
    _numbers[id(group)] = number
    return group


def _meet(store, key, rank, size, number):
    """A group with a store of its own, whose address its first member writes under `key`."""
    if rank == 0:
        own, address = _open_store()
        store.set(key, address)
    else:
        host, port = bytes(store.get(key)).decode().rsplit(":", 1)
        own = core.TCPStore(host, int(port), False, 0, SECONDS)
    group = _stock[0](own, rank, size, number)
    _kept.append(own)
    return group


def _open_store():
    """A store on a free port of this machine, and its address for the others."""
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "127.0.0.1").split(":")[0]
    for attempt in range(ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        try:  # another process may take the port in between
            return core.TCPStore(host, port, True, 0, SECONDS), f"{host}:{port}"
        except RuntimeError:
            if attempt == ATTEMPTS - 1:
                raise


def _pair(group, peer):
    """The group of this process and `peer` alone, and the peer's rank there."""
    if group.size() == 2:
        return group, peer
    number, me = _numbers.get(id(group), 0), group.rank()
    key = (number, min(me, peer), max(me, peer))
    if key not in _pairs:
        store = core.create_or_get_global_tcp_store()
        # a number that no group of Paddle's gets: those are counted from 0
        pair_number = 10**6 * (number + 1) + 1000 * key[1] + key[2]
        _pairs[key] = _meet(store, "gloo/{}/{}-{}".format(*key), int(me > peer), 2, pair_number)
    return _pairs[key], int(peer > me)


def _send(group, tensor, peer, sync_op=True):
    way = _ways.get((_numbers.get(id(group)), group.rank(), peer))
    if way is not None:
        return way.send(tensor)
    pair, rank = _pair(group, peer)
    return _done(_stock[1](pair, tensor, rank, True))


def _receive(group, tensor, peer, sync_op=True):
    way = _ways.get((_numbers.get(id(group)), peer, group.rank()))
    if way is not None:
        return way.receive(tensor)
    pair, rank = _pair(group, peer)
    return _done(_stock[2](pair, tensor, rank, True))


# Ring -----------------------------------------------------------------------------------------------------------


class _Way:
    """One direction between two neighbours: what is sent waits in a queue of its own until the other has taken it."""

    def __init__(self, pair):
        self.pair, self._error = pair, None
        self._waiting = queue.Queue()
        self._thread = None

    def send(self, tensor):
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._waiting.put(tensor.clone())  # the sender may write into its own again
        return _Done()

    def receive(self, tensor):
        def take():
            _stock[2](self.pair, tensor, 0, True).wait()

        take() if _together is None else _together.append(take)
        return _Done()

    def wait(self):
        self._waiting.join()
        self._raise()

    def _work(self):
        while True:
            tensor = self._waiting.get()
            try:
                if self._error is None:
                    _stock[1](self.pair, tensor, 1, True).wait()
            except Exception as error:  # told to the caller's thread by its next call
                self._error = error
            finally:
                self._waiting.task_done()

    def _raise(self):
        if self._error is not None:
            raise self._error


class _Done:
    def wait(self):
        return True


def _begin_together(group):
    global _together
    _together = []


def _end_together(group, tasks=None):
    global _together
    takes, _together = _together, None
    for take in takes:
        take()


def connect_ring(group):
    """On a CPU, let neighbours of a group send without waiting for the receiver, as over NCCL; all must call it.

    Stock: a send ends when the receiver has taken it, so that the interleaved pipeline, whose stages all send
    to the next and then receive from the one before, waits forever.
    """
    if _stock is None:
        return
    inside, size = group.process_group, group.nranks
    number = _numbers[id(inside)]
    ring = sorted({(a, (a + 1) % size) for a in range(size)} | {((a + 1) % size, a) for a in range(size)})
    for sender, receiver in ring:  # in the same order everywhere
        key = (number, sender, receiver)
        if inside.rank() in (sender, receiver) and key not in _ways:
            store = core.create_or_get_global_tcp_store()
            way_number = 10**9 + 10**6 * (number + 1) + 1000 * sender + receiver
            name = "gloo/{}/{}>{}".format(*key)
            _ways[key] = _Way(_meet(store, name, int(inside.rank() == receiver), 2, way_number))


def wait_for_sends():
    """Until all that was sent along rings is taken; raises what went wrong with it."""
    for way in _ways.values():
        way.wait()


# Collectives ----------------------------------------------------------------------------------------------------


def _replace_collectives(group):
    # Stock: "ProcessGroupGloo does not support ...". On a CPU the calling thread is the only stream, so waiting for
    # the plain collective is what these names mean.
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
    ops = paddle._C_ops
    ops.c_identity = lambda x, *ring: ops.assign(x)
    ops.c_split = lambda x, rank, size, *ring: paddle.split(x, size, axis=-1)[rank].clone()
    ops.c_concat = _concat
    mp_ops._c_softmax_with_cross_entropy = split_cross_entropy


def _concat(x, rank, size, ring, *flags):
    parts = []
    dist.all_gather(parts, x, group=dist.get_group(ring))
    return paddle.concat(parts, axis=-1)


def split_cross_entropy(scores, labels, group=None, return_softmax=False, ignore_index=-100):
    """Cross-entropy [M, 1] of labels [M] or [M, 1] under scores [M, V / processes], each process with its part.

    Shoeybi et al. 2019, section 3: only three numbers of a row travel, never its scores.
    """
    if labels.ndim == scores.ndim - 1:
        labels = labels.unsqueeze(-1)  # [M, 1]
    return _SplitCrossEntropy.apply(scores, labels, group, ignore_index)


class _SplitCrossEntropy(PyLayer):
    @staticmethod
    def forward(ctx, scores, labels, group, ignore_index):
        part = scores.shape[-1]
        largest = scores.max(-1, keepdim=True)  # [M, 1]
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
        shifted = scores - largest  # [M, V / processes]
        powers = paddle.exp(shifted)
        total = powers.sum(-1, keepdim=True)  # [M, 1]
        dist.all_reduce(total, group=group)
        local = labels - group.rank * part  # [M, 1]
        mine = (local >= 0) & (local < part)
        local = paddle.where(mine, local, paddle.zeros_like(local))
        asked = paddle.take_along_axis(shifted, local, -1) * mine.astype(scores.dtype)  # [M, 1]
        dist.all_reduce(asked, group=group)
        keep = (labels != ignore_index).astype(scores.dtype)
        ctx.save_for_backward(powers / total, local, mine.astype(scores.dtype), keep)
        return (paddle.log(total) - asked) * keep

    @staticmethod
    def backward(ctx, grad):
        probabilities, local, mine, keep = ctx.saved_tensor()
        one_hot = paddle.nn.functional.one_hot(local.squeeze(-1), probabilities.shape[-1]) * mine
        return (probabilities - one_hot) * keep * grad
