"""The source's part of a comparison of the two images; what it claims: ``comparison.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from replicator.block_frames import (
    bits_of,
    unpack_document,
)
from replicator.catalogue import Catalogue
from replicator.comparison import ChangeLog, ComparisonReport, FileDifference
from replicator.digests import (
    PAGE_BYTES,
    PAGES_PER_EXTENT,
    pages_of,
)
from replicator.errors import ProtocolViolation
from replicator.image_sender import Answer, Questioner, SendFrame
from replicator.protected_files import ProtectedFiles
from replicator.protocol import FrameType
from replicator.runtime.channels import Queue
from replicator.runtime.port import EntryKind, Runtime, Scan
from replicator.spool_reader import SpoolReader
from replicator.untrusted import json_object

ROUND_PAGES: Final = (1 << 30) // PAGE_BYTES
"""What is compared before it is found out which differences were written meanwhile."""


@dataclass(slots=True)
class _Pair:
    """One file at both ends."""

    found: FileDifference
    inode: int


class ImageComparer:
    """The source's part of one comparison.

    Arguments
    ---------
    files: the protected files as they are now.
    spool: for its marks.
    changes: what the operations touch that are being sent on this connection.
    send: sends one frame.
    answers, names: what arrives: EXTENTS_WANTED and PAGES_WANTED; COMPARE_NAMES.
    compression_level: zstd level of digests, or None.
    """

    def __init__(
        self,
        runtime: Runtime,
        files: ProtectedFiles,
        spool: SpoolReader,
        changes: ChangeLog,
        send: SendFrame,
        answers: Queue[Answer | None],
        names: Queue[bytes],
        compression_level: int | None,
    ) -> None:
        self._runtime = runtime
        self._files = files
        self._spool = spool
        self._changes = changes
        self._send = send
        self._names = names
        self._seed = int(runtime.random("comparison")() * (1 << 53))
        self._pairs: dict[int, _Pair] = {}
        self._candidates: list[tuple[int, int, int]] = []
        self.report = ComparisonReport(spool.epoch, changes.sequence)
        self._questioner = Questioner(
            self._scan,
            send,
            self._seed,
            answers,
            self._differs,
            self.report.traffic,
            compression_level,
        )

    async def run(self) -> ComparisonReport:
        """Compare all of it; raises HistoryEnded, ConnectionLost and ProtocolViolation."""
        changes, report = self._changes, self.report
        changes.begin()
        try:
            report.began_ns = self._runtime.wall_ns()
            report.from_operation = changes.sequence
            begin = {"after": changes.sequence, "seed": self._seed}
            await self._send(FrameType.COMPARE_BEGIN, json.dumps(begin).encode())
            await self._join(await self._names.get())
            for part in self._rounds():
                after = changes.sequence
                changes.watch(
                    [(file_id, e * PAGES_PER_EXTENT, pages) for file_id, e, pages in part]
                )
                await self._questioner.run(part, after)
                await self._settled()
                self._judge()
            changed = {pair.found.path for pair in self._pairs.values()} & changes.paths
            report.changed_names = sorted({*report.changed_names, *changed})
            report.to_operation = changes.sequence
            report.ended_ns = self._runtime.wall_ns()
            report.files = [pair.found for pair in self._pairs.values()]
        finally:
            changes.end()
        await self._send(FrameType.COMPARE_REPORT, json.dumps(report.summary()).encode())
        return report

    async def _settled(self) -> None:
        """Return when all that was begun by now has been sent, and therefore noted."""
        fence = self._spool.board.intended
        while self._changes.sequence < fence:
            self._spool.check()
            await self._changes.news
        self._spool.check()

    async def _join(self, payload: bytes) -> None:
        """Find out which files are at both ends."""
        try:
            theirs = Catalogue.from_json(json_object(unpack_document(payload)))
        except ValueError as error:
            raise ProtocolViolation(f"COMPARE_NAMES cannot be understood: {error}") from None
        ours = dict(self._files.names())
        await self._settled()
        changes, report = self._changes, self.report
        changes.keep_paths(ours.keys() | theirs.entries.keys())
        changed = changes.paths
        for path in sorted(ours.keys() | theirs.entries.keys()):
            own, other = ours.get(path), theirs.entries.get(path)
            if path in changed:
                report.changed_names.append(path)
            elif other is None:
                report.only_at_source.append(path)
            elif own is None:
                report.only_at_replica.append(path)
            elif (own.kind, own.target or "") != (other.kind, other.target):
                report.only_at_source.append(path)
                report.only_at_replica.append(path)
            elif own.kind == EntryKind.FILE and other.file_id not in self._pairs:
                found = FileDifference(path, own.size_bytes, other.size_bytes)
                written = changes.touched(other.file_id)
                found.sizes_differ = own.size_bytes != other.size_bytes and not written
                self._pairs[other.file_id] = _Pair(found, own.inode)

    def _rounds(self) -> Iterator[list[tuple[int, int, int]]]:
        """(file id, first extent, pages) of all files, in parts of bounded size."""
        part: list[tuple[int, int, int]] = []
        room = ROUND_PAGES
        for file_id, pair in self._pairs.items():
            left = pages_of(max(pair.found.source_bytes, pair.found.replica_bytes))
            extent = 0
            while left:
                pages = min(left, room)
                part.append((file_id, extent, pages))
                extent += pages // PAGES_PER_EXTENT
                left -= pages
                room -= -(-pages // PAGES_PER_EXTENT) * PAGES_PER_EXTENT
                if not room:
                    yield part
                    part, room = [], ROUND_PAGES
        if part:
            yield part

    async def _scan(self, file_id: int, scan: Scan) -> list[bytes]:
        pair = self._pairs[file_id]
        return await self._files.scan(pair.found.path, pair.inode, scan)

    async def _differs(self, file_id: int, extents: list[tuple[int, int]]) -> None:
        self._candidates += ((file_id, *each) for each in extents)

    def _judge(self) -> None:
        """Tell differences from what was written meanwhile."""
        changes = self._changes
        for file_id, extent, mask in sorted(self._candidates):
            found = self._pairs[file_id].found
            size_bytes = max(found.source_bytes, found.replica_bytes)
            for page in bits_of(mask):
                number = extent * PAGES_PER_EXTENT + page
                offset = number * PAGE_BYTES
                length = min(PAGE_BYTES, size_bytes - offset)
                if found.path in changes.paths or changes.touched(file_id, number):
                    found.changed_bytes += length
                    continue
                found.different_bytes += length
                if found.first_different_offset is None:
                    found.first_different_offset = offset
        self._candidates.clear()
        for pair in self._pairs.values():
            found = pair.found
            found.compared_bytes = max(found.source_bytes, found.replica_bytes)
