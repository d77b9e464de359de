"""The fluid plan against the event simulation: two quick cases, the whole list, and the page."""

from __future__ import annotations

import gc
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import simulator.plan.truth_planned as truth_planned
from simulator.cli import app
from simulator.plan.batches import Batches
from simulator.plan.checkpoints import Checkpoints
from simulator.plan.truth import ALLOWED, compare, row_of, rows_of, truth_frame
from simulator.plan.truth_cases import CASES, EXCERPT, TruthCase, writes_of_trace
from simulator.plan.truth_page import page
from simulator.plan.truth_planned import plan, reconnect_seconds
from simulator.run import ScenarioRun

PAGE = Path(__file__).parents[2] / "docs/plan-truth.md"


def quick(**changes: object) -> TruthCase:
    """A day of some hundred writes; each its own rate, so that times fall anywhere."""
    shares = (0.4, 0.7, 1.6, 0.9)
    source = tuple(150_000.0 * share for share in shares)
    return replace(CASES["steady"], name="quick", source=source, disk_bytes=4 << 20, **changes)


def test_the_excerpt_of_a_recorded_trace_holds() -> None:
    case = CASES["bursty trace"]
    assert len(case.starts_seconds) == 6
    rows, simulated = compare(replace(case, starts_seconds=case.starts_seconds[::5]))
    assert len(simulated) == 2
    assert all(each.operations > 3_500 for each in simulated)
    assert [row.figure for row in rows] == list(ALLOWED)
    assert all(row.holds for row in rows), rows
    peaks = {float(each.spool_bytes.max()) for each in simulated}
    assert len(peaks) > 1, "its starts make a difference"


def test_nothing_of_a_run_is_kept_when_it_was_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_left() -> int:
        return sum(isinstance(each, ScenarioRun) for each in gc.get_objects())

    collects = gc.isenabled()
    gc.collect()
    there = runs_left()
    gc.disable()
    try:
        compare(quick())
        assert runs_left() == there
        with monkeypatch.context() as patch:
            patch.setattr(gc, "collect", lambda *_: 0)
            compare(quick())
        assert runs_left() > there, "it is a ring: nothing but a collection ends it"
    finally:
        gc.collect()
        if collects:
            gc.enable()


OUTAGE = ((150.0, 60.0),)


def test_an_outage_in_a_rising_day_holds_and_each_part_of_the_model_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = quick(outages=OUTAGE)
    rows, simulated = compare(case)
    assert all(row.holds for row in rows), rows

    def differing() -> set[str]:
        planned = [plan(case, simulated[0])]
        return {row.figure for row in rows_of(case, planned, simulated) if not row.holds}

    assert differing() == set()
    with monkeypatch.context() as patch:  # no outage
        patch.setattr(truth_planned, "without", lambda capacity, grid, outages: capacity)
        assert {"spool peak", "95 % lag"} <= differing()
    with monkeypatch.context() as patch:  # what is durable is forgotten at once
        patch.setattr(Checkpoints, "released", lambda self, durable, step, down: durable)
        assert "spool peak" in differing()


def test_the_base_delay_of_an_even_load_holds_and_needs_the_sync_of_the_journal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = replace(quick(), source=(300_000.0,) * 3)
    rows, simulated = compare(case)
    assert all(row.holds for row in rows), rows
    monkeypatch.setattr(truth_planned, "_sync_seconds", lambda disk, size, stretches=1: 0.0)
    differing = [
        row for row in rows_of(case, [plan(case, simulated[0])], simulated) if not row.holds
    ]
    assert [row.figure for row in differing] == ["median lag"]


def test_a_difference_above_what_is_allowed_does_not_hold() -> None:
    assert row_of("c", "s", "f", 104.9, 100.0, 0.05).holds
    assert not row_of("c", "s", "f", 105.1, 100.0, 0.05).holds
    assert not row_of("c", "s", "f", 94.9, 100.0, 0.05).holds
    nothing = row_of("c", "s", "f", 0.0, 0.0, 0.05)
    assert (nothing.difference, nothing.holds) == (0.0, True)
    something = row_of("c", "s", "f", 1.0, 0.0, 0.05)
    assert (something.difference, something.holds) == (None, False)
    table = truth_frame([nothing, something])
    assert list(table.columns) == [
        "case",
        "system",
        "figure",
        "fluid",
        "simulated",
        "difference",
        "allowed",
        "holds",
    ]
    assert table["difference"].tolist() == [0.0, None]


def test_the_page_tells_what_does_not_hold() -> None:
    rows = [row_of("steady", "byte level", "spool peak", 2e6, 1e6, 0.05)]
    text = page([(CASES["steady"], rows, 12)])
    row = "| steady | byte level | spool peak | 2.00 MB | 1.00 MB | +100.0% | does not hold |"
    assert row in text


def test_the_page_has_each_case_and_all_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = re.findall(
        r"^\| ([^|]+) \| (byte level|log shipping) \| ([^|]+) "
        r"\| [\d.,]+ M?[Bs] \| [\d.,]+ M?[Bs] "
        r"\| ([+-][\d.]+)% \| (.+) \|$",
        text,
        flags=re.M,
    )
    wanted = [(c.name, c.system, name) for c in CASES.values() for name in ALLOWED]
    assert [row[:3] for row in table] == wanted
    for _case, _system, figure, difference, holds in table:
        assert holds == "yes"
        assert abs(float(difference)) <= 100 * ALLOWED[figure]
    # What stands around the table is the template's: made anew without rows it is the same.
    anew = page([(case, [], 0) for case in CASES.values()])
    around = [line for line in anew.splitlines() if line and not line.startswith("|")]
    assert [line for line in text.splitlines() if line and not line.startswith("|")] == around


def test_both_systems_and_every_kind_of_input_are_among_the_cases() -> None:
    assert len(CASES) >= 10
    assert {case.system for case in CASES.values()} == {"byte level", "log shipping"}
    assert EXCERPT.is_file()
    writes = writes_of_trace(EXCERPT)
    assert len(writes.at_seconds) == 3_592
    assert (np.diff(writes.at_seconds) >= 0).all()


@pytest.mark.parametrize(
    ("outage", "wait"), [(3.0, 0.0), (5.0, 2.0), (6.5, 0.5), (8.0, 0.0), (12.0, 2.0), (13.0, 1.0)]
)
def test_after_an_outage_the_pending_attempt_or_the_next_one(outage: float, wait: float) -> None:
    assert reconnect_seconds(outage, 5.0, 2.0) == pytest.approx(wait)


def test_checkpoints_release_by_time_by_amount_and_not_into_an_outage() -> None:
    durable = np.arange(1.0, 101.0) * 10
    up = np.zeros(100, dtype=bool)
    by_time = Checkpoints(interval_seconds=30.0).released(durable, 1.0, up)
    assert set(np.diff(np.flatnonzero(np.diff(by_time)))) == {30}
    by_amount = Checkpoints(amount_bytes=50.0).released(durable, 1.0, up)
    assert (durable - by_amount).max() == 40.0
    down = (np.arange(100) >= 40) & (np.arange(100) < 70)
    frozen = Checkpoints(amount_bytes=50.0).released(np.minimum(durable, 400.0), 1.0, down)
    assert len(set(frozen[40:70])) == 1
    with pytest.raises(ValueError, match="interval or an amount"):
        Checkpoints()
    with pytest.raises(ValueError, match="negative"):
        Checkpoints(interval_seconds=-1.0)


def test_batches_are_single_writes_until_something_waits() -> None:
    idle = np.repeat(np.arange(1.0, 6.0) * 100, 10)
    batches = Batches(300.0, 100.0)
    assert batches.ends(idle, idle).tolist() == [100.0, 200.0, 300.0, 400.0, 500.0]
    at_once = np.full(50, 1_000.0)
    at_once[:10] = np.arange(1.0, 11.0) * 100
    slow = np.minimum(np.arange(1.0, 51.0) * 20, 1_000.0)
    ends = batches.ends(at_once, slow)
    assert ends[-1] == 1_000.0
    assert np.diff(ends).max() == 300.0
    assert (batches.arrived(at_once, slow) <= slow + 0.5).all()
    large = np.array([1_000.0])
    assert batches.ends(large, large).tolist() == [1_000.0]
    with pytest.raises(ValueError, match="bytes"):
        Batches(0.0)


def test_the_command_writes_its_rows_and_fails_when_one_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "truth.json"
    lines = ["version,time,op,size,lbn", "1,0,28,512,0"]
    lines += [f"1,{at * 730_000},2a,65536,{at % 64 * 128}" for at in range(1, 60)]
    trace = tmp_path / "disk.csv"
    trace.write_text("\n".join([*lines, ""]), encoding="utf-8")
    arguments = ["plan-truth", "--trace", str(trace), "--json", str(target)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    document = json.loads(target.read_text(encoding="utf-8"))
    assert document["schema"] == "simulator-plan-truth/1"
    assert [row["figure"] for row in document["rows"]] == list(ALLOWED)
    monkeypatch.setattr(Checkpoints, "released", lambda self, durable, step, down: durable)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "spool peak  fluid" in done.output
    assert "DIFFERS by more than 5%" in done.output


def test_the_command_refuses_what_is_not_there(tmp_path: Path) -> None:
    for arguments, told in (
        (["--case", "nonsense"], "there is no case 'nonsense'"),
        (["--trace", str(tmp_path / "none.csv")], "there is no such trace"),
    ):
        done = CliRunner().invoke(app, ["plan-truth", *arguments])
        assert done.exit_code != 0
        assert told in done.output + str(done.exception)


@pytest.mark.full
@pytest.mark.parametrize("name", list(CASES))
def test_every_case_holds(name: str) -> None:
    rows, _simulated = compare(CASES[name])
    assert all(row.holds for row in rows), rows
