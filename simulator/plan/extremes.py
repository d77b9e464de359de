"""Smallest and largest value of a stretch of a curve, for many stretches at once.

The curve is cut into blocks; of each block, and of 2, 4, 8 ... neighbours, the extreme is kept
(a sparse table).  A stretch is covered by two such groups of blocks, so that it may take in some
steps beside it: what comes out is a bound, exact for curves that are even around its ends.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.plan.grid import Floats, Indices

_BLOCK: Final = 64


class Extremes:
    """Of one curve.

    Arguments
    ---------
    values: of each step; shape (n,), n at least 1.
    """

    def __init__(self, values: Floats) -> None:
        starts = np.arange(0, len(values), _BLOCK)
        self._low = _groups(np.minimum.reduceat(values, starts), np.minimum)
        self._high = _groups(np.maximum.reduceat(values, starts), np.maximum)

    def at_least(self, begin: Indices, end: Indices) -> Floats:
        """No value of the steps ``begin`` to before ``end`` is below this."""
        return self._of(self._low, begin, end, np.minimum)

    def at_most(self, begin: Indices, end: Indices) -> Floats:
        """No value of the steps ``begin`` to before ``end`` is above this."""
        return self._of(self._high, begin, end, np.maximum)

    def _of(self, groups: Floats, begin: Indices, end: Indices, join: np.ufunc) -> Floats:
        blocks = groups.shape[1]
        first = np.minimum(begin // _BLOCK, blocks - 1)
        last = np.clip((end - 1) // _BLOCK, first, blocks - 1)
        level = np.frexp((last - first + 1).astype(np.float64))[1] - 1
        found: Floats = join(groups[level, first], groups[level, last + 1 - (1 << level)])
        return found


def _groups(blocks: Floats, join: np.ufunc) -> Floats:
    """Row l: the extreme of 2**l blocks from each on; what would reach beyond the last is cut."""
    rows = [blocks]
    while (1 << len(rows)) <= len(blocks):
        before, half = rows[-1], 1 << (len(rows) - 1)
        row = before.copy()
        row[:-half] = join(before[:-half], before[half:])
        rows.append(row)
    return np.array(rows)
