"""Generated and published figures, side by side; and the page that shows them.

At 200 000 messages one standard error of the mean size is 1 %, of a count 0.3 %: 5 % are far
beyond chance, and the seed is fixed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.exchange.diurnal import DAY_NS
from simulator.exchange.mail_figures import figures_of_week
from simulator.exchange.mail_load_page import generated_figures, mail_load_markdown
from simulator.exchange.mail_plan import MailPlan
from simulator.exchange.profiles import PROFILES, select_profile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mail-load.md"


@pytest.mark.parametrize(("version", "name"), list(PROFILES), ids=map("-".join, PROFILES))
def test_a_week_has_the_profiles_figures(version, name) -> None:
    profile = PROFILES[version, name]
    plan, found = generated_figures(profile)
    assert found.messages > 150_000
    assert found.sent == pytest.approx(profile.sent_per_day.value, rel=0.05)
    assert found.received == pytest.approx(profile.received_per_day.value, rel=0.05)
    size = profile.average_message_bytes.value
    assert found.average_message_bytes == pytest.approx(size, rel=0.05)
    assert found.mail_bytes == pytest.approx(profile.mail_bytes_per_day, rel=0.05)
    received_bytes = profile.received_per_day.value * size
    assert found.received_copies_bytes == pytest.approx(received_bytes, rel=0.05)
    assert found.peak_to_mean == pytest.approx(2.4, rel=0.05)
    assert found.weekend_share == pytest.approx(0.1, rel=0.05)
    hours = [hour / 100 for hour in plan.curve.hours]
    # In an hour of the night there are so few that 5 % of it would be chance.
    assert found.hour_shares == pytest.approx(hours, rel=0.05, abs=0.0015)
    assert found.reply_share == pytest.approx(plan.habits.reply_share, rel=0.05)
    assert found.single_instance_ratio == pytest.approx(plan.single_instance_ratio, rel=0.05)
    assert 1.1 <= found.single_instance_ratio <= 1.8


@pytest.mark.parametrize("mailboxes", [1, 2, 5])
def test_few_mailboxes_get_what_many_do(mailboxes) -> None:
    """What cannot come from within, for want of colleagues, comes from outside."""
    profile = select_profile("2007", "very heavy")
    plan = MailPlan(profile, mailboxes, 7 * DAY_NS)
    found = figures_of_week(plan)
    assert found.received == pytest.approx(120, rel=0.3 / mailboxes**0.5)
    assert found.sent == pytest.approx(30, rel=0.5 / mailboxes**0.5)


def test_only_a_whole_week_can_be_counted() -> None:
    plan = MailPlan(select_profile("2007", "light"), 5, 6 * DAY_NS)
    with pytest.raises(ValueError, match="whole week"):
        figures_of_week(plan)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == mail_load_markdown(), (
        "renew it: .venv/bin/python -m simulator.exchange.mail_load_page > docs/mail-load.md"
    )


def test_the_examples_of_the_page_run(tmp_path, monkeypatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(.*?)```", text, re.DOTALL)
    (tmp_path / "AllDatabases-Analyzed.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    names = {}
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(example, names)
    assert names["delivered"] > 1_000
    assert names["plan"].curve.days[5] == 0.2
