"""What stores measure is what the tables say: within 5 %, every profile of every version.

Logs are compared with what the profile expects of the messages drawn, operations with the tables:
neither has an error of sampling (``simulator/exchange/store_figures.py``).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.exchange.mail_io import IoModel
from simulator.exchange.profiles import ProfileFigures, select_profile
from simulator.exchange.store_figures import (
    TOLERANCE,
    StoreFigures,
    expected_log_bytes,
    figures_markdown,
    figures_row,
    measurable_profiles,
    measured_figures,
    origin_row,
    store_plan,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "store-figures.md"
RENEW = "renew it: .venv/bin/python -m simulator.exchange.store_figures > docs/store-figures.md"
PROFILES = measurable_profiles()
IDS = [f"{each.version}-{each.name}" for each in PROFILES]
SMALL = IoModel(cache_share=0.05)


def rows_of_page(number: int) -> list[tuple[str, ...]]:
    """Lines of the page's table of that number."""
    tables = re.findall(r"\|---\|[-|]*\n((?:\|.*\|\n)+)", PAGE.read_text(encoding="utf-8"))
    return [tuple(line[2:-2].split(" | ")) for line in tables[number].splitlines()]


def close(found: float | None, target: float) -> bool:
    return found is not None and found == pytest.approx(target, rel=TOLERANCE)


def check(profile: ProfileFigures, found: StoreFigures) -> None:
    assert close(found.iops, profile.iops.value)
    assert profile.reads_per_write is not None
    assert close(found.reads_per_write, profile.reads_per_write.value)
    if found.io_peak is not None:
        assert close(found.io_peak, 2.4)
    if profile.logs_per_day is None:
        assert found.logs_per_day is found.log_peak is None
    else:
        assert close(found.logs_per_day, profile.logs_per_day.value)
        if found.drawn_log_peak is not None:
            assert close(found.log_peak, found.drawn_log_peak)


# --- short, in every run ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "name", "mailboxes", "hours"),
    [
        ("2003", "light", 1, range(9, 11)),
        ("2007", "light", 2, range(8, 11)),
        ("2010", "50", 4, range(8, 11)),
    ],
)
def test_some_hours_have_the_profiles_figures(version, name, mailboxes, hours) -> None:
    profile = select_profile(version, name)
    found = measured_figures(store_plan(profile, mailboxes), hours, SMALL)
    assert close(found.iops, profile.iops.value)
    assert profile.reads_per_write is not None
    assert close(found.reads_per_write, profile.reads_per_write.value)
    # Told as it is: nearly all is done in place of users who are not there.
    assert found.own_reads < 0.1
    assert found.own_writes < 0.4
    assert 0 < found.messages_writes < 0.4


def test_without_what_stands_for_users_no_figure_holds() -> None:
    """The checks are able to fail."""
    profile = select_profile("2007", "light")
    spec = store_plan(profile, 2)
    found = measured_figures(spec, range(9, 11), SMALL, stand_in=False)
    assert found.iops < 0.2 * profile.iops.value
    assert not close(found.iops, profile.iops.value)
    assert not close(found.reads_per_write, 1.0)
    assert not close(found.logs_per_day, 6.0)
    assert found.messages_writes == 1.0


def test_what_the_profile_expects_of_an_hour_is_that_of_its_messages() -> None:
    plan = store_plan(select_profile("2007", "light"), 2).plan
    whole = expected_log_bytes(plan, range(24))
    assert expected_log_bytes(plan, range(9, 12)) == whole[9:12]
    assert sum(whole) > 0
    with pytest.raises(ValueError, match="no source"):
        expected_log_bytes(store_plan(select_profile("2003", "light"), 2).plan, range(24))


def test_stores_are_as_large_as_their_figures_need() -> None:
    for profile in PROFILES:
        spec = store_plan(profile)
        if profile.logs_per_day is not None:
            assert spec.mailboxes * profile.logs_per_day.value >= 60
        else:
            assert spec.mailboxes * profile.iops.value >= 1


def test_the_page_is_what_its_figures_make_it() -> None:
    """That the figures are those of the stores takes minutes: the test of each profile."""
    figures, origins = rows_of_page(0), rows_of_page(1)
    wanted = [(each.version, each.name) for each in PROFILES]
    assert [row[:2] for row in figures] == [row[:2] for row in origins] == wanted
    assert PAGE.read_text(encoding="utf-8") == figures_markdown(figures, origins), RENEW
    cells = 0
    for profile, row in zip(PROFILES, figures, strict=True):
        for cell in row[3:]:
            if cell:
                cells += 1
                assert abs(float(cell.rpartition(", ")[2].rstrip("%"))) <= 100 * TOLERANCE
        assert bool(row[3]) == bool(row[4]) == (profile.logs_per_day is not None)
        assert row[5].startswith(f"{profile.iops.value:g} [{profile.iops.mark}], ")
    assert cells == 3 * 4 + 5 * (len(PROFILES) - 4)


# --- every profile ------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("profile", PROFILES, ids=IDS)
def test_a_day_has_the_profiles_figures_as_the_page_says(profile) -> None:
    found = measured_figures(store_plan(profile))
    check(profile, found)
    assert figures_row(profile, found) in rows_of_page(0), RENEW
    assert origin_row(profile, found) in rows_of_page(1), RENEW
