"""The frames of log shipping, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from replicator.errors import ConnectionLost, ProtocolViolation
from replicator.logship_copy import LogCopier
from replicator.logship_frames import (
    HEADER_BYTES,
    Refused,
    ShipFrame,
    encoded,
    receive,
)
from tests.log_shipping.scenes import SECOND_NS, at_once


class Bytes:
    """A stream that gives some bytes and then ends; what is sent is kept."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sent = data, b""

    async def receive_exactly(self, size_bytes: int) -> bytes:
        if len(self.data) < size_bytes:
            raise ConnectionLost("closed by the peer")
        taken, self.data = self.data[:size_bytes], self.data[size_bytes:]
        return taken

    async def send(self, *buffers: bytes) -> None:
        self.sent += b"".join(buffers)


def received(data: bytes) -> Any:
    async def main(_host: object) -> Any:
        return await receive(Bytes(data), SECOND_NS)  # type: ignore[arg-type]

    return at_once(main)


def test_a_frame_arrives_as_it_was_sent() -> None:
    for payload in (b"", b"x", bytes(range(256)) * 300):
        assert received(encoded(ShipFrame.DATA, payload)) == (ShipFrame.DATA, payload)


def test_no_changed_byte_goes_unseen() -> None:
    whole = encoded(ShipFrame.LISTING, b'{"newest": 7}')
    for at in range(len(whole)):
        data = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        with pytest.raises((ProtocolViolation, ConnectionLost)):
            received(data)
    for length in range(len(whole)):
        with pytest.raises(ConnectionLost):
            received(whole[:length])


def test_a_long_frame_is_refused_before_it_is_read() -> None:
    header = encoded(ShipFrame.LISTING, b"x" * 5000)[:HEADER_BYTES]
    with pytest.raises(ProtocolViolation, match="5000 bytes, 4096 are allowed"):
        received(header)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{", b"{}", b'{"wall_ns": -1, "oldest": 0, "newest": 0, "log_bytes": 0}',
     b'{"wall_ns": 1, "oldest": 5, "newest": 4, "log_bytes": 0}',
     b'{"wall_ns": 1, "oldest": 1, "newest": true, "log_bytes": 0}',
     b'{"wall_ns": 1, "oldest": 1, "newest": 1, "log_bytes": 99999999999}'],
)  # fmt: skip
def test_a_listing_that_makes_no_sense_is_refused(document: bytes) -> None:
    async def main(_host: object) -> None:
        stream: Any = Bytes(encoded(ShipFrame.LISTING, document))
        await LogCopier(stream, "set", SECOND_NS).listing(0, 0, lagged=False)

    with pytest.raises(ProtocolViolation):
        at_once(main)


@pytest.mark.parametrize(
    "document",
    [b'{"name": "../E0000001.log", "size_bytes": 1, "as_of_ns": 0}',
     b'{"name": "E0000002.log", "size_bytes": 1, "as_of_ns": 0}',
     b'{"name": "E00.log", "size_bytes": 1, "as_of_ns": 0}',
     b'{"name": "E0000001.log", "size_bytes": 99999999999, "as_of_ns": 0}'],
)  # fmt: skip
def test_an_offer_of_another_file_is_refused(document: bytes) -> None:
    async def main(_host: object) -> None:
        stream: Any = Bytes(encoded(ShipFrame.LOG, document))
        await LogCopier(stream, "set", SECOND_NS).offered(1)

    with pytest.raises(ProtocolViolation):
        at_once(main)


def test_a_refusal_says_why() -> None:
    async def main(_host: object) -> None:
        payload = b'{"code": "missing", "message": "generation 0x1 is gone"}'
        stream: Any = Bytes(encoded(ShipFrame.REFUSED, payload))
        await LogCopier(stream, "set", SECOND_NS).read(1, 0, 10)

    with pytest.raises(Refused, match="generation 0x1 is gone") as caught:
        at_once(main)
    assert caught.value.code == "missing"
