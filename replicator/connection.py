"""Frames over a stream: one :class:`Session` and the order of what is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from replicator.errors import ConnectionLost, ProtocolViolation
from replicator.protocol import (
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameType,
    Role,
    Session,
    check_frame,
    frame_header,
    parse_header,
)
from replicator.runtime import deadline
from replicator.runtime.channels import Signal
from replicator.runtime.port import Buffer, Stream

AT_ONCE_BYTES: Final = 4096
"""Payloads of up to so many bytes are waited for as a whole."""


class Connection:
    """Sends and receives whole frames and keeps the protocol's state.

    Several tasks may send; each frame goes out in one piece and in the order of the calls.
    """

    def __init__(self, stream: Stream, role: Role) -> None:
        self.stream = stream
        self.session = Session(role)
        self.sent_bytes = 0
        self.received_bytes = 0
        self._sending = False
        self._free = Signal()

    async def send(self, frame_type: FrameType, *payload: Buffer) -> int:
        """Send one frame, its payload in one or more pieces; returns its bytes on the wire.

        Raises ConnectionLost.
        """
        while self._sending:
            await self._free
        self._sending = True
        try:
            self.session.sent(frame_type)
            await self.stream.send(frame_header(frame_type, *payload), *payload)
        finally:
            self._sending = False
            self._free.notify()
        size = HEADER_BYTES + sum(map(len, payload))
        self.sent_bytes += size
        return size

    async def send_document(self, frame_type: FrameType, document: dict[str, Any]) -> None:
        """Send a frame whose payload is a JSON object."""
        await self.send(frame_type, json.dumps(document).encode())

    async def receive(self, limit_bytes: int = MAX_PAYLOAD_BYTES) -> Frame:
        """The next frame, verified; raises ConnectionLost and ProtocolViolation.

        ``limit_bytes``: how long its payload may be.
        """
        header = await self.stream.receive_exactly(HEADER_BYTES)
        frame_type, length = parse_header(header)
        if length > limit_bytes:
            raise ProtocolViolation(f"a {frame_type.name} of {length} bytes is too long here")
        payload = await self.stream.receive_exactly(length) if length else b""
        return self._taken(header, frame_type, payload)

    async def receive_alive(self, patience_ns: int, alive: Callable[[], None]) -> Frame:
        """The next frame from a peer that may be slow, but not silent.

        A frame of some hundred kilobytes takes a slow link longer than a peer may be silent, and
        its heartbeats wait behind it: whatever comes is a sign of life.

        Arguments
        ---------
        patience_ns: so long nothing may come.
        alive: called when something of a long frame has come.

        Raises TimedOut, ConnectionLost and ProtocolViolation.
        """
        async with deadline(patience_ns):
            header = await self.stream.receive_exactly(HEADER_BYTES)
        frame_type, length = parse_header(header)
        if length <= AT_ONCE_BYTES:
            async with deadline(patience_ns):
                payload = await self.stream.receive_exactly(length) if length else b""
        else:
            pieces: list[bytes] = []
            missing = length
            while missing:
                async with deadline(patience_ns):
                    piece = await self.stream.receive(missing)
                if not piece:
                    raise ConnectionLost("closed by the peer inside a frame")
                alive()
                pieces.append(piece)
                missing -= len(piece)
            payload = b"".join(pieces)
        return self._taken(header, frame_type, payload)

    def _taken(self, header: bytes, frame_type: FrameType, payload: bytes) -> Frame:
        check_frame(header, payload)
        self.received_bytes += HEADER_BYTES + len(payload)
        self.session.received(frame_type)
        return Frame(frame_type, payload)

    def close(self) -> None:
        self.stream.close()

    def abort(self) -> None:
        self.stream.abort()
