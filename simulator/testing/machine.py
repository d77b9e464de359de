"""A Hypothesis state machine over a replicating pair: anything may go wrong between any two steps.

::

    from hypothesis import settings
    from simulator.testing import ReplicationMachine

    class SlowLink(ReplicationMachine):
        changes = ("link.rtt=200ms",)

    TestSlowLink = SlowLink.TestCase
    TestSlowLink.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)

After each step the oracles judge the copy as if the replica's power had failed just then
(:meth:`~simulator.testing.world.ReplicationWorld.check`); at the end all is healed, and both
ends must become one again.  What fails comes back from Hypothesis as the shortest list of steps
that it found.

Rules of one's own are added in a subclass, and use ``self.world``.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from simulator.scenario import Scenario
from simulator.testing.strategies import hosts
from simulator.testing.world import MS, ReplicationWorld

PATHS: Final = ("/db", "/log", "/log0", "/log1")
SIZES: Final = (100, 3_000, 8_192, 20_000)
SURVIVE: Final = ("none", "all", "seeded")


class ReplicationMachine(RuleBasedStateMachine):
    """Rules: time goes on; programs write, rename, truncate and delete; hosts crash, lose power
    and stand still; the link goes down, comes up and is reset; syncs fail; disks fill up and get
    room; the replica takes over.

    Class attributes, for subclasses
    --------------------------------
    scenario: as for :class:`~simulator.testing.world.ReplicationWorld`; None for a small one.
    changes: to it, as ``--set`` takes them.
    seed: names what is random.
    mutant: takes a rule away from the replicator, to see that it is found.
    paths: of the files that programs write, below the protected set's root.
    settle_within: the longest time in which both ends must become one after all is healed.
    """

    scenario: ClassVar[Scenario | str | Path | None] = None
    changes: ClassVar[tuple[str, ...]] = ()
    seed: ClassVar[int] = 1
    mutant: ClassVar[str] = ""
    paths: ClassVar[tuple[str, ...]] = PATHS
    settle_within: ClassVar[str] = "30s"

    def __init__(self) -> None:
        super().__init__()
        self.world = ReplicationWorld(
            self.scenario, *self.changes, seed=self.seed, mutant=self.mutant
        )
        self._writes = 0

    def teardown(self) -> None:
        """Heal everything and judge, unless something has failed already."""
        try:
            if sys.exc_info()[0] is None:
                self.world.settle(self.settle_within)
        finally:
            self.world.close()

    @property
    def alive(self) -> bool:
        """Whether there is a source yet."""
        return not self.world.source_is_lost

    def _path(self, number: int) -> str:
        return self.paths[number % len(self.paths)]

    # -- time and programs -------------------------------------------------------------------

    @rule(ms=st.integers(1, 200))
    def time_goes_on(self, ms: int) -> None:
        self.world.advance(ms * MS)

    @precondition(lambda self: self.alive)
    @rule(file=st.integers(0, 3), block=st.integers(0, 3), size=st.sampled_from(SIZES))
    def write(self, file: int, block: int, size: int) -> None:
        self._writes += 1
        data = random.Random(self._writes).randbytes(size)
        self.world.write(self._path(file), block * 8_192, data)

    @precondition(lambda self: self.alive)
    @rule(old=st.integers(0, 3), new=st.integers(0, 3))
    def rename(self, old: int, new: int) -> None:
        if self._path(old) != self._path(new):
            self.world.rename(self._path(old), self._path(new))

    @precondition(lambda self: self.alive)
    @rule(file=st.integers(0, 3))
    def delete(self, file: int) -> None:
        self.world.delete(self._path(file))

    @precondition(lambda self: self.alive)
    @rule(file=st.integers(0, 3), size=st.sampled_from((0, 5_000, 30_000)))
    def truncate(self, file: int, size: int) -> None:
        self.world.truncate(self._path(file), size)

    # -- hosts -------------------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule(host=hosts())
    def crash(self, host: str) -> None:
        self.world.crash(host)

    @precondition(lambda self: self.alive)
    @rule(host=hosts(), survive=st.sampled_from(SURVIVE))
    def lose_power(self, host: str, survive: str) -> None:
        self.world.lose_power(host, survive)

    @precondition(lambda self: self.alive)
    @rule(host=hosts(), ms=st.integers(1, 200))
    def pause(self, host: str, ms: int) -> None:
        self.world.pause(host, f"{ms}ms")

    @precondition(lambda self: self.alive)
    @rule()
    def take_over(self) -> None:
        self.world.take_over()

    # -- the link ----------------------------------------------------------------------------

    @precondition(lambda self: self.world.link_is_up)
    @rule()
    def link_down(self) -> None:
        self.world.link_down()

    @precondition(lambda self: not self.world.link_is_up)
    @rule()
    def link_up(self) -> None:
        self.world.link_up()

    @rule()
    def reset_link(self) -> None:
        self.world.reset_link()

    # -- disks -------------------------------------------------------------------------------

    @precondition(lambda self: self.alive)
    @rule(host=hosts(), count=st.integers(1, 3))
    def fail_syncs(self, host: str, count: int) -> None:
        self.world.fail_syncs(host, count)

    @precondition(lambda self: self.alive)
    @rule(host=hosts(), free=st.sampled_from((0, 1 << 16)))
    def fill_disk(self, host: str, free: int) -> None:
        self.world.fill_disk(host, free)

    @rule(host=hosts())
    def make_room(self, host: str) -> None:
        self.world.make_room(host)

    # -- what always holds -------------------------------------------------------------------

    @invariant()
    def the_copy_is_usable(self) -> None:
        self.world.check()
