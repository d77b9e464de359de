"""What a campaign found: verdicts, and RPO, RTO, spool and lag as quantiles by kind of fault.

A quantile of few runs is a guess, so each comes with an interval that holds the true one with
the stated confidence, whatever the distribution (order statistics: ``scipy.stats.quantile_test``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from scipy.stats import quantile_test

from simulator.measures import SEVERITY

CONFIDENCE: Final = 0.95
QUANTILES: Final = (0.5, 0.95, 0.99)
MEASURES: Final = {
    "rpo_seconds": "RPO",
    "rto_seconds": "RTO",
    "spool_peak_bytes": "spool",
    "lag_peak_seconds": "lag",
}
NO_FAULT: Final = "none"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Quantile:
    """One quantile of one measure; the bounds are None where the runs are too few to tell."""

    measure: str
    fault: str
    """Kind of fault that happened in these runs; ``all``, or ``none``."""
    quantile: float
    runs: int
    value: float
    low: float | None
    high: float | None


def quantiles(frame: pd.DataFrame) -> list[Quantile]:
    """Of each measure, by kind of fault that really happened.

    Arguments
    ---------
    frame: as :meth:`Results.frame` gives it.
    """
    kinds = sorted({kind for happened in frame["happened"] for kind in happened})
    groups = {ALL: frame, NO_FAULT: frame[[not each for each in frame["happened"]]]}
    groups |= {kind: frame[[kind in each for each in frame["happened"]]] for kind in kinds}
    return [
        _quantile(measure, fault, share, group[measure].dropna())
        for measure in MEASURES
        for fault, group in groups.items()
        if len(group[measure].dropna())
        for share in QUANTILES
    ]


def _quantile(measure: str, fault: str, share: float, values: pd.Series[float]) -> Quantile:
    interval = quantile_test(values, p=share).confidence_interval(CONFIDENCE)
    low, high = (None if math.isnan(each) else float(each) for each in interval)
    return Quantile(measure, fault, share, len(values), float(values.quantile(share)), low, high)


def happened(frame: pd.DataFrame) -> dict[str, int]:
    """In how many plans each kind of fault really happened."""
    counts = frame["happened"].explode().dropna().value_counts()
    return {str(kind): int(count) for kind, count in sorted(counts.items())}


def verdicts(frame: pd.DataFrame) -> dict[str, int]:
    """How many plans ended how, worst first."""
    counts = frame["verdict"].value_counts()
    return {each.value: int(counts.get(each.value, 0)) for each in SEVERITY}


def failures_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Plans that somebody has to look at: number, verdict, reasons."""
    failing = frame[frame["plan"] != ""]
    return [
        {"number": int(row.number), "verdict": str(row.verdict), "reasons": list(row.reasons)}
        for row in failing.itertuples()
    ]
