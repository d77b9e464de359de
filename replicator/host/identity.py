"""Who this process is: the boot of its machine, and which start of the software it is."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from replicator.errors import BadInput
from replicator.host.paths import translated

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_ID_BITS: Final = 63
_MOST_DIGITS: Final = 18


def boot_id() -> int:
    """A number that the kernel draws at each boot, cut to 63 bits so that it fits anywhere."""
    with translated(str(_BOOT_ID)):
        text = _BOOT_ID.read_text(encoding="ascii")
    return int(text.strip().replace("-", ""), 16) >> (128 - _BOOT_ID_BITS)


def next_incarnation(path: str) -> int:
    """Count one more start of the software, durably, in the small file ``path``.

    A counter in a file, not the time of the start: a clock that was set back would give a
    number twice, or an older one, and a peer could take the old process for the new.  Take
    the process's lock before, so that only one process counts.

    Returns the number of this start, 1 at first.  Raises BadInput when the file holds
    anything else than a number, StorageError when it cannot be written.
    """
    with translated(path):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                text = file.read(64).strip()
        except FileNotFoundError:
            text = "0"
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
            raise BadInput(
                "it holds no count of starts",
                path=path,
                remedy="If it was damaged, write into it a number larger than any before.",
            )
        number = int(text) + 1
        directory = os.path.dirname(path) or "."
        fresh = f"{path}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, f"{number}\n".encode("ascii"))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, path)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)
    return number
