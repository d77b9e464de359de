"""In which order a command changed a real directory: by Linux's inotify, where there is one.

The time stamps of files are too coarse to tell the order of their changes (4 ms on most
kernels), and would make the order of a pass depend on the machine's mood.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

_MODIFY, _MOVED_FROM, _MOVED_TO = 0x2, 0x40, 0x80
_CREATE, _DELETE, _OVERFLOW, _DIRECTORY = 0x100, 0x200, 0x4000, 0x40000000
_MASK: Final = _MODIFY | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_HEADER: Final = struct.Struct("iIII")
_WORDS: Final = {
    _MODIFY: "write",
    _MOVED_FROM: "from",
    _MOVED_TO: "to",
    _CREATE: "create",
    _DELETE: "delete",
}


class Seen(NamedTuple):
    """One change, in the order in which they were made."""

    what: str
    """``create``, ``write``, ``delete``; ``from`` and ``to`` of a rename have one cookie."""
    path: str
    cookie: int
    directory: bool


class Watch:
    """Notes each change below a directory, of the directories that are there now."""

    def __init__(self, place: Path) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        self._paths: dict[int, str] = {}
        try:
            self._descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            return  # no Linux
        for directory, _names, _files in os.walk(place):
            below = os.path.relpath(directory, place)
            number = self._library.inotify_add_watch(
                self._descriptor, os.fsencode(directory), ctypes.c_uint32(_MASK)
            )
            self._paths[number] = "" if below == "." else f"/{below}"

    def changes(self) -> list[Seen] | None:
        """What was seen so far, and nothing more; None when that is not known."""
        if self._descriptor < 0:
            return None
        found: list[Seen] | None = []
        while data := self._read():
            at = 0
            while at < len(data):
                number, mask, cookie, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size
                name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
                if mask & _OVERFLOW:
                    found = None
                for bit, word in _WORDS.items():
                    if mask & bit and found is not None:
                        path = f"{self._paths.get(number, '')}/{name}"
                        found.append(Seen(word, path, cookie, bool(mask & _DIRECTORY)))
        self.close()
        return found

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, 1 << 16)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return b""
            raise

    def close(self) -> None:
        """Watch no longer."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
