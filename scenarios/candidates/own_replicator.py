"""The reference replicator of this repository, brought to the bench as anybody would bring his.

It is here to show that the adapter raises no false alarm, and what a replicator needs that is not
broken: a tap that captures each operation before it is done, a journal, and a recovery.
"""

from __future__ import annotations

from replicator.board import Board
from replicator.captured_volume import CapturedVolume
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.runtime import group, sleep_ns
from replicator.runtime.port import Runtime, Volume
from replicator.source import Source, SourceOptions, SourceState
from replicator.source_place import SourcePlace, SpoolOptions
from simulator.candidates import InDoubt, Site

SET_ID = "first storage group"
MS = 1_000_000


class OwnReplicator:
    """Capture, sender and replica with their own journal, checkpoints and recovery."""

    async def tap(self, runtime: Runtime, volume: Volume, site: Site) -> Volume:
        limits = SpoolOptions(1 << 20, 64 << 10)
        place = SourcePlace(runtime, volume, site.root, volume, "/spool", SET_ID, "source", limits)
        await place.prepare()
        self.place = place
        self.board: Board = place.board()
        self.lock = await place.take_capture_lock(self.board, 1_000 * MS)
        self.keeper = place.keeper(self.board)
        await self.keeper.open()
        return CapturedVolume(self.keeper.capture)

    async def source(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        options = SourceOptions(
            SET_ID,
            "source",
            site.address,
            batch_bytes=32 << 10,
            heartbeat_ns=100 * MS,
            heartbeat_misses=4,
            reconnect_ns=200 * MS,
        )
        sender = Source(runtime, self.place.reader(self.board), self.place.files(), options)
        async with group() as g:
            g.spawn(self.keeper.serve(), "keeper of the history")
            g.spawn(self.say_synchronized(runtime, sender), "word of the first copy")
            await sender.run()

    async def say_synchronized(self, runtime: Runtime, sender: Source) -> None:
        """A sender that is killed before it hears of its first copy finds it in step later."""
        while sender.state is not SourceState.STREAMING:
            await sleep_ns(10 * MS)
        runtime.emit("synchronized", self.keeper.capture.spool.epoch)

    def store(self, runtime: Runtime, volume: Volume, site: Site) -> ReplicaStore:
        root = site.image.rpartition("/")[0]
        options = ReplicaOptions(
            SET_ID,
            "replica",
            journal_limit_bytes=1 << 20,
            segment_bytes=64 << 10,
            checkpoint_bytes=96 << 10,
            checkpoint_interval_ns=1_000 * MS,
        )
        return ReplicaStore(runtime, volume, root, volume, root, options)

    async def replica(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        store = self.store(runtime, volume, site)
        await store.open()
        await Replica(runtime, store, site.address, 100 * MS, 4).run()

    async def recover(self, runtime: Runtime, volume: Volume, site: Site) -> InDoubt | None:
        report = await self.store(runtime, volume, site).open()
        return InDoubt(report.damage) if report.damage else None
