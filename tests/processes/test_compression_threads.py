"""A context of zstd serves one call at a time: two at once end the process by a segfault.

Found by cutting connections over real store files (:mod:`tests.processes.test_kills`): the
sender died of SIGSEGV inside zstandard's ``backend_c`` in about one first synchronization of
ten.
"""

from __future__ import annotations

import threading
import time

import pytest
import zstandard

from replicator.block_frames import (
    EXTENTS_PER_FRAME,
    BlockTraffic,
    ExtentDigests,
    ExtentsWanted,
    PagesWanted,
)
from replicator.catalogue import Catalogue, Entry
from replicator.digests import PAGE_BYTES, PAGES_PER_EXTENT
from replicator.host.world import HostRuntime, run_on_host
from replicator.image_sender import ANSWERS_LIMIT, ImageSender
from replicator.protocol import FrameType
from replicator.runtime import deadline, group
from replicator.runtime.channels import Queue
from replicator.runtime.port import EntryKind, Scan

FILES = 6
EXTENTS = EXTENTS_PER_FRAME
"""Of each file: so many that a question about it is compressed as well."""
COMPRESSION_S = 0.003
"""Each call takes at least so long: two that may meet do meet."""
PATIENCE_NS = 30_000_000_000
_RealCompressor = zstandard.ZstdCompressor


class _GuardedCompressor:
    """A context that notes when it is used by two threads at a time, and is not hurt by it."""

    overlaps = 0
    calls = 0

    def __init__(self, level: int = 3) -> None:
        self._level = level
        self._guard = threading.Lock()

    def compress(self, data: bytes) -> bytes:
        alone = self._guard.acquire(blocking=False)
        type(self).calls += 1
        type(self).overlaps += not alone
        time.sleep(COMPRESSION_S)
        if alone:
            self._guard.release()
        return _RealCompressor(level=self._level).compress(data)


class _SameBytes:
    """In place of the protected files: each has the same bytes everywhere."""

    async def read_at(self, _path: str, _inode: int, _offset: int, length: int) -> bytes:
        return (b"store" * (length // 5 + 1))[:length]

    async def scan(self, _path: str, _inode: int, scan: Scan) -> list[bytes]:
        return [scan.fn(await self.read_at("", 0, *piece)) for piece in scan.pieces()]


def test_a_synchronization_uses_a_context_in_one_thread_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zstandard, "ZstdCompressor", _GuardedCompressor)
    monkeypatch.setattr(_GuardedCompressor, "overlaps", 0)
    monkeypatch.setattr(_GuardedCompressor, "calls", 0)
    pages = EXTENTS * PAGES_PER_EXTENT
    catalogue = Catalogue()
    for number in range(1, FILES + 1):
        size_bytes = pages * PAGE_BYTES
        entry = Entry(EntryKind.FILE, number, size_bytes=size_bytes, inode=number)
        catalogue.add(f"/{number}", entry)

    async def main(runtime: HostRuntime) -> None:
        answers: Queue = Queue(limit_items=ANSWERS_LIMIT)
        questions: Queue = Queue(limit_items=FILES)

        async def send(kind: FrameType, payload: bytes) -> int:
            if kind == FrameType.EXTENT_DIGESTS:
                await questions.put(ExtentDigests.decode(payload))
            return len(payload)

        async def answer() -> None:
            """As a replica that has nothing."""
            for _ in range(FILES):
                question = await questions.get()
                extents = range(question.extents)
                absent = ExtentsWanted(question.file_id, 0, question.extents, [], list(extents))
                await answers.put(absent)
                for extent in extents:
                    mask = (1 << PAGES_PER_EXTENT) - 1
                    await answers.put(PagesWanted(question.file_id, [(extent, mask)]))

        sender = ImageSender(
            runtime, _SameBytes(), catalogue, b"history", send, answers, BlockTraffic(), 3
        )
        async with deadline(PATIENCE_NS), group() as g:
            g.spawn(answer(), "replica")
            await sender.run()

    run_on_host(main)
    assert not _GuardedCompressor.overlaps, f"of {_GuardedCompressor.calls} calls"
