"""Block synchronization: bringing an image over while programs go on writing.

The source takes the names and sizes at the instant its epoch begins (operation 0) and then
reads its files at leisure.  What it reads is a mixture of moments, but every change since
operation 0 is captured: replaying operations 1 to n over blocks that were read before
operation n + 1 gives exactly the image after operation n.  So the replica

1. compares digests of its own blocks and asks for those that differ,
2. *stages* them in a file of its own, its old image untouched and usable,
3. on SYNC_END(n) waits until operations up to n are in its journal, and then
4. commits names, staged blocks and operations with one journal record.

Blocks that an earlier, broken attempt staged are used again when their digests fit.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import xxhash
import zstandard

from replicator.catalogue import Catalogue, Entry
from replicator.errors import DamagedLog, ProtocolViolation
from replicator.home import shared_paths
from replicator.protected_files import ProtectedFiles
from replicator.protocol import (
    BLOCK_BYTES,
    DIGESTS_PER_FRAME,
    BlockDigests,
    BlocksWanted,
    FrameType,
    decode_blocks,
    encode_blocks,
)
from replicator.records import (
    EMPTY_CHAIN,
    HEADER_BYTES,
    InvalidRecord,
    RecordType,
    body_length,
    decode,
    encode,
)
from replicator.runtime.channels import Queue
from replicator.runtime.port import EntryKind, Runtime, Volume, write_all
from replicator.untrusted import binary, inflate, json_object, whole_number

DIGEST_FRAMES_UNDERWAY: Final = 4
BLOCKS_PER_FRAME: Final = 32
_UNPACKED_BLOCKS_LIMIT_BYTES: Final = 1 << 24
_COMMIT_LIMIT_BYTES: Final = 1 << 28
_DIGEST_COST_NS_PER_BYTE: Final = 0.1
"""Processor time of digests in the simulator: about 10 GB/s (xxh3 on one 2.5 GHz core)."""

_ZERO_DIGEST: Final = xxhash.xxh3_128_digest(bytes(BLOCK_BYTES))

SendFrame = Callable[[FrameType, bytes], Awaitable[int]]


def block_digests(data: bytes, limit: int) -> list[bytes]:
    """Digest of each block of ``data``, of which only the first ``limit`` bytes count.

    What lies beyond counts as zeros; so does the missing end of a short block.
    """
    digest = xxhash.xxh3_128_digest
    if not data or data.count(0) == len(data):
        return [_ZERO_DIGEST] * ((limit + BLOCK_BYTES - 1) // BLOCK_BYTES)  # a hole, mostly
    whole = min(len(data), limit) // BLOCK_BYTES * BLOCK_BYTES
    view = memoryview(data)
    digests = [digest(view[at : at + BLOCK_BYTES]) for at in range(0, whole, BLOCK_BYTES)]
    for at in range(whole, limit, BLOCK_BYTES):
        block = data[at : min(at + BLOCK_BYTES, limit)]
        digests.append(digest(block + bytes(BLOCK_BYTES - len(block))))
    return digests


def files_of(catalogue: Catalogue) -> list[tuple[str, Entry]]:
    """Each regular file once, by its first name."""
    seen: set[int] = set()
    found: list[tuple[str, Entry]] = []
    for path, entry in catalogue:
        if entry.kind == EntryKind.FILE and entry.file_id not in seen:
            seen.add(entry.file_id)
            found.append((path, entry))
    return found


class ImageSender:
    """The source's part.

    Arguments
    ---------
    files: the protected files as they are now; an inode keeps its file through renames.
    catalogue: names and sizes at operation 0.
    send: sends one frame.
    answers: the BLOCKS_WANTED that arrive.
    compression_level: zstd level for block data, or None.
    """

    def __init__(
        self,
        runtime: Runtime,
        files: ProtectedFiles,
        catalogue: Catalogue,
        send: SendFrame,
        answers: Queue[BlocksWanted],
        compression_level: int | None,
    ) -> None:
        self._runtime = runtime
        self._files = files
        self._catalogue = catalogue
        self._send = send
        self._answers = answers
        self._compressor = (
            None if compression_level is None else zstandard.ZstdCompressor(compression_level)
        )
        self._underway = 0
        self._entries = {entry.file_id: (path, entry) for path, entry in files_of(catalogue)}
        self.total_bytes = sum(entry.size_bytes for _, entry in files_of(catalogue))
        self.compared_bytes = 0
        self.sent_blocks = 0

    async def run(self) -> None:
        """Compare all files and send what differs; returns when all of it has been sent."""
        for _path, entry in files_of(self._catalogue):
            step = DIGESTS_PER_FRAME * BLOCK_BYTES
            for offset in range(0, entry.size_bytes, step):
                await self._compare(entry, offset, min(step, entry.size_bytes - offset))
                while self._underway >= DIGEST_FRAMES_UNDERWAY:
                    await self._answer()
        while self._underway:
            await self._answer()

    async def _compare(self, entry: Entry, offset: int, length: int) -> None:
        data = await self._read(entry.file_id, offset, length)
        digests = await self._runtime.compute(
            lambda: block_digests(data, length), int(length * _DIGEST_COST_NS_PER_BYTE)
        )
        frame = BlockDigests(entry.file_id, offset // BLOCK_BYTES, digests)
        await self._send(FrameType.BLOCK_DIGESTS, frame.encode())
        self._underway += 1
        self.compared_bytes += length

    async def _read(self, file_id: int, offset: int, length: int) -> bytes:
        """The bytes as they are now; nothing when the file is gone or has shrunk.

        Whatever made them disappear is an operation that will be replayed.
        """
        path, entry = self._entries[file_id]
        return await self._files.read_at(path, entry.inode, offset, length)

    async def _answer(self) -> None:
        answer = await self._answers.get()
        self._underway -= 1
        for start in range(0, len(answer.wanted), BLOCKS_PER_FRAME):
            blocks: list[tuple[int, bytes]] = []
            for number in answer.wanted[start : start + BLOCKS_PER_FRAME]:
                data = await self._read(answer.file_id, number * BLOCK_BYTES, BLOCK_BYTES)
                blocks.append((number, data))
            payload = encode_blocks(answer.file_id, blocks)
            packed = self._compressor.compress(payload) if self._compressor else b""
            small = bool(packed) and len(packed) < len(payload)
            flag = b"\1" if small else b"\0"
            await self._send(FrameType.BLOCK_DATA, flag + (packed if small else payload))
            self.sent_blocks += len(blocks)


def unpack_blocks(payload: bytes) -> list[tuple[int, int, bytes]]:
    """The blocks of a BLOCK_DATA frame; raises ProtocolViolation."""
    body = payload[1:]
    if payload[:1] == b"\1":
        try:
            body = inflate(body, _UNPACKED_BLOCKS_LIMIT_BYTES)
        except ValueError as error:
            raise ProtocolViolation(f"block data cannot be used: {error}") from None
    return decode_blocks(body)


class Staging:
    """Differing blocks in a file of their own, until they are committed.

    The file is a chain of records; its name carries the epoch, so that an old one is never
    taken for a new one.
    """

    def __init__(
        self, volume: Volume, directory: str, epoch: int, history: bytes, catalogue: Catalogue
    ) -> None:
        self._volume = volume
        self.path = f"{directory}/epoch-{epoch:08d}.staging"
        self.from_nothing: list[str] = []
        """Paths whose home files are no basis: they are removed first."""
        self.epoch = epoch
        self.history = history
        self.catalogue = catalogue
        if volume.exists(self.path):
            volume.unlink(self.path)
        self._file = volume.create(self.path)
        self._end = 0
        self._chain = EMPTY_CHAIN
        self._paths = {entry.file_id: path for path, entry in files_of(catalogue)}
        self._sizes = {
            entry.file_id: -(-entry.size_bytes // BLOCK_BYTES) * BLOCK_BYTES
            for _, entry in files_of(catalogue)
        }
        self.index: dict[tuple[str, int], tuple[int, int, bytes]] = {}
        """(path, block) to (offset of the data in the file, length, digest)."""

    async def add(self, blocks: list[tuple[int, int, bytes]]) -> None:
        """Append blocks; raises NoSpace when the volume is full, and ProtocolViolation."""
        for file_id, number, data in blocks:
            size = self._sizes.get(file_id, -1)
            if not 0 <= number * BLOCK_BYTES <= size - len(data):
                raise ProtocolViolation(f"block {number} of file {file_id} was never asked for")
        payload = b"".join(encode_blocks(f, [(n, data)]) for f, n, data in blocks)
        head, chain = encode(RecordType.BATCH, self.epoch, 0, 0, self._chain, b"", payload)
        await self._volume.admit(len(head) + len(payload))
        write_all(self._file, self._end, head, payload)
        at = self._end + len(head)
        for file_id, number, data in blocks:
            at += 20  # the block's own header
            padded = data + bytes(BLOCK_BYTES - len(data))
            self.index[self._paths[file_id], number] = (
                at,
                len(data),
                xxhash.xxh3_128_digest(padded),
            )
            at += len(data)
        self._end += len(head) + len(payload)
        self._chain = chain

    async def block(self, path: str, number: int) -> bytes:
        """A staged block's bytes."""
        offset, length, _ = self.index[path, number]
        return await self._file.read_at(offset, length)

    async def sync(self) -> None:
        await self._file.sync()
        await self._volume.sync_directory(self.path.rpartition("/")[0])

    def describe(self, fence: int, first_record: tuple[int, int]) -> bytes:
        """The payload of the COMMIT record.

        ``first_record``: where in the journal the operations of this attempt begin.
        """
        document = {
            "epoch": self.epoch,
            "history": self.history.hex(),
            "fence": fence,
            "path": self.path,
            "bytes": self._end,
            "chain": self._chain.hex(),
            "catalogue": self.catalogue.to_json(),
            "from_nothing": self.from_nothing,
            "first_record": list(first_record),
        }
        return zstandard.compress(json.dumps(document).encode(), 1)

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        if self._volume.exists(self.path):
            self._volume.unlink(self.path)


def read_commit(payload: bytes) -> dict[str, Any]:
    """The document of a COMMIT record; raises DamagedLog."""
    try:
        document = json_object(inflate(payload, _COMMIT_LIMIT_BYTES))
        for key in ("epoch", "fence", "bytes"):
            whole_number(document, key)
        binary(document, "history")
        if not (isinstance(document.get("path"), str) and isinstance(document.get("chain"), str)):
            raise ValueError("'path' or 'chain' is no text")
        Catalogue.from_json(document.get("catalogue"))
    except ValueError as error:
        raise DamagedLog(f"a commit cannot be understood: {error}") from None
    return document


async def staged_blocks(
    volume: Volume, document: dict[str, Any]
) -> AsyncIterator[tuple[int, int, bytes]]:
    """(file id, byte offset, data) of all committed blocks, verified.

    Raises DamagedLog when the staging file is not what was committed.
    """
    path, end = document["path"], document["bytes"]
    if not volume.exists(path):
        raise DamagedLog("the staged blocks are gone", path=path)
    file = volume.open(path)
    offset, chain = 0, EMPTY_CHAIN
    while offset < end:
        head = await file.read_at(offset, HEADER_BYTES)
        length = body_length(head, 0)
        data = await file.read_at(offset, HEADER_BYTES + max(0, length))
        try:
            record = decode(data, 0)
        except InvalidRecord as invalid:
            raise DamagedLog(
                f"staged blocks are damaged: {invalid.reason}", path=path, offset=offset
            ) from None
        if record.previous != chain:
            raise DamagedLog("staged blocks are out of order", path=path, offset=offset)
        chain = record.checksum
        for file_id, number, block in decode_blocks(record.payload):
            yield file_id, number * BLOCK_BYTES, block
        offset += record.size_bytes
    file.close()
    if chain.hex() != document["chain"]:
        raise DamagedLog("staged blocks do not end as committed", path=path, offset=offset)


class ImageReceiver:
    """The replica's part: compares, asks, stages.

    Arguments
    ---------
    volume, root: the home image, which does not change meanwhile.
    staging: where differing blocks go.
    previous: the staging of a broken attempt, whose blocks can be used again.
    """

    def __init__(
        self,
        runtime: Runtime,
        volume: Volume,
        root: str,
        staging: Staging,
        previous: Staging | None,
    ) -> None:
        self._runtime = runtime
        self._volume = volume
        self._root = root
        self._staging = staging
        self._previous = previous
        self._paths = {entry.file_id: (path, entry) for path, entry in files_of(staging.catalogue)}
        self._unusable = shared_paths(volume, root, staging.catalogue)
        staging.from_nothing = sorted(self._unusable)
        self.reused_blocks = 0

    async def compare(self, frame: BlockDigests) -> BlocksWanted:
        """Which of the blocks differ from the home image and must be sent."""
        found = self._paths.get(frame.file_id)
        if found is None:
            return BlocksWanted(frame.file_id, frame.first, [])
        path, entry = found
        offset = frame.first * BLOCK_BYTES
        length = min(len(frame.digests) * BLOCK_BYTES, entry.size_bytes - offset)
        home = b""
        full = self._root + path
        if (
            path not in self._unusable
            and self._volume.exists(full)
            and self._volume.stat(full).kind == EntryKind.FILE
        ):
            file = self._volume.open(full)
            home = await file.read_at(offset, length)
            file.close()
        own = await self._runtime.compute(
            lambda: block_digests(home, length), int(length * _DIGEST_COST_NS_PER_BYTE)
        )
        wanted: list[int] = []
        again: list[tuple[int, int, bytes]] = []
        for index, digest in enumerate(frame.digests):
            number = frame.first + index
            if index < len(own) and own[index] == digest:
                continue
            staged = self._previous.index.get((path, number)) if self._previous else None
            if staged is not None and staged[2] == digest and self._previous is not None:
                again.append((frame.file_id, number, await self._previous.block(path, number)))
                self.reused_blocks += 1
            else:
                wanted.append(number)
        if again:
            await self._staging.add(again)
        return BlocksWanted(frame.file_id, frame.first, wanted)
