"""A disk in one file, served by FUSE from a process of its own, that logs every request.

``python -m simulator.live.block_server DIRECTORY MOUNT_POINT LIMIT_BYTES`` serves
``DIRECTORY/live.img`` as ``MOUNT_POINT/disk`` and logs into ``DIRECTORY`` (the format is
:mod:`simulator.live.block_log`'s).  Whatever is written to ``MOUNT_POINT/marks`` becomes a
mark.  It says ``ready`` on standard output once it serves, and ends when it is unmounted, or
at once when its standard input ends: the process that started it has died.

It must not run in the process that uses the mount, nor in one that this process waits for: a
write to the loop device would wait for a server that waits for the write.

Models: a disk that answers at once, that has a cache and never loses it while it runs.  The
file is served with ``direct_io``: the kernel keeps no page of it, a write is here before
whoever wrote is told.  Leaves out: time, errors other than that of a full log.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import mfusepy

from simulator.live.block_log import Kind, LogWriter

_KEEP_SIZE = 1
_PUNCH_HOLE = 2
_ZERO_RANGE = 16


class BlockDevice(mfusepy.Operations):  # type: ignore[misc, unused-ignore]  # has no types
    """The two files.

    Arguments
    ---------
    directory: holds ``live.img``; gets the log.
    limit_bytes: of the logged data; writes beyond it fail with EFBIG, and so the file system
        above gets an I/O error instead of a log with a gap.
    """

    use_ns = True

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self._log = LogWriter(directory, limit_bytes)
        self._disk = os.open(directory / "live.img", os.O_RDWR)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]

    def init(self, path: str) -> None:
        """Tell whoever started this process that the mount serves."""
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Attributes of the directory and its two files."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path == "/marks":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": 0}
        if path == "/disk":
            size = os.fstat(self._disk).st_size
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size}
        raise OSError(errno.ENOENT, "no such file")

    def readdir(self, path: str, fh: int) -> list[str]:
        """The two names."""
        return [".", "..", "disk", "marks"]

    def open(self, path: str, flags: int) -> int:
        """Both files may be opened as often as wanted."""
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        """Marks may be opened as shells do; the disk keeps its size."""
        if path != "/marks":
            raise OSError(errno.EPERM, "a disk has one size")

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """What was written last."""
        return os.pread(self._disk, size, offset) if path == "/disk" else b""

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Log the write, do it, answer it."""
        if path == "/marks":
            self._log.mark(data)
            return len(data)
        begin = self._log.stamp()
        data_at = self._log.data(data)
        done = 0
        while done < len(data):
            done += os.pwrite(self._disk, data[done:], offset + done)
        self._log.answered(Kind.WRITE, begin, offset, len(data), data_at)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """A flush.  There is nothing to do: what was answered stays while this runs."""
        if path == "/disk":
            begin = self._log.stamp()
            self._log.answered(Kind.FLUSH, begin)
        return 0

    def flush(self, path: str, fh: int) -> int:
        """A close of the file: no promise goes with it."""
        return 0

    def fallocate(self, path: str, mode: int, offset: int, size: int, fh: int) -> int:
        """Discards and requests for zeros come here from the loop device."""
        if path != "/disk" or not mode & (_PUNCH_HOLE | _ZERO_RANGE):
            raise OSError(errno.EOPNOTSUPP, "only zeros")
        begin = self._log.stamp()
        if self._libc.fallocate(self._disk, _PUNCH_HOLE | _KEEP_SIZE, offset, size):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._log.answered(Kind.ZERO, begin, offset, size)
        return 0


def _end_with_the_parent() -> None:
    """Wait for the end of standard input.  At once then: nobody is left to read the log."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main(directory: str, mount_point: str, limit_bytes: str) -> None:
    """Serve until unmounted."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    mfusepy.FUSE(
        BlockDevice(Path(directory), int(limit_bytes)),
        mount_point,
        foreground=True,
        nothreads=False,
        direct_io=True,
        fsname="block-log",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
