"""Dynamic batching: requests that arrive while the model is busy share its next call."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ernie_from_scratch.config import UserError


class Overloaded(Exception):
    """Too many requests are queued."""


@dataclass(eq=False)
class _Request:
    inputs: Sequence
    options: dict[str, Any]
    answer: asyncio.Future


class DynamicBatcher:
    """Feeds one thread, which owns the model, with batches of the queued requests. A request is never delayed to
    fill a batch.

    Args:
        predict: (inputs, options) -> one answer per input; called in the thread.
        max_batch: most inputs of one call; a request is never split.
        max_queued: most requests in the queue; `submit` raises Overloaded beyond that.

    Attributes:
        pending: number of requests that are queued or being answered.
    """

    def __init__(
        self, predict: Callable[[list, dict[str, Any]], list], max_batch: int = 64, max_queued: int = 256
    ):
        self.predict, self.max_batch, self.max_queued = predict, max_batch, max_queued
        self.pending = 0
        self._queue: list[_Request] = []
        self._not_empty = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._worker: asyncio.Task | None = None

    async def start(self) -> None:
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the current batch and stop; queued requests are cancelled."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for request in self._queue:
            request.answer.cancel()
        self._thread.shutdown(wait=True)

    async def submit(self, inputs: Sequence, options: dict[str, Any]) -> list:
        """The answers to `inputs`, in order; raises what `predict` raises for them, or Overloaded."""
        if len(self._queue) >= self.max_queued:
            raise Overloaded
        request = _Request(inputs, options, asyncio.get_running_loop().create_future())
        self._queue.append(request)
        self._not_empty.set()
        self.pending += 1
        try:
            return await request.answer
        finally:
            self.pending -= 1

    async def _run(self) -> None:
        while True:
            await self._not_empty.wait()
            batch = self._next_batch()
            if not self._queue:
                self._not_empty.clear()
            if batch:
                await self._answer(batch)

    def _next_batch(self) -> list[_Request]:
        """Takes the first request and later ones with the same options, as many as fit, from the queue."""
        self._queue = [request for request in self._queue if not request.answer.done()]  # not disconnected
        batch: list[_Request] = []
        size = 0
        for request in list(self._queue):
            if batch and (request.options != batch[0].options or size + len(request.inputs) > self.max_batch):
                continue
            batch.append(request)
            size += len(request.inputs)
            self._queue.remove(request)
        return batch

    async def _answer(self, batch: list[_Request]) -> None:
        loop = asyncio.get_running_loop()
        inputs = [entry for request in batch for entry in request.inputs]
        try:
            answers = await loop.run_in_executor(self._thread, self.predict, inputs, batch[0].options)
        except UserError as error:
            if len(batch) == 1:
                _set_exception(batch[0].answer, error)
            else:  # one request is invalid: run them one by one, so that the others are answered
                for request in batch:
                    await self._answer([request])
        except Exception as error:
            for request in batch:
                _set_exception(request.answer, error)
        else:
            start = 0
            for request in batch:
                if not request.answer.done():  # done: cancelled, since the client disconnected
                    request.answer.set_result(answers[start : start + len(request.inputs)])
                start += len(request.inputs)


def _set_exception(answer: asyncio.Future, error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
