"""What a store measures under its mail, held against the profile: logs, operations, peaks.

A store of a few mailboxes lives through the first Monday in a directory that is removed again; what
it logs, reads and writes is counted by the hour (:mod:`simulator.exchange.ese.store_hours`).

* Logs follow the messages, whose sizes scatter so much that a few mailboxes say nothing of the
  profile: one large message is a day's logs.  They are compared with what the profile expects
  *of the very messages that were drawn*; that these are the profile's in number and size is
  counted elsewhere, on many more (:mod:`simulator.exchange.mail_figures`).
* Operations follow the clock, so few mailboxes have no error of sampling.  They are compared with
  the tables as they are, in the busiest hours of the day.

Where the operations come from is told as well: ``own_reads`` and ``own_writes`` are those that no
page of older mail had a part in, ``messages_writes`` those of another run of the same hours without
what stands for views and for older mail.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from jinja2 import Environment, StrictUndefined

from replicator.ese.log_encoding import log_time_at
from replicator.ese.values import Signature
from replicator.host.world import HostRuntime, run_on_host
from replicator.runtime.port import Volume
from simulator.exchange.diurnal import HOUR_NS
from simulator.exchange.ese.counted_volume import IoCounts, counted_volume
from simulator.exchange.ese.generated_store import StoreSpec
from simulator.exchange.ese.instance import Instance
from simulator.exchange.ese.mail_ledger import MailLedger
from simulator.exchange.ese.mail_naming import StoreClock
from simulator.exchange.ese.mail_views import MailViews
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.older_mail import OlderMail
from simulator.exchange.ese.put_off_syncs import put_off_syncs
from simulator.exchange.ese.store_hours import StoreHours
from simulator.exchange.ese.store_record import StoreHour
from simulator.exchange.mail_events import log_bytes_of
from simulator.exchange.mail_io import (
    DEFAULT_IO,
    MAILBOXES_OF_A_LOG_SET,
    IoModel,
    is_busiest,
)
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import KIB, PROFILES, Figure, ProfileFigures

TOLERANCE: Final = 0.05
_LOGS_OF_A_STORE: Final = 60
_IOPS_OF_A_STORE: Final = 1
_TEMPLATE: Final = Path(__file__).with_name("store_figures.md.j2")
_START: Final = int(datetime(2008, 3, 3, tzinfo=UTC).timestamp()) * 10**9


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """Of one mailbox; a figure that cannot be had of these hours or this profile is None.

    Attributes
    ----------
    logs_per_day: log files that the profile's mail of a day fills, if the store logs for all mail
        as for the messages drawn.
    drawn_log_peak, log_peak: logs of the busiest hours to the mean hour: what the profile expects
        of the messages drawn, and what the store filled.
    iops: operations a second on the database in the busiest hours.
    reads_per_write: of these.
    io_peak: operations of the busiest hours to the mean hour.
    own_reads, own_writes: shares of the busiest hours' reads and writes that are no stand-ins for
        older mail.
    messages_writes: of the busiest hours' writes, those that the messages make alone.
    """

    mailboxes: int
    logs_per_day: float | None
    drawn_log_peak: float | None
    log_peak: float | None
    iops: float
    reads_per_write: float
    io_peak: float | None
    own_reads: float
    own_writes: float
    messages_writes: float


def store_plan(profile: ProfileFigures, mailboxes: int | None = None, seed: int = 1) -> StoreSpec:
    """A store of one day.

    Arguments
    ---------
    mailboxes: as many as fill some sixty logs, or make one operation a second, when None.
    """
    if mailboxes is None and profile.logs_per_day is not None:
        mailboxes = ceil(_LOGS_OF_A_STORE / profile.logs_per_day.value)
    elif mailboxes is None:
        mailboxes = ceil(_IOPS_OF_A_STORE / profile.iops.value)
    return StoreSpec(profile=profile, mailboxes=mailboxes, days=1, seed=seed)


async def live_hours(
    volume: Volume,
    spec: StoreSpec,
    hours: range,
    model: IoModel = DEFAULT_IO,
    *,
    views: bool = True,
    stand_in: bool = True,
) -> list[StoreHour]:
    """Let a store live through some hours of its mail.

    Arguments
    ---------
    volume: empty.
    spec: of the store.
    hours: of the stream, without a gap.
    model: what the tables leave open.
    views, stand_in: False to leave out what stands for views, and for older mail.

    Raises ValueError when no source tells the profile's reads and writes, or a version has no
    store; EseError and StorageError.
    """
    plan, counts = spec.plan, IoCounts()
    numbers = random.Random(f"store {spec.seed}")
    clock = StoreClock(_START)

    def draw() -> Signature:
        return Signature(numbers.getrandbits(32), log_time_at(_START))

    from_ns, until_ns = hours.start * HOUR_NS, hours.stop * HOUR_NS
    with MailLedger() as ledger:
        counted = counted_volume(volume, spec.file_names, counts)
        instance = await Instance.open(
            put_off_syncs(counted), "/", replace(spec, io=model).config(), now=clock.now, draw=draw
        )
        logged = MailViews(instance, plan) if views else None
        older = OlderMail(instance, plan, counts, model, stand_in=stand_in)
        work = MailWork(instance, plan, clock, ledger, views=logged, older=older)
        await work.create(spec.file_names, from_ns)
        found = StoreHours(work, instance, counts, logged, older, from_ns)
        for event in MailStream(plan).events(from_ns, until_ns):
            await found.carry_out(event)
        await found.until(until_ns)
        instance.abandon()
    return found.hours


def _lived(spec: StoreSpec, hours: range, model: IoModel, stand_in: bool) -> list[StoreHour]:
    with TemporaryDirectory(prefix="store-figures-") as directory:

        async def main(runtime: HostRuntime) -> list[StoreHour]:
            volume = runtime.volume("store", directory)
            return await live_hours(volume, spec, hours, model, views=stand_in, stand_in=stand_in)

        return run_on_host(main)


def expected_log_bytes(plan: MailPlan, hours: range) -> list[float]:
    """Bytes of log that the profile expects of each hour's messages, as they were drawn.

    Raises ValueError when no source tells the profile's logs.
    """
    found = [0.0] * len(hours)
    events = MailStream(plan).events(hours.start * HOUR_NS, hours.stop * HOUR_NS)
    for event in events:
        found[event.time_ns // HOUR_NS - hours.start] += log_bytes_of(event, plan)
    return found


def measured_figures(
    spec: StoreSpec,
    hours: range = range(24),
    model: IoModel = DEFAULT_IO,
    *,
    stand_in: bool = True,
) -> StoreFigures:
    """Measure a store.

    Arguments
    ---------
    spec: see :func:`store_plan`.
    hours: of its first day, the busiest among them; peaks to the mean need all 24.
    stand_in: False for what the messages do alone.

    Raises as :func:`live_hours` does.
    """
    plan, profile = spec.plan, spec.profile
    lived = _lived(spec, hours, model, stand_in)
    busiest = [each for each in hours if is_busiest(plan, each)]
    peak = [each for each in lived if each.hour in busiest]
    before = range(max(hours.start, busiest[0] - 1), busiest[-1] + 1)
    alone = [each for each in _lived(spec, before, model, False) if each.hour in busiest]
    reads = sum(each.database_reads for each in peak)
    writes = sum(each.database_writes for each in peak)
    operations = [each.database_reads + each.database_writes for each in lived]
    logged = [float(each.log_bytes) for each in lived]
    logs = drawn_peak = log_peak = None
    whole_day = hours == range(24)
    if profile.logs_per_day is not None:
        drawn = expected_log_bytes(plan, hours)
        logs = profile.logs_per_day.value * sum(logged) / sum(drawn)
        if whole_day:
            drawn_peak, log_peak = _peak(drawn, busiest), _peak(logged, busiest)
    return StoreFigures(
        mailboxes=spec.mailboxes,
        logs_per_day=logs,
        drawn_log_peak=drawn_peak,
        log_peak=log_peak,
        iops=(reads + writes) / (3600 * len(peak) * spec.mailboxes),
        reads_per_write=reads / max(1, writes),
        io_peak=_peak(operations, busiest) if whole_day else None,
        own_reads=1 - sum(each.stand_in_reads for each in peak) / max(1, reads),
        own_writes=1 - sum(each.stand_in_writes for each in peak) / max(1, writes),
        messages_writes=sum(each.database_writes for each in alone) / max(1, writes),
    )


def _peak(hours: Sequence[float], busiest: Sequence[int]) -> float:
    """The busiest hours of a day to its mean hour."""
    return sum(hours[each] for each in busiest) / len(busiest) / (sum(hours) / len(hours))


# --- the page -----------------------------------------------------------------------------


def measurable_profiles() -> list[ProfileFigures]:
    """Those of the versions of which there are stores."""
    return [each for each in PROFILES.values() if each.version != "2013"]


def _against(target: Figure | float | None, found: float | None, digits: int) -> str:
    """Target, measured, difference."""
    if target is None or found is None:
        return ""
    value = target.value if isinstance(target, Figure) else target
    mark = f" [{target.mark}]" if isinstance(target, Figure) else ""
    told = f"{value:g}" if mark else f"{value:.{digits}f}"
    return f"{told}{mark}, {found:.{digits}f}, {found / value - 1:+.1%}"


def figures_row(profile: ProfileFigures, found: StoreFigures) -> tuple[str, ...]:
    """One line of the page's table."""
    curve_peak = store_plan(profile).plan.curve.peak_to_mean
    return (
        profile.version,
        profile.name,
        str(found.mailboxes),
        _against(profile.logs_per_day, found.logs_per_day, 2),
        _against(found.drawn_log_peak, found.log_peak, 2),
        _against(profile.iops, found.iops, 3),
        _against(profile.reads_per_write, found.reads_per_write, 2),
        _against(curve_peak, found.io_peak, 2),
    )


def origin_row(profile: ProfileFigures, found: StoreFigures) -> tuple[str, ...]:
    """One line of the page's second table."""
    return (
        profile.version,
        profile.name,
        f"{found.own_reads:.0%}",
        f"{found.own_writes:.0%}",
        f"{found.messages_writes:.0%}",
    )


def figures_markdown(figures: Sequence[Sequence[str]], origins: Sequence[Sequence[str]]) -> str:
    """The text of ``docs/store-figures.md`` with these lines in its tables."""
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        figures=figures,
        origins=origins,
        tolerance=f"{TOLERANCE:.0%}",
        logs=_LOGS_OF_A_STORE,
        cache=f"{DEFAULT_IO.cache_share:.0%}",
        older=f"{DEFAULT_IO.older_to_cache:g}",
        assumed_cache=f"{DEFAULT_IO.assumed_cache_bytes // KIB} KiB",
        log_sets=", ".join(
            f"{count:,} in {version}"
            for version, count in MAILBOXES_OF_A_LOG_SET.items()
            if version != "2013"
        ),
    )


def _main() -> None:
    """Measure all profiles and print the page; who waits is told of each."""
    figures, origins = [], []
    for profile in measurable_profiles():
        print(f"{profile.version} {profile.name} ...", file=sys.stderr, flush=True)
        found = measured_figures(store_plan(profile))
        figures.append(figures_row(profile, found))
        origins.append(origin_row(profile, found))
    sys.stdout.write(figures_markdown(figures, origins))


if __name__ == "__main__":
    _main()
