"""``replicator promote``: through the running process or in its place; then fenced for good."""

from __future__ import annotations

import signal

import pytest

from replicator.errors import ExitCode
from tests.processes.trial import Trial


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
