"""Plans that the tests of records and reports share: made once for each process."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from simulator.plan.organisation import parse_organisation
from simulator.plan.plan_answer import Topic
from simulator.plan.planner import Plan, make_plan

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "scenarios/plans/head-office.toml").read_text(encoding="utf-8")
BARE = EXAMPLE.replace('spool = "60GB"\nlog_volume = "200GB"\n', "")
"""The example without the volumes that it gives."""
QUICK = ("horizon=2w", "draws=100", 'outages.lengths=["1h"]', "outages.events=[]")
"""Little enough to be planned in about a second."""


@cache
def plan(*overrides: str) -> Plan:
    """The example's plan with some keys changed."""
    return make_plan(parse_organisation(EXAMPLE, [*QUICK, *overrides]))


@cache
def bare(*overrides: str) -> Plan:
    """As :func:`plan`, of an organisation that gives no volumes."""
    return make_plan(parse_organisation(BARE, [*QUICK, *overrides]))


def never() -> Plan:
    """A plan whose line never catches up."""
    return plan("link.bandwidth=3Mbit/s", "link.schedule=[]")


def open_end() -> Plan:
    """A plan whose line carries all, but is never done with the planned outage."""
    return bare("link.bandwidth=5.62Mbit/s", "link.schedule=[]")


def nightly() -> Plan:
    """A plan without a spool."""
    return plan("protection.kind=nightly backup")


def sound() -> Plan:
    """A plan that holds."""
    return plan("link.bandwidth=200Mbit/s", "protection.spool=200GB", "link.schedule=[]")


def told(sentence: str) -> list[Topic]:
    """An answer of one sentence."""
    return [Topic("Spool", (sentence,))]


def replaced(given: Plan, **changes: object) -> Plan:
    """A plan with some attributes changed, nothing else made anew."""
    return replace(given, **changes)


def hostile(name: str) -> Plan:
    """A plan whose texts want to be markup, a formula, or to steer a terminal."""
    given = plan()
    organisation = given.organisation.model_copy(update={"name": name, "description": name})
    change = replace(given.change, origin=name, remarks=(name,))
    return replace(given, organisation=organisation, change=change)
