"""Whether the emulated disk could have left what was found after a power loss.

The question is put to a disk *before* it loses its power.  Names with ordered metadata are few:
each state that they may take is made by the disk's own code, and compared; with metadata in any
order they are searched, name by name.  The bytes of a file are not enumerated: by the disk's
rules (``simulator/survival.py``) its sectors are independent of one another once its size is
known, so each sector is looked up in what it may hold.  ``test_legal_outcomes.py`` holds this
against the disk and against the brute force of ``tests/disk/reference.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from simulator.blocks import PAGE_BYTES
from simulator.disk import Disk
from simulator.inode import Inode
from simulator.namespace import Directory, Edit, Namespace, Node, _NameChange
from simulator.survival import medium_of
from tests.ground_truth.calls import DIRECTORY, Outcome


class LegalContents:
    """What the bytes of one file may be after a power loss.

    Arguments
    ---------
    medium: the content at greatest loss.
    operations: unsynced changes in order: (offset, bytes), or (size, None) for a truncation.
    sector_bytes: what is written atomically.
    page_bytes: what the cache keeps as one piece.
    """

    def __init__(
        self,
        medium: bytes,
        operations: list[tuple[int, bytes | None]],
        sector_bytes: int,
        page_bytes: int = PAGE_BYTES,
    ) -> None:
        self._medium = medium
        self._sector_bytes = sector_bytes
        self._truncations: list[tuple[int, int]] = []
        # What the cache held of a sector right after each write to it: (operation, bytes).
        self._versions: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
        now = bytearray(medium)
        resizes: list[tuple[int, int, int, bool]] = []
        for number, (offset, data) in enumerate(operations):
            before = len(now)
            if data is None:
                del now[offset:]
                now.extend(bytes(offset - len(now)))
                self._truncations.append((number, offset))
                if offset < before:
                    self._note(now, number, offset, offset + -offset % page_bytes)
            else:
                now.extend(bytes(max(0, offset + len(data) - len(now))))
                now[offset : offset + len(data)] = data
                self._note(now, number, offset, offset + len(data))
            if len(now) != before:
                resizes.append((number, before, len(now), data is None))
        ends = {offset + len(data or b"") for offset, data in operations}
        # A prefix of the changes of size survives, and perhaps a part of the next: for each
        # size, how many operations may have cut.
        self.sizes: set[tuple[int, int]] = set()
        for count in range(len(resizes) + 1):
            lost = [number for number, _, _, cuts in resizes[count:] if cuts]
            cutting = lost[0] if lost else len(operations)
            sizes = {resizes[count - 1][2] if count else len(medium)}
            if count < len(resizes):
                _, before, after, _ = resizes[count]
                sizes.update(size for size in ends if before < size < after)
                sizes.update(range(before + 1 + -(before + 1) % page_bytes, after, page_bytes))
            self.sizes.update((size, cutting) for size in sizes)

    def _note(self, now: bytearray, number: int, start: int, end: int) -> None:
        step = self._sector_bytes
        for sector in range(start // step, -(-end // step)):
            self._versions[sector].append((number, bytes(now[sector * step : (sector + 1) * step])))

    def why_not(self, observed: bytes) -> str | None:
        """None when the content is legal, else what of it is not."""
        step = self._sector_bytes
        best: list[int] | None = None
        for size, cutting in sorted(self.sizes, key=lambda each: -each[1]):
            if size != len(observed):
                continue
            wrong = [
                start // step
                for start in range(0, size, step)
                if observed[start : start + step]
                not in self._held(start // step, min(step, size - start), cutting)
            ]
            if not wrong:
                return None
            if best is None or len(wrong) < len(best):
                best = wrong
        if best is None:
            legal = sorted({size for size, _ in self.sizes})
            return f"its size is {len(observed)}; legal are {legal}"
        start = best[0] * step
        zeros = sum(not any(observed[s * step : (s + 1) * step]) for s in best)
        return (
            f"{len(best)} sectors hold what they may not, {zeros} of these zeros: {best[:20]};"
            f" sector {best[0]} begins {observed[start : start + 32].hex()}"
        )

    def _held(self, sector: int, length: int, cutting: int) -> Iterator[bytes]:
        start = sector * self._sector_bytes
        medium = self._medium[start : start + self._sector_bytes]
        for number, held in [(-1, medium), *self._versions.get(sector, ())]:
            # Truncations that survive have cut it since.
            smallest = min(
                (size for at, size in self._truncations if number < at < cutting),
                default=start + length,
            )
            yield held[: max(0, smallest - start)][:length].ljust(length, b"\0")


def contents_of(inode: Inode, sector_bytes: int) -> LegalContents:
    """What a file of an emulated disk may hold after a power loss."""
    medium = medium_of(inode, sector_bytes)
    return LegalContents(medium.read(0, medium.size), unsynced(inode), sector_bytes)


def unsynced(inode: Inode) -> list[tuple[int, bytes | None]]:
    """The changes since the last sync: (offset, bytes), or (size, None) for a truncation."""
    return [
        (offset, b"".join(data) if isinstance(data, tuple) else data)
        for offset, _length, data, _replaced, _size_before, _size_after in inode.changes
    ]


class LegalOutcomes:
    """What may be found after a power loss of an emulated disk, as it is now.

    Arguments
    ---------
    disk: must not change while this is used.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._sector_bytes = disk.model.sector_bytes
        self._contents: dict[int, LegalContents] = {}
        self._known: dict[tuple[int, bytes], str | None] = {}
        self._ordered = disk.model.metadata == "ordered"
        self._names: list[dict[str, Node]] = []
        if self._ordered:
            self._names = [
                _names_after(disk.names, kept) for kept in range(len(disk.names.log) + 1)
            ]

    def why_not(self, outcome: Outcome) -> str | None:
        """None when the emulated disk can leave this, else what of it it cannot."""
        if not self._ordered:
            return self._why_not_in_any_order(outcome)
        reason = f"no prefix of the changes of names gives {sorted(outcome)}"
        for names in self._names:
            if names.keys() != outcome.keys():
                continue
            problems = [
                self._why_not_here(names[path], path, found) for path, found in outcome.items()
            ]
            found_problems = [each for each in problems if each is not None]
            if not found_problems:
                return None
            reason = "; ".join(found_problems)
        return reason

    def _why_not_here(self, node: Node, path: str, found: bytes | None) -> str | None:
        if not isinstance(node, Inode) or found is DIRECTORY:
            if isinstance(node, Directory) and found is DIRECTORY:
                return None
            return f"{path} is of another kind"
        key = (node.number, found)
        if key not in self._known:
            if node.number not in self._contents:
                self._contents[node.number] = contents_of(node, self._sector_bytes)
            self._known[key] = self._contents[node.number].why_not(found)
        problem = self._known[key]
        return problem and f"{path} ({len(found)} B): {problem}"

    def _why_not_in_any_order(self, outcome: Outcome) -> str | None:
        """Names by themselves: how many of its changes each may keep, then all together.

        The workloads make directories before all else and keep them, so that what a name leads
        to is told by its directory alone; states without one of them are made one by one.
        """
        names = self._disk.names
        if any(isinstance(node, Directory) for node in _nodes_of(names)):
            return self._why_not_with_directories(outcome)
        paths = {id(names.root): ""}
        paths |= {id(node): path for path, node in names.walk("/") if isinstance(node, Directory)}
        medium = names.fork()
        medium.power_loss(lambda _outcomes: 0, False)
        durable = {path: node.number for path, node in medium.walk("/")}
        by_number = {node.number: node for node in _nodes_of(names)}
        by_number |= {node.number: node for _path, node in names.walk("/")}
        changes: dict[str, list[tuple[int, Node | None]]] = defaultdict(list)
        # A change with the one it never survives without.
        with_it: dict[int, frozenset[int]] = {}
        for number, change in enumerate(names.log):
            before = names.log[number - 1] if number else None
            halves = change.is_second_half and before and before.number == change.number
            with_it[number] = frozenset((number, number - 1) if halves else (number,))
            for edit in change.edits:
                if isinstance(edit, Edit):
                    changes[f"{paths[id(edit.directory)]}/{edit.name}"].append((number, edit.after))
        for path in durable:
            changes.setdefault(path, [])
        if strange := outcome.keys() - changes.keys():
            return f"no change of names gives {sorted(strange)}"
        choices: list[list[tuple[frozenset[int], frozenset[int]]]] = []
        for path, edits in changes.items():
            first = by_number[durable[path]] if path in durable else None
            states = [first, *(node for _number, node in edits)]
            problems: list[str] = []
            possible: list[tuple[frozenset[int], frozenset[int]]] = []
            for kept, node in enumerate(states):
                if (node is None) == (path not in outcome):
                    problem = node and self._why_not_here(node, path, outcome[path])
                    if problem is None:
                        numbers = [number for number, _node in edits]
                        there = frozenset[int]().union(*(with_it[n] for n in numbers[:kept]))
                        possible.append((there, frozenset(numbers[kept:])))
                    else:
                        problems.append(problem)
            if not possible:
                return "; ".join(problems) or f"{path} must be " + (
                    "gone" if path in outcome else "there"
                )
            choices.append(possible)
        if _compatible(choices, frozenset(), frozenset()):
            return None
        return f"names that do not go together: {sorted(outcome)}"

    def _why_not_with_directories(self, outcome: Outcome) -> str | None:
        reason = f"no changes of names give {sorted(outcome)}"
        for picks in product((0, 1), repeat=sum(map(len, map(_edits, self._disk.names.log)))):
            answers = iter(picks)
            fork = self._disk.names.fork()
            fork.power_loss(lambda outcomes: min(next(answers, 0), outcomes - 1), False)  # noqa: B023
            names = dict(fork.walk("/"))
            if names.keys() == outcome.keys() and all(
                self._why_not_here(node, path, outcome[path]) is None
                for path, node in names.items()
            ):
                return None
        return reason


def _compatible(
    choices: list[list[tuple[frozenset[int], frozenset[int]]]],
    kept: frozenset[int],
    lost: frozenset[int],
) -> bool:
    """Whether one choice for each name can be taken so that no change is both kept and lost."""
    if not choices:
        return True
    return any(
        _compatible(choices[1:], kept | more, lost | less)
        for more, less in choices[0]
        if kept.isdisjoint(less) and lost.isdisjoint(more)
    )


def _names_after(names: Namespace, kept: int) -> dict[str, Node]:
    fork = names.fork()
    fork.power_loss(lambda outcomes: min(kept, outcomes - 1), True)
    return dict(fork.walk("/"))


def _edits(change: _NameChange) -> list[Edit]:
    return [edit for edit in change.edits if isinstance(edit, Edit)]


def _nodes_of(names: Namespace) -> list[Node]:
    """What the changes that are not durable are about."""
    nodes = [n for c in names.log for e in _edits(c) for n in (e.before, e.after)]
    return [node for node in nodes if node is not None]
