"""Processes that a command has left running, found by a mark in their environment, and ended.

A command that has ended may have started others: in its own group, which the kernel knows, or in
a session of their own (``setsid``, a daemon), which nobody but ``/proc`` knows.  What goes on
writing after a pass would change directories of which the bench believes that they stand still,
and stay on the machine when the bench is gone.

Leaves out: processes that clear their environment or change their user, and systems without
``/proc``, where only a process group can be ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAME: Final = "SIMULATOR_CANDIDATE"
_PROCESSES: Final = Path("/proc")
_MOST_ROUNDS: Final = 200
"""Of looking for more: whoever starts processes faster than they are ended wins."""
_ROUND_SECONDS: Final = 0.005


def marked(environment: Mapping[str, str], mark: str) -> dict[str, str]:
    """An environment whose processes :func:`end_all` finds again.

    Arguments
    ---------
    environment: what they are to have besides.
    mark: no other command's, for instance the path of a directory of its own.
    """
    return {**environment, _NAME: mark}


def end_all(mark: str) -> int:
    """Kill all processes with this mark, and wait until they are gone; returns how many there were.

    The calling process is spared.
    """
    ended: set[int] = set()
    for _round in range(_MOST_ROUNDS):
        found = set(_with(mark))
        if not found:
            break
        # Stopped first: a shell whose command is killed goes on with the next one.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in found:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
        ended |= found
        time.sleep(_ROUND_SECONDS)
    return len(ended)


def _with(mark: str) -> Iterator[int]:
    wanted = os.fsencode(f"{_NAME}={mark}")
    own = os.getpid()
    try:
        names = os.listdir(_PROCESSES)
    except OSError:
        return
    for name in names:
        if not name.isdecimal() or int(name) == own:
            continue
        try:
            environment = (_PROCESSES / name / "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or somebody else's
        if wanted in environment.split(b"\0"):
            yield int(name)
