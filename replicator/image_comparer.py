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
from replicator.catalogue import Catalogue, Entry
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
from replicator.runtime import sleep_ns
from replicator.runtime.channels import Queue
from replicator.runtime.port import EntryKind, Runtime, Scan, Stat
from replicator.spool_reader import SpoolReader
from replicator.untrusted import json_object

ROUND_PAGES: Final = (1 << 30) // PAGE_BYTES
"""What is compared before it is found out which differences were written meanwhile."""
MOST_PASSES: Final = 100
"""So often a comparison goes over what was changed meanwhile.  A page that is written in part, and
faster than a pass is, without end, would keep it for ever; and the image not verified."""


Unclaimed = dict[int, set[int] | None]
"""What a pass could claim nothing about: of files, by id, extents; None for a whole file."""


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
        """Those that the pass under way compares; by file id, like all that follows."""
        self._found: dict[int, FileDifference] = {}
        self._unclaimed: Unclaimed = {}
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

    async def run(self, pause_ns: int | None = None) -> ComparisonReport:
        """Compare all of it; raises HistoryEnded, ConnectionLost and ProtocolViolation.

        Arguments
        ---------
        pause_ns: wait so long, and compare again what was changed meanwhile, until nothing is left
            of that, or it was in motion in :data:`MOST_PASSES` of them; None to leave it out.
        """
        report = self.report
        report.began_ns = self._runtime.wall_ns()
        report.from_operation = self._changes.sequence
        unclaimed = await self._pass(None)
        while (
            unclaimed and report.identical and report.passes < MOST_PASSES and pause_ns is not None
        ):
            self._files.close()  # what is removed meanwhile gives its space back
            await sleep_ns(pause_ns)
            unclaimed = await self._pass(unclaimed)
        report.complete = not unclaimed
        report.ended_ns = self._runtime.wall_ns()
        report.files = list(self._found.values())
        await self._send(FrameType.COMPARE_REPORT, json.dumps(report.summary()).encode())
        return report

    async def _pass(self, wanted: Unclaimed | None) -> Unclaimed:
        """Compare all names and what is ``wanted`` of the files; returns what is left of that."""
        changes, report = self._changes, self.report
        self._unclaimed = {}
        report.passes += 1
        changes.begin()
        try:
            begin = {"after": changes.sequence, "seed": self._seed}
            await self._send(FrameType.COMPARE_BEGIN, json.dumps(begin).encode())
            await self._join(await self._names.get(), wanted)
            for part in self._rounds(wanted):
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
        finally:
            changes.end()
        return self._unclaimed

    async def _settled(self) -> None:
        """Return when all that was begun by now has been sent, and therefore noted."""
        fence = self._spool.board.intended
        while self._changes.sequence < fence:
            self._spool.check()
            await self._changes.news
        self._spool.check()

    async def _join(self, payload: bytes, wanted: Unclaimed | None) -> None:
        """Find out which files are at both ends."""
        try:
            theirs = Catalogue.from_json(json_object(unpack_document(payload)))
        except ValueError as error:
            raise ProtocolViolation(f"COMPARE_NAMES cannot be understood: {error}") from None
        ours = dict(self._files.names())
        await self._settled()
        changes, report = self._changes, self.report
        changes.keep_paths(ours.keys() | theirs.entries.keys())
        changed_names = {
            path for path in ours.keys() | theirs.entries.keys() if path in changes.paths
        }
        only_at_source: set[str] = set()
        only_at_replica: set[str] = set()
        self._pairs.clear()
        for path in sorted(ours.keys() | theirs.entries.keys()):
            own, other = ours.get(path), theirs.entries.get(path)
            if path in changed_names:
                # A name of the source alone came by one of the operations that are noted.
                if other is not None and _is_wanted(other.file_id, wanted):
                    self._unclaimed[other.file_id] = None
            elif other is None:
                only_at_source.add(path)
            elif own is None:
                only_at_replica.add(path)
            elif (own.kind, own.target or "") != (other.kind, other.target):
                only_at_source.add(path)
                only_at_replica.add(path)
            elif own.kind == EntryKind.FILE and _is_wanted(other.file_id, wanted):
                self._pair(path, own, other)
        report.changed_names = sorted({*report.changed_names, *changed_names})
        report.only_at_source = sorted({*report.only_at_source, *only_at_source})
        report.only_at_replica = sorted({*report.only_at_replica, *only_at_replica})

    def _pair(self, path: str, own: Stat, other: Entry) -> None:
        """Take a file up that is at both ends."""
        file_id = other.file_id
        if file_id in self._pairs:
            return  # by another of its names
        found = self._found.setdefault(file_id, FileDifference(path, 0, 0))
        found.path, found.source_bytes, found.replica_bytes = path, own.size_bytes, other.size_bytes
        found.changed_bytes = 0
        if found.source_bytes != found.replica_bytes:
            if self._changes.touched(file_id):
                self._unclaimed[file_id] = set()
            else:
                found.sizes_differ = True
        self._pairs[file_id] = _Pair(found, own.inode)

    def _rounds(self, wanted: Unclaimed | None) -> Iterator[list[tuple[int, int, int]]]:
        """(file id, first extent, pages) of what is wanted, in parts of bounded size."""
        part: list[tuple[int, int, int]] = []
        room = ROUND_PAGES
        for file_id, first, pages in self._ranges(wanted):
            extent, left = first, pages
            while left:
                taken = min(left, room)
                part.append((file_id, extent, taken))
                extent += taken // PAGES_PER_EXTENT
                left -= taken
                room -= -(-taken // PAGES_PER_EXTENT) * PAGES_PER_EXTENT
                if not room:
                    yield part
                    part, room = [], ROUND_PAGES
        if part:
            yield part

    def _ranges(self, wanted: Unclaimed | None) -> Iterator[tuple[int, int, int]]:
        """(file id, first extent, pages): whole files, or single extents of them."""
        for file_id, pair in self._pairs.items():
            total = pages_of(max(pair.found.source_bytes, pair.found.replica_bytes))
            extents = None if wanted is None else wanted[file_id]
            if extents is None:
                yield file_id, 0, total
                continue
            for extent in sorted(extents):
                pages = min(PAGES_PER_EXTENT, total - extent * PAGES_PER_EXTENT)
                if pages > 0:
                    yield file_id, extent, pages

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
                    known = self._unclaimed.setdefault(file_id, set())
                    if known is not None:
                        known.add(extent)
                    continue
                found.different_bytes += length
                if found.first_different_offset is None:
                    found.first_different_offset = offset
        self._candidates.clear()
        for pair in self._pairs.values():
            found = pair.found
            found.compared_bytes = max(found.source_bytes, found.replica_bytes)


def _is_wanted(file_id: int, wanted: Unclaimed | None) -> bool:
    return wanted is None or file_id in wanted
