"""The server hour's benchmark measures the hour and not its filling; its figures judge nothing."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from simulator.exchange.diurnal import HOUR_NS
from simulator.exchange.mail_events import log_bytes_of
from simulator.exchange.mail_stream import MailStream
from tests.benchmarks import server_hour
from tests.benchmarks.server_hour import ServerHour, group_config, group_hour, group_spec, part_of

EARLY = ServerHour("early", 7 * HOUR_NS, 100, 60)


def test_an_hour_logs_what_the_profile_says_of_its_mail_and_nothing_before_it_counts() -> None:
    run, plan = group_hour(EARLY, 4, 0), group_spec(4, 0).plan
    events = list(MailStream(plan).events(EARLY.begins_ns, EARLY.begins_ns + HOUR_NS))
    assert run.events.total() - run.events["missing"] == len(events)
    assert run.log_bytes == pytest.approx(sum(log_bytes_of(e, plan) for e in events), rel=0.01)
    assert 0 < run.view_bytes < run.log_bytes
    assert 0 < run.pages < group_config(group_spec(4, 0)).cache_pages


def test_a_cache_that_pages_leave_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an hour with reads in it would be told as one without."""
    small = replace(group_config(group_spec(4, 0)), cache_pages=1)
    monkeypatch.setattr(server_hour, "group_config", lambda spec: small)
    with pytest.raises(RuntimeError, match="it is too small"):
        group_hour(EARLY, 4, 0)


def test_a_sample_is_charged_to_the_part_of_the_product_that_is_at_work() -> None:
    assert part_of(sys._getframe()) == "mail as rows: work, views, mailboxes"
