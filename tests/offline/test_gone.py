"""Segments that are gone altogether: the state beside the log tells, or nobody can."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.offline.test_verify import fingerprint, segments
from tests.tools.materialize import Bench


def verify(replicator, capsys, directory, code) -> dict:
    before = fingerprint(directory)
    assert replicator("journal", "verify", directory, "--json", "-") == code
    assert fingerprint(directory) == before
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    return document


def delete(paths: list[Path]) -> None:
    assert paths
    for path in paths:
        path.unlink()


@pytest.mark.parametrize("part", ["", "journal"])
def test_a_checkpoint_tells_that_its_journal_is_gone(replica, part, replicator, capsys):
    delete(segments(replica / "journal"))
    document = verify(replicator, capsys, replica / part, 1)
    assert document["verdict"] == "broken"
    [finding] = document["findings"]
    [pair] = document["state"]
    assert finding["kind"] == "damage"
    assert finding["path"].endswith(f"/journal/{pair['state']['segment']:08d}.segment")
    assert f"durable up to byte {pair['state']['offset']}" in finding["message"]
    assert f"operation {pair['state']['operation']:,} of epoch 1" in finding["last_good"]
    assert "asks the source" in finding["remedy"]


def test_only_older_segments_are_left(replica, replicator, capsys):
    first, *later = segments(replica / "journal")
    delete(later)
    first.rename(first.with_name("00000001.segment"))
    [finding] = verify(replicator, capsys, replica, 1)["findings"]
    assert "is missing, but the checkpoint says" in finding["message"]


def test_a_cut_before_the_place_of_the_checkpoint_is_damage(replica, replicator, capsys):
    offset = verify(replicator, capsys, replica, 0)["state"][0]["state"]["offset"]
    first, *later = segments(replica / "journal")
    for path in later:
        path.unlink()
    # Without any later record the log's own bytes make this a torn tail.
    os.truncate(first, offset - 1)
    document = verify(replicator, capsys, replica, 1)
    damage = document["findings"][-1]
    assert damage["kind"] == "damage"
    assert damage["offset"] < offset


def test_a_journal_that_may_be_elsewhere_is_inconclusive(replica, replicator, capsys):
    shutil.rmtree(replica / "journal")
    document = verify(replicator, capsys, replica, 2)
    assert document["verdict"] == "nothing to verify"
    [finding] = document["findings"]
    assert finding["kind"] == "not here"
    assert "volume of its own" in finding["remedy"]
    assert replicator("journal", "inspect", replica) == 2


@pytest.mark.parametrize("with_directory", [True, False])
def test_the_source_tells_that_its_spool_is_gone(spool, with_directory, replicator, capsys):
    delete(segments(spool / "segments"))
    if not with_directory:
        (spool / "segments").rmdir()
    [finding] = verify(replicator, capsys, spool, 1)["findings"]
    assert finding["kind"] == "damage"
    assert finding["path"] == str(spool / "segments")
    assert "epoch 1 was begun" in finding["message"]
    assert "new epoch" in finding["remedy"]


def test_a_replica_that_never_received_anything_is_no_damage(tmp_path, replicator, capsys):
    bench = Bench()
    bench.link.partition()
    bench.run_until(3)
    document = verify(replicator, capsys, bench.replica(tmp_path / "replica"), 0)
    assert document["verdict"] == "nothing to verify"
    [finding] = document["findings"]
    assert finding["kind"] == "note"
    assert "nothing to verify" in finding["message"]


def test_without_any_state_nobody_can_tell(spool, replica, replicator, capsys):
    for root, log, state in ((spool, "segments", "source"), (replica, "journal", "checkpoint")):
        delete(segments(root / log))
        delete(list(root.glob(f"{state}.*")))
        for directory in (root, root / log):
            assert replicator("journal", "verify", directory) == 64
            captured = capsys.readouterr()
            assert "nothing to verify" in captured.err
            assert "sound" not in captured.out


def test_a_log_named_alone_is_judged_by_itself(replica, tmp_path, replicator, capsys):
    moved = tmp_path / "elsewhere"
    shutil.move(replica / "journal", moved)
    assert verify(replicator, capsys, moved, 0)["verdict"] == "sound"
