"""A small structured-concurrency kernel over three calls of a clock.

Theory
------
A :class:`Task` is a coroutine.  When it has to wait it yields a :class:`Waitable`; the
kernel parks the task there.  Whoever completes the waitable *wakes* the task: the task
is put on the clock's run queue with :meth:`Clock.soon` and is stepped later, never
inside the call that woke it.  From this follow the rules that the rest of the code
relies on (``tests/kernel`` shows each one on both clocks):

* Between two awaits that block nothing else of the same host runs.
* A wake-up carries no data that could be lost: data stays in FIFO buffers
  (:mod:`replicator.runtime.channels`) until its reader is stepped.
* A finished await wins over a cancellation that comes later; the cancellation is then
  delivered at the next await that blocks.
* Cancellation is a *level*: while a task is cancelled each await that blocks raises
  :class:`Cancelled` again.  ``async with cleanup(ns)`` is the only shield, and it is
  bounded in time.
* ``async with group()`` is the only way to spawn.  The first failure cancels the
  siblings in the order of their birth; all are joined; that same exception object is
  raised.

States of a task::

    READY ----step----> RUNNING ----await----> PARKED
      ^                    |                     |
      |                    +--return/raise--> DONE
      +------------------wake/cancel-------------+

A killed kernel (:meth:`Kernel.kill`) steps nothing any more.  Its coroutines stay frozen
where they are until :meth:`Kernel.close` throws them away.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from replicator.runtime.waiting import CURRENT_TASK, Cancelled, Crashed, TaskCancelled, Waitable

if TYPE_CHECKING:
    from replicator.runtime.scopes import Scope

T = TypeVar("T")


class Clock(Protocol):
    """What a world must offer for tasks to run: three calls, all of one thread."""

    def now(self) -> int:
        """Monotonic time in nanoseconds."""

    def soon(self, fn: Callable[[], None]) -> None:
        """Call ``fn`` once, after the current callback, in the order of the calls."""

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        """Call ``fn`` once when :meth:`now` has reached ``time_ns``."""


_READY, _RUNNING, _PARKED, _DONE = range(4)

_CLOSE_ATTEMPTS: Final = 64
"""How often a frozen coroutine that awaits in its finally blocks is closed again."""


class Task(Waitable, Generic[T]):
    """One coroutine and its fate.  Created by :meth:`Group.spawn` and :meth:`Kernel.run_task`.

    ``await task`` waits for its end and returns its result or raises its error.
    """

    __slots__ = (
        "_alarmed",
        "_cancel_requested",
        "_coro",
        "_error",
        "_hops",
        "_interrupted",
        "_joiners",
        "_on_done",
        "_result",
        "_state",
        "_waiting_for",
        "kernel",
        "name",
        "scopes",
    )

    def __init__(
        self,
        kernel: Kernel,
        coro: Coroutine[Any, Any, T],
        name: str,
        on_done: Callable[[Task[Any]], None] | None = None,
    ) -> None:
        self.kernel = kernel
        self.name = name
        self.scopes: list[Scope] = []
        self._coro = coro
        self._state = _READY
        self._waiting_for: Waitable | None = None
        self._cancel_requested = False
        self._alarmed = False
        """Whether anything has ever asked it to end, or to leave a scope: only then look."""
        self._interrupted = False
        self._hops = 0
        self._joiners: list[Task[Any]] = []
        self._on_done = on_done
        self._result: T | None = None
        self._error: BaseException | None = None
        kernel._tasks[self] = None
        kernel._enqueue(self)

    # -- what other tasks may do ---------------------------------------------------

    @property
    def done(self) -> bool:
        return self._state == _DONE

    @property
    def error(self) -> BaseException | None:
        """The exception that ended the task; None while it runs or when it returned."""
        return self._error

    @property
    def cancelled(self) -> bool:
        """True when the task ended because it was cancelled."""
        return isinstance(self._error, Cancelled)

    def result(self) -> T:
        """The returned value; raises what the task raised, TaskCancelled if it was cancelled."""
        if self._state != _DONE:
            raise RuntimeError(f"task {self.name} has not ended")
        if isinstance(self._error, Cancelled):
            raise TaskCancelled(f"task {self.name} was cancelled")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def cancel(self) -> None:
        """Raise :class:`Cancelled` in the task at its next await that blocks."""
        if self._state != _DONE and not self._cancel_requested:
            self._cancel_requested = True
            self._interrupt()

    def __await__(self) -> Generator[Waitable, Any, T]:
        if self._state != _DONE:
            yield self
        return self.result()

    def _park(self, task: Task[Any]) -> bool:
        if self._state == _DONE:
            return False
        self._joiners.append(task)
        return True

    def _unpark(self, task: Task[Any]) -> None:
        self._joiners.remove(task)

    # -- the machine ---------------------------------------------------------------

    def _wake(self) -> None:
        """The wait is over; step the task soon.  Called by waitables, once per wait."""
        self._waiting_for = None
        self._state = _READY
        self.kernel._enqueue(self)

    def _pending_cancel(self) -> object | None:
        """The outermost cancellation that no clean-up inside of it holds off."""
        found: object | None = self if self._cancel_requested else None
        for scope in self.scopes:
            if scope.shield:
                found = None
            if found is None and scope.expired:
                found = scope
        return found

    def _interrupt(self) -> None:
        """A cancellation has arrived: end the current wait, unless it is over already."""
        self._alarmed = True
        if self._state == _PARKED and self._pending_cancel() is not None:
            waiting_for, self._waiting_for = self._waiting_for, None
            assert waiting_for is not None
            waiting_for._unpark(self)
            self._state = _READY
            self._interrupted = True
            self.kernel._enqueue(self)

    def _step(self) -> None:
        self._state = _RUNNING
        value: Any = None
        error: BaseException | None = None
        if self._interrupted:
            self._interrupted = False
            scope = self._pending_cancel()
            if scope is not None:
                error = Cancelled(scope)
        coro = self._coro
        try:
            while True:
                if error is None:
                    trap = coro.send(value)
                else:
                    thrown, error = error, None
                    trap = coro.throw(thrown)
                value = None
                if trap is CURRENT_TASK:
                    value = self
                    continue
                if self._alarmed:
                    scope = self._pending_cancel()
                    if scope is not None:
                        if self.kernel.dead:  # killed by this very step: freeze here
                            self._state = _READY
                            return
                        error = Cancelled(scope)
                        continue
                # Set before parking: a waitable may wake the task at once.
                self._state = _PARKED
                self._waiting_for = trap
                if trap._park(self):
                    return
                self._state = _RUNNING
                self._waiting_for = None
        except StopIteration as stop:
            self._result = stop.value
        except Crashed:
            # The host is gone: the task neither ended nor may anybody learn of it.
            self._state = _READY
            self.kernel.kill()
            return
        except (KeyboardInterrupt, SystemExit):
            # Meant for the program that runs the world, not for this task's group.
            self._state = _READY
            self.kernel.kill()
            raise
        except BaseException as failure:
            self._error = failure
        self._finish()

    def _finish(self) -> None:
        self._state = _DONE
        self.kernel._tasks.pop(self, None)
        if self.kernel.dead:
            return
        # The joiners first: their wait is over, so the cancellation that a failure sends
        # out below finds them ready and they raise the failure itself.
        joiners, self._joiners = self._joiners, []
        for task in joiners:
            task._wake()
        if self._on_done is not None:
            self._on_done(self)


class Kernel:
    """The tasks of one host incarnation and the queue of those that are ready.

    Arguments
    ---------
    clock: the three primitives.
    hops: for tests: called at each wake-up; so many extra turns of the queue the woken
        task is delayed.  A seeded ``hops`` permutes all independent wake-ups, which must
        change nothing that a program may rely on.
    """

    __slots__ = (
        "_busy_until_ns",
        "_halt",
        "_hops",
        "_paused",
        "_ready",
        "_scheduled",
        "_tasks",
        "clock",
        "dead",
        "steps",
    )

    def __init__(self, clock: Clock, hops: Callable[[], int] | None = None) -> None:
        self.clock = clock
        self.dead = False
        self.steps = 0
        self._hops = hops
        self._ready: deque[Task[Any]] = deque()
        self._tasks: dict[Task[Any], None] = {}
        self._scheduled = False
        self._paused = False
        self._busy_until_ns = 0
        self._halt = False  # a step charged time, paused or killed: look before the next

    def run_task(
        self,
        coro: Coroutine[Any, Any, T],
        name: str,
        on_done: Callable[[Task[Any]], None] | None = None,
    ) -> Task[T]:
        """Start a root task; ``on_done`` is called with it when it has ended."""
        return Task(self, coro, name, on_done)

    def charge_ns(self, time_ns: int) -> None:
        """Book processor time: what is stepped next waits until it has passed."""
        now = self.clock.now()
        self._busy_until_ns = max(self._busy_until_ns, now) + time_ns
        self._halt = True

    def pause(self) -> None:
        """Stop stepping (a frozen process); wake-ups are kept."""
        self._paused = True
        self._halt = True

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._paused = False
        self._schedule()

    def kill(self) -> None:
        """Step nothing any more, for ever."""
        self.dead = True
        self._halt = True
        self._ready.clear()

    def close(self) -> None:
        """Throw away the frozen coroutines of a killed kernel.

        Their ``finally`` blocks run with GeneratorExit while the world raises
        :class:`Crashed` at every call, so they cannot touch anything.
        """
        self.kill()
        while self._tasks:  # the youngest first; a finally block may even spawn another
            task, _ = self._tasks.popitem()
            for _attempt in range(_CLOSE_ATTEMPTS):
                # An await in a finally block ends as RuntimeError and leaves the
                # coroutine there: close it again, until the outermost block has run.
                with contextlib.suppress(Exception, Crashed, Cancelled):
                    task._coro.close()
                    break

    def _enqueue(self, task: Task[Any]) -> None:
        if self.dead:
            return
        if self._hops is not None:
            task._hops = self._hops()
        self._ready.append(task)
        if not self._scheduled and not self._paused:
            self._scheduled = True
            clock, busy_ns = self.clock, self._busy_until_ns
            if busy_ns and busy_ns > clock.now():
                clock.at(busy_ns, self._drain)
            else:
                clock.soon(self._drain)

    def _schedule(self) -> None:
        if self._paused or self._scheduled or self.dead or not self._ready:
            return
        self._scheduled = True
        busy_ns = self._busy_until_ns
        if busy_ns and busy_ns > self.clock.now():
            self.clock.at(busy_ns, self._drain)
        else:
            self.clock.soon(self._drain)

    def _drain(self) -> None:
        ready = self._ready
        # What these steps wake is run at the next turn: nobody starves.
        turns = len(ready)
        busy_ns = self._busy_until_ns
        if busy_ns and busy_ns <= self.clock.now():
            busy_ns = self._busy_until_ns = 0  # it has passed: nobody need look at the clock
        self._halt = busy_ns > 0 or self._paused or self.dead
        while turns and not self._halt:
            turns -= 1
            task = ready.popleft()
            if task._hops:
                task._hops -= 1
                ready.append(task)
                continue
            self.steps += 1
            task._step()
        self._scheduled = False
        if ready:
            self._schedule()
