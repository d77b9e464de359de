"""Plans that campaigns over the store of Exchange failed with: in ``found_plans/``, each a file.

They are laid over ``scenarios/campaign.toml`` with one disk to a host, as it was then: a spool or
journal that shares a disk with the store is the harder case.  What made each of them fail is taken
away again here, and the failure is there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.captured_volume import CapturedFile
from replicator.full_volume import Patience
from replicator.home import HomeImage
from replicator.journal import SegmentedLog
from replicator.log_recovery import LogRecovery
from replicator.segments import Segment
from simulator import oracle
from simulator.campaign.job import planned, run_plan
from simulator.circumstances import CircumstanceFinder
from simulator.measures import RunResult, Verdict
from simulator.plans.plan import load_plan
from simulator.prepared import prepare
from simulator.run import ScenarioRun
from simulator.scenario import Scenario, load_scenario
from tests.tools.lazy_truncate import truncate_where_it_looks_wrong

PLANS = Path(__file__).parent / "found_plans"
CAMPAIGN = Path(__file__).parents[2] / "scenarios/campaign.toml"


def one_disk_each(*overrides: str) -> Scenario:
    scenario = load_scenario(CAMPAIGN, overrides)
    source = scenario.source.model_copy(update={"spool_disk": None})
    replica = scenario.replica.model_copy(update={"journal_disk": None})
    return scenario.model_copy(update={"source": source, "replica": replica})


def made(name: str, *overrides: str) -> ScenarioRun:
    scenario = one_disk_each(*overrides)
    return ScenarioRun(planned(scenario, load_plan(PLANS / f"{name}.toml", scenario)))


def run(name: str, *overrides: str) -> RunResult:
    return made(name, *overrides).run()


def passes(name: str, *happened: str) -> RunResult:
    """The run of a plan that passes, and in which just these faults happened, by their kinds."""
    result = run(name)
    assert result.verdict is Verdict.PASS, result.reasons
    assert sorted(mark.kind for mark in result.faults) == sorted(happened)
    return result


def reason_of(name: str, verdict: Verdict) -> str:
    """The first reason of a run that ends with a verdict."""
    return first_reason(made(name), verdict)


def first_reason(judged: ScenarioRun, verdict: Verdict) -> str:
    """The same of a run that was made otherwise."""
    result = judged.run()
    assert result.verdict is verdict, result.reasons
    return result.reasons[0]


# -- a power loss while the store recovers at the replica -----------------------------------------

AT_THE_MOUNT = "power_fails_at_the_mount"
TORN = "replica.disk.sector=4096"


def test_a_page_torn_while_the_store_recovers_at_the_replica_is_the_disks() -> None:
    result = run(AT_THE_MOUNT, TORN)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    [reason] = result.reasons
    assert reason.startswith("mountable cannot be kept under the power loss of the replica")
    assert "-1018" in reason
    mark = next(each for each in result.faults if each.kind == "power_loss")
    assert mark.start_seconds > 600, "long after the takeover was ordered"


def test_on_a_disk_that_writes_pages_whole_it_recovers_there_too() -> None:
    assert run(AT_THE_MOUNT, "replica.disk.sector=8192").verdict is Verdict.PASS


def test_a_power_loss_before_the_takeover_excuses_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CircumstanceFinder, "store_opened", lambda _finder, _now_ns: None)
    assert run(AT_THE_MOUNT, TORN).verdict is Verdict.SAFETY


def test_it_excuses_no_mount_that_ends_with_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store says is then not what a torn page makes it say."""
    monkeypatch.setattr(oracle, "TORN_PAGE", -550)
    assert run(AT_THE_MOUNT, TORN).verdict is Verdict.SAFETY


# -- segments that were made larger ---------------------------------------------------------------

LONG_RECORD = "long_record_that_never_came"
SMALL_SPOOL = "protection.spool_limit=448KiB"


def test_the_spool_keeps_its_limit_after_a_crash() -> None:
    assert run(LONG_RECORD, SMALL_SPOOL).verdict is Verdict.PASS


def test_a_segment_counted_as_an_ordinary_one_breaks_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adopt = SegmentedLog._adopt

    def forgetful(log: SegmentedLog, segment: Segment) -> None:
        segment.reserved_bytes = 0
        adopt(log, segment)

    monkeypatch.setattr(SegmentedLog, "_adopt", forgetful)
    result = run(LONG_RECORD, SMALL_SPOOL)
    assert result.verdict is Verdict.SAFETY
    assert any("the spool took" in reason for reason in result.reasons), result.reasons


# -- a size behind a failed sync ------------------------------------------------------------------

SIZE_REDONE = "size_redone_after_a_failed_sync"


def test_a_growth_whose_sync_failed_is_there_once_recovery_has_set_the_size_again() -> None:
    result = run(SIZE_REDONE)
    assert result.verdict is Verdict.PASS, result.reasons
    assert "priv1.edb" in str([mark.note for mark in result.faults])


def test_a_recovery_that_leaves_the_size_as_it_is_loses_the_growth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truncate_where_it_looks_wrong(monkeypatch)
    assert run(SIZE_REDONE).verdict is Verdict.SAFETY


# -- home behind a failed sync, and no checkpoint --------------------------------------------------

BELIEVED = "home_believes_its_cache"


def test_a_home_that_nobody_vouches_for_is_written_again_before_it_is_a_basis() -> None:
    result = run(BELIEVED)
    assert result.verdict is Verdict.PASS, result.reasons
    kinds = [mark.kind for mark in result.faults]
    assert "sync_failure" in kinds and kinds[-1] == "bit_rot", "they really happened"


def test_synced_alone_it_lacks_what_the_failed_sync_did_not_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(_home: HomeImage) -> None:
        return None

    monkeypatch.setattr(HomeImage, "write_again", nothing)
    result = run(BELIEVED)
    assert result.verdict is Verdict.SAFETY
    assert "a resynchronization was committed" in result.reasons[0]


# -- damage on a full volume -----------------------------------------------------------------------

FULL = "damage_on_a_full_volume"


def test_damage_waits_for_the_room_in_which_it_is_kept() -> None:
    passes(FULL, "bit_rot", "power_loss", "disk_full")


def test_a_replica_that_does_not_wait_for_room_ends_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Patience, "with_room", lambda _patience, step: step())
    assert "/replica/damaged/" in reason_of(FULL, Verdict.LIVENESS)


# -- rot where nothing is needed any more ---------------------------------------------------------

LET_GO_OF = "rot_before_the_checkpoint"


def test_rot_in_records_that_the_checkpoint_includes_loses_nothing() -> None:
    result = passes(LET_GO_OF, "bit_rot", "loss", "power_loss")
    assert result.worst_loss is not None and result.worst_loss.messages == 0


def test_a_recovery_that_takes_it_for_damage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogRecovery, "_pass_over", lambda *_arguments: False)
    reason = reason_of(LET_GO_OF, Verdict.SAFETY)
    assert reason.startswith("durable means durable is broken")


def test_a_bench_that_believes_each_damage_that_is_named_excuses_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it was: nine messages lost, and no mount, for a bit that nobody needed."""
    monkeypatch.setattr(LogRecovery, "_pass_over", lambda *_arguments: False)
    monkeypatch.setattr(CircumstanceFinder, "rot_is_needed", lambda *_arguments: True)
    result = run(LET_GO_OF)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert result.worst_loss is not None and result.worst_loss.messages == 9


# -- rot while the replica starts -----------------------------------------------------------------

STARTING = "rot_while_the_replica_starts"


def test_damage_by_rot_that_the_start_had_not_met_is_true() -> None:
    passes(STARTING, "bit_rot", "power_loss", "power_loss")


def test_a_bench_that_looks_at_the_start_alone_takes_it_for_a_lie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CircumstanceFinder, "replica_names_damage", lambda *_arguments: None)
    assert "replica went back" in reason_of(STARTING, Verdict.SAFETY)


# -- rot at both ends of the journal --------------------------------------------------------------

BOTH_ENDS = "rot_at_both_ends"


def test_a_journal_that_has_rotted_elsewhere_has_no_torn_end() -> None:
    passes(BOTH_ENDS, "bit_rot", "power_loss")


def test_else_its_newest_record_is_erased_and_home_is_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LogRecovery, "_rots", lambda *_arguments, **_named: False)
    assert reason_of(BOTH_ENDS, Verdict.SAFETY).startswith("prefix is broken")


# -- rot in front of a torn end -------------------------------------------------------------------

TORN_END = "rot_before_a_torn_end"


def test_in_a_journal_that_has_rotted_a_torn_end_is_rightly_named_as_damage() -> None:
    passes(TORN_END, "bit_rot", "link_outage", "process_crash")


def test_a_bench_that_does_not_look_at_the_end_takes_it_for_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.circumstances.looks_torn", lambda *_arguments: False)
    reason = reason_of(TORN_END, Verdict.SAFETY)
    assert reason.startswith("durable means durable is broken")


# -- a spool that holds the writers ---------------------------------------------------------------

PAGES_TOGETHER, FULL_AT_A_SYNC = "full_spool_and_pages_together", "full_spool_at_a_sync"
HOLD = "protection.spool_full=hold"
HEAVY = (HOLD, "protection.spool_limit=1MiB", "stream.messages=20/s")


@pytest.mark.parametrize(
    ("name", "overrides"), [(PAGES_TOGETHER, HEAVY), (FULL_AT_A_SYNC, (HOLD,))]
)
def test_a_store_goes_on_when_the_spool_has_held_it(name: str, overrides: tuple[str, ...]) -> None:
    scenario = one_disk_each(*overrides)
    plan = load_plan(PLANS / f"{name}.toml", scenario)
    outcome = run_plan(prepare(scenario), plan, 0, False)
    assert outcome.verdict is Verdict.PASS, outcome.reasons
    assert "spool_full_hold" in outcome.marks, "else this means nothing"


def test_a_store_that_writes_otherwise_than_it_was_let_in_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it was: each page was let in by itself, and neighbours were written with one call."""
    monkeypatch.setattr(
        "simulator.exchange.ese.attached_database.neighbours",
        lambda pgnos, _page_bytes: [pgnos] if pgnos else [],
    )
    reason = first_reason(made(PAGES_TOGETHER, *HEAVY), Verdict.LIVENESS)
    assert "the spool has no room for 16384 bytes and holds the writer" in reason


def test_a_sync_that_does_not_wait_for_its_note_ends_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def sync(self: CapturedFile) -> None:
        await self.file.sync()
        self.note_synced()

    monkeypatch.setattr(CapturedFile, "sync", sync)
    reason = first_reason(made(FULL_AT_A_SYNC, HOLD), Verdict.LIVENESS)
    assert "the spool has no room for 0 bytes and holds the writer" in reason
