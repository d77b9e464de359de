"""What a machine has to say about a configuration before anything is started."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from replicator.config import LoadedConfiguration
from replicator.config_checks import directories, exposed, overlaps
from replicator.errors import BadInput, CannotListen, EmptySet, SourceFenced
from replicator.fence import fence_cause
from replicator.host.machine_volumes import NO_DIRECTORY
from replicator.host.network import split_address
from replicator.host.volume import REMOVE_IT
from replicator.set_identity import EMPTY, noted_in
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
        """What works, but hardly as it was meant, or is safe only where others see to it."""
        real: dict[KeyPath, str] = {}
        for path, directory in directories(loaded.configuration).items():
            problem = _problem(path, directory)
            if problem is not None:
                self.errors.append(loaded.places.error(problem))
            else:
                real[path] = os.path.realpath(directory)
        self.errors += map(loaded.places.error, overlaps(real))
        self.errors += map(loaded.places.error, self._strangers(real))
        self.errors += map(loaded.places.error, self._fence(real))
        self.errors += map(loaded.places.error, self._odd_entries(real))
        self.errors += map(loaded.places.error, self._address())
        self.warnings += map(loaded.places.error, self._emptied(real))
        self.warnings += map(loaded.places.error, self._room(real))
        self.warnings += map(loaded.places.error, exposed(loaded.configuration))

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
            state = newest_of(_contents(directory, names), names[0].partition(".")[0])
            if state is not None and state.get("set") != self._loaded.set_id:
                what = "the history" if kind == "source" else "the copy"
                yield Remark(
                    (path, ("set",)),
                    f"{directory} holds {what} of the protected set {state.get('set')!r}",
                    "Name the directory that belongs to this protected set, or an empty one.",
                )

    def _fence(self, real: dict[KeyPath, str]) -> Iterator[Remark]:
        """A source whose replica has taken over."""
        path: KeyPath = ("source", "spool", "directory")
        if path in real:
            cause = fence_cause(newest_of(_contents(real[path], ("fence.a", "fence.b")), "fence"))
            if cause:
                yield Remark((path,), f"the source is fenced: {cause}", SourceFenced.default_remedy)

    def _odd_entries(self, real: dict[KeyPath, str]) -> Iterator[Remark]:
        """What lies in the protected set and cannot be replicated."""
        path: KeyPath = ("source", "directory")
        odd = next(_odd_below(real[path]), None) if path in real else None
        if odd is not None:
            yield Remark(
                (path,), f"{odd} is neither a file, a directory nor a symbolic link", REMOVE_IT
            )

    def _emptied(self, real: dict[KeyPath, str]) -> Iterator[Remark]:
        """A set that has lost all its files, as one on a volume that is not mounted has."""
        path: KeyPath = ("source", "directory")
        spool = real.get(("source", "spool", "directory"))
        if path not in real or spool is None:
            return
        noted = noted_in(newest_of(_contents(spool, ("source.a", "source.b")), "source"))
        if noted is not None and noted.had_names and not _names_in(real[path]):
            yield Remark((path,), f"{real[path]}: {EMPTY}", EmptySet.default_remedy)

    def _address(self) -> Iterator[Remark]:
        """An address that the replica cannot listen on; one in use may be its own."""
        table = self._loaded.configuration.replica
        refusal = why_no_listener(table.listen) if table is not None else ""
        if refusal:
            yield Remark((("replica", "listen"),), refusal, CannotListen.default_remedy)

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
            (path,),
            f"there is no directory {directory}",
            "Mount the volume that it is on, or correct the path.",
        )
    if not os.path.isdir(directory):
        return Remark((path,), f"{directory} is no directory", NO_DIRECTORY)
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return Remark(
            (path,),
            f"{directory} cannot be written by this user",
            "Give the replicator's user the directory, or run it as another one.",
        )
    return None


def _odd_below(directory: str) -> Iterator[str]:
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                        yield entry.path
        except OSError:
            continue  # its own error comes at the start


def why_no_listener(address: str) -> str:
    """Why nothing could listen on an address; empty when something could, or does already."""
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _type, _protocol, _name, place = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(place)
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            return ""
        if number == errno.EADDRNOTAVAIL:
            return f"{address} is not an address of this machine"
        reason = error.strerror if isinstance(error, OSError) else "it names no host"
        return f"cannot listen on {address}: {reason}"
    return ""


def _names_in(directory: str) -> bool:
    """Whether there is something in it; True where that cannot be looked at."""
    try:
        with os.scandir(directory) as entries:
            return any(True for _ in entries)
    except OSError:
        return True  # its own error comes at the start


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
