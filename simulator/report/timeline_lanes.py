"""The lanes of a timeline's page: marks with their words, thinned where there are too many.

A run of some hundred operations is shown whole.  Of a large one each track keeps what is near
the page's first view and what went wrong, up to its share of :data:`MARKS`; the rest is summed
up in buckets of time, each of which says how many events it stands for.  So the counts of a lane
always add up to what was recorded.  Faults and checks are never summed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from simulator.measures import Check, FaultMark, RunResult
from simulator.report.words import spoken
from simulator.timeline import Event, Outcome, Timeline, Track, TrackKey
from simulator.units import count_of, format_bytes, format_duration

SECOND_NS: Final = 1_000_000_000
MARKS: Final = 20_000
"""So many single events at most, over all lanes that may be thinned."""
BUCKETS: Final = 400
"""In so many parts the run is divided where events are summed up."""
_LONGEST_TEXT: Final = 240
_LONGEST_LABEL: Final = 90


@dataclass(frozen=True, slots=True)
class Mark:
    """What is drawn of one event, or of a bucket of ``count`` of them."""

    start_ns: int
    end_ns: int
    kind: str
    """How it is drawn; the page's style knows the kinds."""
    label: str
    text: str
    count: int = 1

    def to_json(self) -> list[int | str]:
        row: list[int | str] = [
            self.start_ns,
            self.end_ns - self.start_ns,
            self.kind,
            self.label[:_LONGEST_LABEL],
            _cut(self.text),
        ]
        return row if self.count == 1 else [*row, self.count]


@dataclass(slots=True)
class Lane:
    """One row of the page."""

    name: str
    group: str
    """``run``, ``source``, ``link`` or ``replica``: faults of it shade the lane."""
    marks: list[Mark] = field(default_factory=list)
    events: int = 0
    """How many events its marks stand for."""
    single: int = 0
    """How many of them are shown each by itself."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "group": self.group,
            "thinned": self.events - self.single,
            "marks": [mark.to_json() for mark in self.marks],
        }


@dataclass(frozen=True, slots=True)
class Bucket:
    """Several events of a track that begin in one part of the run."""

    start_ns: int
    end_ns: int
    count: int
    size_bytes: int
    first: int
    last: int


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


# -- thinning ----------------------------------------------------------------------------


def shares(sizes: Sequence[int], budget: int) -> list[int]:
    """How many marks each track may have: the small ones all, the large ones alike."""
    given = [0] * len(sizes)
    waiting = sorted(range(len(sizes)), key=lambda index: sizes[index])
    for position, index in enumerate(waiting):
        share = budget // (len(waiting) - position)
        given[index] = min(sizes[index], share)
        budget -= given[index]
    return given


@dataclass(frozen=True, slots=True)
class Focus:
    """What matters most of a run when not all can be shown."""

    view_ns: tuple[int, int]
    """What the page shows first."""
    near_ns: tuple[int, ...]
    """The breach, or the faults: in the order of time."""


def _distance_ns(start: Any, near_ns: tuple[int, ...]) -> Any:
    """From each time to the nearest of some others."""
    near = np.array(near_ns or (0,), dtype=np.int64)
    after = np.searchsorted(near, start).clip(0, len(near) - 1)
    before = (after - 1).clip(0)
    return np.minimum(np.abs(near[after] - start), np.abs(near[before] - start))


def thin(track: Track, limit: int, focus: Focus, end_ns: int) -> tuple[list[int], list[Bucket]]:
    """The numbers of the events to be shown one by one, and buckets of all others.

    Arguments
    ---------
    limit: how many may be shown: those in the first view, then those that failed, then those
        near to what matters.
    """
    total = len(track)
    if total <= limit:
        return list(range(total)), []
    columns = [np.frombuffer(column, dtype=np.int64) for column in track.columns]
    start, end, _word, _epoch, first, last, size, outcome = columns
    outside = (start < focus.view_ns[0]) | (start > focus.view_ns[1])
    near = _distance_ns(start, focus.near_ns)
    order = np.lexsort((near, outcome != Outcome.LOST, outside))
    kept = np.zeros(total, dtype=bool)
    kept[order[:limit]] = True
    rest = np.flatnonzero(~kept)
    width_ns = max(1, -(-(end_ns + 1) // BUCKETS))
    parts = start[rest] // width_ns
    buckets = []
    for part in np.unique(parts):
        chosen = rest[parts == part]
        numbered = chosen[last[chosen] > 0]
        buckets.append(
            Bucket(
                int(start[chosen].min()),
                int(max(start[chosen].max(), min(end[chosen].max(), (part + 1) * width_ns))),
                len(chosen),
                int(size[chosen].sum()),
                int(first[numbered].min()) if len(numbered) else 0,
                int(last[numbered].max()) if len(numbered) else 0,
            )
        )
    return np.flatnonzero(kept).tolist(), buckets


# -- words -------------------------------------------------------------------------------


def _ended(event: Event, lost: str) -> str:
    if event.outcome is Outcome.LOST:
        return f", {lost}"
    return ", not over when the run ended" if event.outcome is Outcome.UNDERWAY else ""


def _took(event: Event) -> str:
    return format_duration((event.end_ns - event.start_ns) / SECOND_NS)


def operation_mark(event: Event) -> Mark:
    size = f", {format_bytes(event.size_bytes)}" if event.size_bytes else ""
    text = f"operation {event.first} of epoch {event.epoch}: {event.word}{size}"
    kind = event.word.partition(" ")[0]
    return Mark(event.start_ns, event.end_ns, "operation", f"{event.first} {kind}", text)


def frame_mark(event: Event) -> Mark:
    name, label = event.word, event.word.partition(":")[0]
    if name == "BATCH":
        one = event.first == event.last
        label = f"BATCH {event.first}" if one else f"BATCH {event.first}-{event.last}"
        operations = f"operation{'' if one else 's'} {event.first}"
        more = "" if one else f" to {event.last}"
        name = f"BATCH with {operations}{more} of epoch {event.epoch}"
    elif name == "ACKNOWLEDGE":
        label = f"ACK {event.first}"
        name = (
            f"ACKNOWLEDGE: up to operation {event.first} of epoch {event.epoch} durable, "
            f"up to {event.last} applied"
        )
    elif name == "HEARTBEAT" and event.epoch:
        name = f"HEARTBEAT at operation {event.last} of epoch {event.epoch}"
    lost = event.outcome is Outcome.LOST
    way = "" if event.outcome is not Outcome.DONE else f", {_took(event)} on its way"
    text = f"{name}, {format_bytes(event.size_bytes)}{way}{_ended(event, 'never arrived')}"
    kind = "lost" if lost else "beat" if name.startswith("HEARTBEAT") else "frame"
    return Mark(event.start_ns, event.end_ns, kind, label, text)


def acknowledged_mark(event: Event) -> Mark:
    text = (
        f"the source learns: up to operation {event.first} of epoch {event.epoch} durable, "
        f"up to {event.last} applied, {event.word}"
    )
    label = f"durable {event.first}, applied {event.last}"
    return Mark(event.start_ns, event.end_ns, "acknowledged", label, text)


def write_mark(event: Event) -> Mark:
    text = f"{event.word} at {event.first}, {format_bytes(event.size_bytes)}"
    return Mark(event.start_ns, event.end_ns, "write", event.word.rpartition("/")[2], text)


def sync_mark(event: Event) -> Mark:
    covered = f", which covers {count_of(event.last, 'write')}" if event.last else ""
    text = f"{event.word}{covered}, {_took(event)}{_ended(event, 'without success')}"
    kind = "lost" if event.outcome is Outcome.LOST else "sync"
    label = f"sync {event.word.rpartition('/')[2]}"
    return Mark(event.start_ns, event.end_ns, kind, label, text)


def _simple(kind: str, labelled: bool, lost: str = "cut short") -> Callable[[Event], Mark]:
    def mark(event: Event) -> Mark:
        bad, long = event.outcome is Outcome.LOST, event.end_ns > event.start_ns
        text = f"{event.word}, {_took(event)}" if long else event.word
        if long:
            text += _ended(event, lost)
        drawn = "lost" if bad and not long else kind
        return Mark(event.start_ns, event.end_ns, drawn, event.word if labelled else "", text)

    return mark


_MARKS: Final[tuple[tuple[str, str, Callable[[Event], Mark]], ...]] = (
    # How the track's name ends, what its events are called, how they are drawn.
    ("operations", "operation", operation_mark),
    ("frames", "frame", frame_mark),
    ("acknowledged", "acknowledgement", acknowledged_mark),
    (": writes", "write", write_mark),
    (": syncs", "sync", sync_mark),
    (": names", "change of names", _simple("name", labelled=False)),
    ("connections", "event", _simple("note", labelled=True)),
    ("outages", "cut", _simple("outage", labelled=True)),
    ("activity", "activity", _simple("activity", labelled=True)),
    ("reports", "report", _simple("note", labelled=True)),
    ("power", "event", _simple("lost", labelled=True)),
)


def _drawn(what: str) -> tuple[str, Callable[[Event], Mark]]:
    for ending, noun, mark in _MARKS:
        if what.endswith(ending):
            return noun, mark
    return "incarnation", _simple("process", labelled=True)


def bucket_mark(bucket: Bucket, noun: str) -> Mark:
    plural = "changes of names" if noun == "change of names" else None
    what = count_of(bucket.count, noun, plural)
    numbers = f", numbers {bucket.first} to {bucket.last}" if noun == "operation" else ""
    size = f", {format_bytes(bucket.size_bytes)}" if bucket.size_bytes else ""
    text = f"{what}{numbers}{size} (summed up: the run has more than one page can show)"
    return Mark(bucket.start_ns, bucket.end_ns, "bucket", what, text, bucket.count)


# -- lanes -------------------------------------------------------------------------------


def _plan(timeline: Timeline) -> list[tuple[str, str, list[TrackKey]]]:
    """Name, group and tracks of each lane, in the order of the way of a write."""
    keys = sorted(timeline.tracks)

    def of(owner: str, *what: str) -> list[TrackKey]:
        return [TrackKey(owner, each) for each in what if TrackKey(owner, each) in timeline.tracks]

    def processes(owner: str) -> list[tuple[str, str, list[TrackKey]]]:
        found = [k for k in keys if k.owner == owner and k.what.startswith("process ")]
        return [(k.what, owner, [k]) for k in found]

    def disks(owner: str) -> list[tuple[str, str, list[TrackKey]]]:
        files: dict[str, list[TrackKey]] = {}
        for key in keys:
            disk, _, rest = key.what.partition(": ")
            if key.owner == owner and rest:
                files.setdefault(f"{rest.partition(':')[0]} (disk {disk})", []).append(key)
        ranks = ("protected", "spool", "journal", "checkpoint", "image", "staging", "elsewhere")
        order = sorted(files, key=lambda name: [not name.startswith(r) for r in ranks])
        return [(name, owner, files[name]) for name in order]

    lanes: list[tuple[str, str, list[TrackKey]]] = []
    for owner in ("source", "link", "replica"):
        if owner == "link":
            for direction in ("source->replica", "replica->source"):
                arrow = "link to the replica" if direction[0] == "s" else "link to the source"
                lanes.append((arrow, "link", of(direction, "outages", "frames", "connections")))
            continue
        lanes += processes(owner)
        if owner == "source":
            lanes.append(("operations captured", owner, of(owner, "operations")))
            lanes.append(("what the source does", owner, of(owner, "activity")))
            lanes.append(("acknowledged by the replica", owner, of(owner, "acknowledged")))
        else:
            lanes.append(("what the replica does", owner, of(owner, "activity")))
        lanes += disks(owner)
        lanes.append((f"the {owner} reports", owner, of(owner, "reports", "power")))
    return [lane for lane in lanes if lane[2]]


def fault_marks(faults: Iterable[FaultMark], end_ns: int) -> list[Mark]:
    """Each fault as it happened; one that never ended lasts to the end."""
    marks = []
    for fault in faults:
        start_ns = round(fault.start_seconds * SECOND_NS)
        stop_ns = end_ns if fault.end_seconds is None else round(fault.end_seconds * SECOND_NS)
        kind = spoken(fault.kind)
        name = kind if kind.startswith(fault.where) else f"{kind} of the {fault.where}"
        length = (stop_ns - start_ns) / SECOND_NS
        lasted = "for ever" if fault.end_seconds is None else f"for {format_duration(length)}"
        note = f", {fault.note}" if fault.note else ""
        text = f"{name}{note}" + (f", {lasted}" if length else "")
        marks.append(Mark(start_ns, stop_ns, "fault", name, text))
    return marks


def check_marks(checks: Iterable[Check]) -> list[Mark]:
    """Each judgement of an oracle: held or broken."""
    marks = []
    for check in checks:
        at_ns = round(check.at_seconds * SECOND_NS)
        outcome = "held" if check.holds else "BROKEN"
        text = f"{outcome}: {check.invariant} ({spoken(check.occasion)}): {check.detail}"
        kind = "held" if check.holds else "breach"
        label = "" if check.holds else f"BROKEN: {check.invariant}"
        marks.append(Mark(at_ns, at_ns, kind, label, text))
    return marks


def _numbers(event: Event, noun: str) -> bool:
    """Whether an event is of operations that it names by number."""
    return noun == "operation" or event.word == "BATCH"


def lanes_of(
    timeline: Timeline,
    result: RunResult,
    focus: Focus,
    budget: int = MARKS,
    concerned: Callable[[Event], bool] | None = None,
) -> list[Lane]:
    """All lanes with their marks.

    Arguments
    ---------
    focus: what is shown one by one before all else.
    budget: how many events may be shown one by one.
    concerned: says of an operation, or of the frame of a batch, whether a breach is about it.
    """
    end_ns = timeline.end_ns
    lanes = [
        Lane("faults", "run", fault_marks(result.faults, end_ns)),
        Lane("examinations", "run", check_marks(result.checks)),
    ]
    for lane in lanes:
        lane.events = lane.single = len(lane.marks)
    planned = _plan(timeline)
    keys = [key for _name, _group, tracks in planned for key in tracks]
    limits = shares([len(timeline.tracks[key]) for key in keys], budget)
    limit_of = dict(zip(keys, limits, strict=True))
    for name, group, tracks in planned:
        lane = Lane(name, group)
        for key in tracks:
            track = timeline.tracks[key]
            noun, mark = _drawn(key.what)
            single, buckets = thin(track, limit_of[key], focus, end_ns)
            lane.marks += [bucket_mark(bucket, noun) for bucket in buckets]
            for event in map(track.__getitem__, single):
                made = mark(event)
                if concerned is not None and _numbers(event, noun) and concerned(event):
                    made = replace(made, kind=f"{made.kind} concerned")
                lane.marks.append(made)
            lane.events += len(track)
            lane.single += len(single)
        lane.marks.sort(key=lambda m: (m.start_ns, -m.end_ns))
        lanes.append(lane)
    return lanes
