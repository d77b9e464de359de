"""Staging: pages that differ, in files of their own, until they are committed.

Three files and their layout, all named after the epoch of the attempt that began them::

    epoch-00000007.pages      sparse; the page in slot n at n * 8 KiB
    epoch-00000007.index      sparse; 16 bytes for each slot (staging_index.py)
    epoch-00000007.reserve    space set aside for what the image will need besides
    epoch-00000007.layout.a   path -> first slot, number of slots; two checksummed copies (.b)

The layout gives each file of the image a run of slots, by its path.  An attempt that follows a
broken one goes on with its files: they stay until a commit, over restarts too.  Nothing in
them is believed: a page counts only with the digest in its index entry, so that whatever a
crash left half is just not there, and what is there is compared with the source again, as if
it stood in the image already (the *overlay*).  No index of the image is held in memory.

What another process has staged may stand in the page cache only: it may have died of a sync
that failed, after which its pages read well and are not on the medium.  So the overlay writes
them once more, for the sync before the commit to vouch for (:class:`VouchedExtents`).

What becomes of them on a commit: ``committed_pages.py``.  Space is reserved page by page for
those that have no room in the present image yet, so that a volume that is too small is found
out before anything is committed.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from replicator.block_frames import ExtentPages
from replicator.catalogue import Catalogue
from replicator.compression import contexts
from replicator.digests import EXTENT_BYTES, PAGE_BYTES, PAGES_PER_EXTENT, pages_of
from replicator.errors import DamagedLog, NoSpace
from replicator.runtime.port import File, Volume, write_all
from replicator.slots import StateSlots
from replicator.staging_index import (
    ENTRY_BYTES,
    NEEDS_ROOM,
    STAGED,
    ZEROS,
    index_digest,
    index_entry,
    read_index,
    read_padded,
    staged_runs,
)

_NAME: Final = re.compile(r"epoch-(\d{8,10})\.(pages|index|reserve|layout\.[ab])")
_SLACK: Final = 2
"""A file may grow so many times between two attempts without moving to other slots."""


def _generations(volume: Volume, directory: str) -> list[int]:
    """The epochs after which staging files are named, in order."""
    found = (_NAME.fullmatch(name) for name in volume.list(directory))
    return sorted({int(match[1]) for match in found if match})


def _remove(volume: Volume, directory: str, generation: int) -> None:
    for name in volume.list(directory):
        match = _NAME.fullmatch(name)
        if match and int(match[1]) == generation:
            volume.unlink(f"{directory}/{name}")


def remove_staging(volume: Volume, directory: str, up_to_epoch: int) -> None:
    """Remove what was staged for images up to this epoch: it is of no use any more."""
    for generation in _generations(volume, directory):
        if generation <= up_to_epoch:
            _remove(volume, directory, generation)


def _open(volume: Volume, path: str) -> File:
    return volume.open(path) if volume.exists(path) else volume.create(path)


class VouchedExtents:
    """What of a staging this process has written: one bit for each extent, 512 bytes for 1 GiB.

    Arguments
    ---------
    all_of_it: this process has begun the staging.
    """

    def __init__(self, all_of_it: bool) -> None:
        self._all = all_of_it
        self._runs: dict[int, bytearray] = {}

    def missing(self, first_slot: int, extents: range) -> bool:
        """Whether some of these extents were not written, of the file at this slot."""
        run = self._runs.get(first_slot, b"")
        return not self._all and any(
            extent >> 3 >= len(run) or not run[extent >> 3] >> (extent & 7) & 1
            for extent in extents
        )

    def note(self, first_slot: int, extents: range) -> None:
        """These extents were written, whole."""
        run = self._runs.setdefault(first_slot, bytearray())
        run.extend(bytes(max(0, (extents.stop + 7 >> 3) - len(run))))
        for extent in extents:
            run[extent >> 3] |= 1 << (extent & 7)


class Staging:
    """The staged pages of an attempt, and of broken ones before it; see :func:`open_staging`."""

    def __init__(
        self,
        volume: Volume,
        path: str,
        slots: dict[int, int],
        epoch: int,
        history: bytes,
        catalogue: Catalogue,
        vouched: VouchedExtents,
    ) -> None:
        self.path = path
        """Of the files, without their last part."""
        self.epoch = epoch
        self.history = history
        self.catalogue = catalogue
        self.from_nothing: list[str] = []
        """Paths whose home files are no basis: they are removed first."""
        self.inherited_pages = 0
        """Found there at the beginning, from broken attempts."""
        self.staged_bytes = 0
        """Added by this attempt."""
        self.unsynced_bytes = 0
        """Added since the last sync."""
        self._volume = volume
        self._slots = slots
        self._vouched = vouched
        self._pages = _open(volume, path + ".pages")
        self._index = _open(volume, path + ".index")
        self._reserve = _open(volume, path + ".reserve")
        self._reserved_bytes = 0

    async def inherit(self) -> None:
        """Count what is staged already and reserve room for it; raises NoSpace."""
        needs_room = 0
        for _, entry in self.catalogue.files():
            slot, pages = self._slots[entry.file_id], pages_of(entry.size_bytes)
            async for _, entries in read_index(self._index, slot, pages):
                if entries.count(0) == len(entries):
                    continue
                for flags in entries[::ENTRY_BYTES]:
                    self.inherited_pages += flags & STAGED
                    needs_room += bool(flags & NEEDS_ROOM)
        self._reserve_more(needs_room * PAGE_BYTES)

    def _reserve_more(self, size_bytes: int) -> None:
        if size_bytes:
            try:
                self._reserve.allocate(self._reserved_bytes, size_bytes)
            except NoSpace:
                self.give_up_reserve()
                raise
            self._reserved_bytes += size_bytes

    def give_up_reserve(self) -> None:
        """Let go of the space that was set aside; what is staged stays."""
        self._reserve.close()
        if self._volume.exists(self.path + ".reserve"):
            self._volume.unlink(self.path + ".reserve")

    async def add(self, file_id: int, data: ExtentPages, new: int) -> None:
        """Stage pages of one extent.

        Arguments
        ---------
        file_id: in the new image.
        data: the pages; those staged before in their place are replaced.
        new: one bit for each page that has no room in the present image.

        Raises NoSpace when the volume cannot hold the pages, or not the image that they lead to.
        """
        slot = self._slots[file_id] + data.extent * PAGES_PER_EXTENT
        await self._volume.admit(len(data.data))
        try:
            self._reserve_more((data.pages & ~data.zeros & new).bit_count() * PAGE_BYTES)
            for first, count, content in data.runs():
                self._write(slot, first, count, content, new)
        except NoSpace:
            self.give_up_reserve()
            raise
        self.staged_bytes += len(data.data)
        self.unsynced_bytes += len(data.data)

    def _write(self, slot: int, first: int, count: int, content: bytes, new: int) -> None:
        if content:
            write_all(self._pages, (slot + first) * PAGE_BYTES, content)
        view = memoryview(content)
        entries: list[bytes] = []
        for page in range(count):
            flags = STAGED if content else STAGED | ZEROS
            if content and new >> (first + page) & 1:
                flags |= NEEDS_ROOM
            at = page * PAGE_BYTES
            entries.append(index_entry(flags, slot + first + page, view[at : at + PAGE_BYTES]))
        write_all(self._index, (slot + first) * ENTRY_BYTES, b"".join(entries))

    async def overlay(self, file_id: int, offset: int, length: int, below: bytes) -> bytes:
        """What the image would show in a range once the staged pages are committed.

        Arguments
        ---------
        offset, length: the range; it begins at an extent and ends with one, or with the file.
        below: what it shows now.

        Raises NoSpace.
        """
        run, count = self._slots[file_id], pages_of(length)
        slot = run + offset // PAGE_BYTES
        extents = range(offset // EXTENT_BYTES, -(-(offset + length) // EXTENT_BYTES))
        entries = await read_padded(self._index, slot * ENTRY_BYTES, count * ENTRY_BYTES)
        if self._vouched.missing(run, extents):
            await self._write_again(run, extents)
            self._vouched.note(run, extents)
        if entries.count(0) == len(entries):
            return below
        staged = memoryview(
            await read_padded(self._pages, slot * PAGE_BYTES, count * PAGE_BYTES),
        )
        shown = bytearray(below.ljust(count * PAGE_BYTES, b"\0"))
        for page in range(count):
            entry = entries[page * ENTRY_BYTES : (page + 1) * ENTRY_BYTES]
            if not entry[0] & STAGED:
                continue
            at = page * PAGE_BYTES
            content = b"" if entry[0] & ZEROS else staged[at : at + PAGE_BYTES]
            if entry != index_entry(entry[0], slot + page, content):
                # A crash came between, or the disk lost it: it was never staged.
                write_all(self._index, (slot + page) * ENTRY_BYTES, bytes(ENTRY_BYTES))
                continue
            shown[at : at + PAGE_BYTES] = content or bytes(PAGE_BYTES)
        return bytes(shown[:length])

    async def _write_again(self, run: int, extents: range) -> None:
        """Write what is there of a file's extents, so that the next sync vouches for it.

        Entries of pages that are not staged as well: on the medium they may say otherwise.
        """
        slot, count = run + extents.start * PAGES_PER_EXTENT, len(extents) * PAGES_PER_EXTENT
        entries = await read_padded(self._index, slot * ENTRY_BYTES, count * ENTRY_BYTES)
        size_bytes = min(len(entries), max(0, self._index.size_bytes - slot * ENTRY_BYTES))
        await self._volume.admit(size_bytes)
        if size_bytes:
            write_all(self._index, slot * ENTRY_BYTES, entries[:size_bytes])
        self.unsynced_bytes += size_bytes
        for start, pages, zeros in staged_runs(entries):
            at = (slot + start) * PAGE_BYTES
            data = b"" if zeros else await self._pages.read_at(at, pages * PAGE_BYTES)
            if data:
                await self._volume.admit(len(data))
                write_all(self._pages, at, data)
            self.unsynced_bytes += len(data)

    async def sync(self) -> None:
        """What was staged before this call survives a power loss."""
        unsynced_bytes = self.unsynced_bytes
        await self._pages.sync()
        await self._index.sync()
        await self._volume.sync_directory(self.path.rpartition("/")[0])
        self.unsynced_bytes -= unsynced_bytes

    async def describe(self, fence: int, first_record: tuple[int, int], as_of_ns: int = 0) -> bytes:
        """The payload of the COMMIT record.

        Arguments
        ---------
        fence: operation from which on the image is that of an instant.
        first_record: where in the journal the operations of this attempt begin.
        as_of_ns: the source's clock when its files were so; 0 when operations will tell.
        """
        slots = [
            [entry.file_id, self._slots[entry.file_id]]
            for _, entry in self.catalogue.files()
            if entry.size_bytes
        ]
        document = {
            "epoch": self.epoch,
            "history": self.history.hex(),
            "fence": fence,
            "as_of_ns": as_of_ns,
            "path": self.path,
            "slots": slots,
            "index": (await index_digest(self._index, self.catalogue, slots)).hex(),
            "catalogue": self.catalogue.to_json(),
            "from_nothing": self.from_nothing,
            "first_record": list(first_record),
        }
        return contexts(1).compress(json.dumps(document).encode())

    def close(self) -> None:
        """Give the handles back; the files stay."""
        for file in (self._pages, self._index, self._reserve):
            file.close()


async def open_staging(
    volume: Volume,
    directory: str,
    epoch: int,
    history: bytes,
    catalogue: Catalogue,
    committed_epoch: int,
    vouched: dict[str, VouchedExtents] | None = None,
) -> Staging:
    """The staging of an attempt, with what broken ones before it left there.

    Arguments
    ---------
    directory: where the files are.
    epoch, history, catalogue: of the new image.
    committed_epoch: what was staged for images up to this one is not touched: it may be on its
        way to become the image.
    vouched: by path, what this process has written; kept by the caller over all attempts of
        a process.

    Returns when the layout survives a power loss.  Raises NoSpace.
    """
    generation, state = epoch, None
    for found in reversed(_generations(volume, directory)):
        if found <= committed_epoch:
            continue
        if state is None:
            generation, state = found, await _layout(volume, f"{directory}/epoch-{found:08d}")
        if state is None or found != generation:
            _remove(volume, directory, found)
    if state is None:
        generation = epoch
    path = f"{directory}/epoch-{generation:08d}"
    files: dict[str, list[int]] = {} if state is None else state["files"]
    slots, changed = _lay_out(files, catalogue)
    if vouched is None:
        vouched = {}
    if state is None or path not in vouched:
        vouched.clear()  # of what there was before nothing is left
        vouched[path] = VouchedExtents(all_of_it=state is None)
    staging = Staging(volume, path, slots, epoch, history, catalogue, vouched[path])
    if changed or state is None:
        keeper = StateSlots(volume, path + ".layout")
        await keeper.load()
        await keeper.write({"files": files})
    if state is not None:
        await staging.inherit()
    return staging


async def _layout(volume: Volume, path: str) -> dict[str, Any] | None:
    """The layout of a broken attempt; None when it is of no use."""
    try:
        state = await StateSlots(volume, path + ".layout").load()
    except DamagedLog:
        return None
    return state


def _lay_out(files: dict[str, list[int]], catalogue: Catalogue) -> tuple[dict[int, int], bool]:
    """Give each file its slots; returns them by file id, and whether the layout changed."""
    end = max((first + count for first, count in files.values()), default=0)
    slots: dict[int, int] = {}
    changed = False
    for path, entry in catalogue.files():
        pages = pages_of(entry.size_bytes)
        if path not in files or files[path][1] < pages:
            files[path] = [end, _SLACK * pages + PAGES_PER_EXTENT]
            end += files[path][1]
            changed = True
        slots[entry.file_id] = files[path][0]
    return slots, changed
