"""Entries of a schedule that have no effect are told, with key and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import simulator.plan.planner
from replicator.command_line import finish
from replicator.errors import BadInput
from simulator import cli
from simulator.plan import organisation, organisation_doubts
from simulator.plan.grid import TimeGrid
from simulator.plan.organisation import check_organisation
from simulator.plan.organisation_curves import link_of
from tests.plan import plans

WEEKEND = """
[[link.schedule]]
from = "00:00"
to = "24:00"
days = "Sat"
bandwidth = "1Mbit/s"
"""
SHADOWED = """
[[link.schedule]]
from = "09:00"
to = "17:00"
days = "Tue"
bandwidth = "3Mbit/s"
"""
AFTER = '[protection]\nkind = "byte level"'


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A plan from Monday on, whose second and third entry of the schedule are in doubt."""
    path = tmp_path / "office.toml"
    text = plans.EXAMPLE.replace(AFTER, WEEKEND + SHADOWED + AFTER, 1)
    assert text != plans.EXAMPLE
    path.write_text(text, encoding="utf-8")
    return path


def told(office: Path, *overrides: str) -> list[str]:
    sets = ["outages.events=[]", 'outages.lengths=["1h"]', *overrides]
    return [str(each) for each in check_organisation(office, sets)[1]]


def line_of(office: Path, text: str, number: int = 1) -> int:
    lines = office.read_text(encoding="utf-8").splitlines()
    return [at for at, line in enumerate(lines, 1) if text in line][number - 1]


def test_a_day_that_the_plan_never_meets(office: Path) -> None:
    usual = office.read_text(encoding="utf-8")
    office.write_text(usual.replace('horizon = "8w"', 'horizon = "3d"'), encoding="utf-8")
    [never] = [each for each in told(office) if "never meets" in each]
    assert never.startswith(f"{office}:{line_of(office, 'Sat')}: link.schedule.1.days: ")
    assert "it has 3d from 2007-01-01 on" in never
    # From Saturday on it is met, as it is within two weeks.
    for override in ("begins=2007-01-06", "horizon=2w"):
        assert not [each for each in told(office, override) if "schedule.1.days" in each]


def test_an_entry_behind_one_that_always_holds_then(office: Path) -> None:
    [shadowed] = told(office, "horizon=2w")
    assert f"{office}:{line_of(office, '3Mbit/s')}" in shadowed
    assert "hold whenever it does: its 3 Mbit/s never count" in shadowed
    # One that reaches beyond the other counts there.
    assert told(office, "horizon=2w", "link.schedule.2.to=19:00") == []
    assert told(office, "horizon=2w", "link.schedule.2.days=Sun") == []


def test_what_is_told_of_changes_nothing_and_all_else_does(office: Path) -> None:
    """Against the capacity itself: without the entry it is the same, bit for bit or not."""
    read, _ = check_organisation(office, ["horizon=2w", "outages.events=[]"])
    grid, link = TimeGrid.of_days(14), link_of(read)
    usual = link.capacity_bytes(grid)
    for number, (_, counts) in enumerate(organisation_doubts.effective_shares(read)):
        others = tuple(each for at, each in enumerate(link.windows) if at != number)
        without = replace(link, windows=others).capacity_bytes(grid)
        assert bool(np.array_equal(without, usual)) == (not counts)


def test_the_command_warns_before_it_plans(
    office: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def planned(*_: object) -> None:
        raise BadInput("planned")

    monkeypatch.setattr(simulator.plan.planner, "make_plan", planned)
    words = ["plan", str(office)]
    for each in ("horizon=2w", "outages.events=[]"):
        words += ["--set", each]
    finish(cli.app, "simulator", words)
    told_of = capsys.readouterr().err
    assert f"warning: {office}:{line_of(office, '3Mbit/s')}: link.schedule.2.bandwidth" in told_of
    assert "what to do: The first entry that fits counts" in told_of
    assert told_of.index("warning: ") < told_of.index("error: planned")
    # The safeguard switched off: it is dead in silence.
    monkeypatch.setattr(organisation, "doubts", lambda _: ())
    finish(cli.app, "simulator", words)
    assert "warning" not in capsys.readouterr().err


# -- outages that overlap, keys without effect ----------------------------------------------------

_EVENT = '[[outages.events]]\nat = {at}\nlength = "{length}"\n'


def events(*given: tuple[str, str]) -> str:
    [before, after] = plans.EXAMPLE.split(_EVENT.format(at="2007-01-17 09:00:00", length="4h"))
    return before + "".join(_EVENT.format(at=at, length=length) for at, length in given) + after


def doubted(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "events.toml"
    path.write_text(text, encoding="utf-8")
    return [str(each) for each in check_organisation(path)[1]]


def test_outages_that_overlap_are_told(tmp_path: Path) -> None:
    first = ("2007-01-17 09:00:00", "4h")
    [remark] = doubted(tmp_path, events(first, ("2007-01-17 10:00:00", "4h")))
    assert "outages.events.1.at" in remark and "before the one of 2007-01-17 09:00" in remark
    assert "ends (2007-01-17 13:00): they count as one" in remark
    assert doubted(tmp_path, events(first, ("2007-01-17 13:00:00", "4h"))) == []
    # The one within another hides no third one, in whatever order they stand.
    inner, third = ("2007-01-17 10:00:00", "1h"), ("2007-01-17 12:00:00", "1h")
    assert len(doubted(tmp_path, events(third, inner, first))) == 2


def test_keys_of_mailboxes_have_no_effect_on_files(tmp_path: Path) -> None:
    (tmp_path / "logs.txt").write_text("", encoding="utf-8")
    text = """name = "site"
[change]
files = ["logs.txt"]
defragmentation = "5%"
mailbox_size = "2GiB"
[link]
bandwidth = "10Mbit/s"
"""
    found = doubted(tmp_path, text)
    assert [each for each in found if "defragmentation is about mailboxes" in each]
    assert [each for each in found if "mailbox_size is about mailboxes" in each]
    assert len(found) == 2


def test_outages_that_fill_the_year_are_told(office: Path, monkeypatch) -> None:
    assert not any("per_year" in each for each in told(office))
    [found] = [each for each in told(office, "outages.per_year=10000") if "per_year" in each]
    assert "10,000 outages a year" in found
    assert "each is drawn alone" in found
    monkeypatch.setattr(organisation_doubts, "MOST_DOWN_SHARE", 1e9)
    assert not any("per_year" in each for each in told(office, "outages.per_year=10000"))


def test_hours_of_a_defragmentation_that_never_runs_are_told(office: Path) -> None:
    hours = "change.defragmentation_hours=22:00-02:00"
    none = "its hours have no effect"
    assert not any(none in each for each in told(office, hours))
    assert any(none in each for each in told(office, hours, "change.defragmentation=0%"))
