"""A stream of mail carried out: groups of commits, the ledger, idle logs, and a profile's logs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.ese.errors import EseError
from simulator.exchange.diurnal import DAY_NS, HOUR_NS
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.mail_ledger import MailLedger, ledger_entry, read_entry
from simulator.exchange.ese.mail_naming import CopyIds, StoreClock
from simulator.exchange.ese.mail_schema import StoredMessage
from simulator.exchange.ese.mail_views import MailViews, log_distance_bytes
from simulator.exchange.ese.mail_work import GroupCommit, MailWork
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.mail_events import (
    FIRST_FOLDER,
    CreateFolder,
    Deliver,
    Flag,
    HardDelete,
    IdleTick,
    Move,
    Read,
    SoftDelete,
    Submit,
    log_bytes_of,
)
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import select_profile
from tests.store_ese.engine_harness import Life, new_medium, run

Script = Callable[[Instance, MailWork, MailLedger], Awaitable[None]]
SECOND_NS = 10**9
CONFIG = InstanceConfig(store_format=STORE_FORMATS["exchange 2007"], log_version=7)
PLAN = MailPlan(select_profile("2007", "light"), 4, DAY_NS, databases=2)
NAMES = ("priv1.edb", "priv2.edb")


def play(
    script: Script,
    *,
    plan: MailPlan = PLAN,
    group: GroupCommit | None = None,
    views: bool = False,
) -> None:
    async def live(life: Life) -> None:
        instance = await life.open()
        with MailLedger() as ledger:
            clock = StoreClock(10**18)
            more = MailViews(instance, plan) if views else None
            work = MailWork(instance, plan, clock, ledger, group=group, views=more)
            await work.create(NAMES[: plan.databases])
            await script(instance, work, ledger)

    life = run(new_medium(), live, config=CONFIG)
    if life.error is not None:
        raise life.error


async def rows(instance: Instance) -> dict[int, StoredMessage]:
    found = {}
    for one in instance.databases.values():
        boxes = await Mailboxes.open(instance.session(one))
        async for message in boxes.messages():
            found[message.message_id] = message
    return found


def ids(ledger: MailLedger) -> list[int]:
    return [each.message_id for each in ledger.entries()]


# --- one event after the other ------------------------------------------------------------


def test_each_kind_of_event_does_what_it_says() -> None:
    copy = CopyIds(PLAN.mailboxes).of

    async def script(instance: Instance, work: MailWork, ledger: MailLedger) -> None:
        folder = FIRST_FOLDER + PLAN.habits.first_folders
        for number, event in enumerate(
            (
                Submit(0, 1, 5, 3000, (), -1),
                Deliver(0, 1, 5, 1, (3,), 3000, ()),
                Deliver(0, 0, 6, -1, (0, 2), 90_000, (40_000, 20_000)),
                Read(0, 2, 6),
                Flag(0, 2, 6),
                CreateFolder(0, 2, folder),
                Move(0, 2, 6, 90_000, folder),
                SoftDelete(0, 0, 6, 90_000),
                SoftDelete(0, 2, 6, 90_000, folder),
                HardDelete(0, 0, 6, 90_000),
                Read(0, 0, 99),
            )
        ):
            await work.carry_out(replace(event, time_ns=number * SECOND_NS))
        await work.settle()
        found = await rows(instance)
        assert set(found) == {copy(5, 1), copy(5, 3), copy(6, 2)}
        kept = found[copy(6, 2)]
        assert kept.folder == 2
        assert tuple(map(len, kept.attachments)) == (40_000, 20_000)
        assert len(kept.body) == 30_000
        assert kept.received_ns == 10**18 + 2 * SECOND_NS
        assert found[copy(5, 1)].folder == 1
        assert found[copy(5, 3)].folder == 0
        assert found[copy(5, 1)].body == found[copy(5, 3)].body
        entries = {each.message_id: each for each in ledger.entries()}
        assert entries == {
            copy(6, 2): replace(ledger_entry(kept, NAMES[0]), is_read=True, is_flagged=True),
            copy(5, 1): ledger_entry(found[copy(5, 1)], NAMES[1]),
            copy(5, 3): ledger_entry(found[copy(5, 3)], NAMES[1]),
        }
        assert work.counts["missing"] == 1
        # The body of message 6 went with neither of its copies but with the last one.
        await work.carry_out(HardDelete(20 * SECOND_NS, 2, 6, 90_000))
        await work.end()
        assert ids(ledger) == sorted((copy(5, 1), copy(5, 3)))

    play(script)


def test_the_ledger_hears_of_a_group_when_it_is_durable() -> None:
    def event(number: int, time_ns: int) -> Submit:
        return Submit(time_ns, 0, number, 2000, (), -1)

    async def script(instance: Instance, work: MailWork, ledger: MailLedger) -> None:
        for number in range(2):
            await work.carry_out(event(number, number))
        assert ids(ledger) == []
        before = instance.log.flushed
        await work.carry_out(event(2, 2))
        assert len(ids(ledger)) == 3
        assert instance.log.flushed > before
        await work.carry_out(event(3, 10))
        await work.carry_out(event(4, 10 + 100))
        assert len(ids(ledger)) == 3
        await work.carry_out(event(5, 10 + 101))  # the group of 3 and 4 waits no longer
        assert len(ids(ledger)) == 5
        await work.settle()
        assert len(ids(ledger)) == 6

    play(script, group=GroupCommit(most_transactions=3, within_ns=100))


def test_an_idle_log_is_closed_once() -> None:
    async def script(instance: Instance, work: MailWork, _: MailLedger) -> None:
        async def ticks(count: int, begin_ns: int) -> int:
            for number in range(count):
                await work.carry_out(IdleTick(begin_ns + number * HOUR_NS, 0))
                await work.carry_out(IdleTick(begin_ns + number * HOUR_NS, 1))
            return instance.log.generation

        first = instance.log.generation
        assert await ticks(1, 0) == first  # something was logged since the one before
        assert await ticks(5, HOUR_NS) == first + 1
        await work.carry_out(Submit(9 * HOUR_NS, 0, 1, 2000, (), -1))
        assert await ticks(1, 10 * HOUR_NS) == first + 1
        assert await ticks(5, 11 * HOUR_NS) == first + 2
        assert work.counts["idle logs"] == 2

    play(script)


def test_before_2007_an_idle_log_stays_open() -> None:
    """Nobody copied logs then: a night in which nothing happens makes none."""

    async def script(instance: Instance, work: MailWork, _: MailLedger) -> None:
        first = instance.log.generation
        for number in range(4):
            await work.carry_out(IdleTick(number * HOUR_NS, 0))
        assert instance.log.generation == first
        assert work.counts["IdleTick"] == 4
        assert work.counts["idle logs"] == 0

    play(script, plan=MailPlan(select_profile("2003", "light"), 1, DAY_NS))


def test_what_a_killed_store_was_at_is_told_as_uncommitted() -> None:
    copy = CopyIds(PLAN.mailboxes).of

    async def script(instance: Instance, work: MailWork, ledger: MailLedger) -> None:
        await work.carry_out(Deliver(0, 0, 1, -1, (0, 2), 3000, ()))
        underway = [
            Deliver(1, 0, 2, -1, (0,), 3000, ()),
            Read(1, 0, 1),
            Move(2, 0, 1, 3000, FIRST_FOLDER),  # the one that reads it has not committed
            SoftDelete(2, 2, 1, 3000),
            Submit(3, 1, 3, 3000, (), -1),
        ]
        await work.die(underway)
        found = {each.message_id: each for each in ledger.entries()}
        assert {number: each.committed for number, each in found.items()} == {
            copy(1, 0): True,
            copy(1, 2): True,
            copy(2, 0): False,
            copy(3, 1): False,
        }
        assert (found[copy(1, 2)].folder, found[copy(1, 0)].is_read) == (0, False)
        with pytest.raises(EseError, match="-510"):
            await work.carry_out(Submit(4, 1, 4, 3000, (), -1))

    play(script)


# --- a profile's logs ---------------------------------------------------------------------


@pytest.mark.parametrize(("version", "profile"), [("2007", "average"), ("2010", "50")])
def test_mail_fills_the_logs_that_it_does_by_the_profile(version, profile) -> None:
    plan = MailPlan(select_profile(version, profile), 2, DAY_NS, seed=4)
    morning = [
        # So small a store is idle now and then, which closes logs that are not full.
        event
        for event in MailStream(plan).events(9 * HOUR_NS, 12 * HOUR_NS)
        if not isinstance(event, IdleTick)
    ]
    expected = sum(log_bytes_of(each, plan) for each in morning)
    assert expected > 2 * plan.profile.log_file_bytes.value

    async def script(instance: Instance, work: MailWork, _: MailLedger) -> None:
        before = instance.log.tip
        for event in morning:
            await work.carry_out(event)
        await work.end()
        found = log_distance_bytes(instance, before, instance.log.tip)
        assert found == pytest.approx(expected, rel=0.05)

    play(script, plan=plan, views=True)


def test_without_a_figure_nothing_is_added() -> None:
    plan = MailPlan(select_profile("2003", "light"), 1, DAY_NS)

    async def script(instance: Instance, work: MailWork, _: MailLedger) -> None:
        await work.carry_out(Submit(0, 0, 1, 9000, (), -1))
        await work.end()
        assert "View" not in {
            name for one in instance.databases.values() for name in one.database.tables
        }

    play(script, plan=plan, views=True)


# --- parts --------------------------------------------------------------------------------


@given(
    st.integers(1, 10**6),
    st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 10**6), st.booleans()), max_size=9),
)
def test_copies_have_numbers_of_their_own(mailboxes, copies) -> None:
    number = CopyIds(mailboxes)
    names = {
        (name | (1 << 62 if loop else 0), mailbox % mailboxes) for name, mailbox, loop in copies
    }
    found = {number.of(name, mailbox) for name, mailbox in names}
    assert len(found) == len(names)
    assert all(0 <= each < 1 << 63 for each in found)


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no number left"):
        CopyIds(1 << 20).of(1 << 50, 0)


def test_the_ledger_refuses_what_cannot_be_and_its_lines_come_back() -> None:
    one = StoredMessage(1, 2, 0, 5, "a@b", "Grüße\n", b"body", (b"", b"two"))
    entry = ledger_entry(one, "priv1.edb")
    assert read_entry(entry.as_json()) == entry
    assert "\n" not in entry.as_json()
    with pytest.raises(ValueError, match="no line"):
        read_entry('{"message_id": 1}')
    with MailLedger() as ledger:
        ledger.delivered(entry)
        with pytest.raises(ValueError, match="before"):
            ledger.delivered(entry)
        ledger.moved(1, 7)
        ledger.marked_read(1)
        ledger.marked_flagged(1)
        assert list(ledger.entries()) == [replace(entry, folder=7, is_read=True, is_flagged=True)]
        assert ledger.count(committed=True) == (1, 1)
        ledger.deleted(1)
        for change in (ledger.deleted, ledger.marked_read, ledger.marked_flagged):
            with pytest.raises(ValueError, match="never delivered"):
                change(1)
        with pytest.raises(ValueError, match="never delivered"):
            ledger.moved(1, 3)


def test_groups_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="a group"):
        GroupCommit(most_transactions=0)
    with pytest.raises(ValueError, match="negative"):
        GroupCommit(within_ns=-1)
