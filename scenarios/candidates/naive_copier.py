"""A copier as it is written in an afternoon: every now and then, all files that have changed.

Files are read in the order of the directory while programs go on writing, each is sent whole, and
replaced at the replica by a rename once it has come and was synced.  Each *file* is whole at any
time.  The *set* is not: a page of the database may be newer than the log that describes it.
"""

from __future__ import annotations

import json
from contextlib import suppress

import xxhash

from replicator.errors import ConnectionLost, NotFound, StorageError
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime, Stream, Volume, write_all
from simulator.candidates import Site

PIECE_BYTES = 32 << 10


async def send(stream: Stream, data: bytes = b"", **words: object) -> None:
    head = json.dumps({**words, "bytes": len(data), "sum": xxhash.xxh3_64_hexdigest(data)})
    line = head.encode().ljust(255) + b"\n"
    await stream.send(line, data)


async def receive(stream: Stream) -> tuple[dict[str, str], bytes]:
    try:
        words = json.loads(await stream.receive_exactly(256))
        data = await stream.receive_exactly(words["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionLost("what came is no frame") from error
    if xxhash.xxh3_64_hexdigest(data) != words["sum"]:
        raise ConnectionLost("what came is damaged")
    return words, data


class NaiveCopier:
    """Source and replica of the copier."""

    async def source(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        every_ns = int(site.options.get("every_ms", 300)) * 1_000_000
        while True:
            with suppress(ConnectionLost):
                await self.copy(runtime, volume, site)
            await sleep_ns(every_ns)

    async def copy(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        stream = await runtime.connect(site.address)
        try:
            runtime.emit("activity", "pass")
            names = volume.list(site.root) if volume.exists(site.root) else []
            await send(stream, names=" ".join(names))
            for name in names:
                await self.send_file(volume, f"{site.root}/{name}", name, stream)
            await send(stream, done="yes")
            words, _data = await receive(stream)
            if names and words.get("kept"):
                runtime.emit("synchronized", 1)
        finally:
            runtime.emit("activity", "")
            stream.close()

    async def send_file(self, volume: Volume, path: str, name: str, stream: Stream) -> None:
        try:
            file = volume.open(path)
        except NotFound:
            return  # renamed or removed since the directory was listed
        offset = 0
        await send(stream, file=name)
        while piece := await file.read_at(offset, PIECE_BYTES):
            await send(stream, piece)
            offset += len(piece)
        await send(stream, end=name)
        file.close()

    async def replica(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        listener = await runtime.listen(site.address)
        for directory in ("/replica", site.image, "/replica/new"):
            if not volume.exists(directory):
                volume.mkdir(directory)
        while True:
            try:
                stream = await listener.accept()
                runtime.emit("activity", "apply")
                await self.take(volume, site, stream)
            except (ConnectionLost, StorageError) as error:
                runtime.emit("copier", f"cut short: {error}")
            finally:
                runtime.emit("activity", "")

    async def take(self, volume: Volume, site: Site, stream: Stream) -> None:
        words, _data = await receive(stream)
        listed, new, offset = words["names"].split(), None, 0
        while True:
            words, data = await receive(stream)
            if words.get("file"):
                if volume.exists("/replica/new/file"):
                    volume.unlink("/replica/new/file")
                new, offset = volume.create("/replica/new/file"), 0
            elif words.get("end"):
                assert new is not None
                await new.sync()
                new.close()
                volume.rename("/replica/new/file", f"{site.image}/{words['end']}")
            elif words.get("done"):
                break
            else:
                assert new is not None
                await volume.admit(len(data))
                offset += write_all(new, offset, data)
        for name in set(volume.list(site.image)) - set(listed):
            volume.unlink(f"{site.image}/{name}")
        await volume.sync_directory(site.image)
        await send(stream, kept="yes")
