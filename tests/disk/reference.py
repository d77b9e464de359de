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

    def legal(self, sector: int) -> Iterator[tuple[int, list[set[bytes]]]]:
        """For each size that may survive: what each sector may hold, on its own.

        A prefix of the changes of size survives.  Behind the first truncation that does
        not, nothing does.  A sector holds what the medium held, or what the file showed
        after any one of the writes to it; surviving truncations have cut that since.
        """
        views = self.views()
        lengths = [len(self.medium), *map(len, views)]
        resizes = [i for i in range(len(views)) if lengths[i] != lengths[i + 1]]
        for count in range(len(resizes) + 1):
            size = lengths[resizes[count - 1] + 1] if count else lengths[0]
            lost = [i for i in resizes[count:] if self.operations[i][1] is None]
            kept = self.operations[: lost[0]] if lost else self.operations
            sectors: list[set[bytes]] = []
            for start in range(0, size, sector):
                end = min(start + sector, size)
                held = {_cut(self.medium, kept, start, end)}
                for i, (offset, data) in enumerate(kept):
                    if data is not None and offset < start + sector and offset + len(data) > start:
                        held.add(_cut(views[i], kept[i + 1 :], start, end))
                sectors.append(held)
            yield size, sectors

    def legal_states(self, sector: int) -> set[bytes]:
        return {
            b"".join(each) for _size, sectors in self.legal(sector) for each in product(*sectors)
        }

    def allows(self, state: bytes, sector: int) -> bool:
        parts = [state[i : i + sector] for i in range(0, len(state), sector)]
        return any(
            size == len(state)
            and all(part in held for part, held in zip(parts, sectors, strict=True))
            for size, sectors in self.legal(sector)
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

    def keys(self, kinds: dict[int, str]) -> set[int]:
        """What it touches: directories, and the file whose attributes it sets."""
        files = {node for node, _ in self.attributes if kinds[node].startswith("FILE")}
        return {directory for directory, _, _ in self.entries} | files


Tree = dict[str, tuple[int, str, int]]


class NamesModel:
    """Directories as maps from names to numbers, and all changes since the last power loss."""

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.kinds: dict[int, str] = {ROOT: "DIRECTORY "}
        self.entries: dict[int, dict[str, int]] = {ROOT: {}}
        self.attributes: dict[int, int] = {}
        self.log: list[tuple[NameChange, frozenset[int]]] = []
        """Each change with the numbers that it touches."""
        self.durable: set[int] = set()
        """Indexes of changes that must survive."""

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
        self._note(NameChange(((source, old_name, None), (target, new_name, number))))

    def set_attributes(self, path: str, value: int) -> None:
        number, kind, _ = self.state()[path]
        change = NameChange((), ((number, value),))
        parent, _name = self._split(path)
        touched = {parent, number} if kind.startswith("FILE") else {parent}
        self.log.append((change, frozenset(touched)))

    def _note(self, change: NameChange) -> None:
        self.log.append((change, frozenset(change.keys(self.kinds))))

    def _split(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return self.number_of(parent), name

    def sync(self, path: str) -> None:
        """What touches the directory is durable, with all that must have come before."""
        wanted = {
            index for index, (_, touched) in enumerate(self.log) if self.number_of(path) in touched
        }
        if self.ordered:
            self.durable |= set(range(max(wanted, default=-1) + 1))
            return
        while True:
            more = {
                earlier
                for index in wanted
                for earlier in range(index)
                if self.log[earlier][1] & self.log[index][1]
            } - wanted
            if not more:
                break
            wanted |= more
        self.durable |= wanted

    # -- power loss ----------------------------------------------------------------

    def legal_choices(self) -> Iterator[tuple[int, ...]]:
        """All sets of changes that may survive.

        Ordered: a prefix of the log.  Else: for each thing touched, a prefix of the changes
        that touch it.
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
            if self.durable <= there and not any(
                self.log[gone][1] & self.log[kept][1]
                for gone in everything
                if gone not in there
                for kept in chosen
                if kept > gone
            ):
                yield chosen

    def become(self, tree: Tree) -> bool:
        """Go on from a state that was found after a power loss; False when it is not legal."""
        for chosen in self.legal_choices():
            if self.state(chosen) == tree:
                self.entries, self.attributes = self._after(chosen)
                self.log, self.durable = [], set()
                return True
        return False
