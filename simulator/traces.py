"""Real write streams: a reader of CloudPhysics vscsi traces and a player of them.

The reader streams: memory does not grow with the trace.  Whatever is wrong with a file is a
:class:`~replicator.errors.BadInput` that names file, line and byte.  The player writes each
traced write at its time, at its offset and with its length, to one file on a volume.

Models: times, offsets and lengths of the writes of one virtual disk.  Leaves out: the reads,
the data (payloads are synthetic and stamped with the number of the operation), flushes (the
trace has none), and the guest's reaction to a slower disk: a write that the volume holds
back is late, and the next ones follow at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from replicator.errors import BadInput, NoSpace
from replicator.runtime import sleep_ns
from replicator.runtime.port import File, Volume
from simulator.payload import PayloadPool

SECTOR_BYTES: Final = 512
DISK_PATH: Final = "/disk0.img"

_COLUMNS: Final = ("version", "time", "op", "size", "lbn")
_WRITE_OPCODES: Final = frozenset({0x0A, 0x2A, 0x8A, 0xAA})  # WRITE(6), (10), (16), (12)
_LINE_LIMIT_BYTES: Final = 4096
_SIZE_LIMIT_BYTES: Final = 64 << 20
_DISK_LIMIT_BYTES: Final = 64 << 40
_BACKWARDS_LIMIT_NS: Final = 1_000_000_000
"""Commands may be noted a little out of order; a jump further back is damage."""
_GAP_LIMIT_NS: Final = 400 * 24 * 3600 * 1_000_000_000


class TracedWrite(NamedTuple):
    """One write; time counts from the first command of the trace."""

    time_ns: int
    offset_bytes: int
    length_bytes: int


def read_writes(path: str | Path) -> Iterator[TracedWrite]:
    """The writes of a vscsi trace in CSV form, in order; times never go backwards.

    Raises BadInput at the first line that cannot be right.
    """
    name = str(path)
    try:
        with open(path, "rb") as stream:
            parser = _Parser(name)
            while line := stream.readline(_LINE_LIMIT_BYTES):
                write = parser.take(line)
                if write is not None:
                    yield write
    except OSError as error:
        raise BadInput(f"the trace cannot be read: {error.strerror}", path=name) from None
    if parser.lines == 0:
        raise BadInput("the trace is empty", path=name, line=1, offset=0)


_REMEDY: Final = (
    "Compare the line with the original trace (the file may have been cut or edited), or leave "
    "it out; docs/scenarios.md says what a trace looks like."
)


class _Parser:
    """Takes one line after the other and knows where it is."""

    def __init__(self, path: str) -> None:
        self.lines = 0
        self._path = path
        self._offset = 0
        self._columns: list[int] = []
        self._fields = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    def take(self, line: bytes) -> TracedWrite | None:
        """The write of this line, or None when it is the header, a read, or empty."""
        self.lines += 1
        if not line.endswith(b"\n"):
            raise self._bad(
                "the line is longer than any command"
                if len(line) == _LINE_LIMIT_BYTES
                else "the line is cut off: it does not end with a newline"
            )
        write: TracedWrite | None = None
        if self._columns:
            write = self._command(line)
        else:
            self._header(line)
        self._offset += len(line)
        return write

    def _bad(self, reason: str) -> BadInput:
        return BadInput(
            f"{reason} (byte {self._offset})",
            path=self._path,
            line=self.lines,
            offset=self._offset,
            remedy=_REMEDY,
        )

    def _header(self, line: bytes) -> None:
        names = line.decode("ascii", "replace").strip().split(",")
        missing = [column for column in _COLUMNS if column not in names]
        if missing:
            raise self._bad(f"the header lacks the column {missing[0]!r}; it must name {_COLUMNS}")
        self._columns = [names.index(column) for column in _COLUMNS[1:]]
        self._fields = len(names)

    def _command(self, line: bytes) -> TracedWrite | None:
        fields = line.split(b",")
        if len(fields) != self._fields:
            raise self._bad(f"the line has {len(fields)} fields, the header {self._fields}")
        at_time, at_op, at_size, at_lbn = self._columns
        try:
            time_us = int(fields[at_time])
            opcode = int(fields[at_op], 16)
            size_bytes = int(fields[at_size])
            lbn = int(fields[at_lbn])
        except ValueError:
            raise self._bad("a field is not a number") from None
        if time_us < 0 or opcode < 0 or size_bytes < 0 or lbn < 0:
            raise self._bad("a field is negative")
        time_ns = self._relative_ns(time_us * 1000)
        offset_bytes = lbn * SECTOR_BYTES
        if size_bytes > _SIZE_LIMIT_BYTES:
            raise self._bad(f"a command of {size_bytes} bytes is larger than any disk takes")
        if size_bytes % SECTOR_BYTES:
            raise self._bad(f"a size of {size_bytes} bytes is no multiple of {SECTOR_BYTES}")
        if offset_bytes + size_bytes > _DISK_LIMIT_BYTES:
            raise self._bad(f"sector {lbn} lies beyond any disk")
        if opcode not in _WRITE_OPCODES or not size_bytes:
            return None
        return TracedWrite(time_ns, offset_bytes, size_bytes)

    def _relative_ns(self, absolute_ns: int) -> int:
        if self._first_ns is None:
            self._first_ns = absolute_ns
        time_ns = absolute_ns - self._first_ns
        if time_ns < self._last_ns - _BACKWARDS_LIMIT_NS:
            raise self._bad(f"time goes back by {(self._last_ns - time_ns) // 1_000_000} ms")
        if time_ns > self._last_ns + _GAP_LIMIT_NS:
            raise self._bad("time jumps ahead by more than a year")
        self._last_ns = max(self._last_ns, time_ns)
        return self._last_ns


@dataclass(slots=True)
class PlayerFigures:
    """What a player has done so far."""

    writes: int = 0
    written_bytes: int = 0
    skipped: int = 0
    """Writes that fell into a time in which the host was down."""
    latest_ns: int = 0
    """Most that a write was behind its time."""


class TracePlayer:
    """Plays a trace onto one file; outlives the hosts on which it plays.

    Arguments
    ---------
    writes: the trace, from :func:`read_writes`.
    speed: 2.0 plays twice as fast.
    compressible_share: see :class:`simulator.payload.PayloadPool`.
    disk_bytes: fold offsets into a disk of this size; None leaves them as they are.
    path: the file on the volume; made when missing.

    The operation numbers with which payloads are stamped count on over crashes, so no two
    payloads of a run are equal.
    """

    def __init__(
        self,
        writes: Iterator[TracedWrite],
        *,
        speed: float = 1.0,
        compressible_share: float = 0.5,
        disk_bytes: int | None = None,
        path: str = DISK_PATH,
        seed: int = 0,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, not {speed}")
        if disk_bytes is not None and (disk_bytes < _SIZE_LIMIT_BYTES or disk_bytes % SECTOR_BYTES):
            raise ValueError(f"a disk has whole sectors and {_SIZE_LIMIT_BYTES} bytes or more")
        self.figures = PlayerFigures()
        self.path = path
        self._writes = writes
        self._next: TracedWrite | None = next(writes, None)
        self._speed = speed
        self._disk_bytes = disk_bytes
        self._pool = PayloadPool(compressible_share, seed)

    @property
    def finished(self) -> bool:
        """True when the trace has no more writes."""
        return self._next is None

    @property
    def next_time_ns(self) -> int | None:
        """Trace time of the next write."""
        return None if self._next is None else self._next.time_ns

    async def play(
        self,
        volume: Volume,
        now_ns: Callable[[], int],
        from_time_ns: int | None = None,
        until_time_ns: int | None = None,
    ) -> None:
        """Play the writes that come next, until the trace ends or ``until_time_ns``.

        Arguments
        ---------
        from_time_ns: trace time of this instant; writes before it are skipped, since they
            fell into the time in which the host was down.  When not given, the next write
            is due now.
        until_time_ns: trace time at which to stop.
        """
        if from_time_ns is None:
            from_time_ns = self.next_time_ns or 0
        while self._next is not None and self._next.time_ns < from_time_ns:
            self._advance()
            self.figures.skipped += 1
        file = volume.open(self.path) if volume.exists(self.path) else volume.create(self.path)
        began_ns = now_ns()
        while (write := self._next) is not None:
            if until_time_ns is not None and write.time_ns >= until_time_ns:
                break
            due_ns = began_ns + int((write.time_ns - from_time_ns) / self._speed)
            late_ns = now_ns() - due_ns
            if late_ns < 0:
                await sleep_ns(-late_ns)
            elif late_ns > self.figures.latest_ns:
                self.figures.latest_ns = late_ns
            await volume.admit(write.length_bytes)
            self._advance()  # before the write: what a crash cuts off is not played again
            self._write(file, write)
        file.close()

    def _advance(self) -> None:
        self._next = next(self._writes, None)

    def _write(self, file: File, write: TracedWrite) -> None:
        figures = self.figures
        figures.writes += 1
        offset = write.offset_bytes
        if self._disk_bytes is not None:
            offset %= self._disk_bytes - write.length_bytes + SECTOR_BYTES
        written = file.write_at(offset, self._pool.take(figures.writes, write.length_bytes))
        figures.written_bytes += written
        if written != write.length_bytes:
            raise NoSpace(
                f"only {written} of {write.length_bytes} bytes could be written",
                path=self.path,
                offset=offset,
            )
