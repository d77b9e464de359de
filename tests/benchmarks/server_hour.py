"""A server hour: the mail of so many mailboxes through the emulated store, as it takes place.

What runs is what ``simulator store`` runs: :class:`MailWork` with views on an instance of the
store's engine with several databases, over the emulated disk.  A server of 2007 had several
storage groups, each with a log set of its own; here it has two of equal size, each in a process
of its own.  Mailboxes of one group get mail from each other and from outside, none from the other
group.

Before the hour the day is carried out from midnight on, without views, and its last quarter of an
hour with views, so that rows, trees and caches are as they are in a day; none of that is counted.
No page is read: a cache has room for every page that a database may have.  The engine's own size,
16,384 pages, has not when a database has more than some 200 mailboxes.

Left out: mail of the days before, and what is done to it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from resource import RUSAGE_SELF, getrusage
from types import FrameType
from typing import Final

from replicator.ese.values import Signature
from replicator.runtime import Kernel
from simulator.device import INSTANT
from simulator.disk import Disk
from simulator.exchange.diurnal import HOUR_NS
from simulator.exchange.ese.generated_store import StoreSpec
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.mail_ledger import MailLedger
from simulator.exchange.ese.mail_naming import StoreClock
from simulator.exchange.ese.mail_views import MailViews, log_distance_bytes
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.store_session import StoreSession
from simulator.exchange.mail_events import MailEvent
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import select_profile
from simulator.runtime import SimClock
from simulator.volume import SimVolume
from tests.benchmarks.rig import no_collector
from tests.benchmarks.shares import ROOT, Sampler
from tests.benchmarks.table import Table

SERVER_MAILBOXES: Final = 1000
GROUPS: Final = 2
"""Storage groups of the server, a process each."""
DATABASES: Final = 2
"""Of each group."""
WARM_UP_NS: Final = HOUR_NS // 4
MONDAY: Final = datetime(2008, 3, 3, tzinfo=UTC)
LOG_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class ServerHour:
    """An hour of the day, and the aim for it.

    Arguments
    ---------
    name: of the row.
    begins_ns: on the first day, a Monday.
    server_logs: that 1,000 mailboxes fill in it.
    aim_seconds: of wall time on two cores, for these.
    """

    name: str
    begins_ns: int
    server_logs: int
    aim_seconds: int


HOURS: Final = (
    ServerHour("mean hour (17:00)", 17 * HOUR_NS, 1000, 60),
    ServerHour("busiest hour (09:00)", 9 * HOUR_NS, 2400, 150),
)


@dataclass
class GroupRun:
    """What one storage group's hour took.

    Arguments
    ---------
    processor_s, wall_s: of the hour, its filling not counted.
    log_bytes, view_bytes: logged in the hour, and content of views among it.
    events: carried out, by kind.
    pages: in memory at its end.
    peak_bytes: most that the process ever had in memory.
    samples: of processor time by part, when it was sampled.
    """

    processor_s: float
    wall_s: float
    log_bytes: int
    view_bytes: int
    events: Counter[str]
    pages: int
    peak_bytes: int
    samples: Counter[str]


class LateViews(MailViews):
    """Views that log nothing until they are switched on."""

    is_on = False

    async def follow(self, session: StoreSession, event: MailEvent, mailbox: int) -> None:
        """See the base."""
        if self.is_on:
            await super().follow(session, event, mailbox)


def group_spec(mailboxes: int, group: int) -> StoreSpec:
    """What ``simulator store`` would be told for one storage group."""
    return StoreSpec(
        profile=select_profile("2007", "heavy"),
        mailboxes=mailboxes,
        days=1,
        databases=DATABASES,
        seed=1 + group,
        circular=True,
    )


def group_config(spec: StoreSpec) -> InstanceConfig:
    """How the engine runs here: as ``simulator store`` has it, with a cache that nothing leaves."""
    config = spec.config()
    return replace(config, cache_pages=config.limit_pages)


def group_hour(hour: ServerHour, mailboxes: int, group: int, *, sampled: bool = False) -> GroupRun:
    """Fill one storage group and run its hour, in this process.

    Arguments
    ---------
    hour: which.
    mailboxes: of the group.
    group: names its mail.
    sampled: find out where time goes; costs a few per cent.
    """
    spec = group_spec(mailboxes, group)
    plan, numbers = spec.plan, random.Random(group)
    clock = SimClock()
    kernel = Kernel(clock)
    model = replace(INSTANT, size_bytes=1 << 36)
    volume = SimVolume(Disk(clock, model, "disk"), kernel)
    store_clock = StoreClock(int(MONDAY.timestamp()) * 10**9)

    def draw() -> Signature:
        return Signature(numbers.getrandbits(32), store_clock.now())

    async def script() -> GroupRun:
        with MailLedger() as ledger:
            instance = await Instance.open(
                volume, "/", group_config(spec), now=store_clock.now, draw=draw
            )
            views = LateViews(instance, plan)
            work = MailWork(instance, plan, store_clock, ledger, views=views)
            await work.create(spec.file_names)
            stream = MailStream(plan)
            begins_ns = hour.begins_ns
            for event in stream.events(until_ns=begins_ns - WARM_UP_NS):
                await work.carry_out(event)
            views.is_on = True
            views.begin()
            for event in stream.events(begins_ns - WARM_UP_NS, begins_ns):
                await work.carry_out(event)
            await work.settle()
            first, shown, counts = instance.log.tip, views.view_bytes, Counter(work.counts)
            sampler = Sampler(part_of)
            with no_collector():
                wall, started = time.perf_counter(), time.process_time()
                with sampler if sampled else nullcontext():
                    for event in stream.events(begins_ns, begins_ns + HOUR_NS):
                        await work.carry_out(event)
                    await work.settle()
                seconds, wall = time.process_time() - started, time.perf_counter() - wall
            logged = log_distance_bytes(instance, first, instance.log.tip)
            buffers = [each.buffer for each in instance.databases.values()]
            if any(each.read_count or each.gone_count for each in buffers):
                raise RuntimeError("pages left the cache, or were read: it is too small")
            events = Counter(work.counts)
            events.subtract(counts)
            instance.abandon()
            return GroupRun(
                seconds,
                wall,
                logged,
                views.view_bytes - shown,
                events,
                sum(map(len, buffers)),
                getrusage(RUSAGE_SELF).ru_maxrss << 10,
                sampler.counts,
            )

    task = kernel.run_task(script(), "server hour")
    clock.run_until_idle()
    kernel.close()
    return task.result()


@dataclass
class ServerRun:
    """The groups of a server together.

    Arguments
    ---------
    mailboxes: in all.
    groups: each by itself.
    """

    mailboxes: int
    groups: list[GroupRun]

    @property
    def log_bytes(self) -> int:
        return sum(each.log_bytes for each in self.groups)

    @property
    def processor_s(self) -> float:
        return sum(each.processor_s for each in self.groups)

    @property
    def wall_s(self) -> float:
        """Of the group that took longest: they run side by side."""
        return max(each.wall_s for each in self.groups)


def server_hour(pool: Executor, hour: ServerHour, mailboxes: int) -> ServerRun:
    """The hour of a server, its storage groups side by side.

    Arguments
    ---------
    pool: with a process for each group.
    hour: which.
    mailboxes: of all groups together.
    """
    each = partial(group_hour, hour, mailboxes // GROUPS)
    return ServerRun(mailboxes, list(pool.map(each, range(GROUPS))))


# -- where time goes ---------------------------------------------------------------------

_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "payload, stream of mail, ledger": (
        "simulator/exchange/message_payload",
        "simulator/exchange/mail_",
        "simulator/exchange/ese/mail_ledger",
        "simulator/exchange/ese/mail_naming",
    ),
    "mail as rows: work, views, mailboxes": (
        "simulator/exchange/ese/mail",
        "tests/benchmarks/",
    ),
    "rows to bytes and back, keys": (
        "replicator/ese/record",
        "replicator/ese/columns",
        "replicator/ese/keys",
        "replicator/ese/index_keys",
        "replicator/ese/long_value",
        "replicator/ese/value",
        "replicator/ese/schema",
    ),
    "statements, tables": (
        "simulator/exchange/ese/table",
        "simulator/exchange/ese/row_",
        "simulator/exchange/ese/statements",
        "simulator/exchange/ese/store_session",
        "simulator/exchange/ese/preparation",
        "simulator/exchange/ese/instance",
    ),
    "transactions, versions": (
        "simulator/exchange/ese/transactions",
        "simulator/exchange/ese/versions",
        "simulator/exchange/ese/session",
    ),
    "trees: search and changes": ("simulator/exchange/ese/tree",),
    "splits, merges, space": (
        "simulator/exchange/ese/split",
        "simulator/exchange/ese/merge",
        "simulator/exchange/ese/space",
        "simulator/exchange/ese/growth",
        "replicator/ese/split",
        "replicator/ese/merge",
    ),
    "records made": (
        "simulator/exchange/ese/change",
        "simulator/exchange/ese/record_building",
        "replicator/ese/log_page_records",
        "replicator/ese/log_record",
        "replicator/ese/layout",
    ),
    "pages searched, read and changed": (
        "replicator/ese/page_operations",
        "replicator/ese/page_editor",
        "replicator/ese/page_content",
        "replicator/ese/node",
        "replicator/ese/undo",
    ),
    "log: laid out, summed, written": ("replicator/ese/log_",),
    "pages kept, summed, written": (
        "simulator/exchange/ese/page_buffer",
        "simulator/exchange/ese/replacement",
        "simulator/exchange/ese/attached_database",
        "replicator/ese/page_io",
        "replicator/ese/checksum",
    ),
    "disk model, kernel": (
        "simulator/disk",
        "simulator/volume",
        "simulator/inode",
        "simulator/blocks",
        "simulator/device",
        "simulator/namespace",
        "simulator/runtime",
        "replicator/runtime/",
    ),
}
_REST: Final = "everything else"


def part_of(frame: FrameType) -> str:
    """The part that a frame, or else the next one of ours above it, belongs to."""
    at: FrameType | None = frame
    while at is not None:
        path = at.f_code.co_filename
        if path.startswith(f"{ROOT}/"):
            name = path.removeprefix(f"{ROOT}/")
            for part, beginnings in _PARTS.items():
                if name.startswith(beginnings):
                    return part
            return _REST
        at = at.f_back
    return _REST


def table(quick: bool, mailboxes: int | None = None) -> Table:
    """The table.

    Arguments
    ---------
    quick: a tenth of the server; the figures for all of it follow from seconds a log.
    mailboxes: of the server; else 1,000, or 100.
    """
    count = mailboxes or (SERVER_MAILBOXES // 10 if quick else SERVER_MAILBOXES)
    result = Table(
        f"A server hour of {count:,} heavy mailboxes of 2007, {GROUPS} storage groups of "
        f"{DATABASES} databases",
        [
            "hour",
            "logs",
            "MB a processor s",
            "processor s",
            "wall s",
            "all logs: processor s",
            f"on each of {GROUPS} cores",
            "aim",
        ],
    )
    # A fresh interpreter for each: nothing is inherited, whatever ran before.
    with ProcessPoolExecutor(GROUPS, get_context("spawn")) as pool:
        for hour in HOURS:
            run = server_hour(pool, hour, count)
            logs = run.log_bytes / LOG_FILE_BYTES
            whole = run.processor_s / logs * hour.server_logs
            result.add(
                hour.name,
                logs,
                run.log_bytes / 1e6 / run.processor_s,
                run.processor_s,
                run.wall_s,
                whole,
                whole / GROUPS,
                f"{hour.aim_seconds}",
            )
        shown = sum(each.view_bytes for each in run.groups) / run.log_bytes
        pages = sum(each.pages for each in run.groups)
        peak_bytes = max(each.peak_bytes for each in run.groups)
        sampled: Callable[..., GroupRun] = partial(group_hour, HOURS[-1], count // GROUPS, 0)
        profile = pool.submit(sampled, sampled=True).result()
    result.notes = [
        f"{GROUPS} storage groups side by side, a process each; mail before the hour is not",
        f"counted.  Views are {shown:.0%} of the logs of the busiest hour.  All logs: what",
        f"{SERVER_MAILBOXES:,} mailboxes fill by the profile, at so many seconds a log.",
        f"No page was read: {pages:,} were in memory at its end, and a process had",
        f"{peak_bytes / 1e6:,.0f} MB at most.",
        "Where time goes (busiest hour of a group, sampled, for a MB of log):",
    ]
    for part, samples in profile.samples.most_common():
        share = samples / profile.samples.total()
        each_ms = share * profile.processor_s / profile.log_bytes * 1e9
        result.notes.append(f"{share:6.1%} {each_ms:5.1f} ms  {part}")
    return result
