"""What is drawn in a Monte Carlo run: lengths of outages, uncertain inputs.

Each is a frozen dataclass with a ``draw``; the parameters are those of its figure, in its unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from simulator.plan.grid import Floats

_NO_NUMBER: Final = "a distribution needs finite parameters"


class Distribution(Protocol):
    """Numbers to be drawn."""

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        """So many of them."""


def _check(holds: bool, what: str, *values: float) -> None:
    if not all(np.isfinite(values)):
        raise ValueError(_NO_NUMBER)
    if not holds:
        raise ValueError(what)


@dataclass(frozen=True)
class Fixed:
    """Always the same."""

    value: float

    def __post_init__(self) -> None:
        _check(True, "", self.value)

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        return np.full(count, float(self.value))


@dataclass(frozen=True)
class Uniform:
    """Evenly between two values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check(self.low <= self.high, "low must not be above high", self.low, self.high)

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        return random.uniform(self.low, self.high, count)


@dataclass(frozen=True)
class Triangular:
    """Between two values, most often near a third."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        _check(
            self.low <= self.likely <= self.high,
            "a triangle needs low <= likely <= high",
            self.low,
            self.likely,
            self.high,
        )

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        if self.low == self.high:
            return np.full(count, float(self.low))
        return random.triangular(self.low, self.likely, self.high, count)


@dataclass(frozen=True)
class Lognormal:
    """Positive, with a long tail.

    Arguments
    ---------
    median: half of the values are below.
    ratio: of the value that 84.1 % are below to the median (exp of sigma); 1 or more.
    """

    median: float
    ratio: float

    def __post_init__(self) -> None:
        _check(
            self.median > 0 and self.ratio >= 1,
            "a lognormal needs a positive median, and a ratio of 1 or more",
            self.median,
            self.ratio,
        )

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        return random.lognormal(np.log(self.median), np.log(self.ratio), count)


@dataclass(frozen=True)
class Empirical:
    """One of the values that were seen, each as likely as the others."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        _check(bool(self.values), "an empirical distribution needs values", *self.values)

    def draw(self, random: np.random.Generator, count: int) -> Floats:
        return random.choice(np.array(self.values, dtype=np.float64), count)
