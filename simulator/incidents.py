"""What follows in a run when something has gone down: a verdict, a loss, perhaps a failover.

At the instant itself, before anything starts again:

* the replica's image is judged, as its next start will find it; and if its power is still there,
  as it would be if that went, too;
* what would be lost if the source never came back is measured;
* faults that take what was promised have it counted anew (:mod:`simulator.promises`);
* the loss of the source begins a failover, as an operator's order does.

Once the store has opened the image that took over, it is the store's own and no copy any more: what
goes down from then on is no matter of prefixes.
"""

from __future__ import annotations

from simulator.circumstances import CircumstanceFinder
from simulator.examiner import Examiner
from simulator.host import Host
from simulator.one_source import OneSourceJudge
from simulator.oracle import ImageVerdict
from simulator.promises import Promises
from simulator.scenario_world import ScenarioWorld
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.takeover import Takeover


class Incidents:
    """Deals with the incidents of one run.

    Arguments
    ---------
    built: the world of the run.
    examiner: judges the image.
    promises: what is promised, and what is no more.
    circumstances: what is so at an instant.
    one_source: is told of what concerns it, if somebody judges that.
    """

    def __init__(
        self,
        built: ScenarioWorld,
        examiner: Examiner,
        promises: Promises,
        circumstances: CircumstanceFinder,
        one_source: OneSourceJudge | None,
    ) -> None:
        self._built = built
        self._clock = built.world.clock
        self._system = built.system
        self._oracle = built.oracle
        self._examiner = examiner
        self._promises = promises
        self._circumstances = circumstances
        self._one_source = one_source
        self.takeover: Takeover | None = None
        """Since the source is lost, or a failover was ordered."""
        self.lost_at_ns: int | None = None
        """When the source was lost."""

    def struck(self, kind: str, name: str) -> None:
        """A host has gone down, or an outage ends: judge the image and what would be lost."""
        self._examiner.note_acknowledged()
        occasion, now_ns = f"{kind} of {name}", self._clock.now()
        replica_lost = self._system.replica_machine.lost
        source_is_lost = kind == "loss" and name == SOURCE
        if name == REPLICA:
            self._system.replica_down()
            if self._one_source is not None:
                self._one_source.replica_struck()
        if source_is_lost:
            self.lost_at_ns = now_ns
        if self.takeover is not None and self.takeover.taken_over is not None:
            return  # the image has become the store's own
        if name == REPLICA:
            if replica_lost:
                return
            verdict = self._judge_fallen_replica(kind, occasion)
        elif not replica_lost:
            verdict = self._examiner.judge(occasion)
        begins = source_is_lost and self.takeover is None
        if begins:
            self._prepare_takeover(ordered=False)
        if replica_lost:
            self._oracle.lose_all(occasion, now_ns)
            return
        self._examiner.prefix = (verdict.epoch, verdict.operation)
        self._oracle.loss(verdict, occasion, now_ns)
        if begins:
            self._begin_takeover()

    def _judge_fallen_replica(self, kind: str, occasion: str) -> ImageVerdict:
        """Judge what the next start will find; and what it would find if the power went, too."""
        if kind == "replica_restored":
            self._promises.void(None)  # nothing that came after the copy was made is there
        verdict = self._examiner.judge(occasion, cache_as_it_is=True)
        if self._promises.replica_is_down(kind, verdict.claim) and self.takeover is not None:
            self.takeover.at_loss = verdict.claim
        if self._system.replica_machine.powered:
            self._examiner.judge(f"{occasion}, then its power fails")
        return verdict

    # -- taking over ---------------------------------------------------------------

    def fail_over(self) -> str:
        """An operator has the replica take over; returns why that cannot be, else nothing."""
        if self.takeover is not None:
            return "a failover was under way by then"
        there = self._examiner.there()
        if not (there.epoch or there.damage or there.failure):
            return "no image had ever been completed at the replica by then"
        self._prepare_takeover(ordered=True)
        self._begin_takeover()
        return ""

    def _prepare_takeover(self, ordered: bool) -> None:
        """From now on the replica is to take over, with at least what is certain to be there."""
        self.takeover = Takeover(
            self._built,
            self._clock.now(),
            self._examiner.certain(),
            self._circumstances.found,
            self._one_source,
            ordered,
            self._circumstances.store_opened,
        )

    def _begin_takeover(self) -> None:
        """Begin it, if the replica's process runs; else its next start does."""
        host = self._system.replica_machine.processes.get(REPLICA)
        if host is not None:
            self.replica_started(host)

    def replica_started(self, host: Host) -> None:
        """This process of the replica has started: it goes on with a failover that is not over."""
        if self.takeover is not None and self.takeover.report is None:
            self.takeover.begin(host)
