"""Frames of the replication protocol as they pass on an emulated connection, in words.

A reader of the bytes that an end sends: it copies the first hundreds of bytes of a frame, its
header and what can be said of it, and skips the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from replicator.errors import ProtocolViolation
from replicator.protocol import (
    BATCH_BYTES,
    HEADER_BYTES,
    Acknowledgement,
    BatchHeader,
    FrameType,
    Heartbeat,
    parse_header,
)
from replicator.runtime.port import Buffer

_KEPT_BYTES: Final = HEADER_BYTES + 1024


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame that was handed over whole."""

    name: str
    """Its type, and a reason if it gives one."""
    size_bytes: int
    end_offset: int
    """Where in the connection's bytes it ends."""
    epoch: int = 0
    first: int = 0
    """First operation of a batch; what is durable of an acknowledgement."""
    last: int = 0
    """Last operation of a batch; what is applied of an acknowledgement."""
    checkpointed: int = 0


class FrameReader:
    """Finds the frames in what one end of a connection sends."""

    def __init__(self) -> None:
        self._offset = 0
        self._head = bytearray()
        self._left: int | None = None
        """Bytes of the frame that are still to come; None in its header."""
        self._size_bytes = 0
        self._type: FrameType | None = None

    def feed(self, buffers: tuple[Buffer, ...]) -> Iterator[SeenFrame]:
        """What was sent next; gives each frame that is whole with it."""
        for buffer in buffers:
            view = memoryview(buffer).cast("B") if len(buffer) else memoryview(b"")
            while len(view):
                taken = self._take(view)
                self._offset += taken
                view = view[taken:]
                if self._left == 0:
                    yield self._whole()

    def _take(self, view: memoryview) -> int:
        if self._left is None:
            taken = min(HEADER_BYTES - len(self._head), len(view))
            self._head += view[:taken]
            if len(self._head) == HEADER_BYTES:
                self._begin()
            return taken
        taken = min(self._left, len(view))
        self._head += view[: max(0, min(taken, _KEPT_BYTES - len(self._head)))]
        self._left -= taken
        return taken

    def _begin(self) -> None:
        try:
            self._type, length = parse_header(bytes(self._head))
        except ProtocolViolation:  # bytes of somebody else: each piece counts as one frame
            self._type, length = None, 0
        self._left, self._size_bytes = length, HEADER_BYTES + length

    def _whole(self) -> SeenFrame:
        payload = bytes(self._head[HEADER_BYTES:])
        frame_type, size_bytes = self._type, self._size_bytes
        self._head.clear()
        self._left = self._type = None
        if frame_type is None:
            return SeenFrame("no frame of ours", size_bytes, self._offset)
        try:
            return _described(frame_type, payload, size_bytes, self._offset)
        except ProtocolViolation:
            return SeenFrame(f"{frame_type.name}, malformed", size_bytes, self._offset)


def _described(frame_type: FrameType, payload: bytes, size_bytes: int, end: int) -> SeenFrame:
    name = frame_type.name
    if frame_type == FrameType.BATCH:
        batch = BatchHeader.decode(payload[:BATCH_BYTES])
        return SeenFrame(name, size_bytes, end, batch.epoch, batch.first, batch.last)
    if frame_type == FrameType.ACKNOWLEDGE:
        ack = Acknowledgement.decode(payload)
        marks = (ack.epoch, ack.durable, ack.applied, ack.checkpointed)
        return SeenFrame(name, size_bytes, end, *marks)
    if frame_type == FrameType.HEARTBEAT:
        beat = Heartbeat.decode(payload)
        return SeenFrame(name, size_bytes, end, beat.epoch, 0, beat.completed)
    if frame_type in (FrameType.REFUSE, FrameType.CONDITION):
        name = f"{name}: {_reason(payload)}"
    return SeenFrame(name, size_bytes, end)


def _reason(payload: bytes) -> str:
    """The first text in a document, which is why it was sent."""
    try:
        document = json.loads(payload)
    except ValueError:  # longer than what is kept of it
        return payload[:200].decode("utf-8", "replace")
    texts = [value for value in document.values() if isinstance(value, str) and value]
    return texts[0] if texts else "no reason any more"


class CallReader:
    """For a protocol that nobody here knows: what was handed over at once is one piece."""

    def __init__(self) -> None:
        self._offset = 0

    def feed(self, buffers: tuple[Buffer, ...]) -> Iterator[SeenFrame]:
        """What was sent next."""
        size_bytes = sum(memoryview(each).nbytes for each in buffers)
        if size_bytes:
            self._offset += size_bytes
            yield SeenFrame("data", size_bytes, self._offset)
