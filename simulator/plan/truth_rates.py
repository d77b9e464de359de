"""The rate that an objective needs, found by a plan, and found write by write.

A plan finds it on a grid, by a fluid queue (:mod:`simulator.plan.bandwidth`).  Here each write is
an event: it waits for those before it, then takes its bytes / rate on the line, and until then the
copy is as old as it.  Nothing is shared with the plan but the writes.  The time during which the
copy is older than the objective is summed exactly, and the least rate found by bisection.

Two kinds of record are held against each other so:

* a trace of single writes: the plan takes its own curve of the file, on minutes;
* a table of many machines by half hours: each half hour is spread evenly over so many writes that
  a week has :data:`WRITES_OF_A_WEEK`.

``python -m simulator.plan.truth_rates TRACE TABLE > docs/plan-truth-rates.md`` makes the page; the
replicator's own run at the rate that was found is in it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, StrictUndefined

from simulator.plan.bandwidth import required_rates
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.protection import ByteLevel
from simulator.plan.site_files import load_site
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_traces import read_feature_curves
from simulator.plan.truth_cases import Writes, whole_trace, writes_of_curve, writes_of_trace
from simulator.plan.truth_simulated import simulate
from simulator.plan.violations import SHARES_OF_TIME

RPO_SECONDS: Final = 900.0
WRITES_OF_A_WEEK: Final = 20_000
TOLERANCE: Final = 0.001
"""Of a rate that is searched for, as a share."""
_TEMPLATE: Final = Path(__file__).with_name("plan_truth_rates.md.j2")
_PLAIN: Final = ByteLevel(saving=0.0, overhead=0.0)
"""Nothing but the bytes of the writes: what is added to them is the same on both sides."""
_LINE: Final = PlannedLink(1e6, 0.0, payload_share=1.0)


@dataclass(frozen=True)
class RateRow:
    """One rate, found in two ways.

    Attributes
    ----------
    share_of_time: during which the copy must not be older than the objective.
    planned, by_writes: bits/s.
    """

    share_of_time: float
    planned: float
    by_writes: float

    @property
    def difference(self) -> float:
        """Of the planned one, as a share of the other."""
        return self.planned / self.by_writes - 1.0


def share_within(writes: Writes, bytes_per_second: float, rpo_seconds: float) -> float:
    """Share of the time during which the copy is at most so old; each write is an event."""
    late, free = 0.0, 0.0
    for came, size in zip(writes.at_seconds.tolist(), writes.sizes_bytes.tolist(), strict=True):
        begins = max(came, free)
        if begins >= writes.span_seconds:
            break
        free = begins + size / bytes_per_second
        # From `begins` on nothing older waits; the copy is as old as this write until `free`.
        late += max(0.0, min(free, writes.span_seconds) - max(begins, came + rpo_seconds))
    return 1.0 - late / writes.span_seconds


def least_rate(writes: Writes, rpo_seconds: float, share_of_time: float) -> float:
    """The least line rate, bits/s, that keeps the copy young enough for that share of the time."""

    def good(rate: float) -> bool:
        return share_within(writes, rate, rpo_seconds) >= share_of_time

    high = float(writes.sizes_bytes.sum()) / writes.span_seconds
    while not good(high):
        high *= 2.0
    low = high / 2.0
    while good(low):
        low, high = low / 2.0, low
    while high > low * (1.0 + TOLERANCE):
        middle = (low + high) / 2.0
        low, high = (low, middle) if good(middle) else (middle, high)
    return high * 8


def compare_rates(
    curve: ChangeCurve, writes: Writes, shares: Sequence[float] = SHARES_OF_TIME
) -> list[RateRow]:
    """The rates of a plan on a curve, and those of the same writes one by one."""
    step = curve.grid.step_seconds
    planned = required_rates(_PLAIN, curve, _LINE, RPO_SECONDS, shares, margin_seconds=step)
    found = []
    for share, rate in zip(shares, planned, strict=True):
        assert rate.bits_per_second is not None, "a line of any rate is at hand"
        found.append(RateRow(share, rate.bits_per_second, least_rate(writes, RPO_SECONDS, share)))
    return found


def rates_of_trace(path: Path) -> list[RateRow]:
    """Of a vscsi trace.  Raises BadInput."""
    return compare_rates(load_site(path), writes_of_trace(path))


def rates_of_table(path: Path, every: int = 1) -> list[list[RateRow]]:
    """Of each machine in a table of half hours, or each n-th one.  Raises BadInput."""
    curves = read_feature_curves(path, SiteOptions())
    found = []
    for name in list(curves)[::every]:
        curve = curves[name]
        size = float(curve.written_bytes.sum()) / WRITES_OF_A_WEEK
        found.append(compare_rates(curve, writes_of_curve(curve, size)))
    return found


def replicated(path: Path, bits_per_second: float) -> tuple[float, int]:
    """The whole trace through the replicator at a line rate: its 95 % lag in seconds, operations.

    Raises BadInput.
    """
    case = whole_trace(path)
    simulated = simulate(replace(case, link=replace(case.link, bits_per_second=bits_per_second)))
    return float(np.quantile(simulated.lag_seconds, 0.95)), simulated.operations


def page(
    trace: Sequence[RateRow], run: tuple[float, int], table: Sequence[Sequence[RateRow]]
) -> str:
    """The page: a trace's rates, its run at the planned 95 % rate, and a table's rates."""
    columns = list(zip(*table, strict=True))
    machines = [
        (
            f"{rows[0].share_of_time:.0%}",
            *(f"{np.quantile([r.difference for r in rows], q):+.2%}" for q in (0.0, 0.5, 1.0)),
        )
        for rows in columns
    ]
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        trace=[
            (
                f"{row.share_of_time:.0%}",
                f"{row.planned / 1e6:.2f}",
                f"{row.by_writes / 1e6:.2f}",
                f"{row.difference:+.1%}",
            )
            for row in trace
        ],
        lag=f"{run[0]:,.0f}",
        lag_difference=f"{RPO_SECONDS / run[0] - 1.0:+.1%}",
        operations=f"{run[1]:,}",
        count=len(table),
        machines=machines,
        writes=f"{WRITES_OF_A_WEEK:,}",
    )


def measured(trace: Path, table: Path) -> str:
    """The page, all of it measured now.  Raises BadInput."""
    rows = rates_of_trace(trace)
    [planned] = [row.planned for row in rows if row.share_of_time == 0.95]
    return page(rows, replicated(trace, planned), rates_of_table(table))


if __name__ == "__main__":
    sys.stdout.write(measured(Path(sys.argv[1]), Path(sys.argv[2])))
