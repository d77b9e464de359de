"""What a power loss may leave, by brute force, written without looking at the disk.

Two independent parts: the bytes of one file (:class:`FileModel`) and the names of one
volume (:class:`NamesModel`).  Both keep the whole history since the last power loss and say
which states are legal; nothing is undone, nothing is incremental, so nothing is fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, combinations, product

ROOT = 1


@dataclass
class FileModel:
    """The medium's bytes and the unsynced operations: (offset, bytes), or (size, None)."""

    medium: bytes = b""
    operations: list[tuple[int, bytes | None]] = field(default_factory=list)

    def views(self) -> list[bytes]:
        """What programs see after each operation."""
        seen: list[bytes] = []
        now = self.medium
        for offset, data in self.operations:
            if data is None:
                now = now[:offset].ljust(offset, b"\0")
            else:
                now = now[:offset].ljust(offset, b"\0") + data + now[offset + len(data) :]
            seen.append(now)
        return seen

    def now(self) -> bytes:
        return self.views()[-1] if self.operations else self.medium

    def write(self, offset: int, data: bytes) -> None:
        if data:
            self.operations.append((offset, data))

    def zero_range(self, offset: int, length: int, block: int) -> None:
        """A series of writes of zeros, one for each block."""
        while length > 0:
            take = min(length, block - offset % block)
            self.write(offset, bytes(take))
            offset, length = offset + take, length - take

    def truncate(self, size: int) -> None:
        self.operations.append((size, None))

    def sync(self) -> None:
        self.medium, self.operations = self.now(), []

    def legal(self, sector: int, page: int) -> Iterator[tuple[int, list[set[bytes]]]]:
        """For each size that may survive: what each sector may hold, on its own.

        A prefix of the changes of size survives, and of the next, if it is a growth, perhaps
        a part: to a page's end or the end of any operation.  A sector holds what the medium
        held, or what the file showed after any one of the writes to it; truncations that
        survive have cut that since.  One that does not was a write of zeros up to the end
        of the page that it cut.
        """
        views = self.views()
        lengths = [len(self.medium), *map(len, views)]
        resizes = [i for i in range(len(views)) if lengths[i] != lengths[i + 1]]
        ends = {offset + len(data or b"") for offset, data in self.operations}
        for count in range(len(resizes) + 1):
            sizes = {lengths[resizes[count - 1] + 1] if count else lengths[0]}
            lost = [i for i in resizes[count:] if self.operations[i][1] is None]
            cuts = lost[0] if lost else len(views)
            if count < len(resizes):
                before, after = lengths[resizes[count]], lengths[resizes[count] + 1]
                sizes |= {
                    size for size in range(before + 1, after) if size % page == 0 or size in ends
                }
            writes: list[tuple[int, int, int]] = []
            for i, (offset, data) in enumerate(self.operations):
                if data is not None:
                    writes.append((i, offset, offset + len(data)))
                elif i in lost and lengths[i + 1] < lengths[i]:
                    writes.append((i, offset, offset + -offset % page))
            for size in sizes:
                sectors: list[set[bytes]] = []
                for start in range(0, size, sector):
                    end = min(start + sector, size)
                    held = {_cut(self.medium, self.operations[:cuts], start, end)}
                    for i, first, last in writes:
                        if first < start + sector and last > start:
                            held.add(_cut(views[i], self.operations[i + 1 : cuts], start, end))
                    sectors.append(held)
                yield size, sectors

    def legal_states(self, sector: int, page: int = 4096) -> set[bytes]:
        return {
            b"".join(each)
            for _size, sectors in self.legal(sector, page)
            for each in product(*sectors)
        }

    def allows(self, state: bytes, sector: int, page: int = 4096) -> bool:
        parts = [state[i : i + sector] for i in range(0, len(state), sector)]
        return any(
            size == len(state)
            and all(part in held for part, held in zip(parts, sectors, strict=True))
            for size, sectors in self.legal(sector, page)
        )


def _cut(view: bytes, later: list[tuple[int, bytes | None]], start: int, end: int) -> bytes:
    """The view's bytes from start to end once the later truncations have happened."""
    smallest = min((size for size, data in later if data is None), default=len(view))
    return view[:smallest][start:end].ljust(end - start, b"\0")


@dataclass(frozen=True)
class NameChange:
    """Entries (directory, name, node or None) and attributes (node, value) set in one step."""

    entries: tuple[tuple[int, str, int | None], ...]
    attributes: tuple[tuple[int, int], ...] = ()

    def keys(self, kinds: dict[int, str]) -> set[object]:
        """What it touches: names, what gets attributes, and the place of directories."""
        names: set[object] = {(directory, name) for directory, name, _ in self.entries}
        parents = {directory for directory, _, _ in self.entries}
        moved = self.entries[-1][2] if len(parents) > 1 else None
        if moved is not None and kinds[moved] == "DIRECTORY ":
            names.add("places of directories")
        return names | {node for node, _ in self.attributes}


Tree = dict[str, tuple[int, str, int]]


class NamesModel:
    """Directories as maps from names to numbers, and all changes since the last power loss."""

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.kinds: dict[int, str] = {ROOT: "DIRECTORY "}
        self.entries: dict[int, dict[str, int]] = {ROOT: {}}
        self.attributes: dict[int, int] = {}
        self.log: list[tuple[NameChange, frozenset[object]]] = []
        """Each change with what it touches."""
        self.directories: list[set[int]] = []
        """For each change the directories whose sync makes it durable."""
        self.durable: set[int] = set()
        """Indexes of changes that must survive."""
        self.needs: dict[int, int] = {}
        """Changes that never survive without an earlier one, and which."""

    # -- looking up ----------------------------------------------------------------

    def state(self, chosen: tuple[int, ...] | None = None) -> Tree:
        """What names show once the chosen changes have happened; None means all."""
        entries, attributes = self._after(range(len(self.log)) if chosen is None else chosen)
        tree: Tree = {}
        stack = [("", ROOT)]
        while stack:
            prefix, directory = stack.pop()
            for name, node in entries.get(directory, {}).items():
                path = f"{prefix}/{name}"
                tree[path] = (node, self.kinds[node], attributes.get(node, 0))
                if self.kinds[node] == "DIRECTORY ":
                    stack.append((path, node))
        return tree

    def _after(
        self, chosen: tuple[int, ...] | range
    ) -> tuple[dict[int, dict[str, int]], dict[int, int]]:
        entries = {number: dict(names) for number, names in self.entries.items()}
        attributes = dict(self.attributes)
        for index in chosen:
            change, _ = self.log[index]
            for directory, name, node in change.entries:
                names = entries.setdefault(directory, {})
                if node is None:
                    del names[name]
                else:
                    names[name] = node
            attributes.update(change.attributes)
        return entries, attributes

    def number_of(self, path: str) -> int:
        return ROOT if path in ("", "/") else self.state()[path][0]

    # -- changing ------------------------------------------------------------------

    def add(self, path: str, number: int, kind: str) -> None:
        self.kinds[number] = kind
        parent, name = self._split(path)
        self._note(NameChange(((parent, name, number),)))

    def remove(self, path: str) -> None:
        parent, name = self._split(path)
        self._note(NameChange(((parent, name, None),)))

    def rename(self, old: str, new: str) -> None:
        number = self.number_of(old)
        if self.state().get(new, (0,))[0] == number:
            return
        source, old_name = self._split(old)
        target, new_name = self._split(new)
        gone, there = (source, old_name, None), (target, new_name, number)
        if source == target or self.ordered or self.kinds[number] == "DIRECTORY ":
            self._note(NameChange((gone, there)))
            return
        # Two directories need not become durable together: the file may have both names.
        self._note(NameChange((there,)))
        self.needs[len(self.log)] = len(self.log) - 1
        self._note(NameChange((gone,)))

    def set_attributes(self, path: str, value: int) -> None:
        number, _kind, _ = self.state()[path]
        parent, _name = self._split(path)
        self._note(NameChange((), ((number, value),)), {parent})

    def _note(self, change: NameChange, directories: set[int] | None = None) -> None:
        self.log.append((change, frozenset(change.keys(self.kinds))))
        self.directories.append(directories or {each for each, _, _ in change.entries})

    def _split(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return self.number_of(parent), name

    def sync(self, path: str) -> None:
        """What touches the directory is durable, with all that must have come before."""
        number = self.number_of(path)
        wanted = {index for index, each in enumerate(self.directories) if number in each}
        if self.ordered:
            self.durable |= set(range(max(wanted, default=-1) + 1))
            return
        while True:
            more = {
                earlier
                for index in wanted
                for earlier in range(index)
                if self.log[earlier][1] & self.log[index][1] or self.needs.get(index) == earlier
            } - wanted
            if not more:
                break
            wanted |= more
        self.durable |= wanted

    # -- power loss ----------------------------------------------------------------

    def legal_choices(self) -> Iterator[tuple[int, ...]]:
        """All sets of changes that may survive.

        Ordered: a prefix of the log.  Else: for each name or other thing touched, a prefix of
        the changes that touch it.
        """
        everything = range(len(self.log))
        if self.ordered:
            candidates: Iterator[tuple[int, ...]] = (
                tuple(range(count)) for count in range(len(self.log) + 1)
            )
        else:
            candidates = chain.from_iterable(
                combinations(everything, count) for count in range(len(self.log) + 1)
            )
        for chosen in candidates:
            there = set(chosen)
            if (
                self.durable <= there
                and all(self.needs.get(kept, kept) in there for kept in chosen)
                and not any(
                    self.log[gone][1] & self.log[kept][1]
                    for gone in everything
                    if gone not in there
                    for kept in chosen
                    if kept > gone
                )
            ):
                yield chosen

    def become(self, tree: Tree) -> bool:
        """Go on from a state that was found after a power loss; False when it is not legal."""
        for chosen in self.legal_choices():
            if self.state(chosen) == tree:
                self.entries, self.attributes = self._after(chosen)
                self.log, self.directories, self.durable, self.needs = [], [], set(), {}
                return True
        return False
