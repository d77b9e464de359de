"""Records that were logged and are not written yet: laid out in memory, and bounded there.

The file underway has an encoder, and each generation that waits for its roll has one behind it:
when a file is full, records for the next generation are taken at once.  Nothing here waits or
writes; :mod:`replicator.ese.log_stream` carries the files after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from replicator.ese.errors import EseError
from replicator.ese.log_encoding import LogFileEncoder, LogFormat, Write
from replicator.ese.log_record_types import RECORD_BYTES_MAX
from replicator.ese.values import LogPosition, LogTime, Signature

SEQUENCE_END: Final = -519
GENERATION_MAX: Final = 0x7FFFFFFF


class LogBufferFull(Exception):
    """More records than the log's buffer takes: await ``LogStream.room`` before."""


class LogBuffer:
    """See the module.

    Arguments
    ---------
    log_format: version and sizes.
    limit_bytes: of records that wait; a single longer one is taken when none does.
    signature: of the set, for headers; set when it is known.

    Attributes
    ----------
    encoders: that of the file underway, then those of generations that wait for their roll.
    buffered: bytes of records that were not handed out.
    last: where the last record stands.
    """

    def __init__(self, log_format: LogFormat, limit_bytes: int, signature: Signature) -> None:
        self.encoders: deque[LogFileEncoder] = deque()
        self.buffered = 0
        self.last: LogPosition | None = None
        self.signature = signature
        self._format = log_format
        self._limit_bytes = limit_bytes

    @property
    def tip(self) -> LogPosition:
        """Where the next record would start."""
        return self.encoders[-1].tip

    @property
    def is_fresh(self) -> bool:
        """Whether the generation that takes records has none yet."""
        last = self.encoders[-1]
        return last.tip == self._format.encoder(last.header).tip

    def has_room(self, size_bytes: int) -> bool:
        """Whether records of so many bytes can be taken, as far as memory goes."""
        return not self.buffered or self.buffered + size_bytes <= self._limit_bytes

    def append(self, record: bytes, *, new_segment: bool = False) -> LogPosition:
        """Take one record; raises LogBufferFull, ValueError for what is no record."""
        if self.buffered and self.buffered + len(record) > self._limit_bytes:
            raise self._full()
        return self._append(record, new_segment)

    def _append(self, record: bytes, new_segment: bool) -> LogPosition:
        size = len(record)
        try:
            position = self.encoders[-1].append(record, new_segment=new_segment)
        except ValueError:
            if not 0 < size <= RECORD_BYTES_MAX or not self._fits_anew(size):
                raise
            self.next_generation()
            position = self.encoders[-1].append(record, new_segment=new_segment)
        self.buffered += size
        self.last = position
        return position

    def append_together(self, records: Sequence[bytes]) -> list[LogPosition]:
        """Take records that have to stand in one file; raises as :meth:`append` does."""
        sizes = [*map(len, records)]
        if not self.has_room(sum(sizes)):
            raise self._full()
        if not self.encoders[-1].fits(*sizes):
            if not self._fits_anew(*sizes):
                raise ValueError(f"records of {sum(sizes):,} bytes have no room in one log")
            self.next_generation()
        return [self._append(record, False) for record in records]

    def _full(self) -> LogBufferFull:
        return LogBufferFull(f"{self.buffered:,} bytes wait in the log's buffer")

    def _fits_anew(self, *sizes: int) -> bool:
        return self._format.encoder(self.encoders[-1].header).fits(*sizes)

    def new_encoder(self, generation: int) -> LogFileEncoder:
        """For the file of a generation; raises EseError -519 when there are no numbers left."""
        if generation > GENERATION_MAX:
            raise EseError(SEQUENCE_END, f"0x{generation:X} is no generation")
        header = replace(self._format.header(generation, LogTime()), log_signature=self.signature)
        return self._format.encoder(header)

    def next_generation(self) -> None:
        """Close the generation that takes records; what follows belongs to the next one."""
        last = self.encoders[-1]
        encoder = self.new_encoder(last.header.generation + 1)
        last.finish()
        self.encoders.append(encoder)

    def take(self) -> tuple[list[Write], LogPosition, bool]:
        """What has to be written to the file underway.

        Returns the writes, the position below which all is written with them, and whether a
        generation waits for its roll behind them.
        """
        encoder = self.encoders[0]
        writes = encoder.flush()
        if len(self.encoders) > 1:
            return writes, start_of(self.encoders[1]), True
        self.buffered = 0
        return writes, encoder.tip, False


def start_of(encoder: LogFileEncoder) -> LogPosition:
    """Below it lies all of the generation before, and nothing of this one."""
    return LogPosition(encoder.header.generation, 0, 0)
