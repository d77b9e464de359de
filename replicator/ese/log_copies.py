"""Copies of whole files within a volume: one appears under its name when all of it is durable."""

from __future__ import annotations

from typing import Final

from replicator.ese.recovery_files import READ_BYTES
from replicator.runtime.port import Volume, write_all

UNFINISHED: Final = ".copying"
"""Ends the name of a copy under way; no file of a store has such a name."""


async def copy_file(volume: Volume, source: str, target: str) -> None:
    """Copy a file over another one or none; after a crash ``target`` is as before, or whole.

    Memory: one piece of 4 MiB.  The caller makes the name durable (``sync_directory``).
    """
    unfinished = target + UNFINISHED
    if volume.exists(unfinished):
        volume.unlink(unfinished)
    read = volume.open(source)
    try:
        written = volume.create(unfinished)
        try:
            for at in range(0, read.size_bytes, READ_BYTES):
                data = await read.read_at(at, min(READ_BYTES, read.size_bytes - at))
                await volume.admit(len(data))
                write_all(written, at, data)
            await written.sync()
        finally:
            written.close()
    finally:
        read.close()
    volume.rename(unfinished, target)
