"""Largest values and first places on long curves, for thousands of questions at once.

Theory
------
A plan's curves are differences of rising ones, such as arrivals less service.  Between two places
such a difference is bounded by the values of the rising curves at these places alone.  So a
question about a stretch of a million steps is cut into pieces, each is asked for its bound, and
only those that can still change the answer are cut further (branch and bound).  The answer is
that of looking at each place; nothing is prepared for it, and so each question may have curves of
its own, as under loads that differ from question to question.

Pieces are kept on a stack, in batches of a limited size: memory does not grow with the number of
questions beyond their own arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.plan.grid import Floats, Indices

Value = Callable[[Indices, Indices], Floats]
"""Of (questions, places): the value there."""
Bound = Callable[[Indices, Indices, Indices], Floats]
"""Of (questions, from, to): what no value of the places from .. to, both included, passes."""

_PARTS: Final = 16
_PIECES_AT_ONCE: Final = 200_000


def largest(begin: Indices, end: Indices, value: Value, bound: Bound) -> Floats:
    """The largest value of the places ``begin`` to ``end``, both included.

    Arguments
    ---------
    begin, end: of each question; ``begin <= end``.
    value: of questions, by their number, at places.
    bound: no value between two places is above this.
    """
    asked = np.arange(len(begin))
    best = np.maximum(value(asked, begin), value(asked, end))
    for question, low, high in _pieces(begin, end, lambda q, a, b: bound(q, a, b) > best[q]):
        np.maximum.at(best, question, value(question, high))
        del low
    return best


def first_at_most(
    begin: Indices, end: Indices, limit: Floats, value: Value, bound: Bound
) -> Indices:
    """The first of the places ``begin`` to ``end`` whose value is at most ``limit``.

    Arguments
    ---------
    begin, end, value: as for :func:`largest`.
    limit: of each question.
    bound: no value between two places is below this.

    Returns ``end + 1`` where there is none.
    """
    asked = np.arange(len(begin))
    found = np.where(value(asked, end) <= limit, end, np.asarray(end) + 1)
    found = np.where(value(asked, begin) <= limit, begin, found)

    def may_be_within(question: Indices, low: Indices, high: Indices) -> NDArray[np.bool_]:
        earlier = low + 1 < found[question]
        return earlier & (bound(question, low, high) <= limit[question])

    for question, _low, high in _pieces(begin, end, may_be_within):
        hit = value(question, high) <= limit[question]
        np.minimum.at(found, question[hit], high[hit])
    return found


def _pieces(
    begin: Indices,
    end: Indices,
    matters: Callable[[Indices, Indices, Indices], NDArray[np.bool_]],
) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Ever smaller pieces of each question's places, as long as they matter.

    Who takes a batch looks at the upper ends; whether the pieces matter is asked after that, and
    once more when they are cut.
    """
    asked = np.arange(len(begin), dtype=np.int64)
    stack = [(asked, np.asarray(begin, dtype=np.int64), np.asarray(end, dtype=np.int64))]
    while stack:
        question, low, high = stack.pop()
        keep = high - low >= 2
        question, low, high = question[keep], low[keep], high[keep]
        if not len(question):
            continue
        keep = matters(question, low, high)
        question, low, high = question[keep], low[keep], high[keep]
        at_once = _PIECES_AT_ONCE // _PARTS
        if len(question) > at_once:
            # Last come, first served: earlier pieces lie on top.
            for at in range(len(question) // at_once * at_once, -1, -at_once):
                part = slice(at, at + at_once)
                stack.append((question[part], low[part], high[part]))
            continue
        if len(question):
            cut = _cut(question, low, high)
            yield cut
            stack.append(cut)


def _cut(question: Indices, low: Indices, high: Indices) -> tuple[Indices, Indices, Indices]:
    """Each piece in up to sixteen, side by side; neighbours share a place."""
    width = high - low
    parts = np.minimum(width, _PARTS)
    row = np.repeat(np.arange(len(question)), parts)
    number = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    of, wide, start = parts[row], width[row], low[row]
    return question[row], start + wide * number // of, start + wide * (number + 1) // of
