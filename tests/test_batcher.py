"""The batcher of the server: which requests share a batch, which are queued, which are rejected."""

import asyncio
import threading

import pytest
from process_helpers import HANG_SECONDS

from ernie_from_scratch.config import UserError
from ernie_from_scratch.deployment.server.batcher import DynamicBatcher, Overloaded


def batched(scenario, predict, **settings):
    """Run `scenario(batcher)` with a started DynamicBatcher."""

    async def run():
        batcher = DynamicBatcher(predict, **settings)
        await batcher.start()
        try:
            return await asyncio.wait_for(scenario(batcher), HANG_SECONDS)
        finally:
            await batcher.stop()

    return asyncio.run(run())


def test_queued_requests_share_a_batch():
    calls, gate = [], threading.Event()

    def predict(inputs, options):
        calls.append((len(inputs), options["k"]))
        gate.wait(HANG_SECONDS)
        return [x * 10 for x in inputs]

    async def scenario(batcher):
        first = asyncio.create_task(batcher.submit([0], {"k": 1}))
        while not calls:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(batcher.submit([i, -i], {"k": 1 + (i == 3)})) for i in range(1, 6)]
        while batcher.pending < 6:
            await asyncio.sleep(0.001)
        gate.set()
        return await asyncio.gather(first, *rest)

    answers = batched(scenario, predict, max_batch=6)
    assert answers == [[0], *([10 * i, -10 * i] for i in range(1, 6))]
    # 0 alone; then 1, 2 and 4, with the same options, fill a batch of 6; then 3 with other options; then 5
    assert calls == [(1, 1), (6, 1), (2, 2), (2, 1)]


def test_an_invalid_request_does_not_affect_others():
    gate = threading.Event()

    def predict(inputs, options):
        gate.wait(HANG_SECONDS)
        if "bad" in inputs:
            raise UserError("bad: here; fix it")
        return [text.upper() for text in inputs]

    async def scenario(batcher):
        tasks = [asyncio.create_task(batcher.submit([text], {})) for text in ("a", "b", "bad", "c")]
        while batcher.pending < 4:
            await asyncio.sleep(0.001)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = batched(scenario, predict)
    assert answers[:2] == [["A"], ["B"]] and answers[3] == ["C"] and isinstance(answers[2], UserError)


def test_other_errors_reach_the_caller_and_the_batcher_keeps_running():
    def predict(inputs, options):
        return [1 // x for x in inputs]

    async def scenario(batcher):
        with pytest.raises(ZeroDivisionError):
            await batcher.submit([0], {})
        return await batcher.submit([1], {})

    assert batched(scenario, predict) == [1]


def test_requests_beyond_the_queue_limit_are_rejected():
    gate, started = threading.Event(), threading.Event()

    def predict(inputs, options):
        started.set()
        gate.wait(HANG_SECONDS)
        return inputs

    async def scenario(batcher):
        first = asyncio.create_task(batcher.submit([0], {}))
        while not started.is_set():
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(batcher.submit([i], {})) for i in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.submit([3], {})
        gate.set()
        return await asyncio.gather(first, *waiting)

    assert batched(scenario, predict, max_queued=2) == [[0], [1], [2]]


def test_requests_of_disconnected_clients_are_dropped():
    calls, gate = [], threading.Event()

    def predict(inputs, options):
        calls.append(list(inputs))
        gate.wait(HANG_SECONDS)
        return inputs

    async def scenario(batcher):
        first = asyncio.create_task(batcher.submit(["first"], {}))
        while not calls:
            await asyncio.sleep(0.001)
        gone = asyncio.create_task(batcher.submit(["gone"], {}))
        stays = asyncio.create_task(batcher.submit(["stays"], {}))
        while batcher.pending < 3:
            await asyncio.sleep(0.001)
        gone.cancel()
        gate.set()
        return await first, await stays

    assert batched(scenario, predict) == (["first"], ["stays"])
    assert calls == [["first"], ["stays"]]
