"""Coverage and marks: found by a definition of their own, kept, shown, demanded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.protocol import TRANSITIONS, FrameType, Role, Session, State
from replicator.toml_writer import toml_text
from simulator.campaign.coverage import (
    NO_FAULT,
    TRANSITION_NAMES,
    aftermath_ns,
    cell_text,
    coverage_of,
    kind_of,
    parse_cell,
    watching,
)
from simulator.campaign.job import plan_number, run_plan
from simulator.campaign.marks import MARK_NAMES
from simulator.measures import FaultMark
from simulator.plans.draw import draw_plan
from simulator.plans.plan import parse_plan, planned
from simulator.prepared import prepare
from simulator.run import ScenarioRun
from simulator.scenario import load_scenario, parse_scenario
from tests.campaign.commands import TINY, run
from tests.campaign.test_plans import SCENARIO, SPACE

SMALL = load_scenario(TINY)


def faults(*tables: str) -> str:
    return "format = 1\n" + "\n".join(f"[[faults]]\n{table}\n" for table in tables)


def covered(text: str) -> dict[str, set[str]]:
    """By kind of fault, the names of what a run under a plan of the small scenario took."""
    outcome = run_plan(prepare(SMALL), parse_plan(text, SMALL), 0, False)
    return {
        kind: {name for number, name in enumerate(TRANSITION_NAMES) if bits >> number & 1}
        for kind, bits in parse_cell(outcome.covered).items()
    }


def test_a_watched_run_has_the_trace_of_one_that_nobody_watches() -> None:
    prepared = prepare(SCENARIO)
    for number in range(8):
        plan = plan_number(3, number, SPACE)
        watched = run_plan(prepared, plan, number, False)
        assert watched.covered
        assert ScenarioRun(planned(SCENARIO, plan)).run().trace_hash == watched.trace_hash


def test_nobody_watches_afterwards_whatever_happens() -> None:
    with pytest.raises(KeyError), watching() as watch:
        watch.attach(ScenarioRun(SMALL))
        assert Session.watch is not None
        raise KeyError
    assert Session.watch is None


def test_coverage_is_what_its_definition_says() -> None:
    """The definition written down a second time: each transition held against each fault."""
    for number in range(12):
        scenario = planned(SMALL, draw_plan(f"definition {number}", SPACE))
        scenario = scenario.model_copy(update={"duration_ns": 4_000_000_000})
        run = ScenarioRun(scenario)
        taken: list[tuple[int, tuple[State, Role, FrameType]]] = []
        with watching() as watch:
            watch.attach(run)
            inner = Session.watch
            assert inner is not None

            def both(key: Any, inner: Any = inner, run: Any = run, taken: Any = taken) -> None:
                taken.append((run.world.clock.now(), key))
                inner(key)

            Session.watch = both
            result = run.run()
        expected: dict[str, set[int]] = {}
        order = list(TRANSITIONS)
        for at_ns, key in taken:
            kinds = {
                kind_of(mark)
                for mark in result.faults
                if round(mark.start_seconds * 1e9) <= at_ns
                and (
                    mark.end_seconds is None
                    or at_ns <= round(mark.end_seconds * 1e9) + aftermath_ns(scenario)
                )
            }
            for kind in kinds or {NO_FAULT}:
                expected.setdefault(kind, set()).add(order.index(key))
        assert watch.recorder is not None
        assert watch.recorder.covered() == {
            kind: sum(1 << number for number in numbers) for kind, numbers in expected.items()
        }


def test_what_a_reset_leads_to_counts_under_it_and_what_was_before_does_not() -> None:
    found = covered(faults('kind = "link_reset"\nat = "500ms"'))
    assert {"open: source sends HELLO", "deciding: source sends RESUME"} <= found["link_reset"]
    assert "deciding: source sends SYNC_BEGIN" in found[NO_FAULT] - found["link_reset"]
    assert set(covered("format = 1\n")) == {NO_FAULT}


def test_a_power_loss_within_an_activity_is_a_kind_of_its_own() -> None:
    found = covered(faults('kind = "power_loss"\nat = "300ms"\nhost = "replica"\nwhen = "apply"'))
    assert "power_loss_within" in found and "power_loss" not in found


@pytest.mark.parametrize(
    ("kind", "note", "counted"),
    [
        ("power_loss", "", "power_loss"),
        ("power_loss", "in checkpoint", "power_loss_within"),
        ("power_loss", "in storage call 17", "power_loss_in_a_call"),
        ("process_crash", "in storage call 17", "process_crash_within"),
        ("process_crash", "sender gave up after a sync that failed", "process_crash"),
    ],
)
def test_kinds_are_those_that_plans_are_drawn_from(kind: str, note: str, counted: str) -> None:
    assert kind_of(FaultMark(kind, "replica", 0.0, 1.0, note)) == counted


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["none", "pause", "link_reset"]),
            st.integers(1, (1 << len(TRANSITIONS)) - 1),
            max_size=3,
        ),
        max_size=6,
    )
)
def test_coverage_of_many_runs_counts_each(cells: list[dict[str, int]]) -> None:
    texts = [cell_text(cell) for cell in cells]
    assert [parse_cell(text) for text in texts] == cells
    found = coverage_of(texts)
    assert found.plans == len(cells)
    for kind in ("none", "pause", "link_reset"):
        for number in range(len(TRANSITIONS)):
            counted = found.counts.get(kind, [0] * len(TRANSITIONS))[number]
            assert counted == sum(cell.get(kind, 0) >> number & 1 for cell in cells)
        missing = {TRANSITION_NAMES[number] for number in found.missing(kind)}
        assert not missing & set(found.never)


# -- marks -------------------------------------------------------------------------------


MARKED = {
    "resynchronized": ('kind = "power_loss"\nat = "500ms"\nhost = "source"',),
    "replica_recovered": ('kind = "process_crash"\nat = "500ms"\nhost = "replica"',),
    "history_continued": ('kind = "process_crash"\nat = "500ms"\nhost = "source"',),
    "reconnected": ('kind = "link_reset"\nat = "500ms"',),
    "taken_over": ('kind = "loss"\nat = "500ms"\nhost = "source"',),
    "died_of_failed_sync": ('kind = "sync_failure"\nat = "300ms"\nhost = "replica"\ncount = 5',),
    "power_loss_in_apply": ('kind = "power_loss"\nat = "300ms"\nhost = "replica"\nwhen = "apply"',),
    "stall_was_told": ('kind = "disk_full"\nat = "625ms"\nhost = "replica"\nduration = "125ms"',),
    "checkpoint_fallback": (
        'kind = "bit_rot"\nat = "600ms"\nhost = "replica"\nwhere = "checkpoint"',
        'kind = "process_crash"\nat = "601ms"\nhost = "replica"',
    ),
}


def reached(*tables: str) -> tuple[str, ...]:
    return run_plan(prepare(SMALL), parse_plan(faults(*tables), SMALL), 0, False).marks


@pytest.mark.parametrize("mark", list(MARKED))
def test_a_mark_is_reached_by_what_leads_to_it_and_not_without(mark: str) -> None:
    assert mark in MARK_NAMES
    assert mark in reached(*MARKED[mark])
    assert mark not in reached()


def test_a_spool_that_is_full_leaves_the_mark_of_its_policy() -> None:
    plan = faults('kind = "link_outage"\nat = "100ms"\nduration = "2s"')
    marks = {}
    for policy in ("resynchronize", "hold"):
        text = TINY.read_text()
        for before, after in (
            ('"640KiB"', f'"1100KiB"\nspool_full = "{policy}"'),
            ('"4/s"', '"30/s"'),
            ('"4KiB"', '"8KiB"'),
            ('"2MiB"', '"8MiB"'),
        ):
            assert before in text
            text = text.replace(before, after)
        busy = parse_scenario(text)
        marks[policy] = set(run_plan(prepare(busy), parse_plan(plan, busy), 0, False).marks)
    both = {"spool_full_resynchronize", "spool_full_hold"}
    assert marks["resynchronize"] & both == {"spool_full_resynchronize"}
    assert marks["hold"] & both == {"spool_full_hold"}


def test_torn_tails_are_found_where_a_power_loss_cuts_a_record() -> None:
    """On a slow disk some power losses cut one; where nothing unsynced survives none does."""
    prepared = prepare(SMALL)

    def torn(survive: str) -> Iterator[bool]:
        slow = 'kind = "disk_slow"\nat = "0s"\nhost = "replica"\nduration = "1s"\nfactor = 100.0'
        for at_ms in range(100, 1_000, 50):
            loss = f'kind = "power_loss"\nat = "{at_ms}ms"\nhost = "replica"\n'
            plan = parse_plan(faults(slow, f'{loss}survive = "{survive}"'), SMALL)
            yield "torn_journal" in run_plan(prepared, plan, 0, False).marks

    assert any(torn("seeded"))
    assert not any(torn("none"))


# -- on the command line -----------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a campaign of some plans on the small scenario leaves."""
    from functools import partial

    from simulator.campaign.campaign import Campaign, Limits
    from simulator.campaign.results import CampaignKey, Results
    from simulator.plans.draw import space_of
    from tests.campaign.test_campaign import InLine, opened

    path = tmp_path_factory.mktemp("coverage") / "r.db"
    key = CampaignKey("small", toml_text(SMALL), 1, space_of(SMALL))
    kept = Results(path, key)
    Campaign(key, kept, partial(opened, InLine()), 1, Limits(plans=20)).run()
    kept.close()
    return path


def test_coverage_is_shown_and_told(
    results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "coverage.json"
    shown = run(capsys, "coverage", results, "--json", target)
    assert shown.code == 0
    assert "streaming S BATCH" in shown.out and "taken by no plan" in shown.out
    document = json.loads(target.read_text())
    assert document["schema"] == "simulator-coverage/1"
    batch = document["coverage"]["transitions"].index("streaming: source sends BATCH")
    assert document["coverage"]["kinds"]["none"][batch] == 20
    for kind, gaps in document["coverage"]["gaps"].items():
        counts = dict(
            zip(
                document["coverage"]["transitions"],
                document["coverage"]["kinds"][kind],
                strict=True,
            )
        )
        assert all(counts[gap] == 0 for gap in gaps)


@pytest.mark.full
def test_a_demanded_mark_that_is_never_reached_makes_a_campaign_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = tmp_path / "marks.txt"
    wanted.write_text("reconnected  # as every outage does\n\nreplica_behind\n")
    arguments = ("campaign", TINY, "--plans", 12, "--workers", 1)
    done = run(capsys, *arguments, "--require", f"@{wanted}")
    assert done.code == 0, done.out
    more = (*arguments, "--resume", "--json", "out.json", "--require", "reconnected")
    done = run(capsys, *more, "--require", "spool_full_hold")
    assert done.code == 2
    assert "reached by none of 12 plans: spool_full_hold" in done.out
    document = json.loads(Path("out.json").read_text())
    assert document["required"]["spool_full_hold"] == 0 < document["required"]["reconnected"]
    for demanded, words in (
        ("reconected", "did you mean 'reconnected'"),
        ("@missing.txt", "missing.txt: it cannot be read"),
    ):
        refused = run(capsys, *arguments, "--resume", "--require", demanded)
        assert refused.code == 64 and words in refused.errors
    wanted.write_text("reconnected\nnothing\n")
    refused = run(capsys, *arguments, "--resume", "--require", f"@{wanted}")
    assert refused.code == 64 and "marks.txt:2: there is no mark 'nothing'" in refused.errors


@pytest.mark.parametrize("text", ["", "\n# reconnected\n  \n"])
def test_a_file_without_a_mark_demands_nothing_and_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    wanted = tmp_path / "marks.txt"
    wanted.write_text(text)
    arguments = ("campaign", TINY, "--plans", 1, "--results", tmp_path / "r.db")
    refused = run(capsys, *arguments, "--require", "reconnected", "--require", f"@{wanted}")
    assert refused.code == 64
    assert f"error: {wanted}: there is no mark in it" in refused.errors
    assert "what to do: Write one mark a line" in refused.errors
    assert not (tmp_path / "r.db").exists()
