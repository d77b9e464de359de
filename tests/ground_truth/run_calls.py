"""Carries out calls on a mounted file system, as a process of its own.

``python -m tests.ground_truth.run_calls MOUNT MARKS CALLS``: the third is a file with the calls
as Python.  Each call is marked in the log before it begins and after it returned.  Files stay
open from their creation to the end, as a store keeps them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from simulator.live.logged_file_system import mark
from tests.ground_truth.calls import Call, file_of_each, payload

_ZERO_RANGE = 0x10
_SYNC_FILE_RANGE_ALL = 7  # wait before, write, wait after: the pages are at the device

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.c_long, ctypes.c_uint]


def checked(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def carry_out(root: Path, number: int, call: Call, file: int, handles: dict[int, int]) -> None:
    """One call by the plain functions of ``os``."""
    path = root / call.path[1:]
    match call.op:
        case "create":
            handles[file] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        case "write" | "append":
            handle = handles[file]
            offset = os.fstat(handle).st_size if call.op == "append" else call.offset
            data = payload(number, file, offset, call.length)
            assert os.pwrite(handle, data, offset) == len(data)
        case "truncate":
            os.ftruncate(handles[file], call.offset)
        case "zero":
            checked(
                libc.fallocate(handles[file], _ZERO_RANGE, call.offset, call.length), "fallocate"
            )
        case "rename":
            os.rename(path, root / call.other[1:])
        case "link":
            os.link(path, root / call.other[1:])
        case "unlink":
            os.unlink(path)
        case "mkdir":
            os.mkdir(path)
        case "sync":
            os.fsync(handles[file])
        case "sync_directory":
            sync_directory(path)
        case "push":
            checked(
                libc.sync_file_range(handles[file], call.offset, call.length, _SYNC_FILE_RANGE_ALL),
                "sync_file_range",
            )
        case "commit":
            descriptor = os.open(root, os.O_RDONLY)
            checked(libc.syncfs(descriptor), "syncfs")
            os.close(descriptor)
        case unknown:
            raise ValueError(unknown)


def main(mount: str, marks: str, calls_file: str) -> None:
    calls = eval(Path(calls_file).read_text(), {"Call": Call})
    handles: dict[int, int] = {}
    for number, (call, file) in enumerate(zip(calls, file_of_each(calls), strict=True)):
        mark(Path(marks), f"begin {number}")
        carry_out(Path(mount), number, call, -1 if file is None else file, handles)
        mark(Path(marks), f"end {number}")


if __name__ == "__main__":
    main(*sys.argv[1:])
