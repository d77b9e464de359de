"""Files of results: those of other releases, in use, damaged; and commands cut off."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from replicator.errors import BadInput
from replicator.toml_writer import toml_text
from simulator.campaign.failures import check_failures
from simulator.campaign.results import (
    RESULTS_FORMAT,
    CampaignKey,
    Results,
    ResultsFailed,
    space_from_json,
)
from simulator.measures import Verdict
from simulator.plans.budget import Budget
from simulator.plans.draw import draw_plan, space_of
from tests.campaign.commands import TINY, run
from tests.campaign.test_cli_campaign import ENVIRONMENT
from tests.campaign.test_comparison import KEY, SMALL, outcome, written

OLD = (
    "CREATE TABLE campaign (key TEXT, release TEXT)",
    "CREATE TABLE plans (number INTEGER PRIMARY KEY, verdict, reasons, trace_hash, plan)",
    """INSERT INTO campaign VALUES ('{"format": 1, "scenario": "campaign"}', '0.1')""",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as format 1 had it."""
    with sqlite3.connect(tmp_path / "old.db") as db:
        for statement in OLD:
            db.execute(statement)
    return tmp_path / "old.db"


def test_a_file_of_an_older_format_is_refused_with_a_way_out(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = old.read_bytes()
    for arguments in (
        ("coverage", old),
        ("compare", old, old),
        ("replay", old, "--number", 1),
        ("draw", TINY, "--number", 1, "--results", old),
        ("campaign", TINY, "--plans", 2, "--resume", "--results", old),
    ):
        refused = run(capsys, *arguments)
        assert refused.code == 64
        assert f"results are of format 1, this release reads and writes {RESULTS_FORMAT}" in (
            refused.errors
        )
        assert "what to do:" in refused.errors
    assert old.read_bytes() == before


def test_a_file_that_lacks_columns_or_is_of_something_else_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "r.db", [1.0])
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE plans DROP COLUMN covered")
    with pytest.raises(BadInput, match="of format"):
        Results(path)
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE songs (title)")
    with pytest.raises(BadInput, match="something else"):
        Results(tmp_path / "other.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(BadInput, match="no results"):
        Results(tmp_path / "empty.db")


def test_another_protocol_hides_the_coverage_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "r.db", [1.0, 2.0])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE campaign SET transitions = '[]'")
    results = Results(path)
    assert len(results.frame()) == 2
    with pytest.raises(BadInput, match="another protocol"):
        results.coverage()
    results.close()
    with pytest.raises(BadInput, match="another protocol"):
        Results(path, KEY, resume=True)


def test_one_campaign_at_a_time_writes_and_anybody_reads(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    first = Results(path, KEY)
    program = (
        "from pathlib import Path\n"
        "from simulator.campaign.results import Results\n"
        f"results = Results(Path({str(path)!r}))\n"
        "print(len(results.numbers()))\n"
    )
    first.add([outcome(0)])
    reader = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert reader.stdout == "1\n"
    with pytest.raises(BadInput, match="another campaign is writing"):
        Results(path, KEY, resume=True)
    first.add([outcome(1)])
    first.close()
    again = Results(path, KEY, resume=True)
    assert again.numbers() == {0, 1}
    again.close()


def test_a_full_volume_keeps_what_was_there_and_says_what_to_do(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.db", KEY)
    results.add([outcome(0)])
    [pages] = results._db.execute("PRAGMA page_count").fetchone()
    results._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ResultsFailed, match="full") as caught:
        results.add(outcome(number, reasons=("x" * 1000,)) for number in range(1, 50))
    assert "--resume" in str(caught.value.remedy)
    assert caught.value.exit_code == 64
    with pytest.raises(ResultsFailed):
        results.keep_round(2, {"x" * 9000: 1.0})
    results.close()
    again = Results(tmp_path / "r.db", KEY, resume=True)
    assert again.numbers() == {0}
    again.close()


def test_a_space_comes_back_from_its_file_with_the_order_of_its_weights() -> None:
    from dataclasses import replace

    from simulator.plans.enumeration import Enumeration

    space = replace(KEY.space, budget=Budget(repair="5s", weakest="holds"))
    for each in (KEY.space, space, Enumeration(10**9, 2, 3, Budget())):
        document = json.loads(replace(KEY, space=each).to_json())["space"]
        assert space_from_json(document) == each
    for number in range(20):
        found = space_from_json(json.loads(replace(KEY, space=space).to_json())["space"])
        assert draw_plan(str(number), found) == draw_plan(str(number), space)


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_a_full_or_closed_standard_output_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "r.db", [1.0, 2.0])
    for arguments in (("coverage", path, "--json", "-"), ("compare", path, path, "--json", "-")):
        words = [sys.executable, "-m", "simulator.cli", *map(str, arguments)]
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                words, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 64
        assert "standard output cannot be written" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("made", [1, 2])
def test_a_campaign_that_was_killed_while_it_made_its_file_begins_anew(
    tmp_path: Path, made: int
) -> None:
    Results(tmp_path / "whole.db", KEY).close()
    with sqlite3.connect(tmp_path / "whole.db") as db:
        statements = [row[0] for row in db.execute("SELECT sql FROM sqlite_master ORDER BY rowid")]
    assert len(statements) == 3
    with sqlite3.connect(tmp_path / "cut.db") as db:
        for statement in statements[:made]:
            db.execute(statement)
    with pytest.raises(BadInput):
        Results(tmp_path / "cut.db")  # who only reads does not mend
    results = Results(tmp_path / "cut.db", KEY)
    results.add([outcome(0)])
    assert results.numbers() == {0} and results.rounds() == {}
    results.close()


# -- what no campaign has written ------------------------------------------------------------

READERS = ("coverage", "replay", "compare", "campaign")
DAMAGES = {
    "reasons = 'xx'": ("replay", "compare", "campaign"),
    "reasons = '[1]'": ("replay", "compare", "campaign"),
    "kinds = x'ff'": ("replay", "compare", "campaign"),
    "kinds = CAST(x'ff' AS TEXT)": ("replay", "compare", "campaign"),
    "covered = 'xx'": ("coverage", "replay", "campaign"),
    "covered = 'none:-1'": ("coverage", "replay", "campaign"),
    "marks = NULL": READERS,
    "trace_hash = NULL": READERS,
    "rpo_seconds = 'abc'": ("replay", "compare", "campaign"),
    "lag_peak_seconds = 1e999": ("replay", "compare", "campaign"),
    "operations = -1": ("replay", "compare", "campaign"),
    "repeated = 2": ("replay", "compare", "campaign"),
    "verdict = 'bogus'": ("replay", "compare", "campaign"),
    "plan = NULL": ("replay", "compare", "campaign"),
    "number = -1": READERS[:1] + READERS[2:],
}


def changed(path: Path, statement: str) -> Path:
    with sqlite3.connect(path) as db:
        db.execute(statement)
    return path


def reading(command: str, path: Path) -> tuple[object, ...]:
    return {
        "coverage": ("coverage", path),
        "replay": ("replay", path, "--number", 3),
        "compare": ("compare", path, path),
        "campaign": ("campaign", TINY, "--plans", 5, "--resume", "--results", path),
    }[command]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cell_that_no_campaign_writes_is_told_with_file_and_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    lags = dict.fromkeys(range(5), 1.0)
    path = changed(
        written(tmp_path / "r.db", lags, whole_key()),
        f"UPDATE plans SET {damage} WHERE number = 3",
    )
    before = path.read_bytes()
    for command in DAMAGES[damage]:
        refused = run(capsys, *reading(command, path))
        assert refused.code == 64, (command, refused.errors)
        assert str(path) in refused.errors
        if "CAST" not in damage:  # SQLite itself refuses the text, and does not say where
            number = -1 if "number" in damage else 3
            assert f"the row of plan {number} is damaged: column {damage.split()[0]}" in (
                refused.errors
            )
            assert f"DELETE FROM plans WHERE number = {number})" in refused.errors
        assert "what to do:" in refused.errors
    assert path.read_bytes() == before


def whole_key() -> CampaignKey:
    """As the command makes it."""
    loaded = SMALL.model_copy(update={"faults": ()})
    return CampaignKey(loaded.name, toml_text(loaded), 1, space_of(loaded))


def test_a_row_that_holds_next_to_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(
        written(tmp_path / "r.db", [1.0] * 5, whole_key()),
        "INSERT INTO plans (number, verdict) VALUES (100, 'pass')",
    )
    for command in ("coverage", "compare", "campaign"):
        refused = run(capsys, *reading(command, path))
        assert refused.code == 64 and "the row of plan 100 is damaged" in refused.errors


def test_a_plan_that_is_none_is_told_before_more_plans_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "r.db", [1.0] * 5, whole_key(), failing=(3,))
    refused = run(capsys, *reading("campaign", path))
    assert refused.code == 64
    assert f"error: {path}: the row of plan 3 is damaged: its plan cannot be read" in (
        refused.errors
    )
    good = Results(tmp_path / "good.db", KEY)
    good.add([outcome(0, verdict=Verdict.SAFETY, plan="format = 1")])
    check_failures(good, SMALL)
    good.close()


def test_plans_that_belong_to_no_campaign_are_not_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = changed(written(tmp_path / "r.db", [1.0] * 5, whole_key()), "DELETE FROM campaign")
    for arguments in (
        *(reading(each, path) for each in READERS),
        ("draw", TINY, "--number", 1, "--results", path),
    ):
        refused = run(capsys, *arguments)
        assert refused.code == 64 and str(path) in refused.errors
    assert "does not say of which campaign" in run(capsys, *reading("campaign", path)).errors


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE plans DROP COLUMN covered", "its table plans lacks what results of format"),
        ("ALTER TABLE campaign DROP COLUMN release", "its table campaign lacks"),
        ("DROP TABLE rounds", "have a table rounds"),
        ("UPDATE campaign SET key = 'xx'", "what it says of its campaign"),
        ("UPDATE campaign SET key = '[]'", "what it says of its campaign"),
        ("UPDATE campaign SET key = NULL", "what it says of its campaign"),
        ("UPDATE campaign SET key = replace(key, '\"seed\"', '\"sead\"')", "what it says of"),
        ("UPDATE campaign SET key = replace(key, 'name = ', 'name : ')", "what it says of"),
    ],
)
def test_a_file_that_is_not_whole_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str, said: str
) -> None:
    path = changed(written(tmp_path / "r.db", [1.0] * 5, whole_key()), statement)
    for command in READERS:
        refused = run(capsys, *reading(command, path))
        assert refused.code == 64
        assert f"error: {path}: it is damaged: " in refused.errors and said in refused.errors


def test_weights_of_a_round_that_are_none_are_told(tmp_path: Path) -> None:
    for text in ("xx", "[1]", '{"pause": "often"}'):
        path = written(tmp_path / "r.db", [1.0])
        changed(path, f"INSERT OR REPLACE INTO rounds VALUES (2, '{text}')")
        results = Results(path)
        with pytest.raises(BadInput, match="the weights of round 2"):
            results.rounds()
        results.close()
        path.unlink()


def test_a_file_cut_short_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "r.db", [1.0] * 500, whole_key())
    path.write_bytes(path.read_bytes()[:-8192] + bytes(8192))
    for command in ("compare", "campaign"):
        refused = run(capsys, *reading(command, path))
        assert refused.code == 64 and str(path) in refused.errors


def test_who_only_reads_is_not_told_to_name_a_new_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text("name = 'no results'\n" * 100)
    for command in READERS:
        refused = run(capsys, *reading(command, path))
        assert refused.code == 64 and "file is not a database" in refused.errors
        assert ("new" in refused.errors.partition("what to do:")[2]) is (command == "campaign")


def test_a_number_beyond_those_of_the_file_was_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "r.db", [1.0])
    for number in (99_999, 2**63 - 1, 2**63, 10**30):
        refused = run(capsys, "replay", path, "--number", number)
        assert refused.code == 64
        assert f"error: {path}: plan {number} was not run" in refused.errors
