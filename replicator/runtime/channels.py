"""FIFO buffers between the tasks of one host: wake-ups carry no data.

``Signal`` says "look again"; ``Queue`` keeps items in a deque from which the reader
takes them in its own step.  So a reader that is cancelled, or a tie-break that wakes
readers in another order, can neither lose nor reorder an item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from replicator.runtime.kernel import Task
from replicator.runtime.waiting import Waitable

T = TypeVar("T")


class Signal(Waitable):
    """Wakes all that wait; remembers nothing.  Use: ``while not condition: await signal``.

    That loop misses nothing, because no other task of the host runs between the test of
    the condition and the wait.
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: list[Task[Any]] = []

    def notify(self) -> None:
        """Wake all tasks that wait now."""
        if self._tasks:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task._wake()

    def __await__(self) -> Generator[Waitable, Any, None]:
        yield self

    def _park(self, task: Task[Any]) -> bool:
        self._tasks.append(task)
        return True

    def _unpark(self, task: Task[Any]) -> None:
        self._tasks.remove(task)


class QueueClosed(Exception):
    """The queue was closed: nothing more may be put, and nothing more will come."""


class Queue(Generic[T]):
    """A bounded FIFO queue, limited by items and by bytes.

    Arguments
    ---------
    limit_items: most items held at a time (at least 1).
    limit_bytes: most bytes held, by ``size`` of each item; an item larger than the limit
        is accepted when the queue is empty, so that it is never stuck.
    size: bytes that an item counts for.
    """

    def __init__(
        self,
        limit_items: int,
        limit_bytes: int | None = None,
        size: Callable[[T], int] | None = None,
    ) -> None:
        if limit_items < 1:
            raise ValueError("limit_items must be at least 1")
        if limit_bytes is not None and size is None:
            raise ValueError("limit_bytes needs size")
        self._limit_items = limit_items
        self._limit_bytes = limit_bytes
        self._size = size
        self._items: deque[T] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = Signal()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def bytes_held(self) -> int:
        return self._bytes

    @property
    def closed(self) -> bool:
        return self._closed

    def try_put(self, item: T) -> bool:
        """Append ``item`` if there is room and say whether it was; raises QueueClosed."""
        if self._closed:
            raise QueueClosed
        item_bytes = self._size(item) if self._size else 0
        if self._items and (
            len(self._items) >= self._limit_items
            or (self._limit_bytes is not None and self._bytes + item_bytes > self._limit_bytes)
        ):
            return False
        self._items.append(item)
        self._bytes += item_bytes
        self._changed.notify()
        return True

    async def put(self, item: T) -> None:
        """Append ``item``, waiting for room; raises QueueClosed."""
        while not self.try_put(item):
            await self._changed

    async def get(self) -> T:
        """Take the oldest item, waiting for one; raises QueueClosed when none will come."""
        while not self._items:
            if self._closed:
                raise QueueClosed
            await self._changed
        return self._take()

    async def get_batch(self, limit_items: int) -> list[T]:
        """Take the oldest items, at least one and at most ``limit_items``."""
        batch = [await self.get()]
        while self._items and len(batch) < limit_items:
            batch.append(self._take())
        return batch

    def close(self) -> None:
        """Accept nothing more; readers still get what is held, then QueueClosed."""
        self._closed = True
        self._changed.notify()

    def _take(self) -> T:
        item = self._items.popleft()
        if self._size:
            self._bytes -= self._size(item)
        self._changed.notify()
        return item
