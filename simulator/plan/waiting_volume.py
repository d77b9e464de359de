"""The volume at the source on which changes wait, and what it means when it is full.

Theory
------
What cannot leave has to lie somewhere.  A replicator below the store, and one of messages, has a
spool of its own; what a log shipper has not copied are the store's closed logs, on the log volume.
Kinds that take snapshots keep nothing: what changed is read again from the databases.

A full spool of its own can be dropped (``protection.spool_full = "resynchronize"``): then both ends
are compared afterwards, and nothing stops.  A full log volume stops the stores, and so does a
spool that holds the writers: on such a volume the first copy has to fit as the outages have.
"""

from __future__ import annotations

from typing import Final

from simulator.plan.change import ChangeCurve
from simulator.plan.grid import Floats
from simulator.plan.organisation import Organisation
from simulator.plan.protection import LogShipping, Protection, Queued
from simulator.plan.volumes import SpoolSize

LOG_VOLUME_DAYS: Final = 3.0
"""Of logs that a log volume holds [V]."""
TEMPTING_SHARE: Final = 2 / 3
"""Of the advised spool: a size that somebody may be tempted by, where none is given."""


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


def spool_volume(
    organisation: Organisation, own: Protection, needed: SpoolSize
) -> tuple[float, bool]:
    """The volume in bytes, and whether the organisation gives it; where it does not,
    :data:`TEMPTING_SHARE` of what is advised."""
    size = given_volume(organisation, own)
    if size is None:
        return needed.recommended_bytes * TEMPTING_SHARE, False
    return size, True


def kept_log_bytes(change: ChangeCurve, protection: Protection) -> Floats:
    """Logs that come on the log volume in each step; of shipped ones also those that log roll has
    closed with little in them: a file has its whole size."""
    if isinstance(protection, LogShipping):
        return protection.closed_bytes(change)
    return change.log_bytes


def ruled_volume_bytes(change: ChangeCurve, protection: Protection) -> float:
    """The log volume by the rule for a server that stands alone: three days of the mean [V]."""
    return LOG_VOLUME_DAYS * float(kept_log_bytes(change, protection).sum()) / change.days


def log_volume_bytes(
    organisation: Organisation, change: ChangeCurve, protection: Protection
) -> float:
    """The log volume; by default that of the rule."""
    given = organisation.protection.log_volume_bytes
    return ruled_volume_bytes(change, protection) if given is None else float(given)


def bounding_volume(
    organisation: Organisation, change: ChangeCurve, protection: Protection
) -> float | None:
    """The volume that bounds the length of an outage: the given one, and for log shipping without
    one that of :func:`log_volume_bytes`; None for unbounded."""
    given = given_volume(organisation, protection)
    if given is None and isinstance(protection, LogShipping):
        return log_volume_bytes(organisation, change, protection)
    return given
