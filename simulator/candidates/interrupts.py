"""Tells Ctrl-C, which ends the bench, from a KeyboardInterrupt that a candidate raises itself.

A command may answer SIGTERM by the same exception.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_real_signal: Final = signal.signal
_came: list[int] = []
"""The signals since the outermost :func:`noted` began."""
_depth: list[int] = []


@contextmanager
def noted() -> Iterator[None]:
    """Inside, :func:`came` knows whether the user has ended the bench."""
    if _depth or threading.current_thread() is not threading.main_thread():
        yield  # it is noted already; or nothing is raised here because of a signal
        return
    _came.clear()
    _depth.append(1)
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, act in before.items():
        if callable(act):
            _real_signal(number, partial(_note, act))
    try:
        yield
    finally:
        for number, act in before.items():
            if callable(act):
                _real_signal(number, act)
        _depth.clear()


def _note(act: Callable[[int, FrameType | None], object], number: int, frame: Any) -> None:
    _came.append(number)
    act(number, frame)


def came() -> bool:
    """Whether the user has ended the bench."""
    return bool(_came)
