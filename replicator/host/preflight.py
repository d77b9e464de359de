"""What a machine has to say about a configuration before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from replicator.config import LoadedConfiguration
from replicator.config_checks import directories, overlaps
from replicator.errors import BadInput
from replicator.slots import newest_of
from replicator.toml_errors import Remark
from replicator.toml_text import KeyPath
from replicator.units import format_bytes, spell_size

_SLOT_LIMIT_BYTES: Final = 1 << 28


class Preflight:
    """The findings for one configuration; each with its line in the file.

    Arguments
    ---------
    loaded: the configuration.
    """

    def __init__(self, loaded: LoadedConfiguration) -> None:
        self._loaded = loaded
        self.errors: list[BadInput] = []
        """What keeps the processes from starting."""
        self.warnings: list[BadInput] = loaded.doubts()
        """What works, but hardly as it was meant."""
        real: dict[KeyPath, str] = {}
        for path, directory in directories(loaded.configuration).items():
            problem = _problem(path, directory)
            if problem is not None:
                self.errors.append(loaded.places.error(problem))
            else:
                real[path] = os.path.realpath(directory)
        self.errors += map(loaded.places.error, overlaps(real))
        self.errors += map(loaded.places.error, self._strangers(real))
        self.warnings += map(loaded.places.error, self._room(real))

    def _strangers(self, real: dict[KeyPath, str]) -> Iterator[Remark]:
        """Directories that belong to somebody else."""
        for path, kind, names, others in (
            (("source", "spool", "directory"), "source", ("source.a", "source.b"), "checkpoint"),
            (("replica", "directory"), "checkpoint", ("checkpoint.a", "checkpoint.b"), "source"),
        ):
            directory = real.get(path)
            if directory is None:
                continue
            if os.path.exists(f"{directory}/{others}.a"):
                owner = "a replica" if others == "checkpoint" else "a source's spool"
                yield Remark(
                    (path,),
                    f"{directory} is the directory of {owner}",
                    "Give it a directory of its own.",
                )
            state = newest_of(_contents(directory, names))
            if state is not None and state.get("set") != self._loaded.set_id:
                what = "the history" if kind == "source" else "the copy"
                yield Remark(
                    (path, ("set",)),
                    f"{directory} holds {what} of the protected set {state.get('set')!r}",
                    "Name the directory that belongs to this protected set, or an empty one.",
                )

    def _room(self, real: dict[KeyPath, str]) -> Iterator[Remark]:
        """Limits that the volumes cannot hold."""
        configuration = self._loaded.configuration
        logs: list[tuple[KeyPath, str | None, str, int]] = []
        if configuration.source is not None:
            table = ("source", "spool")
            directory = real.get((*table, "directory"))
            limit_bytes = configuration.source.spool.limit_bytes
            logs.append(((*table, "limit"), directory, "segments", limit_bytes))
        if configuration.replica is not None:
            own = configuration.replica.journal.directory is not None
            at: KeyPath = ("replica", "journal", "directory") if own else ("replica", "directory")
            limit_bytes = configuration.replica.journal.limit_bytes
            logs.append((("replica", "journal", "limit"), real.get(at), "journal", limit_bytes))
        for path, directory, name, limit_bytes in logs:
            if directory is None:
                continue
            volume = os.statvfs(directory)
            held_bytes = _held_bytes(Path(directory) / name)
            room_bytes = volume.f_bavail * volume.f_frsize + held_bytes
            if room_bytes < limit_bytes:
                yield Remark(
                    (path,),
                    f"{spell_size(limit_bytes)} is more than the volume of {directory} has for "
                    f"it ({format_bytes(room_bytes)})",
                    "Lower the limit, or free space on the volume: a volume that is full before "
                    "the limit is reached stops capture or apply.",
                )


def _problem(path: KeyPath, directory: str) -> Remark | None:
    """Why a directory cannot be used."""
    if not os.path.exists(directory):
        return Remark(
            (path,), f"there is no directory {directory}", "Create it, or mount its volume."
        )
    if not os.path.isdir(directory):
        return Remark((path,), f"{directory} is no directory", "Name a directory.")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return Remark(
            (path,),
            f"{directory} cannot be written by this user",
            "Give the replicator's user the directory, or run it as another one.",
        )
    return None


def _contents(directory: str, names: tuple[str, ...]) -> Iterator[bytes]:
    for name in names:
        try:
            with open(f"{directory}/{name}", "rb") as file:
                yield file.read(_SLOT_LIMIT_BYTES)
        except OSError:
            continue


def _held_bytes(directory: Path) -> int:
    try:
        return sum(entry.stat().st_blocks * 512 for entry in os.scandir(directory))
    except OSError:
        return 0
