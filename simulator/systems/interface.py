"""What a run, its oracle and its sampler need of a protection system: no more than this.

:class:`ProtectionSystem` is fulfilled by the reference replicator
(:mod:`simulator.systems.byte_level`) and by whatever an engineer puts in its place
(:mod:`simulator.systems.candidate`).  A new one is a module beside those and a table in the
scenario; nothing that judges asks which one it is.

A system *numbers* its operations when it can say of which operation its image is.  One that
does not is judged by what its image is: the truth is searched for the newest operation after
which the source's image was just that.  What such a system gives no ground to judge stands in
:attr:`ProtectionSystem.not_judged` and in the record of the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from replicator.failover import FailoverOptions, FailoverProgress, FailoverReport
from replicator.logship_queue import QueueReport
from simulator.disk import Disk
from simulator.host import Host, Machine
from simulator.link import Link
from simulator.truth import Truth


class Home(NamedTuple):
    """Where a replica keeps its image."""

    disk: str
    root: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a replica's own recovery says of its image.

    Arguments
    ---------
    epoch, operation: of which operation it is; epoch 0: nothing has been synchronized yet.
    damage: why the replica itself doubts its image; empty when it does not.
    numbered: whether it says so at all; else ``operation`` means nothing and is found out.
    root: where the image is, when it is not where it always is.
    unverified: why the replica does not know whether its disk holds what it said.
    by_content: its files are none of the source's and are not compared with them: what is in
        them, once a store has mounted them, must be what the operation had left.
    """

    epoch: int
    operation: int
    damage: str = ""
    numbered: bool = True
    root: str = ""
    unverified: str = ""
    by_content: bool = False


@dataclass(frozen=True, slots=True)
class LagReport:
    """What a sender says of its lag."""

    sender: tuple[int, ...]
    """Which process and history this is about."""
    streaming: bool
    lag_ns: int | None


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What a replica that runs says of its image."""

    epoch: int
    applied: int
    as_of_ns: int
    """By the source's wall clock."""


@dataclass(frozen=True, slots=True)
class ReplicaDoubts:
    """What a replica that runs says against its own image."""

    damage: str
    unverified: str
    switching: bool
    """Another image is committed and takes the place of this one just now."""


@dataclass(frozen=True, slots=True)
class SystemReport:
    """What both ends report of themselves; all but ``state`` may be left out."""

    state: str
    """The source's own word, or ``down``, ``starting``."""
    cause: str = ""
    durable: tuple[int, int] | None = None
    """Epoch and operation of it that the source knows to be durable at the replica."""
    spool_bytes: int = 0
    spool_peak_bytes: int = 0
    journal_bytes: int = 0
    lag: LagReport | None = None
    image: ImageReport | None = None
    queues: QueueReport | None = None
    """Of log shipping: logs that wait to be copied, and to be replayed."""


class KeptTree(NamedTuple):
    """A directory that ``simulator run --keep`` writes, and its name there."""

    disk: Disk
    root: str
    target: str


class SecondSourceMachine(Protocol):
    """A second machine that is set up as the source of the same set."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class OtherReplica(Protocol):
    """The replica of another set, for a source that is set up for the wrong one."""

    def aim(self) -> None:
        """Restart the sender with this one's address."""

    def correct(self) -> None:
        """Restart the sender with its own replica's address."""

    @property
    def defect(self) -> str:
        """What was done to the other set's replica; empty when nothing was."""


class ProtectionSystem(Protocol):
    """Software on the machines ``source`` and ``replica`` that keeps a copy of a set of files."""

    @property
    def truth(self) -> Truth:
        """What the source's programs did."""

    @property
    def source_machine(self) -> Machine: ...

    @property
    def replica_machine(self) -> Machine: ...

    @property
    def home(self) -> Home:
        """Where the image is."""

    @property
    def not_judged(self) -> Mapping[str, str]:
        """Invariants that cannot be judged of this system, and why."""

    @property
    def has_our_frames(self) -> bool:
        """Whether its ends speak the reference replicator's protocol."""

    @property
    def areas(self) -> tuple[tuple[str, str], ...]:
        """What files below which directories are for; the first that fits counts."""

    def start_source(self) -> None:
        """Start the source machine's software, as far as it does not run."""

    def start_replica(self) -> Host:
        """Boot the replica machine's software."""

    def replica_down(self) -> None:
        """The replica's process is gone: what is known of it no longer counts."""

    def report(self) -> SystemReport:
        """What both ends say of themselves now."""

    def doubts(self) -> ReplicaDoubts | None:
        """What the replica says against its own image; None when none runs, or none says so."""

    @property
    def converged(self) -> bool:
        """Whether the replica has everything that the source's programs wrote."""

    @property
    def resynchronizations(self) -> int:
        """Whole synchronizations so far, the first one included."""

    def wire_bytes(self, link: Link) -> tuple[int, int]:
        """Bytes from source to replica and back."""

    async def recover(self, host: Host) -> Recovered:
        """Recover the replica's disks as ``host`` sees them, mostly a copy; in no time.

        Raises ReplicatorError when recovery ends without an image.
        """

    async def fail_over(
        self,
        host: Host,
        options: FailoverOptions,
        mount: Callable[[], Awaitable[None]],
        progress: FailoverProgress,
    ) -> FailoverReport | None:
        """Take over on the replica's process; ``mount`` opens the store once it has."""

    def taken_over(self) -> Recovered:
        """What the replica that takes over says of its image, before the store opens it."""

    def second_source(self, link: Link) -> SecondSourceMachine:
        """A second source, for a fault; ``link``: what its way to the replica is like."""

    def other_replica(self, link: Link) -> OtherReplica:
        """The replica of another set, for a fault; ``link``: what the way to it is like."""

    def watched(self, in_time: bool = True) -> AbstractContextManager[None]:
        """Around the run: guards that the system's software needs.

        Arguments
        ---------
        in_time: whether simulated time goes on inside; around the whole of a run, its end
            included, it need not.
        """

    def close(self) -> None:
        """The run is over: give back what of the real machine was used."""

    def kept(self) -> Iterator[KeptTree]:
        """The directories of machines that are not lost, for ``--keep``."""


__all__ = [
    "Home",
    "ImageReport",
    "KeptTree",
    "LagReport",
    "OtherReplica",
    "ProtectionSystem",
    "Recovered",
    "ReplicaDoubts",
    "SecondSourceMachine",
    "SystemReport",
]
