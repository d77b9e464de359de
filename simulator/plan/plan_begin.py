"""When a plan begins, and whether its dates lie within it.  The one place that decides it.

Theory
------
A plan of mailboxes begins on its ``begins``.  Files of a site have dates of their own, so there
are two ways.

* ``begins`` is given: the plan begins there, and what the files count is laid onto its dates,
  weekday to weekday (:func:`~simulator.plan.site_weeks.extended`).
* It is not given: the plan begins where the files do.  That is known when they are read, not
  before: :func:`begun` puts it into the organisation, so that the first copy, outages at dates and
  line rates count from there, as the curve does.

Dates of outages and of the first copy have to lie within the plan.  They are held against it when
its begin is known: as the organisation is read, or in :func:`begun`.  None is dropped.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from replicator import units
from replicator.errors import BadInput
from replicator.toml_errors import Remark
from replicator.toml_text import dotted

if TYPE_CHECKING:
    from simulator.plan.organisation import Organisation, OutageEvent

FIRST_YEAR, LAST_YEAR = 1990, 2200
"""When a plan may begin; so that every day of it has a date."""
_MIDNIGHT: Final = datetime.time()


def begins_with_its_files(organisation: Organisation) -> bool:
    """Whether the plan begins where the files of the site do, which only they can tell."""
    return bool(organisation.change.files) and "begins" not in organisation.model_fields_set


def begun(organisation: Organisation, begins_at: datetime.datetime) -> Organisation:
    """The organisation with the begin that its files told.

    Arguments
    ---------
    begins_at: local time of the begin of its curve.

    Raises BadInput for an outage or a first copy whose date is not within the plan then.
    """
    if not begins_with_its_files(organisation):
        return organisation
    known = organisation.model_copy(update={"begins": begins_at})
    for remark in dates_outside(known):
        raise BadInput(
            f"{dotted(remark.keys[0])}: {remark.message}; it begins where its files do",
            path=organisation.name,
            remedy=f"{remark.remedy} A plan that is given its begins has what the files count laid "
            "onto its own dates.",
        )
    return known


def dates_outside(organisation: Organisation) -> Iterator[Remark]:
    """Outages and a first copy that are not within a plan whose begin is known."""
    if begins_with_its_files(organisation):
        return
    if not FIRST_YEAR <= organisation.begins.year <= LAST_YEAR:
        yield Remark(
            (("begins",),),
            f"no plan begins in the year {organisation.begins.year}",
            f"Give a year from {FIRST_YEAR} to {LAST_YEAR}.",
        )
        return
    for index, event in enumerate(organisation.outages.events):
        if event.at.tzinfo is None:
            yield from _outside(organisation, index, event)
    yield from _late_copy(organisation)


def _ends_at(organisation: Organisation) -> datetime.datetime:
    return organisation.begins_at + datetime.timedelta(microseconds=organisation.horizon_ns / 1_000)


def _told(begin: datetime.datetime) -> str:
    """The begin of a plan: of one that begins at midnight, the day alone."""
    return f"{begin:%Y-%m-%d}" if begin.time() == _MIDNIGHT else f"{begin:%Y-%m-%d %H:%M}"


def _outside(organisation: Organisation, index: int, event: OutageEvent) -> Iterator[Remark]:
    begin, last = organisation.begins_at, _ends_at(organisation)
    horizon_ns = organisation.horizon_ns
    at_ns = int((event.at - begin).total_seconds()) * units.NS_PER_SECOND
    ends_at_ns = at_ns + event.length_ns
    of_event = ("outages", "events", index, "at")
    if at_ns < 0 or at_ns >= horizon_ns:
        yield Remark(
            (of_event, ("horizon",)),
            f"the outage of {event.at:%Y-%m-%d %H:%M} is not within the plan, which goes from "
            f"{_told(begin)} to {last:%Y-%m-%d %H:%M}",
            "Change its date, or begins and horizon of the plan.",
        )
    elif ends_at_ns > horizon_ns:
        ends = f"{units.spell_duration(ends_at_ns - horizon_ns)} after"
        yield Remark(
            (of_event, ("horizon",)),
            f"the outage of {event.at:%Y-%m-%d %H:%M} lasts "
            f"{units.spell_duration(event.length_ns)} and ends {ends} the plan, which goes to "
            f"{last:%Y-%m-%d %H:%M}",
            "Make it shorter or earlier, or give the plan a longer horizon.",
        )


def _late_copy(organisation: Organisation) -> Iterator[Remark]:
    """A first copy that does not begin within the plan."""
    begin, end = organisation.begins_at, _ends_at(organisation)
    copy = organisation.first_copy_begins_at
    if not begin <= copy < end:
        yield Remark(
            (("first_copy", "begins"), ("begins",), ("horizon",)),
            f"the first copy of {copy:%Y-%m-%d %H:%M} does not begin within the plan, which goes "
            f"from {_told(begin)} to {end:%Y-%m-%d %H:%M}",
            "Give it another date, or change begins and horizon of the plan.",
        )
