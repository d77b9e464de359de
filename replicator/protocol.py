"""The replication protocol: frames and the state machine of one connection, without I/O.

A connection is opened by the source.  After a handshake the source either *resumes* at the
operation behind the replica's durable one, or *synchronizes*: it begins a new epoch and
brings the image over page by page while operations of that epoch stream beside it.  Within a
stream the two images can be *compared*, and nothing is changed.

Frame layout (little-endian), 24 bytes and a payload::

    0  magic    4s  b"XRF1"
    4  type     u8  see FrameType
    5  flags    u8  0
    6  version  u16 PROTOCOL_VERSION
    8  length   u32 of the payload
    12 seal     u32 of what is before: the low half of xxh3_64(frame[:12])
    16 checksum u64 xxh3_64(frame[:16] + xxh3_64(payload))

The seal is looked at before the payload is waited for: a length that was changed on the way
would swallow what follows, heartbeats included, and the connection would seem alive.

``TRANSITIONS`` is the whole truth about which frame may follow which; the diagram in
``docs/protocol.md`` is drawn from it.  Both ends run the same machine, one frame at a time,
on what they send as well as on what they receive (a pair assertion: a defect on one side
is caught on both).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Final, NamedTuple

import xxhash

from replicator.errors import ProtocolViolation
from replicator.runtime.port import Buffer
from replicator.untrusted import json_object

PROTOCOL_VERSION: Final = 5
MAGIC: Final = b"XRF1"
HEADER: Final = struct.Struct("<4sBBHIIQ")
HEADER_BYTES: Final = HEADER.size
_UNSEALED: Final = struct.Struct("<4sBBHI")
_SEAL_MASK: Final = 0xFFFF_FFFF
_CHANGED: Final = "Nothing: the connection is opened anew and the frame is sent again."
MAX_PAYLOAD_BYTES: Final = 64 << 20


class FrameType(IntEnum):
    """Who sends it is part of the meaning: see TRANSITIONS."""

    HELLO = 1
    WELCOME = 2
    REFUSE = 3
    RESUME = 4
    BATCH = 5
    ACKNOWLEDGE = 6
    HEARTBEAT = 7
    SYNC_BEGIN = 8
    EXTENT_DIGESTS = 9
    EXTENTS_WANTED = 10
    PAGE_DATA = 11
    SYNC_END = 12
    CONDITION = 13
    PAGE_DIGESTS = 14
    PAGES_WANTED = 15
    COMPARE_BEGIN = 16
    COMPARE_NAMES = 17
    COMPARE_REPORT = 18


class Role(StrEnum):
    """The two ends of a connection."""

    SOURCE = "source"
    REPLICA = "replica"


class State(StrEnum):
    """Where a connection stands."""

    OPEN = "open"
    GREETED = "greeted"
    DECIDING = "deciding"
    STREAMING = "streaming"
    SYNCHRONIZING = "synchronizing"
    COMMITTING = "committing"
    COMPARING = "comparing"
    CLOSED = "closed"


_S, _R = Role.SOURCE, Role.REPLICA
_F = FrameType

Transition = tuple[State, Role, FrameType]
"""Who sends what in which state."""

TRANSITIONS: Final[dict[Transition, State]] = {
    (State.OPEN, _S, _F.HELLO): State.GREETED,
    (State.GREETED, _R, _F.WELCOME): State.DECIDING,
    (State.GREETED, _R, _F.REFUSE): State.CLOSED,
    (State.DECIDING, _S, _F.RESUME): State.STREAMING,
    (State.DECIDING, _S, _F.SYNC_BEGIN): State.SYNCHRONIZING,
    (State.STREAMING, _S, _F.BATCH): State.STREAMING,
    (State.STREAMING, _S, _F.HEARTBEAT): State.STREAMING,
    (State.STREAMING, _R, _F.ACKNOWLEDGE): State.STREAMING,
    (State.STREAMING, _R, _F.HEARTBEAT): State.STREAMING,
    (State.STREAMING, _R, _F.CONDITION): State.STREAMING,
    (State.STREAMING, _R, _F.REFUSE): State.CLOSED,
    (State.SYNCHRONIZING, _S, _F.BATCH): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _S, _F.HEARTBEAT): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _S, _F.EXTENT_DIGESTS): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _S, _F.PAGE_DIGESTS): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _S, _F.PAGE_DATA): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _S, _F.SYNC_END): State.COMMITTING,
    (State.SYNCHRONIZING, _R, _F.EXTENTS_WANTED): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _R, _F.PAGES_WANTED): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _R, _F.ACKNOWLEDGE): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _R, _F.HEARTBEAT): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _R, _F.CONDITION): State.SYNCHRONIZING,
    (State.SYNCHRONIZING, _R, _F.REFUSE): State.CLOSED,
    (State.COMMITTING, _S, _F.BATCH): State.COMMITTING,
    (State.COMMITTING, _S, _F.HEARTBEAT): State.COMMITTING,
    (State.COMMITTING, _R, _F.HEARTBEAT): State.COMMITTING,
    (State.COMMITTING, _R, _F.ACKNOWLEDGE): State.COMMITTING,
    (State.COMMITTING, _R, _F.CONDITION): State.COMMITTING,
    (State.COMMITTING, _R, _F.REFUSE): State.CLOSED,
    (State.COMMITTING, _R, _F.RESUME): State.STREAMING,
    (State.STREAMING, _S, _F.COMPARE_BEGIN): State.COMPARING,
    (State.COMPARING, _S, _F.COMPARE_BEGIN): State.COMPARING,
    (State.COMPARING, _S, _F.BATCH): State.COMPARING,
    (State.COMPARING, _S, _F.HEARTBEAT): State.COMPARING,
    (State.COMPARING, _S, _F.EXTENT_DIGESTS): State.COMPARING,
    (State.COMPARING, _S, _F.PAGE_DIGESTS): State.COMPARING,
    (State.COMPARING, _S, _F.COMPARE_REPORT): State.STREAMING,
    (State.COMPARING, _R, _F.COMPARE_NAMES): State.COMPARING,
    (State.COMPARING, _R, _F.EXTENTS_WANTED): State.COMPARING,
    (State.COMPARING, _R, _F.PAGES_WANTED): State.COMPARING,
    (State.COMPARING, _R, _F.ACKNOWLEDGE): State.COMPARING,
    (State.COMPARING, _R, _F.HEARTBEAT): State.COMPARING,
    (State.COMPARING, _R, _F.CONDITION): State.COMPARING,
    (State.COMPARING, _R, _F.REFUSE): State.CLOSED,
}
"""(state, sender, frame) to the next state.  What is not listed is a violation.

In COMMITTING the replica answers RESUME once the new image is durable: the roles of the
handshake come full circle, and streaming goes on.
"""


class Frame(NamedTuple):
    """One message; ``wire_bytes`` includes the header."""

    type: FrameType
    payload: bytes

    @property
    def wire_bytes(self) -> int:
        return HEADER_BYTES + len(self.payload)

    def document(self) -> dict[str, Any]:
        """The payload as a JSON object; raises ProtocolViolation."""
        try:
            return json_object(self.payload)
        except ValueError as error:
            raise ProtocolViolation(f"{self.type.name} holds no JSON object: {error}") from None


def frame_header(frame_type: FrameType, *payload: Buffer) -> bytes:
    """The 24 bytes that go before a payload, which may come in several pieces."""
    length = sum(map(len, payload))
    head = _UNSEALED.pack(MAGIC, frame_type, 0, PROTOCOL_VERSION, length)
    head += head_seal(head).to_bytes(4, "little")
    return head + _checksum(head, *payload).to_bytes(8, "little")


def head_seal(head: bytes) -> int:
    """What follows the first 12 bytes of a frame."""
    return xxhash.xxh3_64_intdigest(head) & _SEAL_MASK


def _checksum(head: bytes, *payload: Buffer) -> int:
    if len(payload) == 1:
        digest = xxhash.xxh3_64_digest(payload[0])
    else:
        state = xxhash.xxh3_64()
        for piece in payload:
            state.update(piece)
        digest = state.digest()
    return xxhash.xxh3_64_intdigest(head + digest)


def parse_header(header: bytes) -> tuple[FrameType, int]:
    """Type and payload length; raises ProtocolViolation for anything foreign or changed."""
    magic, kind, flags, version, length, seal, _ = HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolViolation(
            f"the peer does not speak this protocol (it sent {header[:8]!r})",
            remedy="Check that the address belongs to a replicator.",
        )
    if version != PROTOCOL_VERSION:
        raise ProtocolViolation(
            f"the peer speaks protocol version {version}, this release speaks {PROTOCOL_VERSION}",
            remedy="Install the same release at both ends.",
        )
    if seal != head_seal(header[:12]):
        raise ProtocolViolation(
            "the seal of a frame's header does not fit: bytes were changed on the way",
            remedy=_CHANGED,
        )
    frame_type = _FRAME_TYPES.get(kind)
    if flags or length > MAX_PAYLOAD_BYTES or frame_type is None:
        raise ProtocolViolation(f"impossible frame header: type {kind}, length {length}")
    return frame_type, length


_FRAME_TYPES: Final = {int(t): t for t in FrameType}


def check_frame(header: bytes, payload: bytes) -> None:
    """Raises ProtocolViolation when bytes were changed past the transport's checksum."""
    if int.from_bytes(header[16:24], "little") != _checksum(header[:16], payload):
        raise ProtocolViolation(
            "a frame's checksum does not fit: bytes were changed on the way",
            remedy=_CHANGED,
        )


class Session:
    """The state of one connection, as seen from one end.

    ``sent`` and ``received`` check a frame against TRANSITIONS and move on; both raise
    ProtocolViolation.
    """

    __slots__ = ("peer", "role", "state")

    watch: ClassVar[Callable[[Transition], None] | None] = None
    """Told of each transition of every session of this process, if anybody measures coverage; it
    must change nothing."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.peer = Role.REPLICA if role == Role.SOURCE else Role.SOURCE
        self.state = State.OPEN

    def sent(self, frame_type: FrameType) -> None:
        self._move(self.role, frame_type)

    def received(self, frame_type: FrameType) -> None:
        self._move(self.peer, frame_type)

    def _move(self, sender: Role, frame_type: FrameType) -> None:
        key = (self.state, sender, frame_type)
        following = TRANSITIONS.get(key)
        if following is None:
            raise ProtocolViolation(
                f"the {sender} may not send {frame_type.name} while {self.state.value}"
            )
        self.state = following
        if Session.watch is not None:
            Session.watch(key)


# -- payloads of fixed form ------------------------------------------------------------

_BATCH: Final = struct.Struct("<IIQQII16s16s")
BATCH_BYTES: Final = _BATCH.size


class BatchHeader(NamedTuple):
    """In front of the records of a BATCH frame, and of a journal's BATCH record.

    ``first`` and ``last`` number the operations; ``chain_before`` and ``chain_after`` are the
    links of the source's history at both ends.
    """

    epoch: int
    incarnation: int
    first: int
    last: int
    raw_bytes: int
    compressed: bool
    chain_before: bytes
    chain_after: bytes

    def encode(self) -> bytes:
        return _BATCH.pack(
            self.epoch,
            self.incarnation,
            self.first,
            self.last,
            self.raw_bytes,
            int(self.compressed),
            self.chain_before,
            self.chain_after,
        )

    @classmethod
    def decode(cls, payload: bytes) -> BatchHeader:
        """Raises ProtocolViolation."""
        if len(payload) < BATCH_BYTES:
            raise ProtocolViolation("a batch is cut short")
        epoch, incarnation, first, last, raw, compressed, before, after = _BATCH.unpack_from(
            payload
        )
        if first < 1 or last < first or raw > MAX_PAYLOAD_BYTES or compressed > 1:
            raise ProtocolViolation("a batch with impossible numbers")
        return cls(epoch, incarnation, first, last, raw, bool(compressed), before, after)


_ACKNOWLEDGE: Final = struct.Struct("<IIQQQQ")


class Acknowledgement(NamedTuple):
    """What the replica has: in its journal and synced; applied; and in a checkpoint.

    ``as_of_ns`` is the source's wall clock at the capture of the last applied operation.
    """

    epoch: int
    durable: int
    applied: int
    checkpointed: int
    as_of_ns: int

    def encode(self) -> bytes:
        return _ACKNOWLEDGE.pack(
            self.epoch, 0, self.durable, self.applied, self.checkpointed, self.as_of_ns
        )

    @classmethod
    def decode(cls, payload: bytes) -> Acknowledgement:
        """Raises ProtocolViolation."""
        if len(payload) != _ACKNOWLEDGE.size:
            raise ProtocolViolation("an acknowledgement of the wrong length")
        epoch, _, durable, applied, checkpointed, as_of = _ACKNOWLEDGE.unpack(payload)
        if not checkpointed <= applied <= durable:
            raise ProtocolViolation("an acknowledgement that contradicts itself")
        return cls(epoch, durable, applied, checkpointed, as_of)


_HEARTBEAT: Final = struct.Struct("<IIQQ")


class Heartbeat(NamedTuple):
    """From the source: its last completed operation and its wall clock just now."""

    epoch: int
    completed: int
    wall_ns: int

    def encode(self) -> bytes:
        return _HEARTBEAT.pack(self.epoch, 0, self.completed, self.wall_ns)

    @classmethod
    def decode(cls, payload: bytes) -> Heartbeat:
        """Raises ProtocolViolation."""
        if len(payload) != _HEARTBEAT.size:
            raise ProtocolViolation("a heartbeat of the wrong length")
        epoch, _, completed, wall_ns = _HEARTBEAT.unpack(payload)
        return cls(epoch, completed, wall_ns)
