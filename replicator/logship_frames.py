"""What travels between the two ends of log shipping: questions of the copy, answers of the source.

The copy pulls: it asks, the source answers, one question at a time on one connection::

    LIST   {set, inspected, replayed, lagged}  ->  LISTING {wall_ns, oldest, newest, log_bytes}
    OPEN   {generation}                        ->  LOG {name, size_bytes, as_of_ns}
    READ   {generation, offset, length}        ->  DATA bytes
    any of them                                ->  REFUSED {code, message}

A frame is a header of 20 bytes (magic, type, length, xxh3-64 of header and payload) and its
payload.  The checksum guards against what the transport's own lets through; whether a log is good
is found by its inspection, and not here.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple

import xxhash

from replicator.errors import ProtocolViolation, ReplicatorError
from replicator.runtime import deadline
from replicator.runtime.port import Stream
from replicator.untrusted import json_object

MAGIC: Final = b"LSH1"
_HEADER: Final = struct.Struct(">4sIIQ")
HEADER_BYTES: Final = _HEADER.size
MAX_PAYLOAD_BYTES: Final = 1 << 20
DOCUMENT_MOST_BYTES: Final = 4096
"""Of every payload but DATA."""


class ShipFrame(IntEnum):
    """The type of a frame."""

    LIST = 1
    LISTING = 2
    OPEN = 3
    LOG = 4
    READ = 5
    DATA = 6
    REFUSED = 7


class Received(NamedTuple):
    """A frame that has arrived, its checksum in order."""

    type: ShipFrame
    payload: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The payload as an object; raises ProtocolViolation."""
        try:
            return json_object(self.payload)
        except ValueError as error:
            raise ProtocolViolation(f"{self.type.name}: {error}") from None


class Refused(ReplicatorError):
    """The source does not serve what was asked for.

    Arguments
    ---------
    code: ``missing`` (it has no such log any more), ``set`` (it is of another set), ``question``.
    """

    default_remedy = "Look at the source's log directory, and at the configuration of both ends."

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _checksum(kind: int, payload: bytes) -> int:
    return xxhash.xxh3_64_intdigest(payload, seed=kind << 32 | len(payload))


def encoded(kind: ShipFrame, payload: bytes) -> bytes:
    """A frame's bytes."""
    return _HEADER.pack(MAGIC, kind, len(payload), _checksum(kind, payload)) + payload


async def send_document(stream: Stream, kind: ShipFrame, **values: int | str | bool) -> None:
    """Send a frame whose payload is an object; raises ConnectionLost."""
    await stream.send(encoded(kind, json.dumps(values).encode()))


async def receive(stream: Stream, patience_ns: int) -> Received:
    """The next frame.

    Arguments
    ---------
    patience_ns: so long nothing may come.

    Raises TimedOut, ConnectionLost, and ProtocolViolation for what is no frame.
    """
    async with deadline(patience_ns):
        header = await stream.receive_exactly(HEADER_BYTES)
    magic, kind, length, checksum = _HEADER.unpack(header)
    if magic != MAGIC or kind not in ShipFrame._value2member_map_:
        raise ProtocolViolation("the peer does not speak the protocol of log shipping")
    frame_type = ShipFrame(kind)
    most = MAX_PAYLOAD_BYTES if frame_type is ShipFrame.DATA else DOCUMENT_MOST_BYTES
    if length > most:
        raise ProtocolViolation(f"a {frame_type.name} of {length} bytes, {most} are allowed")
    parts: list[bytes] = []
    missing = length
    while missing:
        # Whatever comes is a sign of life: a piece may take a slow link longer than that.
        async with deadline(patience_ns):
            part = await stream.receive_exactly(min(missing, 16 << 10))
        parts.append(part)
        missing -= len(part)
    payload = b"".join(parts)
    if _checksum(kind, payload) != checksum:
        raise ProtocolViolation(f"a {frame_type.name} was changed on its way")
    return Received(frame_type, payload)


def whole(document: dict[str, Any], key: str) -> int:
    """A number of at most 63 bits, not negative; raises ProtocolViolation."""
    value = document.get(key)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ProtocolViolation(f"{key!r} is no whole number")
    return value


def text(document: dict[str, Any], key: str, most: int = 200) -> str:
    """A short text; raises ProtocolViolation."""
    value = document.get(key)
    if not isinstance(value, str) or len(value) > most:
        raise ProtocolViolation(f"{key!r} is no short text")
    return value


__all__ = [
    "HEADER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "Received",
    "Refused",
    "ShipFrame",
    "encoded",
    "receive",
    "send_document",
    "text",
    "whole",
]
