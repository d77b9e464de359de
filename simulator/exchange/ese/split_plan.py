"""Where a full page is split, and which prefix each half gets: sizes only, no page is touched.

A page's prefix is the whole key of one of its lines; the keys that begin alike leave out what
they share with it.  What running transactions may take back counts as taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from replicator.ese.node import shared_prefix_bytes
from replicator.ese.page import TAG_BYTES

NO_PREFIX: Final = -1
_CANDIDATES: Final = 5
"""So many lines, evenly spread, are tried for the prefix."""
_SAMPLED: Final = 24
"""What they would save is found from at least so many lines, evenly spread."""


class Line(NamedTuple):
    """One line of the page, the operation that does not fit done.

    Arguments
    ---------
    key: all of it.
    data_bytes: size of its data.
    reserved_bytes: what its undo may need besides.
    bookmark: what tells it from all other lines: the key, and in non-unique trees the data too.
    """

    key: bytes
    data_bytes: int
    reserved_bytes: int
    bookmark: bytes


class Half(NamedTuple):
    """One of the two pages afterwards.

    Arguments
    ---------
    used_bytes: of the page behind its header, with all that is reserved.
    prefix_line: the line, counted in this half, whose key is the prefix; -1 for none.
    prefix: that key.
    reserved_bytes: what undo may need.
    """

    used_bytes: int
    prefix_line: int
    prefix: bytes
    reserved_bytes: int


class Split(NamedTuple):
    """A place to split at: ``line`` is the first that moves."""

    line: int
    left: Half
    right: Half


def best_prefix(keys: Sequence[bytes]) -> int:
    """The line whose key, as prefix, makes the page smallest; -1 when none makes it smaller."""
    count = len(keys)
    best, saved_most = NO_PREFIX, 0
    step = max(1, count // _CANDIDATES)
    every = max(1, count // _SAMPLED)
    sample = keys[every // 2 :: every]
    for candidate in range(step // 2, count, step):
        prefix = keys[candidate]
        saved = 0
        for key in sample:
            share = shared_prefix_bytes(prefix, key)
            if share:
                saved += share - 2
        saved = saved * every - len(prefix)
        if saved > saved_most:
            best, saved_most = candidate, saved
    return best


def half(lines: Sequence[Line]) -> Half:
    """What a page of these lines takes, with its best prefix."""
    keys = [line.key for line in lines]
    chosen = best_prefix(keys)
    prefix = keys[chosen] if chosen != NO_PREFIX else b""
    reserved = sum(line.reserved_bytes for line in lines)
    used = TAG_BYTES + len(prefix) + reserved
    for line in lines:
        share = shared_prefix_bytes(prefix, line.key) if prefix else 0
        used += TAG_BYTES + (4 - share if share else 2) + len(line.key) + line.data_bytes
    return Half(used, chosen, prefix, reserved)


def balanced_split(lines: Sequence[Line], page_data_bytes: int) -> Split | None:
    """The place nearest to the middle where both halves fit; None when there is none.

    Arguments
    ---------
    lines: all of them.
    page_data_bytes: bytes of a page behind its header.
    """
    sizes = [*accumulate(line.data_bytes + len(line.key) + 6 for line in lines)]
    middle = next((at for at, size in enumerate(sizes) if 2 * size >= sizes[-1]), 0)
    first = middle if 2 * sizes[middle] - sizes[-1] > lines[middle].data_bytes else middle + 1
    return split_near(lines, first, page_data_bytes)


def split_near(lines: Sequence[Line], wanted: int, page_data_bytes: int) -> Split | None:
    """The same, nearest to a given line."""
    for at in _from(wanted, len(lines)):
        found = split_at(lines, at)
        if found.left.used_bytes <= page_data_bytes >= found.right.used_bytes:
            return found
    return None


def split_at(lines: Sequence[Line], at: int) -> Split:
    """A given place, whether it fits or not."""
    return Split(at, half(lines[:at]), half(lines[at:]))


def separator(left: bytes, right: bytes) -> bytes:
    """The shortest key above ``left`` and not above ``right``, which is above ``left``."""
    same = next(
        (at for at, (one, two) in enumerate(zip(left, right, strict=False)) if one != two),
        min(len(left), len(right)),
    )
    return right[: same + 1]


def _from(wanted: int, count: int) -> Iterator[int]:
    """1 to ``count`` - 1, the nearest to ``wanted`` first."""
    return iter(sorted(range(1, count), key=lambda at: abs(at - wanted)))
