"""Source, replica and a program as real processes: they converge, whatever is killed."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from replicator.errors import ExitCode
from tests.processes.trial import Trial


def test_from_the_first_start_to_an_orderly_end(trial: Trial) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    trial.wait_for("streaming")
    writer = trial.write(1, 200)
    assert writer.ends() == 0, writer.log
    trial.converge()
    source.signal(signal.SIGTERM)
    assert source.ends() == ExitCode.PASS, source.log
    assert "ended: drained" in source.log
    replica.signal(signal.SIGTERM)
    assert replica.ends() == ExitCode.PASS, replica.log
    assert "ended: drained" in replica.log
    status = trial.status()
    for end in ("source", "replica"):
        assert (status[end]["condition"], status[end]["ended"]) == ("not running", "drained")
    # What was drained needs no recovery, and the history goes on.
    trial.start("replica"), trial.start("source")
    assert trial.write(2, 50).ends() == 0
    assert trial.converge()["replica"]["status"]["epoch"] == 1


def test_term_waits_for_the_replica_and_says_when_it_was_not_there(tmp_path: Path) -> None:
    trial = Trial(tmp_path, source='drain = "500ms"')
    try:
        source = trial.start("source")
        assert trial.write(1, 20).ends() == 0
        trial.wait_for_condition("running", "source")
        source.signal(signal.SIGTERM)
        assert source.ends() == ExitCode.NOT_DRAINED, source.log
        assert "stopped before everything had reached the other end" in source.log
    finally:
        trial.end()


def test_a_drain_brings_over_what_was_waiting(trial: Trial) -> None:
    """The replica comes up only after the source was asked to stop."""
    source = trial.start("source")
    assert trial.write(1, 100).ends() == 0
    trial.wait_for_condition("running", "source")
    source.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert source.running
    trial.start("replica")
    assert source.ends() == ExitCode.PASS, source.log
    status = trial.status()["source"]
    assert status["last_known"]["lag_operations"] == 0


def test_a_second_signal_ends_it_at_once(trial: Trial) -> None:
    source = trial.start("source")
    trial.wait_for_condition("running", "source")
    source.signal(signal.SIGTERM)
    trial.wait(lambda s: "asked to stop" in source.log, "asked")
    source.signal(signal.SIGTERM)
    assert source.ends(5) == ExitCode.INTERRUPTED
    assert "Traceback" not in source.log


@pytest.mark.parametrize("victim", ["source", "replica", "writer"])
def test_a_killed_process_is_started_again_and_goes_on(trial: Trial, victim: str) -> None:
    numbers = random.Random(victim)
    running = {"replica": trial.start("replica"), "source": trial.start("source")}
    trial.wait_for("streaming")
    running["writer"] = trial.write(1, 100_000, "1")
    trial.wait_for("capturing", "program")
    for _ in range(3):
        time.sleep(numbers.uniform(0.1, 0.5))
        running[victim].kill()
        if victim == "writer":
            running[victim] = trial.write(1, 100_000, "1")
            trial.wait_for("capturing", "program")
        else:
            running[victim] = trial.start(victim)
            trial.wait_for("streaming")
    running["writer"].kill()
    status = trial.converge()
    assert status["replica"]["status"]["epoch"] == 1  # nothing was synchronized anew
    assert all("Traceback" not in process.log for process in trial.processes)


def test_all_are_killed_at_once(trial: Trial) -> None:
    running = [trial.start("replica"), trial.start("source")]
    trial.wait_for("streaming")
    running.append(trial.write(1, 100_000))
    trial.wait_for("capturing", "program")
    time.sleep(0.4)
    for process in running:
        process.kill()
    trial.start("replica"), trial.start("source")
    assert trial.write(1, 40).ends() == 0
    assert trial.converge()["replica"]["status"]["epoch"] == 1
