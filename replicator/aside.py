"""What is damaged is kept aside, never deleted: its names there, and copies that are whole.

A copy for which there is no room is taken away again before that is said.  So whoever tries
again, as often as it takes, neither fills the volume with beginnings nor finds one and believes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from replicator.errors import NoSpace
from replicator.runtime.port import File, Volume


def free_name(volume: Volume, path: str) -> str:
    """``PATH.damaged``, with a number where that is taken."""
    name, count = f"{path}.damaged", 1
    while volume.exists(name):
        count += 1
        name = f"{path}.{count}.damaged"
    return name


@asynccontextmanager
async def new_copy(volume: Volume, path: str) -> AsyncIterator[File]:
    """A new file to write a copy to; synced and closed at the end of the block.

    Raises NoSpace; then there is no such file.  The name itself is not synced.
    """
    copy = volume.create(path)
    try:
        yield copy
        await copy.sync()
    except NoSpace:
        volume.unlink(path)
        raise
    finally:
        copy.close()
