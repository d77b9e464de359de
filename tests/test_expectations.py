"""The table of faults by invariants: complete, in the docs, and what drives a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from simulator.expectations import (
    ANOTHERS,
    CIRCUMSTANCES,
    DURABLE,
    INVARIANTS,
    MOUNTABLE,
    NAMED,
    OWN_DISK,
    PREFIX,
    ROT_ALONE,
    ROWS,
    UNVERIFIED,
    USABLE,
    Expectation,
    Expectations,
    row_of,
)
from simulator.expectations import ROTTEN as NEEDED_ROT
from simulator.expectations_page import with_table
from simulator.measures import Check, FaultMark, RunResult, Verdict
from simulator.objectives import settle_verdict
from simulator.scenario import Fault, parse_scenario
from simulator.scenario_faults import RottenPlace
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.test_faults import TEXT, fault
from tests.test_run import BASE

ROOT = Path(__file__).resolve().parents[1]
KINDS = {model.model_fields["kind"].annotation for model in get_args(get_args(Fault)[0])}
NAMES = sorted(get_args(kind)[0] for kind in KINDS)


def faults(text: str) -> tuple[Fault, ...]:
    return parse_scenario(TEXT + text).faults


ROT = fault("bit_rot", 10, REPLICA, where="home")
LIE = fault("lost_flush", 20, REPLICA, duration="5s")


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs/invariants.md").read_text(encoding="utf-8")
    assert page == with_table(page), "renew it: .venv/bin/python -m simulator.expectations_page"
    assert page.count("| misdirected write (replica) |") == 1


def test_every_fault_has_its_row() -> None:
    assert {row.kind for row in ROWS} == set(NAMES)
    assert len({(row.kind, row.of) for row in ROWS}) == len(ROWS)
    places = {row.of for row in ROWS if row.kind == "bit_rot"}
    assert places == set(get_args(RottenPlace))
    for row in ROWS:
        if row.of in (SOURCE, REPLICA):
            hosts = {each.of for each in ROWS if each.kind == row.kind}
            assert hosts == {SOURCE, REPLICA}, row.kind


def test_each_weaker_cell_has_its_reason_and_each_row_its_tests() -> None:
    for row in ROWS:
        assert set(row.weaker) <= set(INVARIANTS), row.words
        assert row.shown_by, row.words
        for name in row.shown_by:
            assert (ROOT / "tests" / f"{name}.py").is_file(), name
        for cell in row.weaker.values():
            assert cell.expectation is not Expectation.HOLDS
            assert set(cell.given) <= set(CIRCUMSTANCES)
            assert len(cell.why.split()) > 4 and not cell.why.endswith(".")


def test_a_row_is_found_by_place_before_host() -> None:
    [rot, lie] = faults(ROT + LIE)
    assert (row_of(rot).of, row_of(lie).of) == ("home", REPLICA)
    [pause] = faults(fault("pause", 1, SOURCE, duration="1s"))
    assert row_of(pause).of == ""


def test_the_weakest_cell_counts_from_when_it_happened() -> None:
    rotten = FaultMark("bit_rot", REPLICA, 10, 10, "home: /f at byte 3")
    marks = [rotten, FaultMark("lost_flush", REPLICA, 20, 25)]
    both = Expectations(faults(ROT + LIE), marks)

    def at(seconds: float) -> list[Expectation]:
        return [both.cell(name, seconds, [ROT_ALONE]).expectation for name in INVARIANTS[:3]]

    holds, detected, design = Expectation
    assert at(9) == [holds, holds, holds]
    assert at(15) == [design, holds, design]
    assert at(22) == [design, detected, design]
    assert at(26) == [design, holds, design], "the lie is over"
    assert both.cell(PREFIX, 15).expectation is holds, "what else is wrong is not the rot's"
    assert both.cell(DURABLE, 26, [NAMED]).expectation is detected
    assert both.cell(DURABLE, 26, [UNVERIFIED]).expectation is holds
    never = Expectations(faults(ROT + LIE), marks[:1])
    assert never.cell(INVARIANTS[1], 22).expectation is holds


@pytest.mark.parametrize("where", ["journal", "checkpoint", "staging"])
def test_damage_that_is_named_is_believed_only_where_rot_is_its_reason(where: str) -> None:
    rotten = FaultMark("bit_rot", REPLICA, 10, 10, f"{where}: /f at byte 3")
    found = Expectations(faults(fault("bit_rot", 10, REPLICA, where=where)), [rotten])
    for name in (DURABLE, MOUNTABLE):
        assert found.cell(name, 15).expectation is Expectation.HOLDS
        assert found.cell(name, 15, [NAMED, ROT_ALONE]).expectation is Expectation.HOLDS
        assert found.cell(name, 15, [NEEDED_ROT]).expectation > Expectation.HOLDS
        assert found.cell(name, 9, [NEEDED_ROT]).expectation is Expectation.HOLDS, "not yet"


def test_a_second_source_excuses_only_what_is_another_s() -> None:
    mark = FaultMark("second_source", REPLICA, 10, 12)
    found = Expectations(faults(fault("second_source", 10, duration="2s")), [mark])
    for name in (PREFIX, DURABLE, MOUNTABLE, USABLE):
        assert found.cell(name, 11).expectation is Expectation.HOLDS
        assert found.cell(name, 15, [ANOTHERS]).expectation is Expectation.BY_DESIGN


def test_what_has_befallen_one_host_excuses_nothing_at_the_other() -> None:
    both = faults(LIE + LIE.replace(REPLICA, SOURCE))
    at_the_source = Expectations(both, [FaultMark("lost_flush", SOURCE, 20, 25)])
    for circumstances in ([], [NAMED], [UNVERIFIED]):
        cell = at_the_source.cell(DURABLE, 22, circumstances)
        assert cell.expectation is Expectation.HOLDS
    assert at_the_source.cell(DURABLE, 22, [OWN_DISK]).expectation is Expectation.BY_DESIGN


# -- verdicts ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound() -> RunResult:
    from simulator.run import ScenarioRun

    text = BASE.replace('duration = "60s"', 'duration = "5s"')
    result = ScenarioRun(parse_scenario(text)).run()
    assert result.verdict is Verdict.PASS
    return result


def settled(sound: RunResult, check: Check, text: str, *marks: FaultMark) -> RunResult:
    result = replace(sound, checks=[*sound.checks, check], reasons=[])
    settle_verdict(result, [], Expectations(faults(text), marks))
    return result


ROTTEN = FaultMark("bit_rot", REPLICA, 10, 10, "home: /f at byte 3")
LIED = FaultMark("lost_flush", REPLICA, 20, 25)


def test_what_has_to_hold_and_does_not_is_a_breach(sound: RunResult) -> None:
    for name in ("prefix", "durable means durable", "mountable", "capture is complete"):
        result = settled(sound, Check(name, 9, "now", False, "wrong"), ROT + LIE, ROTTEN, LIED)
        assert result.verdict is Verdict.SAFETY, name


def test_what_cannot_be_kept_is_unrecoverable_and_named(sound: RunResult) -> None:
    check = Check("prefix", 11, "now", False, "the image is wrong", [ROT_ALONE])
    result = settled(sound, check, ROT, ROTTEN)
    assert result.verdict is Verdict.UNRECOVERABLE
    [reason] = result.reasons
    assert "the image is wrong" in reason and "until a comparison reads them" in reason
    assert not result.checks[-1].holds
    more = replace(check, circumstances=[])
    assert settled(sound, more, ROT, ROTTEN).verdict is Verdict.SAFETY, "more than the rot is wrong"


def test_less_than_promised_is_excused_where_it_is_named(sound: RunResult) -> None:
    check = Check("durable means durable", 22, "now", False, "operation 5 was acknowledged")
    result = settled(sound, check, LIE, LIED)
    assert result.verdict is Verdict.PASS and result.reasons == []
    assert result.checks[-1].holds and result.checks[-1].detail.startswith("named: operation 5")
    assert settled(sound, check, LIE).verdict is Verdict.SAFETY, "it never happened"


def test_what_is_silently_wrong_is_a_breach_even_where_damage_is_expected(
    sound: RunResult,
) -> None:
    check = Check("prefix", 22, "now", False, "the image is wrong")
    assert settled(sound, check, LIE, LIED).verdict is Verdict.SAFETY
