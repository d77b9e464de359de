"""``replicator promote``: through the running process, or in its place when it is down."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from replicator.config import LoadedConfiguration
from replicator.errors import BadInput, ForeignLog, Locked, PromotionUnanswered
from replicator.host.machine_volumes import real_directory
from replicator.host.paths import translated
from replicator.host.processes import (
    REPLICA_STATUS,
    count_start,
    lock_replica,
    replica_places,
    replica_store,
)
from replicator.host.status_reader import read_status
from replicator.host.world import HostRuntime, run_on_host
from replicator.image_age import seen_age
from replicator.replica import Replica
from replicator.replica_journal import lost_before
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.segments import Position, segment_name
from replicator.service import no_image, promote_stopped
from replicator.slots import newest_of
from replicator.status import Reporter, replica_status
from replicator.status_page import StatusPage
from replicator.status_text import ImageFound
from replicator.status_view import Condition
from replicator.takeover_wish import WishState, wish_of, withdraw_wish

LOOK_AGAIN_NS: Final = 100_000_000
PATIENCE_NS: Final = 60_000_000_000
"""A running replica may have much to apply; while that goes on, it is waited for."""

TAKE_BACK: Final = "'replicator promote --withdraw' takes it back"


def look_before(loaded: LoadedConfiguration) -> ImageFound:
    """The image as far as it is known without touching anything.

    What is on disk decides; the status page, which a power loss may take, only says it with
    newer figures.  Raises BadInput when there is no image and cannot be one, ForeignLog.
    """
    table = loaded.replica()
    root = real_directory(table.directory, "replica.directory")
    view = read_status(loaded).replica
    shown = view.last_known if view is not None else None
    slots = _contents(f"{root}/checkpoint")
    if not slots and shown is None:
        raise BadInput(
            "no replica has run on this directory",
            path=table.directory,
            remedy="Check replica.directory; there is nothing to promote.",
        )
    kept = newest_of(slots, "checkpoint")
    if kept is not None and kept["set"] != loaded.set_id:
        raise ForeignLog(
            f"it holds the protected set {kept['set']!r}, not {loaded.set_id!r}", path=root
        )
    damage = ""
    if kept is None and any(data.strip(b"\0") for data in slots):
        damage = "neither copy of the checkpoint is valid"
    noted = newest_of(_contents(f"{root}/promoted"), "promoted")
    promoted = noted is not None or bool(kept and kept["promoted"])
    journal = Path(table.journal.directory or root, "journal")
    down = view is None or view.condition in (Condition.DOWN, Condition.NEVER)
    # One that was committed may wait in the journal, where a recovery finds it.
    may_come = down and any(journal.glob("*.segment"))
    if not (promoted or damage or _has_files(kept) or may_come):
        raise no_image(root)
    if down and kept is not None and not kept["damage"]:
        damage = _lost_of(journal, kept)  # the recovery that is to come finds it as well
    told = _as_kept(root, kept, damage)
    if (
        view is not None
        and shown is not None
        and _place(shown) >= _place(told.status)
        and not damage
    ):
        told = _Told(shown, view.as_of_wall_ns, view.age_ns)
        promoted = promoted or shown["promoted"]
    return _found(loaded, told, promoted)


def _has_files(kept: dict[str, Any] | None) -> bool:
    """Whether there is an image, or what is left of one: who takes over with that is told."""
    return kept is not None and bool(kept["epoch"] or kept["damage"])


def _lost_of(journal: Path, kept: dict[str, Any]) -> str:
    """What the checkpoint counts on and the journal surely lacks, by the sizes of its files."""
    sizes = {
        int(path.stem): path.stat().st_size
        for path in journal.glob("*.segment")
        if path.stem.isascii() and path.stem.isdecimal()
    }
    needed = Position(int(kept["segment"]), int(kept["offset"]))
    lost = lost_before(needed, sizes)
    return f"{journal / segment_name(needed.segment)}: {lost}" if lost else ""


def _contents(base: str) -> list[bytes]:
    """What is in the copies of a state, as far as there are any."""
    found: list[bytes] = []
    for path in (Path(f"{base}.a"), Path(f"{base}.b")):
        with translated(str(path)):
            if path.exists():
                found.append(path.read_bytes())
    return found


def _place(status: dict[str, Any]) -> tuple[int, int]:
    return status["epoch"], status["applied"]


class _Told(NamedTuple):
    """What a status says, or a checkpoint in its words, and when it said that."""

    status: dict[str, Any]
    written_wall_ns: int | None = None
    since_ns: int | None = None


def _as_kept(root: str, kept: dict[str, Any] | None, damage: str) -> _Told:
    """What a checkpoint says, in the words of a status."""
    nothing = {"epoch": 0, "operation": 0, "as_of_ns": 0, "damage": damage, "unverified": ""}
    kept = kept or nothing
    return _Told(
        {
            "image": f"{root}/image",
            "epoch": kept["epoch"],
            "applied": kept["operation"],
            "as_of_wall_ns": kept["as_of_ns"],
            "as_of_here_wall_ns": kept.get("as_of_here_wall_ns", 0),
            "damage": kept["damage"] or damage,
            "unverified": kept.get("unverified", ""),
        }
    )


def _found(loaded: LoadedConfiguration, told: _Told, promoted: bool) -> ImageFound:
    status = told.status
    return ImageFound(
        image=status["image"],
        set_id=loaded.set_id,
        epoch=status["epoch"],
        operation=status["applied"],
        as_of_wall_ns=status["as_of_wall_ns"],
        age=seen_age(status, told.written_wall_ns, told.since_ns, time.time_ns()),
        damage=status["damage"],
        unverified=status.get("unverified", ""),
        promoted=promoted,
    )


def promote_replica(loaded: LoadedConfiguration) -> ImageFound:
    """Promote, durably; returns the image that has taken over.

    Raises PromotionUnanswered when the running process does not do it in time, BadInput when
    there is no image.
    """

    async def main(runtime: HostRuntime) -> _Told:
        places = replica_places(runtime, loaded)
        store = replica_store(runtime, loaded, places)
        store.refuse_foreign()
        try:
            await lock_replica(places)
        except Locked:
            await wish_of(runtime, store).note(os.getpid(), runtime.wall_ns(), runtime.now_ns())
            return await _wait_for_the_process(runtime, loaded, store)
        table = loaded.replica()
        count_start(runtime, f"{places.home.path}/replica.starts")
        replica = Replica(runtime, store, table.listen, table.heartbeat_ns, table.heartbeat_misses)
        reporter = Reporter(
            runtime,
            lambda: StatusPage(places.home.volume, f"{places.home.path}/{REPLICA_STATUS}"),
            "replica",
            loaded.set_id,
            os.getpid(),
            table.heartbeat_ns,
            lambda: replica_status(store, replica),
        )
        await promote_stopped(runtime, store, replica)
        reporter.report("it took over while its process was down")
        return _Told(asdict(replica_status(store, replica)), runtime.wall_ns(), 0)

    return _found(loaded, run_on_host(main, name="promote"), promoted=True)


def withdraw_promotion(loaded: LoadedConfiguration) -> bool:
    """Take the wish of an earlier promotion back; False when there was none.

    Raises BadInput when the takeover has begun: then nothing is changed.
    """
    real_directory(loaded.replica().directory, "replica.directory")

    async def main(runtime: HostRuntime) -> bool:
        store = replica_store(runtime, loaded, replica_places(runtime, loaded))
        store.refuse_foreign()
        return await withdraw_wish(runtime, store)

    return run_on_host(main, name="withdraw")


async def _wait_for_the_process(
    runtime: HostRuntime, loaded: LoadedConfiguration, store: ReplicaStore
) -> _Told:
    """Until the process has done it, as long as it gets on with it."""
    wish, heartbeat_ns = wish_of(runtime, store), loaded.replica().heartbeat_ns
    heard_ns = moved_ns = runtime.now_ns()
    place: tuple[int, ...] | None = None
    while True:
        noted = wish.look()  # gone when all is done, or refused, or withdrawn
        view = read_status(loaded).replica
        status, now_ns = None if view is None else view.status, runtime.now_ns()
        if noted.state == WishState.NONE:
            kept = newest_of(_contents(f"{store.root}/checkpoint"), "checkpoint")
            if newest_of(_contents(f"{store.root}/promoted"), "promoted") is None:
                raise _withdrawn(store.root) if _has_files(kept) else no_image(store.root)
            if view is not None and status is not None and status["promoted"]:
                return _Told(status, view.as_of_wall_ns, view.age_ns)
            return _as_kept(store.root, kept, "")
        if status is not None:
            heard_ns = now_ns
            works = status["promoted"] or status["state"] == "recovering"
            now = (*_place(status), status["checkpointed"]) if works else None
            if now != place:
                place, moved_ns = now, now_ns
        if now_ns - heard_ns > min(PATIENCE_NS, 10 * heartbeat_ns + 5_000_000_000):
            raise PromotionUnanswered(
                "the replica's process was asked to take over and does not answer; the wish is "
                f"noted and counts as soon as it works again; {TAKE_BACK}",
                path=loaded.replica().directory,
            )
        if now_ns - moved_ns > PATIENCE_NS:
            cause = "" if status is None or not status["cause"] else f": {status['cause']}"
            raise PromotionUnanswered(
                "the replica's process was asked to take over and does not get on with it"
                f"{cause}; the wish is noted and counts as soon as it does; {TAKE_BACK}",
                path=loaded.replica().directory,
            )
        await sleep_ns(LOOK_AGAIN_NS)


def _withdrawn(directory: str) -> BadInput:
    return BadInput(
        "the wish was withdrawn before the takeover began: nothing was changed",
        path=directory,
        remedy="Ask who withdrew it; 'replicator promote' wishes it again.",
    )
