"""What log records say: every type that is read by content, and the way to read one.

The types that change pages are in :mod:`replicator.ese.log_page_records`; here are those of
transactions, databases and runs of the engine.  E src/inc/logapi.hxx; V for the types in real
logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from replicator.ese.attachments import EngineParameters
from replicator.ese.errors import EseError
from replicator.ese.layout import log_position, log_time, octets, signature, u8, u16, u32, u64
from replicator.ese.log_header import LOG_CORRUPT
from replicator.ese.log_page_records import (
    ConvertFDP2,
    CreateMultipleExtentFDP,
    CreateSingleExtentFDP,
    Delta,
    Delta64,
    EmptyTree,
    FlagInsert,
    FlagInsertAndReplaceData,
    Insert,
    Merge2,
    NewPage,
    NodeRecord,
    PageMove,
    Record,
    Replace,
    Scrub,
    SessionRecord,
    SetExternalHeader,
    Split2,
    Undo,
    UndoInfo,
)
from replicator.ese.log_record_types import CREATE_HAS_VERSION, LENGTHS, Kind, is_skippable
from replicator.ese.log_v7_checksum import ChecksumRecord
from replicator.ese.values import LogPosition, LogTime, Signature

CREATE_UNICODE: Final = 8
ATTACH_UNICODE: Final = 8
DETACH_UNICODE: Final = 0x10


_FIXED_BYTES_MAX: Final = 110


@dataclass(frozen=True, kw_only=True)
class Begin(SessionRecord, size_bytes=4):
    levels: int = u8(3, "low half: level before; high half: how many begin")

    @property
    def level_before(self) -> int:
        return self.levels & 0xF

    @property
    def levels_begun(self) -> int:
        return self.levels >> 4


@dataclass(frozen=True, kw_only=True)
class Begin0(Begin, size_bytes=8):
    transaction: int = u32(4)


@dataclass(frozen=True, kw_only=True)
class Commit(SessionRecord, size_bytes=4):
    level: int = u8(3, "reached by it")


@dataclass(frozen=True, kw_only=True)
class Commit0(Commit, size_bytes=8):
    """The outermost commit: what makes a transaction durable."""

    transaction: int = u32(4)


@dataclass(frozen=True, kw_only=True)
class Rollback(SessionRecord, size_bytes=4):
    levels: int = u8(3, "how many are rolled back")


@dataclass(frozen=True, kw_only=True)
class Macro(SessionRecord, size_bytes=11):
    """Begin, commit or abort of a change of several pages."""

    dbtime: int = u64(3)


@dataclass(frozen=True, kw_only=True)
class RootPageMove(Record, size_bytes=16):
    dbtime: int = u64(1)
    dbid: int = u8(9)
    objid: int = u32(10)
    session: int = u16(14)


def _path(data: bytes, unicode: bool) -> str:
    return data.decode("utf-16-le" if unicode else "cp1252", "replace").split("\0")[0]


@dataclass(frozen=True, kw_only=True)
class CreateDB(SessionRecord, size_bytes=43):
    dbid: int = u8(3)
    options: int = u32(4)
    max_size_pages: int = u32(8)
    database_signature: Signature = signature(12)
    path_bytes: int = u16(40)
    name_flags: int = u8(42, "4 a version follows, 8 Unicode")

    @property
    def path(self) -> str:
        version = 4 if self.name_flags & CREATE_HAS_VERSION else 0
        name = self.tail(version, self.path_bytes)[1]
        return _path(name, bool(self.name_flags & CREATE_UNICODE))


@dataclass(frozen=True, kw_only=True)
class DatabaseRecord(SessionRecord, size_bytes=4):
    """CreateDBFinish."""

    dbid: int = u8(3)


@dataclass(frozen=True, kw_only=True)
class AttachDB(SessionRecord, size_bytes=75):
    dbid: int = u8(3)
    max_size_pages: int = u32(4)
    consistent_position: LogPosition = log_position(8)
    database_signature: Signature = signature(16)
    log_signature: Signature = signature(44)
    path_bytes: int = u16(72)
    name_flags: int = u8(74, "8 Unicode")

    @property
    def path(self) -> str:
        return _path(self.tail(self.path_bytes)[0], bool(self.name_flags & ATTACH_UNICODE))


@dataclass(frozen=True, kw_only=True)
class DetachDB(SessionRecord, size_bytes=7):
    dbid: int = u8(3)
    path_bytes: int = u16(4)
    name_flags: int = u8(6, "0x10 Unicode")

    @property
    def path(self) -> str:
        return _path(self.tail(self.path_bytes)[0], bool(self.name_flags & DETACH_UNICODE))


@dataclass(frozen=True, kw_only=True)
class Init(Record, size_bytes=568):
    """A run of the engine begins."""

    parameter_bytes: bytes = octets(1, 567)

    @property
    def parameters(self) -> EngineParameters:
        return EngineParameters.decode(self.parameter_bytes)


@dataclass(frozen=True, kw_only=True)
class Init2(Init, size_bytes=576):
    time: LogTime = log_time(568)


@dataclass(frozen=True, kw_only=True)
class Term(Record, size_bytes=18):
    """A run ends cleanly, or a recovery does (RecoveryQuit)."""

    undo_position: LogPosition = log_position(1)
    redo_from: LogPosition = log_position(9)
    hard: int = u8(17)


@dataclass(frozen=True, kw_only=True)
class Term2(Term, size_bytes=26):
    time: LogTime = log_time(18)


@dataclass(frozen=True, kw_only=True)
class RecoveryUndo2(Record, size_bytes=9):
    time: LogTime = log_time(1)


@dataclass(frozen=True, kw_only=True)
class SetDbVersion(Record, size_bytes=14):
    dbid: int = u8(1)
    version: int = u32(2)
    revision: int = u32(6)
    minor_revision: int = u32(10)


@dataclass(frozen=True, kw_only=True)
class Skippable(Record, size_bytes=5):
    """A record that a reader may pass over."""

    body_bytes: int = u32(1)

    @property
    def body(self) -> bytes:
        return self.raw[5 : 5 + self.body_bytes]


@dataclass(frozen=True, kw_only=True)
class MacroInfo(Skippable, size_bytes=5):
    @property
    def pages(self) -> tuple[int, ...]:
        """The pages that the macro before touched."""
        return _numbers(self.body)


@dataclass(frozen=True, kw_only=True)
class MacroInfo2(Skippable, size_bytes=10):
    dbid: int = u8(5)
    page_count: int = u32(6)

    @property
    def pages(self) -> tuple[int, ...]:
        return _numbers(self.body[5:])[: self.page_count]


@dataclass(frozen=True, kw_only=True)
class ExtendDB(Skippable, size_bytes=10):
    dbid: int = u8(5)
    last_pgno: int = u32(6)


@dataclass(frozen=True, kw_only=True)
class ReAttach(Skippable, size_bytes=50):
    dbid: int = u8(5)
    attach_position: LogPosition = log_position(6)
    consistent_position: LogPosition = log_position(14)
    database_signature: Signature = signature(22)


@dataclass(frozen=True, kw_only=True)
class FreeFDP(Skippable, size_bytes=15):
    dbid: int = u8(5)
    root_pgno: int = u32(6)
    committed_transaction: int = u32(10)
    tree_kind: int = u8(14, "1 table, 2 index")


@dataclass(frozen=True, kw_only=True)
class ScanCheck2(Record, size_bytes=27):
    dbid: int = u8(1)
    pgno: int = u32(2)
    source: int = u8(6, "low two bits: who scanned; high three: flags")
    page_dbtime: int = u64(7)
    current_dbtime: int = u64(15)
    content_checksum: int = u32(23)


@dataclass(frozen=True, kw_only=True)
class ShrinkDB(Record, size_bytes=10):
    dbid: int = u8(1)
    last_pgno: int = u32(2)
    shrunk_pages: int = u32(6)


@dataclass(frozen=True, kw_only=True)
class ShrinkDB3(ShrinkDB, size_bytes=18):
    dbtime: int = u64(10)


@dataclass(frozen=True, kw_only=True)
class TrimDB(Record, size_bytes=10):
    dbid: int = u8(1)
    first_pgno: int = u32(2)
    zeroed_pages: int = u32(6)


@dataclass(frozen=True, kw_only=True)
class ExtentFreed(Record, size_bytes=11):
    dbid: int = u8(1)
    first_pgno: int = u32(2)
    pages: int = u32(6)
    extent_flags: int = u8(10)


@dataclass(frozen=True, kw_only=True)
class ExtentFreed2(ExtentFreed, size_bytes=19):
    dbtime: int = u64(11)


@dataclass(frozen=True, kw_only=True)
class Text(SessionRecord, size_bytes=5):
    """Trace and ForceLogRollover."""

    text_bytes: int = u16(3)

    @property
    def text(self) -> str:
        return self.tail(self.text_bytes)[0].decode("cp1252", "replace").rstrip("\0")


@dataclass(frozen=True, kw_only=True)
class Unparsed(Record, size_bytes=1):
    """A record whose content has no layout here."""


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) - 3, 4))


CONTENTS: Final[dict[int, type[Record]]] = {
    **dict.fromkeys(filter(is_skippable, range(256)), Skippable),
    Kind.INIT: Init,
    Kind.TERM: Term,
    Kind.BEGIN: Begin,
    Kind.COMMIT: Commit,
    Kind.ROLLBACK: Rollback,
    Kind.BEGIN0: Begin0,
    Kind.COMMIT0: Commit0,
    Kind.MACRO_BEGIN: Macro,
    Kind.MACRO_COMMIT: Macro,
    Kind.MACRO_ABORT: Macro,
    Kind.CREATE_DB: CreateDB,
    Kind.ATTACH_DB: AttachDB,
    Kind.DETACH_DB: DetachDB,
    Kind.RECOVERY_QUIT: Term,
    Kind.TRACE: Text,
    Kind.CREATE_MULTIPLE_EXTENT_FDP: CreateMultipleExtentFDP,
    Kind.CREATE_SINGLE_EXTENT_FDP: CreateSingleExtentFDP,
    Kind.INSERT: Insert,
    Kind.FLAG_INSERT: FlagInsert,
    Kind.FLAG_INSERT_AND_REPLACE_DATA: FlagInsertAndReplaceData,
    Kind.FLAG_DELETE: NodeRecord,
    Kind.REPLACE: Replace,
    Kind.REPLACE_D: Replace,
    Kind.DELETE: NodeRecord,
    Kind.UNDO_INFO: UndoInfo,
    Kind.DELTA: Delta,
    Kind.SET_EXTERNAL_HEADER: SetExternalHeader,
    Kind.UNDO: Undo,
    Kind.CHECKSUM: ChecksumRecord,
    Kind.EMPTY_TREE: EmptyTree,
    Kind.INIT2: Init2,
    Kind.TERM2: Term2,
    Kind.RECOVERY_UNDO2: RecoveryUndo2,
    Kind.RECOVERY_QUIT2: Term2,
    Kind.CONVERT_FDP2: ConvertFDP2,
    Kind.FORCE_LOG_ROLLOVER: Text,
    Kind.SPLIT2: Split2,
    Kind.MERGE2: Merge2,
    Kind.SCRUB: Scrub,
    Kind.PAGE_MOVE: PageMove,
    Kind.MACRO_INFO: MacroInfo,
    Kind.EXTEND_DB: ExtendDB,
    Kind.RE_ATTACH: ReAttach,
    Kind.MACRO_INFO2: MacroInfo2,
    Kind.FREE_FDP: FreeFDP,
    Kind.SHRINK_DB: ShrinkDB,
    Kind.SHRINK_DB2: ShrinkDB,
    Kind.SHRINK_DB3: ShrinkDB3,
    Kind.TRIM_DB: TrimDB,
    Kind.CREATE_DB_FINISH: DatabaseRecord,
    Kind.RECOVERY_QUIT_KEEP_ATTACHMENTS: Term2,
    Kind.SET_DB_VERSION: SetDbVersion,
    Kind.DELTA64: Delta64,
    Kind.NEW_PAGE: NewPage,
    Kind.ROOT_PAGE_MOVE: RootPageMove,
    Kind.SCAN_CHECK2: ScanCheck2,
    Kind.EXTENT_FREED: ExtentFreed,
    Kind.EXTENT_FREED2: ExtentFreed2,
}
"""The layout of each type; the others are read as :class:`Unparsed`."""


def decode_record(data: bytes) -> Record:
    """The content of one whole record.

    A record that readers may skip and that is too short for the layout known here is read as
    :class:`Skippable`.  Raises EseError -501 when the bytes are not exactly one record of their
    type.
    """
    number = data[0] if data else -1
    rule = LENGTHS[number] if data else None
    # Padded, so that a rule finds its fields; a record without them has not the length either.
    if rule is None or rule(data.ljust(_FIXED_BYTES_MAX, b"\0"), 0) != len(data):
        detail = f"{len(data)} bytes are no record" + (f" of type {number}" if data else "")
        raise EseError(LOG_CORRUPT, detail)
    kind = CONTENTS.get(number, Unparsed)
    if len(data) < kind.SIZE and is_skippable(number):
        kind = Skippable
    return kind.decode(data)
