"""What a plan takes by default, key by key: the list "What was assumed" of its report.

Theory
------
A figure that nobody gave is the one to doubt first, so none may be silent.  The list is made of the
declarations of the keys themselves (:mod:`.organisation`): each key that moves a figure and that
the file does not give, with its default and its meaning, marked where no source was found ([A]
assumed, [M] from memory, [V] a vendor's rule).  So a new key cannot be forgotten in it; what is no
figure, or is told elsewhere, is left out by name (:data:`_NO_FIGURES`).  Defaults that have no key
come from the modules that hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel

from simulator.exchange.mail_plan import NS_PER_SECOND
from simulator.exchange.profiles import select_profile
from simulator.plan.grid import DAY_SECONDS
from simulator.plan.mail_change import (
    ASSUMED_MAILBOX_BYTES,
    usual_rewritten_hours_ns,
    usual_rewritten_share,
)
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_keys import spell_hours
from simulator.plan.plan_units import format_share, format_volume

_TABLES: Final = (
    "change",
    "link",
    "protection",
    "outages",
    "first_copy",
    "failover",
    "objectives",
)
_NO_FIGURES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        # How files are read says each file's own remark.
        "change": frozenset({"day_order", "decimal_mark", "bridge_gaps", "log_sets_alike"}),
        "protection": frozenset({"full_backup"}),
        "outages": frozenset({"lengths_ns"}),
    }
)
_OF_FILES: Final = frozenset({"most_missing_share", "most_disordered_share", "least_measured_ns"})
_OF_MAILBOXES: Final = frozenset({"coalesced"})
_LEAST_DAYS_OF_GROWTH: Final = 180.0
"""In a shorter plan a growth by the year counts for less than half of it [A]."""
_LITTLE_GROWTH: Final = 0.05
"""Over a whole plan: less is little beside what is assumed [A]."""
_YEAR_DAYS: Final = 365.25


def assumed_defaults(organisation: Organisation) -> list[str]:
    """A line for each key that the plan took by default and that moves a figure:
    ``protection.saving = 30 %: Of the bytes, by compression [M].``"""
    lines = []
    for name in _TABLES:
        table: BaseModel = getattr(organisation, name)
        for attribute, field in type(table).model_fields.items():
            if attribute in table.model_fields_set or field.default in (None, (), ""):
                continue
            if attribute in _NO_FIGURES.get(name, ()) or _has_no_part(organisation, attribute):
                continue
            key = field.alias or attribute
            lines.append(f"{name}.{key} = {_spelled(field.default)}: {field.description}")
    return [f"by default, {line}" for line in [*lines, *_from_tables(organisation)]]


def _has_no_part(organisation: Organisation, attribute: str) -> bool:
    """Whether a key is of the other way to say what is written."""
    return attribute in (_OF_MAILBOXES if organisation.change.files else _OF_FILES)


def _spelled(default: Any) -> str:
    if isinstance(default, float) and 0 <= default <= 1:
        return format_share(default)
    if isinstance(default, float):
        return f"{default:g}"
    return str(default)


def _from_tables(organisation: Organisation) -> Iterator[str]:
    """What is taken from a version's or this program's own tables."""
    if organisation.first_copy.begins is None:
        begins = organisation.first_copy_begins_at
        yield f"first_copy.begins = {begins:%a %Y-%m-%d %H:%M}: When the plan begins [A]."
    change = organisation.change
    if change.files:
        return
    if change.hours is None:
        yield "the rhythm of a working day is that of office hours [A] (change.hours takes yours)"
    if change.mailbox_bytes is None:
        yield from _mailbox_sizes(organisation)
    version = organisation.mailboxes[0].version
    share = usual_rewritten_share(version) if change.rewritten is None else change.rewritten
    if share > 0 and change.rewritten is None:
        yield (
            f"change.defragmentation = {format_share(share)}: Of the stored pages, rewritten by "
            "each night's pass [A]."
        )
    if share > 0 and change.rewritten_hours_ns is None:
        hours_ns = usual_rewritten_hours_ns(version)
        mark = "[T]" if version == "2003" else "[A], a rule told of 2003 [T]"
        yield (
            f"change.defragmentation_hours = {spell_hours(hours_ns)}: When a night's pass writes, "
            "evenly [A]: from 15 minutes before the maintenance window ends until an hour after it "
            f"{mark}."
        )


def _mailbox_sizes(organisation: Organisation) -> Iterator[str]:
    """Of each profile the size of a mailbox, and of the databases that it makes."""
    counts: dict[str, int] = {}
    for group in organisation.mailboxes:
        counts[group.profile] = counts.get(group.profile, 0) + group.count
    version = organisation.mailboxes[0].version
    for name, count in counts.items():
        profile = select_profile(version, name)
        known = profile.mailbox_bytes
        size = ASSUMED_MAILBOX_BYTES[profile.version] if known is None else known.value
        origin = "[A]" if known is None else f"[{known.mark}]"
        makes = (
            f"{count:,} make databases of {format_volume(count * size)}"
            if organisation.change.database_bytes is None
            else f"{count:,} have {format_volume(count * size)}, of which a night's pass rewrites"
        )
        yield (
            f"change.mailbox_size = {format_volume(size)} {origin}: Mean size of a {name} mailbox "
            f"of Exchange {version}; {makes}."
        )


def growth_remarks(organisation: Organisation) -> tuple[str, ...]:
    """What a growth by the year does in this plan, and what it leaves as it is."""
    growth = organisation.change.growth_per_year
    if not growth:
        return ()
    plan_days = organisation.horizon_ns / NS_PER_SECOND / DAY_SECONDS
    last = (1.0 + growth) ** (plan_days / _YEAR_DAYS) - 1.0
    told = (
        f"{format_share(growth)} growth a year: the last day of {plan_days:.3g} days has "
        f"{format_share(last)} more than the first"
        if growth > 0
        else f"{format_share(growth)} growth a year: the last day of {plan_days:.3g} days has "
        f"{format_share(-last)} less than the first"
    )
    if plan_days < _LEAST_DAYS_OF_GROWTH and abs(last) < _LITTLE_GROWTH:
        told += "; that hardly counts: to see it, give a horizon of years, such as 156w"
    size = "the databases do not grow: a first copy and a comparison are of their size at the begin"
    return (told, size)
