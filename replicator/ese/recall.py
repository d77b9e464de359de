"""What was made of bytes that were seen before: pages that were judged, logs that were scanned.

A bench that recovers the same store thousands of times, each time a little different, meets mostly
pages and logs that it has met already.  What is made of them is a function of their bytes alone.
While :func:`recalling` is on, it is looked up by a 128-bit hash of those bytes, and made when it is
not there; what comes out is the same.  Errors are never kept: what is damaged is judged anew.

Off by default: a recovery that sees each page once gains nothing from it.  It is on in the thread
that has switched it on, and tables serve one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import xxhash

if TYPE_CHECKING:
    from replicator.ese.log_header import LogHeader
    from replicator.ese.log_record import LogRecord
    from replicator.ese.log_v7 import SectorScan
    from replicator.ese.page_editor import PageEditor

V = TypeVar("V")
Key = tuple[bytes, int]
"""The hash, and under which number or in which role the bytes were read."""


class Table(Protocol[V]):
    """Where it is kept; how much, is its owner's matter."""

    def get(self, key: Key) -> V | None:
        """What is kept under a key."""

    def keep(self, key: Key, value: V, weight: int) -> None:
        """Keep a value; the weight is about its bytes in memory."""


@dataclass(slots=True)
class KnownLog:
    """What opening a log has found out.

    Arguments
    ---------
    header, scan: as of :class:`~replicator.ese.log_file.LogFile`.
    records: all of them, once they were walked to the end.
    """

    header: LogHeader
    scan: SectorScan
    records: tuple[LogRecord, ...] | None = None


@dataclass(frozen=True, slots=True)
class Recall:
    """The tables.

    Arguments
    ---------
    pages: whole pages, of which copies are given out.
    logs: logs of version 7.
    """

    pages: Table[PageEditor]
    logs: Table[KnownLog]


_now: ContextVar[Recall | None] = ContextVar("recall", default=None)


def recall() -> Recall | None:
    """The tables that are in use in this thread; None by default."""
    return _now.get()


@contextmanager
def recalling(tables: Recall) -> Iterator[None]:
    """Look up in these tables, and keep in them, what is read meanwhile."""
    before = _now.set(tables)
    try:
        yield
    finally:
        _now.reset(before)


def key_of(data: bytes | memoryview, number: int) -> Key:
    """The key of bytes that were read under a number."""
    return xxhash.xxh3_128_digest(data), number
