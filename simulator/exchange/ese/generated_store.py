"""A whole store from a few figures: databases, logs and checkpoint of a version, and its ledger.

``generate_store`` is plain code over the storage port; the command ``simulator store`` gives it a
real directory.  What comes out is a function of the spec alone: times are those of the stream,
signatures are drawn from the seed, and paths are those on the volume.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from replicator.ese.database_header import State
from replicator.ese.log_names import UNFINISHED_NAME, LogRole, parse_log_name
from replicator.ese.recovery_files import find_databases, joined
from replicator.ese.streaming_file import SUFFIX as STREAM_SUFFIX
from replicator.ese.streaming_file import streaming_path
from replicator.ese.values import Signature
from replicator.runtime import yield_now
from replicator.runtime.port import EntryKind, File, Volume, write_all
from simulator.exchange.diurnal import DAY_NS
from simulator.exchange.ese.counted_volume import IoCounts, counted_volume
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.mail_ledger import MailLedger
from simulator.exchange.ese.mail_naming import StoreClock
from simulator.exchange.ese.mail_schema import STREAMING_VERSIONS
from simulator.exchange.ese.mail_views import MailViews
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.older_mail import OlderMail
from simulator.exchange.ese.put_off_syncs import put_off_syncs, sync_everything
from simulator.exchange.ese.store_backup import BackupOrder, StoreBackup
from simulator.exchange.ese.store_format import STORE_FORMATS
from simulator.exchange.ese.store_hours import StoreHours
from simulator.exchange.ese.store_record import STORE_SCHEMA, FileKind, StoreFile, StoreRecord
from simulator.exchange.mail_events import IdleTick, MailEvent, Maintenance
from simulator.exchange.mail_io import IoModel, cache_pages, older_pages
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import ProfileFigures

Progress = Callable[[int, int], None]
"""Called with nanoseconds of the stream that are done, and those in all."""

LEDGER_NAME: Final = "messages.jsonl"
BASE: Final = "E00"
MOST_DATABASES: Final = 5
"""Of a storage group, besides the one for recovery."""

_OPEN_EVENTS: Final = 12
"""So many are underway when a store is killed [A]."""
_PAGES_AT_LEAST: Final = 1 << 16
_PAGE_BYTES_PER_MAIL_BYTE: Final = 4
"""Room for pages that are half full, with as much again."""
_LEDGER_CHUNK_BYTES: Final = 1 << 20
_EVENTS_A_TURN: Final = 20


@dataclass(frozen=True, slots=True)
class _Version:
    """What a version's store is: its format, and the Monday on which its mail begins."""

    store_format: str
    start: datetime


_VERSIONS: Final[dict[str, _Version]] = {
    "2003": _Version("exchange 2003", datetime(2004, 3, 1, tzinfo=UTC)),
    "2007": _Version("exchange 2007", datetime(2008, 3, 3, tzinfo=UTC)),
    "2010": _Version("exchange 2010", datetime(2011, 3, 7, tzinfo=UTC)),
}


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """What store is wanted.

    Arguments
    ---------
    profile: of the mailboxes; says the version too, 2003 to 2010.
    mailboxes: how many; mailbox m is in database m modulo ``databases``.
    days: from a Monday, midnight, on.
    databases: files, 1 to 5.
    seed: names all random choices.
    crash_at_ns: kill the store at this instant of the stream; None to shut it down.
    circular: circular logging: only logs that are still needed are kept.
    views: log what views and the like add, so that the profile's logs come out.
    io: read and write as many pages as the profile's mailboxes, with a cache of their size; None
        for what the messages need alone, all in memory.
    mime_share: of the messages came from the Internet [A]; to 2003 they lie in streaming files.

    Raises ValueError for what cannot be.
    """

    profile: ProfileFigures
    mailboxes: int
    days: int
    databases: int = 1
    seed: int = 1
    crash_at_ns: int | None = None
    circular: bool = False
    views: bool = True
    io: IoModel | None = None
    mime_share: float = 0.5

    def __post_init__(self) -> None:
        if self.profile.version not in _VERSIONS:
            raise ValueError(f"there is no store of version {self.profile.version} yet")
        if not 1 <= self.databases <= MOST_DATABASES:
            raise ValueError(f"a storage group has 1 to {MOST_DATABASES} databases")
        if not 0 <= self.mime_share <= 1:
            raise ValueError("mime_share is a share, 0 to 1")
        if self.days < 1:
            raise ValueError("a store lives for a day at least")
        if self.crash_at_ns is not None and not 0 <= self.crash_at_ns <= self.days * DAY_NS:
            raise ValueError("a store crashes within its days")

    @property
    def plan(self) -> MailPlan:
        """Of the mail; raises ValueError when mailboxes and databases do not go together."""
        return MailPlan(
            self.profile,
            self.mailboxes,
            self.days * DAY_NS,
            seed=self.seed,
            databases=self.databases,
        )

    @property
    def file_names(self) -> tuple[str, ...]:
        """Of the databases."""
        return tuple(f"priv{number + 1}.edb" for number in range(self.databases))

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Of the streaming files; none from 2007 on."""
        has_streams = self.profile.version in STREAMING_VERSIONS
        return tuple(streaming_path(name) for name in self.file_names) if has_streams else ()

    def config(self) -> InstanceConfig:
        """How its engine runs."""
        store_format = STORE_FORMATS[_VERSIONS[self.profile.version].store_format]
        mail_bytes = self.profile.mail_bytes_per_day * self.mailboxes * self.days
        page_bytes = store_format.page_bytes
        pages = int(_PAGE_BYTES_PER_MAIL_BYTE * mail_bytes / page_bytes)
        if self.io is not None:
            pages += self.mailboxes * older_pages(self.plan, self.io, page_bytes)
        config = InstanceConfig(
            store_format=store_format,
            log_version=7,
            log_file_bytes=round(self.profile.log_file_bytes.value),
            base=BASE,
            circular=self.circular,
            streaming_file=bool(self.stream_names),
            limit_pages=_PAGES_AT_LEAST + pages,
        )
        if self.io is None:
            return config
        return replace(config, cache_pages=cache_pages(self.plan, self.io, page_bytes))


async def generate_store(
    volume: Volume,
    directory: str,
    spec: StoreSpec,
    progress: Progress | None = None,
    order: BackupOrder | None = None,
) -> StoreRecord:
    """Write a store, and its ledger, into a directory.

    Arguments
    ---------
    volume, directory: where; the directory is there and empty.
    spec: what.
    progress: told now and then how far it is.
    order: of a streaming backup in the midst of it; None for none.

    Raises ValueError for a spec that cannot be, EseError and StorageError when the volume fails;
    what was written by then stays.
    """
    plan = spec.plan
    clock = StoreClock(int(_VERSIONS[spec.profile.version].start.timestamp()) * 10**9)
    # Plain numbers from 32 bits on: the same on every release of Python.
    numbers = random.Random(f"store {spec.seed}")

    def draw() -> Signature:
        return Signature(numbers.getrandbits(32), clock.now())

    config, counts = spec.config(), IoCounts()
    with MailLedger() as ledger:
        instance = await Instance.open(
            put_off_syncs(counted_volume(volume, spec.file_names, counts)),
            directory,
            config,
            now=clock.now,
            draw=draw,
        )
        views = MailViews(instance, plan) if spec.views else None
        older = None if spec.io is None else OlderMail(instance, plan, counts, spec.io)
        share = spec.mime_share
        work = MailWork(instance, plan, clock, ledger, views=views, older=older, mime_share=share)
        until_ns = plan.duration_ns if spec.crash_at_ns is None else spec.crash_at_ns

        def between() -> None:
            if progress is not None:
                progress(0, until_ns)

        await work.create(spec.file_names, between=between)
        hours = StoreHours(work, instance, counts, views, older)
        backup = (
            None
            if order is None
            else StoreBackup(
                order,
                instance,
                work,
                ledger,
                now=clock.now,
                write_ledger=(_write_ledger, LEDGER_NAME),
            )
        )
        stream = MailStream(plan)
        for count, event in enumerate(stream.events(until_ns=until_ns)):
            if backup is not None:
                await backup.before(event.time_ns)
            await hours.carry_out(event)
            if progress is not None:
                if count % _EVENTS_A_TURN == 0:
                    await yield_now()  # whoever wants it to end can say so
                progress(event.time_ns, until_ns)
        await hours.until(until_ns)
        if backup is not None:
            await backup.end(until_ns)
        if spec.crash_at_ns is None:
            clock.time_ns = plan.duration_ns
            await work.end()
        else:
            await work.die(_underway(plan, until_ns))
        await _write_ledger(volume, joined(directory, LEDGER_NAME), ledger)
        await sync_everything(volume, directory)
        last = instance.log.generation
        first = min(instance.log.generations, default=last)
        more = {
            "first_generation": first,
            "last_generation": last,
            "events": dict(sorted(work.counts.items())),
            "view_bytes": views.view_bytes if views else 0,
            "older_pages": older.pages_of_a_mailbox if older else 0,
            "hours": hours.hours,
            "backup": backup.record if backup else None,
        }
        return await _record(volume, directory, spec, ledger, more)


def _underway(plan: MailPlan, from_ns: int) -> Iterator[MailEvent]:
    """What the store was at when it was killed: the next things of a stream without an end."""
    endless = replace(plan, duration_ns=from_ns + 30 * DAY_NS)
    events = MailStream(endless).events(from_ns)
    mail = (each for each in events if not isinstance(each, Maintenance | IdleTick))
    return islice(mail, _OPEN_EVENTS)


async def _write_ledger(volume: Volume, path: str, ledger: MailLedger) -> None:
    file = volume.create(path)
    try:
        at, waiting = 0, bytearray()
        for entry in ledger.entries():
            waiting += entry.as_json().encode() + b"\n"
            if len(waiting) >= _LEDGER_CHUNK_BYTES:
                at = await _write_on(volume, file, at, waiting)
        await _write_on(volume, file, at, waiting)
    finally:
        file.close()


async def _write_on(volume: Volume, file: File, at: int, waiting: bytearray) -> int:
    if waiting:
        await volume.admit(len(waiting))
        at += write_all(file, at, bytes(waiting))
        waiting.clear()
    return at


async def _record(
    volume: Volume,
    directory: str,
    spec: StoreSpec,
    ledger: MailLedger,
    more: dict[str, Any],
) -> StoreRecord:
    """Look at what lies there.

    Arguments
    ---------
    more: fields of the record that the files do not tell.
    """
    files = []
    for name in volume.list(directory):
        stat = volume.stat(joined(directory, name))
        if stat.kind is EntryKind.FILE and name != UNFINISHED_NAME:
            files.append(StoreFile(name=name, kind=_kind(name), size_bytes=stat.size_bytes))
    headers = [each.header for each in await find_databases(volume, (directory,))]
    required = [
        (each.first_required_generation, each.last_required_generation)
        for each in headers
        if each.state is not State.CLEAN_SHUTDOWN
    ]
    messages, mailboxes = ledger.count(committed=True)
    return StoreRecord(
        schema_=STORE_SCHEMA,
        version=spec.profile.version,
        profile=spec.profile.name,
        mailboxes=spec.mailboxes,
        days=spec.days,
        databases=spec.databases,
        seed=spec.seed,
        state="dirty shutdown" if required else "clean shutdown",
        crashed_at_ns=spec.crash_at_ns,
        messages=messages,
        mailboxes_with_messages=mailboxes,
        uncommitted_messages=ledger.count(committed=False)[0],
        required_generations=(
            (min(low for low, _ in required), max(high for _, high in required))
            if required
            else None
        ),
        database_bytes=sum(each.size_bytes for each in files if each.kind == "database"),
        streaming_file_bytes=sum(
            each.size_bytes for each in files if each.kind == "streaming file"
        ),
        log_bytes=sum(each.size_bytes for each in files if each.kind == "log"),
        files=files,
        **more,
    )


def _kind(
    name: str,
) -> FileKind:
    parsed = parse_log_name(name)
    if parsed is None:
        if name.endswith(STREAM_SUFFIX):
            return "streaming file"
        return "ledger" if name == LEDGER_NAME else "database"
    if parsed.role is LogRole.CHECKPOINT:
        return "checkpoint"
    return "log" if parsed.role in (LogRole.CURRENT, LogRole.CLOSED) else "reserve log"
