"""The replicating pair, led by hand and as a state machine: what it finds, what it lets pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from replicator.capture import Capture
from replicator.errors import BadInput
from simulator.mutants import mutant_named
from simulator.scenario import BadScenario, load_scenario
from simulator.testing import ReplicationMachine, ReplicationWorld
from simulator.testing.world import Broken
from tests.testing.conftest import ROOT

BRIEF = settings(max_examples=30, stateful_step_count=20, report_multiple_bugs=False)
FIRST = settings(BRIEF, max_examples=100, phases=[Phase.generate])
"""Takes the first failure as it is: shrinking is Hypothesis's own."""


@pytest.fixture
def world() -> Iterator[ReplicationWorld]:
    with ReplicationWorld() as made:
        yield made


# -- led by hand -------------------------------------------------------------------------------


def test_what_is_written_is_copied_whatever_happens(world: ReplicationWorld) -> None:
    world.write("/db", 0, b"first" * 1000)
    world.settle()
    assert world.image_file("/db") == b"first" * 1000
    world.link_down()
    assert not world.link_is_up
    world.write("/db", 3000, b"x" * 5000)
    world.advance("300ms")
    world.check()
    assert world.image_files() != world.source_files()
    world.rename("/db", "/db2")
    world.write("/other", 0, b"gone")
    world.truncate("/db2", 7000)
    world.delete("/other")
    world.lose_power("replica")
    world.crash("source")
    world.pause("source", "20ms")
    world.reset_link()
    world.settle()
    assert world.link_is_up
    assert set(world.image_files()) == {"/db2"}
    assert world.image_files() == world.source_files()
    assert len(world.source_files()["/db2"]) == 7000


def test_a_full_source_begins_a_new_history(world: ReplicationWorld) -> None:
    world.write("/db", 0, b"1" * 1000)
    world.settle()
    world.fill_disk("source")
    assert world.is_full("source")
    world.write("/db", 0, b"2" * 60_000)
    world.advance("50ms")
    world.check()
    assert world.programs.refused
    assert "full" in world.said("capture_stopped", "source")[0].values[0]
    world.settle()
    assert not world.is_full("source")
    assert world.image_files() == world.source_files()
    assert world.system.resynchronizations >= 1


def test_a_full_replica_stands_still_and_goes_on(world: ReplicationWorld) -> None:
    world.write("/db", 0, b"1")
    world.settle()
    world.fill_disk("replica")
    world.write("/db", 0, b"2" * 60_000)
    world.advance("50ms")
    world.check()
    assert "Free space on the volume" in str(world.said("stalled", "replica")[0].values[0])
    world.settle()
    assert world.image_files() == world.source_files()


def test_a_sync_that_fails_ends_the_process_and_loses_nothing(world: ReplicationWorld) -> None:
    world.fail_syncs("replica")
    world.write("/db", 0, b"1" * 9000)
    world.settle()
    assert world.image_files() == world.source_files()


def test_a_takeover_keeps_what_was_acknowledged(world: ReplicationWorld) -> None:
    world.write("/db", 0, b"acknowledged")
    world.settle()
    world.take_over()
    world.take_over()
    assert world.source_is_lost
    world.settle()
    assert world.image_file("/db") == b"acknowledged"
    assert world.said("failover")


def test_another_configuration_is_used() -> None:
    with ReplicationWorld(None, "protection.spool_full=hold") as world:
        assert world.system.options.spool_policy.value == "hold"
    with pytest.raises(BadScenario, match="spool_fulll"):
        ReplicationWorld(None, "protection.spool_fulll=hold")
    campaign = load_scenario(ROOT / "scenarios/campaign.toml")
    with pytest.raises(BadInput, match="loaded already"):
        ReplicationWorld(campaign, "link.rtt=1ms")
    with ReplicationWorld(campaign) as world:
        world.write("/db", 0, b"x")
        world.settle()


def test_keys_of_a_fault_that_do_not_fit_are_refused(world: ReplicationWorld) -> None:
    with pytest.raises(BadInput, match="duration"):
        world.inject("pause", host="source")
    with pytest.raises(BadInput, match="its copy is made before"):
        world.inject("replica_restored", age="1ms")


def test_a_mutant_is_gone_with_its_world() -> None:
    whole = Capture._image_now
    with ReplicationWorld(mutant="names_read_anew"):
        assert Capture._image_now is not whole
    assert Capture._image_now is whole
    with pytest.raises(BadInput, match="no mutant"):
        ReplicationWorld(mutant="nobody")
    assert mutant_named("names_read_anew").patches


def test_what_is_broken_is_told_with_its_instant() -> None:
    with ReplicationWorld(mutant="redo_after_restart") as world, pytest.raises(Broken) as told:
        world.write("/db", 0, b"x" * 20_000)
        world.settle()
        world.crash("replica")
        world.settle()
    assert "is broken at 0.0" in str(told.value)
    assert "replica epoch 1" in str(told.value)


def test_a_replica_that_never_comes_back_is_no_convergence(world: ReplicationWorld) -> None:
    world.write("/db", 0, b"x")
    world.settle()
    world.inject("loss", host="replica")
    world.write("/db", 0, b"y")
    with pytest.raises(Broken, match="did not converge"):
        world.settle("2s")


# -- as a state machine --------------------------------------------------------------------------


class Narrow(ReplicationMachine):
    """Another configuration and a rule of its own."""

    changes = ("link.bandwidth=20Mbit/s", "link.rtt=20ms")
    slowed = 0

    @rule()
    def the_line_is_slow(self) -> None:
        type(self).slowed += 1
        self.world.inject("link_latency", rtt="300ms", duration="100ms")


def test_the_replicator_passes() -> None:
    run_state_machine_as_test(ReplicationMachine, settings=BRIEF)


def test_it_passes_with_another_configuration_and_another_rule() -> None:
    run_state_machine_as_test(Narrow, settings=settings(BRIEF, max_examples=15))
    assert Narrow.slowed


@pytest.mark.parametrize("mutant", ["sync_before_acknowledge", "stable_file_ids"])
def test_a_planted_defect_is_found(mutant: str) -> None:
    machine = type("Planted", (ReplicationMachine,), {"mutant": mutant})
    with pytest.raises(Broken, match="is broken"):
        run_state_machine_as_test(machine, settings=FIRST)


class Clumsy(ReplicationMachine):
    """Its own rule is wrong, in a world that never could converge again."""

    @rule()
    def stumbles(self) -> None:
        self.world.inject("loss", host="replica")
        raise ZeroDivisionError


def test_what_a_rule_of_ones_own_raises_is_not_hidden_by_the_end() -> None:
    with pytest.raises(ZeroDivisionError):
        run_state_machine_as_test(Clumsy, settings=FIRST)


class Lonely(ReplicationMachine):
    """The replica is gone, and nobody says so: only the end can notice."""

    settle_within = "2s"

    @rule()
    def replica_is_lost(self) -> None:
        if not self.world.system.replica_machine.lost and self.alive:
            self.world.inject("loss", host="replica")


def test_the_end_notices_what_never_converges() -> None:
    with pytest.raises(Broken, match="did not converge"):
        run_state_machine_as_test(Lonely, settings=FIRST)


@pytest.mark.full
def test_the_replicator_passes_for_longer() -> None:
    long = settings(max_examples=2000, stateful_step_count=40)
    run_state_machine_as_test(ReplicationMachine, settings=long)
