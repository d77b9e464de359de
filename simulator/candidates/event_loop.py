"""An asyncio event loop on the emulated host's kernel: its time is simulated time.

Offered: tasks, futures, timers, ``asyncio.sleep``, ``wait_for``, ``timeout``, ``gather``,
``wait``, ``TaskGroup``, queues, locks, events, ``run_in_executor`` and ``to_thread`` (inline, at a
fixed cost of processor time), and TCP: ``open_connection``, ``start_server``,
``create_connection``, ``create_server`` with transports and protocols
(:mod:`simulator.candidates.loop_streams`).  All else raises NotImplementedError with a sentence.

The loop is one task of the kernel, so a pause, a slow processor or a crash of the host meets it
as it meets our own coroutines: of a host that crashed nothing is run again.  Sets of tasks are in
the order in which the tasks were made, so that one program gives one course of events.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from itertools import count
from typing import Any, Final, TypeVar

from replicator.runtime import Cancelled, Crashed, Group, Signal, group, yield_now
from simulator.candidates import guards
from simulator.candidates.loop_streams import LoopServer, LoopTransport
from simulator.host import Host

T = TypeVar("T")
EXECUTOR_CALL_NS: Final = 50_000
"""Processor time that a call in an executor is booked with."""
_CLOSE_ATTEMPTS: Final = 64


class LoopTask(asyncio.Task[Any]):
    """A task whose place in a set depends on when it was made, not on where it lies."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self._number


class LoopFuture(asyncio.Future[Any]):
    """As :class:`LoopTask`."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


def _not_offered(name: str) -> Callable[..., Any]:
    def refuse(_self: Any, *_args: Any, **_options: Any) -> Any:
        raise NotImplementedError(
            f"the simulated loop has no {name}(): see docs/candidates.md for what it offers"
        )

    return refuse


_Refusing: Any = type(
    "_Refusing",
    (asyncio.AbstractEventLoop,),
    {n: _not_offered(n) for n in dir(asyncio.AbstractEventLoop) if not n.startswith("_")},
)
"""Nothing that is missing fails without a word."""


class SimulatedLoop(_Refusing):  # type: ignore[misc]
    """The loop of one process of an emulated machine.

    Arguments
    ---------
    host: the process.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._numbers = count(1)
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._wake = Signal()
        self._group: Group | None = None
        self._tasks: dict[LoopTask, None] = {}
        self._transports: dict[LoopTransport, None] = {}
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._stepping = False
        self._closed = False

    # -- the course of the loop ------------------------------------------------------

    async def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of asyncio to its end; returns or raises what it does."""
        root = self.create_task(main)
        try:
            async with group() as g:
                self._group = g
                while not root.done():
                    self._run_ready()
                    if self._ready:
                        await yield_now()
                    elif not root.done():
                        await self._wake
                g.cancel()
        finally:
            self._throw_away()
        result: T = root.result()
        return result

    def _run_ready(self) -> None:
        outer, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(None, self._generator_dropped)
        self._stepping = True
        try:
            with guards.clock_of(self.host):
                for _turn in range(len(self._ready)):
                    handle = self._ready.popleft()
                    if not handle.cancelled():
                        handle._run()
                    if self.host.dead:
                        raise Crashed("the host died inside a step of the loop")
        finally:
            self._stepping = False
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(outer)

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Nobody will go on with it: its ``finally`` is carried out, as on asyncio's own loop."""
        if not self._closed and not self.host.dead:
            self.call_soon(lambda: self.create_task(generator.aclose()))

    def _throw_away(self) -> None:
        """Nothing of it will run again: close the coroutines, which could touch nothing anyway."""
        self._closed = True
        self._ready.clear()
        for transport in self._transports:
            transport.vanish()
        while self._tasks:
            task, _ = self._tasks.popitem()
            coro: Any = task.get_coro()
            for _attempt in range(_CLOSE_ATTEMPTS):
                with suppress(Exception, Crashed, Cancelled):
                    coro.close()
                    break

    def port(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Future[T]:
        """A future of what a coroutine over the port gives."""
        future: asyncio.Future[T] = self.create_future()

        def deliver(result: T | None, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        async def run() -> None:
            try:
                result = await coro
            except Exception as error:  # noqa: BLE001 it is raised where the future is awaited
                self.call_soon(deliver, None, error)
            else:
                self.call_soon(deliver, result, None)

        task = self.spawn(run(), name)
        future.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
        return future

    def spawn(self, coro: Coroutine[Any, Any, None], name: str) -> Any:
        """A task of the kernel that lives as long as the loop, at most."""
        assert self._group is not None
        return self._group.spawn(coro, name)

    def opened(self, transport: LoopTransport) -> None:
        """A connection is there."""
        self._transports[transport] = None

    def ended(self, transport: LoopTransport) -> None:
        """A connection is over."""
        self._transports.pop(transport, None)

    # -- what asyncio asks of a loop ---------------------------------------------------

    def time(self) -> float:
        return self.host.now_ns() / 1e9

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._closed:
            self._ready.append(handle)
            self._wake.notify()
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if when == math.inf:
            return handle  # never, as on asyncio's own loop
        at_ns = max(self.host.now_ns(), math.ceil(when * 1e9))
        heapq.heappush(self._timers, (at_ns, next(self._numbers), handle))
        self.host.clock.at(at_ns, self._ring)
        return handle

    def _ring(self) -> None:
        now_ns = self.host.clock.now()
        while self._timers and self._timers[0][0] <= now_ns:
            handle = heapq.heappop(self._timers)[2]
            if not handle.cancelled() and not self._closed:
                self._ready.append(handle)
        if self._ready:
            self._wake.notify()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return LoopFuture(next(self._numbers), self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        number = next(self._numbers)
        task = LoopTask(number, coro, loop=self, name=name or f"task {number}", context=context)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def run_in_executor(
        self, _executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call it here, and book some processor time for it."""
        future: asyncio.Future[T] = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            self.host.charge_ns(EXECUTOR_CALL_NS)
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 it is raised where the future is awaited
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(call)
        return future

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        **more: Any,
    ) -> tuple[LoopTransport, Any]:
        _refuse(more, "open_connection")
        stream = await self.port(LoopTransport.connect(self, f"{host}:{port}"), "connect")
        protocol = protocol_factory()
        return LoopTransport(self, stream, protocol, (host, port)), protocol

    async def create_server(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        **more: Any,
    ) -> LoopServer:
        more.pop("start_serving", None)
        more.pop("backlog", None)
        _refuse(more, "start_server")
        name = self.host.machine.name if host in (None, "", "0.0.0.0", "::") else host
        listener = await self.port(LoopServer.listen(self, f"{name}:{port}"), "listen")
        return LoopServer(self, listener, protocol_factory, (name, port))

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        self._handler = handler

    def get_exception_handler(self) -> Any:
        return self._handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody awaited and failed: told on the timeline, as asyncio tells its log."""
        if not self._stepping or self.host.dead:
            return  # from the garbage collector, at no instant of the run
        if self._handler is not None:
            self._handler(self, context)
        else:
            self.default_exception_handler(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        text = f": {error!r}" if error is not None else ""
        self.host.emit("unhandled", f"{context.get('message', 'an error')}{text}"[:300])

    async def shutdown_asyncgens(self) -> None:
        """Nothing is kept of them."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""


def _refuse(options: dict[str, Any], call: str) -> None:
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise NotImplementedError(
            f"{call} of the simulated loop takes host and port only, not {', '.join(given)}"
        )
