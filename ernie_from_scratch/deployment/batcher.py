"""Dynamic batching: requests that arrive while the model is busy are answered together by its next call."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ernie_from_scratch.config import UserError


class Overloaded(Exception):
    """Too many requests are waiting."""


class MicroBatcher:
    """Feeds one thread, which owns the model, with batches of whatever is waiting; no request waits for
    company.

    Args:
        predict: (inputs, options) -> one answer per input, called in the thread.
        max_batch: most inputs of one call; a request is never split.
        max_waiting: most requests in the queue; `submit` raises Overloaded beyond that.
    """

    def __init__(self, predict: Callable[[list, dict], list], max_batch: int = 64, max_waiting: int = 256):
        self.predict, self.max_batch, self.max_waiting = predict, max_batch, max_waiting
        self._waiting: list[tuple[Sequence, dict, asyncio.Future]] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task | None = None
        self.under_way = 0  # requests that wait or are being answered

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish the batch at hand, then end; requests still waiting are cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, _, answer in self._waiting:
            answer.cancel()
        self._thread.shutdown(wait=True)

    async def submit(self, inputs: Sequence, options: dict) -> list:
        """The answers to `inputs`, in order; raises what `predict` raises for them."""
        if len(self._waiting) >= self.max_waiting:
            raise Overloaded
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((inputs, options, answer))
        self._arrived.set()
        self.under_way += 1
        try:
            return await answer
        finally:
            self.under_way -= 1

    async def _work(self):
        while True:
            await self._arrived.wait()
            batch = self._take()
            if not self._waiting:
                self._arrived.clear()
            if batch:
                await self._answer(batch)

    def _take(self):
        """The first request and those behind it that ask for the same options, as many as fit."""
        self._waiting = [entry for entry in self._waiting if not entry[2].done()]  # the client has left
        batch, size = [], 0
        for entry in list(self._waiting):
            if batch and (entry[1] != batch[0][1] or size + len(entry[0]) > self.max_batch):
                continue
            batch.append(entry)
            size += len(entry[0])
            self._waiting.remove(entry)
        return batch

    async def _answer(self, batch):
        loop = asyncio.get_running_loop()
        inputs = [entry for request, _, _ in batch for entry in request]
        try:
            answers = await loop.run_in_executor(self._thread, self.predict, inputs, batch[0][1])
        except UserError as error:
            if len(batch) == 1:
                _set(batch[0][2], error=error)
            else:  # one of them is wrong: ask singly, so that the others get their answers
                for entry in batch:
                    await self._answer([entry])
        except Exception as error:
            for _, _, answer in batch:
                _set(answer, error=error)
        else:
            start = 0
            for request, _, answer in batch:
                _set(answer, result=answers[start : start + len(request)])
                start += len(request)


def _set(answer, result=None, error=None):
    if answer.done():  # cancelled: the client has left
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
