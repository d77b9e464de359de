"""Faults of hosts and of operators: slow processors, clocks that jump, old copies, slips."""

from __future__ import annotations

import pytest

from replicator.replica import Replica
from simulator.circumstances import CircumstanceFinder
from simulator.host import WALL_EPOCH_NS, World
from simulator.measures import Verdict
from simulator.mutants import mutated
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.systems.other_replica import OTHER
from tests.test_faults import TEXT, Looks, fault, run

SECOND_NS = 1_000_000_000


@pytest.mark.parametrize("host", [SOURCE, REPLICA])
def test_a_processor_is_slow_for_a_while(host: str) -> None:
    found = Looks(
        fault("slow_processor", 10, host, duration="20s", factor=100)
        + fault("slow_processor", 15, host, duration="5s", factor=3),
        lambda run: run.world.machine(host).slowness,
        9,
        12,
        17,
        22,
        31,
    )
    assert found.seen == {9: 1, 12: 100, 17: 300, 22: 100, 31: 1}
    assert found.result.verdict is Verdict.PASS, found.result.reasons


def test_a_host_that_is_down_computes_nothing_slowly() -> None:
    slow = fault("slow_processor", 25, REPLICA, duration="2s")
    result = run(fault("process_crash", 20, REPLICA) + slow)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "none of its processes ran" in result.reasons[0]


@pytest.mark.parametrize("host", [SOURCE, REPLICA])
@pytest.mark.parametrize("by", ["1h", "-1h", "-3s"])
def test_clocks_jump_and_nothing_is_told_that_is_not_so(host: str, by: str) -> None:
    result = run(
        fault("clock_jump", 20, host, by=by)
        + fault("link_outage", 22, duration="10s")
        + fault("clock_jump", 40, host, by="5s")
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert [m.note for m in result.faults if m.kind == "clock_jump"] == [f"by {by}", "by 5s"]


def test_what_a_clock_showed_is_when_it_first_showed_it() -> None:
    world = World()
    machine = world.machine(SOURCE)
    world.clock.run_until(10 * SECOND_NS)
    machine.jump_clock(100 * SECOND_NS)
    world.clock.run_until(20 * SECOND_NS)
    machine.jump_clock(-115 * SECOND_NS)

    def instant_s(wall_s: int) -> float:
        return machine.instant_of(WALL_EPOCH_NS + wall_s * SECOND_NS) / SECOND_NS

    assert instant_s(7) == 7, "and once more at 22"
    assert instant_s(50) == 10, "leapt over"
    assert instant_s(112) == 12
    assert instant_s(130) == 145, "after the second jump it goes on from 5"
    world.close()


@pytest.mark.parametrize("age", ["3s", "15s", "30s"])
def test_a_replica_from_an_old_copy_is_noticed_and_caught_up(age: str) -> None:
    made = ScenarioRun(parse_scenario(TEXT + fault("replica_restored", 30, age=age)))
    found: list[str] = []
    made.world.observers.append(lambda _machine, event, _values: found.append(event))
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    [mark] = result.faults
    assert (mark.kind, mark.where) == ("replica_restored", REPLICA)
    assert (mark.start_seconds, mark.end_seconds) == (30, 40)
    assert mark.note == f"to {age} before"
    assert "replica_went_back" in found or result.resynchronizations == 1
    at_the_end = [check for check in result.checks if check.occasion == "end of run"]
    assert at_the_end and not any(check.detail.startswith("named: ") for check in at_the_end)


def test_going_back_without_an_old_copy_is_a_breach() -> None:
    made = ScenarioRun(parse_scenario(TEXT + fault("process_crash", 30, REPLICA)))
    disks = made.world.machine(REPLICA).disks
    copies = {}
    clock = made.world.clock
    clock.at(15 * SECOND_NS, lambda: copies.update({n: d.copy() for n, d in disks.items()}))
    clock.at(35 * SECOND_NS, lambda: [d.put_back(copies[n]) for n, d in disks.items()] and None)
    result = made.run()
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert any("replica went back" in reason for reason in result.reasons)


# -- a second source -----------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", fault("power_loss", 25, REPLICA)])
def test_a_second_source_takes_the_replica_and_the_first_takes_it_back(more: str) -> None:
    made = ScenarioRun(parse_scenario(TEXT + fault("second_source", 20, duration="15s") + more))
    epochs: dict[str, list[object]] = {SOURCE: [], "second source": []}
    made.world.observers.append(
        lambda machine, event, values: (
            epochs[machine].append(values[0]) if event == "synchronized" else None
        )
    )
    result = made.run()
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert all("under the second source of the replica at 20.0 s" in r for r in result.reasons)
    both = epochs[SOURCE] + epochs["second source"]
    assert len(set(both)) == len(both) >= 3, "no epoch is of both"
    at_the_end = [check for check in result.checks if check.occasion == "end of run"]
    assert len(at_the_end) == 3 and all(check.holds for check in at_the_end)
    [mark] = [mark for mark in result.faults if mark.kind == "second_source"]
    assert (mark.where, mark.start_seconds, mark.end_seconds) == (REPLICA, 20, 35)


AFTER_A_SECOND = TEXT + fault("second_source", 2, duration="1s") + fault("power_loss", 20, REPLICA)


@pytest.mark.parametrize("mutant", ["sync_before_acknowledge", "redo_after_restart"])
def test_a_second_source_excuses_nothing_once_the_first_has_the_replica_back(mutant: str) -> None:
    with mutated(mutant) as safeguards:
        result = ScenarioRun(parse_scenario(AFTER_A_SECOND), safeguards=safeguards).run()
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert "durable means durable is broken" in result.reasons[0]


def test_a_bench_that_takes_the_copy_for_the_other_ones_for_ever_excuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CircumstanceFinder, "is_anothers", lambda _finder: True)
    with mutated("sync_before_acknowledge") as safeguards:
        result = ScenarioRun(parse_scenario(AFTER_A_SECOND), safeguards=safeguards).run()
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons


def test_a_second_source_that_finds_no_replica_was_none() -> None:
    crash = fault("power_loss", 19, REPLICA)
    result = run(crash + fault("second_source", 20, duration="5s"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "never happened: it never got through to the replica" in result.reasons[0]


def test_there_is_one_second_source_at_a_time() -> None:
    result = run(
        fault("second_source", 20, duration="15s") + fault("second_source", 25, duration="2s")
    )
    assert any("there was one at that time already" in reason for reason in result.reasons)


# -- a wrong target ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        "",
        fault("process_crash", 25, SOURCE),
        fault("power_loss", 25, SOURCE),
        fault("power_loss", 33, SOURCE),
        fault("power_loss", 25, REPLICA),
        fault("link_outage", 18, duration="10s"),
        fault("link_outage", 30, duration="10s"),
    ],
)
def test_a_source_that_calls_another_sets_replica_is_turned_away(more: str) -> None:
    causes: list[str] = []
    made = ScenarioRun(parse_scenario(TEXT + fault("wrong_target", 20, duration="15s") + more))
    made.world.clock.at(
        34 * SECOND_NS, lambda: causes.append(made.system.report().cause if more == "" else "")
    )
    told: list[object] = []
    made.world.observers.append(
        lambda machine, event, values: (
            told.append(values[0]) if (machine, event) == (OTHER, "turned_away") else None
        )
    )
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    words = "this replica holds 'second storage group', not 'first storage group'"
    assert told and all(words in str(each) for each in told)
    why = "it holds another protected set than 'first storage group'"
    assert more or why in causes[0], "the source's own status says why"
    assert "second storage group" not in causes[0], "not what it is none of its business"
    assert result.resynchronizations == (1 if "power_loss" in more and SOURCE in more else 0)
    [mark] = [mark for mark in result.faults if mark.kind == "wrong_target"]
    assert (mark.where, mark.start_seconds, mark.end_seconds) == (SOURCE, 20, 35)


def test_a_replica_that_takes_whoever_comes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its look at the set's name another set's image is replaced."""
    monkeypatch.setattr(Replica, "_examine", lambda _replica, _hello: None)
    result = run(fault("wrong_target", 20, duration="15s"))
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert "a source of another set has changed the image of a replica" in result.reasons


def test_a_wrong_target_that_nobody_called_was_none() -> None:
    loss = fault("power_loss", 19, SOURCE)
    result = run(loss + fault("wrong_target", 20, duration="5s"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "never happened: it never got through to the other replica" in result.reasons[0]


def test_there_is_one_wrong_target_at_a_time() -> None:
    result = run(
        fault("wrong_target", 20, duration="15s") + fault("wrong_target", 25, duration="2s")
    )
    assert any("set up for another one at that time" in reason for reason in result.reasons)
