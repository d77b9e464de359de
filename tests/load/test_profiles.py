"""The published profiles, and what may be asked of them."""

from __future__ import annotations

import pytest

from replicator.errors import BadInput, ExitCode
from simulator.exchange.profiles import KIB, MIB, PROFILES, select_profile


@pytest.mark.parametrize(
    ("version", "name", "sent", "received", "iops", "logs", "cache_mib"),
    [
        ("2003", "light", 20, 50, 0.5, None, None),
        ("2003", "large", 60, 150, 1.5, None, None),
        ("2007", "light", 5, 20, 0.11, 6, 2),
        ("2007", "very heavy", 30, 120, 0.48, 36, 5),
        ("2010", "50", 10, 40, 0.06, 10, 3),
        ("2010", "500", 100, 400, 0.6, 100, 30),
        ("2013", "350", 70, 280, 0.235, 70, None),
    ],
)
def test_a_profile_is_the_row_of_its_table(
    version, name, sent, received, iops, logs, cache_mib
) -> None:
    profile = select_profile(version, name)
    assert (profile.sent_per_day.value, profile.received_per_day.value) == (sent, received)
    assert profile.iops.value == iops
    assert (profile.logs_per_day and profile.logs_per_day.value) == logs
    assert (profile.cache_bytes and profile.cache_bytes.value / MIB) == cache_mib


def test_every_version_has_its_profiles_and_every_figure_its_origin() -> None:
    count = {version: 0 for version, _ in PROFILES}
    for (version, name), profile in PROFILES.items():
        count[version] += 1
        assert (profile.version, profile.name) == (version, name)
        for figure in profile.figures.values():
            assert figure.value > 0 and figure.source
            assert figure.verified == (figure.mark in "SVPTD")
    assert count == {"2003": 4, "2007": 4, "2010": 8, "2013": 10}


def test_what_is_remembered_or_assumed_is_told() -> None:
    assert select_profile("2003", "heavy").unverified == ("average_message_bytes",)
    assert "logs_per_day" in select_profile("2007", "heavy").unverified
    assert "iops_replicated" not in select_profile("2010", "100").unverified


def test_the_tables_agree_with_what_was_derived_from_them() -> None:
    assert select_profile("2007", "heavy").log_amplification == pytest.approx(4.9, abs=0.05)
    assert select_profile("2010", "100").log_amplification == pytest.approx(2.7, abs=0.05)
    assert select_profile("2003", "heavy").log_amplification is None
    for (version, name), profile in PROFILES.items():
        if version == "2010":  # the public scripts' formula
            assert profile.iops_replicated.value == pytest.approx(int(name) / 1000)
    # Received and sent in a week of five days, of the vendor's example: 36.6 MB.
    week_bytes = 5 * select_profile("2010", "100").mail_bytes_per_day
    assert week_bytes / MIB == pytest.approx(36.6, abs=0.05)


@pytest.mark.parametrize(
    ("kib", "times"), [(40, 1.0), (75, 1.0), (112.5, 1.45), (150, 1.9), (300, 3.8)]
)
def test_larger_messages_make_more_logs(kib, times) -> None:
    profile = select_profile("2010", "100")
    assert profile.logs_per_day_at(kib * KIB) == pytest.approx(20 * times)
    assert select_profile("2003", "heavy").logs_per_day_at(kib * KIB) is None


def test_a_figure_of_ones_own_takes_the_tables_place() -> None:
    profile = select_profile("2007", "heavy", logs_per_day=30, iops=0.4)
    assert profile.logs_per_day.value == 30
    assert profile.iops.mark == "given"
    assert "iops" not in profile.unverified and "cache_bytes" in profile.unverified
    assert profile.sent_per_day == select_profile("2007", "heavy").sent_per_day


@pytest.mark.parametrize(
    ("version", "name", "given", "told", "remedy"),
    [
        ("2006", "heavy", {}, "version '2006'", "'2003', '2007', '2010', '2013'"),
        ("2007", "heavi", {}, "profile 'heavi' of version 2007", "Did you mean 'heavy'?"),
        ("2007", "150", {}, "profile '150'", "'light', 'average', 'heavy', 'very heavy'"),
        ("2007", "heavy", {"log_per_day": 3}, "figure 'log_per_day'", "mean 'logs_per_day'?"),
        ("2007", "heavy", {"iops": 0}, "iops of profile 2007 heavy cannot be 0", "positive"),
        ("2007", "heavy", {"iops": float("nan")}, "cannot be nan", "positive"),
        ("2007", "heavy", {"iops": float("inf")}, "cannot be inf", "positive"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    version, name, given, told, remedy
) -> None:
    with pytest.raises(BadInput) as error:
        select_profile(version, name, **given)
    assert told in str(error.value)
    assert remedy in error.value.remedy
    assert error.value.exit_code is ExitCode.USAGE
