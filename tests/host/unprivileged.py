"""A child process whom modes bind: root's right to go past them is dropped first.

The tests may run as root, for whom no file is read-only.  The child keeps its user id, and so
the files it owns; it loses the capabilities that look past permission bits.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Final, TypeVar, cast

T = TypeVar("T")

_VERSION_3: Final = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER = 1, 2, 3
_PATIENCE_S: Final = 100


def drop_privileges() -> None:
    """From here on this process is bound by modes; there is no way back."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for each in range(3):
        sets[each] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH | 1 << _FOWNER)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def unprivileged(function: Callable[[], T]) -> T:
    """What the function returns in such a child; AssertionError with its traceback if it raises."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(_PATIENCE_S)
        said: tuple[bool, object] | None = None
        try:
            drop_privileges()
            said = True, function()
        finally:  # whatever is raised must not get into the parent's tests
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(pickle.dumps(said or (False, traceback.format_exc())))
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    _pid, status = os.waitpid(child, 0)
    assert data, f"the child ended with {status}"
    succeeded, answer = pickle.loads(data)
    assert succeeded, answer
    return cast(T, answer)
