"""A volume on which nothing waits for the disk until the end.

Whoever writes files that are of no use before all is written gains nothing from syncs in
between: a store engine asks for some at each commit.  Here they return at once, and
:func:`sync_everything` makes all durable in the end.  The bytes are the same.
"""

from __future__ import annotations

from typing import Any, cast

from replicator.ese.recovery_files import joined
from replicator.runtime.port import EntryKind, File, Volume


class _File:
    """A file as it is, but for ``sync``."""

    def __init__(self, file: File) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    async def sync(self) -> None:
        """Later."""


class _Volume:
    """A volume as it is, but for what syncs."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volume, name)

    def create(self, path: str) -> File:
        return cast(File, _File(self._volume.create(path)))

    def open(self, path: str, read_only: bool = False) -> File:
        return cast(File, _File(self._volume.open(path, read_only)))

    async def sync_directory(self, path: str) -> None:
        """Later."""


def put_off_syncs(volume: Volume) -> Volume:
    """The volume, with syncs that return at once."""
    return cast(Volume, _Volume(volume))


async def sync_everything(volume: Volume, directory: str) -> None:
    """Make the files of a directory durable, and their names; raises StorageError."""
    for name in volume.list(directory):
        path = joined(directory, name)
        if volume.stat(path).kind is EntryKind.FILE:
            file = volume.open(path)
            try:
                await file.sync()
            finally:
                file.close()
    await volume.sync_directory(directory)
