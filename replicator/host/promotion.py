"""``replicator promote``: through the running process, or in its place when it is down."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

from replicator.config import LoadedConfiguration
from replicator.errors import BadInput, Locked, PromotionUnanswered
from replicator.host.processes import count_start, lock_replica, replica_places, replica_store
from replicator.host.status_reader import read_status
from replicator.host.world import HostRuntime, run_on_host
from replicator.replica import Replica
from replicator.runtime import sleep_ns
from replicator.service import promote_stopped, request_promotion
from replicator.status import replica_status
from replicator.status_text import ImageFound

LOOK_AGAIN_NS: Final = 100_000_000
PATIENCE_NS: Final = 60_000_000_000
"""A running replica may have much to apply; while it reports, it is waited for."""


def look_before(loaded: LoadedConfiguration) -> ImageFound:
    """The image as far as it is known without touching anything.

    Raises BadInput when no replica ever ran on the directory.
    """
    loaded.replica()
    view = read_status(loaded).replica
    if view is None or view.last_known is None:
        raise BadInput(
            "no replica has run on this directory",
            path=loaded.replica().directory,
            remedy="Check replica.directory; there is nothing to promote.",
        )
    return _found(loaded, view.last_known)


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
        promoted=status["promoted"],
    )


def promote_replica(loaded: LoadedConfiguration) -> ImageFound:
    """Promote, durably; returns the image that has taken over.

    Raises PromotionUnanswered when the running process does not do it in time.
    """

    async def main(runtime: HostRuntime) -> dict[str, Any]:
        places = replica_places(runtime, loaded)
        store = replica_store(runtime, loaded, places)
        store.refuse_foreign()
        try:
            await lock_replica(places)
        except Locked:
            await request_promotion(store)
            return await _wait_for_the_process(runtime, loaded)
        table = loaded.replica()
        count_start(runtime, f"{places.home.path}/replica.starts")
        replica = Replica(runtime, store, table.listen, table.heartbeat_ns, table.heartbeat_misses)
        await promote_stopped(runtime, store, replica)
        return asdict(replica_status(store, replica))

    return _found(loaded, run_on_host(main, name="promote"))


async def _wait_for_the_process(
    runtime: HostRuntime, loaded: LoadedConfiguration
) -> dict[str, Any]:
    silent_since_ns = runtime.now_ns()
    while True:
        view = read_status(loaded).replica
        if view is not None and view.status is not None:
            if view.status["promoted"]:
                return view.status
            silent_since_ns = runtime.now_ns()
        if runtime.now_ns() - silent_since_ns > min(
            PATIENCE_NS, 10 * loaded.replica().heartbeat_ns + 5_000_000_000
        ):
            raise PromotionUnanswered(
                "the replica's process was asked to take over and does not answer; the wish is "
                "noted and counts as soon as it works again",
                path=loaded.replica().directory,
            )
        await sleep_ns(LOOK_AGAIN_NS)
