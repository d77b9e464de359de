"""What a running replicator says of its events: changes of state, in words, each with a level.

Coroutines report with ``runtime.emit``.  Most of that is for the bench and its oracles; what an
operator reads stands in this table and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from replicator.units import format_bytes, format_ns

Values = tuple[int | str, ...]
DEBUG, INFO, WARNING = "debug", "info", "warning"
LEVELS: Final = (DEBUG, INFO, WARNING)


class Said(NamedTuple):
    """One line of the log."""

    level: str
    text: str


def _state(values: Values) -> Said:
    state, cause = str(values[0]), str(values[1])
    level = WARNING if state in ("disconnected", "fenced") else INFO
    if state == "connecting":
        level = DEBUG
    return Said(level, f"{state}: {cause}" if cause else state)


def _cause_or_over(what: str, over: str) -> Callable[[Values], Said]:
    def words(values: Values) -> Said:
        cause = str(values[0])
        return Said(WARNING, f"{what}: {cause}") if cause else Said(INFO, over)

    return words


def _line(level: str, pattern: str) -> Callable[[Values], Said]:
    return lambda values: Said(level, pattern.format(*values))


_PROMOTION: Final = {
    "begin": "taking over",
    "done": "promoted: no source is listened to",
    "old": "a takeover was wished before the machine's present start: it is not obeyed",
    "refused": "asked to take over, and refused: no image has ever been completed",
}

_WORDS: Final[Mapping[str, Callable[[Values], Said]]] = {
    "started": _line(INFO, "{0} of {1!r} started, process {2}, release {3}"),
    "ended": _line(INFO, "ended: {0}"),
    "stopping": lambda v: Said(INFO, f"asked to stop; draining for at most {format_ns(int(v[0]))}"),
    "left_behind": _line(WARNING, "a call hangs and was left behind: {0}"),
    "start_not_counted": _line(WARNING, "this start is not counted: {0}"),
    # the source
    "source_state": _state,
    "fence_not_kept": _line(
        WARNING, "that the replica has taken over cannot be kept for the programs here: {0}"
    ),
    "fence_kept": _line(WARNING, "this source is closed, to its programs as well: {0}"),
    "epoch": _line(INFO, "epoch {0} begins"),
    "epoch_reason": _line(INFO, "a new epoch is needed: {0}"),
    "continue": _line(INFO, "epoch {0} goes on after operation {1}"),
    "capture_stopped": _line(WARNING, "capture stopped: {0}"),
    "caretaker": lambda v: Said(
        DEBUG, "no program captures" if v[0] == "begin" else "a program captures"
    ),
    "caretaker_stalled": _line(WARNING, "the history cannot be kept: {0}"),
    "history_stalled": _line(WARNING, "no new epoch can begin: {0}"),
    "set_not_noted": _line(
        WARNING, "that the set has files cannot be noted, it is tried again: {0}"
    ),
    "set_not_locked": _line(
        WARNING, "the set's directory cannot be locked against other spools: {0}"
    ),
    "writer_held": lambda v: Said(WARNING, f"a write of {format_bytes(int(v[0]))} waits for room"),
    "writer_released": lambda v: Said(INFO, f"writes go on after {format_ns(int(v[0]))}"),
    "synchronized": _line(INFO, "the replica is synchronized: epoch {0}"),
    "image_sent": _line(DEBUG, "{0} blocks were sent; fence at operation {1}"),
    "replica_damage": _line(WARNING, "the replica reports damage: {0}"),
    "replica_went_back": _line(WARNING, "the replica went back from operation {0} to {1}"),
    "replica_stalled": _cause_or_over("the replica stands still", "the replica applies again"),
    # the replica
    "tail_erased": _line(INFO, "what had been cut off at the end of the {0} is erased"),
    "rot_passed_over": _line(
        WARNING, "the journal is damaged where nothing of it is needed any more: {0}: {1}"
    ),
    "checkpoint_fallback": _line(
        WARNING, "one copy of the checkpoint is damaged, the other is used"
    ),
    "recovered": _line(INFO, "recovered to operation {1} of epoch {0}"),
    "session_begin": _line(INFO, "a source is connected"),
    "session_end": lambda v: Said(WARNING, f"the connection ended: {v[0] or 'no reason given'}"),
    "turned_away": _line(WARNING, "{0}"),
    "not_accepted": _cause_or_over("no connection can be taken", "connections are taken again"),
    "stalled": _cause_or_over("apply stands still", "apply goes on"),
    "damage": _line(WARNING, "damage: {0}"),
    "repaired": _line(INFO, "the damage is repaired from the source"),
    "verified": _line(INFO, "the image was compared with the source's and does not differ"),
    "promotion": lambda v: Said(WARNING, _PROMOTION[str(v[0])]),
}


def say(event: str, values: Values) -> Said | None:
    """The line for an event; None for what operators need not hear."""
    words = _WORDS.get(event)
    return None if words is None else words(values)
