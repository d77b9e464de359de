"""All record types of the logs: number, name, and how long a record is.

The length of most records follows from a fixed part and a few fields in it, so that a log can be
walked without reading any content.

E src/inc/logapi.hxx, src/ese/_log/logread.cxx; V for every type that a real log holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

Buffer = bytes | bytearray | memoryview
LengthRule = Callable[[Buffer, int], int]

REPLACE_LENGTH_MASK: Final = 0x7FFF
"""The top bit of a replacement's length tells the format of the difference."""

CREATE_HAS_VERSION: Final = 4


class Kind(IntEnum):
    """Record types by number; a name says 2 where the engine's does."""

    NOP = 0
    INIT = 1
    TERM = 2
    MS = 3
    END = 4
    BEGIN = 5
    COMMIT = 6
    ROLLBACK = 7
    BEGIN0 = 8
    COMMIT0 = 9
    REFRESH = 10
    MACRO_BEGIN = 11
    MACRO_COMMIT = 12
    MACRO_ABORT = 13
    CREATE_DB = 14
    ATTACH_DB = 15
    DETACH_DB = 16
    RECOVERY_UNDO = 17
    RECOVERY_QUIT = 18
    FULL_BACKUP = 19
    INC_BACKUP = 20
    JET_OP = 21
    TRACE = 22
    SHUT_DOWN = 23
    CREATE_MULTIPLE_EXTENT_FDP = 24
    CREATE_SINGLE_EXTENT_FDP = 25
    CONVERT_FDP = 26
    SPLIT = 27
    MERGE = 28
    INSERT = 29
    FLAG_INSERT = 30
    FLAG_INSERT_AND_REPLACE_DATA = 31
    FLAG_DELETE = 32
    REPLACE = 33
    REPLACE_D = 34
    DELETE = 35
    UNDO_INFO = 36
    DELTA = 37
    SET_EXTERNAL_HEADER = 38
    UNDO = 39
    SLV_PAGE_APPEND = 40
    SLV_SPACE = 41
    CHECKSUM = 42
    SLV_PAGE_MOVE = 43
    FORCE_DETACH_DB = 44
    EXT_RESTORE = 45
    BACKUP = 46
    EMPTY_TREE = 48
    INIT2 = 49
    TERM2 = 50
    RECOVERY_UNDO2 = 51
    RECOVERY_QUIT2 = 52
    BEGIN_DT = 53
    PREP_COMMIT = 54
    PREP_ROLLBACK = 55
    FORCE_WRITE_LOG = 57
    CONVERT_FDP2 = 58
    EXT_RESTORE2 = 59
    BACKUP2 = 60
    FORCE_LOG_ROLLOVER = 61
    SPLIT2 = 62
    MERGE2 = 63
    SCRUB = 64
    PAGE_MOVE = 65
    PAGE_PATCH_REQUEST = 66
    MACRO_INFO = 67
    EXTEND_DB = 68
    COMMIT_CTX = 69
    SCAN_CHECK = 70
    NOP2 = 71
    RE_ATTACH = 72
    MACRO_INFO2 = 73
    FREE_FDP = 74
    IGNORED9 = 75
    FRAGMENT_BEGIN = 76
    FRAGMENT = 77
    SHRINK_DB = 78
    CREATE_DB_FINISH = 79
    RECOVERY_QUIT_KEEP_ATTACHMENTS = 80
    TRIM_DB = 81
    IGNORED10 = 82
    IGNORED11 = 83
    IGNORED12 = 84
    IGNORED13 = 85
    IGNORED14 = 86
    IGNORED15 = 87
    IGNORED16 = 88
    IGNORED17 = 89
    IGNORED18 = 90
    IGNORED19 = 91
    SET_DB_VERSION = 92
    DELTA64 = 93
    SHRINK_DB2 = 94
    NEW_PAGE = 95
    ROOT_PAGE_MOVE = 96
    SIGNAL_ATTACH_DB = 97
    SCAN_CHECK2 = 98
    SHRINK_DB3 = 99
    EXTENT_FREED = 100
    EXTENT_FREED2 = 101


TRANSACTION_KINDS: Final = frozenset(
    {
        Kind.BEGIN,
        Kind.BEGIN0,
        Kind.COMMIT,
        Kind.COMMIT0,
        Kind.ROLLBACK,
        Kind.MACRO_BEGIN,
        Kind.MACRO_COMMIT,
        Kind.MACRO_ABORT,
    }
)
"""Beginnings and ends of transactions, and of macros inside them."""


_WORDS: Final = frozenset({"NOP", "NOP2", "MS", "DB", "DB2", "DB3", "FDP", "FDP2", "SLV", "DT"})
"""Words that keep their capitals in a name."""

_NAMES: Final = {Kind.SET_DB_VERSION: "SetDbVersion", Kind.SIGNAL_ATTACH_DB: "SignalAttachDb"}


def title_of(number: int) -> str:
    """The name as the engine's tools print it: ``CreateMultipleExtentFDP``; else the number."""
    try:
        kind = Kind(number)
    except ValueError:
        return f"type {number}"
    words = kind.name.split("_")
    return _NAMES.get(kind) or "".join(
        word if word in _WORDS else word.capitalize() for word in words
    )


@dataclass(frozen=True, slots=True)
class RecordType:
    """How long a record of one type is.

    Arguments
    ---------
    number, name: as the engine has them.
    fixed_bytes: of the part that every record of this type has; 0 when the length is not known.
    length: the rule for the whole, given a buffer and where the record begins in it; raises
        struct.error where the buffer ends before the fields that it needs.  None when not known.
    """

    number: int
    name: str
    fixed_bytes: int
    length: LengthRule | None


def _fixed(size: int) -> tuple[int, LengthRule]:
    return size, lambda data, at: size


def _sum(size: int, layout: str, mask: int = 0xFFFFFFFF) -> tuple[int, LengthRule]:
    """``size`` and the sum of the fields that ``layout`` finds."""
    unpack = struct.Struct("<" + layout).unpack_from
    if layout.strip("0123456789x") in ("H", "I"):
        return size, lambda data, at: size + (unpack(data, at)[0] & mask)
    return size, lambda data, at: size + sum(unpack(data, at))


def _create_db() -> tuple[int, LengthRule]:
    unpack = struct.Struct("<40xHB").unpack_from

    def length(data: Buffer, at: int) -> int:
        path, flags = unpack(data, at)
        return 43 + int(path) + (4 if flags & CREATE_HAS_VERSION else 0)

    return 43, length


_SKIPPABLE: Final = _sum(5, "xI")

_RULES: Final[dict[int, tuple[int, LengthRule]]] = {
    Kind.NOP: _fixed(1),
    Kind.INIT: _fixed(568),
    Kind.TERM: _fixed(18),
    Kind.MS: _fixed(9),
    Kind.END: _fixed(1),
    Kind.BEGIN: _fixed(4),
    Kind.COMMIT: _fixed(4),
    Kind.ROLLBACK: _fixed(4),
    Kind.BEGIN0: _fixed(8),
    Kind.COMMIT0: _fixed(8),
    Kind.REFRESH: _fixed(7),
    Kind.MACRO_BEGIN: _fixed(11),
    Kind.MACRO_COMMIT: _fixed(11),
    Kind.MACRO_ABORT: _fixed(11),
    Kind.CREATE_DB: _create_db(),
    Kind.ATTACH_DB: _sum(75, "72xH"),
    Kind.DETACH_DB: _sum(7, "4xH"),
    Kind.RECOVERY_UNDO: _fixed(1),
    Kind.RECOVERY_QUIT: _fixed(18),
    Kind.FULL_BACKUP: _sum(3, "xH"),
    Kind.INC_BACKUP: _sum(3, "xH"),
    Kind.JET_OP: _fixed(4),
    Kind.TRACE: _sum(5, "3xH"),
    Kind.SHUT_DOWN: _fixed(1),
    Kind.CREATE_MULTIPLE_EXTENT_FDP: _fixed(56),
    Kind.CREATE_SINGLE_EXTENT_FDP: _fixed(48),
    Kind.CONVERT_FDP: _fixed(60),
    Kind.SPLIT: _sum(102, "96xHHH"),
    Kind.MERGE: _sum(88, "86xH"),
    Kind.INSERT: _sum(50, "44xHHH"),
    Kind.FLAG_INSERT: _sum(48, "44xHH"),
    Kind.FLAG_INSERT_AND_REPLACE_DATA: _sum(52, "44xHH"),
    Kind.FLAG_DELETE: _fixed(44),
    Kind.REPLACE: _sum(50, "44xH", REPLACE_LENGTH_MASK),
    Kind.REPLACE_D: _sum(50, "44xH", REPLACE_LENGTH_MASK),
    Kind.DELETE: _fixed(44),
    Kind.UNDO_INFO: _sum(56, "44xHH6xH"),
    Kind.DELTA: _sum(54, "44xHH"),
    Kind.SET_EXTERNAL_HEADER: _sum(46, "44xH"),
    Kind.UNDO: _sum(51, "44xHH"),
    Kind.CHECKSUM: _fixed(22),
    Kind.EXT_RESTORE: _sum(3, "xH"),
    Kind.BACKUP: _sum(5, "3xH"),
    Kind.EMPTY_TREE: _sum(46, "44xH"),
    Kind.INIT2: _fixed(576),
    Kind.TERM2: _fixed(26),
    Kind.RECOVERY_UNDO2: _fixed(9),
    Kind.RECOVERY_QUIT2: _fixed(26),
    Kind.BEGIN_DT: _fixed(8),
    Kind.PREP_COMMIT: _sum(7, "3xI"),
    Kind.PREP_ROLLBACK: _fixed(3),
    Kind.FORCE_WRITE_LOG: _fixed(3),
    Kind.CONVERT_FDP2: _fixed(68),
    Kind.EXT_RESTORE2: _sum(3, "xH"),
    Kind.BACKUP2: _sum(35, "33xH"),  # its field "kind" taken as four bytes, as in the headers
    Kind.FORCE_LOG_ROLLOVER: _sum(5, "3xH"),
    Kind.SPLIT2: _sum(110, "96xHHH4xI"),
    Kind.MERGE2: _sum(96, "86xH4xI"),
    Kind.SCRUB: _sum(54, "52xH"),
    Kind.PAGE_MOVE: _sum(96, "88xII"),
    Kind.PAGE_PATCH_REQUEST: _fixed(46),
    Kind.FRAGMENT_BEGIN: _sum(7, "5xH"),
    Kind.FRAGMENT: _sum(3, "xH"),
    Kind.SHRINK_DB: _fixed(10),
    Kind.CREATE_DB_FINISH: _fixed(4),
    Kind.RECOVERY_QUIT_KEEP_ATTACHMENTS: _fixed(26),
    Kind.TRIM_DB: _fixed(10),
    Kind.SET_DB_VERSION: _fixed(14),
    Kind.DELTA64: _sum(58, "44xHH"),
    Kind.SHRINK_DB2: _fixed(10),
    Kind.NEW_PAGE: _fixed(20),
    Kind.ROOT_PAGE_MOVE: _fixed(16),
    Kind.SIGNAL_ATTACH_DB: _fixed(2),
    Kind.SCAN_CHECK2: _fixed(27),
    Kind.SHRINK_DB3: _fixed(18),
    Kind.EXTENT_FREED: _fixed(11),
    Kind.EXTENT_FREED2: _fixed(19),
    **dict.fromkeys((*range(67, 76), *range(82, 92)), _SKIPPABLE),
}  # fmt: skip

RECORD_TYPES: Final[dict[int, RecordType]] = {
    number: RecordType(number, title_of(number), *_RULES.get(number, (0, None))) for number in Kind
}
"""Every type by number.  Without a rule are those that no version 7 or 8 log holds any more."""

LENGTHS: Final[tuple[LengthRule | None, ...]] = tuple(
    _RULES[number][1] if number in _RULES else None for number in range(256)
)
"""The rules by number, for walking."""

RECORD_BYTES_MAX: Final = 256 * 1024
"""Longer than any record of these rules with lengths of 16 bits and a page of 32 KiB."""


def is_skippable(number: int) -> bool:
    """Whether a reader may pass over records of this type without knowing them."""
    return 67 <= number <= 75 or 82 <= number <= 91
