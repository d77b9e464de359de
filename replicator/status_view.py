"""How a reader judges what the processes have said of themselves.

A report counts as *current* for one heartbeat.  After that its figures are unknown, and what is
shown is what was known last, with its age.  Whether the process is there at all is told by its
lock, not by its report::

    lock free                                    not running (or never started)
    lock held, a report of this process, fresh   running
    lock held, no news for one heartbeat         late
    lock held, no news for three                 hung
    lock held, the report is of an earlier one   starting
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from replicator.status import FORMAT
from replicator.takeover_wish import WishState, wish_words

HUNG_HEARTBEATS: Final = 3


class Condition(StrEnum):
    """Whether a process is there."""

    RUNNING = "running"
    LATE = "late"
    HUNG = "hung"
    STARTING = "starting"
    DOWN = "not running"
    NEVER = "never started"


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process as it can be judged now; times in nanoseconds."""

    condition: Condition
    pid: int | None
    age_ns: int | None
    """Since its last report; None when there is none of this boot."""
    as_of_wall_ns: int | None
    """When that report was made."""
    started_wall_ns: int | None
    since_wall_ns: int | None
    """Since when the state and its cause are the same."""
    ended: str
    """What it said when it ended; empty while it runs, or when it was killed."""
    status: dict[str, Any] | None
    """The figures, if they are current; None when they are unknown."""
    last_known: dict[str, Any] | None
    """The figures of the last report, however old."""

    @property
    def state(self) -> str:
        """The state that counts now; ``unknown`` when there is no current report."""
        return "unknown" if self.status is None else str(self.status["state"])


@dataclass(frozen=True, slots=True)
class SpoolView:
    """The spool as its keeper notes it, whether or not the sender runs."""

    epoch: int
    capturing: bool
    capture_stopped: str
    completed: int
    waiting_bytes: int
    used_bytes: int
    limit_bytes: int
    holds: bool = False
    """Whether a program that writes now would be held: policy hold, and no room."""


def judge(document: dict[str, Any] | None, locked: bool, now_ns: int, boot_id: int) -> ProcessView:
    """What to make of a report.

    Arguments
    ---------
    document: what stands on the page, if anything.
    locked: whether a process holds the lock.
    now_ns, boot_id: of this machine.
    """
    if document is None or document.get("format") != FORMAT:
        condition = Condition.STARTING if locked else Condition.NEVER
        return ProcessView(condition, None, None, None, None, None, "", None, None)
    this_boot = document["boot_id"] == boot_id
    age_ns = max(0, now_ns - document["written_ns"]) if this_boot else None
    ended, heartbeat_ns = document["ended"], document["heartbeat_ns"]
    if not locked:
        condition = Condition.DOWN
    elif age_ns is None or ended:
        condition = Condition.STARTING
    elif age_ns <= heartbeat_ns:
        condition = Condition.RUNNING
    elif age_ns <= HUNG_HEARTBEATS * heartbeat_ns:
        condition = Condition.LATE
    else:
        condition = Condition.HUNG
    there = condition in (Condition.RUNNING, Condition.LATE, Condition.HUNG)
    return ProcessView(
        condition=condition,
        pid=document["pid"] if there else None,
        age_ns=age_ns,
        as_of_wall_ns=document["written_wall_ns"],
        started_wall_ns=document["started_wall_ns"] if there else None,
        since_wall_ns=document["since_wall_ns"],
        ended=ended,
        status=document["status"] if condition == Condition.RUNNING else None,
        last_known=document["status"],
    )


@dataclass(frozen=True, slots=True)
class WishView:
    """An operator's wish that the replica takes over, while it is not carried out."""

    state: WishState
    """pending, old or begun; see :mod:`replicator.takeover_wish`."""
    pid: int | None
    """Of the process that wished."""
    wished_wall_ns: int | None
    """This machine's clock when it was wished; None when that cannot be read."""
    age_ns: int | None


@dataclass(frozen=True, slots=True)
class StatusView:
    """All that one configuration's ends say, as of one instant."""

    set: str
    checked_wall_ns: int
    source: ProcessView | None
    program: ProcessView | None
    """Whoever captures, when that is a program and not the sender itself."""
    spool: SpoolView | None
    replica: ProcessView | None
    fence: str = ""
    """Why this source is closed for good; empty while it is open."""
    wish: WishView | None = None
    """That the replica is to take over, and has not done so yet; None when nobody wishes it."""

    def attention(self) -> list[str]:
        """What an operator should look at, in words; empty when all is as it should be."""
        found: list[str] = []
        if self.source is not None:
            found += _of_source(self.source, self.spool, self.fence)
        if self.program is not None:
            found += _of_program(self.program)
        if self.spool is not None and self.spool.holds and not _is_held(self.program):
            found.append("the spool is full: a program that writes is held until there is room")
        if self.replica is not None:
            found += _of_replica(self.replica)
        if self.wish is not None:
            found.append(wish_words(self.wish.state, self.wish.age_ns))
        return found

    def to_json(self) -> dict[str, Any]:
        """The document of ``replicator status --json``; see ``docs/status.schema.json``."""
        return {
            "format": FORMAT,
            "set": self.set,
            "checked_wall_ns": self.checked_wall_ns,
            "source": _shown(self.source),
            "program": _shown(self.program),
            "spool": None if self.spool is None else asdict(self.spool),
            "replica": _shown(self.replica),
            "fence": self.fence,
            "wish": None if self.wish is None else asdict(self.wish),
            "attention": self.attention(),
        }


def _shown(view: ProcessView | None) -> dict[str, Any] | None:
    return None if view is None else asdict(view) | {"state": view.state}


def _of_source(view: ProcessView, spool: SpoolView | None, fence: str) -> Iterator[str]:
    if fence:
        yield f"source fenced: {fence}"
        return  # nothing else matters here any more
    stopped = "" if spool is None or spool.capturing else spool.capture_stopped
    if view.condition != Condition.RUNNING:
        yield f"the source's sender is {view.condition}"
    elif view.status is not None:
        status = view.status
        if status["state"] not in ("streaming", "synchronizing"):
            yield f"the source is {status['state']}: {status['cause'] or 'no cause given'}"
        if status["replica_stalled"]:
            yield f"the replica stands still: {status['replica_stalled']}"
        if spool is None:
            stopped = status["capture_stopped"]
    if stopped:
        yield f"capture stopped: {stopped}"


def _is_held(view: ProcessView | None) -> bool:
    return view is not None and view.state == "held"


def _of_program(view: ProcessView) -> Iterator[str]:
    if view.condition in (Condition.LATE, Condition.HUNG):
        yield f"the program that captures is {view.condition}"
    elif view.status is not None and view.status["state"] == "held":
        yield view.status["cause"]


def _of_replica(view: ProcessView) -> Iterator[str]:
    if view.condition != Condition.RUNNING:
        yield f"the replica is {view.condition}"
    elif view.status is not None:
        status = view.status
        if status["state"] in ("waiting", "recovering", "stalled"):
            yield f"the replica is {status['state']}: {status['cause'] or 'no cause given'}"
        refused = status.get("refused", "")
        if refused and refused != status["cause"]:
            yield f"the replica has refused a source: {refused}"
        if status["damage"]:
            yield f"the image is in doubt: {status['damage']}"
        if status.get("unverified"):
            yield f"the image is not verified: {status['unverified']}"
