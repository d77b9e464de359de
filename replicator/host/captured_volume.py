"""The protected set for a program whose coroutines run on our kernel.

::

    async with captured_volume(runtime, load_configuration("first.toml")) as protected:
        file = protected.volume.create(protected.root + "/database")
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from replicator.captured_set import CapturedSet, captured_set
from replicator.config import LoadedConfiguration
from replicator.history import HistoryKeeper
from replicator.host.processes import count_start, source_place
from replicator.host.world import HostRuntime
from replicator.status import Reporter, program_status
from replicator.status_page import StatusPage

LOCK_PATIENCE_NS: Final = 10_000_000_000


def default_patience_ns(loaded: LoadedConfiguration) -> int:
    """How long a program waits for the capture lock: a caretaker gives it up within this."""
    return 4 * loaded.source().heartbeat_ns + LOCK_PATIENCE_NS


@asynccontextmanager
async def captured_volume(
    runtime: HostRuntime,
    loaded: LoadedConfiguration,
    patience_ns: int | None = None,
    held_ns: Callable[[], int] = lambda: 0,
    accept_empty: bool = False,
) -> AsyncIterator[CapturedSet]:
    """Open the set of a configuration and keep its history inside the block.

    Arguments
    ---------
    runtime: the world; its incarnation is counted here.
    patience_ns: how long to wait while another program has the set.
    held_ns: for how long a write has been waiting for room, for the status.
    accept_empty: see :func:`replicator.capture.protect`.

    Raises Locked, ForeignLog, EmptySet, SourceFenced, BadConfiguration, StorageError; what ends the
    keeping of the history (a failing disk, a takeover) ends the block.
    """
    table = loaded.source()
    place = source_place(runtime, loaded, accept_empty)
    await place.refuse_foreign()

    def reporter(keeper: HistoryKeeper) -> Reporter:
        return Reporter(
            runtime,
            lambda: StatusPage(place.spool_volume, place.program_status),
            "program",
            loaded.set_id,
            os.getpid(),
            table.heartbeat_ns,
            lambda: program_status(keeper.capture, held_ns()),
        )

    async with captured_set(
        place,
        default_patience_ns(loaded) if patience_ns is None else patience_ns,
        make_reporter=reporter,
        locked=lambda: count_start(runtime, place.program_starts),
    ) as opened:
        yield opened


__all__ = ["CapturedSet", "captured_volume", "default_patience_ns"]
