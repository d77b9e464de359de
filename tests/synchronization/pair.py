"""The two ends of a synchronization without a network: frames are handed over, or lost.

Both ends are on one emulated disk, source files below ``/source``, home below ``/home`` and
staging below ``/staging``.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from replicator.block_frames import BlockTraffic, ExtentsWanted, PagesWanted
from replicator.catalogue import Catalogue, Entry, scan
from replicator.committed_pages import check_staged, discard_committed, read_commit, staged_pages
from replicator.errors import ConnectionLost
from replicator.home import HomeImage
from replicator.image_receiver import ImageReceiver
from replicator.image_sender import ANSWERS_LIMIT, ImageSender, seed_of
from replicator.protected_files import ProtectedFiles
from replicator.protocol import HEADER_BYTES, Frame, FrameType
from replicator.runtime import group, sleep_ns
from replicator.runtime.channels import Queue
from replicator.runtime.port import EntryKind
from replicator.staging import Staging, open_staging
from simulator.device import INSTANT
from simulator.host import World


class Pair:
    """Two directories, of which the second is to become like the first."""

    def __init__(self, source: dict[str, bytes], home: dict[str, bytes]) -> None:
        self.world = World(network=False)
        self.machine = self.world.machine("both")
        self.machine.add_disk("data", INSTANT)
        self.host = self.machine.start()
        self.volume = self.host.volume("data")
        for directory in ("/source", "/home", "/staging"):
            self.volume.mkdir(directory)
        for directory, files in (("/source", source), ("/home", home)):
            for path, content in files.items():
                self.write(directory + path, 0, content)
        self.epoch = 0
        self.sent = BlockTraffic()
        self.received = BlockTraffic()
        self.frames: list[FrameType] = []

    def write(self, path: str, offset: int, content: bytes) -> None:
        exists = self.volume.exists(path)
        file = self.volume.open(path) if exists else self.volume.create(path)
        file.write_at(offset, content)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = self.host.kernel.run_task(work, "test")
        self.world.clock.run_until_idle()
        assert task.done, "it waits for ever"
        return task.result()

    def restart(self, choose: Any = None) -> None:
        """The process dies; with ``choose``, the power fails."""
        if choose is None:
            self.machine.crash_process()
        else:
            self.machine.lose_power(choose)
        self.host = self.machine.start()
        self.volume = self.host.volume("data")

    def attempt(self, frames: int | None = None) -> dict[str, Any]:
        """One attempt; the connection breaks when so many frames were sent.

        Returns what would be committed.
        """
        return self.run(self._attempt(frames))

    async def _attempt(self, limit: int | None) -> dict[str, Any]:
        self.epoch += 1
        history = bytes([self.epoch]) * 16
        names = Catalogue()
        names.next_id = 1 + self.epoch
        for path, entry in scan(self.volume, "/source"):
            stat = self.volume.stat("/source" + path)
            kind, file_id = EntryKind(entry.kind), entry.file_id + self.epoch
            names.add(path, Entry(kind, file_id, 0, "", entry.size_bytes, stat.inode))
        staging = await open_staging(self.volume, "/staging", self.epoch, history, names, 0)
        receiver = ImageReceiver(
            self.host, self.volume, "/home", staging, seed_of(history), self.received
        )
        answers: Queue[Any] = Queue(limit_items=ANSWERS_LIMIT)
        arriving: Queue[Frame] = Queue(limit_items=64)
        frames = 0

        def count() -> None:
            nonlocal frames
            frames += 1
            if limit is not None and frames > limit:
                raise ConnectionLost("cut")

        async def send(kind: FrameType, payload: bytes) -> int:
            count()
            self.frames.append(kind)
            await arriving.put(Frame(kind, payload))
            return HEADER_BYTES + len(payload)

        async def serve() -> None:
            while True:
                for kind, payload in await receiver.take(await arriving.get()):
                    count()
                    decoder = ExtentsWanted if kind == FrameType.EXTENTS_WANTED else PagesWanted
                    assert answers.try_put(decoder.decode(payload))

        files = ProtectedFiles(self.volume, "/source")
        sender = ImageSender(self.host, files, names, history, send, answers, self.sent, 1)
        try:
            async with group() as g:
                server = g.spawn(serve(), "receiver")
                await sender.run()
                while len(arriving):
                    await self._settle()
                await self._settle()
                server.cancel()
            self.staging: Staging = staging
            await staging.sync()
            return read_commit(await staging.describe(0, (1, 0)))
        finally:
            receiver.close()
            staging.close()
            files.close()

    async def _settle(self) -> None:
        await sleep_ns(1_000_000)

    def commit(self, document: dict[str, Any]) -> None:
        """Make the staged image the image."""
        self.run(self._commit(document))

    async def _commit(self, document: dict[str, Any]) -> None:
        await check_staged(self.volume, document)
        home = HomeImage(self.volume, "/home")
        await home.rebuild(
            Catalogue.from_json(document["catalogue"]),
            staged_pages(self.volume, document),
            document["from_nothing"],
        )
        home.reset(Catalogue())
        await discard_committed(self.volume, document)

    def tree(self, root: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}

        async def read() -> None:
            for path, entry in scan(self.volume, root):
                if entry.kind == EntryKind.FILE:
                    file = self.volume.open(root + path)
                    found[path] = await file.read_at(0, file.size_bytes)

        self.run(read())
        return found

    def close(self) -> None:
        self.world.close()
