"""Media that rot, lie, or write in the wrong place, in whole runs: what is named, and what not."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from replicator.errors import DamagedLog
from replicator.image_comparer import ImageComparer, Unclaimed
from replicator.slots import StateSlots
from simulator.expectations import UNVERIFIED
from simulator.measures import RunResult, Verdict
from simulator.oracle import Oracle
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario
from simulator.systems.byte_level import REPLICA, SOURCE
from tests.test_faults import TEXT, fault, run

OWN_SPOOL = TEXT.replace(
    "[replica.disk]",
    '[source.spool_disk]\nprofile = "ssd"\ndirty_limit = "64KiB"\n[replica.disk]',
)


def run_with_events(text: str, base: str = TEXT) -> tuple[RunResult, list[str]]:
    made = ScenarioRun(parse_scenario(base + text))
    found: list[str] = []
    made.world.observers.append(lambda _machine, event, _values: found.append(event))
    return made.run(), found


# -- flushes that lie ----------------------------------------------------------------------


@pytest.mark.parametrize("host", [SOURCE, REPLICA])
def test_lost_flushes_do_nothing_while_the_power_stays(host: str) -> None:
    result = run(fault("lost_flush", 15, host, duration="20s"))
    assert result.verdict is Verdict.PASS, result.reasons
    [mark] = result.faults
    assert mark.note.endswith(" syncs") and int(mark.note.split()[0]) > 20


def test_programs_that_end_while_their_disk_lies_end_in_order() -> None:
    """A sync that returns at once is no reason to dismount a store that is being mounted."""
    result = run(
        fault("lost_flush", 60, SOURCE, duration="20s") + fault("process_crash", 59.9, SOURCE)  # type: ignore[arg-type]
    )
    assert result.verdict is Verdict.PASS, result.reasons


@pytest.mark.parametrize("survive", ["none", "seeded"])
def test_what_lost_flushes_had_promised_is_named_and_repaired(survive: str) -> None:
    result, events = run_with_events(
        fault("lost_flush", 15, REPLICA, duration="20s")
        + fault("power_loss", 28.5, REPLICA, survive=survive)
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert "replica_went_back" in events
    assert any(check.detail.startswith("named: ") for check in result.checks)
    at_the_end = [check for check in result.checks if check.occasion == "end of run"]
    assert at_the_end and all(check.holds for check in at_the_end)


def test_what_a_comparison_leaves_out_hides_a_file_under_another_s_name() -> None:
    """A file of home had the new name of another one, which is renamed over it once more."""
    text = fault("lost_flush", 15, REPLICA, duration="20s") + fault(
        "power_loss", 28.5, REPLICA, survive="seeded"
    )

    once = ImageComparer._pass

    async def content(comparer: ImageComparer, wanted: Unclaimed | None) -> Unclaimed:
        await once(comparer, wanted)
        return {}

    with mock.patch.object(ImageComparer, "_pass", content):
        result, events = run_with_events(text)
    assert "verified" in events
    assert result.verdict is Verdict.SAFETY, result.reasons


def test_after_the_lie_the_drive_has_written_all() -> None:
    result, events = run_with_events(
        fault("lost_flush", 15, REPLICA, duration="20s")
        + fault("power_loss", 35.1, REPLICA, survive="none")  # type: ignore[arg-type]
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert "replica_went_back" not in events


def test_a_source_that_loses_what_its_own_disk_had_promised_is_not_the_replicators() -> None:
    result = run(
        fault("lost_flush", 15, SOURCE, duration="20s")
        + fault("power_loss", 30, SOURCE, survive="none")
    )
    assert result.verdict is Verdict.UNRECOVERABLE
    assert "store lost acknowledged" in result.reasons[0]
    assert "the source's own disk had said" in result.reasons[0]
    assert result.resynchronizations == 1, "the replica follows what is left"


OFTEN = TEXT.replace(
    "[link]", '[protection]\ncheckpoint_every = "512KiB"\nsegment_size = "256KiB"\n[link]'
)


def test_a_checkpoint_that_outlived_its_pages_is_not_believed() -> None:
    """Within the lie a checkpoint was taken and journal freed; a part of that survives."""
    result, _events = run_with_events(
        fault("lost_flush", 15, REPLICA, duration="20s") + fault("power_loss", 30, REPLICA), OFTEN
    )
    assert result.verdict is Verdict.PASS, result.reasons


def test_without_the_comparison_the_copy_is_wrong_and_all_that_is_said_is_that_nobody_knows() -> (
    None
):
    off = OFTEN.replace("[protection]", "[protection]\ncompare_after_power_loss = false")
    result, events = run_with_events(
        fault("lost_flush", 19, REPLICA, duration="20s") + fault("power_loss", 22, REPLICA), off
    )
    assert "compared" not in events and "verified" not in events
    assert "damage" not in events, "all names have survived"
    wrong = [each for each in result.checks if each.detail.startswith("named: the image is not")]
    assert len(wrong) > 3 and all(UNVERIFIED in each.circumstances for each in wrong)


def test_after_a_power_loss_the_images_are_compared_once() -> None:
    result, events = run_with_events(fault("power_loss", 20, REPLICA))
    assert result.verdict is Verdict.PASS, result.reasons
    assert (events.count("compared"), events.count("verified"), events.count("epoch")) == (1, 1, 1)
    after_a_crash, events = run_with_events(fault("process_crash", 20, REPLICA))
    assert after_a_crash.verdict is Verdict.PASS and "compared" not in events


def test_what_nobody_has_compared_yet_is_not_forgotten_by_a_crash() -> None:
    result, events = run_with_events(
        fault("power_loss", 20, REPLICA)
        + fault("link_outage", 20, duration="20s")
        + fault("process_crash", 33, REPLICA)
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert (events.count("compared"), events.count("verified")) == (1, 1)
    again, events = run_with_events(
        fault("power_loss", 20, REPLICA) + fault("process_crash", 50, REPLICA)
    )
    assert again.verdict is Verdict.PASS and events.count("compared") == 1, "noted for good"


# -- rot -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["journal", "checkpoint"])
def test_rot_is_named_when_it_is_read(where: str) -> None:
    result, events = run_with_events(
        fault("bit_rot", 29, REPLICA, where=where, count=40) + fault("process_crash", 30, REPLICA)
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert "damage" in events and "repaired" in events
    rotten = result.faults[0]
    assert rotten.note.startswith(f"{where}: /replica/{where}") and "and 37 more" in rotten.note


ONE_COPY = fault("bit_rot", 29, REPLICA, where="checkpoint") + fault("process_crash", 30, REPLICA)


def test_rot_in_one_copy_of_the_checkpoint_raises_no_doubt() -> None:
    result, events = run_with_events(ONE_COPY)
    assert result.verdict is Verdict.PASS, result.reasons
    assert "checkpoint_fallback" in events and "damage" not in events


def test_a_replica_that_gives_up_for_one_rotten_copy_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names the damage, and the source repairs it; but nothing was lost."""
    load = StateSlots.load

    async def both_or_none(slots: StateSlots) -> dict[str, Any] | None:
        state = await load(slots)
        if slots.one_was_damaged:
            raise DamagedLog("a copy of the state is not valid", path=slots._path)
        return state

    monkeypatch.setattr(StateSlots, "load", both_or_none)
    result, events = run_with_events(ONE_COPY)
    assert "repaired" in events
    assert result.verdict is Verdict.SAFETY, result.reasons


def test_rot_that_apply_meets_in_its_journal_ends_the_process_and_is_named_by_the_next() -> None:
    """Apply stood still for want of room; what it reads afterwards is not what was written."""
    result, events = run_with_events(
        fault("disk_full", 20, REPLICA, duration="10s", free="0B")
        + fault("bit_rot", 25, REPLICA, where="journal", count=40)
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert [e for e in events if e in ("failed", "damage", "repaired")] == [
        "failed",
        "damage",
        "repaired",
    ]


def test_rot_in_the_spool_does_not_reach_the_replica() -> None:
    result, events = run_with_events(
        fault("link_outage", 15, duration="20s")
        + fault("bit_rot", 30, SOURCE, where="spool", count=40),
        OWN_SPOOL,
    )
    assert result.verdict is Verdict.PASS, result.reasons
    assert events.count("epoch") == 2, "a new history in place of the damaged one"


def test_rot_in_the_copy_is_unrecoverable_and_says_where() -> None:
    result = run(fault("bit_rot", 30, REPLICA, where="home", count=3))
    assert result.verdict is Verdict.UNRECOVERABLE
    [image, mailboxes] = result.reasons
    assert image.startswith(
        "prefix cannot be kept under the bit rot of the replica at 30.0 s (home: /replica/image/"
    )
    assert mailboxes.startswith("mountable cannot be kept under the bit rot")
    assert "until a comparison reads them" in image and "more checks found it so" in image
    assert result.faults[0].note.startswith("home: /replica/image/")
    before = [check for check in result.checks if check.at_seconds < 30]
    assert before and all(check.holds for check in before)


def rotten_and_spoilt(rot_at_s: float, spoilt_at_s: int) -> RunResult:
    """Bits of the copy rot, and at another time something else gets wrong with it."""
    rot = fault("bit_rot", rot_at_s, REPLICA, where="home", count=3)
    made = ScenarioRun(parse_scenario(TEXT + rot))

    def spoil() -> None:
        disk = made.world.machine(REPLICA).disks["data"]
        inode = disk.names.node("/replica/image/priv1.edb")
        inode.write(0, b"spoilt")  # type: ignore[union-attr]

    made.world.clock.at(spoilt_at_s * 10**9, spoil)
    return made.run()


def test_rot_in_the_copy_excuses_nothing_else_that_is_wrong_with_it() -> None:
    result = rotten_and_spoilt(30, 40)
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert result.reasons[0].startswith("prefix is broken at 45.0 s")


def test_a_bench_that_looks_at_the_rot_alone_excuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Oracle, "_was", lambda *_arguments: True)
    assert rotten_and_spoilt(30, 40).verdict is Verdict.UNRECOVERABLE


def test_the_same_seed_rots_the_same_bits() -> None:
    text = fault("bit_rot", 30, REPLICA, where="home", count=3)
    notes = {
        ScenarioRun(parse_scenario(TEXT + text), seed).run().faults[0].note for seed in (1, 1, 2)
    }
    assert len(notes) == 2


def test_what_is_not_on_the_medium_does_not_rot() -> None:
    result = run(fault("bit_rot", 1, REPLICA, where="staging"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "never happened: nothing was on the medium of the staging" in result.reasons[0]


def test_a_breach_before_the_fault_is_a_breach() -> None:
    result = rotten_and_spoilt(50, 20)
    assert result.verdict is Verdict.SAFETY
    assert "prefix is broken at 21.0 s" in result.reasons[0]


# -- astray --------------------------------------------------------------------------------


def test_a_write_into_the_wrong_place_is_named_or_unrecoverable() -> None:
    seen = set()
    for seed in range(1, 5):
        made = ScenarioRun(
            parse_scenario(
                TEXT + fault("misdirected_write", 20, REPLICA) + fault("process_crash", 30, REPLICA)
            ),
            seed,
        )
        result = made.run()
        assert result.verdict in (Verdict.PASS, Verdict.UNRECOVERABLE), result.reasons
        [astray] = [mark for mark in result.faults if mark.kind == "misdirected_write"]
        assert astray.note.startswith("block ") and astray.start_seconds >= 20
        seen.add(any(check.detail.startswith("named: ") for check in result.checks))
    assert True in seen, "it hit the journal, and that was noticed"
