"""``replicator promote``: through the running process or in its place; then fenced for good."""

from __future__ import annotations

import signal
import time

import pytest

from replicator.capture import protect
from replicator.errors import ExitCode, SourceFenced
from tests.processes.trial import PATIENCE_S, Trial


@pytest.mark.parametrize("how", ["running", "down", "killed"])
def test_promote(trial: Trial, how: str) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    assert trial.write(1, 60).ends() == 0
    trial.converge()
    if how == "down":
        replica.signal(signal.SIGTERM)
        replica.ends()
    elif how == "killed":
        replica.kill()
    refused = trial.command("promote", str(trial.config))
    assert refused.returncode == ExitCode.USAGE
    assert "was not confirmed" in refused.stderr
    assert str(trial.image) in refused.stdout
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == 0, done.stderr
    assert f"image       {trial.image}" in done.stdout
    assert "as of       20" in done.stdout
    if how != "running":
        assert trial.status()["replica"]["condition"] == "not running"
        trial.start("replica")
    trial.wait_for("promoted", "replica")
    assert source.ends() == ExitCode.FENCED, source.log
    assert trial.status()["source"]["last_known"]["state"] == "fenced"
    assert not (trial.replica / "promote.request").exists()
    # A second time changes nothing, and it survives a restart.
    assert trial.command("promote", str(trial.config)).returncode == 0


def test_a_replica_that_hangs_does_not_answer_but_remembers(trial: Trial) -> None:
    replica = trial.start("replica")
    trial.wait_for("waiting", "replica")
    replica.signal(signal.SIGSTOP)
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == ExitCode.INCONCLUSIVE
    assert "does not answer" in done.stderr
    replica.signal(signal.SIGCONT)
    trial.wait_for("promoted", "replica")


def test_nothing_to_promote(trial: Trial) -> None:
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == ExitCode.USAGE
    assert "no replica has run on this directory" in done.stderr


def test_a_takeover_closes_the_old_source_until_it_is_opened_again(trial: Trial) -> None:
    trial.start("replica")
    source = trial.start("source")
    with protect(str(trial.config)) as files:
        with files.create("/db") as db:
            db.write_at(0, b"before")
        trial.converge()
        replica = trial.processes[0]
        assert trial.command("promote", str(trial.config), "--yes").returncode == 0
        assert source.ends() == ExitCode.FENCED, source.log
        # Who has the set open is told, without asking anybody.
        end = time.monotonic() + PATIENCE_S
        with pytest.raises(SourceFenced, match="taken over"):
            while time.monotonic() < end:
                files.list("/")
        with pytest.raises(SourceFenced):
            db.write_at(0, b"after")
    with pytest.raises(SourceFenced) as caught:
        protect(str(trial.config))
    assert "After a takeover" in caught.value.remedy
    assert trial.write(1, 5).ends() != 0
    assert (trial.data / "db").read_bytes() == b"before"
    assert trial.start("source").ends() == ExitCode.FENCED
    [attention] = trial.status()["attention"]
    assert attention.startswith("source fenced: ")
    checked = trial.command("check-config", str(trial.config))
    assert checked.returncode == ExitCode.USAGE
    assert "the source is fenced" in checked.stderr
    # The way back: a replica of its own, and a word of the operator.
    replica.signal(signal.SIGTERM)
    replica.ends()
    trial.replica.rename(trial.base / "was promoted")
    trial.replica.mkdir()
    refused = trial.command("unfence", str(trial.config))
    assert refused.returncode == ExitCode.USAGE
    assert "was not confirmed" in refused.stderr
    assert trial.start("source").ends() == ExitCode.FENCED
    done = trial.command("unfence", str(trial.config), "--yes")
    assert done.returncode == 0, done.stderr
    assert "not fenced" in trial.command("unfence", str(trial.config)).stdout
    trial.start("replica"), trial.start("source")
    with protect(str(trial.config)) as files, files.open("/db") as db:
        db.write_at(0, b"after")
        trial.converge()


def test_a_source_that_is_opened_again_too_early_is_closed_by_the_old_replica(
    trial: Trial,
) -> None:
    trial.start("replica")
    source = trial.start("source")
    trial.wait_for("streaming")
    assert trial.command("promote", str(trial.config), "--yes").returncode == 0
    assert source.ends() == ExitCode.FENCED, source.log
    assert trial.command("unfence", str(trial.config), "--yes").returncode == 0
    protect(str(trial.config)).close()
    assert trial.start("source").ends() == ExitCode.FENCED
    with pytest.raises(SourceFenced):
        protect(str(trial.config))
