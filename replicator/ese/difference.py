"""The difference of two values, as ReplaceD logs it: what to apply, and how one is made.

A row of pieces with rising offsets into the old value.  Each says how much of the old value it
replaces and brings the new bytes; what lies between the pieces stays.  Small pages put the
offset and three marks into 16 bits; large ones take 16 bits for the offset and a byte for the
marks (the *wide* format; the top bit of the record's length tells which).

E src/ese/logdiff.cxx; S: no real log at hand holds one.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Final

from replicator.ese.errors import EseError

INVALID_OPERATION: Final = -500

_OFFSET_MASK: Final = 0x1FFF
_SAME_LENGTH, _INSERT, _LONG = 0x2000, 0x4000, 0x8000
"""The marks in the narrow head; in the wide one they are 0x20, 0x40, 0x80."""
_WIDE_SHIFT: Final = 8
_SHORT_MOST: Final = 0xFF


def apply_difference(difference: bytes, old: bytes, *, wide: bool) -> bytes:
    """The new value.

    Arguments
    ---------
    difference: the pieces.
    old: the value that they were made for.
    wide: which format the heads have.

    Raises EseError -500 for pieces that make no sense for this value.
    """
    result, done, at = bytearray(), 0, 0

    def number(size_bytes: int) -> int:
        nonlocal at
        part = difference[at : at + size_bytes]
        if len(part) < size_bytes:
            raise _bad("it ends in the middle of a piece")
        at += size_bytes
        return int.from_bytes(part, "little")

    while at < len(difference):
        word = number(2)
        marks = number(1) << _WIDE_SHIFT if wide else word & ~_OFFSET_MASK
        offset = word if wide else word & _OFFSET_MASK
        size = 2 if marks & _LONG else 1
        length = number(size)
        replaced = length
        if marks & _INSERT:
            replaced = 0
        elif not marks & _SAME_LENGTH:
            replaced = number(size)
        new = difference[at : at + length]
        at += length
        if len(new) < length:
            raise _bad("it ends in the middle of a piece")
        if offset < done or offset + replaced > len(old):
            raise _bad(f"a piece replaces bytes {offset} to {offset + replaced} of {len(old)}")
        result += old[done:offset]
        result += new
        done = offset + replaced
    return bytes(result + old[done:])


def make_difference(old: bytes, new: bytes, *, wide: bool) -> bytes:
    """Pieces that make ``new`` of ``old``; empty when they are equal.

    Arguments
    ---------
    old, new: the values.
    wide: which format the heads have; the narrow one reaches 8191 bytes far.

    Raises ValueError for an old value that the format cannot address.
    """
    if len(old) > (0xFFFF if wide else _OFFSET_MASK):
        raise ValueError(f"a difference cannot address a value of {len(old):,} bytes")
    parts = []
    for offset, length, brought in _changes(old, new):
        marks = _LONG if max(length, len(brought)) > _SHORT_MOST else 0
        size = 2 if marks else 1
        sizes = len(brought).to_bytes(size, "little")
        if not length:
            marks |= _INSERT
        elif length == len(brought):
            marks |= _SAME_LENGTH
        else:
            sizes += length.to_bytes(size, "little")
        if wide:
            head = offset.to_bytes(2, "little") + bytes((marks >> _WIDE_SHIFT,))
        else:
            head = (offset | marks).to_bytes(2, "little")
        parts.append(head + sizes + brought)
    return b"".join(parts)


def _changes(old: bytes, new: bytes) -> list[tuple[int, int, bytes]]:
    """What to replace: offset and length in the old value, and the new bytes."""
    if len(old) == len(new):
        return _runs(old, new)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    return [
        (one, two - one, new[three:four])
        for kind, one, two, three, four in matcher.get_opcodes()
        if kind != "equal"
    ]


def _runs(old: bytes, new: bytes) -> list[tuple[int, int, bytes]]:
    """The same for values of one length: the runs that differ, near ones joined."""
    word = int.from_bytes(old, "little") ^ int.from_bytes(new, "little")
    differs = word.to_bytes(len(old), "little")
    return [
        (each.start(), each.end() - each.start(), new[each.start() : each.end()])
        for each in _DIFFERENT.finditer(differs)
    ]


_HEAD_BYTES: Final = 4
"""About what a piece takes besides its bytes: a shorter gap is not worth another one."""
_DIFFERENT: Final = re.compile(rb"[^\0]+(?:\0{1,%d}[^\0]+)*" % _HEAD_BYTES)
"""Runs of bytes that are not zero, and gaps that are no longer than that."""


def _bad(detail: str) -> EseError:
    return EseError(INVALID_OPERATION, f"a logged difference cannot be applied: {detail}")
