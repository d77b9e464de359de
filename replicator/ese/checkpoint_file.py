"""The checkpoint file of a running engine: written twice, never moving back.

It comes after everything it promises: pages and database headers (genMinRequired) that let redo
begin there are durable before.  Losing it costs time, not data: redo then begins with the oldest
log.
"""

from __future__ import annotations

from replicator.errors import NotFound, ReplicatorError
from replicator.ese.checkpoint import COPY_BYTES, Checkpoint, read_checkpoint
from replicator.ese.errors import EseError
from replicator.ese.header_copies import ALL_SAFEGUARDS, HeaderCopies, HeaderSafeguards, sealed
from replicator.runtime.port import File, Volume


class CheckpointFile:
    """One checkpoint file; made by :meth:`open`.

    Attributes
    ----------
    checkpoint: the one on disk; None when there is none that can be used.
    """

    def __init__(
        self, volume: Volume, file: File, directory: str, safeguards: HeaderSafeguards
    ) -> None:
        self._volume = volume
        self._copies = HeaderCopies(volume, file, safeguards)
        self._directory = directory
        self._name_owed = False
        self._failure: ReplicatorError | None = None
        self.checkpoint: Checkpoint | None = None

    @classmethod
    async def open(
        cls,
        volume: Volume,
        directory: str,
        name: str,
        safeguards: HeaderSafeguards = ALL_SAFEGUARDS,
    ) -> CheckpointFile:
        """Read the checkpoint and mend a damaged copy; the file is created where it is missing.

        Arguments
        ---------
        directory, name: where; see :class:`replicator.ese.log_names.LogNames`.
        """
        path = f"{directory.rstrip('/')}/{name}"
        try:
            file, owed = volume.open(path), False
        except NotFound:
            file, owed = volume.create(path), True
        found = cls(volume, file, directory, safeguards)
        found._name_owed = owed
        try:
            checkpoint, reading = read_checkpoint(await found._copies.start(COPY_BYTES))
        except EseError:
            return found  # redo begins with the oldest log
        await found._copies.repair(reading)
        found.checkpoint = checkpoint
        return found

    async def write(self, checkpoint: Checkpoint) -> None:
        """Write the next checkpoint; it is durable when this returns.

        Raises ValueError when it lies before the one on disk, of the same log set; after a failed
        write EseError -1022.
        """
        before = self.checkpoint
        if (
            before is not None
            and before.log_signature == checkpoint.log_signature
            and checkpoint.position < before.position
        ):
            raise ValueError(f"{checkpoint.position} lies before {before.position}")
        if self._failure is not None:
            detail = f"the checkpoint was not written before: {self._failure}"
            raise EseError(-1022, detail, path=self._copies.file.path) from self._failure
        block = sealed(checkpoint.encode(), COPY_BYTES)
        try:
            await self._copies.write(block)
            if self._name_owed:
                await self._volume.sync_directory(self._directory)
                self._name_owed = False
        except ReplicatorError as error:
            self._failure = error
            raise
        self.checkpoint = Checkpoint.decode(block)

    def close(self) -> None:
        self._copies.file.close()
