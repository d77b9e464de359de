"""What makes no plan though each key of an organisation is in order alone.

Each function yields a remark for what contradicts itself, with the places of the keys and what to
do; :mod:`.organisation` asks for them when it reads a file.  Dates are held against the plan in
:mod:`.plan_begin`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from replicator import units
from replicator.toml_errors import Remark
from simulator.exchange.profiles import PROFILES
from simulator.plan.plan_begin import dates_outside
from simulator.scenario_keys import DAY_NS

if TYPE_CHECKING:
    from simulator.plan.organisation import Organisation


SHORTEST_INTERVAL_NS: Final = 60 * units.NS_PER_SECOND
"""Between runs of changed blocks: the finest step of a plan (:mod:`.horizon`)."""
LONGEST_RTT_NS: Final = 60 * units.NS_PER_SECOND
"""Above it TCP itself gives up [A]."""
LONGEST_OUTAGE_NS: Final = 366 * DAY_NS
"""A line that is down for longer is none [A]."""
LEAST_PAYLOAD: Final = 0.01
"""Of a line; no headers take more of it [A]."""
SHORTEST_RPO_NS: Final = units.NS_PER_SECOND
"""Less is not told apart from nothing: figures are those of steps (:mod:`.horizon`)."""
FILE_KEYS: Final = (
    "log_sets_alike",
    "log_counters",
    "database_counters",
    "day_order",
    "decimal_mark",
    "utc_offset_hours",
    "log_file_bytes",
    "trace",
    "version",
    "database_bytes_per_log_byte",
    "message_bytes_per_log_byte",
    "log_share_of_writes",
    "bytes_per_write",
    "log_sets_taken",
    "disks",
    "bridge_gaps",
    "most_missing_share",
    "least_measured_ns",
    "most_disordered_share",
)
"""Attributes of ``[change]`` that say how files of the site are read."""


def contradictions(organisation: Organisation) -> Iterator[Remark]:
    """What makes no plan, though each key alone is in order."""
    mailboxes, change = organisation.mailboxes, organisation.change
    if not mailboxes and not change.files:
        yield Remark(
            (("mailboxes",), ("change", "files")),
            "nothing says what is written",
            "Give [[mailboxes]] with a count, or files of the site under [change].",
        )
    if mailboxes and change.files:
        yield Remark(
            (("change", "files"), ("mailboxes",)),
            "files of the site already hold what the mailboxes write",
            "Leave out one of them.",
        )
    yield from _file_contradictions(organisation)
    for index, group in enumerate(mailboxes):
        names = [name for version, name in PROFILES if version == group.version]
        if group.profile not in names:
            yield Remark(
                (("mailboxes", index, "profile"),),
                f"version {group.version} has no profile {group.profile!r}",
                f"Choose one of {', '.join(names)}.",
            )
    if len({group.version for group in mailboxes}) > 1:
        yield Remark(
            (("mailboxes", 0, "version"),),
            "groups of mailboxes are of different versions",
            "Make a plan for each version: their logs and nights differ.",
        )
    if not DAY_NS <= organisation.horizon_ns <= 10 * 366 * DAY_NS:
        yield Remark(
            (("horizon",),), "a plan covers a day to ten years", 'Write for instance "4w" or "52w".'
        )
    protection = organisation.protection
    for name, share, place in (
        ("packets are lost", organisation.link.loss, ("link", "loss")),
        ("bytes are saved by compression", protection.saving, ("protection", "saving")),
        ("blocks are written again", protection.rewritten, ("protection", "rewritten")),
    ):
        if share >= 1:
            yield Remark((place,), f"all {name}: nothing is left", "Write less than 100%.")
    if protection.interval_ns < SHORTEST_INTERVAL_NS:
        yield Remark(
            (("protection", "interval"),),
            f"runs of changed blocks every {units.spell_duration(protection.interval_ns)}: a plan "
            f"has steps of {units.spell_duration(SHORTEST_INTERVAL_NS)}, and nothing of it is "
            "shorter",
            f"Write at least {units.spell_duration(SHORTEST_INTERVAL_NS)}; what copies more often "
            'is planned with kind = "byte level".',
        )
    if organisation.link.rtt_ns > LONGEST_RTT_NS:
        yield Remark(
            (("link", "rtt"),),
            f"no line has a round trip of {units.spell_duration(organisation.link.rtt_ns)}",
            f"Write at most {units.spell_duration(LONGEST_RTT_NS)}; a satellite has about 600ms.",
        )
    if organisation.objectives.rpo_share <= 0:
        yield Remark(
            (("objectives", "rpo_share"),),
            "an RPO that is to be kept none of the time is no objective",
            'Write more than 0%, for instance "95%".',
        )
    if organisation.objectives.rpo_ns < SHORTEST_RPO_NS:
        yield Remark(
            (("objectives", "rpo"),),
            f"an RPO of {units.spell_duration(organisation.objectives.rpo_ns)}: a plan computes in "
            "steps of a minute and more, and knows nothing of a lag below "
            f"{units.spell_duration(SHORTEST_RPO_NS)}",
            f"Write at least {units.spell_duration(SHORTEST_RPO_NS)}.",
        )
    if organisation.link.payload < LEAST_PAYLOAD:
        yield Remark(
            (("link", "payload"),), "headers leave no room for data", 'Write for instance "94%".'
        )
    yield from _empty_windows(organisation)
    yield from _rates_of_windows(organisation)
    yield from _outage_contradictions(organisation)
    yield from dates_outside(organisation)


def _file_contradictions(organisation: Organisation) -> Iterator[Remark]:
    """A file that would count twice, and keys for files that there are none of."""
    change = organisation.change
    seen: dict[Path, int] = {}
    for index, path in enumerate(change.files):
        first = seen.setdefault(path.resolve(), index)
        if first != index:
            yield Remark(
                (("change", "files", index), ("change", "files", first)),
                f"{path.name} is given twice: what it counts would be added up twice",
                "Leave out one of them.",
            )
    if change.files:
        if change.log_sets_alike and change.log_sets is None:
            yield Remark(
                (("change", "log_sets_alike"), ("change", "log_sets")),
                "log_sets_alike multiplies what the files count, and nothing says to how many log "
                "sets",
                "Give log_sets, or leave log_sets_alike out.",
            )
        return
    usual = type(change)()
    for attribute in FILE_KEYS:
        field = type(change).model_fields[attribute]
        name = field.alias or attribute
        if getattr(change, attribute) != getattr(usual, attribute):
            yield Remark(
                (("change", name), ("change", "files")),
                f"{name} says how files of the site are read, but there are none",
                f"Leave out {name}, or give files.",
            )


def _empty_windows(organisation: Organisation) -> Iterator[Remark]:
    """24:00 to 00:00 is the same moment; so is each time of day to itself."""
    for index, entry in enumerate(organisation.link.schedule):
        begin_ns, end_ns = entry.from_time_of_day_ns, entry.to_time_of_day_ns
        if begin_ns == end_ns or (begin_ns == DAY_NS and end_ns == 0):
            yield Remark(
                (("link", "schedule", index, "from"), ("link", "schedule", index, "to")),
                "this entry ends when it begins",
                'Give it another end; for a whole day write from = "00:00", to = "24:00".',
            )


def _rates_of_windows(organisation: Organisation) -> Iterator[Remark]:
    """An entry of the schedule has a rate, or what is taken of the line's."""
    for index, entry in enumerate(organisation.link.schedule):
        place = ("link", "schedule", index)
        given = (entry.bits_per_second, entry.taken_bits_per_second)
        if None not in given:
            yield Remark(
                ((*place, "taken"), (*place, "bandwidth")),
                "this entry has a bandwidth, and what is taken of the line's",
                "Leave out one of them: taken stays the same at another line rate, a bandwidth is "
                "in proportion to it.",
            )
        elif given == (None, None):
            yield Remark(
                ((*place, "bandwidth"),),
                "this entry does not say what the line has meanwhile",
                'Write bandwidth = "8Mbit/s", or taken = "12Mbit/s" for what others take of it.',
            )


def _outage_contradictions(organisation: Organisation) -> Iterator[Remark]:
    outages, horizon_ns = organisation.outages, organisation.horizon_ns
    given = outages.lengths_ns if "lengths_ns" in outages.model_fields_set else ()
    for length_ns, place in [
        *((length, ("outages", "lengths")) for length in given),
        (outages.planned_ns, ("outages", "planned")),
    ]:
        if LONGEST_OUTAGE_NS < length_ns <= horizon_ns // 2:
            yield Remark(
                (place,),
                f"a line that is down for {units.spell_duration(length_ns)} is no line",
                f"Write at most {units.spell_duration(LONGEST_OUTAGE_NS)}.",
            )
        if length_ns > horizon_ns // 2:
            yield Remark(
                (place, ("horizon",)),
                f"an outage of {units.spell_duration(length_ns)} is longer than half of the plan, "
                f"which has {units.spell_duration(horizon_ns)}",
                f"Write at most {units.spell_duration(horizon_ns // 2)}, or give the plan a longer "
                "horizon.",
            )
    if outages.p95_ns < outages.median_ns:
        yield Remark(
            (("outages", "p95"), ("outages", "median")),
            "the one of twenty that is longest is not longer than half of them",
            "Give p95 at least the median.",
        )
    for index, event in enumerate(outages.events):
        if event.at.tzinfo is not None:
            yield Remark(
                (("outages", "events", index, "at"),),
                "a plan has the site's own time, without a zone",
                "Write it without Z or an offset.",
            )
