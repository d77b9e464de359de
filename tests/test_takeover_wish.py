"""The wish that a replica takes over, simulated: its table, races, restarts, and what is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput
from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from replicator.status_view import StatusView, WishView
from replicator.takeover_wish import (
    BEGUN_NAME,
    REQUEST_NAME,
    TRANSITIONS,
    TakeoverWish,
    Wish,
    WishEvent,
    WishState,
    decode_wish,
    encode_wish,
    heed_wishes,
    judge_wish,
    wish_of,
    wish_words,
    withdraw_wish,
)
from simulator.device import DiskModel
from simulator.host import Host, World, lose_everything

MS, SECOND = 1_000_000, 1_000_000_000
DISK = DiskModel(
    size_bytes=64 << 20, bytes_per_second=10**12, positioning_ns=1000, sync_overhead_ns=1000
)
ROOT = "/replica"


class Bench:
    """A replica's machine; the store has an image, or none, and nothing is captured."""

    def __init__(self) -> None:
        self.world = World(seed=1)
        self.machine = self.world.machine("replica")
        self.machine.add_disk("data", DISK)
        self.said: list[str] = []
        self.reports: list[tuple[bool, WishState]] = []
        """Whether the replica had taken over when its status was put up, and the wish then."""
        self.world.observers.append(self._observe)
        self.start()

    def _observe(self, _machine: str, name: str, values: tuple[Any, ...]) -> None:
        if name == "promotion":
            self.said.append(str(values[0]))
        assert name != "failed", values

    def start(self) -> None:
        """The replica's software, not serving yet."""
        self.host: Host = self.machine.start("replica")
        volume, options = self.host.volume("data"), ReplicaOptions("set", "replica")
        self.store = ReplicaStore(self.host, volume, ROOT, volume, ROOT, options)
        self.wish: TakeoverWish = wish_of(self.host, self.store)
        self.do(self.store.open)

    def serve(self) -> None:
        """Heed wishes from now on; the image is there."""
        self.store.marks.committed_epoch = self.store.image.epoch = 1
        replica = Replica(self.host, self.store, "replica:7000", 200 * MS)
        self.host.kernel.run_task(self.store.run(), "apply")
        heeding = heed_wishes(self.host, self.store, replica, self.report)
        self.host.kernel.run_task(heeding, "promotion")

    def report(self) -> None:
        self.reports.append((self.store.promoted, self.state()))

    def do(self, what: Callable[[], Awaitable[Any]]) -> Any:
        """Carry it out at once; returns or raises what it does."""
        found: list[Any] = []

        async def main() -> None:
            try:
                found.append(await what())
            except BadInput as error:
                found.append(error)

        self.host.kernel.run_task(main(), "test")
        while not found:
            self.world.clock.run_until(self.world.clock.now() + MS)
        if isinstance(found[0], BadInput):
            raise found[0]
        return found[0]

    def note(self) -> None:
        self.do(lambda: self.wish.note(42, self.host.wall_ns(), self.host.now_ns()))

    def state(self) -> WishState:
        state = self.wish.look().state
        assert isinstance(state, WishState)
        return state

    def reboot(self) -> None:
        self.machine.lose_power(lose_everything)
        self.start()

    def run(self, time_ns: int) -> None:
        self.world.clock.run_until(self.world.clock.now() + time_ns)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.world.close()


def bring_to(bench: Bench, state: WishState) -> None:
    if state == WishState.NONE:
        return
    bench.note()
    if state == WishState.BEGUN:
        assert bench.wish.begin(bench.wish.look())
    elif state == WishState.OLD:
        bench.reboot()


@pytest.mark.parametrize(("state", "event"), [(s, e) for s in WishState for e in WishEvent])
def test_the_table_is_what_the_disk_does(bench: Bench, state: WishState, event: WishEvent) -> None:
    """Each state with each event, those that are not in the table included."""
    bring_to(bench, state)
    assert bench.state() == state
    wanted = TRANSITIONS.get((state, event), state)
    if event == WishEvent.WISH:
        bench.note()
    elif event == WishEvent.OBEY:
        if (state, event) in TRANSITIONS:
            assert bench.wish.begin(bench.wish.look())
    elif event in (WishEvent.REFUSE, WishEvent.DONE):
        if (state, event) in TRANSITIONS:
            bench.do(bench.wish.clear)
    elif event == WishEvent.REBOOT:
        bench.reboot()
    elif state == WishState.BEGUN:
        with pytest.raises(BadInput, match="has begun"):
            bench.do(bench.wish.withdraw)
    else:
        assert bench.do(bench.wish.withdraw) == (state != WishState.NONE)
    assert bench.state() == wanted
    bench.reboot()  # what was written had been durable
    assert bench.state() == TRANSITIONS.get((wanted, WishEvent.REBOOT), wanted)


def test_a_wish_is_obeyed_and_its_file_is_gone(bench: Bench) -> None:
    bench.note()
    bench.serve()
    bench.run(5 * SECOND)
    assert bench.said == ["begin", "done"] and bench.store.promoted
    assert bench.state() == WishState.NONE
    # Who wished waits until the wish is gone, and asks for the status then.
    assert bench.reports == [(True, WishState.BEGUN)]
    with pytest.raises(BadInput, match="taken over already"):
        bench.do(lambda: withdraw_wish(bench.host, bench.store))


def test_a_wish_from_before_the_machines_start_fences_nobody(bench: Bench) -> None:
    bench.note()
    bench.reboot()
    bench.serve()
    bench.run(10 * SECOND)
    assert bench.said == ["old"] and not bench.store.promoted
    assert bench.do(lambda: withdraw_wish(bench.host, bench.store)) is True
    assert bench.do(lambda: withdraw_wish(bench.host, bench.store)) is False
    bench.note()  # wished again: that counts
    bench.run(5 * SECOND)
    assert bench.said[-1] == "done" and bench.store.promoted


def test_without_the_boot_it_would(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.note()
    bench.reboot()
    monkeypatch.setattr(
        "replicator.takeover_wish.judge_wish",
        lambda request, begun, _boot: judge_wish(
            request, begun, getattr(decode_wish(request), "boot_id", 0)
        ),
    )
    bench.serve()
    bench.run(5 * SECOND)
    assert bench.store.promoted, "something else holds it back: then the boot is not needed"


def test_a_process_that_is_started_again_in_the_same_boot_obeys(bench: Bench) -> None:
    bench.note()
    bench.machine.crash_process()
    bench.start()
    bench.serve()
    bench.run(5 * SECOND)
    assert bench.store.promoted


def test_a_takeover_that_a_crash_cut_short_is_finished_and_not_withdrawn(bench: Bench) -> None:
    bring_to(bench, WishState.BEGUN)
    bench.machine.crash_process()
    bench.start()
    with pytest.raises(BadInput, match="has begun"):
        bench.do(lambda: withdraw_wish(bench.host, bench.store))
    bench.serve()
    bench.run(5 * SECOND)
    assert bench.store.promoted and bench.state() == WishState.NONE


def test_exactly_one_of_a_withdrawal_and_a_takeover_wins(bench: Bench) -> None:
    """The replica has looked and is about to begin; the operator withdraws in between."""
    bench.note()
    noted = bench.wish.look()
    assert bench.do(lambda: withdraw_wish(bench.host, bench.store)) is True
    assert bench.wish.begin(noted) is False
    bench.note()
    assert bench.wish.begin(bench.wish.look()) is True
    with pytest.raises(BadInput, match="has begun"):
        bench.do(lambda: withdraw_wish(bench.host, bench.store))


@pytest.mark.parametrize(
    "target", ["", "1", "1.7.1.1", "1.7.1.1.1.1", "1.7.1.1.x", "2.7.1.1.1", "1.7.1.1.-1", "/etc"]
)
def test_what_cannot_be_read_is_shown_and_not_obeyed(target: str) -> None:
    for request, begun in ((target, None), (None, target), (target, target)):
        noted = judge_wish(request, begun, 7)
        assert noted.state == WishState.OLD and noted.wish is None
        assert noted.age_ns(7, 1, 1) is None
    assert "nobody knows when" in wish_words(WishState.OLD, None)


@pytest.mark.parametrize("what", ["file", "directory", "link"])
def test_whatever_has_the_name_ends_no_replica(bench: Bench, what: str) -> None:
    volume, path = bench.host.volume("data"), f"{ROOT}/{REQUEST_NAME}"
    if what == "file":  # what an earlier release wrote
        volume.create(path).close()
    elif what == "directory":
        volume.mkdir(path)
    else:
        volume.symlink("/somewhere", path)
    bench.serve()
    bench.run(3 * SECOND)
    assert bench.said == ["old"] and not bench.store.promoted
    if what == "directory":  # nobody's wish, and in nobody's way
        bench.store.promoted = True
        bench.run(3 * SECOND)
    else:
        assert bench.do(lambda: withdraw_wish(bench.host, bench.store)) is True
        assert bench.state() == WishState.NONE


@given(st.tuples(*[st.integers(0, 2**63 - 1)] * 4))
def test_a_target_comes_back_and_fits_into_an_inode(numbers: tuple[int, int, int, int]) -> None:
    wish = Wish(*numbers)
    assert decode_wish(encode_wish(wish)) == wish
    pid = wish._replace(pid=wish.pid % (1 << 22))  # Linux has no larger ones
    assert len(encode_wish(pid)) < 60


def test_a_pending_wish_needs_a_look() -> None:
    def attention(state: WishState, age_ns: int | None) -> list[str]:
        wish = WishView(state, 42, 1, age_ns)
        return StatusView("set", 0, None, None, None, None, "", wish).attention()

    [pending] = attention(WishState.PENDING, 3600 * SECOND)
    assert "1 h ago" in pending and "--withdraw" in pending
    [old] = attention(WishState.OLD, 86_400 * SECOND)
    assert "not obeyed" in old and "--withdraw" in old
    [begun] = attention(WishState.BEGUN, SECOND)
    assert "begun" in begun
    assert StatusView("set", 0, None, None, None, None).attention() == []


def test_its_age_is_by_the_monotonic_clock_of_its_boot() -> None:
    target = encode_wish(Wish(7, 42, 1000 * SECOND, 5 * SECOND))
    noted = judge_wish(target, None, 7)
    assert noted.state == WishState.PENDING
    assert noted.age_ns(7, 65 * SECOND, 0) == 60 * SECOND, "the wall clock was set back"
    later = judge_wish(target, None, 8)
    assert later.state == WishState.OLD
    assert later.age_ns(8, 1 * SECOND, 1600 * SECOND) == 600 * SECOND


def test_the_files_are_named_as_the_manual_says() -> None:
    assert (REQUEST_NAME, BEGUN_NAME) == ("promote.request", "promote.begun")
