"""The status of a replicator, and what a promotion did, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from replicator.image_age import SeenAge, seen_age
from replicator.status_view import Condition, ProcessView, SpoolView, StatusView
from replicator.units import format_bytes, format_ns


@dataclass(frozen=True, slots=True)
class ImageFound:
    """The image that a promotion is about."""

    image: str
    set_id: str
    epoch: int
    operation: int
    as_of_wall_ns: int
    age: SeenAge | None
    """None while it is not known."""
    damage: str
    unverified: str
    promoted: bool


def wall_time(wall_ns: int) -> str:
    """``2026-11-20 22:51:56 UTC``."""
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def status_lines(view: StatusView) -> Iterator[str]:
    """What ``replicator status`` prints."""
    yield f"set         {view.set!r} at {wall_time(view.checked_wall_ns)}"
    if view.source is not None:
        yield from _end("source", view.source, view.checked_wall_ns)
        yield from _source_lines(view.source)
        if view.program is not None:
            yield from _end("program", view.program, view.checked_wall_ns)
            yield from _state_line(view.program, view.checked_wall_ns)
        if view.spool is not None:
            yield from _spool_lines(view.spool, view.source)
    if view.replica is not None:
        yield from _end("replica", view.replica, view.checked_wall_ns)
        yield from _replica_lines(view.replica, view.checked_wall_ns)
    attention = view.attention()
    for text in attention:
        yield f"attention   {text}"
    if not attention:
        yield "attention   nothing"


def _end(name: str, view: ProcessView, now_wall_ns: int) -> Iterator[str]:
    words = [str(view.condition)]
    if view.pid is not None:
        words.append(f"process {view.pid}")
    if view.started_wall_ns is not None:
        words.append(f"for {format_ns(max(0, now_wall_ns - view.started_wall_ns))}")
    line = f"{name:<11} {', '.join(words)}"
    if view.as_of_wall_ns is not None:
        age = "before the machine was restarted"
        if view.age_ns is not None:
            age = f"{format_ns(view.age_ns)} ago"
        line += f"; last report {wall_time(view.as_of_wall_ns)}, {age}"
    yield line
    if view.condition == Condition.DOWN:
        yield f"  ended     {view.ended or 'without a word: it was killed, or the machine stopped'}"
    yield from _state_line(view, now_wall_ns) if name != "program" else ()


def _state_line(view: ProcessView, now_wall_ns: int) -> Iterator[str]:
    known = view.last_known
    if known is None:
        return
    cause = f": {known['cause']}" if known["cause"] else ""
    if view.status is None:
        yield f"  state     unknown; it was {known['state']}{cause}"
        return
    since = ""
    if view.since_wall_ns is not None:
        since = f" for {format_ns(max(0, now_wall_ns - view.since_wall_ns))}"
    yield f"  state     {known['state']}{since}{cause}"


def _source_lines(view: ProcessView) -> Iterator[str]:
    known, status = view.last_known, view.status
    if known is None:
        return
    stalled = (
        f", which stands still: {known['replica_stalled']}" if known["replica_stalled"] else ""
    )
    yield f"  replica   {known['replica_address']}{stalled}"
    if status is None or status["lag_operations"] is None:
        last = ""
        if known["lag_operations"] is not None:
            last = f"; at the last report {_lag(known)}"
        yield f"  lag       unknown{last}"
    else:
        yield f"  lag       {_lag(status)}"


def _lag(status: dict[str, Any]) -> str:
    age = "of unknown age" if status["lag_ns"] is None else format_ns(status["lag_ns"])
    return (
        f"{age}, {status['lag_operations']:,} operations, {format_bytes(status['lag_bytes'])} "
        "not durable at the replica"
    )


def _spool_lines(spool: SpoolView, source: ProcessView) -> Iterator[str]:
    used = 100 * spool.used_bytes / spool.limit_bytes
    line = (
        f"  spool     {format_bytes(spool.waiting_bytes)} waiting, "
        f"{format_bytes(spool.used_bytes)} of {format_bytes(spool.limit_bytes)} on disk "
        f"({used:.0f} %)"
    )
    status = source.status
    if status is not None and status["spool_full_in_ns"] is not None:
        line += f"; full in {format_ns(status['spool_full_in_ns'])} at the present rate"
    yield line
    if spool.capturing:
        keeper = ""
        if status is not None:
            keeper = ", no program" if status["caretaker"] else ", by a program"
        yield f"  capture   epoch {spool.epoch}, {spool.completed:,} operations{keeper}"
    else:
        yield f"  capture   stopped: {spool.capture_stopped}"


def _replica_lines(view: ProcessView, now_wall_ns: int) -> Iterator[str]:
    known, status = view.last_known, view.status
    if known is None:
        return
    yield f"  image     {known['image']}, operation {known['applied']:,} of epoch {known['epoch']}"
    age = seen_age(known, view.as_of_wall_ns, view.age_ns, now_wall_ns)
    if age is None:
        yield f"  as of     {_without_time(known['epoch'])}"
    else:
        time = wall_time(known["as_of_wall_ns"])
        yield f"  as of     {time}, {_ago(age)}"
    if status is not None:
        yield f"  source    {_source_heard(status)}"
    if known.get("refused"):
        yield f"  refused   {known['refused']}"
    if known["damage"]:
        yield f"  damage    {known['damage']}"
    if known.get("unverified"):
        yield f"  verified  no: {known['unverified']}"
    yield (
        f"  journal   {format_bytes(known['journal_used_bytes'])} of "
        f"{format_bytes(known['journal_limit_bytes'])}"
    )


def _ago(age: SeenAge) -> str:
    least = "at least " if age.at_least else ""
    words = f"{least}{format_ns(age.age_ns)} ago by this machine's clock"
    if age.at_least:
        words += ", which was set back since"
    if age.differ_ns:
        words += f"; the clocks differ by about {format_ns(age.differ_ns)}"
    return words


def _without_time(epoch: int, damage: str = "") -> str:
    if epoch or damage:
        return "unknown: there is an image, and nothing here says of when"
    return "never: no image has been completed yet"


def _source_heard(status: dict[str, Any]) -> str:
    if status["silent_ns"] is None:
        return "never heard"
    heard = f"heard {format_ns(status['silent_ns'])} ago"
    if status["connected"] and status["behind_operations"] is not None:
        return f"{heard}; it was {status['behind_operations']:,} operations ahead of the image"
    return heard


# -- promotion -------------------------------------------------------------------------


def question_lines(found: ImageFound) -> Iterator[str]:
    """What is shown before the operator is asked."""
    yield f"The replica of {found.set_id!r} is about to take over.  The source's history ends."
    yield from _image_lines(found)
    yield "Make sure that no program writes to the old source any more."


def promotion_lines(found: ImageFound) -> Iterator[str]:
    """What is shown when it is done."""
    yield f"promoted    {found.set_id!r}: no source is listened to any more"
    yield from _image_lines(found)


def _image_lines(found: ImageFound) -> Iterator[str]:
    yield f"image       {found.image}"
    place = f"operation {found.operation:,} of epoch {found.epoch}"
    if found.age is not None:
        yield f"as of       {wall_time(found.as_of_wall_ns)} ({place}), {_ago(found.age)}"
    else:
        where = f" ({place})" if found.epoch else ""
        yield f"as of       {_without_time(found.epoch, found.damage)}{where}"
    if found.damage:
        yield f"damage      {found.damage}"
    if found.unverified:
        yield f"verified    no: {found.unverified}"
