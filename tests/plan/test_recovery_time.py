"""The parts of a recovery, added up by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.plan.protection import (
    ByteLevel,
    ChangedBlocks,
    LogShipping,
    NightlyBackup,
    ObjectLevel,
)
from simulator.plan.recovery_time import (
    PARTS,
    RecoveryFigures,
    busiest_bytes,
    recovery_time,
    recovery_times,
    restore_times,
)
from tests.plan.curves import flat, mail

MIB = float(2**20)
KINDS = (ByteLevel(), LogShipping(), ObjectLevel(), ChangedBlocks(), NightlyBackup(full=True))


def test_the_parts_add_up() -> None:
    table = recovery_times(KINDS, mail()).set_index("protection")
    assert (
        table[list(PARTS)].sum(axis=1) - table["total_seconds"].astype(float)
    ).abs().max() < 1e-9
    assert (table["total_seconds"] >= 60 + 600 + 1_200).all()
    assert table["total_seconds"].idxmax() == "nightly backup"
    assert table.loc["object level", "total_seconds"] == 1_860.0


def test_each_kind_by_hand() -> None:
    change = mail(log_sets=20)
    f = RecoveryFigures(
        unapplied_bytes=500e6, apply_bytes_per_second=50e6, replay_lag_seconds=86_340.0
    )
    byte = recovery_time(ByteLevel(), change, replace(f, replay_lag_seconds=0.0))
    assert byte.apply_seconds == 10.0
    assert byte.replayed_logs == 20 * 20  # 20 sets, 20 MiB each
    assert byte.replay_seconds == 200.0
    logs = recovery_time(LogShipping(), change, f)  # a copy lagged by a day, less a minute
    assert logs.replayed_logs == pytest.approx(96_000, rel=1e-3)
    assert recovery_time(ChangedBlocks(), change, f).replay_seconds == 200.0
    full = recovery_time(NightlyBackup(full=True), change, f)
    assert full.restore_seconds == pytest.approx(3_600 + 4_000 * 250 * MIB / 30e6)
    assert full.replay_seconds == 0.0
    since = recovery_time(NightlyBackup(), change, f)
    assert since.replayed_logs == pytest.approx(5.2 * 96_000, rel=1e-3)


def test_a_copy_that_is_delayed_applies_first_what_it_has_received() -> None:
    change = replace(flat([1e6, 5e6, 3e6, 0.0]), database_bytes=np.array([1e6, 1e6, 7e6, 0.0]))
    at_once = RecoveryFigures(apply_bytes_per_second=1e6)
    late = replace(at_once, replay_lag_seconds=120.0)
    now, delayed = (recovery_time(ByteLevel(), change, each) for each in (at_once, late))
    assert now.apply_seconds == 0.0
    assert delayed.apply_seconds == 16.0  # logs and pages of the busiest two minutes
    assert delayed.total_seconds == now.total_seconds + 16.0
    besides = recovery_time(ByteLevel(), change, replace(late, unapplied_bytes=4e6))
    assert besides.apply_seconds == 20.0
    # What takes objects keeps nothing back.
    assert recovery_time(ObjectLevel(), change, late).apply_seconds == 0.0


def test_logs_closed_by_log_roll_are_replayed() -> None:
    change = flat([0.0] * 1_440, log_file_bytes=2**20)
    day = RecoveryFigures(replay_lag_seconds=86_400.0, unreplayed_seconds=0.0)
    assert recovery_time(LogShipping(), change, day).replayed_logs == pytest.approx(96)
    without = LogShipping(idle_logs_per_day=0.0)
    assert recovery_time(without, change, day).replayed_logs == 0.0
    # Stores that are not shipped close no logs while nothing is written.
    assert recovery_time(NightlyBackup(), change, day).replayed_logs == 0.0


def test_replays_side_by_side_are_faster_up_to_the_log_sets() -> None:
    change = mail(log_sets=4)
    alone, two, many = (
        recovery_time(LogShipping(), change, RecoveryFigures(parallel_replays=n)).replay_seconds
        for n in (1, 2, 100)
    )
    assert (alone / two, alone / many) == (2.0, 4.0)


def test_the_busiest_time() -> None:
    change = flat([1.0, 5.0, 3.0, 0.0])
    found = [
        busiest_bytes(change.log_bytes, change.grid, seconds)
        for seconds in (60.0, 120.0, 90.0, 480.0, 0.0)
    ]
    assert found == [5.0, 8.0, 6.5, 18.0, 0.0]


def test_a_restore_by_the_rate_of_its_medium() -> None:
    change = mail()
    table = restore_times(change, [30e6, 60e6], RecoveryFigures(find_backup_seconds=0.0))
    slow, fast = table["restore_hours"]
    assert slow == pytest.approx(2 * fast)
    assert slow == pytest.approx(4_000 * 250 * MIB / 30e6 / 3_600)
    unknown = restore_times(flat([1.0]), [30e6])
    assert unknown["total_hours"].tolist() == [None]
    told = recovery_time(NightlyBackup(), flat([1.0]))
    assert (told.total_seconds, told.reason) == (None, "nothing says how much is to be restored")


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="detect_seconds of a recovery cannot be -1"):
        RecoveryFigures(detect_seconds=-1.0)
    with pytest.raises(ValueError, match="apply_bytes_per_second"):
        RecoveryFigures(apply_bytes_per_second=0.0)
    with pytest.raises(ValueError, match="mount_seconds"):
        RecoveryFigures(mount_seconds=np.nan)

    class Other:
        name = "other"

    with pytest.raises(TypeError, match="'other'"):
        recovery_time(Other(), mail(1.0))
