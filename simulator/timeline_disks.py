"""What is recorded of one emulated disk: writes, syncs and names, by what the files are for."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from simulator.disk import Disk
from simulator.inode import Inode
from simulator.namespace import Directory, Edit, Symlink
from simulator.shared_page import Holder
from simulator.timeline import OPEN, Outcome, Timeline, Track

WRITES, SYNCS, NAMES = "writes", "syncs", "names"
PROTECTED = "protected files"
_MOST_NAMED: Final = 3
_CONTENT: Final = frozenset({"write", "truncate", "zero", "allocate"})


class DiskWatch:
    """Follows the steps of one disk.

    Arguments
    ---------
    machine, name: whose disk, and which.
    areas: what files below which directories are for; the first that fits counts.
    """

    def __init__(
        self,
        timeline: Timeline,
        machine: str,
        name: str,
        disk: Disk,
        areas: Sequence[tuple[str, str]],
    ) -> None:
        self.machine = machine
        self._timeline = timeline
        self._name = name
        self._disk = disk
        self._areas = areas
        self._paths: dict[int, str] = {}
        self._learn_paths()
        self._unsynced: dict[int, list[int]] = {}
        """By file: how many writes and bytes nobody has synced."""
        self._syncs: dict[int, deque[tuple[str, int, int, int, Holder]]] = {}
        """By file or directory: area and number of each sync under way, the writes and bytes that
        it covers, and whose it is."""
        self._last_change = ""

    def _learn_paths(self) -> None:
        names = self._disk.names
        self._paths = {node.number: path for path, node in names.walk("/")}
        self._paths[names.directory("/").number] = "/"

    def _area(self, path: str) -> str:
        for root, area in self._areas:
            if path == root or path.startswith(root + "/"):
                return area
        return "elsewhere"

    def last_change(self) -> str:
        """What was done last to the protected files; asked once for each operation."""
        words, self._last_change = self._last_change, ""
        return words or "failed, or a call that changed nothing"

    # -- steps ---------------------------------------------------------------------------

    def step(self, what: str, values: tuple[int, ...]) -> None:
        """A step of the disk, as the event trace has it."""
        now_ns = self._disk.clock.now()
        if what in _CONTENT:
            number, offset = values[0], values[1]
            size_bytes = values[2] if len(values) > 2 else 0
            path = self._path(number)
            if what != "allocate":
                unsynced = self._unsynced.setdefault(number, [0, 0])
                unsynced[0] += 1
                unsynced[1] += size_bytes
            self._add(WRITES, path, f"{what} {path}", number, offset, size_bytes)
        elif what in ("sync", "syncdir", "fail"):
            self._sync_ends(values[0], Outcome.LOST if what == "fail" else Outcome.DONE)
            if what == "sync" and self._area(self._path(values[0])) == PROTECTED:
                self._last_change = f"sync {self._path(values[0])}"
        elif what == "lie":
            path = self._path(values[0])
            self._track(SYNCS, path).add(now_ns, now_ns, f"sync that lies, of {path}")
        else:
            self._names_changed(what)

    def _path(self, number: int) -> str:
        return self._paths.get(number, f"file {number} without a name")

    def _track(self, what: str, path: str) -> Track:
        return self._timeline.track(self.machine, f"{self._name}: {self._area(path)}: {what}")

    def _add(
        self, what: str, path: str, words: str, number: int, offset: int = 0, size: int = 0
    ) -> None:
        now_ns = self._disk.clock.now()
        self._track(what, path).add(now_ns, now_ns, words, number, offset, size_bytes=size)
        if self._area(path) == PROTECTED:
            self._last_change = words

    def _names_changed(self, what: str) -> None:
        """Names what was just changed: it is the newest in the log of names."""
        log = self._disk.names.log
        count = 2 if log and log[-1].is_second_half else 1
        edits = [edit for change in log[-count:] for edit in change.edits]
        moved, nameless = False, 0
        gone = come = ""
        for edit in edits:
            if not isinstance(edit, Edit):
                come = self._path(edit.node.number)
                continue
            path = f"{self._paths.get(edit.directory.number, '?').rstrip('/')}/{edit.name}"
            if edit.after is None:
                gone = path
                if isinstance(edit.before, Inode) and not edit.before.links:
                    nameless = edit.before.number
            else:
                come = path
                if isinstance(edit.before, Inode) and not edit.before.links:
                    nameless = edit.before.number
                moved = moved or (isinstance(edit.after, Directory) and len(edits) > 1)
                self._paths[edit.after.number] = path
        if moved:
            self._learn_paths()
        target = edits[0].after if edits and isinstance(edits[0], Edit) else None
        words = f"{what} {gone} to {come}" if gone and come else f"{what} {come or gone}"
        if isinstance(target, Symlink):
            words += f" to {target.target}"
        self._unsynced.pop(nameless, None)
        self._add(NAMES, come or gone, words, nameless)

    # -- syncs ---------------------------------------------------------------------------

    def sync_begins(self, number: int, holder: Holder) -> None:
        path = self._path(number)
        track = self._track(SYNCS, path)
        writes, size_bytes = self._unsynced.get(number, (0, 0))
        now_ns = self._disk.clock.now()
        index = track.add(now_ns, OPEN, f"sync {path}", number, 0, writes, size_bytes)
        waiting = self._syncs.setdefault(number, deque())
        waiting.append((self._area(path), index, writes, size_bytes, holder))

    def _sync_ends(self, number: int, outcome: Outcome) -> None:
        waiting = self._syncs.get(number)
        if not waiting:
            return
        area, index, writes, size_bytes, _holder = waiting.popleft()
        track = self._timeline.track(self.machine, f"{self._name}: {area}: {SYNCS}")
        track.end(index, self._disk.clock.now(), outcome)
        unsynced = self._unsynced.get(number)
        if unsynced is not None and outcome is Outcome.DONE:
            unsynced[0] -= writes
            unsynced[1] -= size_bytes
            if unsynced[0] <= 0:
                del self._unsynced[number]

    def process_died(self, cause: str) -> None:
        """The syncs that dead processes had under way never return."""
        now_ns = self._disk.clock.now()
        for number, waiting in list(self._syncs.items()):
            for area, index, _writes, _size, holder in waiting:
                if holder.dead:
                    track = self._timeline.track(self.machine, f"{self._name}: {area}: {SYNCS}")
                    track.end(index, now_ns, Outcome.LOST, f"{track[index].word}, {cause}")
            self._syncs[number] = deque(each for each in waiting if not each[4].dead)

    def power_lost(self, by_area: dict[str, list[int]]) -> None:
        """Add what nobody had synced, writes and bytes by area; syncs under way are cut off."""
        self.process_died("cut off by the power loss")
        for number, (writes, size_bytes) in self._unsynced.items():
            total = by_area.setdefault(self._area(self._path(number)), [0, 0])
            total[0] += writes
            total[1] += size_bytes
        self._syncs.clear()
        self._unsynced.clear()
        self._learn_paths()


def unsynced_words(by_area: Mapping[str, Sequence[int]]) -> str:
    """How many writes and bytes of which files nobody has synced."""
    return ", ".join(
        f"{writes} {'write' if writes == 1 else 'writes'} ({size_bytes} bytes) in the {area}"
        for area, (writes, size_bytes) in sorted(by_area.items())
    )


def unsynced_at(timeline: Timeline, machine: str, at_ns: int) -> str:
    """What was not synced on a machine at an instant, in words; empty when all was.

    It is counted again from the tracks, for an instant at which nobody lost power.
    """
    lost = [e.start_ns for e in timeline.events(machine, "power") if e.start_ns < at_ns]
    since_ns = max(lost, default=-1)
    files: dict[tuple[str, int], list[int]] = {}
    areas: dict[tuple[str, int], str] = {}
    for (owner, what), track in timeline.tracks.items():
        disk, _, rest = what.partition(": ")
        if owner != machine or not rest:
            continue
        area, _, kind = rest.partition(": ")
        for event in track:
            # The number of its file is where other tracks have the epoch.
            file = (disk, event.epoch)
            if not since_ns < event.end_ns <= at_ns or event.outcome is not Outcome.DONE:
                continue
            if kind == NAMES:
                if event.epoch:
                    areas[file] = ""
                continue
            if event.word.startswith("allocate "):
                continue
            total, sign = files.setdefault(file, [0, 0]), 1 if kind == WRITES else -1
            areas.setdefault(file, area)
            total[0] += sign * (event.last if kind == SYNCS else 1)
            total[1] += sign * event.size_bytes
    by_area: dict[str, list[int]] = {}
    for file, (writes, size_bytes) in files.items():
        if writes > 0 and areas[file]:
            total = by_area.setdefault(areas[file], [0, 0])
            total[0] += writes
            total[1] += size_bytes
    return unsynced_words(by_area)
