"""The header of a transaction log, of version 8 and of version 7: 4096 bytes, one copy.

E src/inc/log.hxx, src/ese/_log/log.cxx, src/ese/_log/logstream.cxx; V for version 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

from replicator.ese.attachments import (
    ATTACHMENTS_MAX_BYTES,
    Attachment,
    EngineParameters,
    decode_attachments,
    encode_attachments,
)
from replicator.ese.checksum import header_checksum
from replicator.ese.errors import ERRORS, EseError
from replicator.ese.layout import (
    Structure,
    i32,
    log_position,
    log_time,
    octets,
    signature,
    u8,
    u16,
    u32,
    u64,
)
from replicator.ese.reader import Reader, name_of
from replicator.ese.values import LogPosition, LogTime, Signature

HEADER_BYTES: Final = 4096
ATTACHMENTS_AT: Final = 671
SEGMENT_BYTES: Final = 4096
"""What version 8 calls a sector in its header; any other size is damage there."""

SECTOR_BYTES: Final = 512
"""A sector of version 7; on other disks a multiple of it."""

LOG_TYPES: Final = (0, 3)
"""The file type of a log; 0 before headers had the field."""

DEFAULT_PAGE_SIZE: Final = 4096
ACCUMULATED_CHECKSUM_SINCE: Final = 13
"""The update-minor from which a header carries the checksum of the whole log before it."""

LOG_CORRUPT: Final = -501
BAD_VERSION: Final = -514
SIZE_MISMATCH: Final = -541
HEADER_EVENTS: Final = (412,)
VERSION_EVENTS: Final = (411,)


class LogVersion(NamedTuple):
    """Version of a log format; compared from the left."""

    major: int
    minor: int
    update_major: int
    update_minor: int

    def __str__(self) -> str:
        return ".".join(str(part) for part in self)


_KNOWN: Final = {7: 3704, 8: 4000}
"""The minor number of each major one (E src/inc/daedef.hxx)."""


@dataclass(frozen=True, kw_only=True)
class LogHeader(Structure, size_bytes=ATTACHMENTS_AT):
    """One log header; ``raw`` is all of its 4096 bytes."""

    checksum: int = u32(0)
    generation: int = i32(4, "from 1")
    sector_bytes: int = u16(8, "version 7: 512; version 8: 4096, the segment")
    header_sectors: int = u16(10)
    file_sectors: int = u16(12, "size of the file, header included")
    page_size_field: int = u16(14, "0 means 4096")
    created: LogTime = log_time(16)
    previous_created: LogTime = log_time(24, "zero in generation 1")
    version_major: int = u32(32)
    version_minor: int = u32(36)
    version_update_major: int = u32(40)
    log_signature: Signature = signature(44, "the same in every generation of a set")
    parameter_bytes: bytes = octets(72, 567)
    flags: int = u8(639, "1 reserve log used, 2 circular logging, 4 circular at some time before")
    checkpoint: LogPosition = log_position(640, "when this log was created")
    version_update_minor: int = u32(648)
    sector_size_mismatch: int = u8(652)
    previous_accumulated_checksum: int = u64(653, "of the data segments of the log before")
    engine_format_version: int = u32(661)
    file_type_number: int = u32(667)

    @property
    def version(self) -> LogVersion:
        return LogVersion(
            self.version_major,
            self.version_minor,
            self.version_update_major,
            self.version_update_minor,
        )

    @property
    def is_segmented(self) -> bool:
        """Version 8: segments with ECC; else sectors with checksum records (version 7)."""
        return self.version_major >= 8

    @property
    def page_size(self) -> int:
        """Bytes a page of the databases of this set."""
        return self.page_size_field or DEFAULT_PAGE_SIZE

    @property
    def file_bytes(self) -> int:
        """The size that the file must have."""
        return self.sector_bytes * self.file_sectors

    @property
    def has_accumulated_checksum(self) -> bool:
        """Whether the field for the log before is in use."""
        return self.is_segmented and self.version_update_minor >= ACCUMULATED_CHECKSUM_SINCE

    @property
    def parameters(self) -> EngineParameters:
        return EngineParameters.decode(self.parameter_bytes)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The databases attached when the log was created; empty in a header built anew."""
        end = ATTACHMENTS_AT + ATTACHMENTS_MAX_BYTES
        return decode_attachments(self.raw[ATTACHMENTS_AT:end])

    def with_attachments(self, attachments: Iterable[Attachment]) -> Self:
        """The same header with these databases; raises ValueError when they do not fit."""
        raw = self.encode().ljust(HEADER_BYTES, b"\0")
        listed = encode_attachments(attachments)
        end = ATTACHMENTS_AT + len(listed)
        return replace(self, raw=raw[:ATTACHMENTS_AT] + listed + raw[end:])

    @property
    def reserve_log_used(self) -> bool:
        return bool(self.flags & 1)

    @property
    def circular_logging(self) -> bool:
        return bool(self.flags & 2)

    @property
    def circular_logging_before(self) -> bool:
        return bool(self.flags & 4)

    @property
    def expected_checksum(self) -> int:
        """What the first dword must be, over the whole block that was decoded."""
        return header_checksum(self.raw)

    def check_version(self, newest: LogVersion | None = None) -> None:
        """Raises EseError -514 (event 411) for a version that cannot be read.

        Arguments
        ---------
        newest: what an older engine knows at most; None for all that this package reads.
        """
        if _KNOWN.get(self.version_major) != self.version_minor or (
            newest is not None and self.version > newest
        ):
            detail = f"the log has version {self.version}"
            raise EseError(BAD_VERSION, detail, offset=32, events=VERSION_EVENTS)

    def check_geometry(self, size_bytes: int) -> None:
        """Raises EseError: -501 for sizes that no log has, -541 when the file has another one.

        Arguments
        ---------
        size_bytes: how long the file is.
        """
        if self.is_segmented:
            sector_fits = self.sector_bytes == SEGMENT_BYTES
        else:
            sector_fits = self.sector_bytes % SECTOR_BYTES == 0
        if not sector_fits or self.sector_bytes * self.header_sectors != HEADER_BYTES:
            detail = (
                f"the header has {self.header_sectors} sectors of {self.sector_bytes} bytes, "
                f"not {HEADER_BYTES} bytes"
            )
            raise EseError(LOG_CORRUPT, detail, offset=8, events=HEADER_EVENTS)
        if self.generation < 1:
            detail = f"the generation is {self.generation}, the first one is 1"
            raise EseError(LOG_CORRUPT, detail, offset=4, events=HEADER_EVENTS)
        if self.file_bytes != size_bytes:
            detail = f"the header names {self.file_bytes:,} bytes, the file has {size_bytes:,}"
            raise EseError(SIZE_MISMATCH, detail, offset=12, remedy=ERRORS[LOG_CORRUPT].remedy)


def sealed_log_header(header: LogHeader) -> bytes:
    """The 4096 bytes of a header as they are written, checksum filled in."""
    block = header.encode().ljust(HEADER_BYTES, b"\0")
    return header_checksum(block).to_bytes(4, "little") + block[4:]


def read_log_header(reader: Reader) -> LogHeader:
    """The header of a log, its own checksum, type and version checked, but not the file's size.

    Raises EseError: -501 (event 412) when it is cut short, damaged or of another file type,
    -514 (event 411) for an unknown version.
    """
    path = name_of(reader)
    block = bytes(reader.read_at(0, HEADER_BYTES))
    if len(block) < HEADER_BYTES:
        detail = f"the header takes {HEADER_BYTES:,} bytes, {len(block):,} are there"
        raise EseError(LOG_CORRUPT, detail, path=path, offset=0, events=HEADER_EVENTS)
    stored, computed = int.from_bytes(block[:4], "little"), header_checksum(block)
    if not any(block) or stored != computed:
        detail = (
            f"the header's checksum is 0x{stored:08X}, its content gives 0x{computed:08X}"
            if any(block)
            else "the header is all zero: the file was never used as a log"
        )
        raise EseError(LOG_CORRUPT, detail, path=path, offset=0, events=HEADER_EVENTS)
    header = LogHeader.decode(block)
    if header.file_type_number not in LOG_TYPES:
        detail = f"the file type is {header.file_type_number}, that of a log is 3"
        raise EseError(LOG_CORRUPT, detail, path=path, offset=667, events=HEADER_EVENTS)
    try:
        header.check_version()
    except EseError as error:
        error.path = path
        raise
    return header
