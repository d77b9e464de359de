"""Where a run's files go: found writable before the run, written whole or not at all.

A run may take an hour; a mistyped ``--json`` path must be refused before it, and a reader
that watches the target must never see half a file.  So :func:`check_file_target` and
:func:`check_directory_target` try the directory by really making a file in it (permission
bits lie to root and on network file systems), and :func:`write_atomically` writes beside
the target, syncs, and renames.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from replicator.errors import BadInput


def _refused(path: Path, option: str, cause: OSError | str) -> BadInput:
    reason = cause if isinstance(cause, str) else cause.strerror or type(cause).__name__
    remedy = f"Give {option} a path that can be written."
    if isinstance(cause, FileNotFoundError):
        remedy = f"Make the directory {path.parent} first, or give {option} another path."
    return BadInput(f"{option} cannot be written: {reason}", path=str(path), remedy=remedy)


def _beside(path: Path) -> Path:
    """A name in the target's directory that no other process uses."""
    return path.parent / f".{path.name[:100]}.{os.getpid()}.{os.urandom(4).hex()}.tmp"


def _is_special(path: Path) -> bool:
    """Whether the target is a device, pipe or socket: written in place, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _final(path: Path) -> Path:
    """The file behind symbolic links: a rename onto the link would replace the link."""
    return path.resolve() if path.is_symlink() else path


def _create(path: Path) -> int:
    # Not tempfile: its files are private to the owner, results are as the umask says.
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)


def check_file_target(path: Path, option: str) -> None:
    """Raises BadInput unless a file can be written at ``path``; leaves nothing behind."""
    try:
        if path.is_dir():
            raise _refused(path, option, "it is a directory")
        if _is_special(path):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return
        probe = _beside(_final(path))
        try:
            os.close(_create(probe))
        finally:
            with suppress(OSError):
                probe.unlink()
    except OSError as cause:
        raise _refused(path, option, cause) from cause


def check_room(path: Path) -> None:
    """Raises BadInput for a device that takes no byte, as /dev/full; files need no such trial.

    A pipe is not tried: its reader would get what is no part of the document.
    """
    if not path.is_char_device():
        return
    try:
        with path.open("wb", buffering=0) as device:
            device.write(b"\n")
    except OSError as cause:
        raise _refused(path, "--json", cause) from cause


def _remove_empty(directories: list[Path]) -> None:
    """Takes away directories, given from the innermost on, as far as they are empty."""
    for each in directories:
        with suppress(OSError):
            each.rmdir()


@contextmanager
def directory_for(path: Path, option: str, *, keep: bool = True) -> Iterator[None]:
    """Makes the directory with its parents; on an error or Ctrl-C takes away what it made.

    ``keep=False``: takes it away in any case.  Raises BadInput naming ``option``.
    """
    kept = False
    missing: list[Path] = []
    try:
        missing = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
        yield
        kept = keep
    except FileExistsError as cause:
        raise _refused(path, option, "it is not a directory") from cause
    except OSError as cause:
        raise _refused(path, option, cause) from cause
    finally:
        if not kept:
            _remove_empty(missing)


def check_directory_target(path: Path, option: str) -> None:
    """Raises BadInput unless files can be written in ``path``; leaves nothing behind."""
    with directory_for(path, option, keep=False):
        probe = _beside(path / "probe")
        try:
            os.close(_create(probe))
        finally:
            with suppress(FileNotFoundError):
                probe.unlink()


def check_new_directory_target(path: Path, option: str) -> None:
    """As :func:`check_directory_target`, and what exists must be empty."""
    check_directory_target(path, option)
    try:
        if path.exists() and any(path.iterdir()):
            raise BadInput(
                f"{option} wants an empty directory, and this one is not",
                path=str(path),
                remedy=f"Give {option} a directory that does not exist yet, or empty this one.",
            )
    except OSError as cause:
        raise _refused(path, option, cause) from cause


def write_atomically(path: Path, text: str, option: str) -> None:
    """Writes ``text`` as UTF-8 to ``path``: the old content or the whole new one, never less.

    Raises BadInput naming ``option`` when the volume refuses.
    """
    write_bytes_atomically(path, text.encode("utf-8", errors="backslashreplace"), option)


def write_bytes_atomically(path: Path, content: bytes, option: str) -> None:
    """As :func:`write_atomically`, of bytes."""
    try:
        if _is_special(path):
            with path.open("wb") as device:
                device.write(content)
            return
        target = _final(path)
        temporary = _beside(target)
        try:
            with os.fdopen(_create(temporary), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as cause:
        raise _refused(path, option, cause) from cause
