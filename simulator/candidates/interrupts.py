"""Tells Ctrl-C, which ends the bench, from a KeyboardInterrupt that a candidate raises itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_real_signal: Final = signal.signal
_came: list[int] = []
"""The signals since the outermost :func:`noted` began."""


@contextmanager
def noted() -> Iterator[None]:
    """Inside, :func:`came` knows whether somebody has pressed Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield  # nobody raises anything here because of a signal
        return
    act = before
    nested = getattr(before, "notes_interrupts", False)

    def note(number: int, frame: FrameType | None) -> None:
        _came.append(number)
        act(number, frame)

    note.notes_interrupts = True  # type: ignore[attr-defined]
    if not nested:
        _came.clear()
        _real_signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if not nested:
            _real_signal(signal.SIGINT, before)


def came() -> bool:
    """Whether the user has ended the bench."""
    return bool(_came)
