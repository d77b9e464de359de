"""The names of a protected set and the stable ids of its files.

The source keeps one to number what it captures; the replica keeps its own, advanced by the
same operations, to know which home file an id means.  Paths are relative to the protected
root and begin with ``/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from replicator.errors import DamagedLog
from replicator.operation import Operation, OperationKind, is_inside, is_target
from replicator.runtime.port import EntryKind, Volume
from replicator.untrusted import whole_number


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name stands for.

    ``size_bytes`` is only filled in by :func:`scan`, and, like ``inode``, where a history
    begins.
    """

    kind: EntryKind
    file_id: int
    attributes: int = 0
    target: str = ""
    size_bytes: int = 0
    inode: int = 0
    """Tells the file from another that took its name since; means nothing elsewhere."""


class Catalogue:
    """Names to entries, ids to names."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.next_id = 1
        self._names: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(sorted(self.entries.items()))

    def names_of(self, file_id: int) -> list[str]:
        """All paths of a file; empty when its last name is gone."""
        return self._names.get(file_id, [])

    def add(self, path: str, entry: Entry) -> None:
        assert is_inside(path), path  # what could not be read again is never written
        self.remove(path)
        self.entries[path] = entry
        self._names.setdefault(entry.file_id, []).append(path)
        self.next_id = max(self.next_id, entry.file_id + 1)

    def remove(self, path: str) -> None:
        entry = self.entries.pop(path, None)
        if entry is not None:
            names = self._names[entry.file_id]
            names.remove(path)
            if not names:
                del self._names[entry.file_id]

    def apply(self, operation: Operation) -> None:
        """Advance by one operation; those on content change nothing here."""
        if self.changes_nothing(operation):
            return
        kind, name = operation.kind, operation.name
        if kind in (OperationKind.LINK, OperationKind.SET_ATTRIBUTES) and (
            name not in self.entries
        ):
            raise DamagedLog(
                f"a {kind.name.lower()} of {name}, which is not in the image",
                remedy="Report this as a defect; remove the replica's directory to start anew.",
            )
        if kind == OperationKind.CREATE:
            self.add(name, Entry(EntryKind.FILE, operation.file_id))
        elif kind == OperationKind.MKDIR:
            self.add(name, Entry(EntryKind.DIRECTORY, operation.file_id))
        elif kind == OperationKind.SYMLINK:
            self.add(name, Entry(EntryKind.SYMLINK, operation.file_id, target=operation.name2))
        elif kind == OperationKind.LINK:
            self.add(operation.name2, self.entries[name])
        elif kind in (OperationKind.UNLINK, OperationKind.RMDIR):
            self.remove(name)
        elif kind == OperationKind.SET_ATTRIBUTES:
            entry = self.entries[name]
            for path in list(self.names_of(entry.file_id)):
                changed = replace(self.entries[path], attributes=operation.offset)
                self.entries[path] = changed
        elif kind == OperationKind.RENAME:
            self._rename(name, operation.name2)

    def changes_nothing(self, operation: Operation) -> bool:
        """Whether it is a rename between two names of one file: POSIX leaves both."""
        if operation.kind != OperationKind.RENAME:
            return False
        entry = self.entries.get(operation.name)
        replaced = self.entries.get(operation.name2)
        return entry is not None and replaced is not None and replaced.file_id == entry.file_id

    def _rename(self, old: str, new: str) -> None:
        entry = self.entries.get(old)
        if entry is None:
            return
        self.remove(old)
        self.add(new, entry)
        if entry.kind == EntryKind.DIRECTORY:
            for path in [p for p in self.entries if p.startswith(f"{old}/")]:
                child = self.entries[path]
                self.remove(path)
                self.add(new + path[len(old) :], child)

    def files(self) -> list[tuple[str, Entry]]:
        """Each regular file once, by its first name."""
        seen: set[int] = set()
        found: list[tuple[str, Entry]] = []
        for path, entry in self:
            if entry.kind == EntryKind.FILE and entry.file_id not in seen:
                seen.add(entry.file_id)
                found.append((path, entry))
        return found

    def to_json(self, inodes: bool = False) -> dict[str, Any]:
        """A document for a checkpoint or a frame; ``inodes`` for use on this machine."""
        return {
            "next_id": self.next_id,
            "entries": [
                [
                    *(path, int(e.kind), e.file_id, e.attributes, e.target, e.size_bytes),
                    *((e.inode,) if inodes else ()),
                ]
                for path, e in self
            ],
        }

    @classmethod
    def from_json(cls, document: Any) -> Catalogue:
        """The inverse of :meth:`to_json`; raises ValueError for anything else."""
        entries = document.get("entries") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise ValueError("there is no list of names")
        catalogue = cls()
        for entry in entries:
            if not isinstance(entry, list) or len(entry) not in (6, 7):
                raise ValueError("a name without its six fields")
            path, kind, file_id, attributes, target, size, *rest = entry
            numbers = (kind, file_id, attributes, size, *rest)
            if not all(type(n) is int and 0 <= n < 1 << 63 for n in numbers):
                raise ValueError(f"a field of {path!r} is no whole number")
            if not isinstance(path, str) or not isinstance(target, str):
                raise ValueError("a name that is no text")
            if not is_inside(path):
                raise ValueError(f"not a path inside the protected root: {path!r}")
            if kind == EntryKind.SYMLINK and not is_target(target):
                raise ValueError(f"no symbolic link has this target: {target!r}")
            found = Entry(EntryKind(kind), file_id, attributes, target, size, *rest)
            catalogue.add(path, found)
        catalogue.next_id = max(catalogue.next_id, whole_number(document, "next_id"))
        return catalogue


def scan(volume: Volume, root: str, known: Catalogue | None = None) -> Catalogue:
    """Read the names below ``root`` as they are now; names of one inode share one id.

    Ids of paths that ``known`` has already are kept where kind and path agree.
    """
    catalogue = Catalogue()
    if known is not None:
        catalogue.next_id = known.next_id
    by_inode: dict[int, int] = {}
    stack = [""]
    while stack:
        directory = stack.pop()
        for name in volume.list(root.rstrip("/") + directory or "/"):
            path = f"{directory}/{name}"
            stat = volume.stat(root.rstrip("/") + path)
            file_id = by_inode.get(stat.inode)
            if file_id is None:
                old = known.entries.get(path) if known is not None else None
                free = old is not None and not catalogue.names_of(old.file_id)
                if old is not None and free and old.kind == stat.kind:
                    file_id = old.file_id
                else:
                    file_id = catalogue.next_id
                    catalogue.next_id += 1
                by_inode[stat.inode] = file_id
            size = inode = 0
            if stat.kind == EntryKind.FILE:
                size, inode = stat.size_bytes, stat.inode
            target = stat.target or ""
            catalogue.add(path, Entry(stat.kind, file_id, stat.attributes, target, size, inode))
            if stat.kind == EntryKind.DIRECTORY:
                stack.append(path)
    return catalogue
