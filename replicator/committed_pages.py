"""The pages of a commit: what the COMMIT record says of them, reading them back, removing them.

The record names the staging files, the slots of each file, and a checksum of the index; so it is
known whether all that was staged is still there before any of it goes into the image.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from replicator.catalogue import Catalogue
from replicator.digests import PAGE_BYTES
from replicator.errors import DamagedLog
from replicator.runtime import yield_now
from replicator.runtime.port import Volume
from replicator.staging_index import (
    ENTRY_BYTES,
    committed_runs,
    index_digest,
    index_entry,
    read_index,
    staged_runs,
)
from replicator.untrusted import binary, inflate, json_object, whole_number

_COMMIT_LIMIT_BYTES: Final = 1 << 28
_FREED_AT_ONCE_BYTES: Final = 32 << 20


def read_commit(payload: bytes) -> dict[str, Any]:
    """The document of a COMMIT record; raises DamagedLog."""
    try:
        document = json_object(inflate(payload, _COMMIT_LIMIT_BYTES))
        for key in ("epoch", "fence"):
            whole_number(document, key)
        whole_number(document, "as_of_ns", 0)  # an earlier release did not say it
        binary(document, "history")
        binary(document, "index")
        if not isinstance(document.get("path"), str):
            raise ValueError("'path' is no text")
        slots = document.get("slots")
        if not isinstance(slots, list) or not all(
            isinstance(each, list)
            and len(each) == 2
            and all(type(n) is int and 0 <= n < 1 << 49 for n in each)
            for each in slots
        ):
            raise ValueError("'slots' is no list of pairs of numbers")
        Catalogue.from_json(document.get("catalogue"))
    except ValueError as error:
        raise DamagedLog(f"a commit cannot be understood: {error}") from None
    return document


async def check_staged(volume: Volume, document: dict[str, Any]) -> None:
    """Raises DamagedLog when it is not known any more which pages were committed."""
    path = document["path"]
    for each in (path + ".index", path + ".pages"):
        if not volume.exists(each):
            raise DamagedLog("the staged pages are gone", path=each)
    index = volume.open(path + ".index")
    catalogue = Catalogue.from_json(document["catalogue"])
    digest = await index_digest(index, catalogue, document["slots"])
    index.close()
    if digest.hex() != document["index"]:
        raise DamagedLog(
            "the index of the staged pages is not as committed", path=path + ".index", offset=0
        )


async def staged_pages(
    volume: Volume, document: dict[str, Any]
) -> AsyncIterator[tuple[int, int, int, bytes]]:
    """(file id, byte offset, length, data) of all committed pages, verified; zeros: no data.

    Raises DamagedLog when a page is not what was committed.  What :func:`check_staged` checks
    is taken for granted.
    """
    path = document["path"]
    pages_file, index = volume.open(path + ".pages"), volume.open(path + ".index")
    catalogue = Catalogue.from_json(document["catalogue"])
    for (file_id, slot), pages in committed_runs(catalogue, document["slots"]):
        async for first, entries in read_index(index, slot, pages):
            for start, count, zeros in staged_runs(entries):
                offset, length = (first + start) * PAGE_BYTES, count * PAGE_BYTES
                if zeros:
                    yield file_id, offset, length, b""
                    continue
                at = slot + first + start
                data = await pages_file.read_at(at * PAGE_BYTES, length)
                for page in range(count):
                    own = entries[(start + page) * ENTRY_BYTES :][:ENTRY_BYTES]
                    content = memoryview(data)[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
                    if own != index_entry(own[0], at + page, content):
                        raise DamagedLog(
                            "a staged page is not as committed",
                            path=path + ".pages",
                            offset=(at + page) * PAGE_BYTES,
                        )
                yield file_id, offset, length, data
    pages_file.close()
    index.close()


async def discard_committed(volume: Volume, document: dict[str, Any]) -> None:
    """Remove the staging of a commit that was carried out."""
    for suffix in (".pages", ".index", ".reserve", ".layout.a", ".layout.b"):
        path = document["path"] + suffix
        if volume.exists(path):
            await _shorten(volume, path)
            volume.unlink(path)


async def _shorten(volume: Volume, path: str) -> None:
    """Cut a large file from its end, piece by piece.

    A file system may take seconds to free a sparse file of many pieces, and all else would
    stand still: heartbeats too.
    """
    file = volume.open(path)
    size_bytes = file.size_bytes
    while size_bytes > _FREED_AT_ONCE_BYTES:
        size_bytes -= _FREED_AT_ONCE_BYTES
        file.truncate(size_bytes)
        await yield_now()
    file.close()
