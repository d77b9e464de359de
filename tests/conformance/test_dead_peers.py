"""What the kernel of a killed process does with its connections, emulated and on loopback TCP.

On Linux the death of a process closes its sockets: with unread bytes that is a reset, without
any it is an end in good order, behind all that the kernel had taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replicator.errors import ConnectionLost
from replicator.runtime.port import Stream
from tests.conformance.stream_worlds import STREAM_WORLDS, StreamWorld


@pytest.fixture(params=STREAM_WORLDS, ids=lambda kind: kind.__name__)
def streams(request: pytest.FixtureRequest) -> Iterator[StreamWorld]:
    world: StreamWorld = request.param()
    yield world
    world.close()


async def read_all(stream: Stream) -> tuple[int, str]:
    """How many bytes came, and what the end was."""
    got = 0
    try:
        while part := await stream.receive(100_000):
            got += len(part)
    except ConnectionLost as lost:
        return got, str(lost)
    return got, "closed"


def test_what_the_kernel_had_taken_arrives_and_then_the_end(streams: StreamWorld) -> None:
    taken, (got, end) = streams.outlive(b"", read_all)
    assert (got, end) == (taken, "closed")


def test_who_dies_over_unread_bytes_resets(streams: StreamWorld) -> None:
    taken, (got, end) = streams.outlive(b"never read", read_all)
    assert "reset by the peer" in end
    assert got <= taken


def test_the_end_may_come_in_the_middle_of_a_message(streams: StreamWorld) -> None:
    async def survive(stream: Stream) -> str:
        with pytest.raises(ConnectionLost) as lost:
            await stream.receive_exactly(1 << 30)
        return str(lost.value)

    taken, said = streams.outlive(b"", survive)
    assert f"closed by the peer after {taken} of" in said
