"""The copy that ``recover`` and ``restore`` work on with ``--output``: made beside, kept or gone.

Copied is what the work needs: databases, the logs from where redo begins, the checkpoint.  What of
the directory stays behind is told, so that nobody takes the copy for the whole.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from replicator.cli_output import byte_progress
from replicator.errors import BadInput, NoSpace, StorageError
from replicator.runtime import yield_now

if TYPE_CHECKING:
    from replicator.ese.errors import EseError
    from replicator.ese.recovery_files import FoundDatabase
    from replicator.ese.recovery_result import RecoveryResult

PIECE_BYTES = 4 << 20
"""What is copied at once; between two pieces whoever wants it to end can say so."""

SHOWN_NAMES = 5
"""Of files that were left where they are; more are counted."""


def with_streaming_files(databases: Sequence[FoundDatabase]) -> list[str]:
    """The paths of databases, and of the streaming files that belong to them."""
    from replicator.ese.streaming_file import streaming_path

    paths = [each.path for each in databases]
    streamed = [each for each in databases if not each.header.streaming_signature.is_zero]
    return [*paths, *(streaming_path(each.path) for each in streamed)]


async def copy_files(paths: Sequence[str], target: Path, between: Callable[[], None]) -> None:
    """Copy files into a directory, durably; raises BadInput when two of them have the same name.

    Arguments
    ---------
    between: called before each piece of 4 MiB; what it raises ends the copying.
    """
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) < len(names):
        raise BadInput("two of the files have the same name", remedy="Copy them yourself.")
    total, done = sum(os.path.getsize(path) for path in paths if os.path.exists(path)), 0
    with byte_progress("copying") as report:
        for path, name in zip(paths, names, strict=True):
            try:
                with open(path, "rb", buffering=0) as source, open(target / name, "xb", 0) as copy:
                    at = 0
                    while True:
                        await yield_now()
                        between()
                        report(done + at, total)
                        if not (copied := copy_piece(source.fileno(), copy.fileno(), at)):
                            break
                        at += copied
                    os.ftruncate(copy.fileno(), at)  # a hole at the end
                    os.fsync(copy.fileno())
                    done += at
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise NoSpace(
                        "the copy failed: the volume is full", path=str(target.parent)
                    ) from error
                raise StorageError(f"the copy failed: {error.strerror}", path=path) from error


def copy_piece(source: int, target: int, at: int) -> int:
    """Copy up to 4 MiB from a place on, zeros as a hole; returns how many bytes there were."""
    piece = os.pread(source, PIECE_BYTES, at)
    left = memoryview(piece if piece.count(0) < len(piece) else b"")
    place = at
    while left:
        written = os.pwrite(target, left, place)
        left, place = left[written:], place + written
    return len(piece)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class CopyBeside:
    """A new directory that gets its name when all went well, and is gone otherwise."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.path = output.with_name(f".{output.name}.{os.getpid()}.recovering")
        self.copied: Sequence[str] = ()
        """Paths of the files that were copied."""
        self._kept = False

    def __enter__(self) -> CopyBeside:
        try:
            self.path.mkdir()
        except OSError as error:
            reason = error.strerror or "it cannot be made"
            raise BadInput(
                f"--output: {reason}",
                path=str(self._output),
                remedy="Name a new directory in one that exists and may be written to.",
            ) from error
        return self

    async def take(self, paths: Sequence[str], between: Callable[[], None]) -> None:
        """Copy files into it; see :func:`copy_files`."""
        await copy_files(paths, self.path, between)
        self.copied = paths

    def tell_of_original(self, error: EseError, logs: Path) -> None:
        """Have an error name the file that was given, for the copy goes away."""
        copied = os.path.realpath(self.path)
        error.path = error.path and error.path.replace(copied, str(logs))

    def keep(self) -> None:
        """All went well."""
        self._kept = True

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if not self._kept or kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        try:
            sync_directory(self.path)
            self.path.rename(self._output)
            sync_directory(self._output.parent)
        except OSError as reason:
            if self.path.exists():
                raise StorageError(
                    f"--output: the copy is ready and cannot get this name: {reason.strerror}",
                    path=str(self._output),
                    remedy=f"All went well but this: rename {self.path} yourself.",
                ) from reason
            raise StorageError(
                f"--output: it is there, and may not be durable: {reason.strerror}",
                path=str(self._output),
            ) from reason


def as_kept(result: RecoveryResult, output: Path) -> RecoveryResult:
    """The databases by the names that they have in the end."""

    def there(path: str) -> str:
        return path and str(output / os.path.basename(path))

    files = (
        replace(each, path=there(each.path), streaming_file=there(each.streaming_file))
        for each in result.databases
    )
    return replace(result, databases=tuple(files))


def left_behind_lines(directory: Path, copied: Iterable[str]) -> Iterator[str]:
    """What of a directory was copied and what was not, a sentence a line.

    Arguments
    ---------
    directory: where the logs are.
    copied: paths of the files that were copied, there and elsewhere.
    """
    from replicator.ese.log_names import LogRole, parse_log_name

    names = {os.path.basename(path) for path in copied}
    yield f"copied: {_counted(names)}"
    logs: list[str] = []
    others: list[str] = []
    for path in sorted(directory.iterdir()):
        if path.name not in names and path.is_file():
            found = parse_log_name(path.name)
            closed = found is not None and found.role is LogRole.CLOSED
            (logs if closed else others).append(path.name)
    if logs:
        which = f"{logs[0]} to {logs[-1]}" if len(logs) > 1 else logs[0]
        count = f"{len(logs):,} log{'s' * (len(logs) > 1)}"
        yield f"not copied: {count} that redo does not need, {which}"
    if others:
        more = f" and {len(others) - SHOWN_NAMES:,} more" if len(others) > SHOWN_NAMES else ""
        yield f"not copied: {', '.join(others[:SHOWN_NAMES])}{more}: no part of what is recovered"


def _counted(names: Iterable[str]) -> str:
    from replicator.ese.log_names import LogRole, parse_log_name
    from replicator.ese.streaming_file import SUFFIX

    kinds = {"database": 0, "streaming file": 0, "log": 0, "checkpoint": 0}
    for name in names:
        found = parse_log_name(name)
        if name.lower().endswith(SUFFIX):
            kinds["streaming file"] += 1
        elif found is None:
            kinds["database"] += 1
        else:
            kinds["checkpoint" if found.role is LogRole.CHECKPOINT else "log"] += 1
    parts = [f"{count:,} {kind}{'s' * (count > 1)}" for kind, count in kinds.items() if count]
    return ", ".join(parts)
