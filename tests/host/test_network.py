"""Addresses, TCP options and resources of the host's connections."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from replicator.errors import ConnectionLost, ListenerClosed
from replicator.host import network as network_module
from replicator.host import streams
from replicator.host.network import HostNetwork, Place, join_address, split_address
from replicator.host.streams import HostStream
from replicator.runtime import Signal, TimedOut, deadline, group, sleep_ns, yield_now
from tests.real_loop import PATIENCE_S, RealLoop

MILLISECOND_NS = 1_000_000


@pytest.fixture
def network(real: RealLoop) -> Iterator[HostNetwork]:
    made = HostNetwork(real.loop)
    yield made
    real.run_until(lambda: not made.resolvers.underway)
    made.close()
    assert made.resolvers.join()


async def pair(network: HostNetwork) -> tuple[HostStream, HostStream]:
    listener = await network.listen("127.0.0.1:0")
    async with group() as g:
        accepting = g.spawn(listener.accept(), "accept")
        client = await network.connect(listener.address)
    listener.close()
    return client, accepting.result()


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("replica:7000", ("replica", 7000)),
        ("10.0.0.1:0", ("10.0.0.1", 0)),
        ("[::1]:7000", ("::1", 7000)),
        ("[fe80::1%lo]:65535", ("fe80::1%lo", 65535)),
        (":7000", ("", 7000)),
    ],
)
def test_addresses_are_split_and_joined(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts
    assert join_address(*parts) == address


@pytest.mark.parametrize(
    "address",
    ["", "replica", "replica:", "replica:http", "replica:-1", "replica:65536", "::1:7000",
     "[::1]", "[replica]:1", "replica:٣", "a\0b:1", "replica:000001"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConnectionLost, match="is not an address"):
        split_address(address)


def test_names_are_looked_up_in_a_thread(real: RealLoop, network: HostNetwork) -> None:
    async def program() -> None:
        listener = await network.listen("localhost:0")
        port = split_address(listener.address)[1]
        stream = await network.connect(f"localhost:{port}")
        stream.abort()
        with pytest.raises(ConnectionLost, match="names no host"):
            await network.connect(f":{port}")
        for address in ("no.such.name.invalid:1", "x" * 70 + ".invalid:1", "..:1"):
            with pytest.raises(ConnectionLost, match=r"no route to|names no host"):
                await network.connect(address)
        with pytest.raises(ConnectionLost, match="not an address of this machine"):
            await network.listen("192.0.2.1:0")

    with mock.patch.object(socket, "getaddrinfo", _offline_lookup):
        real.run(program())


_getaddrinfo = socket.getaddrinfo


def _offline_lookup(host: str, port: int, **options: Any) -> Any:
    """No question leaves this machine."""
    if host.endswith("invalid") and not options.get("flags"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _getaddrinfo(host, port, **options)


def test_a_lookup_that_hangs_can_be_given_up(real: RealLoop, network: HostNetwork) -> None:
    go_on = threading.Event()

    def hang(host: str, port: int, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        go_on.wait(PATIENCE_S)
        return []

    async def program() -> None:
        with pytest.raises(TimedOut):
            async with deadline(5 * MILLISECOND_NS):
                await network.connect("slow:1")

    with mock.patch.object(socket, "getaddrinfo", hang):
        real.run(program())
        go_on.set()
        real.run_until(lambda: not network.resolvers.underway)


def test_listening_everywhere_takes_both_families(real: RealLoop, network: HostNetwork) -> None:
    async def program() -> None:
        listener = await network.listen(":0")
        port = split_address(listener.address)[1]
        (await network.connect(f"127.0.0.1:{port}")).abort()
        if listener.address.startswith("["):
            (await network.connect(f"[::1]:{port}")).abort()

    real.run(program())


def test_connections_have_no_delay_and_are_probed(real: RealLoop, network: HostNetwork) -> None:
    async def program() -> None:
        for stream in await pair(network):
            sock = stream._sock
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not sock.get_inheritable()

    real.run(program())


def test_a_connect_that_is_never_answered_can_be_given_up(
    real: RealLoop, network: HostNetwork
) -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def program() -> None:
        with socket.socket() as full:  # a backlog with no room answers nobody
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = join_address(*full.getsockname())
            fillers = [await network.connect(address)]
            with pytest.raises(TimedOut):
                while len(fillers) < 50:
                    async with deadline(100 * MILLISECOND_NS):
                        fillers.append(await network.connect(address))
            for stream in fillers:
                stream.abort()

    real.run(program())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_closed_end_gives_up_on_a_peer_that_takes_nothing(
    real: RealLoop, network: HostNetwork
) -> None:
    async def program() -> None:
        client, server = await pair(network)
        with pytest.raises(TimedOut):
            while True:
                async with deadline(50 * MILLISECOND_NS):
                    await client.send(bytes(8_000_000))
        client.close()
        assert client.lingers
        while network.streams:
            if server in network.streams and len(network.streams) == 1:
                server.abort()
            await yield_now()

    with mock.patch.object(streams, "LINGER_S", 0.05):
        real.run(program())


def test_a_closed_end_waits_for_a_slow_peer_as_long_as_bytes_arrive(
    real: RealLoop, network: HostNetwork
) -> None:
    size = 12_000_000

    async def program() -> int:
        client, server = await pair(network)
        await client.send(bytes(size))
        client.close()
        got = 0
        while part := await server.receive(200_000):
            got += len(part)
            await sleep_ns(12 * MILLISECOND_NS)
        while client in network.streams:  # all is acknowledged, though this end stays open
            await sleep_ns(MILLISECOND_NS)
        server.close()
        return got

    with mock.patch.object(streams, "LINGER_S", 0.4):
        assert real.run(program()) == size


def test_a_fast_peer_does_not_keep_a_reader_from_its_deadline(
    real: RealLoop, network: HostNetwork
) -> None:
    """Data that is always there must not starve timers and other tasks."""

    async def program() -> None:
        client, server = await pair(network)

        async def push() -> None:
            while True:
                await client.send(bytes(100_000))

        async with group() as g:
            g.spawn(push(), "push")
            with pytest.raises(TimedOut):
                async with deadline(50 * MILLISECOND_NS):
                    while True:
                        await server.receive(10)
            g.cancel()
        client.abort()
        server.abort()

    real.run(program())


def test_accept_says_why_it_cannot(real: RealLoop, network: HostNetwork) -> None:
    async def program() -> None:
        listener = await network.listen("127.0.0.1:0")
        sock = mock.Mock(wraps=listener._ready.sock)
        sock.accept.side_effect = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        lost = pytest.raises(ConnectionLost, match="Too many open files")
        with mock.patch.object(listener._ready, "sock", sock), lost:
            await listener.accept()

    real.run(program())


def test_a_connection_that_is_reset_before_it_was_taken_is_passed_over(
    real: RealLoop, network: HostNetwork
) -> None:
    """Its options cannot be set any more; the next one is the listener's answer."""
    prepare, failures = streams.prepare, [2]

    def gone(sock: socket.socket) -> None:
        if failures[0] and sock.getsockname()[1] == port:
            failures[0] -= 1
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        prepare(sock)

    async def program() -> None:
        nonlocal port
        listener = await network.listen("127.0.0.1:0")
        port = split_address(listener.address)[1]
        clients = [await network.connect(listener.address) for _ in range(3)]
        server = await listener.accept()
        assert list(network.streams) == [*clients, server]
        for stream in (*clients, server):
            stream.abort()
        listener.close()

    port = 0
    before = len(os.listdir("/proc/self/fd"))
    with mock.patch.object(streams, "prepare", gone):
        real.run(program())
    assert failures == [0]
    assert not network.streams
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_connection_that_is_reset_while_it_is_made_leaves_nothing(
    real: RealLoop, network: HostNetwork
) -> None:
    def gone(_sock: socket.socket) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    async def program() -> None:
        listener = await network.listen("127.0.0.1:0")
        open_before = len(os.listdir("/proc/self/fd"))
        with mock.patch.object(streams, "prepare", gone):
            for _attempt in range(10):
                with pytest.raises(ConnectionLost, match="Invalid argument"):
                    await network.connect(listener.address)
        assert not network.streams
        assert len(os.listdir("/proc/self/fd")) == open_before
        listener.close()

    real.run(program())


def test_a_closed_listener_says_that_it_is_closed(real: RealLoop, network: HostNetwork) -> None:
    async def program() -> None:
        listener = await network.listen("127.0.0.1:0")
        listener.close()
        with pytest.raises(ListenerClosed):
            await listener.accept()

    real.run(program())


# -- names with several addresses --------------------------------------------------------


class SilentPlaces:
    """Resolves ``replica.example`` to these hosts; those that are silent never answer."""

    def __init__(self, hosts: list[str], silent: set[str]) -> None:
        self.hosts, self.silent = hosts, silent
        self.tried: list[str] = []
        self.left: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        resolve, connect = network_module._places, HostNetwork._connect

        def places(host: str, port: int, flags: int) -> list[Place]:
            if host != "replica.example":
                return resolve(host, port, flags)
            return [(socket.AF_INET, (each, port)) for each in self.hosts]

        async def connect_or_hang(network: HostNetwork, where: Place) -> HostStream:
            self.tried.append(where[1][0])
            if where[1][0] not in self.silent:
                return await connect(network, where)
            try:
                while True:
                    await Signal()
            finally:
                self.left.append(where[1][0])

        monkeypatch.setattr(network_module, "_places", places)
        monkeypatch.setattr(HostNetwork, "_connect", connect_or_hang)


@pytest.mark.parametrize("safeguard", [True, False])
def test_a_silent_address_does_not_take_the_patience_for_all(
    real: RealLoop, network: HostNetwork, monkeypatch: pytest.MonkeyPatch, safeguard: bool
) -> None:
    silent = SilentPlaces(["192.0.2.1", "192.0.2.2", "127.0.0.1"], {"192.0.2.1", "192.0.2.2"})
    silent.install(monkeypatch)
    delay_ns = MILLISECOND_NS if safeguard else 3600_000 * MILLISECOND_NS
    monkeypatch.setattr(network_module, "ATTEMPT_DELAY_NS", delay_ns)
    patience_ns = (10_000 if safeguard else 50) * MILLISECOND_NS

    async def program() -> None:
        listener = await network.listen("127.0.0.1:0")
        port = split_address(listener.address)[1]
        async with deadline(patience_ns):
            (await network.connect(f"replica.example:{port}")).abort()

    if safeguard:
        real.run(program())
        assert silent.tried == silent.hosts
        assert sorted(silent.left) == ["192.0.2.1", "192.0.2.2"]  # none is left underway
        assert not network._given_up
    else:
        with pytest.raises(TimedOut):
            real.run(program())
        assert silent.tried == ["192.0.2.1"]
    assert not network.streams


def test_the_next_call_begins_behind_the_last_address_that_was_tried(
    real: RealLoop, network: HostNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = ["192.0.2.1", "192.0.2.2", "127.0.0.1"]
    silent = SilentPlaces(hosts, {"192.0.2.1", "192.0.2.2"})
    silent.install(monkeypatch)  # the patience is shorter than the delay between two of them

    async def program() -> None:
        listener = await network.listen("127.0.0.1:0")
        address = f"replica.example:{split_address(listener.address)[1]}"
        for _ in range(2):
            with pytest.raises(TimedOut):
                async with deadline(MILLISECOND_NS):
                    await network.connect(address)
        (await network.connect(address)).abort()

    real.run(program())
    assert silent.tried == hosts


def test_addresses_that_fail_are_all_named(
    real: RealLoop, network: HostNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    SilentPlaces(["127.0.0.1", "127.0.0.2"], set()).install(monkeypatch)

    async def program() -> str:
        listener = await network.listen("127.0.0.1:0")
        port = split_address(listener.address)[1]
        listener.close()
        with pytest.raises(ConnectionLost) as refused:
            await network.connect(f"replica.example:{port}")
        return str(refused.value).replace(str(port), "PORT")

    before = len(os.listdir("/proc/self/fd"))
    assert real.run(program()) == (
        "refused: nobody listens on 127.0.0.1:PORT; refused: nobody listens on 127.0.0.2:PORT "
        "(addresses of replica.example:PORT)"
    )
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("safeguard", [True, False])
def test_accepting_what_waits_lets_the_others_run(
    real: RealLoop, network: HostNetwork, monkeypatch: pytest.MonkeyPatch, safeguard: bool
) -> None:
    if not safeguard:
        monkeypatch.setattr("replicator.host.turns.CALLS_IN_A_ROW", 1 << 30)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await yield_now()

    async def program() -> int:
        listener = await network.listen("127.0.0.1:0")
        place = split_address(listener.address)
        clients = [socket.create_connection(place) for _ in range(100)]
        async with group() as g:
            g.spawn(others(), "others")
            await sleep_ns(MILLISECOND_NS)
            before = turns
            for _ in clients:
                (await listener.accept()).abort()
            after = turns
            g.cancel()
        for each in clients:
            each.close()
        return after - before

    assert (real.run(program()) >= 3) is safeguard
