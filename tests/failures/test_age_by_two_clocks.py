"""The age of the image by the replica's own clocks, whatever the clock of the source shows.

``max(0, now - as_of)`` over two machines' clocks is what was there before: each test also says
what that would have shown.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from replicator.image import ReplicaImage
from replicator.image_age import ImageAge, seen_age
from replicator.slots import StateSlots
from replicator.status import replica_status
from replicator.status_text import status_lines
from replicator.status_view import StatusView, judge
from simulator.host import Host, lose_everything
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.failures.worlds import MS, SECOND, Event, FailureWorld, blocks, nothing

HOUR, MINUTE = 3600 * SECOND, 60 * SECOND
SLACK = SECOND
RARE = {"checkpoint_interval_ns": 10**15}


def streaming(source_ahead_ns: int = 0, count: int = 20) -> FailureWorld:
    world = FailureWorld(blocks("/db", 0, count, every_ms=1), replica=RARE)
    world.world.machine(SOURCE).wall_offset_ns += source_ahead_ns
    world.start()
    world.run_until(lambda: world.programs.finished and world.system.converged)
    world.run_to(world.now_ms + 50)
    return world


def lose_source(world: FailureWorld) -> int:
    """It is gone for good; returns when."""
    world.system.source_machine.lose_power(lose_everything)
    world.system.source = None
    return world.clock.now()


def page(world: FailureWorld) -> dict[str, Any]:
    """What the replica's process reports just now."""
    host = world.host(REPLICA)
    return {
        "format": 1, "pid": 1, "boot_id": host.boot_id, "started_wall_ns": host.wall_ns(),
        "heartbeat_ns": SECOND, "written_ns": host.now_ns(), "written_wall_ns": host.wall_ns(),
        "since_wall_ns": host.wall_ns(), "ended": "",
        "status": asdict(replica_status(world.store, world.replica)),
    }  # fmt: skip


def as_of_line(world: FailureWorld, document: dict[str, Any], host: Host) -> str:
    view = judge(document, True, host.now_ns(), host.boot_id)
    shown = StatusView("set", host.wall_ns(), None, None, None, view)
    [line] = [line for line in status_lines(shown) if line.startswith("  as of")]
    return line


def shown_age(world: FailureWorld, document: dict[str, Any] | None = None) -> int:
    """Nanoseconds, as a reader on the replica's machine works it out."""
    host, document = world.host(REPLICA), document or page(world)
    view = judge(document, True, host.now_ns(), host.boot_id)
    assert view.last_known is not None
    found = seen_age(view.last_known, view.as_of_wall_ns, view.age_ns, host.wall_ns())
    assert found is not None
    return found.age_ns


def by_difference(world: FailureWorld) -> int:
    """What was shown before."""
    return max(0, world.host(REPLICA).wall_ns() - world.store.as_of_ns)


@pytest.mark.parametrize("how", ["asked", "last report", "restarted"])
def test_a_source_whose_clock_is_ahead(how: str) -> None:
    world = streaming(HOUR)
    gone = lose_source(world)
    document = page(world)
    world.clock.run_until(gone + 50 * MINUTE)
    assert by_difference(world) == 0, "its clock is not ahead: this means nothing"
    if how == "restarted":
        world.system.replica_machine.crash_process()
        world.system.replica = None
        world.system.start_replica()
        world.run_until(lambda: world.system.replica is not None)
    if how != "last report":
        document = page(world)
    assert abs(shown_age(world, document) - 50 * MINUTE) <= SLACK
    line = as_of_line(world, document, world.host(REPLICA))
    assert "50 m" in line and "the clocks differ by about 1 h" in line
    world.close()


def test_clocks_that_agree_are_not_spoken_of() -> None:
    world = streaming()
    gone = lose_source(world)
    world.clock.run_until(gone + 10 * MINUTE)
    assert abs(shown_age(world) - by_difference(world)) <= SLACK
    assert "differ" not in as_of_line(world, page(world), world.host(REPLICA))
    world.close()


def test_a_replica_whose_clock_is_set_back() -> None:
    world = streaming()
    gone = lose_source(world)
    document = page(world)
    world.clock.run_until(gone + 20 * MINUTE)
    world.world.machine(REPLICA).jump_clock(-HOUR)
    world.clock.run_until(gone + 50 * MINUTE)
    assert by_difference(world) == 0
    assert abs(shown_age(world) - 50 * MINUTE) <= SLACK
    assert abs(shown_age(world, document) - 50 * MINUTE) <= SLACK, "the report of before counts on"
    world.close()


def test_a_reader_after_a_restart_of_the_machine_whose_clock_is_behind_says_at_least() -> None:
    status = {
        "as_of_wall_ns": HOUR, "as_of_here_wall_ns": HOUR, "as_of_age_ns": 5 * MINUTE,
    }  # fmt: skip
    found = seen_age(status, HOUR + 5 * MINUTE, None, HOUR - MINUTE)
    assert found is not None and found.at_least and found.age_ns == 5 * MINUTE


@pytest.mark.parametrize("ahead_ns", [HOUR, -HOUR, 0])
def test_a_backlog_is_as_old_as_it_is_and_never_younger(ahead_ns: int) -> None:
    """Operations that wait behind a broken line for minutes are not news when they come."""
    world = FailureWorld(blocks("/db", 0, 300, every_ms=3), replica=RARE)
    world.world.machine(SOURCE).wall_offset_ns += ahead_ns
    world.start().run_to(100)
    world.link.partition()
    world.run_to(800)
    world.link.heal()
    times, begins = world.system.truth.times_ns, world.system.truth.epochs
    backlog = 0
    while not (world.programs.finished and world.system.converged):
        world.run_to(world.now_ms + 1)
        following = begins[world.store.epoch] + world.store.applied + 1
        if following < len(times):  # the image lacks this one: it is at least as old
            true_ns = world.clock.now() - times[following]
            backlog += true_ns > 300 * MS
            age_ns = world.store.image.age.age_ns()
            assert age_ns is not None and age_ns >= true_ns - 5 * MS
    assert backlog > 5, "nothing ever waited: this means nothing"
    world.close()


class Clocks:
    """A runtime that has clocks alone."""

    def __init__(self) -> None:
        self.now = self.wall = 1_000 * HOUR

    def now_ns(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        return self.wall

    def pass_ns(self, time_ns: int) -> None:
        self.now += time_ns
        self.wall += time_ns


def test_before_the_first_heartbeat_the_noted_difference_counts() -> None:
    clocks = Clocks()
    age = ImageAge(clocks)  # type: ignore[arg-type]
    assert age.age_ns() is None and age.here_wall_ns == 0
    age.load(clocks.wall + HOUR - MINUTE, clocks.wall - MINUTE)  # the source was 1 h ahead
    assert age.age_ns() == MINUTE
    clocks.pass_ns(MINUTE)
    age.set(clocks.wall + HOUR - 30 * SECOND)  # an operation of half a minute ago
    assert age.age_ns() == 30 * SECOND
    age.hear(clocks.wall + HOUR + 10 * SECOND)
    assert age.age_ns() == 40 * SECOND, "what was too young is set right"
    age.hear(clocks.wall - HOUR)
    assert age.age_ns() == 40 * SECOND, "and a clock that is set back makes nothing younger"


def test_a_checkpoint_of_an_earlier_release() -> None:
    clocks = Clocks()
    for as_of_ns, expected_ns in ((clocks.wall - HOUR, HOUR), (clocks.wall + HOUR, 0)):
        age = ImageAge(clocks)  # type: ignore[arg-type]
        age.load(as_of_ns, 0)
        assert age.age_ns() == expected_ns
    found = seen_age({"as_of_wall_ns": clocks.wall + HOUR}, None, None, clocks.wall)
    assert found is not None and found.at_least and found.differ_ns == HOUR


def committed(world: FailureWorld) -> dict[str, Any]:
    """The checkpoint as it stands when the first image has just been committed."""
    world.run_until(lambda: world.system.replica is not None and world.store.epoch == 1)
    slots = StateSlots(world.host(REPLICA).volume("data"), "/replica/checkpoint")
    looking = world.host(REPLICA).kernel.run_task(slots.look(), "look")
    world.run_to(world.now_ms + 1)
    found = looking.result()
    assert found is not None and found["epoch"] == 1 and found["operation"] == 0
    return found


@pytest.mark.parametrize("again", ["running", "killed", "killed before the image was home"])
def test_an_image_without_operations_is_as_of_its_commit(again: str) -> None:
    """Committed, and not one operation: it is an image, and its checkpoint says of when."""
    world = FailureWorld(nothing, files={"/a": b"a" * 9000}, replica=RARE)
    if again.endswith("home"):
        told: list[int] = []

        def kill(event: Event) -> None:
            switches = event.name == "activity" and event.values == ("resynchronize",)
            serves = world.system.replica is not None and not told
            if switches and serves and world.store.committed_epoch == 1:
                told.append(world.clock.now())
                lose_source(world)  # nobody else can say it any more
                world.clock.at(world.clock.now(), lambda: restart(world))

        world.on_event = kill
    world.start()
    assert committed(world)["as_of_ns"] > 0
    if again == "killed":
        lose_source(world)
        restart(world)
        world.run_until(lambda: world.system.replica is not None)
        world.clock.run_until(world.clock.now() + 5 * MINUTE)
        assert abs(shown_age(world) - 5 * MINUTE) <= SLACK
    assert again in ("running", "killed") or told, "it was never killed in between"
    assert "never" not in as_of_line(world, page(world), world.host(REPLICA))
    world.close()


def restart(world: FailureWorld) -> None:
    world.system.replica_machine.lose_power(lose_everything)
    world.system.replica = None
    world.system.start_replica()


def test_without_the_time_of_the_commit_nothing_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ReplicaImage.begin

    def as_before(image: ReplicaImage, set_id: str, epoch: int, history: bytes, *_: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(ReplicaImage, "_freshen", lambda _image: None)
            begin(image, set_id, epoch, history)

    monkeypatch.setattr(ReplicaImage, "begin", as_before)
    world = FailureWorld(nothing, files={"/a": b"a" * 9000}, replica=RARE).start()
    assert committed(world)["as_of_ns"] == 0
    document = page(world)
    document["status"] |= {"as_of_wall_ns": 0, "as_of_here_wall_ns": 0, "as_of_age_ns": None}
    line = as_of_line(world, document, world.host(REPLICA))
    assert "unknown" in line and "never" not in line, "there is an image all the same"
    document["status"]["epoch"] = 0
    assert "never" in as_of_line(world, document, world.host(REPLICA))
    world.close()
