"""The two processes of a source die one without the other, at any instant.

Nothing that was acknowledged is lost, unfinished intents are rolled forward by whoever keeps
the history next, the sender goes on where it was, and the history is continued: a process
crash never begins a new epoch, unless it cuts a synchronization, each attempt at which is an
epoch of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.source import SourceState
from simulator.host import lose_everything
from simulator.link import Link
from simulator.systems.byte_level import PROGRAMS, SENDER, SOURCE, ByteLevelSystem
from tests.crash.harness import MS, Plan, Step, links_that_part, log_rolls, odd_names, run
from tests.strides import strided

GRID_US = 250
SCRIPTS = {"log rolls": log_rolls, "odd names": odd_names}


def killed(
    times: dict[int, tuple[str, ...]], down_ms: int = 4, cut: list[int] | None = None
) -> Callable[[ByteLevelSystem, Link], None]:
    """Kill processes of the source at these microseconds; all are started again later.

    Arguments
    ---------
    cut: takes the times at which a synchronization was under way.
    """

    def meddle(system: ByteLevelSystem, _wire: Link) -> None:
        clock, machine = system.world.clock, system.source_machine
        states = [""]

        def observe(name: str, event: str, values: tuple[int | str, ...]) -> None:
            if (name, event) == (SOURCE, "source_state"):
                states.append(str(values[0]))

        system.world.observers.append(observe)

        def strike(processes: tuple[str, ...]) -> None:
            if cut is not None and states[-1] == SourceState.SYNCHRONIZING.value:
                cut.append(clock.now())
            machine.crash_process(*(p for p in processes if p in machine.processes))
            clock.at(clock.now() + down_ms * MS, system.start_source)

        for time_us, processes in times.items():
            clock.at(time_us * 1000, lambda processes=processes: strike(processes))

    return meddle


def assert_good(steps: list[Step], times: dict[int, tuple[str, ...]], epochs: int = 1) -> None:
    cut: list[int] = []
    outcome = run(Plan(steps, meddle=killed(times, cut=cut)))
    assert outcome.good, (times, outcome)
    assert epochs <= outcome.epochs <= epochs + len(cut), (times, outcome)


@pytest.mark.parametrize("process", [PROGRAMS, SENDER])
@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_one_process_dies_at_any_instant(script: str, process: str) -> None:
    for time_us in range(100, 70_000, GRID_US * 7):
        assert_good(SCRIPTS[script](), {time_us: (process,)})


@pytest.mark.full
@pytest.mark.parametrize("process", [PROGRAMS, SENDER])
@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_one_process_dies_at_each_instant_of_a_fine_grid(script: str, process: str) -> None:
    for time_us in range(50, 70_000, GRID_US):
        assert_good(SCRIPTS[script](), {time_us: (process,)})


def test_a_cut_synchronization_begins_another_epoch_and_no_other_cut_does() -> None:
    """The first copy takes some tens of microseconds: both sides of it are looked at."""
    found: dict[bool, set[int]] = {False: set(), True: set()}
    for time_us in range(1990, 2120, 10):
        cut: list[int] = []
        outcome = run(Plan(odd_names(), meddle=killed({time_us: (SENDER,)}, cut=cut)))
        assert outcome.good, (time_us, outcome)
        found[bool(cut)].add(outcome.epochs)
    assert found[False] == {1}
    assert 2 in found[True] and found[True] <= {1, 2}


@strided(3)
def test_the_other_process_dies_while_the_first_is_down(stride: int) -> None:
    """The caretaker keeps the history of dead programs, and dies itself in the middle."""
    for first, second in ((PROGRAMS, SENDER), (SENDER, PROGRAMS)):
        for time_us in range(500, 60_000, 4000 * stride):
            for later_us in (500, 1500, 3000, 4500, 20_000):
                assert_good(log_rolls(), {time_us: (first,), time_us + later_us: (second,)})


def test_programs_that_stay_dead_leave_a_history_that_arrives() -> None:
    """What they had written is sent by a sender that nobody helps."""
    hits = 0
    for time_us in range(5_000, 36_000, 5_000):
        epochs: list[bool] = []

        def meddle(system: ByteLevelSystem, wire: Link, time_us=time_us, epochs=epochs) -> None:
            clock = system.world.clock

            def strike() -> None:
                if PROGRAMS in system.source_machine.processes:
                    system.source_machine.crash_process(PROGRAMS)

            def look() -> None:
                assert system.replica is not None and system.capture is not None
                spool, store = system.capture.spool, system.replica.store
                epochs.append((store.epoch, store.applied) == (spool.epoch, spool.completed))
                system.start_source()

            clock.at(time_us * 1000, strike)
            clock.at(time_us * 1000 + 1200 * MS, look)

        outcome = run(Plan(log_rolls(), meddle=meddle))
        assert outcome.good, (time_us, outcome)
        assert epochs == [True], time_us
        hits += 1
    assert hits


def test_a_new_replica_is_synchronized_while_the_store_is_down() -> None:
    """No program runs, the replica has lost everything: the caretaker begins the epoch."""
    said: list[str] = []

    def meddle(system: ByteLevelSystem, wire: Link) -> None:
        clock = system.world.clock

        def observe(_machine: str, event: str, values: tuple[int | str, ...]) -> None:
            said.append(f"{event} {' '.join(map(str, values))}")

        def strike() -> None:
            system.source_machine.crash_process(PROGRAMS)
            machine = system.replica_machine
            machine.lose_power(lose_everything)
            names = machine.disks["data"].names
            for path, _node in sorted(names.walk("/replica"), reverse=True):
                directory = not path.rpartition("/")[2].count(".") and path in {
                    "/replica/image",
                    "/replica/journal",
                    "/replica/staging",
                }
                names.remove(path, directory_wanted=directory)
            names.settle_prefix(names.changes)
            system.replica = None
            system.start_replica()

        def look() -> None:
            assert system.replica is not None
            said.append(f"applied {system.replica.store.epoch}")
            system.start_source()

        system.world.observers.append(observe)
        clock.at(30 * MS, strike)
        clock.at(3000 * MS, look)

    outcome = run(Plan([*log_rolls()], meddle=meddle))
    assert outcome.good, outcome
    assert "caretaker begin" in said
    assert any(line.startswith("applied") and line != "applied 0" for line in said), said[-20:]


def test_a_gap_is_closed_by_whoever_keeps_the_history() -> None:
    """The spool ran full, then the program dies: the next epoch begins without it."""
    for time_us in range(10_000, 40_000, 1000):
        outcome = run(Plan(links_that_part(), meddle=killed({time_us: (PROGRAMS,)})))
        assert outcome.good, (time_us, outcome)


def test_a_power_loss_beside_a_dead_sender() -> None:
    """One process is dead already when the power goes: nothing of it is missed."""

    def meddle(system: ByteLevelSystem, _wire: Link) -> None:
        clock, machine = system.world.clock, system.source_machine
        clock.at(20 * MS, lambda: machine.crash_process(SENDER))
        clock.at(24 * MS, lambda: machine.lose_power(lose_everything))
        clock.at(30 * MS, system.start_source)

    outcome = run(Plan(log_rolls(), meddle=meddle))
    assert outcome.good, outcome
    assert outcome.epochs == 2
