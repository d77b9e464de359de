"""How large a store becomes and how long it takes to write, said before it is begun.

A rough figure, for whoever has asked for a hundred thousand mailboxes: measured with stores of 20
and 2,000 mailboxes of each version on one core of 2.5 GHz, it is right within a factor of two
there.  Logs are those of the profile; where the profile says nothing, or views are off, they are
about what is written to the databases.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from simulator.exchange.ese.generated_store import StoreSpec

TOLD_FROM_SECONDS: Final = 30.0
"""A store that is written faster needs no warning."""


@dataclass(frozen=True, slots=True)
class StoreCosts:
    """What was measured [V], and may be given otherwise.

    Arguments
    ---------
    mailbox_seconds, message_seconds: to make one, to send one or take it in.
    log_mib_seconds: to write so much of log, for views mostly.
    mailbox_bytes: of a database, before there is any mail.
    mail_share: of the bytes of mail, what ends up in the databases.
    operation_seconds: to make up for one operation, its older page included.
    """

    mailbox_seconds: float = 0.002
    message_seconds: float = 0.002
    log_mib_seconds: float = 0.045
    mailbox_bytes: int = 9_000
    mail_share: float = 0.5
    operation_seconds: float = 0.0003


@dataclass(frozen=True, slots=True)
class StoreEstimate:
    """Bytes of databases and logs, and seconds on one core."""

    database_bytes: float
    log_bytes: float
    seconds: float

    @property
    def bytes(self) -> float:
        return self.database_bytes + self.log_bytes


def estimate_store(spec: StoreSpec, costs: StoreCosts | None = None) -> StoreEstimate:
    """What a store will cost.

    Arguments
    ---------
    spec: what is wanted.
    costs: as measured, when not given.
    """
    from simulator.exchange.diurnal import DAY_NS
    from simulator.exchange.mail_io import expected_operations, older_pages

    known = costs or StoreCosts()
    profile = spec.profile
    days = spec.days if spec.crash_at_ns is None else spec.crash_at_ns / DAY_NS
    mail_bytes = profile.mail_bytes_per_day * spec.mailboxes * days
    database_bytes = spec.mailboxes * known.mailbox_bytes + mail_bytes * known.mail_share
    log_bytes = database_bytes
    if spec.views and profile.log_bytes_per_day is not None:
        log_bytes = max(log_bytes, profile.log_bytes_per_day * spec.mailboxes * days)
    operations = 0.0
    if spec.io is not None:
        page_bytes = spec.config().store_format.page_bytes
        older = spec.mailboxes * older_pages(spec.plan, spec.io, page_bytes)
        database_bytes += older * page_bytes
        found = expected_operations(spec.plan, 0, round(days * DAY_NS))
        operations = found.reads + found.writes
    seconds = (
        spec.mailboxes * known.mailbox_seconds
        + profile.messages_per_day * spec.mailboxes * days * known.message_seconds
        + log_bytes / 2**20 * known.log_mib_seconds
        + operations * known.operation_seconds
    )
    kept_bytes = 0.0 if spec.circular else log_bytes
    return StoreEstimate(database_bytes, kept_bytes, seconds)


def estimate_line(spec: StoreSpec, directory: Path) -> str | None:
    """A line about a store that is large or takes long; None for any other.

    Arguments
    ---------
    spec: what is wanted.
    directory: where to; its volume's free space is told where that may not do.
    """
    from replicator.units import format_bytes, format_ns

    found = estimate_store(spec)
    existing = next(each for each in (directory, *directory.resolve().parents) if each.exists())
    free_bytes = shutil.disk_usage(existing).free
    if found.seconds < TOLD_FROM_SECONDS and found.bytes < free_bytes:
        return None
    parts = [
        f"this takes about {format_bytes(round(found.database_bytes))} of databases",
        f"{format_bytes(round(found.log_bytes))} of logs" if not spec.circular else "few logs",
        f"and {format_ns(max(1, round(found.seconds)) * 10**9)} on one core",
    ]
    line = ", ".join(parts)
    if found.bytes > free_bytes:
        line += f"; the volume has {format_bytes(free_bytes)} free"
    return f"{line} (a rough guess; Ctrl-C ends it and removes what was written)"
