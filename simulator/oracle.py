"""The oracle: is the replica's image, as if it died now, one that the source really had?

It works on copies: the replica's disks are forked as they are (after a crash), or forked
and robbed of their unsynced data (whenever that is still in a cache), the replica's own
recovery runs on the fork in no time, and the image that results is compared by digest with
the truth at the operation that recovery *claims*.  The store's own recovery then runs on
that image, and the independent ledger judges the mailboxes: all that was acknowledged
before the next operation must be there.

An image that has taken over is judged where it stands, before the store opens it.  The
rules themselves are in :mod:`simulator.judgement`, which the live world shares.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from replicator.errors import ReplicatorError
from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.exchange.ledger import LedgerVerdict
from simulator.expectations import TORN_PAGE, TORN_PAGES
from simulator.healing import healed_digests
from simulator.host import Host, Machine, run_offline
from simulator.inode import Choose
from simulator.judgement import (
    FAILOVER,
    SECOND_NS,
    Claim,
    Found,
    complete_before_ns,
    content_check,
    durable_check,
    kept_check,
    loss_measure,
    prefix_check,
)
from simulator.measures import Check, LossMeasure
from simulator.medium import Flip
from simulator.systems.interface import Home, Recovered
from simulator.truth import Truth
from simulator.workload import Workload

Recover = Callable[[Host], Awaitable[Recovered]]


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """What one examination found."""

    claim: Claim
    prefix: bool
    detail: str
    mounted: LedgerVerdict | None
    """None when the workload has nothing to mount, or nothing has been synchronized yet."""

    @property
    def epoch(self) -> int:
        return self.claim.epoch

    @property
    def operation(self) -> int:
        return self.claim.operation

    @property
    def damage(self) -> str:
        return self.claim.damage


class Oracle:
    """Judges the replica's disks against the truth.

    Arguments
    ---------
    truth: what happened at the source.
    workload: for mounting and the ledger.
    recover: the replica's own recovery, on the disks of a host.
    home: where its image is.
    """

    def __init__(
        self,
        truth: Truth,
        workload: Workload,
        recover: Recover,
        home: Home,
    ) -> None:
        self.truth = truth
        self.workload = workload
        self._recover = recover
        self._home_disk, self._home_root = home
        self.durable: dict[int, int] = {}
        """Epoch to the highest operation that was acknowledged as durable."""
        self.rotten_end: Callable[[Machine], bool] = lambda _machine: False
        """Whether rot has hit the newest record of a machine's journal."""
        self.rot_is_needed: Callable[[Machine], bool] = lambda _machine: False
        """Whether rot is in what a machine's recovery needs."""
        self.rotten: Callable[[], list[Flip]] = list
        """What has changed on the replica's media behind everybody's back."""
        self.rotten_at_source: Callable[[], list[Flip]] = list
        """The same of the source's own files."""
        self._void = False
        """What the source believes to be durable is known to be gone."""
        self.seen = (0, 0)
        """Epoch and operation of the newest image that was found."""
        self.checks: list[Check] = []
        self.losses: list[LossMeasure] = []

    def acknowledged(self, epoch: int, operation: int) -> None:
        """The source was told that an operation is durable at the replica.

        Operation 0: that the replica's image is of that epoch.
        """
        if not self._void and operation > self.durable.get(epoch, -1):
            self.durable[epoch] = operation

    def void(self, claim: Claim | None) -> None:
        """A fault has taken away what had been promised: what is claimed now is all there is.

        Promises count again from when the source has learnt of it (:meth:`count_again`).
        None: nothing is known of what is there.
        """
        self.durable = {} if claim is None else {claim.epoch: claim.operation}
        self._void = True

    def count_again(self) -> None:
        """The source has heard what the replica has."""
        self._void = False

    # -- examination ---------------------------------------------------------------

    def examine(self, disks: dict[str, Disk], choose: Choose | None, mount: bool) -> ImageVerdict:
        """Recover a copy of the replica's disks and compare the image with the truth.

        Arguments
        ---------
        choose: what survives if the power went now; None to have the cache as it is.
        mount: whether the store's recovery shall run as well.
        """
        # Fold what was written since the last time into the base's hashes: then the copy has
        # to hash only what its own crash and recovery change.
        image_digest(disks[self._home_disk], self._home_root)
        found: list[Claim] = []
        mounted: list[LedgerVerdict | None] = []

        async def recover(host: Host) -> None:
            rotten_end = self.rotten_end(host.machine)
            rot_is_needed = self.rot_is_needed(host.machine)
            try:
                recovered = await self._recover(host)
            except ReplicatorError as error:
                # A replica that cannot start after a crash is of no use, whatever it holds.
                found.append(Claim(0, 0, 0, failure=str(error)))
                return
            claim = self._claim(recovered, host.machine.disks[self._home_disk])
            claim = replace(claim, rotten_end=rotten_end, rot_is_needed=rot_is_needed)
            found.append(claim)
            if mount and claim.epoch and not claim.damage:
                mounted.append(await self.mount(host, claim, recovered.root))

        run_offline(disks, recover, choose=choose)
        claim = found[0]
        prefix, detail = prefix_check(claim, self.truth)
        if claim.by_content and prefix and mounted and mounted[0] is not None:
            prefix, detail = content_check(mounted[0])
        if claim.mixture and mounted and mounted[0] is not None:
            said = "succeeds" if mounted[0].ok else mounted[0].reason
            detail = f"{detail}; the store's own mount of it: {said}"
        return ImageVerdict(claim, prefix, detail, mounted[0] if mounted else None)

    def _claim(self, recovered: Recovered, disk: Disk) -> Claim:
        """The claim of an image; of one without a number, what it is found to be."""
        claim = self._claimed(recovered, disk)
        ours, theirs = self.rotten(), self.rotten_at_source()
        if (ours or theirs) and not prefix_check(claim, self.truth)[0]:
            root = recovered.root or self._home_root
            healed = healed_digests(disk, root, ours, theirs, self.truth.root)
            return replace(claim, rotten_alone=any(self._was(claim, each) for each in healed))
        # What its files show is known when a store has mounted them.
        return replace(claim, rotten_alone=bool(ours) and claim.by_content)

    def _was(self, claim: Claim, digest: int) -> bool:
        """Whether the source had an image of this digest, where this is claimed."""
        if claim.mixture:
            return self.truth.newest_with(digest) is not None
        return digest == self.truth.digest_of(claim.epoch, claim.operation)

    def _claimed(self, recovered: Recovered, disk: Disk) -> Claim:
        root = recovered.root or self._home_root
        digest = image_digest(disk, root)
        epoch, operation = recovered.epoch, recovered.operation
        if recovered.by_content:
            return Claim(epoch, operation, digest, recovered.damage, by_content=True)
        if recovered.numbered or not epoch or recovered.damage:
            return Claim(epoch, operation, digest, recovered.damage, recovered.unverified)
        found = self.truth.newest_with(digest)
        if found is None:
            newest = max(self.truth.epochs, default=1)
            mixture = self.truth.explain(disk, root)
            return Claim(newest, 0, digest, mixture=mixture)
        return Claim(*found, digest)

    async def mount(
        self, host: Host, claim: Claim, root: str = "", scratch: bool = True
    ) -> LedgerVerdict | None:
        """Let the store recover on the image of a host.

        Arguments
        ---------
        claim: which image it is said, or was found, to be.
        root: where it is, when it is not where it always is.
        scratch: nobody needs it afterwards; see :class:`Workload`.
        """
        newest = max(self.truth.epochs, default=claim.epoch)
        complete_ns = 0
        if not claim.mixture:
            # While a store is mounting here, a source that lives may write and acknowledge more.
            complete_ns = min(
                complete_before_ns(self.truth, claim.epoch, claim.operation),
                self.truth.disk.clock.now() + 1,
            )
        return await self.workload.mounts(
            host,
            host.volume(self._home_disk),
            root or self._home_root,
            bool(claim.mixture) or claim.epoch != newest,
            complete_ns,
            claim.digest if scratch else None,
        )

    def judge(
        self,
        disks: dict[str, Disk],
        choose: Choose | None,
        occasion: str,
        now_ns: int,
        known: ImageVerdict | None = None,
        circumstances: Callable[[Claim], tuple[str, ...]] = lambda _claim: (),
    ) -> ImageVerdict:
        """Examine, and note a check for each invariant that could be judged.

        Arguments
        ---------
        known: the verdict, where just this examination was made before.
        circumstances: what is so just now, of a claim, and may be a reason.
        """
        verdict = self.examine(disks, choose, mount=True) if known is None else known
        so = circumstances(verdict.claim)
        if verdict.prefix and not verdict.damage:
            self.seen = max(self.seen, (verdict.epoch, verdict.operation))
        self._note("prefix", now_ns, occasion, (verdict.prefix, verdict.detail), so)
        self._note("durable means durable", now_ns, occasion, self._durable(verdict.claim), so)
        self.note_mounted(verdict.mounted, occasion, now_ns, so)
        return verdict

    def _durable(self, claim: Claim) -> Found | None:
        if claim.mixture:
            return None
        return durable_check(claim, self.durable)

    def _note(
        self,
        invariant: str,
        now_ns: int,
        occasion: str,
        found: Found | None,
        circumstances: tuple[str, ...] = (),
        error_number: int | None = None,
    ) -> None:
        if found is not None:
            at_seconds, so = now_ns / SECOND_NS, list(circumstances)
            check = Check(invariant, at_seconds, occasion, *found, so, error_number)
            self.checks.append(check)

    def note_mounted(
        self,
        mounted: LedgerVerdict | None,
        occasion: str,
        now_ns: int,
        circumstances: tuple[str, ...] = (),
    ) -> None:
        """Note what the store's own recovery found, if there was anything to mount."""
        if mounted is not None:
            found = (mounted.ok, mounted.reason)
            number = mounted.error_number
            if number != TORN_PAGE:
                circumstances = tuple(so for so in circumstances if so not in TORN_PAGES)
            self._note("mountable", now_ns, occasion, found, circumstances, number)

    # -- the image that has taken over ---------------------------------------------

    def judge_taken_over(
        self,
        recovered: Recovered,
        disk: Disk,
        at_loss: Claim | None,
        now_ns: int,
        circumstances: Callable[[Claim], tuple[str, ...]] = lambda _claim: (),
    ) -> Claim:
        """Judge the home image of a promoted replica, before anything opens it.

        Arguments
        ---------
        recovered: what the replica says of it.
        disk: where the home image really is.
        at_loss: what was certain to be there when the source was lost.
        """
        claim = self._claim(recovered, disk)
        so = circumstances(claim)
        if not claim.by_content:  # its content is judged when the store has opened it
            self._note("prefix", now_ns, FAILOVER, prefix_check(claim, self.truth), so)
        self._note("durable means durable", now_ns, FAILOVER, self._durable(claim), so)
        if at_loss is not None and not (claim.mixture or at_loss.mixture):
            found = kept_check(claim, at_loss)
            self._note("durable means durable", now_ns, f"{FAILOVER}, against the loss", found, so)
        return claim

    def note_contents(
        self,
        claim: Claim,
        mounted: LedgerVerdict | None,
        now_ns: int,
        circumstances: tuple[str, ...] = (),
    ) -> None:
        """Note what was found in an image that took over and is judged by its content."""
        if claim.by_content and mounted is not None:
            self._note("prefix", now_ns, FAILOVER, content_check(mounted), circumstances)

    # -- loss ----------------------------------------------------------------------

    def lose_all(self, failure: str, now_ns: int) -> LossMeasure:
        """The source is gone and no replica is left: everything is lost."""
        return self._loss(Claim(0, 0, 0), None, failure, now_ns)

    def loss(self, verdict: ImageVerdict, failure: str, now_ns: int) -> LossMeasure:
        """What would be lost if the source were gone for ever at this instant."""
        return self._loss(verdict.claim, verdict.mounted, failure, now_ns)

    def final_loss(
        self,
        claim: Claim,
        mounted: LedgerVerdict | None,
        failure: str,
        lost_at_ns: int,
        last: int | None = None,
        later_messages: int = 0,
    ) -> LossMeasure:
        """What really was lost, in place of what would have been: clients go on from here.

        Arguments
        ---------
        last, later_messages: of a source that lives on, its last instant then, and the messages
            that it has acknowledged since.
        """
        self.losses = [loss for loss in self.losses if loss.failure != failure]
        return self._loss(claim, mounted, failure, lost_at_ns, last, later_messages)

    def _loss(
        self,
        claim: Claim,
        mounted: LedgerVerdict | None,
        failure: str,
        now_ns: int,
        last: int | None = None,
        later_messages: int = 0,
    ) -> LossMeasure:
        messages: int | None = None
        mailboxes: int | None = None
        oldest_ns: int | None = None
        ledger = self.workload.ledger
        if ledger is not None:
            have = 0 if mounted is None else mounted.transactions
            messages = max(0, ledger.loss(have).messages - later_messages)
            lost = ledger.loss(have, until_ns=now_ns)
            mailboxes, oldest_ns = lost.mailboxes, lost.oldest_acknowledged_ns
        measure = loss_measure(
            self.truth,
            claim,
            failure=failure,
            now_ns=now_ns,
            messages=messages,
            last=last,
            mailboxes=mailboxes,
            oldest_ns=oldest_ns,
        )
        self.losses.append(measure)
        self.losses.sort(key=lambda loss: loss.at_seconds)
        return measure
