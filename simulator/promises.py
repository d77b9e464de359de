"""What is promised at an instant of a run, and what is no promise any more.

The oracle counts what the source was told is durable.  Some faults really take that away: a power
loss while a disk lies, an old copy put back, rot that looks torn.  Then promises are counted anew
from what is there, instead of excusing all that comes; and they count again only when the source
has heard, in another session, what there is: what was under way may be of the time before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from replicator.source import SourceState
from simulator.circumstances import CircumstanceFinder
from simulator.exchange.store import StoreUnmountable
from simulator.expectations import (
    ANOTHERS,
    DURABLE,
    NAMED,
    OWN_DISK,
    Cell,
    Expectation,
    Expectations,
)
from simulator.faults import FaultInjector
from simulator.judgement import SECOND_NS, Claim
from simulator.oracle import Oracle
from simulator.runtime import SimClock
from simulator.scenario import Fault
from simulator.systems.byte_level import REPLICA
from simulator.systems.interface import ProtectionSystem

_TOLD: Final = (SourceState.STREAMING.value, SourceState.SYNCHRONIZING.value)
"""States that a source enters when it has heard what the replica has."""
_HEARING: Final = (*_TOLD, SourceState.CONNECTING.value)
"""States in which what it hears next may have been sent before."""


class Promises:
    """Keeps the oracle's account of promises in step with what faults have taken.

    Arguments
    ---------
    planned: the faults that are planned, or were asked for until now.
    clock, oracle, system, faults: of the run.
    circumstances: what is so at an instant.
    """

    def __init__(
        self,
        planned: Callable[[], Iterable[Fault]],
        clock: SimClock,
        oracle: Oracle,
        system: ProtectionSystem,
        faults: FaultInjector,
        circumstances: CircumstanceFinder,
    ) -> None:
        self._planned = planned
        self._clock = clock
        self._oracle = oracle
        self._system = system
        self._faults = faults
        self._circumstances = circumstances
        self._told_of_the_past = False
        """What the source hears next may have been sent before a fault took that away."""
        self.defects: list[str] = []
        """What had been promised, and was missing though no fault had taken it."""
        self.by_design: list[str] = []
        """What was lost because of faults that leave no choice."""

    # -- faults that take ----------------------------------------------------------

    def replica_starts(self) -> None:
        """The replica is about to start: recovery may take rotten records for torn ones."""
        if self._circumstances.starts():
            self.void(None)

    def replica_is_down(self, kind: str, claim: Claim) -> bool:
        """The replica has gone down by a fault; returns whether that took what was promised.

        Arguments
        ---------
        claim: what its next start will find.
        """
        lied = kind == "power_loss" and self._faults.lies(REPLICA)
        taken = kind == "replica_restored" or lied or NAMED in self._circumstances.found(claim)
        if taken:
            self.void(claim)
        return taken

    def void(self, claim: Claim | None) -> None:
        """Only what is claimed now is promised; None: nothing is known of what is there."""
        self._oracle.void(claim)
        self._told_of_the_past = self._system.report().state in _HEARING

    # -- what is said --------------------------------------------------------------

    def source_enters(self, state: str) -> None:
        """The source's sender has entered a state."""
        self._told_of_the_past &= state in _TOLD
        if state == SourceState.STREAMING.value:
            self._circumstances.source_streams()
        if state in _TOLD and not self._told_of_the_past:
            self._oracle.count_again()

    def replica_names_damage(self, damage: str) -> None:
        """The replica says that its image is in doubt, and why."""
        self._circumstances.replica_names_damage(damage)

    def replica_went_back(self, durable: int) -> None:
        """The replica has less than the source was told: has it what is still promised?

        Asked of systems whose promises are judged; the words of others are their own affair.
        """
        if DURABLE in self._system.not_judged:
            return
        epoch, floor = max(self._oracle.durable.items(), default=(0, 0))
        doubts = self._system.doubts()
        so = self._circumstances.of_damage("" if doubts is None else doubts.damage)
        if self._circumstances.is_anothers():
            so.append(ANOTHERS)
        if self._cell(so).expectation is not Expectation.HOLDS:
            self._oracle.durable[epoch] = durable
        elif durable < floor:
            self.defects.append(
                f"replica went back: operation {floor} was acknowledged, it has {durable}"
            )

    def store_lost_acknowledged(self, what: object) -> None:
        """The source's store lacks what it had acknowledged: by its disk, or it is a defect."""
        text, cell = f"store lost acknowledged: {what}", self._cell([OWN_DISK])
        if cell.expectation is Expectation.BY_DESIGN:
            self.by_design.append(f"{text}; {cell.why}")
        else:
            self.defects.append(text)

    def store_is_broken(self, refused: StoreUnmountable) -> bool:
        """The source's store refuses its own files: whether its own disk has broken them."""
        why = self._circumstances.own_disk_broke_it(refused.number)
        if why:
            self.by_design.append(f"the source's store does not mount: {refused}; {why}")
        return bool(why)

    def _cell(self, circumstances: list[str]) -> Cell:
        expectations = Expectations(self._planned(), self._faults.marks())
        return expectations.cell(DURABLE, self._clock.now() / SECOND_NS, circumstances)
