"""How a log is written, and what it asks of the store that it belongs to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from replicator.ese.log_directory import ALL_SAFEGUARDS, LogSafeguards
from replicator.ese.log_header import LogHeader
from replicator.ese.values import LogTime


class Durability(Enum):
    """When what is written becomes durable."""

    WRITE_THROUGH = "write-through"
    """Each write by itself, as Exchange 2003 to 2010 do (I).  Only this, with encoders that
    write one segment at a time, survives disks that tear unsynced writes in any way."""
    FLUSH = "flush"
    """One sync for each flush, besides one behind a write that overwrites confirmed data.  It
    relies on a disk that keeps the order of new segments within one flush."""
    LAZY = "lazy"
    """No sync at a commit, only before a generation is required and at the end.  A power loss
    may take confirmed records, and leaves logs above the waypoint in any state."""


@dataclass(frozen=True, kw_only=True)
class LogStreamOptions:
    """How a log is written.

    Arguments
    ---------
    base: the set's three characters.
    durability: see there.
    buffer_bytes: records that wait in memory for a flush; twice as much while one is underway.
    circular: circular logging: the flag in headers, and logs to be deleted are used again.
    circular_before: it was on at some time before.
    lazy_logs: in the lazy mode, most closed logs that are not durable yet.
    safeguards: for tests.
    """

    base: str = "E00"
    durability: Durability = Durability.WRITE_THROUGH
    buffer_bytes: int = 512 << 10
    circular: bool = False
    circular_before: bool = False
    lazy_logs: int = 10
    safeguards: LogSafeguards = ALL_SAFEGUARDS


@dataclass(frozen=True)
class LogOwner:
    """What a log asks of the store that it belongs to.

    Arguments
    ---------
    describe: puts attachments and checkpoint into the header of a new log.
    began: called with generation and creation time when a new log has its name, before any
        record goes into it: raises genMaxRequired and genMaxCommitted in the database headers.
        It must not wait for a flush of this log; ``require`` with a closed generation is
        allowed.
    """

    describe: Callable[[LogHeader], LogHeader]
    began: Callable[[int, LogTime], Awaitable[None]]
