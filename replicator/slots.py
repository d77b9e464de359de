"""A small durable state in two files, of which at least one is whole at any moment.

``write`` alternates between ``NAME.a`` and ``NAME.b``: each write goes to the file that
does not hold the newest valid state and is synced before it counts.  A power loss at any
point leaves the state before or the new one.

The checksum covers which *kind* of state it is: one that a disk has written into the place of
another one's is no state there.  A checkpoint found under the name of a promotion would be one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any, Final

import xxhash

from replicator.aside import new_copy
from replicator.compression import contexts
from replicator.errors import DamagedLog
from replicator.runtime.port import Volume, write_all
from replicator.untrusted import inflate, json_object

_HEADER: Final = struct.Struct("<8sQI16s")
_MAGIC: Final = b"XRSLOT2\0"
_LIMIT_BYTES: Final = 1 << 28
_ENCODER: Final = json.JSONEncoder(sort_keys=True)
"""What ``json.dumps`` would make anew each time."""


class StateSlots:
    """A JSON document kept in two checksummed slots.

    Arguments
    ---------
    volume, path: where; the files are ``path + ".a"`` and ``path + ".b"``.
    """

    def __init__(self, volume: Volume, path: str) -> None:
        self._volume = volume
        self._path = path
        self._kind = kind_of(path)
        self._generation = 0
        self.one_was_damaged = False
        """Whether only one of the copies could be read; the last load says so."""

    async def load(self) -> dict[str, Any] | None:
        """The newest valid state; None when none was ever written.

        What is returned survives a power loss from then on: it may have been written by a
        process that died before its sync, or of a sync that failed.
        Raises DamagedLog when slots exist but none is valid.
        """
        return await self._load(vouch=True)

    async def look(self) -> dict[str, Any] | None:
        """As :meth:`load`, without a promise: nothing is written."""
        return await self._load(vouch=False)

    async def _load(self, vouch: bool) -> dict[str, Any] | None:
        newest: dict[str, Any] | None = None
        invalid: list[str] = []
        for path in (self._path + ".a", self._path + ".b"):
            if not self._volume.exists(path):
                continue
            file = self._volume.open(path)
            try:
                data = await file.read_at(0, min(file.size_bytes, _LIMIT_BYTES))
                found = decode_slot(data, self._kind)
                if vouch:
                    if found is not None:
                        # After a failed sync it would read well and not be on the disk.
                        write_all(file, 0, data)
                    await file.sync()
            finally:
                file.close()  # also for who is cancelled meanwhile
            if found is None:
                if data.strip(b"\0"):
                    invalid.append(path)
                continue
            generation, state = found
            if generation > self._generation:
                self._generation, newest = generation, state
        if vouch and self._volume.exists(self._path + ".a"):
            await self._volume.sync_directory(self._path.rpartition("/")[0] or "/")
        self.one_was_damaged = newest is not None and bool(invalid)
        if newest is None and len(invalid) == 2:
            raise DamagedLog("neither copy of the state is valid", path=invalid[0])
        return newest

    async def write(self, state: dict[str, Any]) -> None:
        """Make ``state`` the newest; returns when it survives a power loss."""
        generation = self._generation + 1
        path = self._path + (".a" if generation % 2 else ".b")
        body = contexts(1).compress(_ENCODER.encode(state).encode())
        head = _HEADER.pack(_MAGIC, generation, len(body), _checksum(body, self._kind, generation))
        new = not self._volume.exists(path)
        file = self._volume.create(path) if new else self._volume.open(path)
        try:
            await self._volume.admit(len(head) + len(body))
            write_all(file, 0, head, body)
            await file.sync()
        finally:
            file.close()
        if new:
            await self._volume.sync_directory(path.rpartition("/")[0] or "/")
        self._generation = generation

    async def copy_to(self, directory: str) -> None:
        """Copy both files as they are into ``directory``, which exists; raises NoSpace.

        Returns when the copies survive a power loss.  Names that are taken get a number; what
        is there already is not copied again.  Can be repeated.
        """
        for path in (self._path + ".a", self._path + ".b"):
            if self._volume.exists(path):
                file = self._volume.open(path)
                data = await file.read_at(0, min(file.size_bytes, _LIMIT_BYTES))
                file.close()
                await self._copy(data, f"{directory}/{path.rpartition('/')[2]}")
        await self._volume.sync_directory(directory)

    async def _copy(self, data: bytes, path: str) -> None:
        name, count = f"{path}.damaged", 1
        while self._volume.exists(name):
            there = self._volume.open(name)
            try:
                if await there.read_at(0, len(data) + 1) == data:
                    await self._volume.admit(len(data))
                    write_all(there, 0, data)  # perhaps only the cache of a failed sync has it
                    await there.sync()
                    return
            finally:
                there.close()
            count += 1
            name = f"{path}.{count}.damaged"
        async with new_copy(self._volume, name) as copy:
            await self._volume.admit(len(data))
            write_all(copy, 0, data)


def kind_of(path: str) -> str:
    """The kind of state that is kept under a path: what its name ends with, without ``.a``."""
    return path.rpartition("/")[2].rpartition(".")[2]


def newest_of(slots: Iterable[bytes], kind: str) -> dict[str, Any] | None:
    """The newest valid state among the contents of slots; None when there is none.

    Arguments
    ---------
    kind: of the state, for instance ``"checkpoint"``.
    """
    found = [decoded for data in slots if (decoded := decode_slot(data, kind)) is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _checksum(body: bytes, kind: str, generation: int) -> bytes:
    return xxhash.xxh3_128_digest(kind.encode() + b"\0" + body, generation)


def decode_slot(data: bytes, kind: str) -> tuple[int, dict[str, Any]] | None:
    """The number of the write and the state in the content of a slot; None when it is none."""
    if len(data) < _HEADER.size:
        return None
    magic, generation, length, checksum = _HEADER.unpack_from(data)
    body = data[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or len(body) != length or _checksum(body, kind, generation) != checksum:
        return None
    try:
        return generation, json_object(inflate(body, _LIMIT_BYTES))
    except ValueError:
        return None
