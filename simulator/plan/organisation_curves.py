"""From an organisation's file to the curves of its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from replicator.errors import BadInput
from simulator.exchange.diurnal import DEFAULT_HOURS, week_of
from simulator.exchange.hourly_logs import load_hourly_shares
from simulator.exchange.profiles import select_profile
from simulator.plan.capacity import PlannedLink
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, Floats, TimeGrid
from simulator.plan.horizon import plan_step_seconds, step_remarks
from simulator.plan.mail_change import (
    MailAssumptions,
    MailboxGroup,
    change_of_mailboxes,
    usual_rewritten_share,
)
from simulator.plan.organisation import Organisation
from simulator.plan.organisation_doubts import rate_windows
from simulator.plan.plan_assumed import growth_remarks
from simulator.plan.plan_begin import begins_with_its_files
from simulator.plan.protection import (
    ByteLevel,
    ChangedBlocks,
    LogShipping,
    NightlyBackup,
    ObjectLevel,
    Protection,
)
from simulator.plan.recovery_time import RecoveryFigures
from simulator.plan.seeding import SeedRates
from simulator.plan.site_files import SiteKind, kind_of, load_site
from simulator.plan.site_hours import names_all_databases
from simulator.plan.site_log_sets import of_all_log_sets
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_weeks import extended

NS = 1e9
_Read = TypeVar("_Read")


def grid_of(organisation: Organisation) -> TimeGrid:
    """Steps of :func:`~.horizon.plan_step_seconds` from the plan's first day on."""
    days = organisation.horizon_ns / NS / DAY_SECONDS
    return TimeGrid.of_days(days, organisation.begins_at, plan_step_seconds(organisation))


def _of_key(name: str, path: Path, read: Callable[[Path], _Read]) -> _Read:
    """What a file holds that a key names; errors of it tell the key, too."""
    try:
        return read(path)
    except BadInput as error:
        raise BadInput(
            f"{name}: {error.message}",
            path=error.path,
            offset=error.offset,
            line=error.line,
            remedy=error.remedy,
        ) from error


def mailbox_curve(organisation: Organisation, grid: TimeGrid) -> ChangeCurve:
    """What the organisation's mailboxes write.

    Raises BadInput for hourly statistics that cannot be right.
    """
    change = organisation.change
    hours: tuple[float, ...] = DEFAULT_HOURS
    if change.hours is not None:
        hours = _of_key("change.hours", change.hours, load_hourly_shares)
    assumed = MailAssumptions(
        curve=week_of(hours, change.weekend),
        growth_per_year=change.growth_per_year,
        coalesced_share=change.coalesced,
        rewritten_share=change.rewritten,
        rewritten_hours_ns=change.rewritten_hours_ns,
        mailbox_bytes=change.mailbox_bytes,
        stored_bytes=None if change.database_bytes is None else float(change.database_bytes),
        average_message_bytes=change.average_message_bytes,
    )
    groups = [
        MailboxGroup(select_profile(group.version, group.profile), group.count)
        for group in organisation.mailboxes
    ]
    return change_of_mailboxes(groups, grid, assumed, change.log_sets)


def night_rewrite(organisation: Organisation, change: ChangeCurve) -> tuple[float, Floats]:
    """Which share of the stored pages a night's defragmentation rewrites, and what that writes in
    each step; 0 for files of a site: what they count has it in it."""
    none = (0.0, np.zeros(change.grid.steps))
    if organisation.change.files:
        return none
    share = organisation.change.rewritten
    if share is None:
        share = usual_rewritten_share(organisation.mailboxes[0].version)
    if share <= 0:
        return none
    given = organisation.change.model_copy(update={"rewritten": 0.0})
    without = mailbox_curve(organisation.model_copy(update={"change": given}), change.grid)
    night: Floats = np.maximum(change.database_bytes - without.database_bytes, 0.0)
    return share, night


def site_options(organisation: Organisation) -> SiteOptions:
    """How the site's files are to be read."""
    change = organisation.change
    grid = grid_of(organisation)
    return SiteOptions(
        begins_at=grid.begins_at,
        step_seconds=grid.step_seconds,
        log_counters=change.log_counters,
        database_counters=change.database_counters,
        day_order=change.day_order,
        decimal_mark=change.decimal_mark,
        utc_offset_hours=change.utc_offset_hours,
        log_file_bytes=change.log_file_bytes,
        trace=change.trace,
        version=change.version,
        database_bytes_per_log_byte=change.database_bytes_per_log_byte,
        message_bytes_per_log_byte=change.message_bytes_per_log_byte,
        log_share_of_writes=change.log_share_of_writes,
        bytes_per_write=change.bytes_per_write,
        log_sets_taken=change.log_sets_taken,
        log_sets=_sets_of_statistics(organisation),
        disks=change.disks,
        bridge_gaps=change.bridge_gaps,
        most_missing_share=change.most_missing_share,
        least_measured_seconds=change.least_measured_ns / NS,
        most_disordered_share=change.most_disordered_share,
    )


def _sets_of_statistics(organisation: Organisation) -> int | None:
    """Databases that one file of hourly statistics is of; of several files each is of one."""
    change = organisation.change
    return 1 if len(change.files) > 1 else change.log_sets


def _load(organisation: Organisation, path: Path) -> ChangeCurve:
    """What one file of the site counts."""
    alone = len(organisation.change.files) == 1
    if not alone and names_all_databases(path) and kind_of(path) is SiteKind.HOURLY_LOGS:
        raise BadInput(
            "the statistics of all databases have the logs of the mean one, and cannot be added "
            "to other files",
            path=str(path),
            remedy="Leave it out and give the file of each database, or give it alone with their "
            "number (log_sets).",
        )
    return load_site(path, site_options(organisation))


def change_of(organisation: Organisation) -> ChangeCurve:
    """What the organisation writes, over the whole plan, from its begin on (:mod:`.plan_begin`).

    Raises BadInput for files of the site that cannot be right.
    """
    grid, change = grid_of(organisation), organisation.change
    grown = (*growth_remarks(organisation), *step_remarks(organisation))
    if not change.files:
        curve = mailbox_curve(organisation, grid)
        return replace(curve, remarks=(*curve.remarks, *grown))
    begins_at = None if begins_with_its_files(organisation) else grid.begins_at
    curves = [
        extended(
            _of_key(f"change.files.{index}", path, lambda path: _load(organisation, path)),
            grid.span_seconds / DAY_SECONDS,
            "auto",
            change.weekend,
            begins_at,
        )
        for index, path in enumerate(change.files)
    ]
    curve = of_all_log_sets(_together(curves), change.log_sets, alike=change.log_sets_alike)
    if curve.grid.begins_at != grid.begins_at:
        told = f"{curve.grid.begins_at:%a %Y-%m-%d %H:%M}"
        grown = (*grown, f"the plan begins where its files do, on {told} (begins)")
    years = curve.grid.seconds() / (365.25 * DAY_SECONDS)
    if change.growth_per_year:
        curve = curve.shaped((1.0 + change.growth_per_year) ** years)
    return replace(
        curve,
        # The last remark of all says how few days became the plan.
        remarks=(*grown, *curve.remarks),
        stored_bytes=_given_or(change.database_bytes, curve.stored_bytes),
    )


def _given_or(given: int | None, found: float | None) -> float | None:
    return found if given is None else float(given)


def _all_seen(curves: list[ChangeCurve]) -> int | None:
    """Log sets that all files are of; None where one does not tell."""
    seen = [each.seen_log_sets for each in curves]
    known = [each for each in seen if each is not None]
    return sum(known) if len(known) == len(seen) else None


def _together(curves: list[ChangeCurve]) -> ChangeCurve:
    """Several files of one site: what they count is added up, weekday to weekday.

    Raises BadInput for files whose weeks do not fit: their grids begin on other days, in a plan
    that begins with its files.
    """
    first = curves[0]
    for other in curves[1:]:
        same_begin = other.grid.begin_of_week_seconds == first.grid.begin_of_week_seconds
        if not same_begin or other.grid.steps != first.grid.steps:
            raise BadInput(
                f"{other.origin} and {first.origin} do not begin at the same time of the week",
                remedy="Give the plan its begins: both are laid onto its dates, by weekday.",
            )
    return replace(
        first,
        log_bytes=np.sum([each.log_bytes for each in curves], axis=0),
        database_bytes=np.sum([each.database_bytes for each in curves], axis=0),
        message_bytes=np.sum([each.message_bytes for each in curves], axis=0),
        log_sets=sum(each.log_sets for each in curves),
        seen_log_sets=_all_seen(curves),
        measured_seconds=min(each.measured_seconds or 0.0 for each in curves),
        origin="; ".join(each.origin for each in curves),
        remarks=tuple(remark for each in curves for remark in each.remarks),
        assumed_page_ratio=_common_ratio(curves),
        divided_log_share=_common_log_share(curves),
        warnings=tuple(warning for each in curves for warning in each.warnings),
    )


def _common_ratio(curves: list[ChangeCurve]) -> float | None:
    """The assumed ratio of pages to logs; None where not all files have one."""
    if any(each.assumed_page_ratio is None for each in curves):
        return None
    logs = sum(float(each.log_bytes.sum()) for each in curves)
    return sum(float(each.database_bytes.sum()) for each in curves) / logs if logs > 0 else None


def _common_log_share(curves: list[ChangeCurve]) -> float | None:
    """Of the written bytes, taken for logs; None where a file tells logs from pages."""
    if any(each.divided_log_share is None for each in curves):
        return None
    written = sum(float(each.written_bytes.sum()) for each in curves)
    return sum(float(each.log_bytes.sum()) for each in curves) / written if written > 0 else None


def seed_rates(organisation: Organisation) -> SeedRates:
    """How fast a first copy is made, and when.

    Raises ValueError for an organisation whose begin is not known (:func:`~.plan_begin.begun`).
    """
    if begins_with_its_files(organisation):
        raise ValueError("the plan begins with its files: begun() says when that is")
    first = organisation.first_copy
    return SeedRates(
        source_bytes_per_second=first.disk_bytes_per_second,
        replica_bytes_per_second=first.disk_bytes_per_second,
        medium_bytes_per_second=first.disk_bytes_per_second,
        stream_bytes_per_second=first.stream_bytes_per_second,
        saving=organisation.protection.saving,
        courier_seconds=first.transport_ns / NS,
        begin_seconds=(organisation.first_copy_begins_at - organisation.begins_at).total_seconds(),
    )


def recovery_figures(organisation: Organisation) -> RecoveryFigures:
    """What a recovery is made of."""
    failover = organisation.failover
    return RecoveryFigures(
        detect_seconds=failover.detect_ns / NS,
        decide_seconds=failover.decide_ns / NS,
        redirect_seconds=failover.redirect_ns / NS,
        replay_seconds_per_log=failover.mount_per_log_ns / NS,
        # As for what waits at the replica: one disk, one rate.
        replay_lag_seconds=organisation.protection.replica_delay_ns / NS,
        mount_seconds=failover.mount_ns / NS,
        parallel_replays=float(failover.parallel_replays),
        restore_bytes_per_second=failover.restore_bytes_per_second,
        find_backup_seconds=failover.find_backup_ns / NS,
        apply_bytes_per_second=organisation.protection.apply_bytes_per_second,
    )


def link_of(organisation: Organisation) -> PlannedLink:
    """The line as the plan takes it."""
    link = organisation.link
    return PlannedLink(
        bits_per_second=link.bits_per_second,
        rtt_seconds=link.rtt_ns / NS,
        loss=link.loss,
        tcp_window_bytes=link.tcp_window_bytes,
        streams=link.streams,
        payload_share=link.payload,
        windows=rate_windows(link),
    )


def protections_of(organisation: Organisation) -> dict[str, Protection]:
    """All kinds with the organisation's figures, by name; its own kind first."""
    protection = organisation.protection
    delay_seconds = organisation.link.rtt_ns / NS / 2
    kinds: list[Protection] = [
        ByteLevel(saving=protection.saving, delay_seconds=delay_seconds),
        LogShipping(
            saving=protection.saving,
            idle_logs_per_day=protection.idle_logs_per_day,
            delay_seconds=delay_seconds,
            piece_bytes=float(protection.log_piece_bytes),
            round_trip_seconds=organisation.link.rtt_ns / NS,
        ),
        ChangedBlocks(
            interval_seconds=protection.interval_ns / NS,
            rewritten_share=protection.rewritten,
            saving=protection.saving,
        ),
        ObjectLevel(saving=protection.saving, delay_seconds=delay_seconds),
        NightlyBackup(
            at_seconds=protection.backup_at_ns / NS,
            full=protection.full_backup,
            saving=protection.saving,
        ),
    ]
    by_name = {kind.name: kind for kind in kinds}
    return {protection.kind: by_name.pop(protection.kind), **by_name}
