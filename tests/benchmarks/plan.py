"""Capacity plans: a year by minutes, and ten thousand outages of it.

Beside each other: numpy's running sum over the same steps (each curve has to be read once at
least), a plain Python walk of one queue, and what the plan asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.exchange.profiles import select_profile
from simulator.plan.bandwidth import required_rates
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.distributions import Lognormal, Triangular, Uniform
from simulator.plan.grid import Floats, TimeGrid
from simulator.plan.mail_change import MailboxGroup, change_of_mailboxes
from simulator.plan.monte_carlo import OutageLaw, UncertainInputs, monte_carlo
from simulator.plan.outages import OutageModel
from simulator.plan.protection import (
    ByteLevel,
    ChangedBlocks,
    LogShipping,
    NightlyBackup,
    ObjectLevel,
    Protection,
)
from simulator.plan.spool_full import Spool
from simulator.plan.volumes import spool_surface
from tests.benchmarks.table import Table, best_seconds

KINDS: tuple[Protection, ...] = (
    ByteLevel(),
    LogShipping(),
    ObjectLevel(),
    ChangedBlocks(),
    NightlyBackup(),
    NightlyBackup(full=True),
)
LINK = PlannedLink(100e6, rtt_seconds=0.05)
NEARLY_FULL_BITS = 23.5e6
"""At which byte level takes 95 % of the line over the year."""
OUTAGES = 10_000
LAW = OutageLaw(per_year=12, length_seconds=Lognormal(3_600.0, 3.0))
UNCERTAIN = UncertainInputs(
    load_factor=Triangular(0.8, 1.0, 1.2),
    saving=Uniform(0.25, 0.35),
    growth_per_year=Lognormal(0.1, 1.3),
)


def _year(days: float) -> ChangeCurve:
    group = MailboxGroup(select_profile("2007", "heavy"), 4_000)
    return change_of_mailboxes([group], TimeGrid.of_days(days))


def walk(arrivals: list[float], service: list[float], step_seconds: float) -> tuple[float, float]:
    """A queue step by step, as one would write it first: its peak, and its largest lag."""
    waiting = peak = largest = 0.0
    oldest, left = 0, arrivals[0]
    for step, (came, could) in enumerate(zip(arrivals, service, strict=True)):
        waiting = max(0.0, waiting + came - could)
        peak = max(peak, waiting)
        take = could
        while oldest <= step and take >= left:
            take -= left
            oldest += 1
            left = arrivals[oldest] if oldest < len(arrivals) else 0.0
        if oldest <= step:
            left -= take
            largest = max(largest, (step + 1 - oldest) * step_seconds)
    return peak, largest


def _outages(change: ChangeCurve, link: PlannedLink) -> Callable[[], object]:
    random = np.random.default_rng(1)
    begin = random.uniform(0, 0.8 * change.grid.span_seconds, OUTAGES)
    length = random.lognormal(np.log(3_600.0), np.log(3.0), OUTAGES)
    np.minimum(length, 0.1 * change.grid.span_seconds, out=length)
    capacity = link.capacity_bytes(change.grid)

    def run() -> object:
        return OutageModel(ByteLevel().queue(change), capacity).effects(begin, length)

    return run


def table(quick: bool) -> Table:
    """The table."""
    days = 60.0 if quick else 365.0
    repetitions = 2 if quick else 3
    change = _year(days)
    grid, capacity = change.grid, LINK.capacity_bytes(change.grid)
    result = Table(
        f"A plan of {days:,.0f} days by minutes ({grid.steps:,} steps)",
        ["what", "of", "ms", "ns each", "aim ms"],
    )

    def measure(what: str, of: int, fn: Callable[[], object], aim: float | str = "") -> float:
        seconds = best_seconds(fn, repetitions)
        result.add(what, of, seconds * 1e3, seconds * 1e9 / of, aim)
        return seconds

    def course(kind: Protection, of: ChangeCurve, could: Floats) -> Callable[[], object]:
        return lambda: kind.course(of, could)

    measure("numpy's running sum", grid.steps, lambda: np.cumsum(change.written_bytes))
    queue = ByteLevel().queue(change)
    arrivals, service = np.diff(queue.ready).tolist(), queue.service(capacity).tolist()
    measure(
        "byte level, a plain Python walk",
        grid.steps,
        lambda: walk(arrivals, service, grid.step_seconds),
    )
    together = 0.0
    for kind in KINDS:
        full = ", full" if isinstance(kind, NightlyBackup) and kind.full else ""
        together += measure(f"{kind.name}{full}", grid.steps, course(kind, change, capacity))
    result.add("all kinds", grid.steps, together * 1e3, together * 1e9 / grid.steps, 1_000)
    for times in (0.1, 5.0):
        other = _year(days * times)
        could = LINK.capacity_bytes(other.grid)
        measure(
            f"byte level, {times:g} times as long", other.grid.steps, course(KINDS[0], other, could)
        )
    measure(
        "rates for an RPO at four shares of the time",
        grid.steps,
        lambda: required_rates(ByteLevel(), change, LINK, 900.0),
    )
    model = OutageModel(queue, capacity)
    lengths = [3_600.0 * hours for hours in (1, 4, 24, 72)]
    starts = 4 * (grid.steps // 60)
    measure("spool by length and start", starts, lambda: spool_surface(model, lengths))
    measure("outages, one load", OUTAGES, _outages(change, LINK), 10_000)
    nearly = PlannedLink(NEARLY_FULL_BITS, rtt_seconds=0.05)
    measure("outages, line taken to 95 %", OUTAGES, _outages(change, nearly), 10_000)
    spool = Spool(limit_bytes=50e9, data_set_bytes=float(change.stored_bytes or 1.0))
    law = OutageLaw(per_year=12 * 365 / days, length_seconds=LAW.length_seconds)
    years = round(OUTAGES / 12)
    for kind, limit in ((ByteLevel(), None), (ByteLevel(), spool), (ChangedBlocks(), None)):
        what = kind.name + (", with a limited spool" if limit else "")
        measure(
            f"Monte Carlo, {what}",
            OUTAGES,
            lambda kind=kind, limit=limit: monte_carlo(
                kind, change, LINK, law, years, uncertain=UNCERTAIN, spool=limit
            ).of_outages(),
            10_000,
        )
    result.notes = [
        "4,000 heavy mailboxes of 2007 on 100 Mbit/s. The courses give spool, lag and load of each "
        "step. A Monte Carlo run draws about 10,000 outages, each year with inputs of its own, and "
        "makes the quantiles with their intervals. Processor time, best of "
        f"{repetitions}.",
    ]
    return result
