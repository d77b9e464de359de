"""A pair led by hand is judged like a run: what a fault has taken is no promise any more."""

from __future__ import annotations

import pytest

from simulator.testing.pair import Broken
from simulator.testing.world import ReplicationWorld


def rot_while_the_replica_is_down(where: str, seed: int, count: int, mutant: str = "") -> None:
    """Its disk rots before its power comes back; it is looked at again and again."""
    with ReplicationWorld(None, "replica.restart=200ms", seed=seed, mutant=mutant) as world:
        for number in range(20):
            world.write("/db", 4096 * number, bytes([number]) * 4096)
            world.advance("3ms")
        world.lose_power("replica")
        world.inject("bit_rot", host="replica", where=where, count=count)
        world.advance("200ms")
        for _look in range(20):
            world.check()
            world.advance("2ms")
        world.settle()
        world.check()


@pytest.mark.parametrize("where", ["journal", "checkpoint"])
@pytest.mark.parametrize("count", [1, 3])
def test_damage_that_is_named_breaks_no_promise(where: str, count: int) -> None:
    for seed in range(1, 6):
        rot_while_the_replica_is_down(where, seed, count)


@pytest.mark.parametrize(("mutant", "seed"), [("damage_is_no_torn_tail", 6), ("damage_told", 6)])
def test_damage_that_nobody_names_does(mutant: str, seed: int) -> None:
    """Both need rot behind the checkpoint's place: what is before it is passed over."""
    with pytest.raises(Broken, match="durable means durable is broken"):
        rot_while_the_replica_is_down("journal", seed, 1, mutant)
