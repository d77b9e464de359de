"""A part of a volume in which attributes forbid its owner nothing.

Attributes are the source's, copied for whoever opens the image one day.  On a real file system
they are permission bits, and hold for the replica as well: a file that became 0444 cannot be
opened for writing, a directory of 0555 takes no new name, one of 0 is not even listed.  What
arrives has to be applied all the same.

So where the volume says AccessDenied, the owner's bits that are missing are *set aside*: added
to the entry and the directories above it, below the root only, for as long as the call takes.
An open handle keeps what it was given, whatever the mode says afterwards.  Where nothing is
denied (a replica that runs as root; the emulated disk, which knows no rights) nothing happens.

A process that dies in between leaves an entry with more of the owner's bits than it should have.
That is all it can leave, and :func:`put_back_attributes` knows it again: recovery calls it for
each name, when the catalogue says what there should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from replicator.catalogue import Entry
from replicator.errors import AccessDenied
from replicator.runtime.port import EntryKind, File, Stat, Volume
from replicator.runtime.volume_over import VolumeOver

T = TypeVar("T")

OWNER_BITS: Final = {EntryKind.FILE: 0o600, EntryKind.DIRECTORY: 0o700, EntryKind.SYMLINK: 0}
"""What the owner of an entry needs to do everything with it, of the nine permission bits."""


def _lacks(kind: EntryKind, attributes: int) -> bool:
    """Whether these attributes forbid the owner something; 0 stands for none at all."""
    wanted = OWNER_BITS[kind]
    return bool(attributes) and attributes & wanted != wanted


class OwnedVolume(VolumeOver):
    """The volume ``below``; what modes forbid from ``root`` downwards is done all the same.

    Arguments
    ---------
    below: the volume.
    root: entries below this directory belong to this process's user; it and what is above it
        are left alone.

    Raises AccessDenied where the entries are somebody else's, as ``below`` does.
    """

    def __init__(self, below: Volume, root: str) -> None:
        super().__init__(below)
        self._top = root.rstrip("/")

    def _prefixes(self, path: str) -> list[str]:
        """All paths from just below the root down to ``path``."""
        if not path.startswith(self._top + "/"):
            return []
        names = path[len(self._top) + 1 :].split("/")
        return [f"{self._top}/{'/'.join(names[: n + 1])}" for n in range(len(names))]

    @contextmanager
    def _set_aside(self, paths: list[str]) -> Iterator[None]:
        """Give the owner all bits of these entries, above before below; then put them back."""
        below = self.below
        held: list[tuple[str, int]] = []
        try:
            for path in paths:
                if not below.exists(path):
                    break
                stat = below.stat(path)
                if _lacks(stat.kind, stat.attributes):
                    held.append((path, stat.attributes))
                    below.set_attributes(path, stat.attributes | OWNER_BITS[stat.kind])
            yield
        finally:
            self._restore(held)

    def _restore(self, held: list[tuple[str, int]]) -> None:
        for path, attributes in reversed(held):
            if self.below.exists(path):
                self.below.set_attributes(path, attributes)

    def _through(self, call: Callable[[], T], *paths: str) -> T:
        """The call, once more with these entries set aside where the first one was denied."""
        try:
            return call()
        except AccessDenied:
            if not paths:
                raise
        first, *rest = paths
        with self._set_aside(self._prefixes(first)):
            return self._through(call, *rest) if rest else call()

    # -- changes of names: need the directories above --------------------------------

    def change_names(self, call: str, paths: tuple[str, ...], *arguments: Any) -> Any:
        concerned = arguments if call == "link" else paths  # it changes one and needs the other
        change = partial(super().change_names, call, paths, *arguments)
        return self._through(change, *map(_parent, concerned))

    def rename(self, old: str, new: str) -> None:
        try:
            super().rename(old, new)
        except AccessDenied:
            # A directory that goes to another parent has to be writable itself.
            stat = self.stat(old)
            if stat.kind != EntryKind.DIRECTORY or not _lacks(stat.kind, stat.attributes):
                raise
            self.set_attributes(old, stat.attributes | OWNER_BITS[stat.kind])
            moved = False
            try:
                super().rename(old, new)
                moved = True
            finally:
                self.set_attributes(new if moved else old, stat.attributes)

    def create(self, path: str) -> File:
        return self._through(lambda: self.below.create(path), _parent(path))

    # -- the rest --------------------------------------------------------------------

    def open(self, path: str, read_only: bool = False) -> File:
        return self._through(lambda: self.below.open(path, read_only), path)

    def list(self, path: str) -> list[str]:
        return self._through(lambda: self.below.list(path), path)

    def stat(self, path: str) -> Stat:
        return self._through(lambda: self.below.stat(path), _parent(path))

    def exists(self, path: str) -> bool:
        return self._through(lambda: self.below.exists(path), _parent(path))

    async def sync_directory(self, path: str) -> None:
        try:
            await self.below.sync_directory(path)
        except AccessDenied:
            with self._set_aside(self._prefixes(path)):
                await self.below.sync_directory(path)


def put_back_attributes(volume: Volume, path: str, entry: Entry) -> bool:
    """Take from an entry the owner's bits that were set aside when a process died.

    Arguments
    ---------
    path: on the volume.
    entry: what should be there; anything else but those bits is left as it is.

    Returns whether something was changed.
    """
    bits = OWNER_BITS[entry.kind]
    if not _lacks(entry.kind, entry.attributes) or not volume.exists(path):
        return False
    found = volume.stat(path)
    if found.kind != entry.kind or found.attributes != entry.attributes | bits:
        return False
    volume.set_attributes(path, entry.attributes)
    return True


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"
