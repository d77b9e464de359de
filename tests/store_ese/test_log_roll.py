"""A log that is not full is closed by the clock: copies of closed logs do not fall behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.ese.log_names import LogRole, parse_log_name
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.measures import RunResult, Verdict
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import Scenario, StoreStream, parse_scenario

CAMPAIGN = Path(__file__).parents[2] / "scenarios/campaign_log_shipping.toml"
QUIET = (
    "duration=60s",
    "stream.messages=0.1/s",
    "sample=1s",
    "settle=20s",
    "stream.circular=false",
)


def scenario(*overrides: str, faults: str = "") -> Scenario:
    text = CAMPAIGN.read_text(encoding="utf-8") + faults
    return parse_scenario(text, [*QUIET, *overrides])


def ran(made: Scenario) -> tuple[RunResult, list[int]]:
    """The result, and the generations that were closed at the source."""
    runs: list[ScenarioRun] = []
    result = run_scenario(made, at_end=runs.append)
    names = runs[0].system.source_machine.disks["data"].names.directory(runs[0].workload.root)
    found = (parse_log_name(name) for name in names.entries)
    closed = [each.generation for each in found if each and each.role is LogRole.CLOSED]
    return result, sorted(number for number in closed if number is not None)


@pytest.mark.parametrize(("version", "page_bytes"), [("2007", 8192), ("2010", 32768)])
def test_an_idle_store_closes_its_log_and_without_that_the_copy_falls_behind(
    version: str, page_bytes: int
) -> None:
    form = f"stream.format=exchange {version}"
    sectors = (f"{host}.disk.sector={page_bytes}" for host in ("source", "replica"))
    sizes = ("stream.log_size=256KiB", "stream.database_size=8MiB", *sectors)
    result, closed = ran(scenario("stream.log_roll=10s", form, *sizes))
    assert result.verdict is Verdict.PASS, result.reasons
    assert len(closed) >= 5
    assert 9 < max(result.samples.lag_seconds) < 12
    never, closed_then = ran(scenario("stream.log_roll=1h", form, *sizes))
    assert never.verdict is Verdict.PASS
    assert len(closed_then) <= len(closed) - 4
    assert max(never.samples.lag_seconds) > 40


def test_before_2007_a_log_is_open_until_it_is_full() -> None:
    periods = {
        version: StoreStream(kind="store", format=f"exchange {version}").store.log_roll_ns
        for version in ("2003", "2007", "2010")
    }
    quarter_ns = 15 * 60 * 10**9
    assert periods == {"2003": 0, "2007": quarter_ns, "2010": quarter_ns}


def test_no_time_is_negative() -> None:
    with pytest.raises(ValueError, match="no log is open for -1 ns"):
        EngineStoreConfig(log_roll_ns=-1)


@pytest.mark.parametrize("kind", ["process_crash", "power_loss"])
@pytest.mark.parametrize("after_ms", range(0, 80, 16))
def test_a_crash_while_the_clock_closes_a_log_loses_nothing(kind: str, after_ms: int) -> None:
    at_ms = 1_000 + after_ms
    fault = f'\n[[faults]]\nkind = "{kind}"\nhost = "source"\nat = "{at_ms}ms"\n'
    result, closed = ran(scenario("duration=4s", "stream.log_roll=1s", "sample=1s", faults=fault))
    assert result.verdict is Verdict.PASS, result.reasons
    assert closed
