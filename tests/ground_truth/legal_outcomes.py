"""Whether the emulated disk could have left what was found after a power loss.

The question is put to a disk *before* it loses its power.  Names are few: each state that they
may take is made by the disk's own code, and compared.  The bytes of a file are
not enumerated: by the disk's rules (``simulator/inode.py``) its sectors are independent of one
another once it is known which of its changes of size survived, so each sector is looked up in
what it may hold.  ``test_legal_outcomes.py`` holds this against the disk and against the brute
force of ``tests/disk/reference.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from enum import Enum

from simulator.disk import Disk
from simulator.inode import Inode
from simulator.namespace import Directory, Namespace
from tests.ground_truth.calls import DIRECTORY, Outcome

PAGE_BYTES = 4096


class Relaxation(Enum):
    """What a real file system was seen to leave and the emulated disk never does."""

    PART_OF_A_GROWTH = "a size inside of one growth of the file: of a page, or of an earlier range"
    BEHIND_A_LOST_CUT = (
        "a write inside the old size survives, a change of size by truncation before it does not"
    )
    ZEROS_OF_A_LOST_CUT = "the rest of the page where a lost truncation had cut is zero"


STRICT: frozenset[Relaxation] = frozenset()
RELAXED = frozenset(Relaxation)


class LegalContents:
    """What the bytes of one file may be after a power loss.

    Arguments
    ---------
    medium: the content at greatest loss.
    operations: unsynced changes in order: (offset, bytes), or (size, None) for a truncation.
    sector_bytes: what is written atomically.
    relaxed: what is allowed beyond the emulated disk's rules.
    """

    def __init__(
        self,
        medium: bytes,
        operations: list[tuple[int, bytes | None]],
        sector_bytes: int,
        relaxed: frozenset[Relaxation] = STRICT,
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
                if Relaxation.ZEROS_OF_A_LOST_CUT in relaxed and offset < before:
                    self._note(now, number, offset, _page_end(offset))
            else:
                now.extend(bytes(max(0, offset + len(data) - len(now))))
                now[offset : offset + len(data)] = data
                self._note(now, number, offset, offset + len(data))
            if len(now) != before:
                resizes.append((number, before, len(now), data is None))
        ends = {offset + len(data or b"") for offset, data in operations}
        # Of the changes of size a prefix survives; behind the first truncation that does not,
        # nothing does: (size, how many operations count, how many may have cut).
        self.sizes: list[tuple[int, int, int]] = []
        for count in range(len(resizes) + 1):
            lost = [number for number, _, _, cuts in resizes[count:] if cuts]
            cutting = counting = lost[0] if lost else len(operations)
            if Relaxation.BEHIND_A_LOST_CUT in relaxed:
                counting = len(operations)
            elif Relaxation.ZEROS_OF_A_LOST_CUT in relaxed:
                counting = min(cutting + 1, len(operations))
            sizes = {resizes[count - 1][2] if count else len(medium)}
            if Relaxation.PART_OF_A_GROWTH in relaxed and count < len(resizes):
                _, before, after, _ = resizes[count]
                sizes.update(size for size in ends if before < size < after)
                sizes.update(range(_page_end(before + 1), after, PAGE_BYTES))
            self.sizes += [(size, counting, cutting) for size in sorted(sizes)]

    def _note(self, now: bytearray, number: int, start: int, end: int) -> None:
        step = self._sector_bytes
        for sector in range(start // step, -(-end // step)):
            self._versions[sector].append((number, bytes(now[sector * step : (sector + 1) * step])))

    def why_not(self, observed: bytes) -> str | None:
        """None when the content is legal, else what of it is not."""
        step = self._sector_bytes
        best: list[int] | None = None
        for size, counting, cutting in sorted(set(self.sizes), key=lambda each: -each[1]):
            if size != len(observed):
                continue
            wrong = [
                start // step
                for start in range(0, size, step)
                if observed[start : start + step]
                not in self._held(start // step, min(step, size - start), counting, cutting)
            ]
            if not wrong:
                return None
            if best is None or len(wrong) < len(best):
                best = wrong
        if best is None:
            legal = sorted({size for size, _, _ in self.sizes})
            return f"its size is {len(observed)}; legal are {legal}"
        start = best[0] * step
        zeros = sum(not any(observed[s * step : (s + 1) * step]) for s in best)
        return (
            f"{len(best)} sectors hold what they may not, {zeros} of these zeros: {best[:20]};"
            f" sector {best[0]} begins {observed[start : start + 32].hex()}"
        )

    def _held(self, sector: int, length: int, counting: int, cutting: int) -> Iterator[bytes]:
        start = sector * self._sector_bytes
        medium = self._medium[start : start + self._sector_bytes]
        for number, held in [(-1, medium), *self._versions.get(sector, ())]:
            if number >= counting:
                return
            # Truncations that survive have cut it since.
            smallest = min(
                (size for at, size in self._truncations if number < at < cutting),
                default=start + length,
            )
            yield held[: max(0, smallest - start)][:length].ljust(length, b"\0")


def _page_end(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def contents_of(
    inode: Inode, sector_bytes: int, relaxed: frozenset[Relaxation] = STRICT
) -> LegalContents:
    """What a file of an emulated disk may hold after a power loss."""
    medium = inode.fork()
    medium.power_loss(lambda _outcomes: 0, sector_bytes)
    return LegalContents(medium.read(0, medium.size), unsynced(inode), sector_bytes, relaxed)


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
    relaxed: what is allowed beyond the disk's rules.
    """

    def __init__(self, disk: Disk, relaxed: frozenset[Relaxation] = STRICT) -> None:
        self._relaxed = relaxed
        self._sector_bytes = disk.model.sector_bytes
        self._contents: dict[int, LegalContents] = {}
        self._known: dict[tuple[int, bytes], str | None] = {}
        assert disk.model.metadata == "ordered", "prefixes of all changes are enumerated here"
        self._names = [_names_after(disk.names, kept) for kept in range(len(disk.names.log) + 1)]

    def why_not(self, outcome: Outcome) -> str | None:
        """None when the emulated disk can leave this, else what of it it cannot."""
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

    def _why_not_here(self, node: object, path: str, found: bytes | None) -> str | None:
        if not isinstance(node, Inode) or found is DIRECTORY:
            if isinstance(node, Directory) and found is DIRECTORY:
                return None
            return f"{path} is of another kind"
        key = (node.number, found)
        if key not in self._known:
            if node.number not in self._contents:
                self._contents[node.number] = contents_of(node, self._sector_bytes, self._relaxed)
            self._known[key] = self._contents[node.number].why_not(found)
        problem = self._known[key]
        return problem and f"{path} ({len(found)} B): {problem}"


def _names_after(names: Namespace, kept: int) -> dict[str, object]:
    fork = names.fork()
    fork.power_loss(lambda _outcomes: kept, True)
    return dict(fork.walk("/"))
