"""A process dies right after it has made the spool's directories, before they are durable.

The next one finds them.  It has to make them durable all the same: what it promises lies there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.source_place import SourcePlace
from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import load_scenario

PLAN = (
    Path(__file__).resolve().parents[1]
    / "crash/regressions/plan-directories-of-a-dead-process.toml"
)


def test_the_next_process_makes_them_durable() -> None:
    result = run_scenario(load_scenario(PLAN))
    assert result.verdict is Verdict.PASS, result.reasons
    assert [mark.kind for mark in result.faults] == ["process_crash", "power_loss"]


def test_without_that_a_power_loss_takes_the_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    async def only_what_is_missing(place: SourcePlace) -> None:
        for where, path in (
            (place.volume, place.root),
            (place.spool_volume, "/spool"),
            (place.spool_volume, "/spool/segments"),
        ):
            if not where.exists(path):
                where.mkdir(path)
                await where.sync_directory(path.rpartition("/")[0] or "/")

    monkeypatch.setattr(SourcePlace, "prepare", only_what_is_missing)
    result = run_scenario(load_scenario(PLAN))
    assert result.verdict is Verdict.SAFETY, result.reasons
