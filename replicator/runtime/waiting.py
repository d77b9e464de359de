"""What a task can wait for, and what ends a wait.

A :class:`Waitable` remembers the task that is parked on it and wakes it once.  Results stay
in the waitable until their reader is stepped, so a reader that is cancelled loses nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from replicator.runtime.kernel import Task

T = TypeVar("T")


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


CURRENT_TASK: Final = _CurrentTask()
YIELD: Final = _Yield()


async def sleep_ns(delay_ns: int) -> None:
    """Wait for ``delay_ns`` nanoseconds of the kernel's clock (at least one turn of the queue)."""
    await Sleep(delay_ns)


async def yield_now() -> None:
    """Let everything else that is ready run first."""
    await YIELD
