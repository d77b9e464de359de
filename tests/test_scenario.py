"""Scenarios: what loads, and that each wrong one names file, line, key and what is right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.errors import BadInput, ExitCode
from replicator.toml_text import line_of, locate
from simulator import scenario as sc
from simulator.device import DiskModel

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "scenarios" / "quickstart.toml"
TRACE = ROOT / "scenarios" / "production-trace.toml"
EXCHANGE = ROOT / "scenarios/exchange_2007.toml"

SMALL = """\
name = "small"
duration = "10m"

[stream]
kind = "store"
messages = "2/s"

[link]
bandwidth = "10Mbit/s"
rtt = "60ms"

[[faults]]
kind = "link_outage"
at = "3m"
duration = "90s"

[[faults]]
kind = "power_loss"
at = "5m"
host = "replica"
"""


def load(text: str, *overrides: str) -> sc.Scenario:
    return sc.parse_scenario(text, overrides, origin="small.toml", check_files=False)


def errors_of(text: str | bytes, *overrides: str) -> list[str]:
    with pytest.raises(sc.BadScenario) as raised:
        sc.parse_scenario(text, overrides, origin="small.toml", check_files=True)
    assert raised.value.exit_code == ExitCode.USAGE
    assert all(str(error) in str(raised.value) for error in raised.value.errors)
    return [str(error) for error in raised.value.errors]


# --- what loads ---------------------------------------------------------------------------


def test_quickstart_loads_with_plain_numbers() -> None:
    scenario = sc.load_scenario(QUICKSTART)
    assert scenario.duration_ns == 720 * 10**9
    assert scenario.link.bits_per_second == 10_000_000
    assert scenario.link.rtt_ns == 60_000_000
    assert isinstance(scenario.stream, sc.StoreStream)
    assert scenario.stream.format == "exchange 2007"
    assert scenario.stream.message_size_bytes == 32_768
    assert scenario.protection.spool_limit_bytes == 512 << 20
    kinds = [fault.kind for fault in scenario.faults]
    assert kinds == ["link_outage", "power_loss", "link_outage", "loss"]
    assert scenario.objectives.rpo_ns == 300 * 10**9
    assert scenario.source.spool_disk is None


def test_production_trace_loads_and_resolves_its_path() -> None:
    scenario = sc.load_scenario(TRACE, check_files=False)
    assert isinstance(scenario.stream, sc.TraceStream)
    assert scenario.stream.path == TRACE.parent / "data" / "vscsi-excerpt.csv"


def test_defaults_are_read_with_their_units() -> None:
    scenario = load(SMALL)
    assert scenario.settle_ns == 600 * 10**9
    assert scenario.protection.window_bytes == 4 << 20
    assert scenario.failover.redirect_ns == 1200 * 10**9
    assert scenario.objectives.rto_ns is None
    assert scenario.link.schedule == ()


def test_scenarios_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(SMALL).seed = 2  # type: ignore[misc]


@pytest.mark.parametrize("profile", sc.DISK_PROFILES)
def test_disk_profiles_give_effective_figures(profile: str) -> None:
    text = SMALL + f'[source.disk]\nprofile = "{profile}"\nsize = "7GB"\n'
    disk = load(text).source.disk
    assert disk.size_bytes == 7 * 10**9
    assert disk.sector_bytes == sc.DISK_PROFILES[profile]["sector"]
    assert disk.model == DiskModel(
        size_bytes=disk.size_bytes,
        sector_bytes=disk.sector_bytes,
        bytes_per_second=disk.bytes_per_second,
        positioning_ns=disk.positioning_ns,
        sync_overhead_ns=0,
        dirty_limit_bytes=256 << 20,
        metadata="ordered",
    )


def test_single_disk_figures_differ_from_the_profile() -> None:
    disk = load(SMALL, 'replica.disk={profile="sata-7200", positioning="1ms"}').replica.disk
    assert (disk.positioning_ns, disk.bytes_per_second) == (1_000_000, 95_000_000)


def test_schedules_wrap_at_midnight() -> None:
    entry = '{from = "22:00", to = 06:00:00, bandwidth = "1Mbit/s"}'
    link = load(SMALL, f"link.schedule=[{entry}]").link
    hour_ns = 3600 * 10**9
    assert link.schedule[0].ranges_ns == ((22 * hour_ns, 24 * hour_ns), (0, 6 * hour_ns))


# --- overrides ----------------------------------------------------------------------------


def test_overrides_reach_every_depth() -> None:
    scenario = load(
        SMALL,
        "link.bandwidth=2Mbit/s",
        "faults.0.at=4m",
        "objectives.rpo=5m",
        "seed=7",
        "link.loss=0.01%",
    )
    assert scenario.link.bits_per_second == 2_000_000
    assert scenario.faults[0].at_ns == 240 * 10**9
    assert scenario.objectives.rpo_ns == 300 * 10**9
    assert (scenario.seed, scenario.link.loss) == (7, 0.0001)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("link.rtt", "--set link.rtt: is not of the form key=value: write for instance"),
        ("=3", "--set =3: is not of the form key=value"),
        ("faults.7.at=3m", "--set faults.7.at=3m: faults has the entries 0 to 1, there is no 7"),
        ("faults.x.at=3m", "there is no x"),
        ("replica.disks.0.size=1GiB", "replica.disks is not there, so it has no 0"),
        ("name.x=1", "--set name.x=1: name is no table, so it has no key 'x'"),
        ("link.rtt=60", "--set link.rtt=60: link.rtt: 60 has no unit: write for instance 60ms"),
        ("link.rt=60ms", "unknown key 'rt' in [link]: did you mean 'rtt'?"),
        ("faults.0.at=1h", "--set faults.0.at=1h: faults.0.at: 1h is after the end"),
    ],
)
def test_bad_overrides_name_the_argument(argument: str, message: str) -> None:
    (error,) = errors_of(SMALL, argument)
    assert message in error


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bandwidth =", "bandwith =", "small.toml:9: link.bandwith: unknown key 'bandwith' in"),
        ("bandwidth =", "bandwith =", "did you mean 'bandwidth'?"),
        ('"10Mbit/s"', '"10Mb"', "small.toml:9: link.bandwidth: '10Mb' is ambiguous: write 10Mbit"),
        ('"60ms"', "60", "small.toml:10: link.rtt: 60 has no unit: write for instance 60ms"),
        ('"60ms"', "[]", "small.toml:10: link.rtt: this list is no duration"),
        ('"store"', '"stor"', "small.toml:5: stream.kind: 'stor' is not known here: did you mean"),
        ('kind = "store"', "", "small.toml:4: stream.kind: this key is missing: write one of"),
        ('kind = "store"', "kind = 3", "small.toml:5: stream.kind: 3 is not known here"),
        ('rtt = "60ms"', "", "small.toml:8: link.rtt: this key is missing: write for instance rtt"),
        ('"10m"', '"0s"', "small.toml:2: duration: '0s' must be more than nothing: write 60ms"),
        ('"90s"', '"-90s"', "small.toml:15: faults.0.duration: '-90s' is negative: write 90s"),
        ('"replica"', '"replcia"', "small.toml:20: faults.1.host: 'replcia' is not known here"),
        ('at = "5m"', 'at = "50m"', "small.toml:19: faults.1.at: 50m is after the end"),
        ('"power_loss"', '"power_lost"', "did you mean 'power_loss'?"),
        ('name = "small"', 'name = ""', "small.toml:1: name: '' is empty"),
        ('name = "small"', "name = 3", "small.toml:1: name: 3 is not text in quotes"),
        ('name = "small"', "", "small.toml:1: name: this key is missing"),
        ('"2/s"', '"2/s"\nmailboxes = 0', "small.toml:7: stream.mailboxes: 0 must be at least 1"),
        ('"2/s"', '"2/s"\nmailboxes = "a"', "stream.mailboxes: 'a' is not a whole number"),
        ('"2/s"', '"2/s"\nlog_size = "1KiB"', "'1KiB' is too little: write 4KiB or more"),
        ('"2/s"', '"2/s"\ncompressible = 1.5', "1.5 is not between 0 and 1: write 0.3 or 30%"),
        ('"60ms"', '"60ms"\nschedule = 3', "small.toml:11: link.schedule: 3 is not a list"),
        ("[link]", "[failover]\ndecide = 10\n[link]", "small.toml:9: failover.decide: 10 has no"),
        ("[link]", "[source]\ndisk = 3\n[link]", "small.toml:9: source.disk: 3 is not a table"),
        ("[link]", "[objectives]\nrp = '5m'\n[link]", "did you mean 'rpo'?"),
        (
            "[link]",
            '[protection]\nsegment_size = "2GiB"\n[link]',
            "small.toml:9: protection.segment_size: 2GiB exceeds spool_limit (1GiB)",
        ),
        (
            'host = "replica"',
            'host = "source"\nwhen = "apply"',
            "small.toml:21: faults.1.when: only the replica applies",
        ),
        (
            '"60ms"',
            '"60ms"\nschedule = [\n  {from="08:00", to="18:00", bandwidth="1Mbit/s"},\n'
            '  {from="17:00", to="09:00", bandwidth="1Mbit/s"},\n]',
            "small.toml:13: link.schedule.1.from: overlaps entry 0 of the list",
        ),
        ('"60ms"', '"60ms"\nschedule = [{from="25:00"}]', "'25:00' is no time of day"),
        ('kind = "store"', 'kind = "trace"\npath = "no.csv"', "stream.path: there is no file"),
        ('kind = "store"', 'kind = "trace"\npath = "a\\u0000"', "must be a file name"),
        ('kind = "store"', f'kind = "trace"\npath = "{"a" * 5000}"', "cannot be looked up"),
    ],
)
def test_each_error_names_line_key_and_what_is_right(old: str, new: str, message: str) -> None:
    assert old in SMALL
    assert any(message in error for error in errors_of(SMALL.replace(old, new, 1)))


def test_a_lost_host_takes_no_more_faults() -> None:
    text = SMALL + '[[faults]]\nkind = "loss"\nhost = "replica"\nat = "4m"\n'
    (error,) = errors_of(text)
    assert error.startswith("small.toml:19: faults.1.at: at 5m the replica is gone already")


def test_all_errors_are_reported_in_the_order_of_lines() -> None:
    text = SMALL.replace("rtt", "rtl").replace('"3m"', '"3"').replace('"10m"', '"10x"')
    found = errors_of(text)
    lines = [int(error.split(":")[1]) for error in found]
    assert lines == sorted(lines)
    assert {2, 8, 10, 14} == set(lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name = 'a'\nlink = = 3\n", "small.toml:2: column 8: not TOML"),
        ("name = 'a'\nname = 'b'\n", "small.toml:2: column"),
        ("name = [", "small.toml:1: column 9: not TOML"),
        ("a=" + "[" * 5000, "small.toml:1: not TOML: nested too deeply"),
        ("a=" + "9" * 5000, "small.toml:1: column"),
        (b"name = 'a'\nb = '\xff'\n", "small.toml:2: column 6: not UTF-8 text (byte 0xff)"),
        (b"\0", "small.toml:1: column 1: not TOML"),
        (b"x" * (2 << 20), "is larger than 1 MiB"),
    ],
)
def test_texts_that_are_no_toml(content: str | bytes, message: str) -> None:
    (error,) = errors_of(content)
    assert message in error


def test_an_empty_text_misses_its_keys() -> None:
    assert len(errors_of("")) == 4  # name, duration, stream, link


@pytest.mark.parametrize("name", ["missing.toml", ".", "a" * 300, "nul\0"])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        sc.load_scenario(tmp_path / name)


def test_huge_numbers_are_no_traceback() -> None:
    (error,) = errors_of(f"seed = 0x{'f' * 6000}\n" + SMALL)
    assert error == "small.toml:1: seed: is no 64-bit number"
    (error,) = errors_of(SMALL.replace('"store"', f"0x{'f' * 6000}"))
    assert error == "small.toml:5: stream.kind: is no 64-bit number"


# --- what several keys say together -------------------------------------------------------

PROTECTED = SMALL + '[protection]\nsegment_size = "4MiB"\n'
"""Its segment_size stands in line 22."""


@pytest.mark.parametrize(
    ("text", "overrides", "place", "says"),
    [
        (
            PROTECTED,
            ["protection.spool_limit=1MiB"],
            "--set protection.spool_limit=1MiB: protection.segment_size: 4MiB exceeds spool_limit",
            "; protection.segment_size stands in small.toml:22",
        ),
        (
            SMALL,
            ["protection.spool_limit=1MiB"],
            "--set protection.spool_limit=1MiB: protection.segment_size: 8MiB exceeds spool_limit",
            "; protection.segment_size has its default",
        ),
        (
            PROTECTED.replace("segment_size", "spool_limit"),
            [],
            "small.toml:22: protection.segment_size: 8MiB exceeds spool_limit",
            "; protection.segment_size has its default",
        ),
        (
            SMALL,
            ["protection.segment_size=2MiB", "protection.spool_limit=3MiB"],
            "--set protection.segment_size=2MiB: protection.segment_size: 2MiB exceeds half of",
            "; protection.spool_limit comes from --set protection.spool_limit=3MiB",
        ),
        (
            SMALL,
            ["duration=4m"],
            "--set duration=4m: faults.1.at: 5m is after the end of the scenario (4m)",
            "; faults.1.at stands in small.toml:19",
        ),
        (
            SMALL,
            ["stream.kind=trace"],
            "--set stream.kind=trace: stream.kind: the kind 'trace' needs the key 'path'",
            "",
        ),
        (
            SMALL,
            ["stream.kind=trace"],
            "--set stream.kind=trace: stream.messages: unknown key 'messages'",
            "; stream.messages stands in small.toml:6",
        ),
        (
            SMALL,
            ["link.rtt=60", 'link={bandwidth="1Mbit/s", rtt="x"}'],
            "--set link={bandwidth=",
            "link.rtt: 'x'",
        ),
    ],
)
def test_collisions_name_the_set_and_the_other_place(
    text: str, overrides: list[str], place: str, says: str
) -> None:
    assert any(e.startswith(place) and says in e for e in errors_of(text, *overrides)), errors_of(
        text, *overrides
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("link.loss=100%", "link.loss: no packet ever arrives"),
        ("stream.messages=0/s", "'0/s' must be more than nothing"),
        ("stream.messages=2000000/s", "more than can be emulated"),
        ("stream.message_size=255B", "is less than any message has"),
        ("stream.database_size=90KiB", "90KiB is too small for a database of exchange 2007"),
        ("stream.message_size=200MiB", "256MiB is too small for a database of exchange 2007 with"),
        ("source.disk.size=1MiB", "does not fit on the source's disk (1MiB)"),
        ("protection.spool_limit=10MiB", "8MiB exceeds half of spool_limit (10MiB)"),
        ("protection.journal_limit=10MiB", "8MiB exceeds half of journal_limit (10MiB)"),
    ],
)
def test_what_a_run_would_refuse_is_refused_here(override: str, message: str) -> None:
    found = errors_of(SMALL, override)
    assert any(message in error and f"--set {override}" in error for error in found)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stream.database_size=90KiB", "90KiB is too small: the mailboxes do not fit"),
        ("stream.message_size=200MiB", "256MiB is too small: a message of mean size does not"),
    ],
)
def test_what_the_small_store_would_refuse_is_refused_here(override: str, message: str) -> None:
    found = errors_of(SMALL, "stream.format=small", override)
    assert any(message in error and f"--set {override}" in error for error in found)


@pytest.mark.parametrize(
    "overrides",
    [
        ["link.loss=99%"],
        ["stream.messages=0.001/s"],
        ["stream.message_size=256B"],
        ["stream.format=small", "stream.database_size=160KiB", "stream.mailboxes=5"],
        ["stream.database_size=1600KiB"],
        ["stream.format=small", "stream.database_size=1600KiB"],
        ["stream.message_size=21MiB"],
        ["stream.format=small", "stream.message_size=128MiB"],
        ["protection.spool_limit=16MiB", "protection.journal_limit=32MiB"],
        ["protection.segment_size=512KiB", "protection.batch_size=512KiB"],
    ],
)
def test_what_is_accepted_can_be_set_up(overrides: list[str]) -> None:
    from simulator.run import ScenarioRun

    run = ScenarioRun(load(SMALL, *overrides))
    run.world.clock.run_until(10**9)
    assert run.services.fatal is None, run.services.fatal
    run.world.close()


@pytest.mark.parametrize(
    ("text", "override", "remedy"),
    [
        (SMALL, "link.rt=60ms", "Write rtt instead."),
        (SMALL, "link.rtt=60", "Write for instance 60ms or 1h30m; the file wants it in quotes."),
        (SMALL, "faults.0.kind=outage", 'Write kind = "link_outage".'),
        (SMALL, "faults.1.host=nobody", "Write for host one of: source, replica."),
        (SMALL, "stream.mailboxes=0", "Write a number that is at least 1."),
        (SMALL, "stream.mailboxes=many", "Write a whole number, without quotes."),
        (SMALL, "name.x=1", "Set the whole of it: name=..."),
        (SMALL, "faults.9.at=1s", "Count from 0, as in faults.1."),
        (SMALL.replace('rtt = "60ms"', ""), "seed=1", 'Add to [link]: rtt = "60ms"'),
        (SMALL + "[link", "seed=1", "Correct the line: text stands in quotes"),
        (
            SMALL,
            "protection.spool_limit=1MiB",
            "Set protection.segment_size to at most 512KiB, or protection.spool_limit to at least "
            "16MiB.",
        ),
        (SMALL, 'stream={kind="trace", path="no.csv"}', "Write the trace's name as seen from"),
    ],
)
def test_remedies_are_those_of_the_error(text: str, override: str, remedy: str) -> None:
    with pytest.raises(sc.BadScenario) as raised:
        sc.parse_scenario(text, [override], origin="small.toml")
    assert raised.value.remedy.startswith(remedy)


def test_many_errors_share_a_remedy_that_says_where_to_look() -> None:
    with pytest.raises(sc.BadScenario) as raised:
        load("")
    assert "docs/scenarios.md" in raised.value.remedy


FAULT = '[[faults]]\nkind = "{kind}"\nat = "1m"\n{keys}\n'


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        ("disk_full", 'host = "replica"\nduration = "1s"\nvolume = "spool"', "no spool, the"),
        ("disk_slow", 'host = "source"\nduration = "1s"\nvolume = "journal"', "no journal"),
        ("misdirected_write", 'host = "source"\nvolume = "journal"', "no journal, the replica"),
        ("bit_rot", 'host = "source"\nwhere = "home"', "the source has no home, the replica"),
        ("bit_rot", 'host = "replica"\nwhere = "spool"', "the replica has no spool"),
        (
            "disk_full",
            'host = "replica"\nduration = "1s"\nfree = "1TB"',
            "1TB of free room is all of replica.disk (300GB), or more",
        ),
        ("link_loss", 'loss = "100%"\nduration = "1s"', "no packet ever arrives"),
        ("clock_jump", 'host = "source"\nby = "0s"', "jumps by nothing"),
        ("clock_jump", 'host = "source"\nby = "-90"', "has no unit"),
        ("replica_restored", 'age = "2m"', "2m before 1m there was no replica to copy"),
        ("disk_slow", 'host = "source"\nduration = "1s"\nfactor = 1', "must be more than 1"),
        ("lost_flush", 'host = "source"', "faults.2.duration: this key is missing"),
    ],
)
def test_faults_that_contradict_themselves_are_refused(kind: str, keys: str, message: str) -> None:
    text = SMALL + FAULT.format(kind=kind, keys=keys)
    first = 1 + SMALL.count("\n")
    [error] = errors_of(text)
    assert message in error, error
    name, line = error.split(":")[:2]
    assert name == "small.toml" and first <= int(line) <= first + 6


def test_a_signed_duration_is_read_and_spelled() -> None:
    from simulator.scenario_keys import spell_signed_duration

    for spelled, seconds in (("-90s", -90), ("+1m30s", 90), ("1h", 3600)):
        text = SMALL + FAULT.format(kind="clock_jump", keys=f'host = "source"\nby = "{spelled}"')
        jump = load(text).faults[2]
        assert isinstance(jump, sc.ClockJump) and jump.by_ns == seconds * 10**9
    assert spell_signed_duration(-90 * 10**9) == "-1m30s"


# --- doubts -------------------------------------------------------------------------------


def warnings_of(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    path = tmp_path / "small.toml"
    path.write_text(text)
    _, found = sc.check_scenario(path, overrides)
    assert all(warning.remedy for warning in found)
    return [str(warning) for warning in found]


@pytest.mark.parametrize("path", [QUICKSTART, TRACE, EXCHANGE], ids=lambda path: path.stem)
def test_our_own_scenarios_raise_no_doubts(path: Path) -> None:
    assert sc.check_scenario(path)[1] == []


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["protection.heartbeat=59ms"], "59ms is shorter than the link's round trip (60ms): the"),
        (["protection.heartbeat=10ms"], "after 50ms of silence a connection is given up"),
        (["protection.heartbeat=60ms"], ""),
        (["link.jitter=1s"], "1s is shorter than the link's round trip (2.06s)"),
        (["link.bandwidth=1Mbit/s"], "the link carries 1 Mbit/s on average, the stream brings"),
        (["link.bandwidth=1Mbit/s", "stream.compressible=95%"], ""),
        (["link.loss=30%"], "one TCP stream on this link carries"),
        (
            ["stream.format=small", "stream.message_size=300B", "stream.database_size=3MiB"],
            "will be full before the end",
        ),
    ],
)
def test_doubts(tmp_path: Path, overrides: list[str], says: str) -> None:
    found = warnings_of(tmp_path, SMALL, *overrides)
    assert [bool(says)] == [bool(found)], found
    assert all(says in warning and "--set" in warning for warning in found)


CRASH = '[[faults]]\nkind = "process_crash"\nhost = "{host}"\nat = "{at}"\n'


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (CRASH.format(host="replica", at="5m44s"), "the process crash cannot happen"),
        (CRASH.format(host="replica", at="5m45s"), ""),
        (CRASH.format(host="replica", at="4m59s"), "faults.1.at: at 5m the replica is down until"),
        (CRASH.format(host="source", at="5m10s"), ""),
        (CRASH.format(host="replica", at="5m10s").replace("process_crash", "loss"), "no process"),
        (
            CRASH.format(host="replica", at="5m10s").replace("process_crash", "power_loss"),
            "the power loss cannot happen, and the run will be inconclusive",
        ),
        (
            CRASH.format(host="replica", at="5m10s").replace("process_crash", "pause")
            + 'duration = "1s"\n',
            "the pause cannot happen",
        ),
        (
            CRASH.format(host="replica", at="5m10s").replace("process_crash", "slow_processor")
            + 'duration = "1s"\n',
            "the slow processor cannot happen",
        ),
        (
            '[[faults]]\nkind = "replica_restored"\nat = "7m"\nage = "1m"\n'
            + CRASH.format(host="replica", at="7m44s"),
            "at 7m44s the replica is down until 7m45s",
        ),
        (
            CRASH.format(host="source", at="1m")
            + CRASH.format(host="source", at="1m30s").replace("process_crash", "power_loss")
            + CRASH.format(host="source", at="2m14s"),
            "at 2m14s the source is down until 2m15s",  # the power loss has put the restart off
        ),
    ],
)
def test_faults_of_a_host_that_is_down_are_doubted(tmp_path: Path, more: str, says: str) -> None:
    found = warnings_of(tmp_path, SMALL + more, "source.disk.sector=8192")
    assert bool(says) == bool(found), found
    assert not says or says in found[-1]


def test_a_power_loss_that_waits_for_its_moment_is_not_doubted(tmp_path: Path) -> None:
    text = SMALL + 'when = "apply"\n' + CRASH.format(host="replica", at="5m10s")
    assert warnings_of(tmp_path, text) == []
    text = SMALL + 'restart = "5s"\n' + CRASH.format(host="replica", at="5m10s")
    assert warnings_of(tmp_path, text) == []


def test_the_schedule_counts_into_the_average(tmp_path: Path) -> None:
    entry = '{from = "00:00", to = "00:05", bandwidth = "100kbit/s"}'
    half = f"link.schedule=[{entry}]"
    [warning] = warnings_of(tmp_path, SMALL, half, "link.bandwidth=1Mbit/s")
    assert "carries 550 kbit/s on average" in warning
    assert warnings_of(tmp_path, SMALL, half) == []


def test_a_trace_faster_than_its_link_is_doubted(tmp_path: Path) -> None:
    found = sc.check_scenario(TRACE, ["link.bandwidth=200kbit/s"])[1]
    assert "the link carries 200 kbit/s on average, the stream brings about" in str(found[0])
    assert sc.check_scenario(TRACE, ["stream.speed=20"])[1]


def test_the_mean_of_a_load_is_that_of_its_messages() -> None:
    from random import Random

    from simulator.exchange.ledger import Ledger
    from simulator.exchange.load import LoadConfig, MailLoad
    from simulator.scenario_checks import mean_message_bytes

    for largest in (60_000, 4 << 20):
        config = LoadConfig(1, message_size_bytes=48_000, largest_bytes=largest)
        load_ = MailLoad(config, Ledger(), Random(1).random)
        sizes = [load_._size_bytes() for _ in range(20_000)]
        assert mean_message_bytes(config) == pytest.approx(sum(sizes) / len(sizes), rel=0.03)


# --- places of keys -----------------------------------------------------------------------


def test_the_locator_knows_every_form_of_key() -> None:
    text = (
        "top = 1 # [not.a.table]\n"
        "a.'b c'.\"d\" = '''\n[x]\n'''\n"
        "[t.u]\n"
        'k = "]#" \n'
        "list = [\n  1, # one\n  {x = 2, y = [\n3]},\n]\n"
        "[[f]]\n"
        "at = 1\n"
        "[f.sub]\n"
        "z = 2\n"
        "[[f]]\n"
        'at = """\nz = 1"""\n'
        "[f.sub]\n"
        "z = 3\n"
    )
    tomllib.loads(text)
    lines = locate(text)
    assert lines[("top",)] == 1
    assert lines[("a", "b c", "d")] == 2
    assert lines[("t", "u")] == 5
    assert lines[("t", "u", "k")] == 6
    assert lines[("t", "u", "list", 1)] == 9
    assert lines[("t", "u", "list", 1, "y", 0)] == 10
    assert lines[("f", 0, "at")] == 13
    assert lines[("f", 0, "sub", "z")] == 15
    assert lines[("f", 1)] == 16
    assert lines[("f", 1, "sub", "z")] == 20
    assert line_of(lines, ("f", 1, "sub", "q")) == 19
    assert line_of(lines, ("q",)) == 1


def paths_of(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    found: list[tuple[str | int, ...]] = []
    for part, value in items:
        found.append((*path, part))
        if isinstance(value, dict | list):
            found += paths_of(value, (*path, part))
    return found


@pytest.mark.parametrize("path", [QUICKSTART, TRACE, EXCHANGE], ids=lambda path: path.stem)
def test_the_locator_finds_exactly_the_parsed_paths(path: Path) -> None:
    text = path.read_text()
    lines = locate(text)
    assert set(lines) == set(paths_of(tomllib.loads(text)))
    for key_path, line in lines.items():
        if isinstance(key_path[-1], str):
            assert key_path[-1] in text.splitlines()[line - 1]


# --- any bytes at all ---------------------------------------------------------------------

FRAGMENTS = st.one_of(
    st.sampled_from(['"', "'''", "[", "]]", "{", "}", "=", "\n", "\\", "#", ".a", "\0", "é"]),
    st.sampled_from(["-1", "nan", "1e999", "0xfff", "true", "07:32:00", "1979-05-27"]),
    st.sampled_from(["[[faults]]\n", "[link]\n", 'kind = "loss"\n']),
)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(QUICKSTART.read_bytes())),
            st.integers(0, 12),
            FRAGMENTS.map(str.encode) | st.binary(max_size=4),
        ),
        max_size=6,
    )
)
def test_any_mutation_loads_or_is_bad_input(changes: list[tuple[int, int, bytes]]) -> None:
    content = QUICKSTART.read_bytes()
    for offset, removed, inserted in changes:
        content = content[:offset] + inserted + content[offset + removed :]
    try:
        sc.parse_scenario(content, origin="fuzz.toml", check_files=False)
    except sc.BadScenario as refusal:
        assert refusal.errors
        for error in refusal.errors:
            assert error.path == "fuzz.toml"
            assert 1 <= (error.line or 0) <= content.count(b"\n") + 1
            assert "Traceback" not in str(error)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(sorted({dotted for dotted in map(str, paths_of(tomllib.loads(SMALL)))}))


@given(KEYS, st.text(max_size=20) | VALUES.map(str))
def test_any_override_is_taken_or_is_bad_input(key: str, value: str) -> None:
    name = ".".join(re.findall(r"\w+", key))
    try:
        load(SMALL, f"{name}={value}")
    except sc.BadScenario as refusal:
        assert refusal.errors


# --- schema and reference -----------------------------------------------------------------


def schema_errors(node: dict[str, Any], value: Any, root: dict[str, Any]) -> list[str]:
    """A validator for the few words of JSON Schema that ours uses."""
    if "$ref" in node:
        return schema_errors(root["$defs"][node["$ref"].split("/")[-1]], value, root)
    if "oneOf" in node:
        return schema_errors({"$ref": node["discriminator"]["mapping"][value["kind"]]}, value, root)
    if "anyOf" in node:
        tries = [schema_errors(choice, value, root) for choice in node["anyOf"]]
        return [] if [] in tries else tries[0]
    found = []
    python_types = {"string": str, "integer": int, "number": int | float, "array": list}
    if not isinstance(value, python_types.get(node.get("type", ""), object)):
        return [f"{value} is no {node['type']}"]
    if "const" in node and value != node["const"]:
        found.append(f"{value} is not {node['const']}")
    if "enum" in node and value not in node["enum"]:
        found.append(f"{value} is not among {node['enum']}")
    if "pattern" in node and not re.fullmatch(node["pattern"], value):
        found.append(f"{value} does not match {node['pattern']}")
    if node.get("type") == "array":
        for element in value:
            found += schema_errors(node["items"], element, root)
    if node.get("type") == "object" and node["additionalProperties"] is not True:
        assert node["additionalProperties"] is False
        found += [f"{name} is missing" for name in node.get("required", []) if name not in value]
        for name, inner in value.items():
            if name not in node["properties"]:
                found.append(f"{name} is unknown")
            else:
                found += schema_errors(node["properties"][name], inner, root)
    return found


@pytest.mark.parametrize("path", [QUICKSTART, TRACE, EXCHANGE], ids=lambda path: path.stem)
def test_the_schema_accepts_the_scenarios(path: Path) -> None:
    schema = sc.scenario_json_schema()
    assert schema_errors(schema, tomllib.loads(path.read_text()), schema) == []


def test_the_schema_refuses_what_the_check_refuses() -> None:
    schema = sc.scenario_json_schema()
    for old, new in (("rtt", "rtl"), ("60ms", "60"), ("replica", "replcia"), ("2/s", "2Hz")):
        document = tomllib.loads(SMALL.replace(f'"{old}"', f'"{new}"').replace("rtt =", f"{new} ="))
        assert schema_errors(schema, document, schema), (old, new)


def test_each_key_of_the_schema_is_explained_and_its_default_is_valid() -> None:
    schema = sc.scenario_json_schema()
    for table in (schema, *schema["$defs"].values()):
        for name, node in table["properties"].items():
            assert node["description"].endswith("."), name
            if "default" in node:
                assert schema_errors(node, node["default"], schema) == [], name


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "scenarios.md").read_text()
    assert page == sc.scenario_reference_markdown(), (
        "renew it: .venv/bin/python -m simulator.scenario_reference > docs/scenarios.md"
    )
