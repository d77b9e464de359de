"""When a generation is closed, and what belongs to it; a roll that a crash cuts in half."""

from __future__ import annotations

import pytest

from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.host import Host, run_offline
from simulator.runtime import SimClock
from simulator.shipped_truth import ShippedTruth
from simulator.witness import WitnessedVolume
from tests.log_shipping.scenes import STORE

DATABASE = f"{STORE}/priv1.edb"
CURRENT, NEXT = f"{STORE}/E00.log", f"{STORE}/E00tmp.log"


def closed_log(generation: int) -> str:
    return f"{STORE}/E00{generation:08X}.log"


class Store:
    """Names and bytes of a store, as programs change them."""

    def __init__(self, host: Host) -> None:
        volume = host.volume("data")
        volume.mkdir(STORE)
        self.truth = ShippedTruth(host.machine.disks["data"], "data", STORE)
        self.volume = WitnessedVolume(self.truth, volume)
        self.volume.create(DATABASE).close()
        self.prepare(1)
        self.open_next()

    def prepare(self, generation: int) -> None:
        """A log with a header, which has not its name yet."""
        file = self.volume.create(NEXT)
        file.write_at(0, bytes(4) + generation.to_bytes(4, "little"))
        file.close()

    def open_next(self) -> None:
        self.volume.rename(NEXT, CURRENT)

    def close(self, generation: int) -> None:
        self.volume.rename(CURRENT, closed_log(generation))

    async def change(self) -> None:
        """Of a page, and a sync."""
        file = self.volume.open(DATABASE)
        file.write_at(0, b"page")
        await file.sync()
        file.close()


def cut_in_half() -> tuple[int, int, int]:
    """Of a roll that a crash cuts in half: operations of generation 1, and two that bound it.

    Returns the operation that closed it, the last one before there is an open log, and what the
    truth says.
    """

    async def main(host: Host) -> tuple[int, int, int]:
        store = Store(host)
        truth = store.truth
        await store.change()
        store.prepare(2)
        store.close(1)
        at_close = truth.instant
        truth.resumed()  # the process died and starts again
        await store.change()
        last = truth.instant
        store.open_next()
        await store.change()
        return at_close, last, truth.operation_of(1)

    return run_offline({"data": Disk(SimClock(), INSTANT, "store")}, main)


def test_a_roll_ends_with_the_call_that_gives_the_log_its_generation() -> None:
    async def main(host: Host) -> None:
        store = Store(host)
        truth = store.truth
        for generation in (1, 2):
            await store.change()
            store.prepare(generation + 1)
            store.close(generation)
            at_close = truth.instant
            store.open_next()
            await store.change()
            assert truth.operation_of(generation) == at_close < truth.instant
        assert truth.newest == 2 and truth.operation_of(1) < truth.operation_of(2)

    run_offline({"data": Disk(SimClock(), INSTANT, "store")}, main)


def test_what_recovery_does_while_no_log_is_open_belongs_to_the_closed_one() -> None:
    """The next log is made after it, and that is the time that the copy is as of."""
    at_close, last, said = cut_in_half()
    assert at_close < said == last


def test_without_that_an_honest_copy_would_be_called_a_liar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ShippedTruth, "_while_none_is_open", lambda _truth: None)
    at_close, last, said = cut_in_half()
    assert said == at_close < last


def test_a_generation_whose_name_a_power_loss_took_back_is_closed_again() -> None:
    async def main(host: Host) -> None:
        store = Store(host)
        truth = store.truth
        store.prepare(2)
        store.close(1)
        store.open_next()
        first = truth.operation_of(1)
        host.volume("data").rename(CURRENT, NEXT)  # as the disk has it after the power loss
        host.volume("data").rename(closed_log(1), CURRENT)
        truth.power_lost()
        assert truth.newest == 0
        await store.change()
        store.close(1)
        assert truth.operation_of(1) > first

    run_offline({"data": Disk(SimClock(), INSTANT, "store")}, main)
