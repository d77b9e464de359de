"""Two campaigns held against each other: pairs, intervals that tell the truth, refusals, pages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicator.errors import BadInput
from replicator.toml_writer import toml_text
from simulator.campaign.comparison import Comparison, compare_results
from simulator.campaign.job import PlanOutcome, plan_number, unfinished_outcome
from simulator.campaign.results import CampaignKey, Results
from simulator.measures import Verdict
from simulator.plans.draw import space_of
from simulator.scenario import load_scenario
from tests.campaign.commands import ROOT, TINY, run

SMALL = load_scenario(TINY)
KEY = CampaignKey("small", toml_text(SMALL), 1, space_of(SMALL))
EMPTY = unfinished_outcome(plan_number(1, 0, KEY.space), 0, "", 0.0)


def outcome(number: int, **values: Any) -> PlanOutcome:
    passed: dict[str, Any] = {"verdict": Verdict.PASS, "reasons": (), "trace_hash": "0", "plan": ""}
    return replace(EMPTY, number=number, **(passed | values))


def written(
    path: Path,
    lags: Mapping[int, float] | list[float],
    key: CampaignKey = KEY,
    failing: tuple[int, ...] = (),
) -> Path:
    """A file of results with these lags; the failing plans broke safety."""
    numbered = dict(enumerate(lags)) if isinstance(lags, list) else lags
    results = Results(path, key)
    results.add(
        outcome(
            number,
            lag_peak_seconds=float(lag),
            **({"verdict": Verdict.SAFETY, "plan": "x"} if number in failing else {}),
        )
        for number, lag in numbered.items()
    )
    results.close()
    return path


@contextmanager
def opened(*paths: Path) -> Iterator[list[Results]]:
    results = [Results(path) for path in paths]
    try:
        yield results
    finally:
        for each in results:
            each.close()


def compared(a: Path, b: Path, unpaired: bool = False) -> Comparison:
    with opened(a, b) as (first, second):
        return compare_results(first, second, unpaired)


def figure(found: Comparison, name: str, measure: str = "lag_peak_seconds") -> Any:
    [each] = [d for d in found.differences if (d.measure, d.figure) == (measure, name)]
    return each


def test_a_campaign_does_not_differ_from_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "a.db", [float(n % 17) for n in range(200)])
    found = compared(path, path)
    assert {each.words for each in found.differences if each.figure != "0.99"} == {"no difference"}
    assert found.failures.words == "no difference"
    assert not found.changes and not found.settings


def test_pairs_tell_a_small_shift_that_two_samples_cannot(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    lags = rng.exponential(10.0, 300)
    shifted = lags + 0.2 + 0.05 * rng.standard_normal(300)
    a = written(tmp_path / "a.db", list(lags))
    b = written(tmp_path / "b.db", list(shifted))
    paired, unpaired = compared(a, b), compared(a, b, unpaired=True)
    assert figure(paired, "mean").words == "b is larger"
    truth = float(np.mean(shifted - lags))
    assert figure(paired, "mean").low < truth < figure(paired, "mean").high
    assert figure(unpaired, "mean").words == "no difference can be told"
    # And the same files say the same twice.
    assert compared(a, b).differences == paired.differences
    assert paired.sides["lag_peak_seconds"].larger_in_b > 290


def test_intervals_hold_the_true_difference_about_as_often_as_they_say(tmp_path: Path) -> None:
    from simulator.campaign.comparison import _intervals

    rng = np.random.default_rng(11)
    held, trials = 0, 60
    for _ in range(trials):
        x = rng.exponential(1.0, 200)
        y = x + rng.normal(0.1, 0.5, 200)
        lows, highs = _intervals(x, y, True)
        held += lows[0] <= 0.1 <= highs[0]
    assert held >= 0.85 * trials


def test_of_few_runs_nothing_is_told(tmp_path: Path) -> None:
    a = written(tmp_path / "a.db", [1.0] * 15)
    b = written(tmp_path / "b.db", [2.0] * 15)
    found = compared(a, b)
    assert figure(found, "mean").words == figure(found, "0.95").words == "too few runs to tell"
    assert figure(found, "0.5").words == "b is larger"


def test_changes_of_verdict_and_whether_they_tell_anything(tmp_path: Path) -> None:
    a = written(tmp_path / "a.db", [1.0] * 60, failing=(3,))
    few = written(tmp_path / "few.db", [1.0] * 60, failing=(4, 5))
    many = written(tmp_path / "many.db", [1.0] * 60, failing=tuple(range(20, 32)))
    found = compared(a, few)
    assert [(c.number, c.a, c.b) for c in found.changes] == [
        (3, "safety", "pass"),
        (4, "pass", "safety"),
        (5, "pass", "safety"),
    ]
    assert found.failures.words == "no difference can be told"
    assert found.failures.chance == pytest.approx(1.0)  # 1 against 2 of a fair coin
    told = compared(a, many).failures
    assert (told.only_a, told.only_b, told.words) == (1, 12, "b fails more often")
    assert compared(many, a, unpaired=True).failures.words == "b fails less often"


def test_only_plans_that_both_ran_are_paired(tmp_path: Path) -> None:
    a = written(tmp_path / "a.db", {0: 1.0, 1: 2.0, 2: 3.0})
    b = written(tmp_path / "b.db", {1: 2.0, 2: 3.0, 7: 9.0})
    assert compared(a, b).plans == (2, 2)
    assert compared(a, b, unpaired=True).plans == (3, 3)
    c = written(tmp_path / "c.db", {9: 1.0})
    with pytest.raises(BadInput, match="no plan to compare") as refused:
        compared(a, c)
    assert refused.value.path == str(c) and f"with those of {a}" in str(refused.value)


def test_a_file_without_plans_is_the_one_that_is_named(tmp_path: Path) -> None:
    a, z = written(tmp_path / "a.db", [1.0]), written(tmp_path / "z.db", [])
    for first, second in ((a, z), (z, a), (z, z)):
        for unpaired in (False, True):
            with pytest.raises(BadInput, match="no plan to compare") as refused:
                compared(first, second, unpaired)
            assert refused.value.path == str(z)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(KEY, seed=2), r"seed \(1 and 2\)"),
        (replace(KEY, space=replace(KEY.space, most=2)), r"what is drawn from \(most\)"),
        (replace(KEY, steering=True), "steering"),
    ],
)
def test_other_plans_are_refused_unless_told(
    tmp_path: Path, other: CampaignKey, words: str
) -> None:
    a = written(tmp_path / "a.db", [1.0, 2.0])
    b = written(tmp_path / "b.db", [1.0, 2.0], other)
    with pytest.raises(BadInput, match=words) as caught:
        compared(a, b)
    assert "--unpaired" in str(caught.value.remedy)
    assert not compared(a, b, unpaired=True).paired


def test_rounds_that_were_steered_otherwise_are_refused(tmp_path: Path) -> None:
    key = replace(KEY, steering=True)
    paths = [written(tmp_path / f"{name}.db", [1.0, 2.0], key) for name in "ab"]
    for path, weight in zip(paths, (1, 2), strict=True):
        with sqlite3.connect(path) as db:
            db.execute("INSERT INTO rounds VALUES (2, ?)", (json.dumps({"pause": weight}),))
    with pytest.raises(BadInput, match="other weights"):
        compared(*paths)


def test_what_differs_between_the_scenarios_is_named(tmp_path: Path) -> None:
    from simulator.scenario import load_scenario

    other = load_scenario(TINY, ["link.rtt=60ms", "protection.compression=none"])
    key = replace(KEY, scenario_text=toml_text(other), mutant="sequence_check")
    a, b = written(tmp_path / "a.db", [1.0]), written(tmp_path / "b.db", [1.0], key)
    assert {each.key: (each.a, each.b) for each in compared(a, b).settings} == {
        "link.rtt": ("4ms", "60ms"),
        "protection.compression": (None, "none"),
        "mutant": (None, "sequence_check"),
    }


# -- on the command line -----------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same plans on two links."""
    directory = tmp_path_factory.mktemp("pair")
    from replicator.command_line import finish
    from simulator.cli import app

    for name, rtt in (("a", "4ms"), ("b", "200ms")):
        words = ["--plans", "25", "--workers", "1", "--results", str(directory / f"{name}.db")]
        arguments = ["campaign", str(TINY), *words, "--set", f"link.rtt={rtt}"]
        assert finish(app, "simulator", [*arguments, "--failures", str(directory / name)]) < 3
    return directory / "a.db", directory / "b.db"


@pytest.mark.full
def test_the_command_shows_draws_and_tells(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target, report = tmp_path / "c.json", tmp_path / "report"
    done = run(capsys, "compare", *pair, "--json", target, "--report", report)
    assert done.code == 0
    for words in ("link.rtt", "25 plans that both ran", "lag", "b is larger"):
        assert words in done.out
    document = json.loads(target.read_text())
    assert document["schema"] == "simulator-comparison/1"
    assert document["settings"] == [{"key": "link.rtt", "a": "4ms", "b": "200ms"}]
    page = (report / "compare.html").read_text()
    assert page.count("<svg") == 1 and "Share of plans that stay below" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    printed = run(capsys, "compare", *pair, "--json", "-")
    assert json.loads(printed.out) == document


def test_a_plan_of_a_file_is_replayed_bit_for_bit(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, "replay", pair[1], "--number", 3)
    assert "bit for bit" in done.out
    with sqlite3.connect(pair[1]) as db:
        db.execute("UPDATE plans SET trace_hash = 'other' WHERE number = 4")
    done = run(capsys, "replay", pair[1], "--number", 4)
    assert (done.code, "not as recorded" in done.out) == (2, True)
    for arguments, words in (
        ((pair[1], "--number", 999), "plan 999 was not run"),
        ((pair[1],), "--number N"),
        ((pair[1].with_name("none.db"), "--number", 1), "no such file"),
    ):
        refused = run(capsys, "replay", *arguments)
        assert refused.code == 64 and words in refused.errors


@pytest.mark.parametrize("name", ["campaign", "coverage", "comparison"])
def test_the_schemas_are_printed_and_kept(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """To renew one: ``simulator schema --campaign > docs/campaign.schema.json``."""
    printed = run(capsys, "schema", f"--{name}").out
    assert printed == (ROOT / f"docs/{name}.schema.json").read_text()
