"""The home image at the replica: files that operations are applied to, by file id.

Applying is plain calls and may be repeated: after a crash the same operations are applied
again from the last checkpoint on, over whatever part of them had reached the disk.  That
is right for changes of content because each carries absolute bytes, and for names because
a name changes only between two checkpoints (see :mod:`replicator.replica_apply`).

Attributes are the source's, and may forbid the replica what it has to do: they are set last
where the image is built, and set aside for an instant where it is changed later
(:mod:`replicator.owned_volume`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final

from replicator.catalogue import Catalogue
from replicator.errors import AlreadyExists, DamagedImage, NotEmpty, NotFound
from replicator.operation import Operation, OperationKind
from replicator.owned_volume import OwnedVolume, put_back_attributes
from replicator.redo import redo_names
from replicator.runtime.port import EntryKind, File, Volume, write_all

# Members looked up once: an enumeration's attribute costs more than a comparison.
_WRITE: Final = OperationKind.WRITE
_SYNC: Final = OperationKind.SYNC


_COPY_BYTES: Final = 1 << 20
OPEN_FILES_LIMIT: Final = 256
"""Files kept open between two syncs; a store touches few at a time."""


class HomeImage:
    """The protected set's files at the replica.

    Arguments
    ---------
    volume, root: where the image lives; the directory must exist.
    stable_file_ids: switched off in tests only: then a file is found by the path it had when
        it was first heard of, as a replicator that records paths would do.
    """

    def __init__(self, volume: Volume, root: str, stable_file_ids: bool = True) -> None:
        self.volume = OwnedVolume(volume, root)
        self.root = root
        self._stable = stable_file_ids
        self._first_paths: dict[int, str] = {}
        self.catalogue = Catalogue()
        self._files: dict[int, File | None] = {}
        self._touched: dict[int, None] = {}
        self._directories: dict[str, None] = {}

    def reset(self, catalogue: Catalogue) -> None:
        """Take over the names of a checkpoint or of a resynchronization."""
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()
        self._touched.clear()
        self._directories.clear()
        self.catalogue = catalogue

    def file(self, file_id: int) -> File | None:
        """The open home file of an id; None when its last name is gone.

        Raises DamagedImage when it has a name and is not there.
        """
        if not self._stable:
            return self._file_by_path(file_id)
        known = self._files.get(file_id)
        if known is not None or file_id in self._files:
            return known
        names = self.catalogue.names_of(file_id)
        try:
            found = self.volume.open(self.root + names[0]) if names else None
        except NotFound as gone:
            raise DamagedImage("a file of the image is gone", path=gone.path) from None
        self._files[file_id] = found
        return found

    def _file_by_path(self, file_id: int) -> File | None:
        names = self.catalogue.names_of(file_id)
        path = self._first_paths.setdefault(file_id, names[0] if names else "")
        full = self.root + path
        return self.volume.open(full) if path and self.volume.exists(full) else None

    def overwrite(self, wanted: Catalogue, pages: list[tuple[int, int, int, bytes]]) -> None:
        """Write pages of a synchronization straight into home; in tests only."""
        for file_id, offset, length, data in pages:
            names = wanted.names_of(file_id)
            full = self.root + names[0]
            file = self.volume.open(full) if self.volume.exists(full) else self.volume.create(full)
            file.write_at(offset, data or bytes(length))

    def apply_content(self, operation: Operation) -> None:
        """Carry out a write, truncate, zero range or sync."""
        kind = operation.kind
        if kind is _SYNC:
            return
        file_id = operation.file_id
        file = self.file(file_id)
        if file is None:
            return  # the file is gone: nobody will see these bytes
        if kind is _WRITE:
            write_all(file, operation.offset, operation.data)
        elif kind is OperationKind.TRUNCATE:
            file.truncate(operation.offset)
        else:
            file.zero_range(operation.offset, operation.length)
        self._touched[file_id] = None

    def apply_names(self, operation: Operation) -> None:
        """Carry out a change of names; doing it twice is the same as doing it once.

        Raises DamagedImage when home does not have the names that the change needs.
        """
        if self.catalogue.changes_nothing(operation):
            return
        root, kind = self.root, operation.kind
        path, path2 = root + operation.name, root + operation.name2
        try:
            redo_names(self.volume, root, operation)
        except (NotFound, AlreadyExists, NotEmpty) as differs:
            what = f"{kind.name.lower()} does not fit the image: {differs.message}"
            raise DamagedImage(what, path=differs.path) from None
        self._directories[_parent(path)] = None
        if operation.name2 and kind != OperationKind.SYMLINK:
            self._directories[_parent(path2)] = None
        replaced = self.catalogue.entries.get(operation.name2)
        self.catalogue.apply(operation)
        if kind == OperationKind.UNLINK:
            self._forget(operation.file_id)
        elif kind == OperationKind.RENAME and replaced is not None:
            self._forget(replaced.file_id)

    def _forget(self, file_id: int) -> None:
        if not self.catalogue.names_of(file_id):
            file = self._files.pop(file_id, None)
            if file is not None:
                file.close()
            self._touched.pop(file_id, None)

    async def sync(self) -> None:
        """Make all that was applied before this call durable: files first, then names.

        Nothing may be applied meanwhile.  A call that is cancelled leaves the rest undone.
        """
        await self._sync_files()
        while self._directories:
            directory = next(iter(self._directories))
            # Removed since? Then its parent is in the list as well.
            if self.volume.exists(directory):
                await self.volume.sync_directory(directory)
            self._directories.pop(directory, None)

    async def _sync_files(self) -> None:
        while self._touched:
            file_id = next(iter(self._touched))
            file = self._files.get(file_id)
            if file is not None:
                await file.sync()
            self._touched.pop(file_id, None)

    async def sync_all(self) -> None:
        """Make durable whatever stands in the image, whoever wrote it; nothing may be applied.

        What a process wrote that died may be in the page cache only, and where its checkpoint or
        its journal is lost nobody applies it again.
        """
        await self.sync()
        volume, root = self.volume, self.root
        directories = [root]
        for path, kind in _walk(volume, root):
            if kind == EntryKind.DIRECTORY:
                directories.append(root + path)
            elif kind == EntryKind.FILE:
                file = volume.open(root + path, read_only=True)
                try:
                    await file.sync()
                finally:
                    file.close()
        for directory in directories:
            await volume.sync_directory(directory)

    async def write_again(self) -> None:
        """Write what is read of each file in its place; nothing may be applied meanwhile.

        Behind a failed sync pages read well, count as written, and are not on the medium: no later
        sync would write them.  Who died of it is followed by a journal's redo, which writes them;
        where checkpoint or journal are lost nobody does.  The same bytes in the same place, and
        sizes that are set: a crash in between harms nothing.  Raises NoSpace; can be repeated.
        """
        volume, root = self.volume, self.root
        for path, kind in _walk(volume, root):
            if kind != EntryKind.FILE:
                continue
            file = volume.open(root + path)
            try:
                await _write_file_again(volume, file)
                await file.sync()
            finally:
                file.close()

    @property
    def crowded(self) -> bool:
        """Whether so many files are open that :meth:`trim` would close them."""
        return len(self._files) > OPEN_FILES_LIMIT

    async def trim(self) -> None:
        """Close files when too many are open; what was applied to them is synced first."""
        if self.crowded:
            await self._sync_files()
            for file in self._files.values():
                if file is not None:
                    file.close()
            self._files.clear()

    async def rebuild(
        self,
        wanted: Catalogue,
        pages: AsyncIterator[tuple[int, int, int, bytes]],
        from_nothing: Collection[str],
    ) -> None:
        """Turn the home image into the one that a resynchronization committed.

        Arguments
        ---------
        wanted: names, ids and sizes of the new image.
        from_nothing: paths whose present files are no basis (:func:`shared_paths`, as it was
            when pages were compared: after a crash in here it would come out otherwise).
        pages: (file id, byte offset, length, data) of what differs; no data for zeros.

        Everything is by path and absolute, so it can be repeated after a crash.  Ends with
        all of it synced.
        """
        volume, root = self.volume, self.root
        self.reset(Catalogue())
        linked = set(from_nothing)
        for path, kind in _walk(volume, root):
            entry = wanted.entries.get(path)
            if (
                entry is not None
                and entry.kind == kind
                and path not in linked
                and (kind != EntryKind.SYMLINK or volume.stat(root + path).target == entry.target)
            ):
                continue
            if kind == EntryKind.DIRECTORY:
                volume.rmdir(root + path)
            else:
                volume.unlink(root + path)
        first_names: dict[int, str] = {}
        for path, entry in wanted:
            full = root + path
            if not volume.exists(full):
                if entry.kind == EntryKind.DIRECTORY:
                    volume.mkdir(full)
                elif entry.kind == EntryKind.SYMLINK:
                    volume.symlink(entry.target, full)
                elif entry.file_id in first_names:
                    volume.link(root + first_names[entry.file_id], full)
                else:
                    volume.create(full).close()
            first_names.setdefault(entry.file_id, path)
        self.catalogue = wanted
        async for file_id, offset, length, data in pages:
            await self.trim()
            file = self.file(file_id)
            if file is None:
                continue
            if data:
                await volume.admit(len(data))
                write_all(file, offset, data)
            elif offset < file.size_bytes:  # beyond its end it will read as zeros anyway
                file.zero_range(offset, min(length, file.size_bytes - offset))
            self._touched[file_id] = None
        for _path, entry in wanted:
            if entry.kind == EntryKind.FILE:
                await self.trim()
                file = self.file(entry.file_id)
                assert file is not None
                # Though it were the same: behind a failed sync the medium may have another size
                # than the cache shows, and no later sync would write that.
                file.truncate(entry.size_bytes)
                self._touched[entry.file_id] = None
        self._directories = {}
        for path, entry in reversed(list(wanted)):  # a directory's after those of all in it
            full = root + path
            if entry.kind == EntryKind.DIRECTORY:
                self._directories[full] = None
            if entry.kind != EntryKind.SYMLINK and volume.stat(full).attributes != entry.attributes:
                volume.set_attributes(full, entry.attributes)
        self._directories[root] = None
        await self.sync()

    def check_names(self) -> None:
        """Raises DamagedImage when a name of the catalogue is not there, or of another kind."""
        for path, entry in self.catalogue:
            full = self.root + path
            try:
                kind = self.volume.stat(full).kind
            except NotFound as gone:
                what = f"a {entry.kind.name.lower()} of the image is gone"
                raise DamagedImage(what, path=gone.path) from None
            if kind != entry.kind:
                what = f"a {entry.kind.name.lower()} of the image has become a {kind.name.lower()}"
                raise DamagedImage(what, path=full)

    def put_back_attributes(self) -> None:
        """Undo what a process that died had set aside; at the end of recovery, before its sync."""
        for path, entry in self.catalogue:
            if put_back_attributes(self.volume, self.root + path, entry):
                self._directories[_parent(self.root + path)] = None


def shared_paths(volume: Volume, root: str, wanted: Catalogue) -> set[str]:
    """Files that have, or shall have, several names: their home content is no basis.

    A block written through one name would show under the other, so these are built from
    nothing.
    """
    shared = {
        path
        for path, entry in wanted
        if entry.kind == EntryKind.FILE and len(wanted.names_of(entry.file_id)) > 1
    }
    inodes: dict[int, list[str]] = {}
    for path, entry in wanted:
        full = root + path
        if entry.kind == EntryKind.FILE and volume.exists(full):
            inodes.setdefault(volume.stat(full).inode, []).append(path)
    for paths in inodes.values():
        if len(paths) > 1:
            shared.update(paths)
    return shared


async def _write_file_again(volume: Volume, file: File) -> None:
    size, offset = file.size_bytes, 0
    file.truncate(size)
    while offset < size:
        data = await file.read_at(offset, min(_COPY_BYTES, size - offset))
        if not data:
            return
        if data.count(0) == len(data):
            file.zero_range(offset, len(data))  # a hole may stay one
        else:
            await volume.admit(len(data))
            write_all(file, offset, data)
        offset += len(data)


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _walk(volume: Volume, root: str) -> list[tuple[str, EntryKind]]:
    """All entries below root, children before their directory."""
    found: list[tuple[str, EntryKind]] = []
    for name in volume.list(root):
        path = f"{root}/{name}"
        kind = volume.stat(path).kind
        if kind == EntryKind.DIRECTORY:
            found += [(f"/{name}{p}", k) for p, k in _walk(volume, path)]
        found.append((f"/{name}", kind))
    return found
