"""Plan files: JSON beside TOML, laid over a scenario by ``--plan``, written by ``draw``."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign.job import plan_number
from simulator.plans.draw import draw_plan, space_of
from simulator.plans.json_document import locate_json
from simulator.plans.plan import BadPlan, load_plan, parse_plan, plan_json, plan_json_schema
from simulator.scenario import load_scenario
from tests.campaign.commands import ROOT, TINY, run
from tests.campaign.commands import SCENARIO as SCENARIO_FILE
from tests.campaign.test_plans import SCENARIO, SPACE
from tests.test_scenario import schema_errors

PLAN = """{
  "format": 1,
  "faults": [
    {
      "kind": "pause",
      "at": "1s",
      "host": "source",
      "duration": "100ms"
    }
  ]
}
"""


@given(st.text(max_size=20))
def test_a_plan_comes_back_from_its_json_and_fits_the_schema(name: str) -> None:
    plan = draw_plan(name, SPACE)
    text = plan_json(plan)
    assert parse_plan(text, SCENARIO) == plan
    assert parse_plan(text.encode(), SCENARIO) == plan
    schema = plan_json_schema()
    assert schema_errors(schema, json.loads(text), schema) == []


def test_the_schema_of_plans_is_printed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """To renew it: ``simulator schema --plan > docs/fault-plan.schema.json``."""
    printed = run(capsys, "schema", "--plan").out
    assert printed == (ROOT / "docs/fault-plan.schema.json").read_text()
    assert run(capsys, "schema", "--plan", "--result").code == 64


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (('"source"', '"backup"'), 7, r"faults\.0\.host: 'backup'"),
        (('"pause"', '"meteor"'), 5, "meteor"),
        (('"1s"', '"9s"'), 6, "after the end of the scenario"),
        (('"1s"', '"1"'), 6, "no unit"),
        (('"1s"', "1"), 6, r"faults\.0\.at"),
        (('"format": 1', '"format": 2'), 2, "format"),
        (('"format": 1', '"format": "1"'), 2, "is text, and a number is wanted"),
        (('"host"', '"more": 1,\n"host"'), 7, "more"),
        (('"source",', '"source"'), 8, "column 7: not JSON"),
        (('"duration"', '"at": "2s",\n"duration"'), 8, "'at' stands twice"),
        (('"100ms"', "NaN"), 8, "NaN is no number"),
        (('"1s"', '"a NaN and \\"Infinity", "more": -Infinity'), 6, "-Infinity is no number"),
        (('"100ms"', "9" * 5000), 8, "not JSON"),
        (("}\n  ]\n}\n", ""), 9, "not JSON"),
    ],
)
def test_a_wrong_json_plan_is_refused_with_its_place(
    tmp_path: Path, change: tuple[str, str], line: int, words: str
) -> None:
    path = tmp_path / "plan.json"
    assert change[0] in PLAN
    path.write_text(PLAN.replace(*change))
    with pytest.raises(BadPlan, match=words) as caught:
        load_plan(path, SCENARIO)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert caught.value.remedy
    path.write_text(PLAN)
    assert load_plan(path, SCENARIO).faults[0].at_ns == 1_000_000_000


def test_deep_nesting_and_foreign_bytes_are_refused() -> None:
    for content in (b'{"a":' + b"[" * 100_000, b'{"a": "\xff"}', b"{}", b"{" * 50):
        with pytest.raises(BadPlan):
            parse_plan(content, SCENARIO)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=12,
    ).map(lambda value: {"top": value})
)
def test_each_key_of_a_json_text_has_its_line(document: dict[str, object]) -> None:
    text = json.dumps(document, indent=1)
    lines = text.splitlines()
    found = locate_json(text)
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        inner = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        for key, each in inner:
            here = (*path, key)
            if isinstance(key, str):
                assert json.dumps(key) in lines[found[here] - 1]
            waiting.append((here, each))
    assert set(found.values()) <= set(range(1, len(lines) + 1))


# -- on the command line -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_drawn_plan_is_run_as_the_campaign_runs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    database, plan, result = tmp_path / "r.db", tmp_path / f"plan.{suffix}", tmp_path / "r.json"
    run(capsys, "campaign", TINY, "--plans", 3, "--seed", 5, "--workers", 1, "--results", database)
    drawn = run(capsys, "draw", TINY, "--number", 2, "--seed", 5, "--output", plan)
    assert drawn.code == 0
    text = plan.read_text()
    assert (json if suffix == "json" else tomllib).loads(text)["name"] == "campaign 5 plan 2"
    checked = run(capsys, "check", TINY, "--plan", plan)
    assert checked.code == 0 and " fault" in checked.out
    ended = run(capsys, "run", TINY, "--plan", plan, "--json", result)
    assert ended.code in (0, 2)
    from simulator.campaign.results import Results

    results = Results(database)
    outcome = results.outcome(2)
    results.close()
    assert outcome is not None
    assert json.loads(result.read_text())["trace_hash"] == outcome.trace_hash
    again = run(capsys, "draw", TINY, "--number", 2, "--results", database)
    if suffix == "toml":
        assert again.out == text


def test_results_of_another_campaign_draw_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.db"
    ended = run(capsys, "campaign", TINY, "--for", "0s", "--seed", 5, "--results", path)
    assert ended.code == 2
    drawn = run(capsys, "draw", TINY, "--number", 3, "--results", path)
    assert drawn.out == run(capsys, "draw", TINY, "--number", 3, "--seed", 5).out
    again = run(capsys, "draw", TINY, "--number", 3, "--seed", 5, "--results", path)
    assert (again.code, again.out) == (0, drawn.out)
    asked = ("--number", 3, "--results", path)
    refused = run(capsys, "draw", TINY, "--seed", 4, *asked)
    assert (refused.code, refused.out) == (64, "")
    assert f"error: --seed 4: the campaign of {path} has seed 5" in refused.errors
    for arguments in ((ROOT / "scenarios/campaign.toml",), (TINY, "--set", "link.rtt=99ms")):
        refused = run(capsys, "draw", *arguments, *asked)
        assert (refused.code, refused.out) == (64, "")
        assert f"error: {path}: it holds the results of another scenario" in refused.errors
        assert str(arguments[0]) in refused.errors and "what to do:" in refused.errors


@pytest.mark.parametrize("name", ["d3.yaml", "d3", "d3.toml.txt"])
def test_a_drawn_plan_is_toml_or_json_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    refused = run(capsys, "draw", TINY, "--number", 3, "--output", path)
    assert refused.code == 64 and "ends with .toml or .json" in refused.errors
    assert "what to do:" in refused.errors and not path.exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", '{"format": true}', ":1: format: is no whole number"),
        ("p.json", '{"format": 1.0}', ":1: format: is no whole number"),
        ("p.toml", "format = true\n", ":1: format: is no whole number"),
        ("p.json", '[[{"format": 1}]]', ":1: a list stands here"),
        ("p.json", "[[", ":1: column 3: not JSON"),
        ("p.toml", "[[", ":1: column 3: not TOML"),
    ],
)
def test_what_is_no_plan_is_told_in_the_words_of_its_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    refused = run(capsys, "check", TINY, "--plan", path)
    assert refused.code == 64 and f"{path}{said}" in refused.errors
    assert "what to do:" in refused.errors


def test_a_pipe_with_a_name_is_not_waited_for_and_a_shell_s_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "plan.json"
    os.mkfifo(pipe)
    refused = run(capsys, "check", TINY, "--plan", pipe)
    assert refused.code == 64 and f"{pipe}: is a pipe, not a file" in refused.errors
    assert "what to do: Name a fault plan file" in refused.errors
    reading, writing = os.pipe()
    os.write(writing, plan_json(plan_number(1, 3, space_of(load_scenario(TINY)))).encode())
    os.close(writing)
    checked = run(capsys, "check", TINY, "--plan", f"/dev/fd/{reading}")
    os.close(reading)
    assert checked.code == 0, checked.errors


def test_a_harsh_campaign_s_plan_is_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "harsh.db"
    ended = run(capsys, "campaign", TINY, "--harsh", "--plans", 4, "--results", database)
    assert ended.code in (0, 2), ended.errors
    kept = [run(capsys, "draw", TINY, "--number", n, "--results", database) for n in range(4)]
    asked = [run(capsys, "draw", TINY, "--number", n, "--harsh") for n in range(4)]
    plain = [run(capsys, "draw", TINY, "--number", n) for n in range(4)]
    assert [each.out for each in kept] == [each.out for each in asked]
    assert [each.out for each in kept] != [each.out for each in plain]
    for arguments in (("--harsh", "--enumerate", 1), ("--harsh", "--results", database)):
        refused = run(capsys, "draw", TINY, "--number", 1, *arguments)
        assert refused.code == 64 and "Leave --harsh" in refused.errors
    shipped = ROOT / "scenarios/campaign_log_shipping.toml"
    refused = run(capsys, "campaign", shipped, "--plans", 1, "--harsh")
    assert refused.code == 64 and "judged under none of the faults" in refused.errors


def test_what_cannot_be_run_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('format = 1\n[[faults]]\nkind = "pause"\nat = "1s"\nhost = "third"\n')
    for command in ("run", "check"):
        refused = run(capsys, command, SCENARIO_FILE, "--plan", plan)
        assert refused.code == 64
        assert f"{plan}:5: faults.0.host: 'third' is not known" in refused.errors
    plan.write_text('format = 1\n[[faults]]\nkind = "flood"\nat = "1s"\n')
    refused = run(capsys, "run", SCENARIO_FILE, "--plan", plan)
    assert (refused.code, f"{plan}:3: faults.0.kind" in refused.errors) == (64, True)
    refused = run(capsys, "run", SCENARIO_FILE, "--plan", tmp_path / "none.toml")
    assert refused.code == 64 and "none.toml" in refused.errors
    plan.write_text(PLAN)
    refused = run(capsys, "run", SCENARIO_FILE, "--plan", plan, "--json", plan)
    assert refused.code == 64 and "overwrite the fault plan" in refused.errors
    assert plan.read_text() == PLAN


def test_a_live_run_refuses_a_plan_that_it_cannot_carry_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'format = 1\n[[faults]]\nkind = "link_reset"\nat = "1s"\n\n[[faults]]\n'
        'kind = "clock_jump"\nat = "1s"\nhost = "source"\nby = "1h"\n'
    )
    refused = run(capsys, "run", SCENARIO_FILE, "--plan", plan, "--world", "live")
    assert refused.code == 64
    assert f"{plan}:7: faults.1.kind: a live run cannot do this: no clock was set" in refused.errors
    assert "faults.0" not in refused.errors


def test_a_number_beyond_an_enumeration_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    refused = run(capsys, "draw", TINY, "--number", 999_999, "--enumerate", 1)
    assert refused.code == 64 and "there are only 257 plans" in refused.errors
    shown = run(capsys, "draw", TINY, "--number", 256, "--enumerate", 1)
    assert 'kind = "loss"' in shown.out
