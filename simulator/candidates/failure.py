"""What a candidate did wrong, in words and with the place; never a traceback."""

from __future__ import annotations

import asyncio
import sysconfig
import traceback
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, TypeVar

from replicator.errors import BadInput, ExitCode, ReplicatorError
from simulator.candidates import interrupts

T = TypeVar("T")
_BENCH: Final = tuple(
    str(Path(__file__).resolve().parents[depth] / name) + "/"
    for depth, name in ((2, "simulator"), (2, "replicator"))
)
_PYTHON: Final = f"{Path(sysconfig.get_path('stdlib')).resolve()}/"
_PACKAGES: Final = ("/site-packages/", "/dist-packages/")
_ENDS: Final = (
    Exception,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
    BaseExceptionGroup,
)
"""How a service's code may end; not how the kernel ends a task."""


class CandidateFailed(ReplicatorError):
    """A candidate's own code, or its command, ended with an error."""

    exit_code: ClassVar[ExitCode] = ExitCode.BROKEN
    default_remedy = (
        "Correct the candidate: an end that no fault of its machine explains counts against it."
    )


def place_in(trace: TracebackType | None) -> tuple[str | None, int | None]:
    """File and line of the innermost frame that is neither the bench's nor Python's own."""
    foreign = [f for f in traceback.extract_tb(trace) if is_foreign(f.filename)]
    if not foreign:
        return None, None
    return foreign[-1].filename, foreign[-1].lineno


@lru_cache(maxsize=1024)
def is_foreign(file: str) -> bool:
    """Whether a source file is neither the bench's nor Python's own."""
    if file.startswith((*_BENCH, "<frozen")):
        return False
    path = str(Path(file).resolve())
    return not path.startswith(_PYTHON) or any(part in path for part in _PACKAGES)


def is_of_the_user(error: BaseException) -> bool:
    """Whether it is Ctrl-C: that ends the bench, whatever code it has met."""
    return isinstance(error, KeyboardInterrupt) and interrupts.came()


def as_failure(error: BaseException, what: str) -> CandidateFailed:
    """The failure that an exception of a candidate's code stands for."""
    path, line = place_in(error.__traceback__)
    text = " ".join(str(error).split())[:300]
    name = type(error).__name__
    said = f"{name}: {text}" if text else name
    return CandidateFailed(f"the candidate's {what} raised {said}", path=path, line=line)


async def told_of_theirs(coro: Awaitable[T], what: str) -> T:
    """Await a coroutine of ours that calls a candidate's code.

    Raises CandidateFailed for what that code raised; what is ours passes.
    """
    try:
        return await coro
    except ReplicatorError:
        raise
    except _ENDS as error:
        if is_of_the_user(error) or place_in(error.__traceback__)[0] is None:
            raise
        raise as_failure(error, what) from error


async def told(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Call a candidate's coroutine function, and await it.

    The call is made in here: a process that is killed before its first step leaves no coroutine
    behind that nobody awaited.

    Raises CandidateFailed for whatever it raises, ``sys.exit``, a KeyboardInterrupt and a
    cancellation of its own included (its service has ended, the bench has not), but for what the
    port itself raised (lost connections, failed syncs): a service that ends by those says so in
    the port's words.
    """
    try:
        return await call()
    except BadInput as error:
        raise as_failure(error, what) from error
    except ReplicatorError:
        raise
    except _ENDS as error:
        if is_of_the_user(error):
            raise
        raise as_failure(error, what) from error
