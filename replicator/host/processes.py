"""The processes ``replicator source`` and ``replicator replica``: services over this machine.

Everything here is fitting: volumes, locks, pages, signals.  What a service does is decided in
:mod:`replicator.service`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from replicator.command_line import release_name
from replicator.config import LoadedConfiguration
from replicator.config_checks import overlaps
from replicator.errors import ExitCode, NoSpace
from replicator.fence import lift_fence
from replicator.host.event_log import EventLog
from replicator.host.identity import next_incarnation
from replicator.host.machine_volumes import MachineVolumes, Place
from replicator.host.world import HostRuntime, run_on_host
from replicator.replica import Replica
from replicator.replica_store import ReplicaStore
from replicator.service import EXIT_CODES, Ending, serve_replica, serve_source, take_lock
from replicator.source import Source
from replicator.source_place import SourcePlace
from replicator.status import Reporter, SpoolTrend, replica_status, source_status
from replicator.status_page import StatusPage

REPLICA_LOCK = "replica.lock"
REPLICA_STATUS = "status.replica"


def run_source(loaded: LoadedConfiguration, accept_empty: bool = False) -> ExitCode:
    """Run the sender until SIGTERM or SIGINT; returns the exit code.

    ``accept_empty``: the set may have lost all its files since its history was kept last.
    Raises Locked, ForeignLog, EmptySet, BadConfiguration and StorageError; KeyboardInterrupt at the
    second signal.
    """
    loaded.source()
    return _run(loaded, "source", lambda runtime: _source(runtime, loaded, accept_empty))


def run_replica(loaded: LoadedConfiguration) -> ExitCode:
    """Run the replica until SIGTERM or SIGINT; as :func:`run_source`."""
    loaded.replica()
    return _run(loaded, "replica", lambda runtime: _replica(runtime, loaded))


def _run(
    loaded: LoadedConfiguration,
    process: str,
    main: Callable[[HostRuntime], Coroutine[Any, Any, Ending]],
) -> ExitCode:
    log = EventLog(process, loaded.configuration.log)
    ending = run_on_host(main, name=process, incarnation=0, emit=log.emit)
    log.emit("ended", (ending.value,))
    return EXIT_CODES[ending]


# -- the source ------------------------------------------------------------------------


def source_place(
    runtime: HostRuntime, loaded: LoadedConfiguration, accept_empty: bool = False
) -> SourcePlace:
    """Where the parts of the configured source are; raises BadInput, BadConfiguration."""
    table, volumes = loaded.source(), MachineVolumes(runtime)
    files = volumes.at(table.directory, "source.directory")
    spool = volumes.at(table.spool.directory, "source.spool.directory")
    refuse_overlap(
        loaded, {("source", "directory"): files.path, ("source", "spool", "directory"): spool.path}
    )
    return SourcePlace(
        runtime,
        files.volume,
        files.path,
        spool.volume,
        spool.path,
        loaded.set_id,
        table.name,
        table.spool_options,
        accept_empty,
    )


def refuse_overlap(loaded: LoadedConfiguration, found: dict[tuple[str | int, ...], str]) -> None:
    """Raises BadInput when directories are the same by way of symbolic links."""
    for remark in overlaps(found):
        raise loaded.places.error(remark)


def count_start(runtime: HostRuntime, path: str) -> None:
    """Give the runtime its incarnation.

    On a full volume it stays 0, which says *not counted*: no store should fail to start
    because of a number that only tells people which start a record is of.
    """
    try:
        runtime.started_as(next_incarnation(path))
    except NoSpace as full:
        runtime.emit("start_not_counted", str(full))


async def _source(
    runtime: HostRuntime, loaded: LoadedConfiguration, accept_empty: bool = False
) -> Ending:
    table = loaded.source()
    place = source_place(runtime, loaded, accept_empty)
    await place.refuse_foreign()
    await place.prepare()
    lock = await take_lock(place.spool_volume, place.sender_lock, "sender", table.spool.directory)
    count_start(runtime, place.sender_starts)
    runtime.emit("started", "source", loaded.set_id, os.getpid(), release_name())
    board = place.board()
    source = Source(runtime, place.reader(board), place.files(), table.options(loaded.set_id))
    caretaker: list[bool] = [False]
    trend = SpoolTrend()
    reporter = Reporter(
        runtime,
        lambda: StatusPage(place.spool_volume, place.sender_status),
        "source",
        loaded.set_id,
        os.getpid(),
        table.heartbeat_ns,
        lambda: source_status(source, caretaker[0], trend),
    )

    def tell(keeps: bool) -> None:
        caretaker[0] = keeps

    ending = await serve_source(
        runtime, place, source, reporter, runtime.stop.wait, table.drain_ns, tell
    )
    lock.release()
    return ending


def unfence_source(loaded: LoadedConfiguration) -> None:
    """Open a source again whose replica had taken over.  Raises Locked while the sender runs."""

    async def main(runtime: HostRuntime) -> None:
        place = source_place(runtime, loaded)
        await place.refuse_foreign()
        where = loaded.source().spool.directory
        await take_lock(place.spool_volume, place.sender_lock, "sender", where)
        await lift_fence(place.spool_volume, place.fence)

    run_on_host(main, name="unfence", incarnation=0, emit=lambda _event, _values: None)


# -- the replica -----------------------------------------------------------------------


class ReplicaPlaces(NamedTuple):
    """Where a replica's parts are."""

    home: Place
    journal: Place


def replica_places(runtime: HostRuntime, loaded: LoadedConfiguration) -> ReplicaPlaces:
    """The configured replica's directories; raises BadInput."""
    table, volumes = loaded.replica(), MachineVolumes(runtime)
    home = volumes.at(table.directory, "replica.directory")
    if table.journal.directory is None:
        return ReplicaPlaces(home, home)
    return ReplicaPlaces(home, volumes.at(table.journal.directory, "replica.journal.directory"))


def replica_store(
    runtime: HostRuntime, loaded: LoadedConfiguration, places: ReplicaPlaces
) -> ReplicaStore:
    """The configured replica's storage, not yet opened."""
    home, journal = places
    return ReplicaStore(
        runtime,
        home.volume,
        home.path,
        journal.volume,
        journal.path,
        loaded.replica().options(loaded.set_id),
    )


async def lock_replica(places: ReplicaPlaces) -> None:
    """Take what a replica locks, until the process ends; raises Locked."""
    home, journal = places
    await take_lock(home.volume, f"{home.path}/{REPLICA_LOCK}", "replica", home.path)
    if journal != home:
        path = f"{journal.path}/{REPLICA_LOCK}"
        await take_lock(journal.volume, path, "replica", journal.path)


async def _replica(runtime: HostRuntime, loaded: LoadedConfiguration) -> Ending:
    table = loaded.replica()
    places = replica_places(runtime, loaded)
    store = replica_store(runtime, loaded, places)
    store.refuse_foreign()
    await lock_replica(places)
    home = places.home
    count_start(runtime, f"{home.path}/replica.starts")
    runtime.emit("started", "replica", loaded.set_id, os.getpid(), release_name())
    replica = Replica(runtime, store, table.listen, table.heartbeat_ns, table.heartbeat_misses)
    serving: list[Replica] = []
    reporter = Reporter(
        runtime,
        lambda: StatusPage(home.volume, f"{home.path}/{REPLICA_STATUS}"),
        "replica",
        loaded.set_id,
        os.getpid(),
        table.heartbeat_ns,
        lambda: replica_status(store, serving[0] if serving else None),
    )
    return await serve_replica(
        runtime,
        store,
        replica,
        reporter,
        runtime.stop.wait,
        table.drain_ns,
        lambda: serving.append(replica),
    )


__all__ = [
    "count_start",
    "lock_replica",
    "replica_places",
    "replica_store",
    "run_replica",
    "run_source",
    "source_place",
    "unfence_source",
]
