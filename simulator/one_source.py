"""One source: no write counts under an ended epoch, and what an old source still does is seen.

Judged in every run of the reference replicator, from what lies outside of its decisions: the
truth, the images on the emulated disks, the faults as they happened, what the source was told.
The software's own events only say *when* something is to be looked at.

* An image of an epoch older than one that the source was told is the replica's never comes back.
* A replica that takes over has what was written before, and nothing of what came after.
* From then on nothing more is promised to the old source, and nothing changes the image but the
  clients that it was mounted for.
* Once the old source could hear of it, its programs are closed within a bound, for good.
* What they wrote meanwhile is kept apart and told (:mod:`simulator.left_behind`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from replicator.fence import LOOK_AGAIN_NS, TRY_AGAIN_NS
from simulator.digest import image_digest
from simulator.expectations import ONE_SOURCE
from simulator.host import World
from simulator.judgement import FAILOVER, SECOND_NS, Claim
from simulator.left_behind import fence_on_disk, kept_check
from simulator.measures import WRITTEN_AFTERWARDS, Check, FaultMark, LossMeasure
from simulator.oracle import Oracle
from simulator.scenario import Scenario
from simulator.systems.byte_level import PROGRAMS, REPLICA, SOURCE
from simulator.systems.interface import ProtectionSystem

END: Final = "end of run"
_OF_THE_COPY: Final = frozenset({"bit_rot", "misdirected_write", "lost_flush"})
"""Faults that change what is on the replica's disk behind everybody's back."""
_ATTEMPTS: Final = 3
"""A connection that is given up, one that was begun too early, and the one that is refused."""


def fencing_bound_ns(scenario: Scenario) -> int:
    """Within this an old source closes its programs, once link and both ends are whole.

    Its sender may have to notice that its connection is dead, then wait for an attempt that was
    begun while nothing passed, then be refused; what is in flight on the link goes before that.
    Then the fence is kept, where a disk that fails once is tried again, and programs look.
    """
    p, link = scenario.protection, scenario.link
    slowest = min([link.bits_per_second, *(entry.bits_per_second for entry in link.schedule)])
    attempt_ns = p.heartbeat_ns * p.heartbeat_misses + p.reconnect_ns
    in_flight_ns = int(8 * p.window_bytes / slowest * SECOND_NS)
    trips_ns = 2 * _ATTEMPTS * (link.rtt_ns + 2 * link.jitter_ns)
    return _ATTEMPTS * attempt_ns + in_flight_ns + trips_ns + LOOK_AGAIN_NS + TRY_AGAIN_NS


@dataclass(slots=True)
class _Takeover:
    """What was so when the replica began to take over."""

    at_ns: int
    instant: int
    messages: int
    told: tuple[int, int]
    """Epoch and operation that the source knew to be durable."""


class OneSourceJudge:
    """Looks on at one run.

    Arguments
    ---------
    scenario: for the bound.
    world, system, oracle: of the run; its checks are noted with the oracle's.
    marks: the faults as they happened so far.
    messages: how many messages were acknowledged to users so far; None when there are none.
    circumstances: what is so at an instant, of a claim (:mod:`simulator.circumstances`).
    """

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        system: ProtectionSystem,
        oracle: Oracle,
        marks: Callable[[], list[FaultMark]],
        messages: Callable[[], int | None],
        circumstances: Callable[[Claim], tuple[str, ...]] = lambda _claim: (),
    ) -> None:
        self.bound_ns = fencing_bound_ns(scenario)
        self._clock = world.clock
        self._system = system
        self._oracle = oracle
        self._marks = marks
        self._messages = messages
        self._circumstances = circumstances
        self._began: _Takeover | None = None
        self._claim: Claim | None = None
        """What the replica has taken over."""
        self._told = (0, 0)
        """The newest operation that the source was told is durable."""
        self._mounted: tuple[int, int] | None = None
        """When clients were given the image, and its digest then."""
        self._up_ns = 0
        """Since when the software of both ends has been up."""
        self._starts = (0, 0)
        self._fenced_ns: int | None = None
        self._stopped_capturing = False
        self._programs_done = False
        self._noted: set[str] = set()
        self._epochs_went_back = False
        world.observers.append(self._observe)

    # -- when to look ----------------------------------------------------------------

    def _observe(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        now_ns = self._clock.now()
        if event == "failover" and values[0] == "takes over" and self._claim is None:
            # One whose process died before that was durable has to begin anew.
            truth = self._system.truth
            told = self._system.report().durable or (0, 0)
            self._began = _Takeover(now_ns, truth.instant, self._messages() or 0, told)
        elif event == "recovered" and machine == REPLICA:
            self._up_ns = now_ns  # from now on it can be called
        elif event in ("epoch", "continue") and machine == SOURCE:
            self._up_ns = now_ns  # from now on there is a history to call with
            self._stopped_capturing &= event != "epoch"
        elif event == "capture_stopped":
            self._stopped_capturing = True
        elif event == "programs_done":
            self._programs_done = True
        elif event == "fence_kept":
            self._fenced_ns = self._fenced_ns or now_ns

    # -- the state of things -----------------------------------------------------------

    @property
    def fenced_ns(self) -> int | None:
        """When the old source was closed; None while it is not."""
        return self._fenced_ns

    @property
    def settled(self) -> bool:
        """Whether nothing more can be learnt of the old source."""
        source = self._system.source_machine
        if source.lost:
            return True
        deadline_ns = self._deadline_ns()
        overdue = deadline_ns is not None and self._clock.now() > deadline_ns
        return overdue or (self._fenced_ns is not None and self._programs_stopped)

    @property
    def _programs_stopped(self) -> bool:
        programs = self._system.source_machine.processes.get(PROGRAMS)
        return programs is None or programs.failure is not None or self._programs_done

    def _deadline_ns(self) -> int | None:
        """When the old source's programs must be closed; None while it may not have heard."""
        began = self._began
        if began is None or self._claim is None or self._system.source_machine.lost:
            return None
        now_ns = self._clock.now()
        quiet_ns = max(began.at_ns, self._up_ns)
        for mark in self._marks():
            if mark.end_seconds is None:
                return None
            quiet_ns = max(quiet_ns, round(mark.end_seconds * SECOND_NS))
        return None if quiet_ns > now_ns else quiet_ns + self.bound_ns

    # -- looks -------------------------------------------------------------------------

    def look(self) -> None:
        """What was the old source told, and what does it still do?"""
        machines = self._system.source_machine, self._system.replica_machine
        starts = machines[0].incarnations, machines[1].incarnations
        if starts != self._starts or not all(machine.running for machine in machines):
            self._starts, self._up_ns = starts, max(self._up_ns, self._clock.now())
        if self._began is None:
            return
        self._told = max(self._told, self._system.report().durable or (0, 0))
        if self._claim is not None:
            self._judge_promises(self._claim, self._began)
            self._judge_programs()

    def image(self, claim: Claim, occasion: str) -> None:
        """An image was found: is it of an epoch that is over?"""
        newest = max(self._oracle.durable, default=0)
        if claim.failure or claim.damage or claim.mixture or claim.epoch >= newest:
            return
        self._epochs_went_back = True
        text = f"epoch {newest} had begun, as the source was told; the image is that after"
        self._note(occasion, False, f"{text} {claim.words} again", claim)

    def taken_over(self, claim: Claim) -> None:
        """The replica has taken over, with this image."""
        self._claim = claim
        truth, began = self._system.truth, self._began
        self.image(claim, FAILOVER)
        if began is None or truth.digest_of(claim.epoch, claim.operation) != claim.digest:
            return  # what it is instead is judged as prefix
        written_ns = truth.times_ns[truth.instant_of(claim.epoch, claim.operation)]
        self._note(
            FAILOVER,
            written_ns <= began.at_ns,
            f"the replica began to take over at {_seconds(began.at_ns)}, with the image after "
            f"{claim.words}, written at {_seconds(written_ns)}",
            claim,
        )
        self.look()

    def clients_come(self) -> None:
        """The store was mounted on the image: what changes it from now on is not the replicator."""
        self._mounted = self._clock.now(), self._digest()

    def replica_struck(self) -> None:
        """The replica's machine went down: what of its clients' work was not synced is gone."""
        if self._mounted is not None and not self._system.replica_machine.lost:
            self._mounted = self._clock.now(), self._digest()

    def _digest(self) -> int:
        home = self._system.home
        return image_digest(self._system.replica_machine.disks[home.disk], home.root)

    # -- judgements ----------------------------------------------------------------------

    def _judge_promises(self, claim: Claim, began: _Takeover) -> None:
        have = max((claim.epoch, claim.operation), began.told)
        if self._told > have:
            epoch, operation = self._told
            self._breach(
                "told",
                "after the failover",
                f"the old source was told that operation {operation} of epoch {epoch} is durable; "
                f"the replica had taken over at {_seconds(began.at_ns)} with {claim.words}",
            )

    def _judge_programs(self) -> None:
        deadline_ns, truth = self._deadline_ns(), self._system.truth
        last_ns = truth.times_ns[-1]
        if deadline_ns is not None and last_ns > deadline_ns:
            self._breach(
                "programs",
                "after the failover",
                f"a program of the old source wrote {self._newest} at {_seconds(last_ns)}, "
                f"{_seconds(last_ns - deadline_ns)} after it had to be closed "
                f"({_seconds(self.bound_ns)} after the link and both ends were whole)",
            )

    @property
    def _newest(self) -> str:
        truth = self._system.truth
        epoch = max(truth.epochs, default=0)
        return f"operation {truth.operations_of(epoch)} of epoch {epoch}" if epoch else "nothing"

    def finish(self) -> None:
        """The run is over: what holds of it as a whole."""
        began, claim = self._began, self._claim
        if not self._epochs_went_back:
            newest = max(self._oracle.durable, default=0)
            self._note("every examination", True, f"no image of an epoch before {newest} came back")
        if began is None or claim is None:
            return
        self.look()
        self._finish_image(claim, began)
        if not self._system.source_machine.lost:
            self._finish_fence(began)
            self._finish_left_behind(claim)

    def _finish_image(self, claim: Claim, began: _Takeover) -> None:
        if self._system.replica_machine.lost or self._mounted is None:
            return
        since_ns, digest = self._mounted
        touched = any(mark.kind in _OF_THE_COPY and mark.where == REPLICA for mark in self._marks())
        same = self._digest() == digest
        if not (same or touched):
            self._breach(
                "image",
                END,
                f"the image that clients were given at {_seconds(since_ns)}, after {claim.words}, "
                f"was changed since, and not by them; the old source's newest write was "
                f"{self._newest}",
            )
        elif not self._noted & {"image", "told"}:
            epoch, operation = self._told
            self._note(
                END,
                True,
                f"since {_seconds(began.at_ns)} nothing was promised to the old source beyond "
                f"{claim.words} (the last it heard of: operation {operation} of epoch {epoch}), "
                "and nothing of it came into the image",
            )

    def _finish_fence(self, began: _Takeover) -> None:
        deadline_ns, now_ns = self._deadline_ns(), self._clock.now()
        said = fence_on_disk(self._system)
        if said:
            after = _seconds((self._fenced_ns or now_ns) - began.at_ns)
            if "programs" not in self._noted:
                text = f"the old source was closed {after} after the failover had begun: {said}"
                self._note(END, True, text)
        elif deadline_ns is not None and now_ns > deadline_ns:
            self._breach(
                "fence",
                END,
                "the old source could have heard of the failover, and has not closed its "
                f"programs {_seconds(self.bound_ns)} after the link and both ends were whole",
            )

    def _finish_left_behind(self, claim: Claim) -> None:
        found = kept_check(self._system, claim, self._marks(), self._stopped_capturing)
        if found is not None:
            self._note(END, *found, claim)

    def written_afterwards(self) -> LossMeasure | None:
        """What the old source acknowledged from the takeover on: it is in no copy."""
        began, truth = self._began, self._system.truth
        if began is None or self._claim is None:
            return None
        last_ns = truth.times_ns[-1]
        messages = self._messages()
        return LossMeasure(
            WRITTEN_AFTERWARDS,
            max(last_ns, began.at_ns) / SECOND_NS,
            max(0, last_ns - began.at_ns) / SECOND_NS,
            truth.written_bytes[-1] - truth.written_bytes[began.instant],
            truth.instant - began.instant,
            None if messages is None else max(0, messages - began.messages),
        )

    @property
    def before_takeover(self) -> tuple[int, int]:
        """The truth's last instant when the takeover began, and the messages acknowledged since."""
        began = self._began
        if began is None:
            return self._system.truth.instant, 0
        return began.instant, max(0, (self._messages() or 0) - began.messages)

    # -- notes -----------------------------------------------------------------------------

    def _breach(self, what: str, occasion: str, detail: str) -> None:
        """Note a breach, the first of its kind only: what follows from it says nothing new."""
        if what not in self._noted:
            self._noted.add(what)
            self._note(occasion, False, detail, self._claim)

    def _note(self, occasion: str, holds: bool, detail: str, claim: Claim | None = None) -> None:
        at_seconds = self._clock.now() / SECOND_NS
        so = [] if holds or claim is None else list(self._circumstances(claim))
        check = Check(ONE_SOURCE, at_seconds, occasion, holds, detail, so)
        self._oracle.checks.append(check)


def _seconds(time_ns: int) -> str:
    return f"{time_ns / SECOND_NS:.3f} s"


__all__ = ["OneSourceJudge", "fencing_bound_ns"]
