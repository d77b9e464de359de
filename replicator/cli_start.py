"""Where the console commands start: Ctrl-C while the rest is still being loaded.

Loading takes some tenths of a second, and an interrupt in it would end in a traceback, or in an
import that half succeeds.  Nothing has been begun by then, so the process just ends, with 130.
``python -m simulator.cli`` and ``python -m replicator.cli`` come here before they load anything.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn, cast

from replicator.errors import ExitCode

_MESSAGE = b"interrupted\n"


def _leave(_number: int, _frame: object) -> NoReturn:
    os.write(2, _MESSAGE)
    os._exit(ExitCode.INTERRUPTED)


def start(module: str) -> None:
    """Load a module and run its ``main``.

    Arguments
    ---------
    module: of the command line, dotted.
    """
    before = signal.signal(signal.SIGINT, _leave)
    loaded = import_module(module)
    signal.signal(signal.SIGINT, before)
    cast("Callable[[], None]", loaded.main)()


def main() -> None:
    """The command ``replicator``."""
    start("replicator.cli")
