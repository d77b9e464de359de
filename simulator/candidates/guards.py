"""Keeps a candidate's code from standing in the way of simulated time.

``time.sleep`` inside a run would stop the bench, and pass no simulated time; it is refused with a
sentence, wherever the candidate took the function from.  So is what leads out of the simulated
world, and would make a run depend on the machine that it runs on: sockets, processes and threads
of this machine, and signal handlers, which would also take the bench's own away.  What would end
the bench at once (``os._exit``, ``os.abort``, signals to itself, another program in its place) is
refused as well, also while a candidate's module is imported.  The clocks of
``time`` show the simulated machine's time while a step of an asyncio program is carried out.  A
candidate that computes for ever, or goes on for ever without waiting, is found by a timer of real
time.

Left out: real files (``open``), ``datetime.now``, random numbers without a seed, and clocks whose
functions a module took before the first candidate was loaded.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Protocol

from simulator.candidates import interrupts
from simulator.candidates.failure import CandidateFailed, as_failure, is_foreign, is_of_the_user

TICK_SECONDS: Final = 5.0
PATIENCE_TICKS: Final = 12
"""So many ticks without progress of simulated time are one too many."""

_LEADS_OUT: Final = {
    "socket.__new__": "a socket of this machine",
    "subprocess.Popen": "a process of this machine",
    "os.fork": "a process of this machine",
    "os.forkpty": "a process of this machine",
    "os.posix_spawn": "a process of this machine",
    "os.system": "a process of this machine",
}
"""Python's audit events, and what they stand for."""
_ENDS_THE_BENCH: Final = {
    "os.exec": "another program in place of the bench",
    "os.kill": "a signal to a process of this machine",
    "os.killpg": "a signal to processes of this machine",
    "signal.pthread_kill": "a signal to the bench",
}
"""Those that nobody may do before a run either."""

_real_sleep: Final = time.sleep
_real_signal: Final = signal.signal
_real_start: Final = threading.Thread.start
_real_timer: Final = signal.setitimer
_inside: list[int] = []
"""The thread in which a run of a candidate is underway, if there is one."""
_importing: list[int] = []
"""The thread in which a candidate's module is being imported, if one is."""
_hooked: list[bool] = []
"""Whether Python calls :func:`_audit`; it cannot be told to stop."""


class _Clock(Protocol):
    def now_ns(self) -> int: ...

    def wall_ns(self) -> int: ...


_clocks: list[_Clock] = []
"""The machine whose program is at a step, if one is."""


def _is_inside() -> bool:
    return bool(_inside) and threading.get_ident() in _inside


def _refuse_if_inside(what: str, instead: str) -> None:
    if _is_inside():
        raise RuntimeError(
            f"{what} is not part of the simulated world: {instead}; see docs/candidates.md"
        )


def _sleep(seconds: Any, /) -> None:
    if _is_inside():
        raise RuntimeError(
            f"time.sleep({seconds!r}) would block the whole simulation: await asyncio.sleep or "
            "sleep_ns instead"
        )
    _real_sleep(seconds)


def _signal(number: Any, handler: Any) -> Any:
    _refuse_if_inside("a signal handler", "the faults of the scenario end and stop processes")
    return _real_signal(number, handler)


def _start(self: threading.Thread) -> None:
    _refuse_if_inside("a thread", "start a task, or call asyncio.to_thread, which is inline")
    _real_start(self)


def _refuse_if_theirs(what: str, instead: str) -> None:
    if threading.get_ident() in _importing:
        raise RuntimeError(f"{what} is not what the import of a candidate may do: {instead}")
    _refuse_if_inside(what, instead)


def _refusing(real: Callable[..., Any], what: str, instead: str) -> Callable[..., Any]:
    """A function that would end the bench, or its patience, where a candidate calls it."""

    @functools.wraps(real)
    def call(*arguments: Any) -> Any:
        _refuse_if_theirs(what, instead)
        return real(*arguments)

    return call


def _audit(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in _ENDS_THE_BENCH:
        _refuse_if_theirs(_ENDS_THE_BENCH[event], _RETURN)
    if event in _LEADS_OUT:
        _refuse_if_inside(
            _LEADS_OUT[event], "use asyncio's streams, or connections and files of the bench"
        )


def _told_by(real: Callable[[], Any], simulated: Callable[[_Clock], Any]) -> Callable[[], Any]:
    """A function of ``time`` that shows the simulated machine's clock to its programs."""

    def now() -> Any:
        return simulated(_clocks[-1]) if _clocks and _is_inside() else real()

    return now


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "sleep": _sleep,
    "time": _told_by(time.time, lambda clock: clock.wall_ns() / 1e9),
    "time_ns": _told_by(time.time_ns, lambda clock: clock.wall_ns()),
    "monotonic": _told_by(time.monotonic, lambda clock: clock.now_ns() / 1e9),
    "monotonic_ns": _told_by(time.monotonic_ns, lambda clock: clock.now_ns()),
    "perf_counter": _told_by(time.perf_counter, lambda clock: clock.now_ns() / 1e9),
    "perf_counter_ns": _told_by(time.perf_counter_ns, lambda clock: clock.now_ns()),
}


_RETURN: Final = "let the coroutine return, or raise an exception"
_ENDINGS: Final[tuple[tuple[Any, str, Callable[..., Any]], ...]] = (
    (os, "_exit", _refusing(os._exit, "the end of the bench (os._exit)", _RETURN)),
    (os, "abort", _refusing(os.abort, "the end of the bench (os.abort)", _RETURN)),
    (signal, "raise_signal", _refusing(signal.raise_signal, "a signal to the bench", _RETURN)),
    (signal, "alarm", _refusing(signal.alarm, "a timer of this machine", "await asyncio.sleep")),
    (
        signal,
        "setitimer",
        _refusing(signal.setitimer, "a timer of this machine", "await asyncio.sleep"),
    ),
)


def install() -> None:
    """Put the guards in their places: before a candidate's module is imported."""
    for name, function in _FUNCTIONS.items():
        setattr(time, name, function)
    for module, name, function in _ENDINGS:
        setattr(module, name, function)
    signal.signal = _signal  # type: ignore[assignment]
    threading.Thread.start = _start  # type: ignore[method-assign]
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_audit)


@contextmanager
def clock_of(clock: _Clock) -> Iterator[None]:
    """Around a step of a program: ``time`` shows this machine's clocks."""
    _clocks.append(clock)
    try:
        yield
    finally:
        _clocks.pop()


@contextmanager
def importing() -> Iterator[None]:
    """Around the import of a candidate's module, which must not end the bench."""
    install()
    _importing.append(threading.get_ident())
    try:
        with interrupts.noted():
            yield
    finally:
        _importing.pop()


@contextmanager
def watched(now: Callable[[], int], in_time: bool = True) -> Iterator[None]:
    """Around a run: refuses to block, and ends a run whose simulated time stands still.

    Arguments
    ---------
    now: simulated time.
    in_time: whether that goes on inside; where it stands still anyway nothing ends the run.

    Raises CandidateFailed, with the line that was being carried out, also when a task that a
    candidate started for itself called ``sys.exit`` or raised KeyboardInterrupt: that would end
    the bench.
    """
    install()
    _inside.append(threading.get_ident())
    try:
        with interrupts.noted():
            if in_time and threading.current_thread() is threading.main_thread():
                with _timer(now):
                    yield
            else:
                yield
    except (SystemExit, KeyboardInterrupt) as error:
        if is_of_the_user(error):
            raise
        raise as_failure(error, "code") from error
    finally:
        _inside.pop()


def place_of_what_goes_on(go_on: Callable[[], None]) -> str:
    """File and line of a candidate's code that is carried out; empty when none is.

    Arguments
    ---------
    go_on: carries something out.
    """
    place = ""

    def look(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal place
        if event == "call" and is_foreign(frame.f_code.co_filename):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"  # of coroutines the innermost
        elif place:
            sys.setprofile(None)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        go_on()
    finally:
        sys.setprofile(before)
    return place


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

    before = _real_signal(signal.SIGALRM, tick)
    _real_timer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    try:
        yield
    finally:
        _real_timer(signal.ITIMER_REAL, 0)
        _real_signal(signal.SIGALRM, before)
