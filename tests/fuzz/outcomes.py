"""What may come of reading a hostile file, and the limits under which it is read."""

from __future__ import annotations

import gc
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from replicator.errors import BadInput
from replicator.ese.errors import EseError

MEMORY_BYTES: Final = 512 << 20
"""What one run may take beyond what the process has."""

SECONDS: Final = 10
"""How much processor time one run may take; the slowest seed takes a small part of that."""


class TooSlow(BaseException):
    """A run took longer than :data:`SECONDS`: nothing below may catch this."""


@contextmanager
def refusals() -> Iterator[None]:
    """A refusal is an answer, and says something."""
    try:
        yield
    except (EseError, BadInput) as error:
        assert str(error)


def limit_memory() -> None:
    """Let this process take :data:`MEMORY_BYTES` more than it has: beyond that, MemoryError."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        there = int(statm.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (there + MEMORY_BYTES, hard))


def within_limits(run: Callable[[bytes], None], data: bytes) -> None:
    """Run one input; raises what it raises, and TooSlow."""

    def late(number: int, frame: object) -> None:
        raise TooSlow(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        run(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
