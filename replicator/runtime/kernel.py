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
from typing import Any, Final, Generic, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What a world must offer for tasks to run: three calls, all of one thread."""

    def now(self) -> int:
        """Monotonic time in nanoseconds."""

    def soon(self, fn: Callable[[], None]) -> None:
        """Call ``fn`` once, after the current callback, in the order of the calls."""

    def at(self, time_ns: int, fn: Callable[[], None]) -> None:
        """Call ``fn`` once when :meth:`now` has reached ``time_ns``."""


class Cancelled(BaseException):
    """Raised at an await that blocks in a task, or scope, that was cancelled.

    Not an :class:`Exception`, so that error handling never swallows it.  ``scope`` is
    the deadline, clean-up or task whose end it announces.
    """

    def __init__(self, scope: object) -> None:
        super().__init__(scope)
        self.scope = scope


class Crashed(BaseException):
    """The host died inside this call.  Nothing of it runs again: never catch it."""


class TimedOut(Exception):
    """A :func:`deadline` ended its own block."""


class TaskCancelled(Exception):
    """The task whose result was asked for was cancelled.

    Not :class:`Cancelled`: who waits for a cancelled task is not cancelled itself, and
    must not end as quietly as if it were.
    """


class Waitable:
    """Something that a task can wait for.  Subclasses implement the two hooks."""

    __slots__ = ()

    def _park(self, task: Task[Any]) -> bool:
        """Remember ``task`` and return True, or return False if nothing need be waited for."""
        raise NotImplementedError

    def _unpark(self, task: Task[Any]) -> None:
        """Forget ``task``, which stops waiting before the wait is over."""
        raise NotImplementedError


class _CurrentTask(Waitable):
    """Answered at once with the task that awaits it."""

    __slots__ = ()

    def __await__(self) -> Generator[Waitable, Any, Task[Any]]:
        task: Task[Any] = yield self
        return task


class _Yield(Waitable):
    __slots__ = ()

    def __await__(self) -> Generator[Waitable, Any, None]:
        yield self

    def _park(self, task: Task[Any]) -> bool:
        task._wake()
        return True

    def _unpark(self, task: Task[Any]) -> None:  # already woken: a finished await wins
        raise AssertionError("a yield cannot be interrupted")


class Sleep(Waitable):
    """Wait until an instant of the task's clock."""

    __slots__ = ("delay_ns", "task")

    def __init__(self, delay_ns: int) -> None:
        self.delay_ns = delay_ns
        self.task: Task[Any] | None = None

    def __await__(self) -> Generator[Waitable, Any, None]:
        yield self

    def _park(self, task: Task[Any]) -> bool:
        self.task = task
        clock = task.kernel.clock
        clock.at(clock.now() + max(0, self.delay_ns), self._ring)
        return True

    def _unpark(self, task: Task[Any]) -> None:
        self.task = None

    def _ring(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            task._wake()


class Completion(Waitable, Generic[T]):
    """A one-shot result that an adapter delivers later: ``value = await completion``.

    The value stays in the object until its reader is stepped, so a cancelled reader
    loses nothing that another could still fetch.
    """

    __slots__ = ("_done", "_error", "_tasks", "_value")

    def __init__(self) -> None:
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._tasks: list[Task[Any]] = []

    @property
    def done(self) -> bool:
        return self._done

    def set(self, value: T) -> None:
        """Deliver the result; the first delivery counts."""
        if not self._done:
            self._done, self._value = True, value
            self._wake_all()

    def fail(self, error: BaseException) -> None:
        """Deliver an error that the reader raises."""
        if not self._done:
            self._done, self._error = True, error
            self._wake_all()

    def _wake_all(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task._wake()

    def __await__(self) -> Generator[Waitable, Any, T]:
        if not self._done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def _park(self, task: Task[Any]) -> bool:
        if self._done:
            return False
        self._tasks.append(task)
        return True

    def _unpark(self, task: Task[Any]) -> None:
        self._tasks.remove(task)


_CURRENT_TASK: Final = _CurrentTask()
_YIELD: Final = _Yield()


class _Scope:
    """A stretch of a task's run that can end early: a deadline, a clean-up, a group.

    ``expired`` asks the task to leave the scope; ``shield`` holds off what lies outside.
    """

    __slots__ = ("expired", "shield", "task")

    def __init__(self, shield: bool) -> None:
        self.shield = shield
        self.expired = False
        self.task: Task[Any] | None = None

    async def _enter(self) -> Task[Any]:
        task = await _CURRENT_TASK
        self.task = task
        task.scopes.append(self)
        return task

    def _leave(self) -> None:
        task, self.task = self.task, None
        assert task is not None
        top = task.scopes.pop()
        assert top is self, "scopes must be left in the order of their nesting"

    def _expire(self) -> None:
        task = self.task
        if task is not None:
            self.expired = True
            task._interrupt()


class _TimedScope(_Scope):
    __slots__ = ("time_ns",)

    def __init__(self, time_ns: int, shield: bool) -> None:
        super().__init__(shield)
        self.time_ns = time_ns

    async def _enter(self) -> Task[Any]:
        task = await super()._enter()
        clock = task.kernel.clock
        clock.at(clock.now() + max(0, self.time_ns), self._expire)
        return task


class Deadline(_TimedScope):
    """``async with deadline(ns)``: raises :class:`TimedOut` when its own time is up."""

    __slots__ = ()

    async def __aenter__(self) -> Deadline:
        await self._enter()
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._leave()
        if isinstance(error, Cancelled) and error.scope is self:
            raise TimedOut(f"deadline of {self.time_ns} ns passed") from None


class Cleanup(_TimedScope):
    """``async with cleanup(ns)``: cancellations from outside wait until the block ends.

    The block itself is cut off after ``ns``; then ``expired`` is true and the block ends
    quietly, because what it shields is best effort while something else already failed.
    """

    __slots__ = ()

    async def __aenter__(self) -> Cleanup:
        await self._enter()
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self._leave()
        return isinstance(error, Cancelled) and error.scope is self


def deadline(time_ns: int) -> Deadline:
    """Bound a block to ``time_ns`` nanoseconds of its kernel's clock; raises TimedOut."""
    return Deadline(time_ns, shield=False)


def cleanup(time_ns: int) -> Cleanup:
    """Shield a block from cancellation for at most ``time_ns`` nanoseconds."""
    return Cleanup(time_ns, shield=True)


_READY, _RUNNING, _PARKED, _DONE = range(4)

_CLOSE_ATTEMPTS: Final = 64
"""How often a frozen coroutine that awaits in its finally blocks is closed again."""


class Task(Waitable, Generic[T]):
    """One coroutine and its fate.  Created by :meth:`Group.spawn` and :meth:`Kernel.run_task`.

    ``await task`` waits for its end and returns its result or raises its error.
    """

    __slots__ = (
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
        self.scopes: list[_Scope] = []
        self._coro = coro
        self._state = _READY
        self._waiting_for: Waitable | None = None
        self._cancel_requested = False
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
                if trap is _CURRENT_TASK:
                    value = self
                    continue
                if self._cancel_requested or self.scopes:
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


class _Join(Waitable):
    """Wait until a group has no child left."""

    __slots__ = ("group",)

    def __init__(self, group: Group) -> None:
        self.group = group

    def __await__(self) -> Generator[Waitable, Any, None]:
        yield self

    def _park(self, task: Task[Any]) -> bool:
        if not self.group._children:
            return False
        self.group._waiter = task
        return True

    def _unpark(self, task: Task[Any]) -> None:
        self.group._waiter = None


class Group(_Scope):
    """``async with group() as g: g.spawn(coro, name)``: children live no longer than the block.

    The first child to fail (in time) or a failing body cancels all children in the order
    of their birth; all are joined; then that same exception object is raised.  A child
    that ends by being cancelled is not a failure.
    """

    __slots__ = ("_children", "_failure", "_joining", "_waiter")

    def __init__(self) -> None:
        super().__init__(shield=False)
        self._children: dict[Task[Any], None] = {}
        self._failure: BaseException | None = None
        self._joining = False
        self._waiter: Task[Any] | None = None

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Start ``coro`` as a child task; it is stepped for the first time soon.

        Raises RuntimeError when the block is not open.
        """
        if self.task is None:
            coro.close()
            raise RuntimeError(f"cannot spawn {name}: the group's block is not open")
        child: Task[T] = Task(self.task.kernel, coro, name, self._child_done)
        self._children[child] = None
        if self._failure is not None:
            child.cancel()
        return child

    def cancel(self) -> None:
        """Cancel all children in the order of their birth; the block itself goes on."""
        for child in list(self._children):
            child.cancel()

    async def __aenter__(self) -> Group:
        await self._enter()
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, GeneratorExit | Crashed):
            self._leave()
            return  # the kernel is thrown away; its tasks are closed one by one
        self._joining = True
        self.expired = False  # the body has ended: the wait for the children is not cut short
        if error is not None:
            self._fail(error)
        self.shield = self._failure is not None
        while self._children:
            try:
                await _Join(self)
            except Cancelled as cancelled:
                self._fail(cancelled)
        self._leave()
        if self._failure is not None and self._failure is not error:
            raise self._failure

    def _fail(self, failure: BaseException) -> None:
        """Note the first failure and send the children home.

        From then on the wait for them is shielded: they are joined whatever happens.
        """
        if self._failure is None:
            self._failure = failure
            self.cancel()
            if self._joining:
                self.shield = True
            else:
                self._expire()

    def _child_done(self, child: Task[Any]) -> None:
        self._children.pop(child, None)
        if child._error is not None and not isinstance(child._error, Cancelled):
            self._fail(child._error)
        if not self._children and self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter._wake()


def group() -> Group:
    """Open a block whose children are all joined at its end; see :class:`Group`."""
    return Group()


class _Unfinished:
    def __repr__(self) -> str:
        return "UNFINISHED"


UNFINISHED: Final = _Unfinished()
"""Stands in the answer of :func:`first` for those that were cancelled."""


async def first(*coros: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Run ``coros`` together until one has ended; cancel *and join* the others.

    Returns one entry for each: its result, or :data:`UNFINISHED`.  More than one may have
    a result, because an await that was finished wins over the cancellation: nothing that
    was taken from a queue is lost.  For the same reason a call that is cancelled after one
    of them has finished still answers.  Raises the first failure.
    """
    ended: Completion[None] = Completion()

    async def run(coro: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coro
        finally:
            ended.set(None)

    try:
        async with group() as g:
            tasks = [g.spawn(run(coro), f"first[{i}]") for i, coro in enumerate(coros)]
            await ended
            g.cancel()
    except Cancelled:
        # From outside.  What has finished wins here as well: the results are handed over,
        # and the cancellation comes again at the caller's next await that blocks.
        if all(task.cancelled for task in tasks):
            raise
    finally:
        for coro in coros:  # those that a killed kernel never started
            coro.close()
    return tuple(UNFINISHED if task.cancelled else task.result() for task in tasks)


async def sleep_ns(delay_ns: int) -> None:
    """Wait for ``delay_ns`` nanoseconds of the kernel's clock (at least one turn of the queue)."""
    await Sleep(delay_ns)


async def yield_now() -> None:
    """Let everything else that is ready run first."""
    await _YIELD


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
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if self._paused or self._scheduled or self.dead or not self._ready:
            return
        self._scheduled = True
        if self._busy_until_ns > self.clock.now():
            self.clock.at(self._busy_until_ns, self._drain)
        else:
            self.clock.soon(self._drain)

    def _drain(self) -> None:
        ready = self._ready
        # What these steps wake is run at the next turn: nobody starves.
        turns = len(ready)
        self._halt = self._paused or self.dead or self._busy_until_ns > self.clock.now()
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
