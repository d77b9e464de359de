"""One captured change of a protected set, and its binary form.

An operation names files by a stable *file id*, never by path, so that a rename between a
write and its replay cannot turn the write against another file.  Paths, relative to the
protected root, appear only in operations on names.

The body of an operation's record: a prefix of 40 bytes and the names, then the data of a
write as payload (:mod:`replicator.records`)::

    0  kind      u8        8  file id    u64   (0: none)
    1  flags     u8        16 offset     u64   (new size for truncate, bits for attributes)
    2  name      u16       24 length     u64
    4  name 2    u16       32 captured   u64   nanoseconds of the source's wall clock
    6  reserved  u16
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from replicator.records import InvalidRecord, Record

PREFIX: Final = struct.Struct("<BBHHHQQQQ")
PREFIX_BYTES: Final = PREFIX.size
LARGEST_OFFSET: Final = (1 << 63) - 1
"""No file of any system ends beyond it."""
LONGEST_NAME_BYTES: Final = (1 << 16) - 1
"""What a record has room for."""


class OperationKind(IntEnum):
    """What happened to the protected set."""

    WRITE = 1
    TRUNCATE = 2
    ZERO_RANGE = 3
    CREATE = 4
    RENAME = 5
    UNLINK = 6
    LINK = 7
    SYMLINK = 8
    MKDIR = 9
    RMDIR = 10
    SET_ATTRIBUTES = 11
    SYNC = 12


_WRITE: Final = int(OperationKind.WRITE)

CONTENT_KINDS: Final = frozenset(
    {
        OperationKind.WRITE,
        OperationKind.TRUNCATE,
        OperationKind.ZERO_RANGE,
        OperationKind.SYNC,
    }
)
"""Operations that leave names alone; all others are barriers at the replica."""

_TWO_PATHS: Final = frozenset({OperationKind.RENAME, OperationKind.LINK})


class Operation(NamedTuple):
    """One change.  ``name`` and ``name2`` are paths relative to the protected root.

    ``name2`` is the new path of a rename or link and the target of a symbolic link.
    """

    kind: OperationKind
    file_id: int = 0
    offset: int = 0
    length: int = 0
    name: str = ""
    name2: str = ""
    data: bytes = b""
    captured_ns: int = 0

    def encode_prefix(self) -> bytes:
        """The record's prefix; the payload is ``data``."""
        # What could not be read again is never written: it would end the history for good.
        assert not self.senseless(), self
        name, name2 = encode_path(self.name), encode_path(self.name2)
        return (
            PREFIX.pack(
                self.kind,
                0,
                len(name),
                len(name2),
                0,
                self.file_id,
                self.offset,
                self.length,
                self.captured_ns,
            )
            + name
            + name2
        )

    def senseless(self) -> str:
        """Why no protected set can have had this operation; empty when one can."""
        kind, name, name2 = self.kind, self.name, self.name2
        if not is_range(self.offset, self.length):
            return f"no file has {self.length} bytes at {self.offset}"
        if kind in CONTENT_KINDS:
            return "a change of content that names a path" if name or name2 else ""
        if kind == OperationKind.SYMLINK:
            if not is_target(name2):
                return f"no symbolic link has this target: {name2!r}"
        elif kind in _TWO_PATHS:
            if not is_inside(name2):
                return f"a path that leads out of the protected root: {name2!r}"
        elif name2:
            return f"a second path where there is one: {name2!r}"
        return "" if is_inside(name) else f"a path that leads out of the protected root: {name!r}"


def is_inside(path: str) -> bool:
    """Whether a path stays below the protected root: ``/a/b``, nothing empty, no dots, no NUL."""
    return (
        path.startswith("/")
        and not ({"", ".", ".."} & set(path[1:].split("/")))
        and is_target(path)
    )


def is_target(text: str) -> bool:
    """Whether a file system can hold this text and give it back as it is.

    Bytes that are no UTF-8 are lone surrogates here; others, or bytes that would come back as
    another character, are nobody's name.
    """
    try:
        return bool(text) and "\0" not in text and decode_path(encode_path(text)) == text
    except UnicodeEncodeError:
        return False


def encode_path(path: str) -> bytes:
    """The bytes of a path, or of a symbolic link's target."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """The inverse of :func:`encode_path`, for any bytes."""
    return path.decode("utf-8", "surrogateescape")


def is_range(offset: int, length: int) -> bool:
    """Whether a file can have these bytes."""
    return offset >= 0 and length >= 0 and offset + length <= LARGEST_OFFSET


def write_prefix(file_id: int, offset: int, length: int, captured_ns: int) -> bytes:
    """The prefix of a write, without building an Operation: the hot path of capture."""
    return PREFIX.pack(_WRITE, 0, 0, 0, 0, file_id, offset, length, captured_ns)


def decode_operation(record: Record) -> Operation:
    """Read an OPERATION record's body; raises InvalidRecord when it makes no sense."""
    prefix = record.prefix
    if len(prefix) < PREFIX_BYTES:
        raise InvalidRecord(0, "the operation's fixed part is cut short")
    kind, flags, n1, n2, reserved, file_id, offset, length, captured = PREFIX.unpack_from(prefix)
    if flags or reserved or len(prefix) != PREFIX_BYTES + n1 + n2:
        raise InvalidRecord(0, "the operation's lengths do not fit")
    try:
        operation_kind = OperationKind(kind)
    except ValueError as error:
        raise InvalidRecord(0, f"not an operation: {error}") from None
    if operation_kind == OperationKind.WRITE and length != len(record.payload):
        raise InvalidRecord(0, "a write whose length is not that of its data")
    operation = Operation(
        operation_kind,
        file_id,
        offset,
        length,
        decode_path(prefix[PREFIX_BYTES : PREFIX_BYTES + n1]),
        decode_path(prefix[PREFIX_BYTES + n1 :]),
        record.payload,
        captured,
    )
    if objection := operation.senseless():
        raise InvalidRecord(0, objection)
    return operation


OUTCOME: Final = struct.Struct("<QQ")
"""Body of an OUTCOME record: sequence number of the operation, bytes that were written.

An operation that was not a write and failed has 0 bytes, and did not happen.
"""
