"""The volume at the source on which changes wait, and what it means when it is full.

Theory
------
What cannot leave has to lie somewhere.  A replicator below the store, and one of messages, has a
spool of its own; what a log shipper has not copied are the store's closed logs, on the log volume.
Kinds that take snapshots keep nothing: what changed is read again from the databases.

A full spool of its own can be dropped (``protection.spool_full = "resynchronize"``): then both ends
are compared afterwards, and nothing stops.  A full log volume stops the stores, and so does a
spool that holds the writers: on such a volume the first copy has to fit as the outages have.

Where no size is given, a plan is computed with the one that it advises
(:func:`advised_volume_bytes`): what is full first, and the longest outage, are those of the volume
that will be bought.
"""

from __future__ import annotations

from typing import Final

from simulator.plan.answers import size_to_buy
from simulator.plan.change import ChangeCurve
from simulator.plan.fluid import cumulative
from simulator.plan.grid import DAY_SECONDS, Floats
from simulator.plan.organisation import Organisation
from simulator.plan.protection import LogShipping, Protection, Queued

LOG_VOLUME_DAYS: Final = 3.0
"""Of logs that a log volume holds [V]."""


def volume_name(protection: Protection) -> str:
    """What the volume is called: "log volume" or "spool"."""
    return "log volume" if isinstance(protection, LogShipping) else "spool"


def given_volume(organisation: Organisation, protection: Protection) -> float | None:
    """Its size in bytes; None where the organisation gives none, and for kinds that keep nothing.

    A log shipper's is the log volume; where only a spool is given, that is meant.
    """
    if not isinstance(protection, Queued):
        return None
    given = organisation.protection
    size = given.spool_bytes
    if isinstance(protection, LogShipping):
        size = given.log_volume_bytes or size
    return None if size is None else float(size)


def stops_when_full(organisation: Organisation, protection: Protection) -> bool:
    """Whether the stores stand still when it is full."""
    shipped = isinstance(protection, LogShipping)
    return shipped or organisation.protection.spool_full == "hold"


def kept_log_bytes(change: ChangeCurve, protection: Protection) -> Floats:
    """Logs that come on the log volume in each step; of shipped ones also those that log roll has
    closed with little in them: a file has its whole size."""
    if isinstance(protection, LogShipping):
        return protection.closed_bytes(change)
    return change.log_bytes


def ruled_volume_bytes(change: ChangeCurve, protection: Protection) -> float:
    """The log volume by the rule for a server that stands alone: three days of logs [V], the
    busiest on end; in bytes.  Of a plan that is shorter, three days of its mean."""
    kept, days = kept_log_bytes(change, protection), change.days
    width = round(LOG_VOLUME_DAYS * DAY_SECONDS / change.grid.step_seconds)
    if width >= change.grid.steps:
        return LOG_VOLUME_DAYS * float(kept.sum()) / days
    sums = cumulative(kept)
    return float((sums[width:] - sums[:-width]).max())


def log_volume_bytes(
    organisation: Organisation, change: ChangeCurve, protection: Protection
) -> float:
    """The log volume of a kind that keeps its changes elsewhere; by default that of the rule."""
    given = organisation.protection.log_volume_bytes
    return ruled_volume_bytes(change, protection) if given is None else float(given)


def advised_volume_bytes(
    organisation: Organisation,
    change: ChangeCurve,
    protection: Protection,
    outage_bytes: float,
    copy_bytes: float | None,
) -> float:
    """The size to buy: the larger of both tasks with the margin on top; of a log volume no less
    than the rule.

    Arguments
    ---------
    outage_bytes: what the planned outage needs.
    copy_bytes: what waits while the first copy is made; None where that is not known.
    """
    margin = organisation.protection.spool_margin
    tasks = size_to_buy(max(outage_bytes, copy_bytes or 0.0), margin)
    if isinstance(protection, LogShipping):
        return max(tasks, size_to_buy(ruled_volume_bytes(change, protection)))
    return tasks
