"""From an organisation's file to the curves of its plan."""

from __future__ import annotations

import datetime
from dataclasses import replace

from simulator.exchange.diurnal import DEFAULT_HOURS, week_of
from simulator.exchange.hourly_logs import load_hourly_shares
from simulator.exchange.profiles import select_profile
from simulator.plan.capacity import PlannedLink, RateWindow
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import DAY_SECONDS, TimeGrid
from simulator.plan.mail_change import MailAssumptions, MailboxGroup, change_of_mailboxes
from simulator.plan.organisation import Organisation
from simulator.plan.protection import (
    ByteLevel,
    ChangedBlocks,
    LogShipping,
    NightlyBackup,
    ObjectLevel,
    Protection,
)

NS = 1e9


def grid_of(organisation: Organisation) -> TimeGrid:
    """Minutes from the plan's first day on."""
    begin = datetime.datetime.combine(organisation.begins, datetime.time())
    return TimeGrid.of_days(organisation.horizon_ns / NS / DAY_SECONDS, begin)


def mailbox_curve(organisation: Organisation, grid: TimeGrid) -> ChangeCurve:
    """What the organisation's mailboxes write.

    Raises BadInput for hourly statistics that cannot be right.
    """
    change = organisation.change
    hours = DEFAULT_HOURS if change.hours is None else load_hourly_shares(change.hours)
    assumed = MailAssumptions(
        curve=week_of(hours, change.weekend),
        growth_per_year=change.growth_per_year,
        coalesced_share=change.coalesced,
        rewritten_share=change.rewritten,
        mailbox_bytes=change.mailbox_bytes,
        average_message_bytes=change.average_message_bytes,
    )
    groups = [
        MailboxGroup(select_profile(group.version, group.profile), group.count)
        for group in organisation.mailboxes
    ]
    curve = change_of_mailboxes(groups, grid, assumed, change.log_sets)
    if change.database_bytes is None:
        return curve
    return replace(curve, stored_bytes=float(change.database_bytes))


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
        windows=tuple(
            RateWindow(
                entry.from_time_of_day_ns / NS,
                entry.to_time_of_day_ns / NS,
                entry.bits_per_second,
                entry.days,
            )
            for entry in link.schedule
        ),
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
