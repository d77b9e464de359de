"""``replicator promote``: through the running process or in its place; then fenced for good."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time

import pytest

from replicator.capture import protect
from replicator.config import load_configuration
from replicator.errors import BadInput, ExitCode, PromotionUnanswered, SourceFenced
from replicator.host import promotion
from replicator.host.status_reader import read_status
from replicator.host.volume import HostVolume
from replicator.status_page import StatusPage, newest_document
from replicator.status_text import question_lines, status_lines
from replicator.takeover_wish import Wish, encode_wish
from tests.processes.trial import PATIENCE_S, Trial
from tests.real_loop import RealLoop


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
    assert not (trial.replica / "promote.request").is_symlink()
    # A second time changes nothing, and it survives a restart.
    assert trial.command("promote", str(trial.config)).returncode == 0


def test_a_replica_that_hangs_does_not_answer_but_remembers(trial: Trial) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    trial.wait_for("streaming")
    source.kill()
    trial.wait_for("waiting", "replica")
    replica.signal(signal.SIGSTOP)
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == ExitCode.INCONCLUSIVE
    assert "does not answer" in done.stderr
    replica.signal(signal.SIGCONT)
    trial.wait_for("promoted", "replica")


def test_a_wish_is_shown_and_taken_back(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    trial.wait_for("streaming")
    replica.kill()
    monkeypatch.setattr(promotion, "PATIENCE_NS", 300_000_000)
    loaded = load_configuration(trial.config)
    with Deaf(trial):
        with pytest.raises(PromotionUnanswered, match="--withdraw"):
            promotion.promote_replica(loaded)
        assert trial.status()["wish"]["state"] == "pending"
        assert any("a takeover was wished" in text for text in trial.status()["attention"])
        assert promotion.withdraw_promotion(loaded) is True
    assert trial.status()["wish"] is None
    # Another boot's: it is shown, and a replica that starts is no danger to its source.
    (trial.replica / "promote.request").symlink_to(encode_wish(Wish(1, 1, 1, 1)))
    trial.start("replica")
    trial.converge()
    assert source.running and trial.status()["wish"]["state"] == "old"
    assert promotion.withdraw_promotion(loaded) is True
    assert not (trial.replica / "promote.request").is_symlink()
    promotion.promote_replica(loaded)
    with pytest.raises(BadInput, match="taken over already"):
        promotion.withdraw_promotion(loaded)


def test_a_journal_that_is_not_mounted_is_shown_before_and_after(trial: Trial) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    assert trial.write(1, 60).ends() == 0
    trial.converge()
    source.kill(), replica.kill()
    (trial.replica / "journal").rename(trial.base / "unmounted")
    loaded = load_configuration(trial.config)
    for found in (promotion.look_before(loaded), promotion.promote_replica(loaded)):
        assert "is missing, but the checkpoint" in found.damage
        assert any(line.startswith("damage      ") for line in question_lines(found))
    shown = "\n".join(status_lines(read_status(loaded)))
    assert "it was promoted" in shown and "is missing, but the checkpoint" in shown


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


@pytest.mark.parametrize("how", ["running", "down"])
def test_an_image_that_never_existed_takes_nothing_over(trial: Trial, how: str) -> None:
    replica = trial.start("replica")
    trial.wait_for("waiting", "replica")
    if how == "down":
        replica.kill()
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == ExitCode.USAGE
    assert "no image has ever been completed" in done.stderr
    assert not (trial.replica / "promote.request").is_symlink()
    if how == "down":
        replica = trial.start("replica")
    trial.start("source")
    assert trial.write(1, 30).ends() == 0
    trial.converge()  # nothing is over
    assert replica.running


def test_what_a_broken_first_synchronization_left_is_no_image(trial: Trial) -> None:
    """Its operations are in the journal: whether there is an image is known when it was read."""
    replica = trial.start("replica")
    trial.wait_for("waiting", "replica")
    replica.kill()
    (trial.replica / "journal" / "00000001.segment").touch()
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert "no image has ever been completed" in done.stderr


@pytest.mark.parametrize("page", ["missing", "damaged"])
@pytest.mark.parametrize("how", ["running", "down"])
def test_the_status_page_is_not_needed(trial: Trial, page: str, how: str) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    assert trial.write(1, 60).ends() == 0
    trial.converge()
    replica.signal(signal.SIGTERM)
    replica.ends()
    path = trial.replica / "status.replica"
    if page == "missing":
        path.unlink()
    else:
        path.write_bytes(bytes(path.stat().st_size))
    shown = trial.command("promote", str(trial.config))
    assert shown.returncode == ExitCode.USAGE
    assert "was not confirmed" in shown.stderr
    assert str(trial.image) in shown.stdout
    assert "as of       20" in shown.stdout
    if how == "running":
        trial.start("replica")
        trial.wait_for("streaming", "replica")
        path.unlink()
    done = trial.command("promote", str(trial.config), "--yes")
    assert done.returncode == 0, done.stderr
    assert "as of       20" in done.stdout
    if how == "down":
        trial.start("replica")
    assert source.ends() == ExitCode.FENCED, source.log


class Deaf:
    """A replica's process that reports and does nothing else, inside of this one."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._page = trial.replica / "status.replica"
        self._lock = os.open(trial.replica / "replica.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        document = newest_document(self._page.read_bytes())[1]
        assert document is not None
        self._document = document
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report)

    def _report(self) -> None:
        loop = RealLoop()
        volume = HostVolume("data", str(self._trial.replica), loop.loop)
        page = StatusPage(volume, "/status.replica")
        while not self._ended.wait(0.02):
            news = {"written_ns": time.monotonic_ns(), "ended": ""}
            page.put(self._document | news)
        volume.close()
        loop.close()

    def __enter__(self) -> Deaf:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._lock)


def test_a_process_that_reports_and_does_not_do_it_is_not_waited_for_without_end(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, source = trial.start("replica"), trial.start("source")
    trial.wait_for("streaming")
    source.kill(), replica.kill()
    monkeypatch.setattr(promotion, "PATIENCE_NS", 1_000_000_000)
    with Deaf(trial), pytest.raises(PromotionUnanswered, match="does not get on with it"):
        promotion.promote_replica(load_configuration(trial.config))
    trial.start("replica")  # the wish was noted
    trial.wait_for("promoted", "replica")
