"""What writes logs, for every version of the format: the parts that :mod:`log_stream` is built on.

All of it is pure: an encoder says which bytes belong where, and the stream writes them.  Version
8 is in :mod:`replicator.ese.log_v8_encoding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from replicator.ese.log_header import LogHeader
from replicator.ese.reader import Reader
from replicator.ese.values import LogPosition, LogTime

Write = tuple[int, bytes]
"""Offset in the file, and what one write call puts there."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def log_time_at(wall_ns: int) -> LogTime:
    """The time that a port's wall clock shows, as logs and headers carry it.

    Arguments
    ---------
    wall_ns: nanoseconds since 1970-01-01 UTC; milliseconds are kept.
    """
    return LogTime.of(_EPOCH + timedelta(microseconds=wall_ns // 1000))


class LogFileEncoder(Protocol):
    """Lays records out in one log file.

    Attributes
    ----------
    header: what :meth:`header_writes` writes.  It may be replaced before: the checksum of the
        generation before and the attachments are known only when the file takes its name, while
        records for it may be appended already.
    """

    header: LogHeader

    def header_writes(self) -> list[Write]:
        """What a file must hold before its first record."""

    def fits(self, *record_sizes: int) -> bool:
        """Whether records of these sizes, one after the other, still have room in the file."""

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        """Lay a record out behind the last one; nothing is written yet.

        Arguments
        ---------
        record: one whole record, without padding.
        new_segment: it has to be the first in its segment (Init2, Term2, RecoveryUndo2); a
            filler goes before it.

        Returns where it starts.  Raises ValueError when it does not fit.
        """

    def finish(self) -> None:
        """Fill up the sector that is underway: nothing more will be appended to this file."""

    def flush(self) -> list[Write]:
        """The writes, in order, that put all that was appended since the last call into the file.

        Each is one write call.  A write that overwrites data must be on disk before the next one
        of the list begins.
        """

    @property
    def tip(self) -> LogPosition:
        """Where the next record would start; a record that starts below has been appended."""

    @property
    def buffered_bytes(self) -> int:
        """How much memory holds what :meth:`flush` has not handed out yet."""

    @property
    def accumulated_checksum(self) -> int:
        """Of all that was handed out: the next header's field in version 8; else 0."""


@dataclass(frozen=True, slots=True)
class ResumedLog:
    """A log that was read so that writing can go on behind its data.

    Arguments
    ---------
    encoder: stands behind the last whole segment or sector.
    repairs: what to write, in this order and durably, before anything else: data that may be in
        the page cache only, a segment that lives in its shadow only, zeros over what is torn.
    """

    encoder: LogFileEncoder
    repairs: list[Write] = field(default_factory=list)


class LogFormat(Protocol):
    """One version of the format with one file size: makes headers and encoders."""

    @property
    def file_bytes(self) -> int:
        """Size of every log file."""

    @property
    def digits(self) -> int:
        """Hex digits of a generation in file names: 5 or 8."""

    @property
    def shared_reserves(self) -> bool:
        """The reserve logs belong to all sets of a directory, as before Exchange 2007."""

    @property
    def tells_old_content(self) -> bool:
        """Whether a reader tells what an older life of a file, or zeros, have left behind the data.

        Else such a file is prepared like a new one before it is used again.
        """

    def header(self, generation: int, created: LogTime) -> LogHeader:
        """A new header with geometry and version; the owner's fields are still zero."""

    def prepared(self, offset: int, size: int) -> bytes:
        """What unused space of a file in preparation holds."""

    def encoder(self, header: LogHeader) -> LogFileEncoder:
        """For a new file."""

    def resumed(self, content: Reader) -> ResumedLog:
        """For a file that was being written when its engine died; raises EseError -501."""

    def accumulated_checksum(self, content: Reader) -> int:
        """Of a closed log; 0 where the version has none.  Raises EseError when it is damaged."""
