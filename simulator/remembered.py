"""A table of what was found out before, that forgets what was not used for longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A table that forgets what was not used for longest.

    Arguments
    ---------
    limit: of the sum of the weights; an entry heavier than that is not kept, and drives no other
        out.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weight = 0
        self.hits = 0
        self.misses = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """What is remembered under a key; None for nothing."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def keep(self, key: K, value: V, weight: int = 1) -> None:
        """Remember a value, in place of one under the same key."""
        old = self._entries.pop(key, None)
        if old is not None:
            self.weight -= old[1]
        if weight > self.limit:
            return
        self._entries[key] = value, weight
        self.weight += weight
        while self.weight > self.limit:
            _key, (_value, gone) = self._entries.popitem(last=False)
            self.weight -= gone
