"""Runs over a store in a format of Exchange: keys, verdicts, losses, and what its disk must do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from replicator.errors import BadInput
from replicator.ese import page_io
from simulator.campaign.job import plan_number
from simulator.exchange import engine_store
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.ese import known_pages
from simulator.exchange.ese.page_buffer import PageBuffer
from simulator.exchange.ledger import Ledger
from simulator.exchange.small_store import SmallStoreConfig
from simulator.exchange.store import Message
from simulator.exchange.stores import store_config, store_figures, whole_bytes
from simulator.live.programs import stream_figures
from simulator.measures import RunResult, Verdict
from simulator.plans.draw import space_of
from simulator.plans.plan import FaultPlan
from simulator.prepared import prepare
from simulator.report.record import RunRecord, result_text
from simulator.report.words import loss_sentence
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import (
    Loss,
    PowerLoss,
    ProcessCrash,
    Scenario,
    StoreStream,
    TraceStream,
    check_scenario,
    load_scenario,
    parse_scenario,
)
from tests.test_run import BASE

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = ROOT / "scenarios/campaign.toml"
MS_NS = 1_000_000
VERSIONS = ("exchange 2003", "exchange 2007", "exchange 2010")
SHORT = ("duration=2s",)


def power_loss(at_ms: int) -> PowerLoss:
    return PowerLoss.model_construct(
        kind="power_loss",
        at_ns=at_ms * MS_NS,
        host="source",
        survive="seeded",
        when=None,
        restart_ns=None,
    )


def crash(at_ms: int, host: str = "source") -> ProcessCrash:
    return ProcessCrash.model_construct(kind="process_crash", at_ns=at_ms * MS_NS, host=host)


LOST = Loss.model_construct(kind="loss", at_ns=1_500 * MS_NS, host="source")


def scenario(*overrides: str, faults: tuple[Any, ...] = ()) -> Scenario:
    loaded = load_scenario(CAMPAIGN, [*SHORT, *overrides])
    return loaded.model_copy(update={"faults": faults})


def fields(result: RunResult) -> dict[str, Any]:
    return asdict(replace(result, wall_seconds=0.0))


# -- keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_format_chooses_the_store_and_its_figures(version: str) -> None:
    stream = parse_scenario(
        BASE, [f"stream.format={version}", "stream.databases=3", "stream.durability=flush"]
    ).stream
    assert isinstance(stream, StoreStream)
    store = stream.store
    assert isinstance(store, EngineStoreConfig)
    assert (store.format, store.databases, store.durability) == (version, 3, "flush")
    assert store.instance().store_format.page_bytes == whole_bytes(store)
    assert stream.load.databases == 3
    assert stream.load.retention_bytes == 3 * store.database_size_bytes // 3
    assert store.single_instance is (version != "exchange 2010")


def test_without_a_format_it_is_a_store_of_2007() -> None:
    stream = parse_scenario(BASE.replace('format = "small"\n', "")).stream
    assert isinstance(stream, StoreStream)
    assert isinstance(stream.store, EngineStoreConfig)
    assert stream.store.format == stream.format == "exchange 2007"


def test_the_small_store_is_chosen_by_name() -> None:
    stream = parse_scenario(BASE).stream
    assert isinstance(stream, StoreStream) and stream.format == "small"
    assert isinstance(stream.store, SmallStoreConfig)
    assert whole_bytes(stream.store) == 0
    assert stream.load.retention_bytes == stream.database_size_bytes // 2


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stream.databases=2"], "the small store does not know databases"),
        (["stream.circular=false"], "the small store does not know circular"),
        (["stream.durability=flush"], "the small store does not know durability"),
        (["stream.format=exchange 2007", "stream.databases=6"], "6 databases have only 5"),
        (["stream.format=exchange 2007", "stream.log_size=16KiB"], "is no size of a log"),
        (["stream.format=exchange 2010", "stream.log_size=64KiB"], "is no size of a log"),
        (["stream.format=exchange 2007", "stream.log_size=100001B"], "is no size of a log"),
        (["stream.format=exchange 2010", "stream.database_size=4MiB"], "too small for a database"),
        (["stream.format=exchange 2007", "stream.database_size=100MiB",
          "stream.message_size=10MiB"], "too small for a database"),
        (["stream.format=exchange 5.5"], "'exchange 5.5' is not known"),
    ],
)  # fmt: skip
def test_figures_that_make_no_store_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_scenario(BASE, overrides)
    assert says in str(refused.value)
    assert refused.value.remedy


TORN = '[[faults]]\nkind = "power_loss"\nhost = "source"\nat = "20s"\n'


def test_a_disk_that_tears_pages_is_doubted_where_the_source_loses_power(tmp_path: Path) -> None:
    path = tmp_path / "torn.toml"
    path.write_text(BASE + TORN)

    def doubts(*overrides: str) -> list[str]:
        return [str(each) for each in check_scenario(path, overrides)[1]]

    [doubt] = doubts("stream.format=exchange 2007")
    assert "may tear pages of 8KiB" in doubt and "-1018" in doubt
    assert not doubts("stream.format=exchange 2007", "source.disk.sector=8192")
    assert not doubts("stream.format=exchange 2003")  # pages of 4 KiB, as the disk's sectors
    assert not doubts()
    [doubt] = doubts("stream.format=exchange 2003", "stream.durability=flush")
    assert "in any order" in doubt and "-501" in doubt


@pytest.mark.parametrize(
    "config", [SmallStoreConfig(mailboxes=7), EngineStoreConfig(databases=2, circular=False)]
)
def test_figures_of_a_store_survive_a_document(config: Any) -> None:
    assert store_config(json.loads(json.dumps(store_figures(config)))) == config


def test_live_programs_are_told_of_the_format() -> None:
    stream = parse_scenario(BASE, ["stream.format=exchange 2003"]).stream
    figures = json.loads(json.dumps(stream_figures(stream)))
    assert store_config(figures["store"]) == stream.store  # type: ignore[union-attr]


# -- runs ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_crash_of_the_store_its_power_and_its_loss(version: str) -> None:
    overrides = [f"stream.format={version}"]
    if version == "exchange 2010":
        overrides += ["stream.database_size=8MiB", "stream.log_size=128KiB"]
        overrides += ["source.disk.sector=32768", "protection.spool_limit=2MiB"]
    plan = (crash(500), power_loss(900), crash(1_200, "replica"), LOST)
    result = ScenarioRun(scenario(*overrides, faults=plan)).run()
    assert result.verdict is Verdict.PASS, result.reasons
    mountable = [check for check in result.checks if check.invariant == "mountable"]
    assert len(mountable) > 5
    assert all(check.holds and check.error_number is None for check in mountable)


def test_the_time_of_a_mount_follows_the_logs_that_recovery_went_through() -> None:
    per_log = "failover.mount_per_log=700ms"
    result = ScenarioRun(scenario(per_log, faults=(LOST,))).run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.recovery is not None
    logs = result.recovery.mount / 0.7
    # More than one log, and fewer than there are files: reserves and the next one do not count.
    assert 1 <= round(logs) <= 4
    assert logs == pytest.approx(round(logs), abs=0.3)


@pytest.mark.full
def test_a_run_is_a_function_of_scenario_and_seed_and_a_campaign_takes_over_no_more() -> None:
    plan = (crash(500), power_loss(1_100))
    alone = ScenarioRun(scenario(faults=plan)).run()
    again = ScenarioRun(scenario(faults=plan)).run()
    assert alone.trace_hash == again.trace_hash
    prepared = prepare(scenario())
    assert fields(prepared.run(plan)) == fields(prepared.run(plan)) == fields(alone)
    other = ScenarioRun(scenario(faults=plan), seed=2).run()
    assert other.trace_hash != alone.trace_hash


def drawn(*numbers: int) -> list[FaultPlan]:
    """Plans of a campaign over the scenario, by number."""
    space = space_of(scenario())
    return [plan_number(1, number, space) for number in numbers]


@pytest.mark.parametrize("number", [3, 4, 10])
def test_a_plan_of_a_campaign_ends_alike_cold_and_warm(number: int) -> None:
    """What a campaign takes over from other plans changes nothing, not one event."""
    other, plan = drawn(5, number)
    prepared = prepare(scenario())
    prepared.run(other.faults, fault_seed=other.seed)
    warm = [fields(prepared.run(plan.faults, fault_seed=plan.seed)) for _time in range(2)]
    faults = {"faults": plan.faults, "fault_seed": plan.seed}
    alone = ScenarioRun(scenario().model_copy(update=faults)).run()
    assert warm[0] == warm[1] == fields(alone)
    known = prepared.known
    assert known.pages.hits > known.pages.misses > 0
    assert known.logs.hits > known.logs.misses > 0
    assert known.images.hits > 0


def test_pages_that_were_taken_for_others_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known by their number alone, pages of earlier images spoil the later ones."""
    prepared = prepare(scenario())
    assert prepared.run(()).verdict is Verdict.PASS
    monkeypatch.setattr(page_io, "key_of", lambda _data, pgno: (b"", pgno))
    assert prepare(scenario()).run((crash(1_000),)).verdict is not Verdict.PASS


async def nothing_known(_session: object, _mailboxes: object) -> None:
    """In place of what examinations know of pages."""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_alone_ends_alike_with_and_without_what_it_knows_of_pages(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (f"stream.format={version}", "stream.database_size=16MiB", "stream.log_size=128KiB")
    faults = (power_loss(500), crash(900), crash(1_300, "replica"), LOST)
    short = scenario(*overrides, faults=faults)
    run = ScenarioRun(short)
    with_it = fields(run.run())
    known = run._examiner._messages
    assert known.facts.hits > 0 and known.digests.hits > 0
    with monkeypatch.context() as patch:
        patch.setattr(engine_store, "known_digests", nothing_known)
        assert fields(ScenarioRun(short).run()) == with_it


def test_pages_that_examinations_took_for_others_would_be_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Known by their number alone, pages of earlier images spoil the verdict on the later ones."""
    assert ScenarioRun(scenario()).run().verdict is Verdict.PASS
    monkeypatch.setattr(known_pages, "_key", lambda _page, pgno, role: (pgno, role))
    assert ScenarioRun(scenario()).run().verdict is not Verdict.PASS


def test_losses_are_counted_in_messages_and_mailboxes() -> None:
    text = BASE.replace('"60s"', '"12s"') + (
        '[[faults]]\nkind = "link_outage"\nat = "4s"\nduration = "1m"\n'
        '[[faults]]\nkind = "loss"\nhost = "source"\nat = "10s"\n'
    )
    result = run_scenario(parse_scenario(text))
    worst = result.worst_loss
    assert worst is not None and worst.messages is not None and worst.mailboxes is not None
    assert 3 <= worst.mailboxes <= 5 < worst.messages
    assert f"{worst.messages} messages in {worst.mailboxes} mailboxes" in loss_sentence(result)
    document = json.loads(result_text(result))
    RunRecord.model_validate(document)
    assert document["losses"][-1]["mailboxes"] == worst.mailboxes


def test_a_ledger_counts_mailboxes_up_to_an_instant() -> None:
    ledger = Ledger()
    for number, mailbox in enumerate((7, 7, 8, 9), 1):
        ledger.begin((Message(number, mailbox, b"x"),), (), number)
        if number < 4:
            ledger.acknowledge(number, 10 * number)
    assert (ledger.loss(0).messages, ledger.loss(0).mailboxes) == (3, 2)
    assert ledger.loss(1).mailboxes == 2
    early = ledger.loss(0, until_ns=20)
    assert (early.messages, early.mailboxes) == (2, 1)
    assert ledger.live_by_mailbox() == [(n, m, 1) for n, m in ((1, 7), (2, 7), (3, 8), (4, 9))]


# -- pages that a disk tears -----------------------------------------------------------

TORN_SEED = 2
"""What survives: parts of a page that recovery reads are among it."""


@pytest.fixture(scope="module")
def written_ms() -> int:
    """The first whole millisecond after the store last wrote pages, which are not synced then."""
    run = ScenarioRun(load_scenario(CAMPAIGN, ["duration=3s"]))
    times_ns: list[int] = []
    write = PageBuffer.write

    def noted(self: PageBuffer, pgnos: Sequence[int]) -> None:
        times_ns.append(run.world.clock.now())
        write(self, pgnos)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PageBuffer, "write", noted)
        run.run()
    return max(each for each in times_ns if each < 2_900 * MS_NS) // MS_NS + 1


def torn(sector_bytes: int, at_ms: int) -> RunResult:
    loaded = load_scenario(CAMPAIGN, ["duration=3s", f"source.disk.sector={sector_bytes}"])
    faults = (power_loss(at_ms),)
    return ScenarioRun(loaded.model_copy(update={"faults": faults, "fault_seed": TORN_SEED})).run()


def test_a_torn_page_is_told_by_number_and_is_nobodys_lie(written_ms: int) -> None:
    result = torn(512, written_ms)
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    numbers = {check.error_number for check in result.checks if not check.holds}
    assert numbers == {-1018}
    text = " ".join(result.reasons)
    assert "cannot be kept under the power loss of the source" in text
    assert "the source's store does not mount" in text and "its disk tore a page" in text
    RunRecord.model_validate(json.loads(result_text(result)))


def test_with_pages_that_are_written_whole_the_same_power_loss_does_no_harm(
    written_ms: int,
) -> None:
    assert torn(8192, written_ms).verdict is Verdict.PASS


# -- our scenarios ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    sorted({*(ROOT / "scenarios").rglob("*.toml")} - {*(ROOT / "scenarios/plans").glob("*.toml")}),
    ids=lambda path: path.relative_to(ROOT / "scenarios").as_posix(),
)
def test_what_is_shipped_names_a_store_of_exchange_on_a_disk_that_tears_no_page(path: Path) -> None:
    stream = load_scenario(path).stream
    if isinstance(stream, TraceStream):
        return
    assert 'format = "exchange ' in path.read_text(encoding="utf-8")
    sector_bytes = load_scenario(path).source.disk.sector_bytes
    assert sector_bytes == whole_bytes(stream.store) > 0


@pytest.mark.full
def test_the_scenario_of_2007_passes() -> None:
    result = run_scenario(load_scenario(ROOT / "scenarios/exchange_2007.toml"))
    assert result.verdict is Verdict.PASS, result.reasons
    assert {mark.kind for mark in result.faults} == {
        "link_outage",
        "process_crash",
        "power_loss",
        "loss",
    }
    assert result.resynchronizations == 1
    assert result.worst_loss is not None and result.worst_loss.mailboxes


def test_the_scenario_of_2007_in_short() -> None:
    """All that it sets is understood, and its store lives through a crash."""
    loaded = load_scenario(ROOT / "scenarios/exchange_2007.toml", ["duration=20s", "faults=[]"])
    stream = loaded.stream
    assert isinstance(stream, StoreStream) and stream.databases == 2
    assert loaded.source.disk.sector_bytes == whole_bytes(stream.store)
    result = ScenarioRun(loaded.model_copy(update={"faults": (crash(9_000),)})).run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.messages is not None and result.messages > 20
