"""Two campaigns held against each other: what differs between their scenarios, and what came of it.

Where both ran the same plans the comparison is *paired*: plan by plan, so that what the plans
have in common cancels out.  Differences of quantiles and means come with an interval from a
bootstrap over the plans (``scipy.stats.bootstrap``, percentile method; of pairs, or of both sides
independently), whose random numbers are fixed: the same files give the same intervals.  Whether
one side fails more often is tested exactly (McNemar on pairs: ``binomtest``; else Fisher).
"""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest, bootstrap, fisher_exact

from replicator.errors import BadInput
from simulator.campaign.results import Results
from simulator.campaign.summary import CONFIDENCE, MEASURES, QUANTILES

RESAMPLES: Final = 1_000
MOST_VALUES: Final = 4_000_000
"""Of so many values at a time resamples are made: some tens of MB."""
LEAST_BEYOND: Final = 5
"""A quantile beyond which fewer runs lie is not compared."""
LEAST_OF_A_MEAN: Final = 20
"""Nor a mean of fewer runs."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that the two scenarios do not share; None: it is not set there."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class Change:
    """A plan that ended otherwise."""

    number: int
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one measure at both sides; the bounds are of b minus a."""

    measure: str
    figure: str
    """``mean``, or a quantile as ``0.95``."""
    runs: tuple[int, int]
    a: float
    b: float
    low: float | None
    high: float | None
    """None where the runs are too few to tell."""

    @property
    def words(self) -> str:
        """What can be said of it."""
        if self.low is None or self.high is None:
            return "too few runs to tell"
        if self.low == self.high == 0:
            return "no difference"
        if self.low <= 0 <= self.high:
            return "no difference can be told"
        return "b is larger" if self.low > 0 else "b is smaller"


@dataclass(frozen=True, slots=True)
class Failures:
    """How many plans of each side failed, and how likely that is by chance."""

    a: int
    b: int
    only_a: int | None
    """Of paired plans; None without pairs."""
    only_b: int | None
    chance: float
    """Two-sided: that a difference of this size or a larger one comes about by chance."""

    @property
    def words(self) -> str:
        """What can be said of it."""
        if self.a == self.b and not self.only_a:
            return "no difference"
        if self.chance >= 1 - CONFIDENCE:
            return "no difference can be told"
        return "b fails more often" if self.b > self.a else "b fails less often"


@dataclass(frozen=True, slots=True)
class Sides:
    """For how many pairs of runs a measure is larger where."""

    larger_in_a: int
    larger_in_b: int
    equal: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is told of two campaigns."""

    a: Path
    b: Path
    scenarios: tuple[str, str]
    paired: bool
    plans: tuple[int, int]
    """Compared, of each side."""
    settings: list[Setting]
    changes: list[Change]
    """Empty without pairs."""
    failures: Failures
    differences: list[Difference]
    sides: dict[str, Sides]
    """By measure; empty without pairs."""
    values: dict[str, tuple[Values, Values]]
    """By measure: those of both sides, sorted, for drawings."""


def compare_results(a: Results, b: Results, unpaired: bool = False) -> Comparison:
    """Hold two campaigns against each other.

    Arguments
    ---------
    unpaired: compare the two as samples, although they ran different plans.

    Raises BadInput when they ran different plans, or have none in common.
    """
    if not unpaired:
        _refuse_other_plans(a, b)
    first, second = a.frame().set_index("number"), b.frame().set_index("number")
    for results, frame in ((a, first), (b, second)):
        if frame.empty:
            raise BadInput(
                "it has no plan to compare",
                path=str(results.path),
                remedy="Run plans: the same command with --resume.",
            )
    if not unpaired:
        common = first.index.intersection(second.index)
        first, second = first.loc[common], second.loc[common]
        if first.empty:
            raise BadInput(
                f"it has no plan to compare with those of {a.path}: they have none in common",
                path=str(b.path),
                remedy="Run more plans of both: the same commands with --resume.",
            )
    paired = not unpaired
    values = {measure: _values(first, second, measure, paired) for measure in MEASURES}
    return Comparison(
        a=a.path,
        b=b.path,
        scenarios=(a.key["scenario"], b.key["scenario"]),
        paired=paired,
        plans=(len(first), len(second)),
        settings=differing_settings(a, b),
        changes=_changes(first, second) if paired else [],
        failures=_failures(first, second, paired),
        differences=[
            each for measure in MEASURES for each in _differences(measure, *values[measure], paired)
        ],
        sides={measure: _sides(*values[measure]) for measure in MEASURES} if paired else {},
        values={measure: (np.sort(x), np.sort(y)) for measure, (x, y) in values.items()},
    )


def _refuse_other_plans(a: Results, b: Results) -> None:
    """Raises BadInput unless plan n of one is plan n of the other."""
    for what in ("space", "seed", "steering"):
        if a.key[what] != b.key[what]:
            raise BadInput(
                f"it ran other plans than {a.path}: they differ in {_reason(a, b, what)}",
                path=str(b.path),
                remedy="Run both with the same duration, seed and options; or add --unpaired, to "
                "compare them as two samples.",
            )
    ours, theirs = a.rounds(), b.rounds()
    if any(ours[each] != theirs[each] for each in ours.keys() & theirs.keys()):
        raise BadInput(
            f"it ran other plans than {a.path}: steering gave their rounds other weights",
            path=str(b.path),
            remedy="Run both without --steer; or add --unpaired, to compare them as two samples.",
        )


def _reason(a: Results, b: Results, what: str) -> str:
    if what != "space":
        return f"{what} ({a.key[what]} and {b.key[what]})"
    ours, theirs = a.key["space"], b.key["space"]
    keys = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    return f"what is drawn from ({', '.join(keys)})"


# -- the parts ---------------------------------------------------------------------------


def differing_settings(a: Results, b: Results) -> list[Setting]:
    """What differs between the two scenarios, and which rule was taken away where."""
    ours = dict(_flat(tomllib.loads(a.key["scenario_text"])))
    theirs = dict(_flat(tomllib.loads(b.key["scenario_text"])))
    ours |= {"release": a.release, "mutant": a.key["mutant"] or None}
    theirs |= {"release": b.release, "mutant": b.key["mutant"] or None}
    return [
        Setting(key, ours.get(key), theirs.get(key))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _changes(first: pd.DataFrame, second: pd.DataFrame) -> list[Change]:
    other = first["verdict"] != second["verdict"]
    return [
        Change(int(number), str(a), str(b))
        for number, a, b in zip(
            first.index[other], first["verdict"][other], second["verdict"][other], strict=True
        )
    ]


def _failures(first: pd.DataFrame, second: pd.DataFrame, paired: bool) -> Failures:
    x, y = ((frame["plan"] != "").to_numpy() for frame in (first, second))
    a, b = int(x.sum()), int(y.sum())
    if not paired:
        table = [[a, len(x) - a], [b, len(y) - b]]
        return Failures(a, b, None, None, float(fisher_exact(table).pvalue))
    only_a, only_b = int((x & ~y).sum()), int((y & ~x).sum())
    apart = only_a + only_b
    chance = float(binomtest(only_b, apart).pvalue) if apart else 1.0
    return Failures(a, b, only_a, only_b, chance)


def _values(
    first: pd.DataFrame, second: pd.DataFrame, measure: str, paired: bool
) -> tuple[Values, Values]:
    x, y = (pd.to_numeric(frame[measure]).to_numpy(np.float64) for frame in (first, second))
    if paired:
        both = ~(np.isnan(x) | np.isnan(y))
        return x[both], y[both]
    return x[~np.isnan(x)], y[~np.isnan(y)]


def _sides(x: Values, y: Values) -> Sides:
    return Sides(int((x > y).sum()), int((y > x).sum()), int((x == y).sum()))


def _figures(values: Values, axis: int) -> Values:
    """The mean and the quantiles."""
    quantiles = np.quantile(values, QUANTILES, axis=axis)
    return np.concatenate([np.mean(values, axis=axis)[np.newaxis], quantiles])


def _differences(measure: str, x: Values, y: Values, paired: bool) -> Iterator[Difference]:
    if not len(x) or not len(y):
        return
    a, b = _figures(x, 0), _figures(y, 0)
    lows, highs = _intervals(x, y, paired)
    fewest = min(len(x), len(y))
    for number, name in enumerate(["mean", *(f"{share:g}" for share in QUANTILES)]):
        if number:  # 100 * (1 - 0.95) is a little less than 5
            told = fewest * (1 - QUANTILES[number - 1]) + 1e-9 >= LEAST_BEYOND
        else:
            told = fewest >= LEAST_OF_A_MEAN
        low, high = (float(lows[number]), float(highs[number])) if told else (None, None)
        sizes = (len(x), len(y))
        yield Difference(measure, name, sizes, float(a[number]), float(b[number]), low, high)


def _intervals(x: Values, y: Values, paired: bool) -> tuple[Values, Values]:
    """The bounds of the differences b - a, one for each figure."""
    if min(len(x), len(y)) < 2 or (paired and np.array_equal(x, y)):
        nothing = np.zeros(1 + len(QUANTILES))
        return nothing, nothing

    def difference(p: Values, q: Values, axis: int) -> Values:
        return _figures(q, axis) - _figures(p, axis)

    with warnings.catch_warnings():
        # All resamples alike: the interval is that one value, which is what it says.
        warnings.simplefilter("ignore")
        found = bootstrap(
            (x, y),
            difference,
            paired=paired,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, MOST_VALUES // (len(x) + len(y))),
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(1),
        )
    return found.confidence_interval.low, found.confidence_interval.high
