"""The stream: a pure function of its plan, in order, whose events fit together."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.exchange.diurnal import DAY_NS, HOUR_NS, WEEK_NS, WeekCurve
from simulator.exchange.mail_events import (
    FIRST_FOLDER,
    CreateFolder,
    Deliver,
    Flag,
    HardDelete,
    IdleTick,
    MailboxCounts,
    Maintenance,
    Move,
    Read,
    SoftDelete,
    Submit,
    log_bytes_of,
)
from simulator.exchange.mail_figures import figures_of_week
from simulator.exchange.mail_plan import Habits, MailPlan, Nights, Runaway, nights_of
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import MIB, select_profile

HEAVY = select_profile("2007", "heavy")
SHORT_NIGHTS = Nights(0, 4 * HOUR_NS, DAY_NS // 2, 3 * HOUR_NS, 5 * HOUR_NS)
LOOP = Runaway(3, 2.0, 30 * HOUR_NS, 30 * HOUR_NS + HOUR_NS // 10)
PLAN = MailPlan(
    HEAVY,
    20,
    3 * DAY_NS,
    databases=3,
    nights=SHORT_NIGHTS,
    habits=Habits(new_folders_per_day=0.5),
    runaways=(LOOP,),
)


@cache
def all_events():
    return tuple(MailStream(PLAN).events())


def of(kind):
    return [event for event in all_events() if isinstance(event, kind)]


def test_events_are_ordered_and_within_the_period() -> None:
    times = [event.time_ns for event in all_events()]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] < PLAN.duration_ns
    assert all(isinstance(time_ns, int) for time_ns in times)


def test_each_kind_of_event_happens() -> None:
    kinds = Counter(type(event) for event in all_events())
    wanted = {Submit, Deliver, Read, Flag, CreateFolder, Move, SoftDelete, HardDelete}
    assert set(kinds) == wanted | {Maintenance, IdleTick}


def test_the_events_of_a_mailbox_fit_together() -> None:
    received, read, gone, deleted, sent = {}, set(), set(), {}, set()
    counts = MailboxCounts(PLAN)
    for event in all_events():
        counts.apply(event)
        match event:
            case Submit():
                assert event.message_id not in sent
                sent.add(event.message_id)
                if event.reply_to >= 0 and event.time_ns < LOOP.from_ns:
                    assert (event.mailbox, event.reply_to) in read
                    assert (event.mailbox, event.reply_to) not in gone
            case Deliver():
                assert (event.message_id in sent) == (event.sender >= 0)
                assert {mailbox % PLAN.databases for mailbox in event.recipients} == {
                    event.database
                }
                for mailbox in event.recipients:
                    assert (mailbox, event.message_id) not in received
                    assert mailbox != event.sender
                    received[mailbox, event.message_id] = event.size_bytes
                assert sum(event.attachments) < event.size_bytes
            case Read():
                key = (event.mailbox, event.message_id)
                assert key in received and key not in read and key not in gone
                read.add(key)
            case Flag():
                assert (event.mailbox, event.message_id) in read
            case Move() | SoftDelete():
                key = (event.mailbox, event.message_id)
                assert received[key] == event.size_bytes and key not in gone
                gone.add(key)
                if isinstance(event, SoftDelete):
                    deleted[key] = event.time_ns
            case HardDelete():
                deleted_ns = deleted.pop((event.mailbox, event.message_id))
                kept_ns = event.time_ns - deleted_ns
                assert DAY_NS // 2 <= kept_ns <= DAY_NS // 2 + DAY_NS + SHORT_NIGHTS.window_ns
                assert event.time_ns % DAY_NS < 2 * HOUR_NS
    # Whatever came of age before the last night is gone.
    assert all(time_ns >= 2 * DAY_NS - DAY_NS // 2 for time_ns in deleted.values())
    assert counts.messages.sum() == len(sent) + len(received) - len(of(HardDelete))


CLEARED = MailPlan(
    select_profile("2007", "light"),
    6,
    3 * WEEK_NS,
    databases=2,
    habits=Habits(moved_share=0.5, deleted_share=0.3, cleared_share=0.6),
    nights=Nights(0, 4 * HOUR_NS, DAY_NS, 3 * HOUR_NS, 5 * HOUR_NS),
)


@cache
def cleared_events():
    return tuple(MailStream(CLEARED).events())


def test_what_was_moved_is_deleted_from_its_folder_and_expires() -> None:
    counts = MailboxCounts(CLEARED)
    moved, cleared, gone = {}, {}, set()
    for event in cleared_events():
        counts.apply(event)
        key = (getattr(event, "mailbox", None), getattr(event, "message_id", None))
        if isinstance(event, Move):
            assert key not in moved
            moved[key] = event
        elif isinstance(event, SoftDelete) and key in moved:
            assert key not in cleared
            assert event.folder == moved[key].folder >= FIRST_FOLDER
            assert event.size_bytes == moved[key].size_bytes
            cleared[key] = event.time_ns
        elif isinstance(event, HardDelete) and key in moved:
            assert event.time_ns - cleared[key] >= DAY_NS
            gone.add(key)
    # Ten working days of traffic after they came: what came in the first of three weeks.
    early = [key for key, event in moved.items() if event.time_ns < 4 * DAY_NS]
    share = sum(key in cleared for key in early) / len(early)
    assert share == pytest.approx(0.6, abs=0.1)
    assert gone


def test_habits_of_clearing_change_nothing_else() -> None:
    never = replace(CLEARED, habits=replace(CLEARED.habits, cleared_share=0.0))
    moved = {(e.mailbox, e.message_id) for e in cleared_events() if isinstance(e, Move)}
    others = [
        event
        for event in cleared_events()
        if not isinstance(event, SoftDelete | HardDelete)
        or (event.mailbox, event.message_id) not in moved
    ]
    assert others == list(MailStream(never).events())


@pytest.mark.parametrize("day", [10, 14, 16])
def test_clearing_is_entered_anywhere(day) -> None:
    from_ns, until_ns = day * DAY_NS + 9 * HOUR_NS, (day + 1) * DAY_NS + 5 * HOUR_NS
    part = list(MailStream(CLEARED).events(from_ns, until_ns))
    assert part == [e for e in cleared_events() if from_ns <= e.time_ns < until_ns]


@pytest.mark.parametrize("hours", [0, 120, 24 * 261])
def test_folders_are_cleared_after_all_is_moved(hours) -> None:
    with pytest.raises(ValueError, match="after 120 hours of traffic"):
        Habits(cleared_after_hours=hours)


def test_an_answer_goes_to_who_wrote() -> None:
    senders, recipients = {}, {}
    for event in of(Deliver):
        senders[event.message_id] = event.sender
        recipients.setdefault(event.message_id, set()).update(event.recipients)
    answers = [event for event in of(Submit) if event.reply_to >= 0 and event.reply_to < 1 << 61]
    to_ours = 0
    for event in answers:
        assert event.mailbox in recipients[event.reply_to]
        writer = senders[event.reply_to]
        if writer >= 0 and event.message_id in recipients:
            to_ours += 1
            assert writer in recipients[event.message_id]
    assert to_ours > 20
    assert len(answers) / len(of(Submit)) == pytest.approx(0.2, abs=0.12)


def test_a_message_has_one_size_and_one_set_of_attachments() -> None:
    seen = {}
    for event in all_events():
        if isinstance(event, Submit | Deliver):
            what = (event.size_bytes, event.attachments)
            assert seen.setdefault(event.message_id, what) == what


def test_the_counts_refuse_what_cannot_be() -> None:
    counts = MailboxCounts(PLAN)
    for event in (
        SoftDelete(0, 1, 1, 10),
        HardDelete(0, 1, 1, 10),
        Move(0, 1, 1, 10, FIRST_FOLDER),
        Move(0, 1, 1, 10, FIRST_FOLDER + 10),
        CreateFolder(0, 1, FIRST_FOLDER),
    ):
        with pytest.raises(ValueError, match=r"nothing|folder"):
            MailboxCounts(PLAN).apply(event)
    memory = counts.messages.nbytes + counts.size_bytes.nbytes
    assert memory == 16 * 20 * (FIRST_FOLDER + 100)


# --- a pure function, entered anywhere ----------------------------------------------------


@given(st.integers(0, 3 * DAY_NS), st.integers(0, 3 * DAY_NS))
@settings(max_examples=15)
def test_any_part_is_that_part_of_the_whole(first, second) -> None:
    from_ns, until_ns = sorted((first, second))
    part = list(MailStream(PLAN).events(from_ns, until_ns))
    assert part == [event for event in all_events() if from_ns <= event.time_ns < until_ns]


@pytest.mark.parametrize("eighth", range(0, 24, 5))
def test_a_night_is_entered_in_the_midst_of_its_expiry(eighth) -> None:
    from_ns = 2 * DAY_NS + eighth * HOUR_NS // 8
    part = list(MailStream(PLAN).events(from_ns, from_ns + HOUR_NS))
    assert part == [e for e in all_events() if from_ns <= e.time_ns < from_ns + HOUR_NS]


@given(
    st.integers(1, 6),
    st.integers(0, 6),
    st.integers(0, DAY_NS - 1),
    st.integers(0, 30 * HOUR_NS),
    st.sampled_from(
        [
            WeekCurve(),
            WeekCurve((1,) * 24, (1, 1, 1, 1, 1, 0, 0)),
            WeekCurve((0,) * 8 + (1,) * 7 + (0,) * 9),
        ]
    ),
    st.integers(0, 99),
)
@settings(max_examples=15)
def test_a_stream_begins_at_any_hour_of_the_week(
    mailboxes, weekday, time_ns, from_ns, curve, seed
) -> None:
    plan = MailPlan(
        HEAVY,
        mailboxes,
        30 * HOUR_NS,
        seed=seed,
        starts_on=weekday,
        starts_at_ns=time_ns,
        curve=curve,
        nights=SHORT_NIGHTS,
    )
    events = list(MailStream(plan).events())
    counts = MailboxCounts(plan)
    for event in events:
        assert 0 <= event.time_ns < plan.duration_ns
        counts.apply(event)
    assert list(MailStream(plan).events(from_ns)) == [
        event for event in events if event.time_ns >= from_ns
    ]
    for event in events:
        hour_ns = (event.time_ns + plan.calendar_ns) // HOUR_NS * HOUR_NS
        if isinstance(event, Submit | Move | SoftDelete):
            assert curve.expected(1, hour_ns, hour_ns + HOUR_NS) > 0
        elif isinstance(event, Read | Deliver):
            # What is sent in the last seconds before an idle time arrives, and may be read.
            assert curve.expected(1, max(0, hour_ns - HOUR_NS), hour_ns + HOUR_NS) > 0


def test_another_seed_is_another_stream_and_a_larger_population_one_too() -> None:
    def day(plan):
        events = MailStream(plan).events(9 * HOUR_NS, 10 * HOUR_NS)
        return [event for event in events if isinstance(event, Submit)]

    assert day(PLAN) == day(replace(PLAN))
    assert day(PLAN) != day(replace(PLAN, seed=2))
    assert day(PLAN) != day(replace(PLAN, mailboxes=21))


# --- the store's own work, ticks, loops ---------------------------------------------------


def test_the_nights_of_the_versions() -> None:
    tasks = {}
    for version, name in (("2003", "light"), ("2007", "light"), ("2010", "50")):
        plan = MailPlan(select_profile(version, name), 2, 2 * DAY_NS, databases=2)
        works = [e for e in MailStream(plan).events() if isinstance(e, Maintenance)]
        assert Counter(work.database for work in works) == {0: len(works) / 2, 1: len(works) / 2}
        tasks[version] = {
            (work.task, work.time_ns / HOUR_NS, work.until_ns / HOUR_NS)
            for work in works
            if work.time_ns < DAY_NS
        }
    assert tasks["2003"] == {
        ("deleted-item expiry", 0, 2),
        ("online defragmentation", 3.75, 5),
    }
    assert tasks["2007"] == {
        ("deleted-item expiry", 1, 3),
        ("online defragmentation", 4.75, 6),
        ("background scan", 1, 5),
    }
    assert tasks["2010"] == {("deleted-item expiry", 1, 3), ("background scan", 1, 25)}
    passes = [e for e in of(Maintenance) if e.task == "online defragmentation"]
    assert {work.rewritten_share for work in passes} == {0.1}
    assert nights_of("2003").retention_ns == 7 * DAY_NS


def test_ticks_come_at_even_intervals_for_each_database() -> None:
    for database in range(3):
        times = [tick.time_ns for tick in of(IdleTick) if tick.database == database]
        assert {after - before for before, after in pairwise(times)} == {HOUR_NS // 4}
        assert times[0] == HOUR_NS // 4 and len(times) == 3 * 96 - 1


def test_a_mail_loop_runs_at_its_rate_and_stops() -> None:
    loop = [e for e in all_events() if getattr(e, "message_id", 0) >= 1 << 62]
    sent = [event for event in loop if isinstance(event, Submit)]
    received = [event for event in loop if isinstance(event, Deliver)]
    assert len(sent) == len(received) == 2 * 360
    assert {event.mailbox for event in sent} == {3} and received[0].recipients == (3,)
    assert {event.size_bytes for event in loop} == {50 << 10}
    assert sent[0].time_ns == LOOP.from_ns and sent[0].reply_to == -1
    answered = {event.message_id for event in received}
    assert {event.reply_to for event in sent[1:]} < answered
    assert max(event.time_ns for event in loop) < LOOP.until_ns + 10**9


# --- logs, memory, limits -----------------------------------------------------------------


def test_the_logs_expected_of_a_week_are_the_profiles() -> None:
    plan = MailPlan(HEAVY, 60, DAY_NS)
    events = list(MailStream(plan).events())
    log_bytes = sum(log_bytes_of(event, plan) for event in events)
    mail_bytes = sum(
        event.size_bytes * (1 if isinstance(event, Submit) else len(event.recipients))
        for event in events
        if isinstance(event, Submit | Deliver)
    )
    # By construction in proportion to the mail drawn, whose bytes scatter on so few mailboxes.
    assert log_bytes / mail_bytes == pytest.approx(24 * MIB / HEAVY.mail_bytes_per_day, rel=1e-4)
    once = sum(log_bytes_of(event, plan, single_instance=True) for event in events)
    assert once < log_bytes
    old = replace(plan, profile=select_profile("2003", "heavy"))
    with pytest.raises(ValueError, match="no source tells how many logs"):
        log_bytes_of(events[0], old)


@pytest.mark.parametrize(("mailboxes", "limit_mb"), [(1_000, 12), (20_000, 20)])
def test_memory_depends_neither_on_the_length_nor_much_on_the_mailboxes(
    mailboxes, limit_mb
) -> None:
    plan = MailPlan(HEAVY, mailboxes, 52 * WEEK_NS, databases=4)
    events = MailStream(plan).events(30 * WEEK_NS + 9 * HOUR_NS)
    tracemalloc.start()
    try:
        for _, _event in zip(range(15_000), events, strict=False):
            pass
        assert tracemalloc.get_traced_memory()[1] < limit_mb * 1e6
    finally:
        tracemalloc.stop()


def test_columns_and_events_count_the_same() -> None:
    plan = MailPlan(HEAVY, 12, WEEK_NS, databases=2)
    found = figures_of_week(plan)
    days = 5 * plan.mailboxes
    sent = received = sent_bytes = received_bytes = answers = 0
    for event in MailStream(plan).events(0, 5 * DAY_NS + HOUR_NS):
        # Columns count a message when it is sent.
        if isinstance(event, Submit) and event.time_ns < 5 * DAY_NS:
            sent += 1
            sent_bytes += event.size_bytes
            answers += event.reply_to >= 0
        elif isinstance(event, Deliver) and event.time_ns < 5 * DAY_NS:
            received += len(event.recipients)
            received_bytes += event.size_bytes * len(event.recipients)
    assert found.sent == pytest.approx(sent / days)
    assert found.received == pytest.approx(received / days, abs=0.1)
    assert found.mail_bytes == pytest.approx((sent_bytes + received_bytes) / days, rel=0.01)
    assert found.reply_share == pytest.approx(answers / sent)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mailboxes": 0},
        {"databases": 21},
        {"databases": 0},
        {"duration_ns": -1},
        {"seed": -1},
        {"starts_on": 7},
        {"starts_at_ns": DAY_NS},
        {"runaways": (Runaway(20, 1, 0, 1),)},
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(PLAN, **wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Habits(moved_share=0.5, deleted_share=0.6),
        lambda: Habits(read_share=1.1),
        lambda: Habits(outbound_share=1),
        lambda: Habits(flagged_share=0.95),
        lambda: Habits(first_folders=0),
        lambda: Habits(outside_recipients=0.5),
        lambda: Habits(transit_ns=(5, 5)),
        lambda: Nights(0, 0, 0, 0, 0),
        lambda: Nights(0, DAY_NS, 0, 0, 0),
        lambda: Nights(0, HOUR_NS, -1, 0, 0),
        lambda: Nights(0, HOUR_NS, 0, 0, 0, expiry_share=0),
        lambda: Runaway(0, 0, 0, 1),
        lambda: Runaway(0, 1, 2, 1),
        lambda: Runaway(0, 1, 0, 1, size_bytes=0),
    ],
)
def test_habits_nights_and_loops_that_cannot_be_are_refused(make) -> None:
    with pytest.raises(
        ValueError, match=r"share|moved|folder|recipients|transit|day|reten|loop|siz"
    ):
        make()
