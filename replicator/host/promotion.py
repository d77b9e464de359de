"""``replicator promote``: through the running process, or in its place when it is down."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from replicator.config import LoadedConfiguration
from replicator.errors import BadInput, ForeignLog, Locked, PromotionUnanswered
from replicator.host.machine_volumes import real_directory
from replicator.host.paths import translated
from replicator.host.processes import count_start, lock_replica, replica_places, replica_store
from replicator.host.status_reader import read_status
from replicator.host.world import HostRuntime, run_on_host
from replicator.replica import Replica
from replicator.replica_store import ReplicaStore
from replicator.runtime import sleep_ns
from replicator.service import no_image, promote_stopped, request_path, request_promotion
from replicator.slots import newest_of
from replicator.status import replica_status
from replicator.status_text import ImageFound
from replicator.status_view import Condition

LOOK_AGAIN_NS: Final = 100_000_000
PATIENCE_NS: Final = 60_000_000_000
"""A running replica may have much to apply; while that goes on, it is waited for."""


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
    kept = newest_of(slots)
    if kept is not None and kept["set"] != loaded.set_id:
        raise ForeignLog(
            f"it holds the protected set {kept['set']!r}, not {loaded.set_id!r}", path=root
        )
    damage = ""
    if kept is None and any(data.strip(b"\0") for data in slots):
        damage = "neither copy of the checkpoint is valid"
    noted = newest_of(_contents(f"{root}/promoted"))
    promoted = noted is not None or bool(kept and kept["promoted"])
    if not (promoted or damage or (kept and kept["epoch"])):
        journal = table.journal.directory or root
        down = view is None or view.condition in (Condition.DOWN, Condition.NEVER)
        # One that was committed may wait in the journal, where a recovery finds it.
        if not (down and any(Path(journal, "journal").glob("*.segment"))):
            raise no_image(root)
    status = _as_kept(root, kept, damage) | {"promoted": promoted}
    if shown is not None and _place(shown) >= _place(status) and not damage:
        status = shown | {"promoted": promoted or shown["promoted"]}
    return _found(loaded, status)


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


def _as_kept(root: str, kept: dict[str, Any] | None, damage: str) -> dict[str, Any]:
    """What a checkpoint says, in the words of a status."""
    nothing = {"epoch": 0, "operation": 0, "as_of_ns": 0, "damage": damage, "unverified": ""}
    kept = kept or nothing
    return {
        "image": f"{root}/image",
        "epoch": kept["epoch"],
        "applied": kept["operation"],
        "as_of_wall_ns": kept["as_of_ns"],
        "damage": kept["damage"],
        "unverified": kept.get("unverified", ""),
    }


def _found(loaded: LoadedConfiguration, status: dict[str, Any]) -> ImageFound:
    as_of_ns = status["as_of_wall_ns"]
    return ImageFound(
        image=status["image"],
        set_id=loaded.set_id,
        epoch=status["epoch"],
        operation=status["applied"],
        as_of_wall_ns=as_of_ns,
        age_ns=max(0, time.time_ns() - as_of_ns),
        damage=status["damage"],
        unverified=status.get("unverified", ""),
        promoted=status["promoted"],
    )


def promote_replica(loaded: LoadedConfiguration) -> ImageFound:
    """Promote, durably; returns the image that has taken over.

    Raises PromotionUnanswered when the running process does not do it in time, BadInput when
    there is no image.
    """

    async def main(runtime: HostRuntime) -> dict[str, Any]:
        places = replica_places(runtime, loaded)
        store = replica_store(runtime, loaded, places)
        store.refuse_foreign()
        try:
            await lock_replica(places)
        except Locked:
            await request_promotion(store)
            return await _wait_for_the_process(runtime, loaded, store)
        table = loaded.replica()
        count_start(runtime, f"{places.home.path}/replica.starts")
        replica = Replica(runtime, store, table.listen, table.heartbeat_ns, table.heartbeat_misses)
        await promote_stopped(runtime, store, replica)
        return asdict(replica_status(store, replica))

    return _found(loaded, run_on_host(main, name="promote"))


async def _wait_for_the_process(
    runtime: HostRuntime, loaded: LoadedConfiguration, store: ReplicaStore
) -> dict[str, Any]:
    """Until the process has done it, as long as it gets on with it."""
    request, heartbeat_ns = request_path(store), loaded.replica().heartbeat_ns
    heard_ns = moved_ns = runtime.now_ns()
    place: tuple[int, ...] | None = None
    while True:
        asked = store.volume.exists(request)  # removed when all is done, or refused
        view = read_status(loaded).replica
        status, now_ns = None if view is None else view.status, runtime.now_ns()
        if not asked:
            kept = newest_of(_contents(f"{store.root}/checkpoint"))
            if newest_of(_contents(f"{store.root}/promoted")) is None:
                raise no_image(store.root)
            if status is not None and status["promoted"]:
                return status
            return _as_kept(store.root, kept, "") | {"promoted": True}
        if status is not None:
            heard_ns = now_ns
            works = status["promoted"] or status["state"] == "recovering"
            now = (*_place(status), status["checkpointed"]) if works else None
            if now != place:
                place, moved_ns = now, now_ns
        if now_ns - heard_ns > min(PATIENCE_NS, 10 * heartbeat_ns + 5_000_000_000):
            raise PromotionUnanswered(
                "the replica's process was asked to take over and does not answer; the wish is "
                "noted and counts as soon as it works again",
                path=loaded.replica().directory,
            )
        if now_ns - moved_ns > PATIENCE_NS:
            cause = "" if status is None or not status["cause"] else f": {status['cause']}"
            raise PromotionUnanswered(
                "the replica's process was asked to take over and does not get on with it"
                f"{cause}; the wish is noted and counts as soon as it does",
                path=loaded.replica().directory,
            )
        await sleep_ns(LOOK_AGAIN_NS)
