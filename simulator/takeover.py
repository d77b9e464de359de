"""The failover of a simulated run: the replica takes over, is judged, and the store mounts.

The image is compared with the truth after the promotion and before the store opens it: what
clients go on with is this image, not the one that a copy at the loss would have given.  So
the recovery point is taken here, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicator.errors import NoSpace, ReplicatorError, SyncFailed
from replicator.failover import FailoverOptions, FailoverProgress, FailoverReport
from replicator.runtime import Task, sleep_ns
from simulator.exchange.ledger import LedgerVerdict
from simulator.host import Host
from simulator.judgement import FAILOVER, SECOND_NS, Claim
from simulator.measures import LOSS_OF_SOURCE, ORDERED_FAILOVER, RecoveryTime
from simulator.one_source import OneSourceJudge
from simulator.scenario_world import ScenarioWorld

MOUNT_AGAIN_NS: Final = SECOND_NS
"""So long somebody waits who cannot mount a store for want of room, before he tries again."""


class Takeover:
    """One failover; begun anew on the replica's next process when one dies in between.

    Arguments
    ---------
    built: the world of the run.
    lost_at_ns: when the source was lost, or the failover ordered.
    at_loss: what was certain to be at the replica then; None when it was lost before.
    circumstances: what is so at an instant, of a claim (:mod:`simulator.circumstances`).
    one_source: is told of the image that takes over, if somebody judges that.
    ordered: an operator has decided it, whether the source lives or not: nothing has to be
        detected.
    opened: called with the time when the store is opened at the replica.
    """

    def __init__(
        self,
        built: ScenarioWorld,
        lost_at_ns: int,
        at_loss: Claim | None,
        circumstances: Callable[[Claim], tuple[str, ...]],
        one_source: OneSourceJudge | None = None,
        ordered: bool = False,
        opened: Callable[[int], None] = lambda _now_ns: None,
    ) -> None:
        self.lost_at_ns = lost_at_ns
        self.ordered = ordered
        self.report: FailoverReport | None = None
        """None until clients are at work on the replica."""
        self.taken_over: Claim | None = None
        """The image that the store opened: from then on it is the store's, and no copy of
        anything."""
        self.failure: BaseException | None = None
        """What the failover died of, though the replica's process lived on."""
        self.at_loss = at_loss
        """What has to be there when it takes over; less when a fault takes that away later."""
        self._circumstances = circumstances
        self._one_source = one_source
        self._opened = opened
        known_ns = lost_at_ns if ordered else None
        self._progress = FailoverProgress(known_ns, known_ns)
        self._built = built

    @property
    def defect(self) -> str:
        """Why it cannot end; empty while it goes."""
        if not isinstance(self.failure, ReplicatorError):
            return ""
        return f"the failover failed: {self.failure.advice}"

    @property
    def recovery(self) -> RecoveryTime | None:
        """The parts of the recovery time; None until all of them are over."""
        r = self.report
        if r is None:
            return None
        return RecoveryTime(
            (r.detected_at_ns - self.lost_at_ns) / SECOND_NS,
            r.decide_ns / SECOND_NS,
            r.recover_ns / SECOND_NS,
            r.mount_ns / SECOND_NS,
            r.redirect_ns / SECOND_NS,
        )

    def begin(self, host: Host) -> None:
        """Fail over to the replica whose process this is."""
        host.kernel.run_task(self._run(host), "failover", lambda task: self._ended(task, host))

    def _ended(self, task: Task[None], host: Host) -> None:
        if isinstance(task.error, SyncFailed) and host.failure is None:
            # As of any process whose sync failed: it ends, is started again, and goes on.
            host.failure = task.error
            host.world.observe(host.machine.name, "failed", (repr(task.error),))
        else:
            self.failure = task.error

    async def _run(self, host: Host) -> None:
        f = self._built.scenario.failover
        self.report = await self._built.system.fail_over(
            host,
            FailoverOptions(f.detect_ns, f.decide_ns, f.redirect_ns),
            lambda: self._mount(host),
            self._progress,
        )

    async def _mount(self, host: Host) -> None:
        oracle, system = self._built.oracle, self._built.system
        claim, recovered = self.taken_over, system.taken_over()
        if claim is None:  # else its process died after the store had opened it
            disk = host.machine.disks[system.home.disk]
            claim = oracle.judge_taken_over(
                recovered, disk, self.at_loss, host.now_ns(), self._circumstances
            )
            self.taken_over = claim
            self._opened(host.now_ns())
            if self._one_source is not None:
                self._one_source.taken_over(claim)
        mounted = await self._mounted(host, claim, recovered.root)
        if mounted is not None:
            wait_ns = self._built.scenario.failover.mount_per_log_ns
            root = recovered.root or system.home.root
            logs = mounted.replayed_logs
            await sleep_ns(wait_ns * (self._logs(host, root) if logs is None else logs))
        oracle.note_contents(claim, mounted, host.now_ns(), self._circumstances(claim))
        oracle.note_mounted(mounted, FAILOVER, host.now_ns(), self._circumstances(claim))
        judge = self._one_source
        if judge is not None:
            judge.clients_come()
        if self.ordered and judge is not None:
            before = judge.before_takeover
            oracle.final_loss(claim, mounted, ORDERED_FAILOVER, self.lost_at_ns, *before)
        else:
            oracle.final_loss(claim, mounted, LOSS_OF_SOURCE, self.lost_at_ns)

    async def _mounted(self, host: Host, claim: Claim, root: str) -> LedgerVerdict | None:
        """Open the store, again and again while the volume has no room for its recovery."""
        while True:
            try:
                return await self._built.oracle.mount(host, claim, root, scratch=False)
            except NoSpace as full:
                host.emit("stalled", full.advice)
                await sleep_ns(MOUNT_AGAIN_NS)

    def _logs(self, host: Host, root: str) -> int:
        """Log generations in the image: the most that a mount has to replay."""
        names = host.volume(self._built.system.home.disk).list(root)
        return sum(1 for name in names if name.endswith(".log"))
