"""Whatever else connects to the replica's port: the source that streams notices nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from replicator.connection import Connection
from replicator.errors import ConnectionLost
from replicator.protocol import PROTOCOL_VERSION, FrameType, Role, frame_header, head_seal
from replicator.replica import GREETINGS_LIMIT
from replicator.runtime import group, sleep_ns
from replicator.runtime.port import Stream
from replicator.source import SourceState
from simulator.host import Host
from simulator.link import Link, LinkModel
from simulator.systems.byte_level import REPLICA, REPLICA_ADDRESS, SET_ID
from tests.failures.worlds import MS, SECOND, FailureWorld, blocks

Knock = Callable[[Stream], Awaitable[None]]


async def goes_at_once(stream: Stream) -> None:
    stream.close()


async def resets(stream: Stream) -> None:
    stream.abort()


async def says_nothing(_stream: Stream) -> None:
    await sleep_ns(60 * SECOND)


async def speaks_http(stream: Stream) -> None:
    await stream.send(b"GET /health HTTP/1.1\r\nHost: replica\r\n\r\n")
    await stream.receive(1 << 16)


async def promises_megabytes(stream: Stream) -> None:
    head = bytearray(frame_header(FrameType.HELLO))
    head[8:12] = (60 << 20).to_bytes(4, "little")
    head[12:16] = head_seal(bytes(head[:12])).to_bytes(4, "little")
    await stream.send(bytes(head), bytes(200_000))
    await sleep_ns(60 * SECOND)


async def belongs_to_another_set(stream: Stream) -> None:
    await greet(stream, set="another")
    await sleep_ns(SECOND)


async def is_no_source(stream: Stream) -> None:
    payload = b"[]"
    await stream.send(frame_header(FrameType.HELLO, payload), payload)
    await sleep_ns(SECOND)


async def greet(stream: Stream, **fields: object) -> None:
    hello = {"protocol": PROTOCOL_VERSION, "set": SET_ID, "source": "S", "incarnation": 1}
    payload = json.dumps(hello | fields).encode()
    await stream.send(frame_header(FrameType.HELLO, payload), payload)


def streams(world: FailureWorld) -> bool:
    source = world.system.source
    return source is not None and source.state == SourceState.STREAMING


STRANGERS = [
    goes_at_once,
    resets,
    says_nothing,
    speaks_http,
    promises_megabytes,
    belongs_to_another_set,
    is_no_source,
]


class Stranger:
    """A third machine that connects again and again."""

    def __init__(self, world: FailureWorld) -> None:
        network = world.world.network
        assert network is not None
        model = LinkModel(bits_per_second=10**9, rtt_ns=MS)
        network.add_link(Link(world.clock, "stranger", REPLICA, model))
        self.host = world.world.machine("stranger").start()
        self.tries = 0

    def knock(self, knock: Knock, every_ms: float) -> None:
        self.host.start(self._again_and_again(self.host, knock, every_ms), "stranger")

    async def _again_and_again(self, host: Host, knock: Knock, every_ms: float) -> None:
        async with group() as g:
            while True:
                g.spawn(self._once(host, knock), "knock")
                await sleep_ns(int(every_ms * MS))

    async def _once(self, host: Host, knock: Knock) -> None:
        self.tries += 1
        with suppress(ConnectionLost):
            await knock(await host.connect(REPLICA_ADDRESS))


@pytest.mark.parametrize("knock", STRANGERS, ids=lambda knock: knock.__name__)
def test_the_stream_goes_on(knock: Knock) -> None:
    world = FailureWorld(blocks("/db", 0, 1000)).start()
    world.run_until(lambda: streams(world))
    stranger = Stranger(world)
    stranger.knock(knock, 100)
    began = world.source.durable
    world.run_to(2000)
    assert stranger.tries > 15
    assert world.source.durable > began + 800
    world.converge()
    assert len(world.said("session_begin", REPLICA)) == 1
    assert not world.said("session_end", REPLICA)
    assert world.replica.connected
    assert world.source.state == SourceState.STREAMING
    world.close()


def test_who_keeps_connections_open_locks_nobody_out() -> None:
    """More of them than may be open; the source loses its connection and comes back."""
    world = FailureWorld(blocks("/db", 0, 300)).start()
    world.run_until(lambda: streams(world))
    stranger = Stranger(world)
    stranger.knock(says_nothing, 1)
    for _cut in range(5):
        world.run_to(world.now_ms + 80)
        assert len(world.replica._greetings) <= GREETINGS_LIMIT
        world.link.reset()
    world.converge()
    assert stranger.tries > 10 * GREETINGS_LIMIT
    world.close()


def test_what_nobody_said_a_word_over_is_closed() -> None:
    world = FailureWorld(blocks("/db", 0, 300)).start()
    stranger = Stranger(world)
    stranger.knock(says_nothing, 20)
    world.run_to(600)
    assert 1 <= len(world.replica._greetings) <= 6, "each has five heartbeats of 20 ms"
    world.converge()
    world.close()


def test_a_source_that_is_waited_for_in_vain_is_named_when_another_is_turned_away() -> None:
    world = FailureWorld()
    world.system.start_replica()
    world.run_to(20)
    stranger = Stranger(world)
    stranger.knock(belongs_to_another_set, 100)
    world.run_to(200)
    assert f"this replica holds {SET_ID!r}, not 'another'" in world.replica.cause
    assert world.replica.refused == world.replica.cause
    world.close()


def test_another_connection_of_the_source_replaces_the_one_before() -> None:
    world = FailureWorld(blocks("/db", 0, 300)).start()
    world.run_until(lambda: streams(world))
    stranger = Stranger(world)
    heard: list[FrameType] = []

    async def source_again(stream: Stream) -> None:
        await greet(stream)
        connection = Connection(stream, Role.SOURCE)
        connection.session.sent(FrameType.HELLO)
        heard.append((await connection.receive()).type)
        stream.close()

    stranger.host.start(stranger._once(stranger.host, source_again), "again")
    world.run_until(lambda: bool(heard))
    assert heard == [FrameType.WELCOME]
    replaced = ("another connection of the source replaced it",)
    assert world.said("session_end", REPLICA)[0] == replaced
    world.converge()  # the source comes back
    world.close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"completed": None}, "RESUME cannot be understood"),
        ({"epoch": 7}, "goes on behind operation"),
        ({"durable": 0}, "goes on behind operation"),
        ({"completed": 0}, "goes on behind operation"),
    ],
    ids=["no mark", "epoch", "durable", "mark"],
)
def test_a_source_that_goes_on_from_elsewhere_is_refused(
    wrong: dict[str, object], told: str
) -> None:
    world = FailureWorld(blocks("/db", 0, 300)).start()
    world.run_until(lambda: streams(world) and world.source.durable > 20)
    stranger = Stranger(world)
    said: list[str] = []

    async def resumes_elsewhere(stream: Stream) -> None:
        await greet(stream)
        connection = Connection(stream, Role.SOURCE)
        connection.session.sent(FrameType.HELLO)
        welcome = (await connection.receive()).document()
        right = {name: welcome[name] for name in ("epoch", "durable")}
        document = right | {"completed": welcome["durable"]} | wrong
        await connection.send_document(FrameType.RESUME, document)
        while (frame := await connection.receive()).type != FrameType.REFUSE:
            pass
        said.append(frame.document()["message"])

    stranger.host.start(stranger._once(stranger.host, resumes_elsewhere), "elsewhere")
    world.run_until(lambda: bool(said))
    assert told in said[0]
    world.converge()  # the source comes back
    world.close()


def test_who_connected_earlier_does_not_end_what_came_later() -> None:
    """It took its time over its HELLO; meanwhile the source has lost and renewed its stream."""
    world = FailureWorld(blocks("/db", 0, 300)).start()
    stranger = Stranger(world)

    async def says_hello_late(stream: Stream) -> None:
        await sleep_ns(50 * MS)
        await greet(stream)
        await sleep_ns(SECOND)

    world.run_until(lambda: streams(world))
    stranger.host.start(stranger._once(stranger.host, says_hello_late), "late")
    world.run_to(world.now_ms + 20)
    world.link.reset()
    world.run_until(lambda: len(world.said("session_begin", REPLICA)) == 2, 40)
    world.converge()
    assert len(world.said("session_begin", REPLICA)) == 2, "the newer one stays"
    world.close()
