"""``simulator run --keep``: the machines' files as real ones, which the offline commands take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from replicator import cli as replicator_cli
from replicator.command_line import finish
from replicator.errors import BadInput
from simulator import cli, kept_files
from simulator.kept_files import keep_files
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario

SCENARIO = """
name = "kept"
duration = "4s"
[stream]
kind = "store"
messages = "2/s"
message_size = "16KiB"
mailboxes = 5
database_size = "16MiB"
[protection]
segment_size = "512KiB"
spool_limit = "64MiB"
[source.disk]
profile = "ssd"
[replica.disk]
profile = "ssd"
[link]
bandwidth = "20Mbit/s"
rtt = "20ms"
"""
OWN_DISKS = """
[source.spool_disk]
profile = "nvme"
[replica.journal_disk]
profile = "nvme"
"""
LOSS = """
[[faults]]
kind = "loss"
host = "source"
at = "2s"
"""


def simulator(*arguments: object) -> int:
    return finish(cli.app, "simulator", [str(argument) for argument in arguments])


def verify(directory: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    arguments = ["journal", "verify", str(directory), "--json", "-"]
    assert finish(replicator_cli.app, "replicator", arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "sound"
    return document


def ended(text: str) -> ScenarioRun:
    run = ScenarioRun(parse_scenario(text))
    run.run()
    return run


def quiet(_done: int, _total: int) -> None:
    """No progress."""


@pytest.mark.parametrize("more", ["", OWN_DISKS])
def test_what_is_kept_can_be_verified(more, tmp_path, capsys):
    scenario, target = tmp_path / "kept.toml", tmp_path / "out" / "kept"
    scenario.write_text(SCENARIO + more)
    assert simulator("run", scenario, "--keep", target) == 0
    out = capsys.readouterr().out
    assert f"files of the source: {target}/source\n" in out
    assert f"files of the replica: {target}/replica\n" in out
    assert sorted(path.name for path in target.iterdir()) == ["replica", "source"]
    [spool] = verify(target / "source", capsys)["logs"]
    replica = verify(target / "replica", capsys)
    assert spool["kind"] == "spool"
    assert replica["logs"][0]["kind"] == "journal"
    assert replica["state"][0]["state"]["epoch"] == 1


def test_files_are_those_of_the_machines(tmp_path):
    run = ended(SCENARIO)
    seen: list[tuple[int, int]] = []
    kept = keep_files(run, tmp_path / "kept", lambda done, total: seen.append((done, total)))
    disk = run.system.replica_machine.disks["data"]
    found = 0
    for path, node in disk.names.walk("/replica"):
        real = tmp_path / "kept" / path.lstrip("/")
        assert real.exists()
        if real.is_file():
            found += 1
            assert real.read_bytes() == node.read(0, node.size)
    assert found > 3
    assert kept["replica"] == tmp_path / "kept" / "replica"
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_lost_machine_leaves_nothing(tmp_path, capsys):
    scenario = tmp_path / "kept.toml"
    scenario.write_text(SCENARIO + LOSS)
    assert simulator("run", scenario, "--keep", tmp_path / "kept") == 0
    assert "files of the source: none, it was lost in the run" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["replica"]


def test_a_directory_that_is_not_empty_is_refused_before_the_run(tmp_path, capsys, monkeypatch):
    scenario = tmp_path / "kept.toml"
    scenario.write_text(SCENARIO)
    monkeypatch.setattr(ScenarioRun, "run", lambda *_: pytest.fail("it ran"))
    assert simulator("run", scenario, "--keep", tmp_path) == 64
    err = capsys.readouterr().err
    assert "wants an empty directory" in err
    assert "what to do: Give --keep a directory that does not exist yet" in err


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_half_way_leaves_nothing(failure, tmp_path, monkeypatch):
    run = ended(SCENARIO)

    def report(done: int, total: int) -> None:
        if done > total // 2:
            raise failure

    with pytest.raises((BadInput, KeyboardInterrupt)):
        keep_files(run, tmp_path / "a" / "kept", report)
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(kept_files.shutil, "disk_usage", lambda _path: Usage)
    with pytest.raises(BadInput, match=r"--keep needs .* are free"):
        keep_files(ended(SCENARIO), tmp_path / "kept", quiet)
    assert list(tmp_path.iterdir()) == []


def test_holes_stay_holes(tmp_path):
    run = ended(SCENARIO)
    disk = run.system.replica_machine.disks["data"]
    inode = disk.create("/replica/image/sparse")
    inode.write(1 << 30, b"end")
    keep_files(run, tmp_path / "kept", quiet)
    sparse = (tmp_path / "kept/replica/image/sparse").stat()
    assert sparse.st_size == (1 << 30) + 3
    assert sparse.st_blocks * 512 < 1 << 20
