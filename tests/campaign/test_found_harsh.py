"""Plans that campaigns with ``--harsh`` failed with: in ``found_plans/``, each a file.

Under these faults no design keeps every promise.  What is left is held to the table of
:mod:`simulator.expectations`, and excused under its circumstances alone; each is taken away again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replicator import fence, replica_recovery
from replicator.errors import DamagedLog
from replicator.journal import Damage
from replicator.replica_journal import ReplicaJournal
from simulator import healing, one_source, oracle
from simulator.circumstances import CircumstanceFinder
from simulator.measures import RunResult, Verdict
from simulator.promises import Promises
from simulator.truth import Truth
from tests.campaign.test_found_with_exchange import first_reason, made, passes, reason_of, run


def happened(result: RunResult, *kinds: str) -> bool:
    return sorted(mark.kind for mark in result.faults) == sorted(kinds)


def never(*_arguments: Any) -> bool:
    return False


# -- a second source that does not get far --------------------------------------------------------

SECOND = "second_source_begins_an_image"


def test_what_a_second_source_has_begun_is_the_second_source_s() -> None:
    passes(SECOND, "second_source")


def test_a_replica_that_goes_back_for_no_reason_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CircumstanceFinder, "is_anothers", never)
    assert reason_of(SECOND, Verdict.SAFETY).startswith("replica went back")


SAME_EPOCH = "second_source_of_the_same_epoch"


def test_the_age_of_a_second_source_s_image_is_not_held_against_the_first_one_s_files() -> None:
    result = run(SAME_EPOCH)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert all("second source" in each for each in result.reasons)
    judged = made(SAME_EPOCH)
    judged.sampler.is_anothers = lambda: False
    assert first_reason(judged, Verdict.SAFETY).startswith("honest telemetry is broken")


UNSEEN = "second_source_unseen"


def test_a_source_that_has_not_noticed_has_not_reached_the_replica() -> None:
    passes(UNSEEN, "link_reset", "link_outage", "second_source")
    judged = made(UNSEEN)
    judged.circumstances._notice_ns = 0
    assert first_reason(judged, Verdict.SAFETY).startswith("replica went back")


# -- writes that go astray ------------------------------------------------------------------------

LOG = "log_write_went_astray"
JOURNAL = "journal_write_went_astray"


def test_a_store_that_its_own_disk_has_broken_is_named() -> None:
    result = run(LOG)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    [said] = [each for each in result.reasons if each.startswith("the source's store does not")]
    assert "-501" in said and said.endswith("its disk wrote to the wrong place")
    assert happened(result, "misdirected_write", "process_crash")


def test_programs_that_end_for_no_reason_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Promises, "store_is_broken", never)
    assert reason_of(LOG, Verdict.LIVENESS).startswith("the programs ended by itself")


def test_the_newest_record_is_missing_and_nothing_says_so() -> None:
    passes(JOURNAL, "misdirected_write")


def test_a_record_that_no_fault_has_hit_must_not_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CircumstanceFinder, "rotten_end", never)
    assert reason_of(JOURNAL, Verdict.SAFETY).startswith("durable means durable is broken")


HOME = "home_write_went_astray"


def test_a_copy_is_wrong_where_a_write_landed_and_right_where_it_came_from() -> None:
    result = run(HOME)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert all("misdirected write of the replica" in each for each in result.reasons)


def test_a_judge_that_heals_all_or_nothing_takes_it_for_a_breach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(healing, "CHANGES_AT_MOST", 0)
    assert reason_of(HOME, Verdict.SAFETY).startswith("prefix is broken")


def test_damage_that_no_write_has_done_is_no_excuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write went astray once, and what it hit is long gone: a made up damage is found."""

    recover = ReplicaJournal.recover

    async def makes_it_up(journal: ReplicaJournal, visit: Any, needed: Any) -> Damage | None:
        await recover(journal, visit, needed)
        return Damage("/replica/journal", 0, 1, "no reason at all")

    monkeypatch.setattr(ReplicaJournal, "recover", makes_it_up)
    assert "no reason at all" in reason_of("write_went_astray_long_ago", Verdict.SAFETY)


# -- disks that lie -------------------------------------------------------------------------------

SOURCE_LIED = "source_disk_lied"
NAME = "replica_disk_lost_a_name"


def test_a_source_whose_disk_lied_mounts_no_more_and_neither_does_its_copy() -> None:
    result = run(SOURCE_LIED)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert any(each.startswith("mountable cannot be kept") for each in result.reasons)
    [said] = [each for each in result.reasons if each.startswith("the source's store does not")]
    assert "-543" in said and "its disk had said that it had what was gone" in said
    assert happened(result, "lost_flush", "power_loss")


def test_a_copy_that_does_not_mount_for_no_reason_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CircumstanceFinder, "_lied_before", never)
    assert reason_of(SOURCE_LIED, Verdict.SAFETY).startswith("mountable is broken")


def test_a_replica_whose_disk_lost_a_name_says_so_and_begins_anew() -> None:
    result = passes(NAME, "lost_flush", "power_loss")
    assert any("a file of the image is gone" in check.detail for check in result.checks)


def test_else_no_start_of_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(_store: Any, damaged: Exception, _newest: Any) -> None:
        raise damaged

    monkeypatch.setattr(replica_recovery, "_begin_anew", again)
    assert "recovery of a copy failed" in reason_of(NAME, Verdict.SAFETY)


# -- a takeover while the source lives ------------------------------------------------------------

TAKEOVER = "store_writes_during_a_takeover"


def test_a_message_that_comes_while_the_copy_is_mounted_need_not_be_in_it() -> None:
    passes(TAKEOVER, "failover")


def test_without_the_instant_at_which_it_began_it_would_be_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oracle, "min", lambda complete_ns, _now_ns: complete_ns, raising=False)
    assert "only transactions up to" in reason_of(TAKEOVER, Verdict.SAFETY)


ROT_AFTERWARDS = "copy_rots_after_the_takeover"


def test_files_that_rot_when_the_store_is_theirs_are_its_own_disk_s() -> None:
    result = run(ROT_AFTERWARDS)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    [reason] = result.reasons
    assert reason.startswith("mountable cannot be kept under the bit rot of the replica")
    assert "-501" in reason


def test_rot_before_the_takeover_excuses_no_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CircumstanceFinder, "store_opened", lambda _finder, _now_ns: None)
    assert "-501" in reason_of(ROT_AFTERWARDS, Verdict.SAFETY)


FENCE = "fence_write_went_astray"


def test_a_fence_is_kept_in_two_copies() -> None:
    passes(FENCE, "failover", "misdirected_write")


def test_one_copy_that_went_astray_leaves_the_old_source_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fence, "range", lambda _copies: [0], raising=False)
    assert reason_of(FENCE, Verdict.SAFETY).startswith("one source is broken")


# -- the source's own files -----------------------------------------------------------------------

READ = "image_read_while_a_write_strays"
STATE = "history_state_went_astray"
IN_DOUBT = "call_in_doubt_strays"
REDONE = "call_redone_over_a_stray"
BEGUN_TWICE = "epoch_begun_twice"


@pytest.mark.parametrize("name", [READ, STATE, IN_DOUBT, BEGUN_TWICE])
def test_what_the_source_s_disk_has_done_to_its_own_files_is_named(name: str) -> None:
    result = run(name)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert all("of the source" in each or "the source's store" in each for each in result.reasons)
    assert "misdirected_write" in {mark.kind for mark in result.faults}


def test_what_is_carried_out_once_more_puts_it_right() -> None:
    passes(REDONE, "misdirected_write", "process_crash")


def test_an_image_that_was_brought_over_before_must_mount() -> None:
    judged = made(READ)
    judged.circumstances._brought_over_ns = dict.fromkeys(range(9), 0)
    assert first_reason(judged, Verdict.SAFETY).startswith("mountable is broken")


def test_no_epoch_is_used_twice_for_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.circumstances._STATE", "/nowhere")
    assert "its image is that after [0]" in reason_of(STATE, Verdict.SAFETY)
    assert run(BEGUN_TWICE).verdict is Verdict.SAFETY


@pytest.mark.parametrize("name", [IN_DOUBT, REDONE])
def test_a_source_that_changes_by_itself_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Truth, "medium_changed", lambda _truth, _paths: None)
    assert reason_of(name, Verdict.SAFETY).startswith("capture is complete is broken")


# -- half of another image ------------------------------------------------------------------------

HALF = "half_of_another_image"


def test_a_home_that_had_begun_to_become_another_image_is_begun_anew() -> None:
    result = run(HALF)
    assert result.verdict in (Verdict.PASS, Verdict.UNRECOVERABLE), result.reasons
    assert all("second source" in each for each in result.reasons)
    at_the_end = [check for check in result.checks if check.occasion == "end of run"]
    assert at_the_end and all(check.holds for check in at_the_end)


def test_else_the_first_source_goes_on_with_a_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicator.replica_apply.DamagedImage", DamagedLog)
    assert reason_of(HALF, Verdict.SAFETY).startswith("prefix is broken")


def test_rot_of_the_spool_is_none_of_the_set_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench lost count of the operations by it."""
    result = run("rot_of_the_spool")
    assert result.verdict is Verdict.INCONCLUSIVE, result.reasons
    assert all("never happened" in each for each in result.reasons)
    assert result.checks and all(check.holds for check in result.checks)
    truth = made("rot_of_the_spool").system.truth
    surveys: list[bool] = []
    monkeypatch.setattr(truth, "_survey", lambda: surveys.append(True))
    truth.medium_changed(["/spool/segments/00000001.segment"])
    assert not surveys
    truth.medium_changed([truth.root + "/E00.log"])
    assert surveys


LEFT = "what_is_left_takes_over"


def test_of_what_is_left_of_an_image_nobody_says_which_operations_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run(LEFT)
    assert result.verdict in (Verdict.PASS, Verdict.UNRECOVERABLE), result.reasons
    assert happened(result, "link_outage", "bit_rot", "power_loss", "failover")
    check = one_source.kept_check
    monkeypatch.setattr(
        one_source,
        "kept_check",
        lambda system, claim, *more: check(system, replace(claim, damage=""), *more),
    )
    assert reason_of(LEFT, Verdict.SAFETY).startswith("one source is broken")
