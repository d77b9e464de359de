"""A fuzzer's bytes, read as a plan of edits: so a few bytes say what is changed where.

A fuzzer that invents whole files meets little but their checksums.  Here its bytes are a plan:
which file, and which bytes of it become what; the checksums are put right afterwards.  Plans are
short, every one of them means something, and what is found is told by a few bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

MOST_EDITS: Final = 12
NUMBERS: Final = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 64, 0x7F, 0x80, 0xFF, 0x100, 0x1FF, 0x7FF, 0xFFF),
    *(0x1000, 0x1FFF, 0x2000, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0xFFFFFF),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF),
)
"""What formats stumble over: ends of bit fields and of the sizes of numbers."""


class Plan:
    """Reads numbers and pieces from bytes; behind their end everything is zero.

    Arguments
    ---------
    data: from the fuzzer.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._data)

    def number(self, size_bytes: int = 1) -> int:
        return int.from_bytes(self.piece(size_bytes), "little")

    def piece(self, size_bytes: int) -> bytes:
        """So many bytes, or those that are left."""
        found = self._data[self._at : self._at + size_bytes]
        self._at += size_bytes
        return found

    def rest(self) -> bytes:
        return self.piece(len(self._data))

    def among(self, things: Sequence[T]) -> T:
        """One of them; there must be one."""
        return things[self.number(1 if len(things) <= 256 else 2) % len(things)]

    def value(self) -> int:
        """One of :data:`NUMBERS`, or any number of 32 bits."""
        which = self.number()
        return NUMBERS[which] if which < len(NUMBERS) else self.number(4)


def edit(data: bytearray, plan: Plan, regions: Sequence[tuple[int, int]] = ()) -> None:
    """Carry out one edit of a plan, in place; the size stays.

    Arguments
    ---------
    regions: (start, end) of what is worth an edit; the whole is always among them.
    """
    start, end = plan.among([(0, len(data)), *regions])
    end = min(end, len(data))
    if start >= end:
        return
    at = start + plan.number(2 if end - start <= 1 << 16 else 4) % (end - start)
    match plan.number() % 6:
        case 0:
            new = plan.value().to_bytes(8, "little")[: (1, 2, 4, 8)[plan.number() % 4]]
        case 1:
            new = plan.piece(1 + plan.number() % 32)
        case 2:
            new = bytes((data[at] ^ 1 << plan.number() % 8,))
        case 3:
            other = start + plan.number(2) % (end - start)
            new = bytes(data[other : other + 1 + plan.number()])
        case 4:
            new = bytes(1 + plan.number())
        case _:
            step = plan.number() - 128
            old = int.from_bytes(data[at : at + 4], "little")
            new = (old + step & 0xFFFFFFFF).to_bytes(4, "little")
    new = new[: end - at]
    data[at : at + len(new)] = new
