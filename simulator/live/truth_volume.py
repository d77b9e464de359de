"""The volume through which the programs of a live run write: it notes what really happened.

As :class:`simulator.witness.WitnessedVolume`, over real files: each call is handed on to the
captured volume, and then the file system itself is asked, by a descriptor of our own: the bytes
written must be there, and the image digest after the call is noted under the number that capture
gave the operation (:mod:`simulator.live.truth_file`).

A program that was killed in the middle of a call leaves it open whether it happened.  At the
next start the history says how many operations it has: as many as are noted, and then the image
must be the one that was noted last; or one more, and then the image as it is now is noted for
it, at the time of the one before, so that no loss is made smaller.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from replicator.capture import Capture
from replicator.errors import StorageError
from replicator.runtime.port import Buffer, File, Scan
from simulator.live.real_tree import TreeDigest
from simulator.live.truth_file import EPOCH, OPERATION, UNCAPTURED, TruthReader, TruthWriter


class LiveTruth:
    """What happens to one protected set.

    Arguments
    ---------
    root: the real directory.
    path: the truth file; goes on where an earlier process ended.
    """

    def __init__(self, root: str, path: Path) -> None:
        before = TruthReader(path)
        before.poll()
        self.root = root
        self.capture: Capture | None = None
        self.tree = TreeDigest(root)
        self.data_records = before.data_records
        self._writer = TruthWriter(path)
        self._epochs = set(before.epochs)
        self._epoch, self._operation, self._noted = before.last
        self._written_bytes = before.written_bytes[-1]
        self._time_ns = before.times_ns[-1]

    # -- what capture says -----------------------------------------------------------------

    def event(self, name: str, values: tuple[int | str, ...]) -> None:
        """An event of the process: is it about the history?"""
        if name == "epoch" and isinstance(values[0], int):
            self._begin_epoch(values[0])
        elif name == "continue" and isinstance(values[0], int) and isinstance(values[1], int):
            self._go_on(values[0], values[1])
        elif name == "store_lost_acknowledged":
            self._writer.breach(f"the store lost what it had acknowledged: {values[0]}")

    def _begin_epoch(self, epoch: int) -> None:
        self._put(EPOCH, epoch, 0, time.monotonic_ns(), self.tree.scan())
        self._epochs.add(epoch)

    def _go_on(self, epoch: int, completed: int) -> None:
        """The history of an earlier process goes on."""
        if epoch not in self._epochs:
            if completed:
                self._writer.breach(f"epoch {epoch} has {completed} operations that nobody made")
            self._begin_epoch(epoch)  # by the sender's caretaker, while no program ran
            return
        digest = self.tree.scan()
        if completed == self._operation + 1:
            self._put(OPERATION, epoch, completed, self._time_ns, digest)
        elif completed != self._operation:
            self._writer.breach(
                f"after a restart capture says operation {completed}, "
                f"{self._operation} had completed"
            )
        elif digest != self._noted:
            self._writer.breach("after a restart the image is not that after the last operation")

    # -- what programs did -----------------------------------------------------------------

    def wrote(self, fd: int, offset: int, data: bytes) -> None:
        """A write has returned."""
        if os.pread(fd, len(data), offset) != data:
            self._writer.breach(f"a write of {len(data)} bytes at {offset} did not reach its file")
        self.tree.content_changed(fd, offset, len(data))
        self._note(len(data))

    def content_changed(self, fd: int, offset: int, length: int) -> None:
        """A file was cut, grown or zeroed."""
        self.tree.content_changed(fd, offset, length, zeroed=True)
        self._note(0)

    def watched(self, file: File, path: str) -> LiveTruthFile:
        """The file, with its changes noted here."""
        return LiveTruthFile(self, file, path)

    def crashed_in(self, call: str, *_arguments: Any) -> None:
        """Nothing of a real process runs on after its crash."""
        raise AssertionError(f"crashed in {call}, and still here")

    def names_changed(self) -> None:
        """A name came, went or changed."""
        self.tree.names_changed()
        self._note(0)

    def nothing_changed(self) -> None:
        """A sync, or an operation that failed: the number moves, the image does not."""
        self._note(0)

    def _note(self, length: int) -> None:
        capture, now_ns, digest = self.capture, time.monotonic_ns(), self.tree.value
        self.data_records += length > 0
        if capture is None or not capture.capturing:
            self._written_bytes += length
            self._put(UNCAPTURED, self._epoch, self._operation, now_ns, digest)
            return
        epoch, completed = capture.spool.epoch, capture.spool.completed
        if epoch == self._epoch and completed == self._operation + 1:
            self._written_bytes += length
            self._put(OPERATION, epoch, completed, now_ns, digest)
        elif (epoch, completed) != (self._epoch, self._operation):
            self._writer.breach(
                f"capture numbered a change {completed} of epoch {epoch}, "
                f"{self._operation + 1} of epoch {self._epoch} was due"
            )
        elif digest != self._noted:
            self._writer.breach(f"capture missed the change after operation {completed}")

    def _put(self, kind: int, epoch: int, operation: int, time_ns: int, digest: int) -> None:
        self._epoch, self._operation, self._noted = epoch, operation, digest
        self._time_ns = time_ns
        self._writer.put(kind, epoch, operation, time_ns, self._written_bytes, digest)


class CountedLiveTruth(LiveTruth):
    """As :class:`LiveTruth`, of programs that nobody captures: it counts their calls itself.

    There is one epoch: what dies here are processes, never the machine.
    """

    def __init__(self, root: str, path: Path) -> None:
        super().__init__(root, path)
        digest = self.tree.scan()
        if not self._epochs:
            self._begin_epoch(1)
        elif digest != self._noted:  # the call that a killed program was in has happened
            self._put(OPERATION, self._epoch, self._operation + 1, self._time_ns, digest)

    def event(self, name: str, values: tuple[int | str, ...]) -> None:
        """Of the process's events only what its store says is of interest."""
        if name == "store_lost_acknowledged":
            super().event(name, values)

    def _note(self, length: int) -> None:
        self._written_bytes += length
        self.data_records += length > 0
        now_ns, digest = time.monotonic_ns(), self.tree.value
        self._put(OPERATION, self._epoch, self._operation + 1, now_ns, digest)


class LiveTruthFile:
    """A file whose changes are noted."""

    __slots__ = ("_fd", "_file", "_truth")

    def __init__(self, truth: LiveTruth, file: File, path: str) -> None:
        self._truth = truth
        self._file = file
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    @property
    def path(self) -> str:
        return self._file.path

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    def write_at(self, offset: int, *buffers: Buffer) -> int:
        data = bytes(buffers[0]) if len(buffers) == 1 else b"".join(buffers)
        try:
            written = self._file.write_at(offset, data)
        except StorageError:
            self._truth.nothing_changed()
            raise
        self._truth.wrote(self._fd, offset, data[:written])
        return written

    def truncate(self, size_bytes: int) -> None:
        self._content("truncate", (size_bytes,), size_bytes, 0)

    def zero_range(self, offset: int, length: int) -> None:
        self._content("zero_range", (offset, length), offset, length)

    def _content(self, call: str, arguments: tuple[int, ...], offset: int, length: int) -> None:
        try:
            getattr(self._file, call)(*arguments)
        except StorageError:
            self._truth.nothing_changed()
            raise
        self._truth.content_changed(self._fd, offset, length)

    def allocate(self, offset: int, length: int) -> None:
        self._file.allocate(offset, length)

    async def read_at(self, offset: int, length: int) -> bytes:
        return await self._file.read_at(offset, length)

    async def scan(self, scan: Scan) -> list[bytes]:
        return await self._file.scan(scan)

    async def sync(self) -> None:
        await self._file.sync()
        self._truth.nothing_changed()

    def close(self) -> None:
        self._file.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
