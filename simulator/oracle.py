"""The oracle: is the replica's image, as if it died now, one that the source really had?

It works on copies: the replica's disks are forked as they are (after a crash), or forked
and robbed of their unsynced data (at any other moment), the replica's own recovery runs on
the fork in no time, and the image that results is compared by digest with the truth at the
operation that recovery *claims*.  The store's own recovery then runs on that image, and
the independent ledger judges the mailboxes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from replicator.replica_store import RecoveryReport, ReplicaStore
from simulator.device import INSTANT
from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.exchange.ledger import LedgerVerdict
from simulator.host import Host, run_offline
from simulator.inode import Choose
from simulator.measures import Check, LossMeasure
from simulator.truth import Truth
from simulator.workload import Workload

SECOND_NS = 1_000_000_000

StoreFactory = Callable[[Host], ReplicaStore]


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """What one examination found."""

    epoch: int
    operation: int
    prefix: bool
    detail: str
    damage: str
    mounted: LedgerVerdict | None
    """None when the workload has nothing to mount, or nothing has been synchronized yet."""
    synchronized: bool
    """False before the first synchronization: then there is no image to judge."""


class Oracle:
    """Judges the replica's disks against the truth.

    Arguments
    ---------
    truth: what happened at the source.
    workload: for mounting and the ledger.
    open_store: makes the replica's storage on a host, as the replica itself does.
    home_disk, home_root: where the home image is.
    """

    def __init__(
        self,
        truth: Truth,
        workload: Workload,
        open_store: StoreFactory,
        home_disk: str,
        home_root: str,
    ) -> None:
        self.truth = truth
        self.workload = workload
        self._open_store = open_store
        self._home_disk = home_disk
        self._home_root = home_root
        self.durable: dict[int, int] = {}
        """Epoch to the highest operation that was acknowledged as durable."""
        self.checks: list[Check] = []
        self.losses: list[LossMeasure] = []

    def acknowledged(self, epoch: int, operation: int) -> None:
        """The source was told that an operation is durable at the replica."""
        if operation > self.durable.get(epoch, -1):
            self.durable[epoch] = operation

    # -- examination ---------------------------------------------------------------

    def examine(self, disks: dict[str, Disk], choose: Choose | None, mount: bool) -> ImageVerdict:
        """Recover a copy of the replica's disks and compare the image with the truth.

        Arguments
        ---------
        choose: what survives if the power went now; None when the disks have crashed already.
        mount: whether the store's recovery shall run as well.
        """
        # Fold what was written since the last time into the base's hashes: then the copy has
        # to hash only what its own crash and recovery change.
        image_digest(disks[self._home_disk], self._home_root)
        if choose is not None:
            crashed: dict[str, Disk] = {}
            for name, disk in disks.items():
                crashed[name] = disk.fork(disk.clock, INSTANT)
                crashed[name].power_loss(choose)
            disks = crashed
        found: list[tuple[RecoveryReport, int]] = []
        mounted: list[LedgerVerdict | None] = []

        async def recover(host: Host) -> None:
            store = self._open_store(host)
            report = await store.open()
            home = host.machine.disks[self._home_disk]
            found.append((report, image_digest(home, self._home_root)))
            if mount and report.epoch and not report.damage:
                volume = host.volume(self._home_disk)
                stale = report.epoch != max(self.truth.epochs)
                mounted.append(await self.workload.mounts(host, volume, self._home_root, stale))

        run_offline(disks, recover)
        report, digest = found[0]
        prefix, detail = self._compare(report, digest)
        return ImageVerdict(
            report.epoch,
            report.operation,
            prefix,
            detail,
            report.damage,
            mounted[0] if mounted else None,
            report.epoch > 0,
        )

    def _compare(self, report: RecoveryReport, digest: int) -> tuple[bool, str]:
        claimed = f"operation {report.operation} of epoch {report.epoch}"
        if report.epoch == 0:
            return True, "nothing has been synchronized yet"
        if report.damage:
            return True, f"the replica says that its image is in doubt: {report.damage}"
        if self.truth.digest_of(report.epoch, report.operation) == digest:
            return True, f"the image is that after {claimed}"
        elsewhere = self.truth.find(report.epoch, digest)
        if elsewhere:
            return False, f"the replica claims {claimed}, its image is that after {elsewhere[:3]}"
        return False, f"the image is not that after {claimed}, nor after any other"

    def judge(
        self,
        disks: dict[str, Disk],
        choose: Choose | None,
        occasion: str,
        now_ns: int,
        mount: bool = True,
    ) -> ImageVerdict:
        """Examine, and note a check for each invariant that could be judged."""
        verdict = self.examine(disks, choose, mount)
        seconds = now_ns / SECOND_NS
        self.checks.append(Check("prefix", seconds, occasion, verdict.prefix, verdict.detail))
        floor = self.durable.get(verdict.epoch)
        newest = max((e for e, k in self.durable.items() if k > 0), default=0)
        if verdict.damage:
            self.checks.append(
                Check("durable means durable", seconds, occasion, False, verdict.damage)
            )
        elif verdict.epoch < newest:
            self.checks.append(
                Check(
                    "durable means durable",
                    seconds,
                    occasion,
                    False,
                    f"epoch {newest} was acknowledged, epoch {verdict.epoch} is there",
                )
            )
        elif floor is not None:
            self.checks.append(
                Check(
                    "durable means durable",
                    seconds,
                    occasion,
                    verdict.operation >= floor,
                    f"operation {floor} was acknowledged, {verdict.operation} is there",
                )
            )
        if verdict.mounted is not None:
            self.checks.append(
                Check("mountable", seconds, occasion, verdict.mounted.ok, verdict.mounted.reason)
            )
        return verdict

    # -- loss ----------------------------------------------------------------------

    def lose_all(self, failure: str, now_ns: int) -> LossMeasure:
        """The source is gone and no replica is left: everything is lost."""
        empty = ImageVerdict(0, 0, True, "", "", None, False)
        return self.loss(empty, failure, now_ns)

    def loss(self, verdict: ImageVerdict, failure: str, now_ns: int) -> LossMeasure:
        """What would be lost if the source were gone for ever at this instant."""
        truth = self.truth
        last = truth.instant
        have = truth.instant_of(verdict.epoch, verdict.operation)
        seconds = 0.0
        if have < last:
            seconds = (now_ns - truth.times_ns[have + 1]) / SECOND_NS
        messages: int | None = None
        ledger = self.workload.ledger
        if ledger is not None:
            transactions = verdict.mounted.transactions if verdict.mounted is not None else 0
            messages = ledger.loss(transactions).messages
        measure = LossMeasure(
            failure,
            now_ns / SECOND_NS,
            seconds,
            truth.written_bytes[last] - truth.written_bytes[have],
            last - have,
            messages,
        )
        self.losses.append(measure)
        return measure
