"""The first copy: over the wire, or by courier.

Theory
------
While the first copy is made nothing of the changes reaches the other side: for the queue of
changes it is an outage, from the begin of the copy until it is there (and loaded).  So what waits
depends on the hour of the week at which it begins (:mod:`.copy_begins`).  The copy
converges when that queue is empty, and the spool has to hold its peak.  So both ways differ only
in how long the copy takes:

* over the wire: the link's capacity from then on, its windows too, and no faster than the slower
  of both disks, or than a seeding streams;
* by courier: read to a medium, carried, read at the other end.

A protection that takes snapshots begins with one; its first run carries what changed since.

Leaves out: changes that go over the link beside the copy (they are sent after it), and pages that
change while they are copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final, Literal

import numpy as np
import pandas as pd

from simulator.plan.answers import answer_frame, or_none
from simulator.plan.capacity import carried_until
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, Floats
from simulator.plan.link_use import link_use
from simulator.plan.plan_units import format_volume
from simulator.plan.protection import PLANNED_SAVING, Protection
from simulator.plan.run_outages import AnyOutages, outages_of

Bound = Literal["", "line", "seeding", "disk"]
SEED_BYTES_PER_SECOND: Final = 20e6
"""Of one seeding: about 20 MB/s quoted [V]; the examples beside it imply 24."""
DISK_BYTES_PER_SECOND: Final = 80e6
"""Sequential, of one 7,200 rpm disk: 70 to 120 MB/s [M]."""
COURIER_SECONDS: Final = 24 * 3_600.0
"""From door to door [A]."""


@dataclass(frozen=True, kw_only=True)
class SeedRates:
    """How fast a first copy is made, and when.

    Attributes
    ----------
    source_bytes_per_second, replica_bytes_per_second: of the disks.
    stream_bytes_per_second: of the seeding over the wire, whatever the link is.
    saving: of compression on the wire.
    medium_bytes_per_second: of the medium that is carried, written and read.
    courier_seconds: on the way.
    begin_seconds: when it begins, from the begin of the grid.

    Raises ValueError for rates that are not positive, a negative time, a saving not in 0 .. 1.
    """

    source_bytes_per_second: float = DISK_BYTES_PER_SECOND
    replica_bytes_per_second: float = DISK_BYTES_PER_SECOND
    stream_bytes_per_second: float = SEED_BYTES_PER_SECOND
    saving: float = PLANNED_SAVING
    medium_bytes_per_second: float = DISK_BYTES_PER_SECOND
    courier_seconds: float = COURIER_SECONDS
    begin_seconds: float = 0.0

    def __post_init__(self) -> None:
        rates = (
            self.source_bytes_per_second,
            self.replica_bytes_per_second,
            self.stream_bytes_per_second,
            self.medium_bytes_per_second,
        )
        if not all(0 < rate < np.inf for rate in rates):
            raise ValueError("rates of a first copy must be positive numbers")
        if not (0 <= self.saving < 1 and 0 <= self.courier_seconds < np.inf):
            raise ValueError("a saving lies within 0 and 1, and no way takes a negative time")


@dataclass(frozen=True)
class Seeding:
    """A first copy.

    Attributes
    ----------
    way: "wire" or "courier".
    begins_at: local time in ISO format.
    read_seconds, way_seconds, load_seconds: of the copy; over the wire all is one way.  None where
        it is not there within the curve.
    catch_up_seconds: until the changes that came meanwhile are there too; None for never.
    converges_after_seconds: all of it; None for never.
    spool_peak_bytes: what waits at the source meanwhile; None where the copy is not there.
    reason: why it never converges; else empty.
    bound_by: "line", "seeding" or "disk": what bounds it for most of its way over the wire; empty
        for the courier, and where it is not there.
    """

    way: Literal["wire", "courier"]
    begins_at: str
    read_seconds: float | None
    way_seconds: float | None
    load_seconds: float | None
    catch_up_seconds: float | None
    converges_after_seconds: float | None
    spool_peak_bytes: float | None
    reason: str = ""
    bound_by: Bound = ""


def seed_over_wire(
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    begin_seconds: float | None = None,
    data_set_bytes: float | None = None,
    rates: SeedRates | None = None,
    model: AnyOutages | None = None,
) -> Seeding:
    """The first copy over the link.

    Arguments
    ---------
    capacity_bytes: of the link in each step.
    begin_seconds: when it begins, from the begin of the grid; by default as the rates say.
    data_set_bytes: how much is copied; by default what the curve says is stored.
    model: of the outages of this protection on this link, where it is made already.

    Raises ValueError when nothing says how much, or for a begin outside the grid.
    """
    rates, amount = rates or SeedRates(), _amount(change, data_set_bytes)
    grid = change.grid
    begin_seconds = _begin(change, begin_seconds, rates)
    slowest = min(
        rates.source_bytes_per_second, rates.replica_bytes_per_second, rates.stream_bytes_per_second
    )
    moved = np.minimum(capacity_bytes / (1.0 - rates.saving), slowest * grid.step_seconds)
    there = carried_until(moved, grid, begin_seconds, amount)
    if there is None:
        days = (grid.span_seconds - begin_seconds) / DAY_SECONDS
        reason = f"the copy of {format_volume(amount)} alone is not there within {days:,.1f} days"
        return _never("wire", change, begin_seconds, reason)
    took = there - begin_seconds
    parts = (0.0, took, 0.0)
    made = _converge("wire", protection, change, capacity_bytes, begin_seconds, parts, model)
    way = slice(int(begin_seconds / grid.step_seconds), ceil(there / grid.step_seconds))
    capped = moved[way] >= slowest * grid.step_seconds
    bound: Bound = "line"
    if 2 * np.count_nonzero(capped) > len(capped):
        bound = "seeding" if slowest == rates.stream_bytes_per_second else "disk"
    return replace(made, bound_by=bound)


def seed_by_courier(
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    begin_seconds: float | None = None,
    data_set_bytes: float | None = None,
    rates: SeedRates | None = None,
    model: AnyOutages | None = None,
) -> Seeding:
    """The first copy on a medium that is carried; arguments and errors as
    :func:`seed_over_wire`."""
    rates, amount = rates or SeedRates(), _amount(change, data_set_bytes)
    begin_seconds = _begin(change, begin_seconds, rates)
    read = amount / min(rates.source_bytes_per_second, rates.medium_bytes_per_second)
    load = amount / min(rates.replica_bytes_per_second, rates.medium_bytes_per_second)
    parts = (read, rates.courier_seconds, load)
    if begin_seconds + sum(parts) > change.grid.span_seconds:
        days = (change.grid.span_seconds - begin_seconds) / DAY_SECONDS
        reason = f"the copy is under way for longer than {days:,.1f} days"
        return _never("courier", change, begin_seconds, reason)
    return _converge("courier", protection, change, capacity_bytes, begin_seconds, parts, model)


def compare_seedings(*seedings: Seeding) -> pd.DataFrame:
    """A row for each, the columns those of :class:`Seeding`; None for never."""
    return answer_frame(seedings, Seeding.__dataclass_fields__)


def _converge(
    way: Literal["wire", "courier"],
    protection: Protection,
    change: ChangeCurve,
    capacity_bytes: Floats,
    begin_seconds: float,
    parts: tuple[float, float, float],
    model: AnyOutages | None,
) -> Seeding:
    """The copy is there: what came meanwhile catches up."""
    grid, took = change.grid, sum(parts)
    step = grid.step_seconds
    # Whole steps, and not before it is there (a millionth of a step is rounding).
    begin = np.floor(begin_seconds / step) * step
    end = min(np.ceil((begin_seconds + took) / step - 1e-6) * step, grid.steps * step)
    model = model or outages_of(protection, change, capacity_bytes)
    effects = model.effects(begin, end - begin, with_lag=False)
    catch_up = or_none(effects.catch_up_seconds[0])
    reason = ""
    if catch_up is None:
        use = link_use(protection, change, capacity_bytes)
        days = (grid.span_seconds - end) / DAY_SECONDS
        reason = use.reason or f"changes do not catch up in the {days:,.1f} days that are left"
    return Seeding(
        way,
        grid.time_at(begin_seconds / step).isoformat(),
        *parts,
        catch_up,
        None if catch_up is None else took + catch_up,
        float(effects.spool_peak_bytes[0]),
        reason,
    )


def _never(
    way: Literal["wire", "courier"], change: ChangeCurve, begin_seconds: float, reason: str
) -> Seeding:
    at = change.grid.time_at(begin_seconds / change.grid.step_seconds).isoformat()
    return Seeding(way, at, None, None, None, None, None, None, reason)


def _amount(change: ChangeCurve, data_set_bytes: float | None) -> float:
    amount = change.stored_bytes if data_set_bytes is None else data_set_bytes
    if amount is None:
        raise ValueError("nothing says how large the data set is: give data_set_bytes")
    if not 0 <= amount < np.inf:
        raise ValueError(f"a data set cannot have {amount} bytes")
    return float(amount)


def _begin(change: ChangeCurve, begin_seconds: float | None, rates: SeedRates) -> float:
    begin = rates.begin_seconds if begin_seconds is None else begin_seconds
    if not 0 <= begin < change.grid.span_seconds:
        raise ValueError("a first copy must begin within the curve")
    return begin
