"""Small change curves for tests."""

from __future__ import annotations

import numpy as np

from simulator.exchange.profiles import select_profile
from simulator.plan.change import ChangeCurve
from simulator.plan.grid import TimeGrid
from simulator.plan.mail_change import MailboxGroup, change_of_mailboxes


def flat(
    log_bytes: list[float] | np.ndarray,
    step_seconds: float = 60.0,
    stored_bytes: float | None = None,
    log_file_bytes: int = 1,
) -> ChangeCurve:
    """Logs as given, as much of messages, no pages: byte level, logs and objects are the same."""
    amounts = np.array(log_bytes, dtype=np.float64)
    return ChangeCurve(
        TimeGrid(len(amounts), step_seconds=step_seconds),
        amounts,
        np.zeros(len(amounts)),
        amounts.copy(),
        stored_bytes=stored_bytes,
        log_file_bytes=log_file_bytes,
    )


def mail(days: float = 7.0, mailboxes: int = 4_000, log_sets: int | None = None) -> ChangeCurve:
    """Heavy mailboxes of 2007: 24 logs of 1 MiB each a day."""
    group = MailboxGroup(select_profile("2007", "heavy"), mailboxes)
    return change_of_mailboxes([group], TimeGrid.of_days(days), log_sets=log_sets)
