"""The database header: its fields, its states, and which of its two copies counts.

E src/inc/daedef.hxx (struct DBFILEHDR), src/ese/_osu/fileu.cxx; old meanings in L; V for every
offset that a real file fills.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Self

from replicator.ese.checksum import MAGIC, PAGE_SIZES, header_checksum
from replicator.ese.errors import EseError
from replicator.ese.layout import (
    Structure,
    backup_info,
    log_position,
    log_time,
    signature,
    u32,
    u64,
)
from replicator.ese.reader import Reader, name_of
from replicator.ese.values import BackupInfo, LogPosition, LogTime, Signature

FORMAT_VERSION: Final = 0x620
DEFAULT_PAGE_SIZE: Final = 4096
"""What a page-size field of 0 means."""
SMALLEST_BLOCK_BYTES: Final = min(PAGE_SIZES)


class FileType(IntEnum):
    """The dword at byte 667 of every modern header."""

    UNKNOWN = 0
    DATABASE = 1
    STREAMING_FILE = 2
    LOG = 3
    CHECKPOINT = 4
    TEMPORARY_DATABASE = 5
    TRACE_LOG = 6
    FLUSH_MAP = 7
    BLOCK_CACHE = 8
    BLOCK_CACHE_CACHED_FILE = 9
    REVERT_SNAPSHOT = 10
    REVERT_CHECKPOINT = 11


class State(IntEnum):
    """Database states, E published/inc/jethdr.w."""

    JUST_CREATED = 1
    DIRTY_SHUTDOWN = 2
    CLEAN_SHUTDOWN = 3
    BEING_CONVERTED = 4
    FORCE_DETACH = 5
    INCREMENTAL_RESEED_IN_PROGRESS = 6
    DIRTY_AND_PATCHED_SHUTDOWN = 7
    REVERT_IN_PROGRESS = 8

    @property
    def title(self) -> str:
        """As the engine's tools print it: ``CleanShutdown``."""
        return "".join(word.capitalize() for word in self.name.split("_"))


ALLOWED_NEXT: Final[dict[State, frozenset[State]]] = {
    State.JUST_CREATED: frozenset({State.DIRTY_SHUTDOWN}),
    State.DIRTY_SHUTDOWN: frozenset(
        {
            State.CLEAN_SHUTDOWN,
            State.INCREMENTAL_RESEED_IN_PROGRESS,
            State.REVERT_IN_PROGRESS,
        }
    ),
    State.CLEAN_SHUTDOWN: frozenset({State.DIRTY_SHUTDOWN, State.REVERT_IN_PROGRESS}),
    State.BEING_CONVERTED: frozenset({State.CLEAN_SHUTDOWN}),
    State.FORCE_DETACH: frozenset(),
    State.INCREMENTAL_RESEED_IN_PROGRESS: frozenset({State.DIRTY_AND_PATCHED_SHUTDOWN}),
    State.DIRTY_AND_PATCHED_SHUTDOWN: frozenset(
        {
            State.DIRTY_SHUTDOWN,
            State.INCREMENTAL_RESEED_IN_PROGRESS,
            State.REVERT_IN_PROGRESS,
        }
    ),
    State.REVERT_IN_PROGRESS: frozenset(
        {
            State.JUST_CREATED,
            State.DIRTY_SHUTDOWN,
            State.CLEAN_SHUTDOWN,
            State.DIRTY_AND_PATCHED_SHUTDOWN,
        }
    ),
}
"""Which state may follow which (E src/inc/daedef.hxx, SetDbstate)."""


@dataclass(frozen=True, kw_only=True)
class DatabaseHeader(Structure, size_bytes=748):
    """One copy of the header; ``raw`` is the whole page it was decoded from."""

    checksum: int = u32(0)
    magic: int = u32(4)
    format_version: int = u32(8)
    attribute: int = u32(12, "1: streaming file (old)")
    dbtime: int = u64(16, "highest handed out at the last header write")
    database_signature: Signature = signature(24)
    state_number: int = u32(52)
    consistent_position: LogPosition = log_position(56)
    consistent_time: LogTime = log_time(64)
    attach_time: LogTime = log_time(72)
    attach_position: LogPosition = log_position(80)
    detach_time: LogTime = log_time(88)
    detach_position: LogPosition = log_position(96, "zero while dirty")
    dbid: int = u32(104)
    log_signature: Signature = signature(108, "zero after repair")
    last_full_backup: BackupInfo = backup_info(136)
    last_incremental_backup: BackupInfo = backup_info(160)
    current_full_backup: BackupInfo = backup_info(184, "only in a copy of a streaming backup")
    flags: int = u32(208)
    last_objid: int = u32(212)
    os_major: int = u32(216)
    os_minor: int = u32(220)
    os_build: int = u32(224)
    os_service_pack: int = u32(228)
    revision: int = u32(232, "update major")
    page_size_field: int = u32(236, "0 means 4096")
    repair_count: int = u32(240)
    repair_time: LogTime = log_time(244)
    streaming_signature: Signature = signature(252, "was signSLV, now reserved")
    scrub_dbtime: int = u64(280)
    scrub_time: LogTime = log_time(288)
    first_required_generation: int = u32(296, "0 when clean")
    last_required_generation: int = u32(300, "0 when clean")
    upgrade_55_format: int = u32(304, "from Exchange 5.5; zero in all samples")
    upgrade_free_pages: int = u32(308)
    upgrade_space_map_pages: int = u32(312)
    current_snapshot_backup: BackupInfo = backup_info(316)
    created_version: int = u32(340)
    created_revision: int = u32(344)
    last_committed_created: LogTime = log_time(348)
    full_backup_kind: int = u32(356)
    incremental_backup_kind: int = u32(360)
    old_repair_count: int = u32(364)
    ecc_fixed_count: int = u32(368)
    ecc_fixed_time: LogTime = log_time(372)
    old_ecc_fixed_count: int = u32(380)
    ecc_failed_count: int = u32(384)
    ecc_failed_time: LogTime = log_time(388)
    old_ecc_failed_count: int = u32(396)
    bad_checksum_count: int = u32(400)
    bad_checksum_time: LogTime = log_time(404)
    old_bad_checksum_count: int = u32(412)
    last_committed_generation: int = u32(416, "0 when clean")
    last_copy_backup: BackupInfo = backup_info(420)
    last_differential_backup: BackupInfo = backup_info(444)
    copy_backup_kind: int = u32(468)
    differential_backup_kind: int = u32(472)
    reseed_count: int = u32(476)
    reseed_time: LogTime = log_time(480)
    old_reseed_count: int = u32(488)
    page_patch_count: int = u32(492)
    page_patch_time: LogTime = log_time(496)
    old_page_patch_count: int = u32(504)
    sort_version: int = u64(508)
    last_scan_time: LogTime = log_time(516)
    scan_start_time: LogTime = log_time(524)
    last_scanned_page: int = u32(532)
    recovering_generation: int = u32(536, "0 outside recovery")
    extend_count: int = u32(540)
    extend_time: LogTime = log_time(544)
    shrink_count: int = u32(552)
    shrink_time: LogTime = log_time(556)
    reattach_time: LogTime = log_time(564)
    reattach_position: LogPosition = log_position(572)
    trim_count: int = u32(580)
    header_flush_signature: Signature = signature(584, "new at each header write")
    map_flush_signature: Signature = signature(612, "copy of the flush map's")
    first_consistent_generation: int = u32(640)
    minor_revision: int = u32(644, "update minor")
    engine_format_version: int = u32(648)
    highest_scanned_page: int = u32(652)
    last_resize_position: LogPosition = log_position(656)
    file_type_number: int = u32(667)
    last_required_created: LogTime = log_time(672)
    preredo_first_consistent: int = u32(680)
    preredo_first_required: int = u32(684)
    snapshot_flush_signature: Signature = signature(688)
    revert_count: int = u32(716, "a revert snapshot was applied so often")
    revert_from_time: LogTime = log_time(720)
    revert_to_time: LogTime = log_time(728)
    revert_page_count: int = u32(736)
    commit_before_revert: LogPosition = log_position(740)

    @property
    def page_size(self) -> int:
        return self.page_size_field or DEFAULT_PAGE_SIZE

    @property
    def state(self) -> State | None:
        """None when the number is no state."""
        try:
            return State(self.state_number)
        except ValueError:
            return None

    @property
    def state_title(self) -> str:
        state = self.state
        return f"unknown state {self.state_number}" if state is None else state.title

    @property
    def file_type(self) -> FileType | None:
        try:
            return FileType(self.file_type_number)
        except ValueError:
            return None

    @property
    def is_temporary(self) -> bool:
        """Temporary databases have no shadow header and no page checksums."""
        return bool(self.flags & 1) or self.file_type is FileType.TEMPORARY_DATABASE

    @property
    def is_clean(self) -> bool:
        return self.state is State.CLEAN_SHUTDOWN

    @property
    def expected_checksum(self) -> int:
        """What the first dword must be, over the whole block that was decoded."""
        return header_checksum(self.raw)

    @property
    def generations_in_order(self) -> bool:
        """The rule that always holds among the generation fields.

        Formats that do not know the second field leave it zero.
        """
        first, consistent = self.first_required_generation, self.first_consistent_generation
        last, committed = self.last_required_generation, self.last_committed_generation
        return first <= (consistent or first) <= last <= committed

    def with_state(self, state: State) -> Self:
        """The same header in another state.

        Clean shutdown demands that no generation is required, and forgets the committed one.
        Raises ValueError for a step that the engine does not take.
        """
        if self.state is None or state not in ALLOWED_NEXT[self.state]:
            raise ValueError(f"no step leads from {self.state_title} to {state.title}")
        if state is not State.CLEAN_SHUTDOWN:
            return replace(self, state_number=state)
        if self.first_required_generation or self.last_required_generation:
            raise ValueError(f"{state.title} while generations are required")
        return replace(self, state_number=state, last_committed_generation=0)

    def check_usable(self) -> None:
        """Raises EseError: -1206 without the magic number, -1209 for another format version."""
        if self.magic != MAGIC:
            raise EseError(-1206, f"the magic number is 0x{self.magic:08X}", offset=4)
        if self.format_version != FORMAT_VERSION:
            raise EseError(-1209, f"the format version is 0x{self.format_version:X}", offset=8)


@dataclass(frozen=True)
class HeaderReading:
    """Both copies of a header block, and which of them counts.

    Arguments
    ---------
    block_size: bytes a copy.
    copies: the bytes of both as they lie in the file; the second may be shorter or empty.
    good: whether the checksum of each fits, and what it says of its size.
    events: 456 when the first copy is damaged, 472 when the second is.
    """

    block_size: int
    copies: tuple[bytes, bytes]
    good: tuple[bool, bool]
    events: tuple[int, ...]

    @property
    def equal(self) -> bool:
        return self.copies[0] == self.copies[1]

    @property
    def used(self) -> bytes:
        """The copy that counts: the first one that is good."""
        return self.copies[0 if self.good[0] else 1]


def block_is_good(block: bytes) -> bool:
    """Whether a header block is not empty and its XOR checksum fits."""
    return any(block) and int.from_bytes(block[:4], "little") == header_checksum(block)


def _beginning(reader: Reader, size_bytes: int) -> bytes:
    """The first bytes of a file; zeros where the disk does not give them, but gives others.

    A bad sector in one copy, or in a page behind both, must not hide the other copy.
    """
    try:
        return bytes(reader.read_at(0, size_bytes))
    except EseError as error:
        parts, failed = [], 0
        for at in range(0, size_bytes, SMALLEST_BLOCK_BYTES):
            try:
                parts.append(bytes(reader.read_at(at, SMALLEST_BLOCK_BYTES)))
            except EseError:
                parts.append(bytes(SMALLEST_BLOCK_BYTES))
                failed += 1
        if failed == len(parts):
            raise error
        return b"".join(parts)


def read_header_copies(
    reader: Reader,
    sizes: tuple[int, ...],
    number: int,
    own_size: Callable[[bytes], int] | None = None,
) -> HeaderReading:
    """Read two copies of a header, one behind the other.

    Arguments
    ---------
    reader: the file.
    sizes: the block sizes to try, in this order.
    number: the error to raise when no copy is good at any size.
    own_size: the block size that a good copy names; a size that it contradicts does not fit.
        It is needed where the end of the block is zero, for then shorter blocks fit too.

    Both good but different: the first counts and the second is treated as damaged, for the
    first one is written first.  Raises EseError, -1213 when only the sizes contradict.
    """
    start = _beginning(reader, 2 * max(sizes))
    path = name_of(reader)
    contradiction: EseError | None = None
    for which in (0, 1):
        for size in sizes:
            copies = start[:size], start[size : 2 * size]
            good = tuple(len(each) == size and block_is_good(each) for each in copies)
            if not good[which]:
                continue
            if own_size is not None and (named := own_size(copies[which])) != size:
                detail = f"the header fits in {size} bytes and names a page size of {named}"
                contradiction = EseError(-1213, detail, path=path, offset=236)
                continue
            events = (456,) if which else () if copies[0] == copies[1] else (472,)
            # A first copy that contradicts itself is no better than a damaged one.
            usable = (good[0] and not which, good[1])
            return HeaderReading(size, copies, usable, events)
    if contradiction is not None:
        raise contradiction
    raise EseError(number, "no copy of the header has a fitting checksum", path=path, offset=0)


def read_database_header(reader: Reader) -> tuple[DatabaseHeader, HeaderReading]:
    """The header that counts, and both copies.

    The page size is not known beforehand: all sizes are tried until a checksum fits, as the
    engine does.

    Raises EseError: -1018 when no copy is good, -1206 and -1209 when it is no database of this
    format, -1213 when the header names another page size than its checksum covers.
    """

    def own_size(block: bytes) -> int:
        return int.from_bytes(block[236:240], "little") or DEFAULT_PAGE_SIZE

    reading = read_header_copies(reader, PAGE_SIZES, -1018, own_size)
    header = DatabaseHeader.decode(reading.used)
    try:
        header.check_usable()
    except EseError as error:
        error.path = name_of(reader)
        raise
    return header, reading
