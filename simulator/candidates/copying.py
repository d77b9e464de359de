"""A pass of a copier on its way over the link, and how the replica's end carries it out.

Frames carry a checksum: a flipped byte ends the connection, as it would under ssh.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import xxhash

from replicator.errors import ConnectionLost, NotFound
from replicator.runtime.port import File, Stream, Volume, write_all

_HEADER: Final = struct.Struct(">IIQ")
_MOST_BYTES: Final = 1 << 20


async def send_frame(stream: Stream, kind: str, data: bytes = b"", **values: Any) -> None:
    """Send one frame."""
    words = json.dumps([kind, values]).encode()
    header = _HEADER.pack(len(words), len(data), xxhash.xxh3_64_intdigest(words + data))
    await stream.send(header, words, data)


async def receive_frame(stream: Stream) -> tuple[str, dict[str, Any], bytes]:
    """The next frame: its kind, its values, its data.  Raises ConnectionLost."""
    header = await stream.receive_exactly(_HEADER.size)
    words_bytes, data_bytes, wanted = _HEADER.unpack(header)
    if words_bytes + data_bytes > _MOST_BYTES:
        raise ConnectionLost("the frame is damaged")
    body = await stream.receive_exactly(words_bytes + data_bytes)
    if xxhash.xxh3_64_intdigest(body) != wanted:
        raise ConnectionLost("the frame is damaged")
    kind, values = json.loads(body[:words_bytes])
    return kind, values, body[words_bytes:]


class CopiedTree:
    """The replica's end: carries out steps below a directory.

    Arguments
    ---------
    volume, root: where.
    """

    def __init__(self, volume: Volume, root: str) -> None:
        self._volume = volume
        self._root = root
        self._open: tuple[str, File] | None = None

    def prepare(self) -> None:
        """Make the directory, and those above it."""
        names = self._root.strip("/").split("/")
        for depth in range(len(names)):
            path = "/" + "/".join(names[: depth + 1])
            if not self._volume.exists(path):
                self._volume.mkdir(path)

    def _file(self, path: str) -> File:
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        self.let_go()
        file = self._volume.open(self._root + path)
        self._open = path, file
        return file

    def let_go(self) -> None:
        """Close the file that was written last."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def do(self, kind: str, path: str, values: dict[str, Any], data: bytes) -> None:
        """Carry out one step.  Raises StorageError."""
        volume, place = self._volume, self._root + path
        if kind == "data":
            await volume.admit(len(data))
            write_all(self._file(path), values["offset"], data)
            return
        if kind == "truncate":
            self._file(path).truncate(values["size"])
            return
        if kind == "sync":
            await self._file(path).sync()
            return
        self.let_go()
        if kind == "create":
            volume.create(place).close()
        elif kind == "rename":
            volume.rename(place, self._root + values["other"])
        elif kind == "link":
            volume.link(place, self._root + values["other"])
        elif kind == "symlink":
            volume.symlink(values["other"], place)
        elif kind in ("unlink", "mkdir", "rmdir"):
            getattr(volume, kind)(place)
        else:
            raise ConnectionLost(f"nobody knows a step {kind!r}")

    async def sync_names(self, directories: set[str]) -> None:
        """Make names survive a power loss."""
        for directory in sorted(directories):
            try:
                await self._volume.sync_directory(self._root + directory.rstrip("/"))
            except NotFound:
                continue


__all__ = ["CopiedTree", "receive_frame", "send_frame"]
