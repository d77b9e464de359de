"""A record finds no room on the volume although its segment was reserved, and leaves no trace.

A shorter one may come in its place, and the next segment after that.

What was cut off comes back by a power loss unless the next sync is about that segment, too.
"""

from __future__ import annotations

import random

import pytest

from replicator.errors import NoSpace
from replicator.journal import Damage, LogKind, SegmentedLog
from replicator.records import RecordType
from simulator.host import World
from simulator.volume import SimFile
from tests.disk.bench import Bench
from tests.failures.worlds import FAST, KIB


def damage_after_a_short_write(monkeypatch: pytest.MonkeyPatch) -> tuple[Damage | None, int]:
    """What recovery finds, and the number of the last record that it finds."""
    world = World(network=False)
    machine = world.machine("machine")
    machine.add_disk("data", FAST)
    host = machine.start()
    volume = host.volume("data")
    volume.mkdir("/log")
    log = SegmentedLog(volume, "/log", LogKind.JOURNAL, "set", 64 * KIB, 1024 * KIB)

    def append(number: int, size: int) -> None:
        log.append(RecordType.BATCH, 1, number, number - 1, b"", b"x" * size)

    append(1, 20 * KIB)
    write_at = SimFile.write_at
    with monkeypatch.context() as patch:
        patch.setattr(
            SimFile,
            "write_at",
            lambda file, offset, *buffers: write_at(file, offset, b"".join(buffers)[:3000]),
        )
        with pytest.raises(NoSpace, match="only 3000 of"):
            append(2, 30 * KIB)
    append(2, 1000)
    append(3, 60 * KIB)  # does not fit behind it
    append(4, 100)
    assert len(log.segments) == 2
    log.close()
    again = SegmentedLog(volume, "/log", LogKind.JOURNAL, "set", 64 * KIB, 1024 * KIB)
    task = host.kernel.run_task(again.recover(lambda _record, _position: None), "recover")
    world.clock.run_until_idle()
    found = task.result(), again.sequence
    world.close()
    return found


def test_what_comes_after_it_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert damage_after_a_short_write(monkeypatch) == (None, 4)


def test_what_is_left_of_it_looks_like_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimFile, "truncate", lambda _file, _size: None)
    damage, last = damage_after_a_short_write(monkeypatch)
    assert damage is not None and last == 2, "this test means nothing"


def found_after_a_power_loss(
    seed: int, monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> tuple[Damage | None, int]:
    """The same after a power loss that takes any of what was not synced.

    Arguments
    ---------
    seed: says what it takes.
    is_forgotten: no sync is about the segment in which the record was cut short.
    """
    bench = Bench()
    bench.volume.mkdir("/log")
    log = SegmentedLog(bench.volume, "/log", LogKind.JOURNAL, "set", 64 * KIB, 1024 * KIB)

    def append(number: int, size: int) -> None:
        log.append(RecordType.BATCH, 1, number, number - 1, b"", b"x" * size)

    append(1, 20 * KIB)
    bench.wait(log.sync())
    bench.wait(bench.volume.sync_directory("/"))
    write_at = SimFile.write_at
    with monkeypatch.context() as patch:
        patch.setattr(
            SimFile,
            "write_at",
            lambda file, offset, *buffers: write_at(file, offset, b"".join(buffers)[:3000]),
        )
        with pytest.raises(NoSpace):
            append(2, 30 * KIB)
    if is_forgotten:
        log._files._unsynced.clear()
    for number in (2, 3):
        append(number, 60 * KIB)  # a segment of its own
        bench.wait(log.sync())
    draw = random.Random(seed)
    bench.lose_power(draw.randrange)
    again = SegmentedLog(bench.volume, "/log", LogKind.JOURNAL, "set", 64 * KIB, 1024 * KIB)
    return bench.wait(again.recover(lambda _record, _position: None)), again.sequence


def test_a_power_loss_does_not_bring_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(20):
        assert found_after_a_power_loss(seed, monkeypatch, False) == (None, 3), seed


def test_unless_no_sync_was_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [found_after_a_power_loss(seed, monkeypatch, True) for seed in range(20)]
    assert any(damage is not None and last == 1 for damage, last in found), "this means nothing"
