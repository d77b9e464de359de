"""Stretches of a task's run that end early: deadlines, clean-up shields and groups.

All three are *scopes* on the task's stack.  A scope that has expired cancels what runs
inside of it; a scope that shields holds off what comes from outside (see the rules in
:mod:`replicator.runtime.kernel`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Final, TypeVar

from replicator.runtime.kernel import Task
from replicator.runtime.waiting import (
    CURRENT_TASK,
    Cancelled,
    Completion,
    Crashed,
    TimedOut,
    Waitable,
)

T = TypeVar("T")


class Scope:
    """A stretch of a task's run that can end early: a deadline, a clean-up, a group.

    ``expired`` asks the task to leave the scope; ``shield`` holds off what lies outside.
    """

    __slots__ = ("expired", "shield", "task")

    def __init__(self, shield: bool) -> None:
        self.shield = shield
        self.expired = False
        self.task: Task[Any] | None = None

    async def _enter(self) -> Task[Any]:
        task = await CURRENT_TASK
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


class TimedScope(Scope):
    __slots__ = ("time_ns",)

    def __init__(self, time_ns: int, shield: bool) -> None:
        super().__init__(shield)
        self.time_ns = time_ns

    def _run_on(self, task: Task[Any]) -> None:
        """The block begins: in one coroutine with ``__aenter__``, as there is one a frame."""
        self.task = task
        task.scopes.append(self)
        clock, time_ns = task.kernel.clock, self.time_ns
        clock.at(clock.now() + time_ns if time_ns > 0 else clock.now(), self._expire)


class Deadline(TimedScope):
    """``async with deadline(ns)``: raises :class:`TimedOut` when its own time is up."""

    __slots__ = ()

    async def __aenter__(self) -> Deadline:
        self._run_on(await CURRENT_TASK)
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._leave()
        if isinstance(error, Cancelled) and error.scope is self:
            raise TimedOut(f"deadline of {self.time_ns} ns passed") from None


class Cleanup(TimedScope):
    """``async with cleanup(ns)``: cancellations from outside wait until the block ends.

    The block itself is cut off after ``ns``; then ``expired`` is true and the block ends
    quietly, because what it shields is best effort while something else already failed.
    """

    __slots__ = ()

    async def __aenter__(self) -> Cleanup:
        self._run_on(await CURRENT_TASK)
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


class Group(Scope):
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
