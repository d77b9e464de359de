"""The truth of a live run, in a file that outlives whoever writes it.

A record of 48 bytes for each change of the protected set, in order::

    u8   kind: EPOCH (its operation 0), OPERATION, or UNCAPTURED (nothing was captured then)
    u32  epoch          u64  operation
    i64  time, nanoseconds of this machine's monotonic clock
    u64  bytes written by programs up to here
    16   image digest after the change (:mod:`simulator.digest`)

Each is one ``write`` to a file opened for appending, made after the change and before the
program goes on, so a kill -9 of the program loses at most the record of the one operation that
it was in; the next start finds that operation in the history and adds its record.

Models the process that dies, not the machine: records are not synced.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import Final

EPOCH, OPERATION, UNCAPTURED = 1, 2, 3
_RECORD: Final = struct.Struct("<B3xIQqQ16s")
RECORD_BYTES: Final = _RECORD.size
DIGEST_BYTES: Final = 16


class TruthWriter:
    """Appends records.

    Arguments
    ---------
    path: the file, made when missing; what capture did wrong goes to ``<path>.breaches``.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._breaches = os.open(breaches_path(path), flags, 0o600)

    def put(
        self, kind: int, epoch: int, operation: int, time_ns: int, written_bytes: int, digest: int
    ) -> None:
        """Append one record."""
        body = digest.to_bytes(DIGEST_BYTES, "little")
        os.write(self._fd, _RECORD.pack(kind, epoch, operation, time_ns, written_bytes, body))

    def breach(self, text: str) -> None:
        """Note what capture did wrong."""
        os.write(self._breaches, text.replace("\n", " ").encode() + b"\n")


def breaches_path(path: Path) -> Path:
    """Where what capture did wrong is noted, a line each."""
    return path.with_name(path.name + ".breaches")


class TruthReader:
    """All records so far, by instant and by operation, as :class:`simulator.truth.Truth` has them.

    Arguments
    ---------
    path: the file; need not exist yet.
    zero_ns: the monotonic time that counts as 0.
    """

    def __init__(self, path: Path, zero_ns: int = 0) -> None:
        self._path = path
        self.zero_ns = zero_ns
        self._read_bytes = 0
        self.times_ns = array("q", [0])
        """Time of each instant since ``zero_ns``."""
        self.written_bytes = array("Q", [0])
        """Bytes written by programs up to each instant."""
        self.epochs: dict[int, int] = {}
        """Epoch to the instant of its operation 0."""
        self._digests: dict[int, bytearray] = {}
        self.last: tuple[int, int, int] = (0, 0, 0)
        """Epoch, operation and digest of the newest record."""
        self.data_records = 0
        """Records of changes that wrote bytes."""
        self._left: int | None = None

    def left(self, digest: int) -> None:
        """The programs were killed, and this is the image as they left it.

        Killed between the completed mark and the record, a program leaves an operation that the
        replica may have and the file has not.  Counts until the next record, which the next
        start adds; after a loss of the source there is none.
        """
        self._left = digest

    def lacks(self, epoch: int, operation: int) -> bool:
        """Whether an operation is just the next one: its program may not have noted it yet."""
        return (epoch, operation) == (self.last[0], self.last[1] + 1)

    def poll(self) -> None:
        """Take in what was added since the last time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                found = file.read()
        except FileNotFoundError:
            return
        whole = len(found) - len(found) % _RECORD.size
        if whole:
            self._left = None
        self._read_bytes += whole
        for kind, epoch, operation, time_ns, written, digest in _RECORD.iter_unpack(found[:whole]):
            if kind == EPOCH:
                self.epochs[epoch] = self.instant
                self._digests[epoch] = bytearray(digest)
            else:
                self.data_records += written > self.written_bytes[-1]
                self.times_ns.append(max(self.times_ns[-1], time_ns - self.zero_ns))
                self.written_bytes.append(written)
                if kind == OPERATION:
                    self._digests[epoch] += digest
            self.last = (epoch, operation, int.from_bytes(digest, "little"))

    @property
    def instant(self) -> int:
        """Number of the last instant."""
        return len(self.times_ns) - 1

    @property
    def breaches(self) -> list[str]:
        """What capture did wrong, in words."""
        path = breaches_path(self._path)
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def operations_of(self, epoch: int) -> int:
        """Number of the last captured operation of an epoch."""
        return len(self._digests[epoch]) // DIGEST_BYTES - 1

    def digest_of(self, epoch: int, operation: int) -> int | None:
        """The image's digest after an operation; None when there is no such operation.

        An epoch that the sender's caretaker has begun, after the last program, is not in the
        file: nothing was written since, so its operation 0 is the image of the last record.
        """
        digests = self._digests.get(epoch)
        if self.lacks(epoch, operation):
            return self._left
        if digests is None:
            later = epoch > max(self.epochs, default=0) and operation == 0
            return self.last[2] if later and self.epochs else None
        start = operation * DIGEST_BYTES
        if operation < 0 or start >= len(digests):
            return None
        return int.from_bytes(digests[start : start + DIGEST_BYTES], "little")

    def instant_of(self, epoch: int, operation: int) -> int:
        """The instant of an operation; 0 for an epoch that never was (an empty replica)."""
        start = self.epochs.get(epoch)
        if start is None:
            return self.instant if epoch > max(self.epochs, default=epoch) else 0
        return min(self.instant, start + operation)

    def instant_at(self, time_ns: int) -> int:
        """The last instant at or before a time."""
        return max(0, bisect_left(self.times_ns, time_ns + 1) - 1)

    def newest_with(self, digest: int) -> tuple[int, int] | None:
        """Epoch and operation of the newest image with this digest; None when there is none."""
        for epoch in sorted(self.epochs, reverse=True):
            found = self.find(epoch, digest)
            if found:
                return epoch, found[-1]
        return None

    def find(self, epoch: int, digest: int) -> list[int]:
        """All operations of an epoch after which the image had this digest."""
        wanted = digest.to_bytes(DIGEST_BYTES, "little")
        digests = self._digests.get(epoch, bytearray())
        numbers = range(len(digests) // DIGEST_BYTES)
        return [n for n in numbers if digests[n * DIGEST_BYTES :][:DIGEST_BYTES] == wanted]
