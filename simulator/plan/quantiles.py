"""Quantiles of drawn results, each with an interval of confidence.

Independent draws: the interval lies between two order statistics, whose ranks come from the
binomial distribution, whatever the distribution of the figure is (David and Nagaraja, Order
Statistics, 3rd edition 2003, chapter 7 [M]).

Draws in groups (the outages of a year share its uncertain inputs): whole groups are drawn again
with replacement, and the interval lies between percentiles of what comes out (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 [M]; groups as its units).

Infinity stands for "never" here: it is larger than any figure, and becomes None on the way out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import binom

from simulator.plan.answers import or_none
from simulator.plan.grid import Floats, Indices

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 400


@dataclass(frozen=True)
class Quantile:
    """One quantile.

    Attributes
    ----------
    share: of the draws that are not above it.
    estimate: None where it is "never", or there are no draws.
    low, high: of the interval of confidence; None where it is open on that side: too few draws, or
        "never".
    draws: how many there were.
    reason: why the estimate is None; else empty.
    """

    share: float
    estimate: float | None
    low: float | None
    high: float | None
    draws: int
    reason: str = ""


def _check(share: float, confidence: float) -> None:
    if not 0 < share < 1 or not 0 < confidence < 1:
        raise ValueError("shares and confidence lie between 0 and 1")


def _answer(share: float, ordered: Floats, low: float, high: float, never: str) -> Quantile:
    rank = max(1, int(np.ceil(share * len(ordered))))
    estimate = or_none(ordered[rank - 1])
    reason = never if estimate is None else ""
    return Quantile(share, estimate, or_none(low), or_none(high), len(ordered), reason)


def of_independent(
    values: Floats, share: float, confidence: float = CONFIDENCE, never: str = "never"
) -> Quantile:
    """A quantile of independent draws.

    Arguments
    ---------
    values: infinity for "never".
    share: between 0 and 1.
    never: what to say of an estimate that is infinite.

    Raises ValueError for shares not between 0 and 1.
    """
    _check(share, confidence)
    count = len(values)
    if count == 0:
        return Quantile(share, None, None, None, 0, "no draws")
    ordered = np.sort(values)
    outside = (1.0 - confidence) / 2
    first = int(binom.ppf(outside, count, share))
    last = int(binom.ppf(1.0 - outside, count, share)) + 1
    low = float(ordered[first - 1]) if first >= 1 else np.inf
    high = float(ordered[last - 1]) if last <= count else np.inf
    return _answer(share, ordered, low, high, never)


def of_groups(
    values: Floats,
    group: Indices,
    share: float,
    random: np.random.Generator,
    confidence: float = CONFIDENCE,
    never: str = "never",
    resamples: int = RESAMPLES,
) -> Quantile:
    """A quantile of draws in groups that are independent of each other.

    Arguments
    ---------
    group: of each value, a number from 0.
    random: for the bootstrap.

    Other arguments and errors as :func:`of_independent`.
    """
    _check(share, confidence)
    if len(values) == 0:
        return Quantile(share, None, None, None, 0, "no draws")
    names, member = np.unique(group, return_inverse=True)
    if len(names) < 2:
        # One group says nothing of how far another one would be off.
        return _answer(share, np.sort(values), np.inf, np.inf, never)
    order = np.argsort(values, kind="stable")
    ordered, member = values[order], member[order]
    found = np.empty(resamples)
    for number in range(resamples):
        drawn = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))
        sums = np.cumsum(drawn[member])
        found[number] = ordered[np.searchsorted(sums, max(1.0, np.ceil(share * sums[-1])))]
    found.sort()
    outside = (1.0 - confidence) / 2
    low = found[int(np.floor(outside * (resamples - 1)))]
    high = found[int(np.ceil((1.0 - outside) * (resamples - 1)))]
    return _answer(share, ordered, float(low), float(high), never)
