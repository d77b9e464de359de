"""A small honest replicator: each operation is in the replica's log before a sync returns.

* The tap does each operation, then puts it into the list of this *epoch*, which begins with all
  files as they were when the process started (the programs wait until the replica has them).
* The source sends what the replica lacks, a frame at a time, and waits for each to be durable.
* The replica appends to a log and syncs it.  A new epoch is written beside the old log and takes
  its place by a rename, so there is always one that is whole.
* ``recover()`` makes the image from the log, up to the last record that is whole.

What it is not: fast, or small in memory; the list is kept until the process ends.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import xxhash

from replicator.errors import ConnectionLost, NoSpace
from replicator.runtime import Signal, Task, TimedOut, deadline, group, sleep_ns
from replicator.runtime.port import EntryKind, File, Runtime, Scan, Stream, Volume, write_all
from replicator.runtime.volume_over import VolumeOver
from simulator.candidates import Site

LOG, NEW_LOG, RESERVE = "/replica/log", "/replica/log.new", "/replica/reserve"
HEAD = struct.Struct(">IIQ")
FRAME_BYTES = 32 << 10
RESERVE_BYTES = 16 << 20
MS = 1_000_000


def pack(words: dict[str, Any], data: bytes = b"") -> bytes:
    """One record: lengths and checksum, words, data."""
    text, body = json.dumps(words).encode(), zlib.compress(data, 1)
    digest = xxhash.xxh3_64_intdigest(text + body)
    return HEAD.pack(len(text), len(body), digest) + text + body


def unpack(log: bytes) -> Iterator[tuple[dict[str, Any], bytes, int]]:
    """Each whole record: words, data, and where it ends; stops at the first that is not whole."""
    at = 0
    while at + HEAD.size <= len(log):
        text_bytes, body_bytes, digest = HEAD.unpack_from(log, at)
        end = at + HEAD.size + text_bytes + body_bytes
        content = log[at + HEAD.size : end]
        if end > len(log) or xxhash.xxh3_64_intdigest(content) != digest:
            return
        yield json.loads(content[:text_bytes]), zlib.decompress(content[text_bytes:]), end
        at = end


class Outbox:
    """The records of this epoch, and how many of them the replica has for good."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.durable = 0
        self.changed = Signal()

    def put(self, op: str, data: bytes = b"", **words: Any) -> None:
        self.records.append(pack({"op": op, **words}, data))
        self.changed.notify()

    async def wait(self) -> None:
        """Until all that was put so far is durable."""
        wanted = len(self.records)
        while self.durable < wanted:
            await self.changed


class ShippedFile:
    """An open file; knows the name that it has now, if any."""

    def __init__(self, file: File, path: str, outbox: Outbox) -> None:
        self.file, self.name, self.outbox = file, path, outbox

    path = property(lambda self: self.file.path)
    size_bytes = property(lambda self: self.file.size_bytes)

    def write_at(self, offset: int, *buffers: Any) -> int:
        data = b"".join(bytes(each) for each in buffers)
        written = self.file.write_at(offset, data)
        self.put("write", data[:written], offset=offset)
        return written

    def truncate(self, size_bytes: int) -> None:
        self.file.truncate(size_bytes)
        self.put("truncate", size=size_bytes)

    def zero_range(self, offset: int, length: int) -> None:
        self.file.zero_range(offset, length)
        self.put("zero", offset=offset, length=length)

    def put(self, op: str, data: bytes = b"", **words: Any) -> None:
        if self.name:
            self.outbox.put(op, data, path=self.name, **words)

    async def sync(self) -> None:
        await self.file.sync()
        await self.outbox.wait()

    def allocate(self, offset: int, length: int) -> None:
        self.file.allocate(offset, length)

    async def read_at(self, offset: int, length: int) -> bytes:
        return await self.file.read_at(offset, length)

    async def scan(self, scan: Scan) -> list[bytes]:
        return await self.file.scan(scan)

    def close(self) -> None:
        self.file.close()


class ShippedVolume(VolumeOver):
    """The volume that the programs get."""

    def __init__(self, below: Volume, root: str, outbox: Outbox) -> None:
        super().__init__(below)
        self.root_path, self.outbox = root, outbox
        self.files: list[ShippedFile] = []

    def change_names(self, call: str, paths: tuple[str, ...], *arguments: Any) -> Any:
        answer = super().change_names(call, paths, *arguments)
        if not paths[0].startswith(self.root_path + "/"):
            return answer
        names = [p.removeprefix(self.root_path) if p in paths else p for p in arguments]
        self.outbox.put(call, names=names)
        for file in self.files:
            if file.name == names[-1]:
                file.name = ""  # removed, or replaced by a rename
            if call == "rename" and file.name == names[0]:
                file.name = names[1]
        return answer

    def create(self, path: str) -> File:
        return self.shipped(self.change_names("create", (path,), path), path)

    def open(self, path: str, read_only: bool = False) -> File:
        return self.shipped(super().open(path, read_only), path)

    def shipped(self, file: File, path: str) -> File:
        if not path.startswith(self.root_path + "/"):
            return file
        self.files.append(ShippedFile(file, path.removeprefix(self.root_path), self.outbox))
        return self.files[-1]

    async def sync_directory(self, path: str) -> None:
        await super().sync_directory(path)
        await self.outbox.wait()


class Shipper:
    """Both ends."""

    async def tap(self, runtime: Runtime, volume: Volume, site: Site) -> Volume:
        self.outbox = Outbox()
        self.epoch = f"{runtime.boot_id}.{runtime.incarnation}"
        await self.read_all(volume, site.root, "")
        self.outbox.put("whole")
        while self.outbox.durable < len(self.outbox.records):
            await self.session(runtime, site)
        return ShippedVolume(volume, site.root, self.outbox)

    async def read_all(self, volume: Volume, root: str, directory: str) -> None:
        if not volume.exists(root + directory):
            return
        for name in volume.list(root + directory):
            path = f"{directory}/{name}"
            if volume.stat(root + path).kind is EntryKind.DIRECTORY:
                self.outbox.put("mkdir", names=[path])
                await self.read_all(volume, root, path)
                continue
            self.outbox.put("create", names=[path])
            file, offset = volume.open(root + path), 0
            while data := await file.read_at(offset, FRAME_BYTES):
                self.outbox.put("write", data, path=path, offset=offset)
                offset += len(data)
            file.close()

    async def source(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        while True:
            await self.session(runtime, site)
            if self.outbox.durable == len(self.outbox.records):
                await self.outbox.changed

    async def session(self, runtime: Runtime, site: Site) -> None:
        """One connection: until all is durable, or something goes wrong."""
        stream: Stream | None = None
        try:
            async with deadline(2_000 * MS):
                stream = await runtime.connect(site.address)
                await stream.send(pack({"epoch": self.epoch}))
                has = (await self.answer(stream))["has"]
            while has < len(self.outbox.records) or self.outbox.durable < has:
                frame, records = b"", self.outbox.records
                first = has
                while has < len(records) and len(frame) < FRAME_BYTES:
                    frame += records[has]
                    has += 1
                async with deadline(2_000 * MS):
                    await stream.send(pack({"first": first, "bytes": len(frame)}), frame)
                    answer = await self.answer(stream)
                self.outbox.durable = max(self.outbox.durable, answer["has"])
                self.outbox.changed.notify()
        except (ConnectionLost, TimedOut):
            await sleep_ns(50 * MS)
        finally:
            if stream is not None:
                stream.abort()

    async def answer(self, stream: Stream) -> dict[str, Any]:
        head = await stream.receive_exactly(HEAD.size)
        text_bytes, body_bytes, _digest = HEAD.unpack(head)
        if text_bytes + body_bytes > 4096:
            raise ConnectionLost("what came is damaged")
        rest = await stream.receive_exactly(text_bytes + body_bytes)
        for words, _data, _end in unpack(head + rest):
            return words
        raise ConnectionLost("what came is damaged")

    # -- the replica -----------------------------------------------------------------

    async def replica(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        self.serving = 0
        listener = await runtime.listen(site.address)
        if not volume.exists(RESERVE):
            volume.create(RESERVE).allocate(0, RESERVE_BYTES)  # room to make an image in
        task: Task[None] | None = None
        async with group() as g:
            while True:
                with suppress(ConnectionLost):
                    stream = await listener.accept()
                    if task is not None:
                        task.cancel()
                        with suppress(Exception):
                            await task
                    task = g.spawn(self.serve(volume, stream), "session")

    async def serve(self, volume: Volume, stream: Stream) -> None:
        log: File | None = None
        try:
            epoch = (await self.answer(stream))["epoch"]
            known, count, end = await self.examine(volume)
            path = LOG
            if known == epoch:
                log = volume.open(LOG)
            else:
                if volume.exists(NEW_LOG):
                    volume.unlink(NEW_LOG)
                path, log, count, end = NEW_LOG, volume.create(NEW_LOG), 0, 0
                end += write_all(log, 0, pack({"epoch": epoch}))
            await stream.send(pack({"has": count}))
            while True:
                words = await self.answer(stream)
                frame = await stream.receive_exactly(words["bytes"])
                records = list(unpack(frame))
                if words["first"] != count or (records[-1][2] if records else 0) != len(frame):
                    raise ConnectionLost("what came is damaged")
                await volume.admit(len(frame))
                write_all(log, end, frame)
                await log.sync()
                end, count = end + len(frame), count + len(records)
                if path == NEW_LOG and any(r[0].get("op") == "whole" for r in records):
                    volume.rename(NEW_LOG, LOG)
                    await volume.sync_directory("/replica")
                    path = LOG
                await stream.send(pack({"has": count}))
        except (ConnectionLost, NoSpace):
            pass  # the source calls again
        finally:
            stream.abort()
            if log is not None:
                log.close()

    async def examine(self, volume: Volume) -> tuple[str, int, int]:
        """Of the log: its epoch, how many records it has, and where they end."""
        epoch, count, end = "", -1, 0
        for words, _data, at in unpack(await self.read_log(volume)):
            epoch, count, end = words.get("epoch", epoch), count + 1, at
        return epoch, max(count, 0), end

    async def read_log(self, volume: Volume) -> bytes:
        if not volume.exists(LOG):
            return b""
        file = volume.open(LOG)
        log = await file.read_at(0, file.size_bytes)
        file.close()
        return log

    async def recover(self, runtime: Runtime, volume: Volume, site: Site) -> None:
        """Make the image anew from the log; what is behind the last whole record is cut off."""
        if not volume.exists("/replica"):
            volume.mkdir("/replica")
        if volume.exists(RESERVE):
            volume.unlink(RESERVE)
        if volume.exists(site.image):
            self.clear(volume, site.image)
            volume.rmdir(site.image)
        volume.mkdir(site.image)
        end = 0
        for words, data, end in unpack(await self.read_log(volume)):  # noqa: B007
            self.redo(volume, site.image, words, data)
        if volume.exists(LOG):
            file = volume.open(LOG)
            file.truncate(end)
            file.close()

    def clear(self, volume: Volume, directory: str) -> None:
        for name in volume.list(directory):
            path = f"{directory}/{name}"
            if volume.stat(path).kind is EntryKind.DIRECTORY:
                self.clear(volume, path)
                volume.rmdir(path)
            else:
                volume.unlink(path)

    def redo(self, volume: Volume, image: str, words: dict[str, Any], data: bytes) -> None:
        op = words.get("op", "whole")
        if op == "whole":
            return
        if "names" in words:
            first = 1 if op == "symlink" else 0
            names = [
                image + n if i >= first and isinstance(n, str) else n
                for i, n in enumerate(words["names"])
            ]
            made = getattr(volume, op)(*names)
            if op == "create":
                made.close()
            return
        file = volume.open(image + words["path"])
        if op == "write":
            write_all(file, words["offset"], data)
        elif op == "truncate":
            file.truncate(words["size"])
        else:
            file.zero_range(words["offset"], words["length"])
        file.close()
