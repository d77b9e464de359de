"""The names of an emulated volume and what a power loss leaves of them.

Directories hold entries by name; every change is a list of *edits* (directory, name,
before, after) that survives or is lost as one.  A power loss undoes all unsynced changes
and lets a legal part happen again: a prefix of the whole log when the file system commits
its metadata in order; when it promises only what POSIX does, a prefix for each name of each
directory, as btrfs leaves it.  A rename within a directory needs both names; one that leads a
file to another directory may have only its first half, the new name, and the file then has two.
Directories that are moved keep both halves together, and their order among themselves, or they
could end up inside each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from replicator.errors import AlreadyExists, NotEmpty, NotFound, StorageError
from replicator.runtime.port import EntryKind
from simulator.inode import Choose, Inode


@dataclass(slots=True, eq=False)
class Symlink:
    number: int
    target: str


@dataclass(slots=True, eq=False)
class Directory:
    number: int
    entries: dict[str, Inode | Directory | Symlink] = field(default_factory=dict)
    attributes: int = 0


Node = Inode | Directory | Symlink


class Edit(NamedTuple):
    """One entry of one directory, before and after."""

    directory: Directory
    name: str
    before: Node | None
    after: Node | None


class _Attributes(NamedTuple):
    node: Inode | Directory
    before: int
    after: int


class _NameChange(NamedTuple):
    edits: tuple[Edit | _Attributes, ...]
    directories: tuple[Directory, ...]
    """Whose sync makes it durable."""
    number: int
    """The two halves of a rename have the same."""
    is_second_half: bool = False
    """The old name of a file that another directory has now: never without the first half."""

    def ordered_by(self) -> list[tuple[int, str]]:
        """What it touches: the changes of each of these keep their order on any file system."""
        keys = [
            (id(edit.node), "")
            if isinstance(edit, _Attributes)
            else (id(edit.directory), edit.name)
            for edit in self.edits
        ]
        if len(self.directories) > 1 and isinstance(self.edits[-1].after, Directory):
            keys.append(_DIRECTORIES_MOVED)
        return keys


_DIRECTORIES_MOVED = (0, "")


def kind_of(node: Node) -> EntryKind:
    """File, directory or symbolic link."""
    if isinstance(node, Inode):
        return EntryKind.FILE
    return EntryKind.DIRECTORY if isinstance(node, Directory) else EntryKind.SYMLINK


NAME_LIMIT_BYTES = 255
ATTRIBUTE_BITS = 0o777


@lru_cache(maxsize=8192)
def check_names(path: str) -> None:
    """Raise StorageError for a path that no file can have, on whatever disk."""
    if not path.startswith("/"):
        raise StorageError("a path within a volume begins with '/'", path=path)
    for name in path.split("/"):
        if name in (".", ".."):
            raise StorageError("a path within a volume has no '.' or '..'", path=path)
    try:
        encoded = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise StorageError("a name holds a character that no file name has", path=path) from error
    if b"\0" in encoded:
        raise StorageError("a name holds a NUL character", path=path)


def _check_new(path: str) -> None:
    check_names(path)
    name = split(path)[1]
    if len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT_BYTES:
        raise StorageError("the name is too long for this file system", path=path)


@lru_cache(maxsize=8192)
def split(path: str) -> tuple[str, str]:
    """Parent and last name of an absolute path."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return parent or "/", name


class Namespace:
    """A tree of names over inodes, with the log of changes that are not yet durable."""

    def __init__(self) -> None:
        self.root = Directory(1)
        self.next_number = 2
        self.log: list[_NameChange] = []
        self.changes = 0
        self._cache: dict[str, Directory] = {}

    # -- looking up ----------------------------------------------------------------

    def node(self, path: str) -> Node:
        """What the path names; raises NotFound.  Symbolic links are not followed."""
        if path == "/":
            return self.root
        parent, name = split(path)
        found = self.directory(parent).entries.get(name) if path[:1] == "/" else None
        if found is None:
            check_names(path)
            raise NotFound("no such file or directory", path=path)
        return found

    def find(self, path: str) -> Node | None:
        """As :meth:`node`; None for no such name, also below what is no directory."""
        parent, name = split(path)
        directory = self._cache.get(parent)
        if directory is not None and name and path[:1] == "/":
            found = directory.entries.get(name)
            if found is None:
                check_names(path)
            return found
        try:
            return self.node(path)
        except StorageError:
            check_names(path)
            return None

    def directory(self, path: str) -> Directory:
        """The directory at ``path``; raises NotFound or StorageError."""
        cached = self._cache.get(path)
        if cached is not None:
            return cached
        check_names(path)
        here: Node = self.root
        for name in path.split("/"):
            if not name:
                continue
            if not isinstance(here, Directory):
                raise StorageError("a component of the path is not a directory", path=path)
            step = here.entries.get(name)
            if step is None:
                raise NotFound("no such directory", path=path)
            here = step
        if not isinstance(here, Directory):
            raise StorageError("not a directory", path=path)
        self._cache[path] = here
        return here

    def walk(self, path: str) -> list[tuple[str, Node]]:
        """All entries below a directory, depth first in the order of names; none without it."""
        if self._missing(path):
            return []
        found: list[tuple[str, Node]] = []
        stack = [(path.rstrip("/"), self.directory(path))]
        while stack:
            prefix, directory = stack.pop()
            for name in sorted(directory.entries):
                node = directory.entries[name]
                found.append((f"{prefix}/{name}", node))
                if isinstance(node, Directory):
                    stack.append((f"{prefix}/{name}", node))
        return found

    def _missing(self, path: str) -> bool:
        try:
            self.directory(path)
        except NotFound:
            return True
        return False

    # -- changing ------------------------------------------------------------------

    def add(self, path: str, node: Node) -> None:
        _check_new(path)
        parent, name = split(path)
        directory = self.directory(parent)
        if not name:
            raise StorageError("not a name", path=path)
        if name in directory.entries:
            raise AlreadyExists("the name exists already", path=path)
        self._change((Edit(directory, name, None, node),), (directory,))

    def remove(self, path: str, directory_wanted: bool) -> Node:
        check_names(path)
        parent, name = split(path)
        directory = self.directory(parent)
        node = directory.entries.get(name)
        if node is None:
            raise NotFound("no such file or directory", path=path)
        if isinstance(node, Directory) != directory_wanted:
            raise StorageError(
                "is a directory" if isinstance(node, Directory) else "not a directory", path=path
            )
        if isinstance(node, Directory) and node.entries:
            raise NotEmpty("the directory is not empty", path=path)
        self._change((Edit(directory, name, node, None),), (directory,))
        return node

    def rename(self, old: str, new: str) -> Node | None:
        """Returns what ``new`` named before."""
        check_names(old)
        _check_new(new)
        old_parent, old_name = split(old)
        new_parent, new_name = split(new)
        source, target = self.directory(old_parent), self.directory(new_parent)
        node = source.entries.get(old_name)
        if node is None:
            raise NotFound("no such file or directory", path=old)
        if not new_name:
            raise AlreadyExists("a directory is in the way", path=new)
        replaced = target.entries.get(new_name)
        if replaced is node:
            return None
        if isinstance(replaced, Directory) or (isinstance(node, Directory) and replaced):
            raise AlreadyExists("a directory is in the way", path=new)
        if isinstance(node, Directory) and self._holds(node, new_parent):
            raise StorageError("a directory cannot be moved into itself", path=new)
        old_edit = Edit(source, old_name, node, None)
        new_edit = Edit(target, new_name, replaced, node)
        if source is target:
            self._change((old_edit, new_edit), (source,))
        elif isinstance(node, Directory):
            self._change((old_edit, new_edit), (source, target))
        else:
            self._change((new_edit,), (target,), (old_edit,), (source,))
        return replaced

    def _holds(self, directory: Directory, path: str) -> bool:
        """Whether the path is that of the directory, or leads through it."""
        names = [name for name in path.split("/") if name]
        return any(
            self.directory("/" + "/".join(names[:count])) is directory
            for count in range(len(names) + 1)
        )

    def set_attributes(self, path: str, attributes: int) -> None:
        node = self.node(path)
        if isinstance(node, Symlink):
            raise StorageError("a symbolic link has no attributes", path=path)
        if not 0 <= attributes <= ATTRIBUTE_BITS:
            raise StorageError(f"this volume has no attributes {attributes:#o}", path=path)
        parent = self.directory(split(path)[0])
        self._change((_Attributes(node, node.attributes, attributes),), (parent,))

    def _change(
        self,
        edits: tuple[Edit | _Attributes, ...],
        directories: tuple[Directory, ...],
        then: tuple[Edit, ...] = (),
        then_directories: tuple[Directory, ...] = (),
    ) -> None:
        self.log.append(_NameChange(edits, directories, self.changes))
        if then:
            self.log.append(_NameChange(then, then_directories, self.changes, True))
        self.changes += 1
        self._do(edits + then)

    def _do(self, edits: tuple[Edit | _Attributes, ...]) -> None:
        self._cache.clear()
        for edit in edits:
            if isinstance(edit, _Attributes):
                edit.node.attributes = edit.after
                continue
            _set_entry(edit.directory, edit.name, edit.before, edit.after)

    def _undo(self, edits: tuple[Edit | _Attributes, ...]) -> None:
        self._cache.clear()
        for edit in reversed(edits):
            if isinstance(edit, _Attributes):
                edit.node.attributes = edit.before
                continue
            _set_entry(edit.directory, edit.name, edit.after, edit.before)

    # -- durability ----------------------------------------------------------------

    def settle(self, directory: Directory, up_to: int, ordered: bool) -> None:
        """Make the changes numbered below ``up_to`` that touch the directory durable.

        With them all that must have come before: with ordered metadata each earlier change.
        """
        if ordered:
            touching = [
                change.number
                for change in self.log
                if change.number < up_to and directory in change.directories
            ]
            self.settle_prefix(max(touching, default=-1) + 1)
            return
        wanted: set[tuple[int, str]] = set()
        first_halves: set[int] = set()
        kept: list[_NameChange] = []
        for change in reversed(self.log):
            keys = change.ordered_by()
            if change.number < up_to and (
                directory in change.directories
                or change.number in first_halves
                or not wanted.isdisjoint(keys)
            ):
                wanted.update(keys)
                if change.is_second_half:
                    first_halves.add(change.number)
            else:
                kept.append(change)
        self.log = kept[::-1]

    def settle_prefix(self, up_to: int) -> bool:
        """Make all changes numbered below ``up_to`` durable; says whether there were any."""
        count = 0
        while count < len(self.log) and self.log[count].number < up_to:
            count += 1
        del self.log[:count]
        return count > 0

    def power_loss(self, choose: Choose, ordered: bool) -> None:
        """Go back to the durable names, then let a legal part of the changes survive."""
        log, self.log = self.log, []
        for change in reversed(log):
            self._undo(change.edits)
        if ordered:
            numbers = sorted({change.number for change in log})
            kept = set(numbers[: choose(len(numbers) + 1)])
            for change in log:
                if change.number in kept:
                    self._do(change.edits)
            return
        cuts: dict[tuple[int, str], int] = {}
        for change in log:
            for key in change.ordered_by():
                cuts[key] = cuts.get(key, 0) + 1
        for key, total in cuts.items():
            cuts[key] = choose(total + 1)
        lost: set[int] = set()
        for change in log:
            keys = change.ordered_by()
            survives = all(cuts[key] > 0 for key in keys) and not (
                change.is_second_half and change.number in lost
            )
            for key in keys:
                cuts[key] = cuts[key] - 1 if survives else 0
            if survives:
                self._do(change.edits)
            else:
                lost.add(change.number)
        self._recount_links()

    def _recount_links(self) -> None:
        """Names in directories that did not survive are no names."""
        files = [node for _path, node in self.walk("/") if isinstance(node, Inode)]
        for file in files:
            file.links = 0
        for file in files:
            file.links += 1

    def fork(self) -> Namespace:
        """A copy of the tree over forks of its inodes (content is shared, not copied)."""
        twins = _Twins()
        fork = Namespace()
        root = twins.of(self.root)
        assert isinstance(root, Directory)
        fork.root = root
        fork.next_number = self.next_number
        fork.changes = self.changes
        for change in self.log:
            fork.log.append(_twin_change(change, twins.of))
        return fork


class _Twins:
    """Each node's copy.  No nested function: one that calls itself would keep all of them."""

    def __init__(self) -> None:
        self._made: dict[int, Node] = {}

    def of(self, node: Node) -> Node:
        known = self._made.get(id(node))
        if known is not None:
            return known
        if isinstance(node, Inode):
            made: Node = node.fork()
        elif isinstance(node, Symlink):
            made = node
        else:
            made = Directory(node.number, {}, node.attributes)
        self._made[id(node)] = made
        if isinstance(node, Directory) and isinstance(made, Directory):
            of = self.of
            made.entries.update({name: of(child) for name, child in node.entries.items()})
        return made


def _set_entry(directory: Directory, name: str, before: Node | None, after: Node | None) -> None:
    if isinstance(before, Inode):
        before.links -= 1
    if isinstance(after, Inode):
        after.links += 1
    if after is None:
        directory.entries.pop(name, None)
    else:
        directory.entries[name] = after


def _twin_change(change: _NameChange, twin: object) -> _NameChange:
    assert callable(twin)
    edits: list[Edit | _Attributes] = []
    for edit in change.edits:
        if isinstance(edit, _Attributes):
            edits.append(_Attributes(twin(edit.node), edit.before, edit.after))
        else:
            edits.append(
                Edit(
                    twin(edit.directory),
                    edit.name,
                    None if edit.before is None else twin(edit.before),
                    None if edit.after is None else twin(edit.after),
                )
            )
    directories = tuple(twin(directory) for directory in change.directories)
    return _NameChange(tuple(edits), directories, change.number, change.is_second_half)
