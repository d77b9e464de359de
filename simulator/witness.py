"""The volume through which programs write while a truth looks on, in either world."""

from __future__ import annotations

from typing import Any, Protocol

from replicator.errors import StorageError
from replicator.runtime import Crashed
from replicator.runtime.port import File, Volume
from replicator.runtime.volume_over import VolumeOver


class Witness(Protocol):
    """Who is told what the programs did."""

    @property
    def root(self) -> str:
        """What it is about is below this directory."""

    def watched(self, file: File, path: str) -> File:
        """The file, with changes of its content told as well."""

    def names_changed(self) -> None:
        """A name came, went or changed."""

    def nothing_changed(self) -> None:
        """A sync, or an operation that failed: the number moves, the image does not."""

    def crashed_in(self, call: str, *arguments: Any) -> None:
        """The host died inside this call: nobody knows yet whether it happened."""


class WitnessedVolume(VolumeOver):
    """Tells a witness of each call below its root, once the call has returned.

    Arguments
    ---------
    witness: who is told.
    below: the capturing volume.
    """

    def __init__(self, witness: Witness, below: Volume) -> None:
        super().__init__(below)
        self._witness = witness

    def _inside(self, *paths: str) -> bool:
        return all(path.startswith(self._witness.root + "/") for path in paths)

    def change_names(self, call: str, paths: tuple[str, ...], *arguments: Any) -> Any:
        if not self._inside(*paths):
            return super().change_names(call, paths, *arguments)
        try:
            answer = super().change_names(call, paths, *arguments)
        except Crashed:
            self._witness.crashed_in(call, *arguments)
            raise
        except StorageError:
            self._witness.nothing_changed()
            raise
        self._witness.names_changed()
        return answer

    def _watched(self, file: File, path: str) -> File:
        return self._witness.watched(file, path) if self._inside(path) else file

    def create(self, path: str) -> File:
        return self._watched(self.change_names("create", (path,), path), path)

    def open(self, path: str, read_only: bool = False) -> File:
        return self._watched(super().open(path, read_only), path)
