"""``replicator journal inspect``: figures, words, listings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replicator.offline_report import INSPECT_SCHEMA
from tests.offline.test_verify import committed, fingerprint, flip, segments
from tests.tools.materialize import Bench
from tests.tools.small_logs import EPOCH, OPERATIONS, small_journal, small_spool, write_files

DOCUMENT = Path(__file__).parents[2] / "docs" / "journal.md"


def inspect(replicator, capsys, directory, *options) -> dict:
    assert replicator("journal", "inspect", directory, "--json", "-", *options) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == INSPECT_SCHEMA
    return document


def test_the_spool_of_a_run(spool, replicator, capsys):
    before = fingerprint(spool)
    document = inspect(replicator, capsys, spool, "--operations")
    assert fingerprint(spool) == before
    [log] = document["logs"]
    [held] = log["operations"]
    rows = document["operation_list"]
    assert [row["operation"] for row in rows] == list(range(held["first"], held["last"] + 1))
    assert all(row["path"] for row in rows)
    assert sum(s["records"]["operation"] for s in log["segment_list"]) == len(rows)
    assert all(s["used_bytes"] <= s["file_bytes"] for s in log["segment_list"])
    assert f"go on with {held['last'] + 1}" in " ".join(document["meaning"])


def test_the_journal_and_the_spool_of_a_run_agree(spool, replica, replicator, capsys):
    sent = inspect(replicator, capsys, spool, "--operations")["operation_list"]
    kept = inspect(replicator, capsys, replica, "--operations")["operation_list"]
    by_number = {row["operation"]: row for row in sent}
    common = [row for row in kept if row["operation"] in by_number]
    assert common
    for row in common:
        other = by_number[row["operation"]]
        for key in ("kind", "file_id", "path", "at", "length", "captured_ns", "epoch"):
            assert row[key] == other[key]


def test_what_recovery_would_redo(replica, replicator, capsys):
    document = inspect(replicator, capsys, replica)
    state = document["state"][0]["state"]
    [held] = document["logs"][0]["operations"]
    words = " ".join(document["meaning"])
    assert f"redo from operation {state['operation'] + 1} on" in words
    assert f"end at operation {held['last']} of epoch 1" in words


def test_without_its_checkpoint_a_journal_says_so(replica, replicator, capsys):
    for copy in "ab":
        (replica / f"checkpoint.{copy}").unlink()
    assert "no checkpoint" in " ".join(inspect(replicator, capsys, replica / "journal")["meaning"])


def test_limits_and_records(tmp_path, replicator, capsys):
    log = write_files(small_journal(), tmp_path)
    rows = inspect(replicator, capsys, log, "--records", "--from", 4, "--to", 5)["record_list"]
    batches = [row["operations"] for row in rows if row["type"] == "batch"]
    assert batches == [[3, 4], [5, 6]]
    rows = inspect(replicator, capsys, log, "--operations", "--from", 4, "--to", 5)
    assert [row["operation"] for row in rows["operation_list"]] == [4, 5]


def test_paths_are_those_of_the_moment_and_outcomes_show(tmp_path, replicator, capsys):
    log = write_files(small_spool(), tmp_path)
    rows = inspect(replicator, capsys, log, "--operations")["operation_list"]
    assert [row["path"] for row in rows] == ["/a", "/a", "/a", "/a", "/b"]
    assert [row["done"] for row in rows] == [None, None, 2, None, None]
    assert [row["kind"] for row in rows] == [o.kind.name.lower() for o in OPERATIONS]
    assert replicator("journal", "inspect", log, "--operations") == 0
    out = capsys.readouterr().out
    assert "#1 /a -> /b" in out
    assert "FAILED after 2 bytes" in out


def test_operations_that_wait_for_a_commit_are_explained(tmp_path, replicator, capsys):
    root, _ = committed(tmp_path)
    for path in segments(root / "journal")[2:]:
        path.unlink()
    document = inspect(replicator, capsys, root)
    assert document["state"][0]["state"]["epoch"] == EPOCH


def test_damage_is_shown_and_ends_with_1(spool, replicator, capsys):
    flip(segments(spool / "segments")[1], 900)
    assert replicator("journal", "inspect", spool, "--records") == 1
    out = capsys.readouterr().out
    assert "damage: " in out
    assert "what to do: " in out
    assert "The spool is damaged: the next start begins a new epoch" in out
    assert "would carry out" not in out


@pytest.mark.parametrize(
    "options", [["--from", "3"], ["--records", "--operations"], ["--to", "-1", "--records"]]
)
def test_options_that_make_no_sense(spool, replicator, capsys, options):
    assert replicator("journal", "inspect", spool, *options) == 64
    assert "what to do: " in capsys.readouterr().err


def test_a_spool_that_was_full_is_explained(tmp_path, replicator, capsys):
    bench = Bench(spool_limit_bytes=256 << 10)
    bench.run_until(8)
    bench.link.partition()
    bench.run_until(25)
    meaning = " ".join(inspect(replicator, capsys, bench.spool(tmp_path / "spool"))["meaning"])
    assert "capture had stopped" in meaning


def test_the_example_in_the_documentation_is_what_comes_out(
    tmp_path, replicator, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_files(small_journal(), tmp_path / "journal")
    blocks = DOCUMENT.read_text().split("```console\n")[1:]
    assert len(blocks) == 3
    for block in blocks:
        command, _, wanted = block.partition("```")[0].partition("\n")
        if "damaged" in wanted or "BROKEN" in wanted:
            flip(tmp_path / "journal" / "00000001.segment", 700)
        arguments = command.removeprefix("$ replicator ").split()
        replicator(*arguments)
        assert capsys.readouterr().out == wanted
