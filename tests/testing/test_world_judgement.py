"""A pair led by hand is judged like a run: what a fault has taken is no promise any more."""

from __future__ import annotations

import pytest

from simulator.testing.pair import Broken
from simulator.testing.world import ReplicationWorld

TOLD = {"damage", "rot_passed_over", "checkpoint_fallback"}
"""By a replica that has met rot."""


def write_some(world: ReplicationWorld) -> None:
    """Twenty pages, one behind the other."""
    for number in range(20):
        world.write("/db", 4096 * number, bytes([number]) * 4096)
        world.advance("3ms")


def rot_while_the_replica_is_down(where: str, seed: int, count: int, mutant: str = "") -> set[str]:
    """Its disk rots before its power comes back; it is looked at again and again.

    Returns what it told of that.
    """
    with ReplicationWorld(None, "replica.restart=200ms", seed=seed, mutant=mutant) as world:
        write_some(world)
        world.lose_power("replica")
        world.inject("bit_rot", host="replica", where=where, count=count)
        world.advance("200ms")
        for _look in range(20):
            world.check()
            world.advance("2ms")
        world.settle()
        world.check()
        return TOLD & {event.name for event in world.events}


@pytest.mark.parametrize(
    ("where", "count", "met"),
    [
        ("journal", 1, {"damage", "rot_passed_over"}),
        ("journal", 3, {"damage", "rot_passed_over"}),
        ("checkpoint", 1, {"checkpoint_fallback"}),
        ("checkpoint", 3, {"damage", "checkpoint_fallback"}),
    ],
)
def test_damage_that_is_named_breaks_no_promise(where: str, count: int, met: set[str]) -> None:
    told = [rot_while_the_replica_is_down(where, seed, count) for seed in range(1, 11)]
    assert all(told), "each time it had met the rot"
    assert set.union(*told) == met


@pytest.mark.parametrize("mutant", ["damage_is_no_torn_tail", "damage_told"])
def test_damage_that_nobody_names_does(mutant: str) -> None:
    """It needs rot behind the checkpoint's place: what is before it is passed over."""
    assert rot_while_the_replica_is_down("journal", 6, 1) == {"damage"}
    with pytest.raises(Broken, match="durable means durable is broken"):
        rot_while_the_replica_is_down("journal", 6, 1, mutant)


def rot_while_nothing_is_written() -> None:
    """Also of the newest record of all, behind which no other says how the journal goes on."""
    with ReplicationWorld(None, "replica.restart=200ms", seed=1) as world:
        write_some(world)
        world.settle()
        world.advance("2s")
        world.lose_power("replica")
        world.inject("bit_rot", host="replica", where="journal", count=8)
        world.advance("200ms")
        for _look in range(20):
            world.check()
            world.advance("2ms")
        world.settle()
        world.check()
        assert "damage" in {event.name for event in world.events}


def test_rot_that_leaves_no_way_on_is_needed_though_the_checkpoint_includes_it() -> None:
    rot_while_nothing_is_written()


def test_a_bench_that_takes_each_such_journal_for_one_that_goes_on_calls_it_a_breach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.circumstances.goes_on", lambda *_arguments: True)
    with pytest.raises(Broken, match="durable means durable is broken"):
        rot_while_nothing_is_written()
