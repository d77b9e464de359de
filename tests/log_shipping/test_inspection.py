"""What an inspection refuses, and under which of the engine's numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.ese.errors import EseError
from replicator.ese.values import Signature
from replicator.logship_inspect import clear, inspect, take_in
from simulator.host import Host, lose_everything, run_offline
from tests.log_shipping.scenes import COPY, INSPECTION, History, at_once, make_history, put

HEADER_BYTES = 4096


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "a bit of its header": (lambda data: flipped(data, 40), -501),
    "a bit of a record": (lambda data: flipped(data, HEADER_BYTES + 700), -501),
    "cut short": (lambda data: data[: len(data) // 2], -541),
    "its end is zeros": (lambda data: data[:20_000].ljust(len(data), b"\0"), -501),
    "empty": (lambda data: b"", -501),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_log_is_refused(history: History, damage: str) -> None:
    change, number = DAMAGES[damage]
    name = list(history.logs)[2]

    async def main(host: Host) -> None:
        volume = host.volume("data")
        await put(volume, INSPECTION, {name: change(history.logs[name])})
        with pytest.raises(EseError) as caught:
            await inspect(volume, f"{INSPECTION}/{name}", None, None)
        assert caught.value.number == number, caught.value
        assert name in str(caught.value)

    at_once(main)


def test_a_log_must_go_on_from_the_one_before_and_be_of_the_set(history: History) -> None:
    other = make_history(12, seed=2)
    first, second, third = list(history.logs)[:3]

    async def main(host: Host) -> None:
        volume = host.volume("data")
        await put(volume, INSPECTION, {name: history.logs[name] for name in (first, second, third)})
        before = await inspect(volume, f"{INSPECTION}/{first}", None, None)
        assert before.header is not None
        signature = before.header.log_signature
        await inspect(volume, f"{INSPECTION}/{second}", before, signature)
        with pytest.raises(EseError) as caught:
            await inspect(volume, f"{INSPECTION}/{third}", before, signature)
        assert caught.value.number == -528
        with pytest.raises(EseError) as caught:
            await inspect(volume, f"{INSPECTION}/{second}", before, Signature(7))
        assert caught.value.number == -530
        await put(volume, INSPECTION, {second: other.logs[second]})
        with pytest.raises(EseError) as caught:
            await inspect(volume, f"{INSPECTION}/{second}", before, None)
        assert caught.value.number == -530
        await put(volume, INSPECTION, {second: history.logs[third]})
        with pytest.raises(EseError) as caught:
            await inspect(volume, f"{INSPECTION}/{second}", before, signature)
        assert caught.value.number == -513

    at_once(main)


@pytest.mark.parametrize("sync", [True, False])
def test_what_was_taken_in_survives_a_power_loss(history: History, sync: bool) -> None:
    """Without its syncs it does not: so they are needed."""
    name = next(iter(history.logs))
    data = history.logs[name]

    async def main(host: Host) -> tuple[list[str], bytes]:
        volume = host.volume("data")
        await put(volume, INSPECTION, {})
        await put(volume, COPY, {})
        file = volume.create(f"{INSPECTION}/{name}")
        file.write_at(0, data)
        file.close()
        assert await take_in(volume, f"{INSPECTION}/{name}", COPY, sync=sync) == f"{COPY}/{name}"

        async def afterwards(other: Host) -> tuple[list[str], bytes]:
            found = other.volume("data").list(COPY)
            if name not in found:
                return found, b""
            return found, await other.volume("data").open(f"{COPY}/{name}").read_at(0, 1 << 20)

        return run_offline(host.machine.disks, afterwards, choose=lose_everything)

    names, found = at_once(main)
    assert ((names, found) == ([name], data)) is sync


def test_what_was_under_way_is_thrown_away() -> None:
    async def main(host: Host) -> None:
        volume = host.volume("data")
        await put(volume, INSPECTION, {"E0000001.log": b"half", "junk": b""})
        assert clear(volume, INSPECTION) == 2
        assert volume.list(INSPECTION) == []

    at_once(main)
