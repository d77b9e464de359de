"""The file systems of this machine as volumes: one object each, paths as the machine has them.

Two directories on one file system must be on one volume, so that back-pressure is counted
once; a volume's root is therefore the mount point above the directory.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from replicator.errors import BadInput, NoDirectory
from replicator.host.paths import translated
from replicator.host.volume import HostVolume
from replicator.host.world import HostRuntime

NO_DIRECTORY: Final = "Name a directory; a single file is protected by the one that it is in."


class Place(NamedTuple):
    """A directory of this machine: its volume, and its path there and everywhere."""

    volume: HostVolume
    path: str


def real_directory(directory: str, key: str) -> str:
    """The directory without symbolic links on the way to it.

    ``key`` is what the configuration calls it.  Raises NoDirectory when there is none, BadInput
    when it is something else.
    """
    with translated(directory):
        path = os.path.realpath(directory)
        if not os.path.exists(path):
            raise NoDirectory(f"{key}: there is no such directory", path=directory)
        if not os.path.isdir(path):
            raise BadInput(f"{key}: this is no directory", path=directory, remedy=NO_DIRECTORY)
    return path


def mount_point(path: str) -> str:
    """The root of the file system that a real path is on."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


class MachineVolumes:
    """The volumes that one process uses.

    Arguments
    ---------
    runtime: makes and closes them.
    """

    def __init__(self, runtime: HostRuntime) -> None:
        self._runtime = runtime
        self._volumes: dict[str, HostVolume] = {}

    def at(self, directory: str, key: str) -> Place:
        """A directory that must exist; raises BadInput with the configuration's key."""
        path = real_directory(directory, key)
        root = mount_point(path)
        volume = self._volumes.get(root)
        if volume is None:
            seen_at = "" if root == "/" else root
            volume = self._runtime.volume(root, root, seen_at=seen_at)
            self._volumes[root] = volume
        return Place(volume, path)
