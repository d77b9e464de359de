"""Threads for calls that may block, and their way back into the kernel.

A :class:`Workers` is a small pool of daemon threads.  Its rules:

* All of its state belongs to the loop's thread.  A worker thread runs the call it was
  given and posts the outcome with ``call_soon_threadsafe``; it touches nothing else.
* A call cannot be taken back.  Who is cancelled while waiting goes on at once; the call
  runs to its end, ``landed`` is told, and its result is dropped.
* The threads are daemons, unlike those of :mod:`concurrent.futures`, which the
  interpreter joins at its exit: a disk that hangs must not keep the process.

Each volume has a pool of its own, so that one that hangs cannot use up the threads of
another.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from replicator.runtime import Completion

T = TypeVar("T")
Landed = Callable[[Exception | None], None]

VOLUME_THREADS: Final = 8
"""Blocking calls underway at a time on one volume."""

_Job = tuple[Callable[[], Any], "Completion[Any]", Landed | None]


class Workers:
    """Runs blocking calls in threads, first come, first served.

    Arguments
    ---------
    loop: where outcomes are delivered.
    name: what the threads are called, for debuggers.
    limit_threads: calls underway at a time; more wait in a queue.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, name: str, limit_threads: int = VOLUME_THREADS
    ) -> None:
        if limit_threads < 1:
            raise ValueError("limit_threads must be at least 1")
        self._loop = loop
        self.name = name
        self._limit = limit_threads
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._underway = 0
        self._closed = False
        self._on_idle: Callable[[], None] | None = None

    @property
    def underway(self) -> int:
        """Calls that have not come back yet, those in the queue included."""
        return self._underway

    def start(self, fn: Callable[[], T], landed: Landed | None = None) -> Completion[T]:
        """Run ``fn`` in a thread; the completion has its result or its error.

        Arguments
        ---------
        landed: called on the loop's thread with the error, or None, before any waiter
            goes on, and also when nobody waits any more.
        """
        if self._closed:
            raise RuntimeError(f"the threads of {self.name} are closed")
        completion: Completion[T] = Completion()
        self._underway += 1
        if self._underway > len(self._threads) and len(self._threads) < self._limit:
            thread = threading.Thread(
                target=_work,
                args=(self._loop, self._jobs, self._deliver),
                name=f"{self.name}-{len(self._threads)}",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()
        self._jobs.put((fn, completion, landed))
        return completion

    async def run(self, fn: Callable[[], T], landed: Landed | None = None) -> T:
        """Run ``fn`` in a thread and wait for it; see :meth:`start`."""
        return await self.start(fn, landed)

    def _deliver(
        self,
        completion: Completion[Any],
        landed: Landed | None,
        value: object,
        error: Exception | None,
    ) -> None:
        self._underway -= 1
        if landed is not None:
            landed(error)
        if error is None:
            completion.set(value)
        else:
            completion.fail(error)
        if not self._underway and self._on_idle is not None:
            self._on_idle()

    def close(self, on_idle: Callable[[], None] | None = None) -> None:
        """Take nothing more; ``on_idle`` is called when the last call has come back."""
        if not self._closed:
            self._closed = True
            for _thread in self._threads:
                self._jobs.put(None)
        self._on_idle = on_idle
        if not self._underway and on_idle is not None:
            on_idle()

    def join(self) -> bool:
        """Wait for the threads to end; False, at once, when one is still in a call.

        For the loop's thread, after :meth:`close`.  What is still underway is left behind.
        """
        if not self._closed or self._underway:
            return False
        for thread in self._threads:
            thread.join()
        return True


def _work(
    loop: asyncio.AbstractEventLoop,
    jobs: queue.SimpleQueue[_Job | None],
    deliver: Callable[..., None],
) -> None:
    while (job := jobs.get()) is not None:
        fn, completion, landed = job
        value: object = None
        error: Exception | None = None
        try:
            value = fn()
        except Exception as failure:  # noqa: BLE001 - whatever it is, it belongs to the waiter
            error = failure
        try:
            loop.call_soon_threadsafe(deliver, completion, landed, value, error)
        except RuntimeError:
            return  # the loop is closed: this call was left behind
        del job, fn, completion, landed, value, error  # nothing is kept alive by an idle thread
