"""What led to a breach, as sentences with their times: the first thing a reader sees.

Each sentence is a fact of the record; nothing is guessed.  Which operations a check is about
stands in its own words (:mod:`simulator.judgement`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from simulator.measures import Check, FaultMark, RunResult, Verdict
from simulator.report.timeline_lanes import SECOND_NS, fault_marks
from simulator.report.words import VERDICT_TITLE, spoken
from simulator.timeline import Event, Outcome, Timeline
from simulator.timeline_disks import unsynced_at
from simulator.units import count_of, format_bytes, format_duration

_PROMISED: Final = re.compile(r"operation (\d+) of epoch (\d+) was acknowledged, (\d+) is there")
_CLAIMED: Final = re.compile(r"(?:replica claims|is not that after) operation (\d+) of epoch (\d+)")
_MIXED: Final = re.compile(
    r"(?P<newer>\S+) (?:has|is there|is gone)[^;]*? operation (?P<new>\d+)"
    r"(?: of epoch (?P<epoch>\d+))?"
    r"[^;]*? while (?P<older>\S+) [^;]*? lacks operation (?P<lack>\d+)"
)
"""The words of :mod:`simulator.counted_truth` on an image that is a mixture."""
_DURABLE: Final = "durable means durable"
_AS_IF: Final = frozenset({"in the course of the run", "end of run", "link_outage of link"})
"""Occasions at which a copy of the disks is examined as if the power had failed."""
_LEAST_VIEW_NS: Final = 20_000_000
_MOST_FAULTS: Final = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One sentence of the story."""

    at_ns: int
    text: str
    tone: str = ""
    """``bad`` for what should not be, ``fault`` for a fault."""


@dataclass(frozen=True, slots=True)
class Concerned:
    """The operations that a breach is about."""

    first: int
    last: int
    epoch: int
    """0 when the check does not say which."""

    def holds(self, event: Event) -> bool:
        right_epoch = not self.epoch or event.epoch == self.epoch
        return right_epoch and event.first <= self.last and event.last >= self.first


@dataclass(frozen=True, slots=True)
class Story:
    """What a page says first, and where it looks first."""

    headline: str
    steps: list[Step]
    view_ns: tuple[int, int]
    breach_ns: int | None
    concerned: Concerned | None


def concerned_by(check: Check) -> Concerned | None:
    """Which operations a broken check is about, if it says so."""
    if found := _PROMISED.search(check.detail):
        promised, epoch, there = int(found[1]), int(found[2]), int(found[3])
        return Concerned(there + 1, promised, epoch)
    if found := _MIXED.search(check.detail):
        return Concerned(int(found["lack"]), int(found["lack"]), int(found["epoch"] or 1))
    if found := _CLAIMED.search(check.detail):
        return Concerned(int(found[1]), int(found[1]), int(found[2]))
    return None


def first_breach(result: RunResult) -> Check | None:
    """The earliest check that does not hold; of several at one instant the most telling one."""
    broken = [check for check in result.checks if not check.holds]
    # A broken promise says more than a wrong image, and that more than a store that does not mount.
    rank = (_DURABLE, "prefix")

    def order(check: Check) -> tuple[float, int]:
        of = rank.index(check.invariant) if check.invariant in rank else len(rank)
        return check.at_seconds, of

    return min(broken, key=order, default=None)


def _ns(seconds: float) -> int:
    return round(seconds * SECOND_NS)


def tell(timeline: Timeline, result: RunResult) -> Story:
    """The story of a run."""
    whole = (0, max(1, timeline.end_ns))
    check = first_breach(result)
    faults = [
        Step(mark.start_ns, f"{mark.text[0].upper()}{mark.text[1:]}.", "fault")
        for mark in fault_marks(result.faults[:_MOST_FAULTS], timeline.end_ns)
    ]
    if len(result.faults) > _MOST_FAULTS:
        faults.append(Step(whole[1], f"And {len(result.faults) - _MOST_FAULTS} faults more."))
    if check is None:
        faults = sorted(faults + _power_losses(timeline), key=lambda step: step.at_ns)
        title = f"{VERDICT_TITLE[result.verdict]}: "
        title += f"{count_of(len(result.checks), 'check')}, all held"
        end = [Step(timeline.end_ns, reason, "bad") for reason in result.reasons[:8]]
        view = whole if result.verdict is Verdict.PASS else _around(faults, whole)
        lost = [_ns(f.start_seconds) for f in result.faults if _is_final(f)]
        if lost and result.recovery is not None:
            total = result.recovery.total
            what = "loss" if result.written_afterwards is None else "order"
            text = f"Clients are at work on the replica, {format_duration(total)} after the {what}."
            end.append(Step(lost[0] + _ns(total), text))
            # Of a failover most is waiting: what led to it is shown first.
            if what == "loss":
                view = (0, min(whole[1], lost[0] + max(lost[0] // 8, _LEAST_VIEW_NS)))
        return Story(title, faults + end, view, None, None)
    at_ns = _ns(check.at_seconds)
    concerned = concerned_by(check)
    if concerned is None and check.invariant == _DURABLE:
        concerned = _last_promise(timeline, at_ns)
    steps = list(_before(timeline, result, check, concerned))
    steps += _how_it_was_mixed(timeline, check, at_ns)
    if check.occasion in _AS_IF or check.occasion.endswith("then its power fails"):
        unsynced = unsynced_at(timeline, "replica", at_ns) or "nothing that was written to files"
        steps.append(Step(at_ns, f"Not synced on the replica at that moment: {unsynced}."))
    steps.append(Step(at_ns, f"{_occasion(check)}: {check.detail}.", "bad"))
    more = sum(not c.holds for c in result.checks) - 1
    if more:
        steps.append(Step(at_ns, f"Then or later {count_of(more, 'check')} more did not hold."))
    steps.sort(key=lambda step: step.at_ns)
    start_ns = min(step.at_ns for step in steps if step.at_ns <= at_ns)
    return Story(
        f"Broken: {check.invariant}. {_plain(check, concerned)}",
        steps,
        _padded(start_ns, at_ns, whole[1]),
        at_ns,
        concerned,
    )


def _is_final(fault: FaultMark) -> bool:
    return (fault.kind == "loss" and fault.where == "source") or fault.kind == "failover"


def _power_losses(timeline: Timeline) -> list[Step]:
    """What each of the first power losses found unsynced."""
    return [
        Step(event.start_ns, f"{machine.capitalize()}: {event.word}.", "fault")
        for machine in ("source", "replica")
        for event in islice(timeline.events(machine, "power"), _MOST_FAULTS // 2)
        if event.word.startswith("power lost")
    ]


def _last_promise(timeline: Timeline, at_ns: int) -> Concerned | None:
    """The newest operation that the source had been told is durable."""
    told = [e for e in timeline.events("source", "acknowledged") if e.start_ns <= at_ns]
    newest = max(told, key=lambda e: (e.epoch, e.first), default=None)
    if newest is None or not newest.first:
        return None
    return Concerned(newest.first, newest.first, newest.epoch)


def _occasion(check: Check) -> str:
    """How the breach was found."""
    if check.occasion in _AS_IF:
        return (
            f"Examination ({spoken(check.occasion)}) of a copy of the replica's disks, as if its "
            "power failed at this instant"
        )
    return f"Examination after {spoken(check.occasion)}"


def _plain(check: Check, concerned: Concerned | None) -> str:
    if concerned is not None and check.invariant == _DURABLE:
        if concerned_by(check) is None:
            return (
                f"The replica had promised all up to operation {concerned.last}; now it calls "
                f"its copy damaged: {check.detail}."
            )
        lost = count_of(concerned.last - concerned.first + 1, "operation")
        return (
            f"The replica had promised operation {concerned.last}; it has only "
            f"{concerned.first - 1}: {lost} lost."
        )
    return f"{check.detail[:1].upper()}{check.detail[1:]}."


def _around(steps: list[Step], whole: tuple[int, int]) -> tuple[int, int]:
    return _padded(steps[-1].at_ns, whole[1], whole[1]) if steps else whole


def _padded(start_ns: int, end_ns: int, limit_ns: int) -> tuple[int, int]:
    pad_ns = max((end_ns - start_ns) // 6, _LEAST_VIEW_NS // 2)
    return max(0, start_ns - pad_ns), max(1, min(limit_ns, end_ns + pad_ns))


def _before(
    timeline: Timeline, result: RunResult, check: Check, concerned: Concerned | None
) -> Iterator[Step]:
    """What came before the breach, and belongs to it."""
    at_ns = _ns(check.at_seconds)
    good = [c for c in result.checks if c.holds and c.invariant == check.invariant]
    held = [c for c in good if c.at_seconds < check.at_seconds]
    since_ns = _ns(max((c.at_seconds for c in held), default=0.0))
    if concerned is not None:
        if check.invariant == _DURABLE:
            yield from _promise(timeline, concerned, at_ns)
        elif not _MIXED.search(check.detail):  # of such an image more is told
            yield from _captured(timeline, concerned, at_ns)
    if concerned is None or check.invariant != _DURABLE:
        if held:
            last = max(held, key=lambda c: c.at_seconds)
            yield Step(since_ns, f"{check.invariant} held for the last time: {last.detail}.")
        started = [f for f in result.faults if since_ns <= _ns(f.start_seconds) <= at_ns]
    else:
        started = [f for f in result.faults if _ns(f.start_seconds) <= at_ns][-1:]
    for mark in fault_marks(started[-_MOST_FAULTS:], timeline.end_ns):
        yield Step(mark.start_ns, f"{mark.text[0].upper()}{mark.text[1:]}.", "fault")
    lost_power = [e for e in timeline.events("replica", "power") if since_ns <= e.start_ns <= at_ns]
    for event in lost_power[-1:]:
        yield Step(event.start_ns, f"Replica: {event.word}.", "fault")


def _captured(timeline: Timeline, concerned: Concerned, at_ns: int) -> Iterator[Step]:
    captured = [
        e
        for e in timeline.events("source", "operations")
        if concerned.holds(e) and e.start_ns <= at_ns
    ]
    if not captured:
        return
    one = concerned.first == concerned.last
    what = (
        f"operation {concerned.first} ({captured[0].word})"
        if one
        else f"operations {concerned.first} to {concerned.last}"
    )
    size = sum(e.size_bytes for e in captured)
    text = f"The source's programs did {what}, {format_bytes(size)}; captured."
    yield Step(captured[0].start_ns, text)


def _how_it_was_mixed(timeline: Timeline, check: Check, at_ns: int) -> Iterator[Step]:
    """When the two operations were done at the source, and when their files came to the copy."""
    found = _MIXED.search(check.detail)
    if found is None:
        return
    epoch = int(found["epoch"] or 1)
    for number, path, missing in (
        (int(found["lack"]), found["older"], True),
        (int(found["new"]), found["newer"], False),
    ):
        for event in timeline.events("source", "operations"):
            if (event.epoch, event.first) == (epoch, number):
                said = "which the image lacks" if missing else "which the image has"
                text = f"Source: operation {number} ({event.word}), {said}."
                yield Step(event.start_ns, text, "bad" if missing else "")
        yield from _arrivals(timeline, path, at_ns)
    passes = [
        e
        for e in timeline.events("source", "activity")
        if e.start_ns <= at_ns <= e.end_ns and e.word.startswith("pass")
    ]
    for event in passes[-1:]:
        text = f"The copier was in its {event.word}: {_still_to_come(event, at_ns)}."
        yield Step(event.start_ns, text)


def _still_to_come(event: Event, at_ns: int) -> str:
    left = (event.end_ns - at_ns) / SECOND_NS
    return f"it ended {format_duration(left)} after the examination"


def _arrivals(timeline: Timeline, path: str, at_ns: int) -> Iterator[Step]:
    """When the copy of a file was changed last before an instant."""
    changes = [
        event
        for name in ("data: image: writes", "data: image: names")
        for event in timeline.events("replica", name)
        if event.start_ns <= at_ns and re.search(rf"{re.escape(path)}(?:\s|$)", event.word)
    ]
    last = max(changes, key=lambda event: event.start_ns, default=None)
    if last is None:
        yield Step(at_ns, f"The replica had not been given any of {path}.", "bad")
    else:
        yield Step(last.start_ns, f"Replica: {last.word}, its last change of {path} before that.")


def _promise(timeline: Timeline, concerned: Concerned, at_ns: int) -> Iterator[Step]:
    """How a promise came about that was not kept."""
    acknowledged = [e for e in timeline.events("source", "acknowledged") if e.start_ns <= at_ns]
    told = next(
        (e for e in acknowledged if (e.epoch, e.first) == (concerned.epoch, concerned.last)), None
    )
    yield from _captured(timeline, concerned, at_ns)
    if told is None:
        return
    batches = [
        e
        for e in timeline.events("source->replica", "frames")
        if e.word == "BATCH"
        and concerned.holds(e)
        and e.outcome is Outcome.DONE
        and e.end_ns <= told.start_ns
    ]
    promise = next(
        e
        for e in timeline.events("replica->source", "frames")
        if e.word == "ACKNOWLEDGE" and e.end_ns == told.start_ns and e.first == told.first
    )
    if batches:
        came_ns = max(e.end_ns for e in batches)
        text = f"Received by the replica in {count_of(len(batches), 'BATCH frame')}."
        yield Step(came_ns, text)
        yield _syncs_between(timeline, came_ns, promise.start_ns)
    yield Step(
        promise.start_ns,
        f"The replica promised: durable up to operation {promise.first}. "
        f"The source had that at {told.start_ns / SECOND_NS:.6f} s.",
    )


def _syncs_between(timeline: Timeline, came_ns: int, promised_ns: int) -> Step:
    """Whether the journal was synced between the last batch and the promise."""
    names = [k.what for k in timeline.tracks if k.owner == "replica" and "journal: sync" in k.what]
    covering = [
        event
        for name in names
        for event in timeline.events("replica", name)
        if came_ns <= event.start_ns
        and event.end_ns <= promised_ns
        and event.last
        and event.outcome is Outcome.DONE
    ]
    if covering:
        text = f"The journal was synced {count_of(len(covering), 'time')} before the promise."
        return Step(covering[-1].end_ns, text)
    text = (
        "Between their arrival and the promise that follows no sync of the journal began and "
        "ended: what was promised was in the replica's cache only."
    )
    return Step(promised_ns, text, "bad")
