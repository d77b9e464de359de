"""What a command did to a directory, as steps that can be carried out elsewhere in their order.

Known are all names and files before and after it, and mostly the order of its changes
(:mod:`simulator.candidates.watch`).  A file that took the place of another one is a file made
under another name, written, and renamed.  What a file that was there before was written again
with is told by comparison: bytes that were written with what stood there already are not seen.
Without a known order: first what went, then each file by the time of its last change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from simulator.candidates.mirror import Entry
from simulator.candidates.watch import Seen

CHUNK_BYTES: Final = 64 << 10
COMPARED_BYTES: Final = 4096
"""Changes of a file that was there are found in pieces of this."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done; ``final`` is the name under which the file's bytes stand at the end."""

    what: str
    """``create``, ``write``, ``fill``, ``rename``, ``unlink``, ``mkdir``, ``rmdir``, ``symlink``,
    ``link`` or ``times``.  ``write`` changes a file in place, ``fill`` writes a new one."""
    path: str
    final: str = ""
    """Of a rename or link: the other name; of a symbolic link: its target."""


Entries = dict[str, Entry]


def steps_of(before: Entries, after: Entries, seen: list[Seen] | None) -> list[Step]:
    """The steps that lead from ``before`` to ``after``."""
    if seen is not None:
        found = _in_order(before, after, seen)
        if found is not None:
            return [*found, *_times(before, after)]
    return [*_by_time(before, after), *_times(before, after)]


def _times(before: Entries, after: Entries) -> Iterator[Step]:
    for path, entry in after.items():
        old = before.get(path)
        if entry.kind == "file" and (old is None or old.modified_ns != entry.modified_ns):
            yield Step("times", path)


def _by_time(before: Entries, after: Entries) -> Iterator[Step]:
    numbers = count(1)
    for path in sorted(before, reverse=True):
        if path not in after or after[path].kind != before[path].kind:
            yield Step("rmdir" if before[path].kind == "directory" else "unlink", path)
    there = {p: e for p, e in before.items() if p in after and after[p].kind == e.kind}
    first: dict[int, str] = {}
    new = [path for path in after if after[path].kind == "directory" and path not in there]
    yield from (Step("mkdir", path) for path in sorted(new))
    for path in sorted(after, key=lambda p: (after[p].changed_ns, p)):
        entry, old = after[path], there.get(path)
        if entry.kind == "link" and (old is None or old.target != entry.target):
            if old is not None:
                yield Step("unlink", path)
            yield Step("symlink", path, entry.target)
        elif entry.kind == "file":
            yield from _file_by_time(path, entry, old, first, numbers)


def _file_by_time(
    path: str, entry: Entry, old: Entry | None, first: dict[int, str], numbers: Iterator[int]
) -> Iterator[Step]:
    same = old is not None and old.inode == entry.inode
    if first.setdefault(entry.inode, path) != path:
        if not same:
            if old is not None:
                yield Step("unlink", path)
            yield Step("link", first[entry.inode], path)
    elif same:
        assert old is not None
        if (old.size_bytes, old.modified_ns, old.changed_ns) != (
            entry.size_bytes,
            entry.modified_ns,
            entry.changed_ns,
        ):
            yield Step("write", path, path)
    elif old is None:
        yield Step("create", path)
        yield Step("fill", path, path)
    else:
        temporary = temporary_name(path, next(numbers))
        yield from (Step("create", temporary), Step("fill", temporary, path))
        yield Step("rename", temporary, path)


def temporary_name(path: str, number: int) -> str:
    """A name for a file that is not finished: the same one in each run."""
    directory, _, name = path.rpartition("/")
    return f"{directory}/.{name}.{number:06d}"


class _Thing:
    """A file or directory on its way through a pass."""

    __slots__ = ("directory", "first", "last_write", "made", "name")

    def __init__(self, name: str, made: bool, directory: bool) -> None:
        self.first = self.name = name
        self.made = made
        self.directory = directory
        self.last_write = -1


def _in_order(before: Entries, after: Entries, seen: list[Seen]) -> list[Step] | None:
    """The steps in the order in which they were seen; None when they do not lead to ``after``."""
    names = {p: _Thing(p, False, e.kind == "directory") for p, e in before.items()}
    events: list[tuple[str, _Thing, str, str]] = []
    moving: dict[int, _Thing] = {}
    gone: set[_Thing] = set()
    for each in seen:
        if each.what == "create":
            thing = names[each.path] = _Thing(each.path, True, each.directory)
            events.append(("create", thing, each.path, ""))
            continue
        if each.what == "to":
            if each.cookie not in moving:
                return None
            thing = moving.pop(each.cookie)
            replaced = names.get(each.path)
            if replaced is not None:
                gone.add(replaced)
            if thing.directory:
                return None
            events.append(("rename", thing, thing.name, each.path))
            thing.name = each.path
            names[each.path] = thing
            continue
        found = names.get(each.path)
        if found is None:
            return None
        if each.what == "write":
            found.last_write = len(events)
            events.append(("write", found, each.path, ""))
        elif each.what == "from":
            moving[each.cookie] = names.pop(each.path)
        else:
            gone.add(names.pop(each.path))
            events.append(("delete", found, each.path, ""))
    inside = [t.name + "/" for t in names.values() if t.directory and t.made]
    nested = {p for p in after if any(p.startswith(d) for d in inside)}
    if moving or set(names) != set(after) - nested:
        return None
    return list(_steps(events, gone, before, after))


def _steps(
    events: list[tuple[str, _Thing, str, str]], gone: set[_Thing], before: Entries, after: Entries
) -> Iterator[Step]:
    numbers = count(1)
    now: dict[_Thing, str] = {}
    for index, (what, thing, path, other) in enumerate(events):
        if thing.made and thing in gone:
            continue  # made and taken away again: nobody knows what was in it
        if what == "create":
            yield from _created(thing, path, after, now, numbers)
        elif what == "rename":
            yield Step("rename", now.get(thing, path), other)
            now[thing] = other
        elif what == "delete":
            yield Step("rmdir" if thing.directory else "unlink", now.get(thing, path))
        elif index == thing.last_write and thing not in gone:
            yield Step("fill" if thing.made else "write", now.get(thing, path), thing.name)
    written = {thing.name for _what, thing, _path, _other in events if thing.last_write >= 0}
    for path, entry in after.items():  # written through memory: nobody told
        if entry.kind == "file" and path not in written and _changed(before.get(path), entry):
            yield Step("write", path, path)


def _changed(old: Entry | None, entry: Entry) -> bool:
    """Whether a file that kept its name and number may have other bytes now."""
    return (
        old is not None
        and old.inode == entry.inode
        and (old.size_bytes, old.modified_ns) != (entry.size_bytes, entry.modified_ns)
    )


def _created(
    thing: _Thing, path: str, after: Entries, now: dict[_Thing, str], numbers: Iterator[int]
) -> Iterator[Step]:
    entry = after[thing.name]
    if thing.directory:
        yield Step("mkdir", path)
        below = {p: e for p, e in after.items() if p.startswith(path + "/")}
        yield from _by_time({}, {p: e._replace(changed_ns=0) for p, e in below.items()})
    elif entry.kind == "link":
        now[thing] = path
        yield Step("symlink", path, entry.target)
    else:
        now[thing] = path if thing.name == path else temporary_name(thing.name, next(numbers))
        yield Step("create", now[thing])
        if thing.last_write < 0 and entry.size_bytes:
            yield Step("fill", now[thing], thing.name)


def differing(old: bytes, new: bytes) -> Iterator[tuple[int, bytes]]:
    """Where a file's bytes differ: stretches of at most :data:`CHUNK_BYTES`, in their order."""
    start = -1
    for at in range(0, len(new), COMPARED_BYTES):
        same = old[at : at + COMPARED_BYTES] == new[at : at + COMPARED_BYTES]
        if start >= 0 and (same or at - start >= CHUNK_BYTES):
            yield start, new[start:at]
            start = -1
        if not same and start < 0:
            start = at
    if start >= 0:
        yield start, new[start:]
