"""The streaming file of an attached database: content written, read, and its clusters used again.

::

    put      clusters taken --> pages written --> synced --> (row inserted, committed by the caller)
    delete   row flagged deleted --> committed --> durable in the log --> clusters free again

The file is not logged.  So a content is durable before the commit of the row that says where it
is; and the clusters of a deleted one keep it until the deletion is durable, because till then a
crash brings the row back.  Where a row goes is told by the engine's own versions: as long as the
version of a change is open its transaction is, and one that was taken back leaves its session.

What is free is known in memory only: all clusters that no row names.  It is made anew from the
rows at each attach, so no crash leaks a cluster (:meth:`StreamingFile.begin`).

Modelled after what :mod:`replicator.ese.streaming_file` says is known.  Left out [A]: log records
40, 41 and 43, with which the engine logs the content where circular logging is off, so that a
roll-forward brings it back; here it is as with circular logging, and -549 says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from replicator.ese.database_header import DatabaseHeader
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_stream import LogStream
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import (
    BAD_PAGE_EVENTS,
    CLUSTER_BYTES,
    CLUSTER_PAGES,
    HEADER_BYTES,
    MISMATCH,
    PAGE_BYTES,
    StreamPlace,
    check_page,
    check_pair,
    new_header,
    page_at,
    page_checksum,
    streaming_path,
)
from replicator.ese.values import LogPosition, Signature
from replicator.ese.versions import Change
from replicator.runtime import Cancelled
from replicator.runtime.port import File, Volume, write_all
from simulator.exchange.ese.instance_options import EngineSafeguards
from simulator.exchange.ese.session import Session
from simulator.exchange.ese.table import Table
from simulator.exchange.ese.turn import Turn
from simulator.exchange.ese.versions import Version

WRITE_BYTES: Final = 1 << 20


@dataclass(slots=True)
class _Pending:
    """A change of a row whose transaction was open when it was last looked at.

    Arguments
    ---------
    version: of the change.
    clusters: those that the row names.
    durable_above: the commit is durable when the log is beyond this; None while it is open.
    """

    version: Version
    clusters: tuple[int, ...]
    durable_above: LogPosition | None = None


class StreamingFile:
    """See the module; made by :meth:`create` or :meth:`open`.

    Arguments
    ---------
    volume, file: the file, open.
    log: of the database.
    last_position: where the last record of the database stands.
    safeguards: for tests.

    Attributes
    ----------
    path: of the file.
    is_held: a backup copies it: no cluster is used again meanwhile.
    written_bytes: of content, since it was opened.
    """

    def __init__(
        self,
        volume: Volume,
        file: File,
        log: LogStream,
        last_position: Callable[[], LogPosition],
        safeguards: EngineSafeguards,
    ) -> None:
        self._volume, self._file, self._log = volume, file, log
        self._last_position, self._safeguards = last_position, safeguards
        self.path = file.path
        self._free: set[int] = set()
        self._cluster_count = 0
        self._is_known = False
        self._inserted: dict[int, _Pending] = {}
        self._deleted: dict[int, _Pending] = {}
        """By the first cluster of a content: its last change counts."""
        self._turn = Turn()
        self.is_held = False
        self.written_bytes = 0

    # -- the file ------------------------------------------------------------------------

    @staticmethod
    async def create(
        volume: Volume,
        database_path: str,
        signature: Signature,
        log_signature: Signature,
        revision: int,
    ) -> File:
        """Make the file beside a database that is being made; its name is not yet durable.

        One that lies there is left of a database that was never finished.  Raises StorageError.
        """
        path = streaming_path(database_path)
        if volume.exists(path):
            volume.unlink(path)
        file = volume.create(path)
        block = sealed(new_header(signature, log_signature, revision).encode(), PAGE_BYTES)
        await volume.admit(2 * len(block))
        write_all(file, 0, block, block)
        await file.sync()
        return file

    @staticmethod
    async def open(volume: Volume, database_path: str, header: DatabaseHeader) -> File:
        """Open the file of a database that is to be attached.

        Raises EseError: -540 when it is missing or another one's, -1018 for its header.
        """
        path = streaming_path(database_path)
        if not volume.exists(path):
            detail = f"{database_path} has a streaming file, and it is not there"
            raise EseError(MISMATCH, detail, path=path)
        file = volume.open(path)
        try:
            check_pair(header, BytesReader(await file.read_at(0, HEADER_BYTES), path), path)
        except EseError:
            file.close()
            raise
        return file

    async def begin(self, places: Callable[[], AsyncIterator[StreamPlace]]) -> None:
        """Find out which clusters are free; before any row of a content is changed.

        Arguments
        ---------
        places: of all rows; asked once after the database was attached.

        Raises EseError -1018, event 478, when a row names what the file has not.
        """
        async with self._turn.taken():
            if self._is_known:
                return
            used: set[int] = set()
            count = -(-max(0, self._file.size_bytes - HEADER_BYTES) // CLUSTER_BYTES)
            async for place in places():
                used.update(place.clusters)
                if max(place.clusters, default=0) >= max(count, 1):
                    detail = f"the database names a cluster behind its {count:,} clusters"
                    raise EseError(-1018, detail, path=self.path, events=BAD_PAGE_EVENTS)
            self._cluster_count = count
            self._free = set(range(count)) - used
            self._is_known = True

    def close(self) -> None:
        """Give the file back; all that rows name is durable."""
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self._file.size_bytes

    @property
    def free_clusters(self) -> int:
        """That are free now."""
        return len(self._free)

    # -- content -------------------------------------------------------------------------

    async def put(self, parts: Sequence[bytes]) -> StreamPlace:
        """Write a content; it is durable when this returns.

        The caller inserts the row and then calls :meth:`inserted`, or :meth:`give_back`.
        Raises StorageError; then no cluster is taken.
        """
        self.settle()
        data = b"".join(parts)
        pages = -(-len(data) // PAGE_BYTES)
        clusters = self._taken(-(-pages // CLUSTER_PAGES))
        runs = _runs(clusters)
        padded = data.ljust(pages * PAGE_BYTES, b"\0")
        place = StreamPlace(tuple(map(len, parts)), runs, (0,) * pages)
        sums = tuple(
            page_checksum(padded[at * PAGE_BYTES : (at + 1) * PAGE_BYTES], number)
            for at, number in enumerate(place.pages())
        )
        place = StreamPlace(place.lengths, runs, sums)
        try:
            await self._write(place, padded)
            if self._safeguards.stream_before_commit:
                await self._file.sync()
        except (Exception, Cancelled):
            self.give_back(place)
            raise
        self.written_bytes += len(data)
        return place

    async def _write(self, place: StreamPlace, padded: bytes) -> None:
        done = 0
        for first, count in place.runs:
            end = min(done + count * CLUSTER_BYTES, len(padded))
            for at in range(done, end, WRITE_BYTES):
                piece = padded[at : min(at + WRITE_BYTES, end)]
                await self._volume.admit(len(piece))
                write_all(self._file, page_at(first * CLUSTER_PAGES + 1) + at - done, piece)
            done = end

    def _taken(self, count: int) -> list[int]:
        """The lowest free clusters; the file grows by those that it lacks."""
        if not self._is_known:
            raise RuntimeError(f"nobody has found out what is free in {self.path}")
        found = sorted(self._free)[:count]
        self._free.difference_update(found)
        while len(found) < count:
            found.append(self._cluster_count)
            self._cluster_count += 1
        return found

    async def get(self, place: StreamPlace) -> bytes:
        """A content, each page verified.  Raises EseError -1018, event 478; StorageError."""
        parts = []
        done, numbers = 0, list(place.pages())
        for first, count in place.runs:
            pages = min(count * CLUSTER_PAGES, len(numbers) - done)
            start = page_at(first * CLUSTER_PAGES + 1)
            data = await self._file.read_at(start, pages * PAGE_BYTES)
            for each in range(pages):
                page = data[each * PAGE_BYTES : (each + 1) * PAGE_BYTES]
                check_page(page, numbers[done], place.checksums[done], self.path)
                done += 1
            parts.append(data)
        return b"".join(parts)[: place.size_bytes]

    async def copy_to(self, volume: Volume, file: File) -> None:
        """Copy header and clusters as they are now; no cluster may be used again meanwhile.

        Raises StorageError.
        """
        end = self._file.size_bytes
        for at in range(0, end, WRITE_BYTES):
            data = await self._file.read_at(at, min(WRITE_BYTES, end - at))
            await volume.admit(len(data))
            write_all(file, at, data)

    # -- whose clusters are whose --------------------------------------------------------

    def give_back(self, place: StreamPlace) -> None:
        """No row was made for a content that was put."""
        self._free.update(place.clusters)

    def inserted(self, place: StreamPlace, version: Version) -> None:
        """A row names the content; should it be taken back, the clusters are free."""
        if place.runs:
            self._inserted[place.runs[0][0]] = _Pending(version, place.clusters)

    def deleted(self, place: StreamPlace, version: Version) -> None:
        """The row is flagged deleted; the clusters are free once that is durable."""
        if place.runs:
            pending = _Pending(version, place.clusters)
            if self._safeguards.keep_deleted_clusters:
                self._deleted[place.runs[0][0]] = pending
            else:
                self._free.update(place.clusters)

    def settle(self) -> None:
        """Look what has become of the changes whose transactions were open."""
        for first, each in list(self._inserted.items()):
            if each.version.session is None:
                del self._inserted[first]
            elif each.version not in each.version.session.versions:
                del self._inserted[first]
                self._deleted.pop(first, None)
                self._free.update(each.clusters)
        for first, each in list(self._deleted.items()):
            session = each.version.session
            if session is not None:
                if each.version not in session.versions:
                    del self._deleted[first]  # taken back: the row is there again
                continue
            if each.durable_above is None:
                each.durable_above = self._last_position()
            if self._log.flushed > each.durable_above and not self.is_held:
                del self._deleted[first]
                self._free.update(each.clusters)


def _runs(clusters: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Neighbours together: first cluster and number."""
    found: list[tuple[int, int]] = []
    for each in clusters:
        if found and sum(found[-1]) == each:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((each, 1))
    return tuple(found)


def version_of(session: Session, table: Table, key: bytes, change: Change) -> Version:
    """The version of the change of a row that the session has just made."""
    for version in reversed(session.versions):
        if version.tree is table.rows and version.key == key and version.change is change:
            return version
    raise RuntimeError(f"the session has not changed row {key.hex()} of {table.definition.name}")
