"""The replica's image, examined at instants of a run as if its power failed just then.

An examination changes nothing: it takes a copy of the disks, robs it of what a power loss may take,
and lets the replica recover on that.  Four rules make the verdict one of the run and of nothing
else:

* What is lost is drawn from the seed, the occasion and the instant: the same run is robbed of the
  same writes, whatever was examined before.
* What the source knows to be durable is noted first, so that it is held against it.
* What an image's pages say is not read twice in a run, as far as they are those of an image before
  (:mod:`simulator.exchange.ese.known_messages`).
* Until its first fault a run is the same as any other of its seed.  What was found there once
  need not be found again (:mod:`simulator.known`).
"""

from __future__ import annotations

from functools import partial

from replicator.safeguards import Safeguards
from simulator.circumstances import CircumstanceFinder
from simulator.exchange.ese.known_messages import KnownMessages, knowing_messages
from simulator.host import lose_everything, seeded_choice
from simulator.judgement import Claim
from simulator.known import Known
from simulator.one_source import OneSourceJudge
from simulator.oracle import ImageVerdict
from simulator.sampling import Sampler
from simulator.scenario_world import ScenarioWorld


class Examiner:
    """Examines the replica of one run.

    Arguments
    ---------
    built: the world of the run.
    safeguards: of the replica.
    known: what earlier runs of the scenario under other faults have found out; None: nothing.
    fault_seed: names what a power loss takes, once there have been faults.
    sampler: knows what the source was told.
    circumstances: what is so at an instant.
    one_source: is told of each image, if somebody judges that.
    """

    def __init__(
        self,
        built: ScenarioWorld,
        safeguards: Safeguards,
        known: Known | None,
        fault_seed: int,
        sampler: Sampler,
        circumstances: CircumstanceFinder,
        one_source: OneSourceJudge | None,
    ) -> None:
        self._built = built
        self._clock = built.world.clock
        self._system = built.system
        self._oracle = built.oracle
        self._safeguards = safeguards
        self._known = known
        self._fault_seed = fault_seed
        self._sampler = sampler
        self._circumstances = circumstances
        self._one_source = one_source
        self._messages = KnownMessages() if known is None else known.messages
        self.prefix = (0, 0)
        """Epoch and operation of the image that was examined last."""

    def note_acknowledged(self) -> None:
        """What the source knows to be durable by now has to be there from now on."""
        self._sampler.note_acknowledged()
        if self._one_source is not None:
            self._one_source.look()

    def examine(self, occasion: str, final: bool = False) -> None:
        """Judge the replica as if its power failed now; a lost one is not judged.

        Arguments
        ---------
        occasion: why just now, in words.
        final: the run is over.
        """
        if self._system.replica_machine.lost:
            return
        self.note_acknowledged()
        verdict = self.judge(occasion, final=final)
        self.prefix = (verdict.epoch, verdict.operation)

    def judge(
        self, occasion: str, cache_as_it_is: bool = False, final: bool = False
    ) -> ImageVerdict:
        """Judge the replica's disks, robbed of what is unsynced in a cache that still lives.

        Arguments
        ---------
        cache_as_it_is: rob them of nothing: its process has died, its power is there.
        """
        replica, now_ns = self._system.replica_machine, self._clock.now()
        faults = self._built.scenario.faults
        choose = None
        if replica.powered and not cache_as_it_is:
            before = all(now_ns < fault.at_ns for fault in faults)
            seed = self._built.seed if before else self._fault_seed
            choose = seeded_choice(f"{seed}/{occasion}/{now_ns}")
        so = partial(self._circumstances.found, final=final)
        oracle, known = self._oracle, self._known
        with knowing_messages(self._messages):
            if known is None or any(fault.at_ns <= now_ns for fault in faults):
                verdict = oracle.judge(replica.disks, choose, occasion, now_ns, None, so)
            else:
                key = (self._built.seed, self._safeguards, occasion, now_ns)
                found = known.verdicts.get(key)
                verdict = oracle.judge(replica.disks, choose, occasion, now_ns, found, so)
                known.verdicts.keep(key, verdict)
        if self._one_source is not None:
            self._one_source.image(verdict.claim, occasion)
        return verdict

    def certain(self) -> Claim | None:
        """What the replica can lose by no power loss from here on; None when it is lost itself."""
        replica = self._system.replica_machine
        if replica.lost:
            return None
        return self._oracle.examine(replica.disks, lose_everything, mount=False).claim

    def there(self) -> Claim:
        """What the next start of the replica would find, were its process to die now."""
        replica = self._system.replica_machine
        return self._oracle.examine(replica.disks, None, mount=False).claim
