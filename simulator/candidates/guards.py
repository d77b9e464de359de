"""Keeps a candidate's code from standing in the way of simulated time.

``time.sleep`` inside a run would stop the bench, and pass no simulated time; it is refused with a
sentence, wherever the candidate took the function from.  A candidate that computes for ever, or
goes on for ever without waiting, is found by a timer of real time.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from simulator.candidates.failure import CandidateFailed

TICK_SECONDS: Final = 5.0
PATIENCE_TICKS: Final = 12
"""So many ticks without progress of simulated time are one too many."""

_real_sleep: Final = time.sleep
_inside: list[int] = []
"""The thread in which a run of a candidate is underway, if there is one."""


def _sleep(seconds: Any, /) -> None:
    if threading.get_ident() in _inside:
        raise RuntimeError(
            f"time.sleep({seconds!r}) would block the whole simulation: await asyncio.sleep or "
            "sleep_ns instead"
        )
    _real_sleep(seconds)


def install() -> None:
    """Put the guard in place of ``time.sleep``: before a candidate's module is imported."""
    time.sleep = _sleep


@contextmanager
def watched(now: Callable[[], int]) -> Iterator[None]:
    """Around a run: refuses to block, and ends a run whose simulated time stands still.

    Arguments
    ---------
    now: simulated time.

    Raises CandidateFailed, with the line that was being carried out.
    """
    install()
    _inside.append(threading.get_ident())
    try:
        if threading.current_thread() is threading.main_thread():
            with _timer(now):
                yield
        else:
            yield
    finally:
        _inside.pop()


@contextmanager
def outside() -> Iterator[None]:
    """Around what the bench itself does in real time while a run is underway."""
    before = list(_inside)
    _inside.clear()
    try:
        yield
    finally:
        _inside[:] = before


@contextmanager
def _timer(now: Callable[[], int]) -> Iterator[None]:
    last, still = now(), 0

    def tick(_number: int, frame: FrameType | None) -> None:
        nonlocal last, still
        still = still + 1 if _inside and now() == last else 0  # outside, time may stand still
        last = now()
        if still >= PATIENCE_TICKS:
            path = None if frame is None else frame.f_code.co_filename
            raise CandidateFailed(
                f"simulated time stands still at {last / 1e9:.3f} s, after "
                f"{TICK_SECONDS * PATIENCE_TICKS:.0f} s of computing: the candidate goes on "
                "without waiting for anything",
                path=path,
                line=None if frame is None else frame.f_lineno,
                remedy="Let each loop of the candidate await something that takes time.",
            )

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
