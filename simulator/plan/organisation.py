"""An organisation to be planned for, as its TOML file gives it.

:func:`load_organisation` reads one; whatever the bytes of the file, it gives an
:class:`Organisation` or raises :class:`BadOrganisation`, which lists *all* that is wrong.  What
makes no plan though each key is in order stands in :mod:`.organisation_checks`, how the curves of a
plan are made of it in :mod:`.organisation_curves`.

Defaults carry a mark where no source was found: [A] assumed, [M] from memory.  Each is a key, so
that a site's own figure can take its place.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from replicator.errors import BadInput
from replicator.toml_document import Reading, read_toml_file
from replicator.toml_errors import BadDocument, Grammar, set_place
from replicator.toml_keys import (
    REQUIRED,
    BitRate,
    Duration,
    PositiveSize,
    Ratio,
    Table,
    key,
)
from replicator.toml_reference import toml_json_schema
from replicator.toml_text import KeyPath
from simulator.plan.organisation_change import Change, Mailboxes
from simulator.plan.organisation_checks import contradictions
from simulator.plan.organisation_doubts import doubts
from simulator.plan.organisation_keys import Days, Moment, ObjectiveSpan, PositiveSpan
from simulator.scenario_keys import ByteRate, TimeOfDay
from simulator.scenario_model import Failover
from simulator.scenario_toml import OverrideError, apply_override


class RateEntry(Table):
    """Another bandwidth at certain times of the week: one of bandwidth and taken."""

    from_time_of_day_ns: TimeOfDay = key("from", "Begin, a time of day.", REQUIRED)
    to_time_of_day_ns: TimeOfDay = key("to", "End; before the begin: of the next day.", REQUIRED)
    bits_per_second: BitRate | None = key(
        "bandwidth", "Meanwhile; at another line rate in proportion to it.", None
    )
    taken_bits_per_second: BitRate | None = key(
        "taken", "What others take of the line meanwhile, at any line rate the same.", None
    )
    days: Days = key(None, "Weekdays on which it begins, for instance Mon-Fri.", "Mon-Sun")


class Link(Table):
    """The line between the sites, and TCP over it."""

    bits_per_second: BitRate = key("bandwidth", "Line rate that replication may use.", REQUIRED)
    rtt_ns: Duration = key("rtt", "Round-trip time.", "20ms")
    loss: Ratio = key(None, "Share of packets lost.", 0.0)
    tcp_window_bytes: PositiveSize = key(
        "tcp_window", "Largest TCP window; 17520 B and 64 KiB are those of old systems.", "16MiB"
    )
    streams: int = key(None, "TCP streams side by side.", 1, ge=1, le=10_000)
    payload: Ratio = key(
        None, "Of the line rate, what headers leave: 94 % Ethernet, 90 % wide area [A].", 0.94
    )
    schedule: tuple[RateEntry, ...] = key(
        None, "Other bandwidths; the first that fits counts.", (), max_length=1_000
    )


Kind = Literal["byte level", "log shipping", "changed blocks", "object level", "nightly backup"]


class Protection(Table):
    """How the stores are protected."""

    kind: Kind = key(None, "Where the product copies.", "byte level")
    saving: Ratio = key(None, "Of the bytes, by compression [M].", 0.3)
    interval_ns: PositiveSpan = key("interval", "Between runs of changed blocks.", "1h")
    rewritten: Ratio = key(None, "Written again between two runs of changed blocks [V].", 0.3)
    backup_at_ns: TimeOfDay = key("backup_at", "When the nightly backup begins.", "22:00")
    full_backup: bool = key(None, "Each night all databases, not the logs alone.", False)
    idle_logs_per_day: float = key(
        None, "Logs that an idle log set closes [V].", 96.0, ge=0, le=100_000
    )
    spool_bytes: PositiveSize | None = key("spool", "The volume that there is for the spool.", None)
    spool_full: Literal["resynchronize", "hold"] = key(
        None, "At its limit: drop it and resynchronize later, or hold the writers.", "resynchronize"
    )
    spool_margin: Ratio = key(None, "Put on top of the spool that is needed [A].", 0.2)
    replica_spool_bytes: PositiveSize | None = key(
        "replica_spool", "The volume for the spool at the replica.", None
    )
    replica_delay_ns: Duration = key("delay", "The replica applies so much later.", "0s")
    log_volume_bytes: PositiveSize | None = key("log_volume", "Volume of the logs.", None)
    compare_bytes_per_second: ByteRate = key(
        "compare_rate", "Databases are read so fast to be compared [A].", "100MB/s"
    )
    apply_bytes_per_second: ByteRate = key(
        "apply_rate",
        "The replica applies writes so fast; one disk does 75 to 190 random ones of 8 KiB a "
        "second [A].",
        "50MB/s",
    )
    log_piece_bytes: PositiveSize = key(
        "log_piece",
        "Of a log, asked for at a time: each piece waits for a round trip, so do the begin and the "
        "end of a log, and log sets are copied side by side [A].",
        "256KiB",
    )


class OutageEvent(Table):
    """One outage at a date."""

    at: datetime.datetime = key(None, "Local date and time.", REQUIRED)
    length_ns: PositiveSpan = key("length", "How long.", REQUIRED)


class Outages(Table):
    """When the line is down."""

    lengths_ns: tuple[PositiveSpan, ...] = key(
        "lengths",
        "Lengths that the plan has figures for, at every hour of the week; of the default those "
        "that are at most half of the plan.",
        ("1h", "4h", "8h", "24h"),
        min_length=1,
        max_length=100,
    )
    planned_ns: PositiveSpan = key("planned", "The one that the spool is sized for.", "8h")
    events: tuple[OutageEvent, ...] = key(
        None, "Outages at dates within the plan.", (), max_length=10_000
    )
    per_year: float = key(None, "How many to expect in a year [A].", 4.0, ge=0, le=10_000)
    median_ns: PositiveSpan = key("median", "Half of them are shorter [A].", "1h")
    p95_ns: PositiveSpan = key("p95", "Of 20 one is longer [A].", "12h")


class FirstCopy(Table):
    """How the first copy gets there."""

    by: Literal["wire", "courier"] = key(None, "Over the line, or on a disk.", "wire")
    begins: Moment | None = key(
        None,
        "When: a date, with a time or without, or the first such time of the week in the plan, for "
        'instance "Sat 18:00"; by default when the plan begins.',
        None,
    )
    disk_bytes_per_second: ByteRate = key(
        "disk_rate", "Read at one end, written at the other [A].", "50MB/s"
    )
    stream_bytes_per_second: ByteRate = key(
        "stream_rate",
        "Of one seeding over the line, however fast the line is; examples beside it imply 24 [V].",
        "20MB/s",
    )
    transport_ns: Duration = key("transport", "Of the courier [A].", "24h")


class Recovery(Failover):
    """Recovery after the loss of the source: people, caches, mounting, media."""

    mount_ns: Duration = key("mount", "Of a store, its logs aside [A].", "30s")
    parallel_replays: int = key(
        None, "Log sets that replay at the same time [A].", 1, ge=1, le=10_000
    )
    restore_bytes_per_second: ByteRate = key(
        "restore_rate", "From a backup: one stream of a tape or disk [A].", "30MB/s"
    )
    find_backup_ns: Duration = key("find_backup", "Until the right medium is at hand [A].", "1h")


class Objectives(Table):
    """What is promised."""

    rpo_ns: ObjectiveSpan = key("rpo", "Most recent work that may be lost.", "15m")
    rpo_share: Ratio = key("rpo_share", "So much of the time.", 0.95)
    rto_ns: ObjectiveSpan = key("rto", "Longest time without service.", "4h")


class Organisation(Table):
    """What a capacity plan is made for."""

    name: str = key(None, "For the report.", REQUIRED, min_length=1, max_length=100)
    description: str = key(None, "One sentence for the report.", "", max_length=4_000)
    begins: datetime.date = key(
        None,
        "First day of the plan, onto whose dates the weeks of files of a site are laid; where it "
        "is left out, a plan of dated files begins when they do.",
        datetime.date(2007, 1, 1),
    )
    horizon_ns: PositiveSpan = key(
        "horizon", "Length of the plan; a curve that is shorter is repeated.", "4w"
    )
    seed: int = key(None, "Names the random draws.", 1, ge=0, le=2**63 - 1)
    draws: int = key(None, "Outages that are drawn.", 10_000, ge=100, le=1_000_000)
    mailboxes: tuple[Mailboxes, ...] = key(None, "By profile.", (), max_length=100)
    change: Change = key(None, "What is written.", {})
    link: Link = key(None, "The line.", REQUIRED)
    protection: Protection = key(None, "How the stores are protected.", {})
    outages: Outages = key(None, "When the line is down.", {})
    first_copy: FirstCopy = key(None, "How the first copy gets there.", {})
    failover: Recovery = key(None, "Recovery after the loss of the source.", {})
    objectives: Objectives = key(None, "What is promised.", {})

    @property
    def begins_at(self) -> datetime.datetime:
        """Midnight of the plan's first day; where it begins with its files, their begin
        (:mod:`.plan_begin`)."""
        if isinstance(self.begins, datetime.datetime):
            return self.begins
        return datetime.datetime.combine(self.begins, datetime.time())

    @property
    def first_copy_begins_at(self) -> datetime.datetime:
        """When the first copy begins: a time of the week is the first one in the plan."""
        given = self.first_copy.begins
        if isinstance(given, datetime.datetime):
            return given
        if given is None:
            return self.begins_at
        begin = self.begins_at
        monday = begin.date() - datetime.timedelta(days=begin.weekday())
        since = begin - datetime.datetime.combine(monday, datetime.time())
        after = datetime.timedelta(microseconds=given // 1_000) - since
        return begin + after % datetime.timedelta(days=7)

    def with_lengths_that_fit(self) -> Organisation:
        """Without the outage lengths taken by default that are longer than half of the plan."""
        if "lengths_ns" in self.outages.model_fields_set:
            return self
        fit = tuple(each for each in self.outages.lengths_ns if each <= self.horizon_ns // 2)
        outages = self.outages.model_copy(update={"lengths_ns": fit})
        return self.model_copy(update={"outages": outages})


class BadOrganisation(BadDocument):
    """An organisation that no plan can be made for; ``errors`` holds all that is wrong."""

    noun = "organisation"
    default_remedy = (
        "Correct each of them; docs/planning-keys.md lists all keys with their units and defaults."
    )


def organisation_json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return toml_json_schema(Organisation)


GRAMMAR: Final = Grammar(
    Organisation,
    organisation_json_schema,
    BadOrganisation,
    "scenarios/plans/head-office.toml",
)


def load_organisation(path: str | Path, overrides: Sequence[str] = ()) -> Organisation:
    """Read an organisation's file.

    Arguments
    ---------
    overrides: ``key.path=value`` as given to ``--set``.

    Raises BadOrganisation.
    """
    return check_organisation(path, overrides)[0]


def check_organisation(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[Organisation, list[BadInput]]:
    """As :func:`load_organisation`, and what is allowed but without any effect, each with its
    place."""
    path = Path(path)
    return _parse(read_toml_file(path, GRAMMAR), overrides, str(path), path.parent)


def parse_organisation(
    content: bytes | str,
    overrides: Sequence[str] = (),
    *,
    origin: str = "organisation",
    directory: Path | None = None,
) -> Organisation:
    """As :func:`load_organisation`, from memory; ``origin`` names the text in errors."""
    return _parse(content, overrides, origin, directory)[0]


def _parse(
    content: bytes | str, overrides: Sequence[str], origin: str, directory: Path | None
) -> tuple[Organisation, list[BadInput]]:
    reading = Reading(content, origin, GRAMMAR)
    overridden: list[tuple[KeyPath, str]] = []
    for argument in overrides:
        try:
            overridden.append((apply_override(reading.document, argument), argument))
        except OverrideError as error:
            raise GRAMMAR.bad(set_place(argument), str(error), error.remedy) from error
    context = {"directory": directory or Path()}
    organisation, places = reading.validate(Organisation, contradictions, overridden, context)
    organisation = organisation.with_lengths_that_fit()
    return organisation, [places.error(remark) for remark in doubts(organisation)]
