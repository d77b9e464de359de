"""The rules of judgement: what a replica claims, held against what the source really did.

The simulated and the live world find their claims in different ways (a fork of emulated
disks, a copy of real directories, an image that has taken over); what a claim must fulfil
stands here once, so that neither world can be milder than the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from simulator.exchange.ledger import LedgerVerdict
from simulator.measures import LossMeasure

SECOND_NS = 1_000_000_000
FAILOVER = "failover"
"""The occasion, or how it begins, of what is found when a replica has taken over."""
FOR_EVER_NS = 1 << 62
"""Later than any instant of a run."""


class TruthView(Protocol):
    """What both truths tell: each change of the protected set, by instant and by operation."""

    @property
    def instant(self) -> int: ...

    @property
    def times_ns(self) -> Sequence[int]: ...

    @property
    def written_bytes(self) -> Sequence[int]: ...

    def digest_of(self, epoch: int, operation: int) -> int | None: ...

    def instant_of(self, epoch: int, operation: int) -> int: ...

    def find(self, epoch: int, digest: int) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """An image, and what the replica says that it is."""

    epoch: int
    """0 before the first synchronization: then there is no image to judge."""
    operation: int
    digest: int
    damage: str = ""
    """Why the replica itself calls the image doubtful; empty when it does not."""
    unverified: str = ""
    """Why the replica itself does not know whether its disk holds what it said; empty when so."""
    rotten_alone: bool = False
    """What the image shows otherwise is what has rotted in it, and nothing else."""
    rot_is_needed: bool = False
    """Rot was in what recovery needed when it met it."""
    rotten_end: bool = False
    """Rot had hit the newest record of the journal when recovery met it."""
    failure: str = ""
    """Why recovery ended without an image; empty when it did not."""
    by_content: bool = False
    """Its files are its own: what is in them is judged, once a store has mounted them."""
    mixture: str = ""
    """Of an image that nobody numbered and that the source never had: what it is, in words."""

    @property
    def words(self) -> str:
        """Which image it is said to be."""
        return f"operation {self.operation} of epoch {self.epoch}"


Found = tuple[bool, str]
"""Whether a rule holds, and what was found."""


def prefix_check(claim: Claim, truth: TruthView) -> Found:
    """The image is the source's after just the operation that is claimed."""
    if claim.failure:
        return False, f"recovery of a copy failed: {claim.failure}"
    if claim.epoch == 0:
        return True, "nothing has been synchronized yet"
    if claim.damage:
        return True, f"the replica says that its image is in doubt: {claim.damage}"
    if claim.mixture:
        return False, claim.mixture
    if claim.by_content:
        return True, f"its files are its own; it is said to have all up to {claim.words}"
    if truth.digest_of(claim.epoch, claim.operation) == claim.digest:
        return True, f"the image is that after {claim.words}"
    elsewhere = truth.find(claim.epoch, claim.digest)
    if elsewhere:
        return False, f"the replica claims {claim.words}, its image is that after {elsewhere[:3]}"
    return False, f"the image is not that after {claim.words}, nor after any other"


def content_check(found: LedgerVerdict) -> Found:
    """What is in an image whose files are its own is what some prefix of the work has left."""
    if found.error_number is not None:
        return True, "what is in it is not known: it does not mount"
    if not found.is_prefix:
        return False, found.reason
    return True, f"it has what transactions up to {found.transactions} have left"


def durable_check(claim: Claim, durable: Mapping[int, int]) -> Found | None:
    """Nothing is missing that the source was told is durable.

    Arguments
    ---------
    durable: epoch to the highest operation of it that was acknowledged; 0 says that the
        replica's image was said to be of that epoch, so an older one may not come back.

    Returns None when nothing was promised of this epoch, or when there is no image.
    """
    if claim.failure:
        return None
    if claim.damage:
        return False, claim.damage
    newest, floor = max(durable, default=0), durable.get(claim.epoch)
    if claim.epoch < newest:
        return False, f"epoch {newest} was acknowledged, epoch {claim.epoch} is there"
    if floor is None:
        return None
    promised = f"operation {floor} of epoch {claim.epoch}"
    found = f"{promised} was acknowledged, {claim.operation} is there"
    return claim.operation >= floor, found


def kept_check(claim: Claim, earlier: Claim) -> Found:
    """What recovery found at an earlier instant is still there at a later one."""
    return (
        (claim.epoch, claim.operation) >= (earlier.epoch, earlier.operation),
        f"{earlier.words} was there before, {claim.words} is there now",
    )


def complete_before_ns(truth: TruthView, epoch: int, operation: int) -> int:
    """All that programs had finished before this instant is in the image after an operation.

    It is the time of the change that follows: what rests on that, or on a later one, cannot
    have been finished before.
    """
    have = truth.instant_of(epoch, operation)
    return truth.times_ns[have + 1] if have < truth.instant else FOR_EVER_NS


def loss_measure(
    truth: TruthView,
    claim: Claim,
    *,
    failure: str,
    now_ns: int,
    messages: int | None,
    last: int | None = None,
    mailboxes: int | None = None,
    oldest_ns: int | None = None,
) -> LossMeasure:
    """What an image lacks if the source is gone at ``now_ns``.

    Of an image that is not what is claimed, what it is counts; and when it is nothing that
    the source ever had, all is lost.

    Arguments
    ---------
    messages: acknowledged, and not in the image; None when the programs have none.
    last: the source's last instant then; the newest one when None.
    mailboxes: that lack one of these messages; None when nobody counts them.
    oldest_ns: of an image that is judged by its content, when the oldest of these messages was
        acknowledged; None when there is none.
    """
    last = truth.instant if last is None else last
    operation: int | None = claim.operation
    if not prefix_check(claim, truth)[0]:
        operation = max(truth.find(claim.epoch, claim.digest), default=None)
    have = 0 if operation is None else min(last, truth.instant_of(claim.epoch, operation))
    lag_ns = max(0, now_ns - truth.times_ns[have + 1]) if have < last else 0
    if claim.by_content:
        lag_ns = 0 if oldest_ns is None else max(0, now_ns - oldest_ns)
    return LossMeasure(
        failure,
        now_ns / SECOND_NS,
        lag_ns / SECOND_NS,
        truth.written_bytes[last] - truth.written_bytes[have],
        last - have,
        messages,
        mailboxes,
    )
