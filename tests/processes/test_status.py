"""``replicator status``: each state as it is, also of what is down or hangs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from replicator.capture import protect
from replicator.errors import StorageError
from tests.processes.trial import Status, Trial
from tests.processes.trial import trial as trial_of


def test_before_anything_was_started(trial: Trial) -> None:
    status = trial.status()
    assert status["source"]["condition"] == status["replica"]["condition"] == "never started"
    assert status["source"]["state"] == "unknown"
    assert status["spool"] is None and status["program"] is None
    assert len(status["attention"]) == 2
    assert not list(trial.spool.iterdir())  # looking leaves nothing behind


def test_streaming_needs_no_attention(trial: Trial) -> None:
    trial.start("replica"), trial.start("source")
    assert trial.write(1, 40).ends() == 0
    trial.converge()
    # The program is gone: the sender keeps the history itself.
    status = trial.wait(
        lambda s: not s["attention"] and s["source"]["status"]["caretaker"], "quiet"
    )
    source, replica = status["source"]["status"], status["replica"]["status"]
    assert source["lag_operations"] == 0 and source["lag_ns"] == 0 and source["lag_bytes"] == 0
    assert source["capturing"] and source["caretaker"]
    assert 0 < source["spool_used_bytes"] <= source["spool_limit_bytes"] == 64 << 20
    assert replica["connected"] and replica["behind_operations"] == 0
    age_ns = status["checked_wall_ns"] - replica["as_of_wall_ns"]
    assert 0 <= age_ns < 5_000_000_000
    done = trial.command("status", str(trial.config))
    assert (done.returncode, done.stderr) == (0, "")
    assert "attention   nothing" in done.stdout
    done = trial.command("status", str(trial.config), "--json", "-")
    assert json.loads(done.stdout)["source"]["state"] == "streaming"


def test_without_a_replica_the_lag_is_unknown_and_the_cause_named(trial: Trial) -> None:
    trial.start("source")
    status = trial.wait_for("disconnected")
    source = status["source"]["status"]
    assert "nobody listens" in source["cause"]
    assert source["lag_ns"] is source["lag_operations"] is None
    assert any("disconnected" in text for text in status["attention"])
    assert trial.command("status", str(trial.config)).returncode == 1


def test_the_lag_grows_while_the_replica_is_away(trial: Trial) -> None:
    replica = trial.start("replica")
    trial.start("source")
    trial.wait_for("streaming")
    replica.kill()
    trial.wait_for("disconnected")
    assert trial.write(1, 40).ends() == 0
    status = trial.wait(  # what was said last may be from before the last writes
        lambda s: s["source"]["status"] and (s["source"]["status"]["lag_bytes"] or 0) > 40 * 8192,
        "behind",
    )
    lag_ns = status["source"]["status"]["lag_ns"]
    assert lag_ns > 0 and status["source"]["status"]["lag_operations"] > 0
    assert status["source"]["status"]["spool_waiting_bytes"] > 40 * 8192
    later = trial.wait(
        lambda s: s["source"]["status"] and s["source"]["status"]["lag_ns"] > lag_ns, "older"
    )
    assert later["replica"]["condition"] == "not running"
    assert later["replica"]["ended"] == ""  # it could not say goodbye
    assert later["replica"]["status"] is None and later["replica"]["last_known"]["applied"] >= 0


def test_who_hangs_is_unknown_after_a_heartbeat(trial: Trial) -> None:
    processes = {"replica": trial.start("replica"), "source": trial.start("source")}
    trial.wait_for("streaming")
    trial.wait_for("streaming", "replica")
    for name, process in processes.items():
        process.signal(signal.SIGSTOP)
        time.sleep(0.25)
        status = trial.status()[name]
        assert status["condition"] in ("late", "hung")
        assert status["state"] == "unknown" and status["status"] is None
        assert status["last_known"]["state"] in ("streaming", "disconnected", "waiting")
        hung = trial.wait_for_condition("hung", name)[name]
        assert hung["pid"] == process.pid and hung["age_ns"] > 600_000_000
        process.signal(signal.SIGCONT)
        trial.wait_for_condition("running", name)
    trial.wait_for("streaming")


def test_a_source_whose_replica_hangs_says_so(trial: Trial) -> None:
    replica = trial.start("replica")
    trial.start("source")
    trial.wait_for("streaming")
    replica.signal(signal.SIGSTOP)
    status = trial.wait(
        lambda s: s["source"]["status"] and "does not answer" in s["source"]["status"]["cause"],
        "silent",
    )
    assert status["source"]["state"] in ("disconnected", "connecting")
    replica.signal(signal.SIGCONT)
    trial.wait_for("streaming")


def test_a_program_that_captures_and_one_that_hangs(trial: Trial) -> None:
    trial.start("replica"), trial.start("source")
    writer = trial.write(1, 100_000, "5")
    status = trial.wait_for("capturing", "program")
    assert status["program"]["pid"] == writer.pid
    trial.wait(lambda s: s["source"]["status"] and not s["source"]["status"]["caretaker"], "kept")
    writer.signal(signal.SIGSTOP)
    status = trial.wait_for_condition("hung", "program")
    assert any("the program that captures is hung" in text for text in status["attention"])
    writer.signal(signal.SIGCONT)
    trial.wait_for("capturing", "program")


def test_who_ended_with_an_error_was_not_killed(trial: Trial) -> None:
    os.mkfifo(trial.data / "pipe")
    assert trial.start("source").ends() == 1
    status = trial.status()["source"]
    assert status["condition"] == "not running"
    assert status["ended"].startswith(f"with an error: {trial.data}/pipe: neither a file")
    with pytest.raises(StorageError) as caught:
        protect(str(trial.config))
    assert "sockets, pipes and devices" in caught.value.remedy
    assert "with an error" in trial.status()["program"]["ended"]


def test_a_full_spool_needs_a_look_though_no_program_runs(tmp_path: Path) -> None:
    with trial_of(tmp_path, spool='limit = "4MiB"\npolicy = "hold"\npatience = "300ms"') as trial:
        trial.start("source")
        assert trial.write(1, 2_000).ends() != 0  # SpoolFull: it was held for too long
        trial.wait(
            lambda s: any("the spool is full" in text for text in s["attention"]), "attention"
        )
        trial.start("replica")
        trial.wait(lambda s: not s["attention"], "quiet")


def test_capture_that_stopped_says_why_and_goes_on_by_itself(tmp_path: Path) -> None:
    """Policy resynchronize, no sender: at the limit the programs go on uncaptured."""
    trial = Trial(tmp_path, spool='limit = "4MiB"')
    try:
        with protect(str(trial.config)) as files, files.create("/f") as file:
            for page in range(800):
                file.write_at(page * 8192, bytes([page % 251]) * 8192)
            status = trial.wait_for("stopped", "program")
            assert status["spool"]["capture_stopped"] == "the spool is full"
            assert "capture stopped: the spool is full" in status["attention"]
            trial.start("replica"), trial.start("source")
            trial.converge()
            file.write_at(0, b"captured again")
            assert trial.converge()["replica"]["status"]["epoch"] > 1
    finally:
        trial.end()


def test_a_program_that_is_held_and_the_time_to_full(tmp_path: Path) -> None:
    trial = Trial(tmp_path, spool='limit = "4MiB"\npolicy = "hold"')
    try:
        trial.start("source")
        trial.wait_for_condition("running", "source")  # it has seen an empty spool
        writer = trial.write(1, 2_000)
        status = trial.wait_for("held", "program")
        assert status["program"]["status"]["held_ns"] > 0
        assert any("waits for room" in text for text in status["attention"])
        trial.wait(
            lambda s: s["source"]["status"]["spool_full_in_ns"] is not None, "a time to full"
        )
        trial.start("replica")
        assert writer.ends() == 0, writer.log
        trial.converge()
    finally:
        trial.end()


def without_a_file(trial: Trial) -> tuple[Path, Status]:
    """A replica that has lost a file while it was down: which one, and what it says."""
    replica = trial.start("replica")
    source = trial.start("source")
    assert trial.write(1, 40).ends() == 0
    trial.converge()
    source.kill(), replica.kill()
    gone = sorted(path for path in trial.image.rglob("*") if path.is_file())[0]
    gone.unlink()
    trial.start("replica")
    status = trial.wait(
        lambda s: s["replica"]["status"] and s["replica"]["status"]["damage"], "told"
    )
    return gone, status


def test_a_file_that_is_gone_from_the_copy_is_told_and_brought_anew(trial: Trial) -> None:
    gone, status = without_a_file(trial)
    assert f"{gone}: a file of the image is gone" in status["replica"]["status"]["damage"]
    assert any("a file of the image is gone" in text for text in status["attention"])
    assert not gone.exists()
    trial.start("source")
    trial.converge()
    assert gone.exists() and not trial.status()["replica"]["status"]["damage"]


def test_what_is_left_of_a_copy_can_take_over_and_its_doubt_is_told(trial: Trial) -> None:
    without_a_file(trial)
    asked = trial.command("promote", str(trial.config))
    assert asked.returncode != 0 and "a file of the image is gone" in asked.stdout + asked.stderr
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == 0, done.stderr
    assert "a file of the image is gone" in done.stdout + done.stderr
    assert trial.status()["replica"]["status"]["promoted"]
