"""The real world as one process sees it, and how a program of ours is run in it.

:func:`run_on_host` makes an asyncio loop, the clock and the kernel over it, and a
:class:`HostRuntime`; runs one coroutine to its end; and closes all that it opened.

Signals: the first SIGINT or SIGTERM is a request (:class:`StopRequest`), which the program
obeys in its own time.  A second one is an order: nothing is stepped any more, calls that hang
in threads are left behind, and KeyboardInterrupt is raised.

At the end what is underway is waited for, until it is over or an order comes: calls in threads,
and the bytes of connections that were closed in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from replicator.host.clock import AsyncioClock
from replicator.host.identity import boot_id
from replicator.host.network import HostListener, HostNetwork
from replicator.host.streams import HostStream
from replicator.host.volume import HostVolume
from replicator.host.workers import Workers
from replicator.host.writeback import DIRTY_LIMIT_BYTES
from replicator.runtime import Kernel, Signal, Task, yield_now

T = TypeVar("T")
Emit = Callable[[str, tuple[int | str, ...]], None]

INLINE_COMPUTE_NS: Final = 200_000
"""Work that costs less is done in place.

Measured: the way to a thread and back takes about 110 us, as long as zstd needs for 0.8 MiB and
xxh3 for 4 MiB; from twice that on the other tasks gain more than this one loses.
"""

INLINE_IN_A_ROW_NS: Final = 1_000_000
"""Work done in place, in sum, before the others of the host get their turn."""

_LOOK_AGAIN_S: Final = 0.02
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def _drop(_event: str, _values: tuple[int | str, ...]) -> None:
    return None


class StopRequest:
    """Whether the program was asked to end, and by what."""

    def __init__(self) -> None:
        self.cause: str | None = None
        """The signal's name, or what :meth:`ask` was given."""
        self._changed = Signal()

    @property
    def requested(self) -> bool:
        return self.cause is not None

    def ask(self, cause: str) -> None:
        """Ask the program to end; the first cause stays."""
        if self.cause is None:
            self.cause = cause
            self._changed.notify()

    async def wait(self) -> str:
        """Wait for the request; returns its cause."""
        while self.cause is None:
            await self._changed
        return self.cause


class HostRuntime:
    """Implements ``replicator.runtime.port.Runtime`` over one asyncio loop.

    Arguments
    ---------
    loop: runs everything; the caller closes it, after :meth:`close`.
    incarnation: which start of the software this is
        (:func:`replicator.host.identity.next_incarnation`).
    emit: called with each event and its values, on the loop's thread.
    compute_threads: pure functions running at a time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        incarnation: int = 1,
        emit: Emit = _drop,
        compute_threads: int | None = None,
    ) -> None:
        self._loop = loop
        self._incarnation = incarnation
        self._emit = emit
        self._boot_id = boot_id()
        self._in_a_row_ns = 0
        self._secret = os.urandom(16).hex()
        self._computers = Workers(loop, "compute", compute_threads or os.cpu_count() or 1)
        self._network = HostNetwork(loop)
        self._volumes: list[HostVolume] = []
        self.stop = StopRequest()

    # -- Runtime -------------------------------------------------------------------------

    @property
    def boot_id(self) -> int:
        return self._boot_id

    @property
    def incarnation(self) -> int:
        return self._incarnation

    def started_as(self, incarnation: int) -> None:
        """Which start of the software this is, when that could be counted only later."""
        self._incarnation = incarnation

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def random(self, name: str) -> Callable[[], float]:
        """A stream of its own for each name, another one in each process."""
        return random.Random(f"{self._secret}/{name}").random

    def charge_ns(self, time_ns: int) -> None:
        """Nothing: real work takes its time by itself."""

    async def compute(self, fn: Callable[[], T], cost_ns: int) -> T:
        """Run a pure function, in a thread when it costs :data:`INLINE_COMPUTE_NS` or more.

        Cancelled while it runs, it runs on to its end and its result is dropped.
        """
        if cost_ns < INLINE_COMPUTE_NS:
            self._in_a_row_ns += cost_ns
            if self._in_a_row_ns >= INLINE_IN_A_ROW_NS:
                self._in_a_row_ns = 0
                await yield_now()
            return fn()
        return await self._computers.run(fn)

    def emit(self, event: str, *values: int | str) -> None:
        self._emit(event, values)

    async def connect(self, address: str) -> HostStream:
        return await self._network.connect(address)

    async def listen(self, address: str) -> HostListener:
        return await self._network.listen(address)

    # -- what the port hands over apart -----------------------------------------------------

    def volume(
        self,
        name: str,
        base_directory: str,
        dirty_limit_bytes: int = DIRTY_LIMIT_BYTES,
        seen_at: str = "",
    ) -> HostVolume:
        """A directory as a volume, closed together with this runtime."""
        volume = HostVolume(name, base_directory, self._loop, dirty_limit_bytes, seen_at=seen_at)
        self._volumes.append(volume)
        return volume

    # -- the end -----------------------------------------------------------------------------

    @property
    def _pools(self) -> list[Workers]:
        return [self._computers, self._network.resolvers, *(v.workers for v in self._volumes)]

    @property
    def busy(self) -> bool:
        """Whether a call in a thread, or a closed connection's last bytes, are underway."""
        return self._network.lingers or any(pool.underway for pool in self._pools)

    def close(self) -> list[str]:
        """Close everything and join the threads.

        Returns the names of the pools that had to be left behind, because a call hangs.
        """
        self._emit = _drop  # nothing is reported by a coroutine that is being thrown away
        self._network.close()
        for volume in self._volumes:
            volume.close()
        for pool in self._pools:
            pool.close()
        return [pool.name for pool in self._pools if not pool.join()]


def run_on_host(
    main: Callable[[HostRuntime], Coroutine[Any, Any, T]],
    *,
    name: str = "main",
    incarnation: int = 1,
    emit: Emit = _drop,
) -> T:
    """Run ``main`` to its end over the real world.

    Arguments
    ---------
    main: gets the runtime; its ``stop`` tells of the first SIGINT or SIGTERM.
    name: of its task.
    incarnation, emit: as for :class:`HostRuntime`.

    Returns what ``main`` returns and raises what it raises; KeyboardInterrupt at the second
    signal.  Signals are handled when called from the main thread only.
    """
    loop = asyncio.new_event_loop()
    try:
        runtime = HostRuntime(loop, incarnation, emit)
        run = _Run(loop, runtime, emit)
        with run.signals():
            return run.to_the_end(main(runtime), name)
    finally:
        loop.close()


class _Run:
    """One coroutine on one loop, and what can end it early."""

    def __init__(self, loop: asyncio.AbstractEventLoop, runtime: HostRuntime, emit: Emit) -> None:
        self.loop = loop
        self.runtime = runtime
        self.emit = emit
        self.kernel = Kernel(AsyncioClock(loop))
        self.ordered = False
        self.defect: BaseException | None = None
        loop.set_exception_handler(self._callback_failed)

    def _callback_failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An adapter's callback has a defect: the program cannot rely on the world any more."""
        self.defect = context.get("exception") or RuntimeError(str(context.get("message")))
        self.loop.stop()

    def _signalled(self, number: signal.Signals) -> None:
        if self.runtime.stop.requested:
            self.ordered = True
            self.loop.stop()
        else:
            self.runtime.stop.ask(number.name)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn signals into requests inside the block."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            self.loop.add_signal_handler(number, self._signalled, number)
        try:
            yield
        finally:
            for number in _SIGNALS:
                self.loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def to_the_end(self, coro: Coroutine[Any, Any, T], name: str) -> T:
        task: Task[T] = self.kernel.run_task(coro, name, lambda _task: self.loop.stop())
        try:
            self.loop.run_forever()
            if task.done:
                self._wait_while_busy()
        finally:
            # The world first: what a frozen coroutine still tries in its finally blocks is
            # refused.
            left_behind = self.runtime.close()
            self.kernel.close()
            for pool_name in left_behind:
                self.emit("left_behind", (pool_name,))
        if self.defect is not None:
            raise self.defect
        if not task.done:
            raise KeyboardInterrupt
        return task.result()

    def _wait_while_busy(self) -> None:
        def look() -> None:
            if self.runtime.busy:
                self.loop.call_later(_LOOK_AGAIN_S, look)
            else:
                self.loop.stop()

        if self.runtime.busy and not self.ordered and self.defect is None:
            look()
            self.loop.run_forever()
