"""Where ``replicator ese recover`` works: what was named, who else is there, who may open it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from replicator.errors import BadInput, Locked, StorageError
from replicator.runtime.volume_over import VolumeOver

if TYPE_CHECKING:
    from replicator.ese.recovery_checks import RecoveryRequest
    from replicator.runtime.port import File, Volume

_NOT_LOCKABLE = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True)
class Places:
    """Where the files are, as they were given."""

    logs: Path
    base: str | None
    system: Path | None
    databases: tuple[Path, ...]
    allow_lost_logs: bool
    ignore_missing: bool

    def check(self) -> None:
        """Raises BadInput for what should be a directory and is none."""
        for each, what in ((self.logs, "DIR"), (self.system, "--system")):
            if each is not None and not each.is_dir():
                reason = "this is no directory" if each.exists() else "there is no such directory"
                raise BadInput(f"{what}: {reason}", path=str(each), remedy="Correct the path.")

    def directories(self) -> Iterator[str]:
        """Where anything may be changed, each once."""
        places = [self.logs, *(() if self.system is None else (self.system,))]
        for each in self.databases:
            real = Path(os.path.realpath(each))
            places.append(real if real.is_dir() else real.parent)
        yield from dict.fromkeys(map(os.path.realpath, places))

    def request(self, real: Callable[[Path], str]) -> RecoveryRequest:
        """The same on a volume; ``real`` gives the path of a directory there."""
        from replicator.ese.recovery_checks import RecoveryRequest

        for each in self.databases:
            if not each.exists():
                raise BadInput(
                    "--database: there is no such file or directory",
                    path=str(each),
                    remedy="Correct the path.",
                )
        directories = tuple(real(each) for each in self.databases if each.is_dir())
        named = [Path(os.path.realpath(each)) for each in self.databases if not each.is_dir()]
        files = tuple(f"{real(each.parent)}/{each.name}" for each in named)
        if files and directories:
            raise BadInput(
                "--database names both files and directories",
                remedy="Name either the databases or the directories that they are in.",
            )
        return RecoveryRequest(
            log_directory=real(self.logs),
            base=self.base,
            system_directory=None if self.system is None else real(self.system),
            databases=files or None,
            database_directories=directories,
            allow_lost_logs=self.allow_lost_logs,
            ignore_missing_databases=self.ignore_missing,
        )


class ChangedWithin(VolumeOver):
    """A volume on which files are opened for reading only, but in the directories to be changed.

    So a copy can be made of what may not be written: a snapshot, a share, another user's files.

    Arguments
    ---------
    below: the volume.
    directories: paths on it; none when nothing is to be changed.
    """

    def __init__(self, below: Volume, *directories: str) -> None:
        super().__init__(below)
        self._within = tuple(f"{each.rstrip('/')}/" for each in directories)

    def open(self, path: str, read_only: bool = False) -> File:
        return self.below.open(path, read_only or not path.startswith(self._within))


def check_writable(places: Places) -> None:
    """Raises BadInput for a directory in which recovery in place could make no log."""
    for path in places.directories():
        if os.path.isdir(path) and not os.access(path, os.W_OK):
            raise BadInput(
                "it may not be written to, and recovery in place makes logs and a checkpoint",
                path=path,
                remedy="Give the right to write, or recover a copy with --output.",
            )


@contextmanager
def held(places: Places, *, shared: bool) -> Iterator[None]:
    """Keep other recoveries away while this one runs; the kernel lets go when the process ends.

    Arguments
    ---------
    shared: nothing is changed here, only copied: others may do the same.

    Raises Locked when another recovery is under way.  File systems without locks go without.
    """
    with ExitStack() as open_directories:
        for path in places.directories():
            try:
                directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue  # what is wrong with it is told by who looks into it
            open_directories.callback(os.close, directory)
            try:
                fcntl.flock(directory, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Locked(
                    "another recovery of these files is under way",
                    path=path,
                    remedy="Wait for its end, then run this again.",
                ) from error
            except OSError as error:
                if error.errno not in _NOT_LOCKABLE:
                    raise StorageError(f"no lock: {error.strerror}", path=path) from error
        yield


def open_like_the_logs(logs: Path, directories: Iterable[str]) -> None:
    """Give files that recovery made the permissions of the logs, for the store has to open them.

    The volume makes them for their owner alone, marked with the sticky bit.
    """
    modes = [path.stat().st_mode for path in logs.iterdir() if path.suffix.lower() == ".log"]
    given = [mode for mode in modes if not mode & stat.S_ISVTX]
    for directory in directories if given else ():
        for path in Path(directory).iterdir():
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & stat.S_ISVTX:
                path.chmod(stat.S_IMODE(given[0]))
