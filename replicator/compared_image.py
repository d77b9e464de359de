"""The replica's part of a comparison of the two images; what it claims: ``comparison.py``."""

from __future__ import annotations

import json
from functools import partial

from replicator.block_frames import (
    BlockTraffic,
    ExtentDigests,
    ExtentsWanted,
    PageDigests,
    PagesWanted,
    pack_document,
)
from replicator.catalogue import Catalogue, Entry
from replicator.digests import (
    PAGE_BYTES,
    differing,
    digest_range,
)
from replicator.errors import ProtocolViolation, StorageError
from replicator.image_receiver import IN_QUESTION_LIMIT, HomeFiles, Reply
from replicator.protocol import HEADER_BYTES, Frame, FrameType
from replicator.replica_store import ReplicaStore
from replicator.runtime.port import EntryKind, Runtime, Scan
from replicator.untrusted import whole_number


class ComparedImage:
    """The replica's part: answers about its image as it is, while operations are applied.

    Arguments
    ---------
    store: the replica's storage; only read.
    """

    def __init__(self, runtime: Runtime, store: ReplicaStore) -> None:
        self._runtime = runtime
        self._store = store
        self._home = store.image.home
        self._files = HomeFiles(self._home.volume, self._home.root)
        self._seed = 0
        self.traffic = BlockTraffic()
        self._different: dict[tuple[int, int], bytes] = {}
        """Extents that differ, with the digests of their pages, until the source tells its own."""

    async def begin(self, frame: Frame) -> Reply:
        """Names, ids and sizes, as soon as the operation is applied that COMPARE_BEGIN names."""
        document = frame.document()
        try:
            after, self._seed = whole_number(document, "after"), whole_number(document, "seed")
        except ValueError as error:
            raise ProtocolViolation(f"COMPARE_BEGIN cannot be understood: {error}") from None
        self.traffic = BlockTraffic()
        self._different.clear()
        await self._applied(after)
        names = Catalogue()
        for path, entry in self._home.catalogue:
            names.add(path, self._as_it_is(path, entry))
        return FrameType.COMPARE_NAMES, pack_document(json.dumps(names.to_json()))

    def _as_it_is(self, path: str, entry: Entry) -> Entry:
        try:
            stat = self._home.volume.stat(self._home.root + path)
        except StorageError:  # somebody else removed it: then it has no bytes
            return Entry(entry.kind, entry.file_id, 0, entry.target)
        size_bytes = stat.size_bytes if stat.kind == EntryKind.FILE else 0
        return Entry(stat.kind, entry.file_id, 0, stat.target or "", size_bytes)

    async def _applied(self, operation: int) -> None:
        store = self._store
        while store.applied < operation:
            await store.changed

    async def take(self, frame: Frame) -> list[Reply]:
        """What to answer to a frame of the source; raises ProtocolViolation."""
        self.traffic.digest_bytes += HEADER_BYTES + len(frame.payload)
        if frame.type == FrameType.EXTENT_DIGESTS:
            answer = await self._extents(ExtentDigests.decode(frame.payload))
            reply = (FrameType.EXTENTS_WANTED, answer.encode())
        else:
            wanted = self._pages(PageDigests.decode(frame.payload))
            reply = (FrameType.PAGES_WANTED, wanted.encode())
        self.traffic.question_bytes += HEADER_BYTES + len(reply[1])
        return [reply]

    async def _scan(self, file_id: int, scan: Scan) -> list[bytes]:
        names = self._home.catalogue.names_of(file_id)
        file = self._files.open(file_id, names[0]) if names else None
        return [] if file is None else await file.scan(scan)

    async def _extents(self, frame: ExtentDigests) -> ExtentsWanted:
        file_id = frame.file_id
        await self._applied(frame.after)

        if len(self._different) > IN_QUESTION_LIMIT:
            raise ProtocolViolation("more is in question than any source asks at a time")
        own = await digest_range(partial(self._scan, file_id), frame.first, frame.pages, self._seed)
        self.traffic.compared_bytes += frame.pages * PAGE_BYTES
        different = differing(own.extents, frame.digests)
        for number in different:
            self._different[file_id, frame.first + number] = own.pages_of_extent(number)
        return ExtentsWanted(file_id, frame.first, frame.extents, different, [])

    def _pages(self, frame: PageDigests) -> PagesWanted:
        wanted: list[tuple[int, int]] = []
        for extent, digests in frame.extents:
            own = self._different.pop((frame.file_id, extent), b"")
            if len(own) != len(digests):
                raise ProtocolViolation("page digests came that were not asked for")
            wanted.append((extent, sum(1 << page for page in differing(own, digests))))
        return PagesWanted(frame.file_id, wanted)

    def close(self) -> None:
        """Give the handle back."""
        self._files.close()
