"""Small logs for enumerations: made by the real code over files in a dictionary.

Nothing here ever waits, so :func:`replicator.readonly.run_to_end` drives all of it, and one
recovery of a small log takes well under a millisecond.
"""

from __future__ import annotations

from pathlib import Path

import zstandard

from replicator.batch import NumberedOperation
from replicator.board import Board
from replicator.catalogue import Catalogue, Entry
from replicator.journal import LogKind, SegmentedLog
from replicator.operation import Operation, OperationKind
from replicator.protocol import BATCH_BYTES, BatchHeader
from replicator.readonly import run_to_end
from replicator.records import RecordType, encode, genesis
from replicator.runtime.port import EntryKind
from replicator.spool import Spool
from simulator.shared_page import PageMemory, SimSharedPage

SET = "small set"
EPOCH = 3
DIRECTORY = "/log"


class DictFile:
    def __init__(self, files: dict[str, bytearray], path: str) -> None:
        self._files, self.path = files, path

    @property
    def size_bytes(self) -> int:
        return len(self._files[self.path])

    def write_at(self, offset: int, *buffers: bytes) -> int:
        data, content = b"".join(buffers), self._files[self.path]
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, size_bytes: int) -> None:
        del self._files[self.path][size_bytes:]

    def allocate(self, offset: int, length: int) -> None:
        pass

    async def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._files[self.path][offset : offset + length])

    async def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Alive:
    dead = False


class DictVolume:
    """Just what a log and a pair of slots ask of a volume."""

    name = "dictionary"

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {path: bytearray(data) for path, data in (files or {}).items()}

    def create(self, path: str) -> DictFile:
        self.files[path] = bytearray()
        return DictFile(self.files, path)

    def open(self, path: str, read_only: bool = False) -> DictFile:
        return DictFile(self.files, path)

    def exists(self, path: str) -> bool:
        return path in self.files

    def unlink(self, path: str) -> None:
        del self.files[path]

    def list(self, path: str) -> list[str]:
        return sorted(p.removeprefix(path + "/") for p in self.files if p.startswith(path + "/"))

    def shared_page(self, path: str, size_bytes: int) -> SimSharedPage:
        return SimSharedPage(PageMemory(size_bytes), _Alive())

    async def sync_directory(self, path: str) -> None:
        pass

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        pass

    def content(self) -> dict[str, bytes]:
        return {path: bytes(data) for path, data in self.files.items()}


def write_files(files: dict[str, bytes], directory: Path) -> Path:
    """The files as real ones, without their directory's emulated name."""
    directory.mkdir(parents=True, exist_ok=True)
    for path, data in files.items():
        (directory / path.rpartition("/")[2]).write_bytes(data)
    return directory


OPERATIONS = [
    Operation(OperationKind.CREATE, file_id=1, name="/a", captured_ns=10**18),
    Operation(OperationKind.WRITE, 1, 0, 40, data=b"x" * 40, captured_ns=10**18 + 1),
    Operation(OperationKind.WRITE, 1, 40, 3, data=b"yzt", captured_ns=10**18 + 2),
    Operation(OperationKind.RENAME, 1, name="/a", name2="/b", captured_ns=10**18 + 3),
    Operation(OperationKind.TRUNCATE, 1, 8, captured_ns=10**18 + 4),
]


def spool_over(volume: DictVolume) -> Spool:
    """The spool of a volume, as its keeper opens it."""
    return Spool(volume, DIRECTORY, Board(volume, "/board", 1), SET, 512, 1 << 20)


def small_spool(operations: list[Operation] = OPERATIONS) -> dict[str, bytes]:
    """The segments of a spool with these operations, all completed, and one outcome."""
    volume = DictVolume()
    spool = spool_over(volume)
    names = Catalogue()
    names.add("/old", Entry(EntryKind.FILE, 7))
    spool.begin_epoch(EPOCH, names)
    for number, operation in enumerate(operations):
        spool.append(operation.encode_prefix(), operation.data)
        if number == 2:
            spool.outcome(2)
        spool.complete()
        spool.catalogue.apply(operation)
    return volume.content()


def batch(
    operations: list[NumberedOperation], chain: bytes, epoch: int = EPOCH, *, packed: bool = True
) -> tuple[bytes, bytes]:
    """The payload of a BATCH with these operations, and the link behind it."""
    raw, before = b"", chain
    for number, operation in operations:
        head, chain = encode(
            RecordType.OPERATION,
            epoch,
            number,
            number - 1,
            chain,
            operation.encode_prefix(),
            operation.data,
        )
        raw += head + operation.data
    header = BatchHeader(
        epoch, 1, operations[0][0], operations[-1][0], len(raw), packed, before, chain
    )
    return header.encode() + (zstandard.compress(raw) if packed else raw), chain


def small_journal(
    batches: int = 4, epoch: int = EPOCH, segment_bytes: int = 1024
) -> dict[str, bytes]:
    """The segments of a journal: so many batches of two writes, each synced before the next."""
    volume = DictVolume()
    log = SegmentedLog(volume, DIRECTORY, LogKind.JOURNAL, SET, segment_bytes, 1 << 20)
    chain, durable = genesis(SET, epoch), 0
    for index in range(batches):
        numbers = (2 * index + 1, 2 * index + 2)
        operations = [
            (n, Operation(OperationKind.WRITE, 1, n * 8, 4, data=b"%4d" % n, captured_ns=10**18))
            for n in numbers
        ]
        payload, chain = batch(operations, chain, epoch, packed=bool(index % 2))
        sequence = log.sequence + 1
        prefix, body = payload[:BATCH_BYTES], payload[BATCH_BYTES:]
        log.append(RecordType.BATCH, epoch, sequence, durable, prefix, body)
        run_to_end(log.sync())
        durable = sequence
    return volume.content()
