"""The log of a process: its events as lines on standard error, with wall time.

Text for people, ``2026-11-20T22:51:56.123Z warning source: disconnected: ...``, or JSON lines
with the keys ``time``, ``level``, ``process``, ``event``, ``text`` and ``values``.  The same
line is written three times a minute at most.  What is said, and how loud, is decided in
:mod:`replicator.event_words`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from replicator.command_line import printable
from replicator.config_model import LogTable
from replicator.event_words import LEVELS, Values, say

MOST_A_MINUTE: Final = 3
_MINUTE_S: Final = 60.0
_REMEMBERED: Final = 256


class EventLog:
    """Writes events; :meth:`emit` is what a runtime wants.

    Arguments
    ---------
    process: its name in each line.
    options: level and format.
    """

    def __init__(self, process: str, options: LogTable) -> None:
        self._process = process
        self._lately: dict[str, list[float]] = {}
        self._least = LEVELS.index(options.level)
        self._json = options.format == "json"

    def _said_too_often(self, text: str) -> bool:
        """Whether the same was said :data:`MOST_A_MINUTE` times within the last minute.

        What repeats is an attempt that fails again and again: the status has it, too.
        """
        now = monotonic()
        times = [each for each in self._lately.pop(text, []) if now - each < _MINUTE_S]
        often = len(times) >= MOST_A_MINUTE
        self._lately[text] = times if often else [*times, now]
        while len(self._lately) > _REMEMBERED:
            del self._lately[next(iter(self._lately))]
        return often

    def emit(self, event: str, values: Values) -> None:
        """One line, or none; a standard error that takes nothing changes nothing."""
        said = say(event, values)
        if said is None or LEVELS.index(said.level) < self._least:
            return
        if self._said_too_often(said.text):
            return
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if self._json:
            line = json.dumps(
                {
                    "time": time,
                    "level": said.level,
                    "process": self._process,
                    "event": event,
                    "text": said.text,
                    "values": list(values),
                }
            )
        else:
            text = " ".join(printable(said.text).split("\n"))
            line = f"{time} {said.level} {self._process}: {text}"
        if sys.stderr is None:
            return
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return
