"""The checksum record of version 7 logs, its sums, and the pattern of space never written.

A version 7 log is a chain of *ranges*.  Each begins with a record of type 42, which covers the
bytes before it in its sector (or none of them) and so many bytes behind it, and says how far it is
to the next one.  The numbers are those of the published engine; no real log was at hand.

E src/inc/logapi.hxx, src/inc/daedef.hxx, src/ese/_log/logread_legacy.cxx, src/ese/_osu/fileu.cxx.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from replicator.ese.layout import u8, u32
from replicator.ese.log_page_records import Record
from replicator.ese.log_record_types import Kind

CHECKSUM_RECORD_BYTES: Final = 22

RANGE_SEED: Final = 0xFEEDBEAF
SHORT_SEED: Final = 0xDEADC0DE
SHADOW_MARK: Final = 0x5AD05EC7
"""XORed into the checksum of a shadow, so that it is never taken for the sector itself."""

SHORT_ON: Final = 0x9A
"""The range covers several sectors, and the short checksum the first of them."""
SHORT_OFF: Final = 0xD1

FILL_BYTE: Final = 0xDA
FILL_PERIOD_BYTES: Final = 512
_FILL: Final = bytes(
    (FILL_BYTE + at) & 0xFF if at % 16 == 0 else FILL_BYTE for at in range(FILL_PERIOD_BYTES)
)

_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class ChecksumRecord(Record, size_bytes=CHECKSUM_RECORD_BYTES):
    """LRCHECKSUM: what it covers, and where the next one stands."""

    backward_bytes: int = u32(1, "covered before it: up to the sector's start, or 0")
    forward_bytes: int = u32(5, "covered behind it")
    next_bytes: int = u32(9, "from its end to the next one; 0: there is none")
    checksum: int = u32(13)
    short_checksum: int = u32(17, "of its own sector; 0 when not in use")
    short_flag: int = u8(21, "0x9A: the short checksum is in use, 0xD1: it is not")

    @property
    def has_short_checksum(self) -> bool:
        return self.short_flag == SHORT_ON


def new_checksum_record(backward_bytes: int) -> ChecksumRecord:
    """One that covers nothing behind it yet."""
    return ChecksumRecord(number=Kind.CHECKSUM, backward_bytes=backward_bytes, short_flag=SHORT_OFF)


def xor_bytes(data: bytes | bytearray | memoryview) -> int:
    """Byte i XORed into bits ``8 * (i mod 4)`` and up of 32 bits."""
    whole = len(data) & ~3
    words = np.frombuffer(data, "<u4", whole // 4)
    return int(np.bitwise_xor.reduce(words, initial=0)) ^ int.from_bytes(data[whole:], "little")


def _links(record: ChecksumRecord, generation: int, short_flag: int | None = None) -> int:
    """What of a checksum record and its file goes into both sums."""
    return (
        record.backward_bytes
        ^ record.forward_bytes
        ^ record.next_bytes
        ^ (record.short_flag if short_flag is None else short_flag)
        ^ generation & _MASK
    )


def range_checksum(
    record: ChecksumRecord, backward_xor: int, forward_xor: int, generation: int
) -> int:
    """What the checksum of a range must be.

    Arguments
    ---------
    record: with its lengths and flag; its sums do not matter.
    backward_xor, forward_xor: :func:`xor_bytes` of the bytes covered before and behind it.
    generation: of the log.
    """
    return RANGE_SEED ^ backward_xor ^ forward_xor ^ _links(record, generation)


def short_checksum(record: ChecksumRecord, sector: bytes, byte: int, generation: int) -> int:
    """What the short checksum must be: over the record's own sector, to its end.

    Arguments
    ---------
    record: with its lengths and flag.
    sector: all of its sector.
    byte: where in it the record begins.
    generation: of the log.
    """
    backward = xor_bytes(sector[byte - record.backward_bytes : byte])
    forward = xor_bytes(sector[byte + CHECKSUM_RECORD_BYTES :])
    return SHORT_SEED ^ backward ^ forward ^ _links(record, generation)


def sealed(
    record: ChecksumRecord, data: bytes, byte: int, generation: int, *, sector_bytes: int
) -> ChecksumRecord:
    """A checksum record with its sums filled in, the short one where the range is long.

    Arguments
    ---------
    record: with its lengths.
    data: from the start of its sector to the end of the range at least.
    byte: where the record begins in it.
    generation: of the log.
    sector_bytes: a range that ends behind so many bytes gets a short checksum.
    """
    start = byte + CHECKSUM_RECORD_BYTES
    end = start + record.forward_bytes
    flag = SHORT_ON if end > sector_bytes else SHORT_OFF
    links = _links(record, generation, flag)
    backward = xor_bytes(data[byte - record.backward_bytes : byte])
    short = 0
    if flag == SHORT_ON:
        short = SHORT_SEED ^ backward ^ xor_bytes(data[start:sector_bytes]) ^ links
    checksum = RANGE_SEED ^ backward ^ xor_bytes(memoryview(data)[start:end]) ^ links
    return replace(record, short_flag=flag, short_checksum=short, checksum=checksum)


def fill_pattern(offset: int, size: int) -> bytes:
    """What ``size`` bytes from ``offset`` on hold in space that was never written."""
    phase = offset % FILL_PERIOD_BYTES
    periods = -(-(phase + size) // FILL_PERIOD_BYTES)
    return (_FILL * periods)[phase : phase + size]
