"""Which directory a history is of, and whether there is anything in it.

A history says what became of the files of *one* directory.  Two slips of an operator put
another one in its place, and neither shows in the files themselves:

* *The volume is not mounted.*  Its mount point is an empty directory.  A new epoch, which every
  restart of the machine needs, would say that all files are gone, and the replica would follow.
* *The configuration names another directory.*  The spool is the same one, and what it holds
  would be carried out on files that it is not about.

So the history's state notes, beside the epoch, where the set was, by which volume and inode its
root is told from another directory, and whether it had names.  A state of an earlier release
notes nothing: then nothing is refused, and it is noted from then on.

An inode's number tells directories of one volume apart, across restarts and renames; the roots
of two volumes often have the same one.  A volume that gives none (0) leaves the path.

What is not found out: another file system in the same place whose root has the same number, and
a set whose files somebody removed beside the programs.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from replicator.errors import EmptySet
from replicator.runtime.port import Volume

_VOLUME: Final = "set_volume"
_DIRECTORY: Final = "set_directory"
_INODE: Final = "set_root_inode"
_HAD_NAMES: Final = "set_had_names"


class SetIdentity(NamedTuple):
    """The root of a protected set."""

    volume: str
    """The volume's name; on a real machine its mount point."""
    directory: str
    root_inode: int
    """0 where the volume gives no such number."""

    def is_same(self, other: SetIdentity) -> bool:
        """Whether both are one directory, if under two paths of its volume."""
        if self.volume != other.volume or not (self.root_inode and other.root_inode):
            return self.directory == other.directory and self.root_inode == other.root_inode
        return self.root_inode == other.root_inode


class Noted(NamedTuple):
    """What a history's state says of its set."""

    identity: SetIdentity
    had_names: bool

    def to_state(self) -> dict[str, Any]:
        """The keys for the state."""
        return {
            _VOLUME: self.identity.volume,
            _DIRECTORY: self.identity.directory,
            _INODE: self.identity.root_inode,
            _HAD_NAMES: self.had_names,
        }


def identity_of(volume: Volume, root: str) -> SetIdentity:
    """Of the directory that is there now; raises StorageError."""
    root = root.rstrip("/") or "/"
    return SetIdentity(volume.name, root, volume.stat(root).inode)


def noted_in(state: dict[str, Any] | None) -> Noted | None:
    """What a state has noted; None for one of an earlier release, or none."""
    if state is None:
        return None
    values = [state.get(key) for key in (_VOLUME, _DIRECTORY, _INODE, _HAD_NAMES)]
    if [type(value) for value in values] != [str, str, int, bool]:
        return None
    volume, directory, inode, had_names = values
    return Noted(SetIdentity(str(volume), str(directory), int(inode or 0)), bool(had_names))


def why_another(noted: Noted | None, now: SetIdentity) -> str:
    """Why the history is not of the directory that is there now; empty when it is."""
    if noted is None or noted.identity.is_same(now):
        return ""
    before = noted.identity.directory
    if before != now.directory:
        return f"the protected set is {now.directory} now, and was {before}"
    return f"{now.directory} is another directory than before, or on another volume"


def refuse_empty(noted: Noted | None, volume: Volume, root: str) -> None:
    """Raises EmptySet when the set has no names now and had some when they were noted last."""
    root = root.rstrip("/") or "/"
    if noted is not None and noted.had_names and not volume.list(root):
        raise EmptySet(EMPTY, path=root)


EMPTY: Final = "the protected set is empty, and was not when its history was kept last"
"""What is wrong, for the error and for the warning of a check."""
