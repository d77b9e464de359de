"""Operations besides the messages': the account, its stand-ins, what is counted, and the hours."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import pairwise

import pytest

from replicator.host.world import HostRuntime, run_on_host
from replicator.runtime.port import Scan
from simulator.exchange.diurnal import DAY_NS, HOUR_NS, UNITS_PER_DAY
from simulator.exchange.ese.counted_volume import IoCounts, counted_volume
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.mail_ledger import MailLedger
from simulator.exchange.ese.mail_naming import StoreClock
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.older_mail import OlderMail
from simulator.exchange.ese.put_off_syncs import put_off_syncs
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.store_hours import StoreHours
from simulator.exchange.ese.store_record import StoreHour
from simulator.exchange.mail_io import (
    DEFAULT_IO,
    IoModel,
    cache_pages,
    expected_operations,
    is_busiest,
    older_pages,
    peak_operations,
    units_until_written,
)
from simulator.exchange.mail_plan import MailPlan, Runaway
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import PROFILES, select_profile
from tests.store_ese.engine_harness import DIRECTORY, Draws, Life, new_medium, run

PLAN = MailPlan(select_profile("2007", "light"), 2, DAY_NS, databases=2)
NAMES = ("priv1.edb", "priv2.edb")
SMALL = IoModel(cache_share=0.05)


# --- what the figures expect --------------------------------------------------------------


def test_a_working_day_has_the_profiles_operations_at_its_peak() -> None:
    for profile in PROFILES.values():
        if profile.reads_per_write is None:
            continue
        peak = peak_operations(profile)
        assert peak.reads + peak.writes == pytest.approx(profile.iops.value)
        assert peak.reads / peak.writes == pytest.approx(profile.reads_per_write.value)
    plan = replace(PLAN, duration_ns=7 * DAY_NS)
    busiest = [hour for hour in range(7 * 24) if is_busiest(plan, hour)]
    assert busiest == [day * 24 + hour for day in range(5) for hour in (9, 10)]
    hour = expected_operations(plan, 9 * HOUR_NS, 10 * HOUR_NS)
    assert hour.reads + hour.writes == pytest.approx(0.11 * 3600 * 2)
    day = expected_operations(plan, 0, DAY_NS)
    assert day.reads + day.writes == pytest.approx(0.11 * 86_400 * 2 / 2.4)
    saturday = expected_operations(plan, 5 * DAY_NS, 6 * DAY_NS)
    assert saturday.reads == pytest.approx(day.reads * 0.1)


def test_a_stream_that_starts_later_has_the_operations_of_its_own_hours() -> None:
    late = replace(PLAN, starts_on=2, starts_at_ns=9 * HOUR_NS)
    assert is_busiest(late, 0)
    assert not is_busiest(late, 2)
    found = expected_operations(late, 0, HOUR_NS)
    assert found.reads + found.writes == pytest.approx(0.11 * 3600 * 2)


def test_without_a_figure_there_is_no_account() -> None:
    with pytest.raises(ValueError, match="2013"):
        peak_operations(select_profile("2013", "50"))


def test_changed_pages_wait_for_the_whole_servers_traffic() -> None:
    """20 MB of depth, 200 mailboxes with 6 MB of log: half is due after 1/120 of a day."""
    depth_bytes = 20 << 20
    found = units_until_written(PLAN, DEFAULT_IO, depth_bytes) / UNITS_PER_DAY
    assert found == pytest.approx(10 / (200 * 6))
    fewer = IoModel(mailboxes_of_a_log_set={"2007": 100})
    assert units_until_written(PLAN, fewer, depth_bytes) / UNITS_PER_DAY == pytest.approx(2 * found)
    # No source tells the logs of 2003: they are taken from the assumed amplification.
    old = MailPlan(select_profile("2003", "light"), 4, DAY_NS)
    mail_bytes = old.profile.mail_bytes_per_day
    found = units_until_written(old, DEFAULT_IO, depth_bytes) / UNITS_PER_DAY
    assert found == pytest.approx((10 << 20) / (1000 * 2 * mail_bytes))


@pytest.mark.parametrize("of", [("2003", "large"), ("2007", "average"), ("2010", "500")])
@pytest.mark.parametrize(("mailboxes", "databases"), [(1, 1), (7, 3), (40, 2)])
def test_a_mailbox_has_more_older_pages_than_the_cache(of, mailboxes, databases) -> None:
    plan = MailPlan(select_profile(*of), mailboxes, DAY_NS, databases=databases)
    pages = older_pages(plan, DEFAULT_IO, 8192) * (mailboxes // databases)
    assert pages >= 2 * cache_pages(plan, DEFAULT_IO, 8192) >= 128


def test_the_cache_is_the_mailboxes_and_bounded() -> None:
    average = select_profile("2007", "average")  # 3.5 MB each, of which a quarter
    for mailboxes, pages in ((10, 10 * 112), (100, 100 * 112), (1_000, 1 << 14)):
        plan = MailPlan(average, mailboxes, DAY_NS)
        assert cache_pages(plan, DEFAULT_IO, 8192) == pages


@pytest.mark.parametrize(
    "wrong",
    [
        {"cache_share": 0},
        {"cache_share": 1.1},
        {"older_to_cache": 1.0},
        {"assumed_cache_bytes": 0},
        {"assumed_log_amplification": 0},
        {"mailboxes_of_a_log_set": {"2007": 0}},
        {"surplus_hours": -1},
    ],
)
def test_a_model_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"cache|log|surplus"):
        IoModel(**wrong)


# --- a store that follows them ------------------------------------------------------------


def lived(
    plan: MailPlan, hours: range, model: IoModel = SMALL, *, stand_in: bool = True
) -> tuple[list[StoreHour], OlderMail, IoCounts, list[str]]:
    """Some hours of a store, with what the volume itself has seen."""
    counts = IoCounts()
    config = InstanceConfig(store_format=STORE_FORMATS["exchange 2007"], log_version=7)
    config = replace(config, cache_pages=cache_pages(plan, model, 8192))
    found: list[tuple[list[StoreHour], OlderMail]] = []

    async def script(life: Life) -> None:
        draws = Draws()
        names = NAMES[: plan.databases]
        volume = put_off_syncs(counted_volume(life.volume, names, counts))
        instance = await Instance.open(
            volume, DIRECTORY, config, now=draws.now, draw=draws.signature
        )
        with MailLedger() as ledger:
            older = OlderMail(instance, plan, counts, model, stand_in=stand_in)
            work = MailWork(instance, plan, StoreClock(10**18), ledger, older=older)
            await work.create(names, hours.start * HOUR_NS)
            store = StoreHours(work, instance, counts, None, older, hours.start * HOUR_NS)
            begin_ns, end_ns = hours.start * HOUR_NS, hours.stop * HOUR_NS
            for event in MailStream(plan).events(begin_ns, end_ns):
                await store.carry_out(event)
            await store.until(end_ns)
            found.append((store.hours, older))
            instance.abandon()

    life = run(new_medium(), script, config=config)
    if life.error is not None:
        raise life.error
    return *found[0], counts, life.steps


def operations(hours: list[StoreHour]) -> list[int]:
    return [each.database_reads + each.database_writes for each in hours]


@pytest.fixture(scope="module")
def followed() -> tuple[list[StoreHour], OlderMail, IoCounts, list[str]]:
    return lived(PLAN, range(8, 11))


def test_hours_have_the_operations_that_the_figures_expect(followed) -> None:
    hours, older, counts, _ = followed
    assert [each.hour for each in hours] == [8, 9, 10]
    for each in hours[1:]:  # in the first one pages begin to wait
        expected = expected_operations(PLAN, each.hour * HOUR_NS, (each.hour + 1) * HOUR_NS)
        assert each.database_reads == pytest.approx(expected.reads, rel=0.03)
        assert each.database_writes == pytest.approx(expected.writes, rel=0.05)
    # A page at a time, and nearly all of it stands for what users do.
    assert counts.database_read_bytes == counts.database_reads * 8192
    assert sum(each.stand_in_reads for each in hours) == older.stand_in_reads
    assert older.stand_in_reads > 0.9 * sum(each.database_reads for each in hours)
    written = sum(each.database_writes for each in hours)
    assert 0.8 * written < older.changed < written + 0.1 * written


def test_without_stand_ins_messages_alone_are_far_from_the_figures() -> None:
    """The measurement is able to fail."""
    hours, older, _, _ = lived(PLAN, range(9, 11), stand_in=False)
    expected = expected_operations(PLAN, 9 * HOUR_NS, 11 * HOUR_NS)
    assert 0 < sum(operations(hours)) < 0.2 * (expected.reads + expected.writes)
    assert (older.looked_at, older.changed, older.stand_in_reads) == (0, 0, 0)


def test_pages_that_stay_in_memory_for_hours_are_written_less_often(followed) -> None:
    """The wait is that of a server's traffic; that of the few mailboxes alone would hide writes."""
    waiting = replace(SMALL, mailboxes_of_a_log_set={"2007": 2})
    plan = replace(PLAN, databases=1)
    few = lived(plan, range(9, 11), waiting, stand_in=False)[0]
    many = lived(plan, range(9, 11), stand_in=False)[0]
    assert sum(each.database_writes for each in few) < 0.6 * sum(
        each.database_writes for each in many
    )


def test_a_flood_of_messages_is_not_made_up_for_by_silence() -> None:
    """What a mail loop writes beyond the figure is its own, and forgotten after an hour's worth."""
    loop = Runaway(0, 0.1, 9 * HOUR_NS, 9 * HOUR_NS + HOUR_NS // 2, 20_000)
    plan = MailPlan(select_profile("2007", "light"), 1, DAY_NS, runaways=(loop,))
    model = replace(SMALL, surplus_hours=0.1)
    hours = lived(plan, range(9, 11), model)[0]
    expected = expected_operations(plan, 10 * HOUR_NS, 11 * HOUR_NS)
    assert hours[0].database_writes > 1.3 * expected.writes
    assert hours[1].database_writes == pytest.approx(expected.writes, rel=0.15)


# --- what is counted ----------------------------------------------------------------------


def test_counts_are_what_the_volume_has_seen(followed) -> None:
    _, _, counts, steps = followed
    written = [step for step in steps if step.startswith("write")]
    databases = [step for step in written if any(name in step for name in NAMES)]
    logs = [step for step in written if ".log" in step and "res" not in step]
    assert counts.database_writes == len(databases) > 100
    assert counts.log_writes == len(logs) > 100


def test_reads_of_every_kind_are_counted_and_other_files_are_not(tmp_path) -> None:
    async def main(runtime: HostRuntime) -> None:
        counts = IoCounts()
        volume = counted_volume(runtime.volume("some", str(tmp_path)), ("a.edb",), counts)
        for name in ("/a.edb", "/b.edb", "/E00.chk", "/E00.log"):
            file = volume.create(name)
            assert file.write_at(0, b"x" * 100, b"y" * 50) == 150
            await file.read_at(100, 100)
            file.close()
        again = volume.open("/a.edb")
        assert again.size_bytes == 150
        pieces = await again.scan(Scan(0, 150, 60, lambda piece: piece[:1], 1.0))
        again.close()
        assert pieces == [b"x", b"x", b"y"]
        assert astuple(counts) == (4, 1, 200, 150, 1, 150)

    run_on_host(main)


def test_hours_begin_at_full_hours_and_add_up(followed) -> None:
    hours, _, counts, _ = followed
    assert all(now.hour == before.hour + 1 for before, now in pairwise(hours))
    assert sum(each.database_reads for each in hours) <= counts.database_reads
    with pytest.raises(ValueError, match="full hour"):
        StoreHours(None, None, None, from_ns=HOUR_NS // 2)
