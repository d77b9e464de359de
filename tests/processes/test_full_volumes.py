"""A small file system that is full, on either end: a named cause, a way out, and no loss."""

from __future__ import annotations

from pathlib import Path

from tests.processes.trial import Trial

FILLING = bytes(64 << 10)


def fill(volume: Path) -> Path:
    """Take all the room there is."""
    path = volume / "somebody elses file"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(FILLING)
        except OSError:
            pass
    return path


def test_the_replicas_volume_is_full(small_volume: Path, tmp_path: Path) -> None:
    trial = Trial(
        tmp_path,
        replica=f'directory = "{small_volume}"\ncheckpoint_every = "256KiB"',
        journal='limit = "1536KiB"\nsegment_size = "256KiB"',
    )
    trial.replica = small_volume
    try:
        replica = trial.start("replica")
        source = trial.start("source")
        trial.wait_for("streaming")
        filling = fill(small_volume)
        writer = trial.write(1, 300)
        status = trial.wait_for("stalled", "replica")
        assert "the volume is full" in status["replica"]["status"]["stalled"]
        told = trial.wait(
            lambda s: s["source"]["status"] and s["source"]["status"]["replica_stalled"], "told"
        )
        assert any("the replica stands still" in text for text in told["attention"])
        assert writer.ends() == 0  # the programs never notice
        assert "apply stands still" in replica.log
        assert "the replica stands still" in source.log
        replica.kill()  # and a start on the full volume
        trial.start("replica")
        trial.wait_for("stalled", "replica")
        filling.unlink()
        assert trial.converge()["replica"]["status"]["epoch"] >= 1
    finally:
        trial.end()


def test_the_spools_volume_is_full(small_volume: Path, tmp_path: Path) -> None:
    trial = Trial(
        tmp_path,
        spool=f'directory = "{small_volume}"\nlimit = "3MiB"\nsegment_size = "256KiB"',
    )
    try:
        trial.start("replica"), trial.start("source")
        trial.wait_for("streaming")
        filling = fill(small_volume)
        writer = trial.write(1, 300, "1")
        status = trial.wait(lambda s: s["spool"] and not s["spool"]["capturing"], "stopped")
        assert "the volume is full" in status["spool"]["capture_stopped"]
        assert any("capture stopped" in text for text in status["attention"])
        assert writer.running or writer.ends() == 0, writer.log
        filling.unlink()
        assert writer.ends() == 0, writer.log
        trial.converge()
    finally:
        trial.end()


def test_the_spools_volume_is_full_and_the_program_is_held(
    small_volume: Path, tmp_path: Path
) -> None:
    trial = Trial(
        tmp_path,
        spool=f'directory = "{small_volume}"\nlimit = "3MiB"\nsegment_size = "256KiB"\n'
        'policy = "hold"\npatience = "500ms"',
    )
    try:
        trial.start("replica"), trial.start("source")
        trial.wait_for("streaming")
        filling = fill(small_volume)
        writer = trial.write(1, 300)
        assert writer.ends() == 1
        assert "the spool cannot be written" in writer.log
        assert "the volume is full" in writer.log
        filling.unlink()
        assert trial.write(1, 100).ends() == 0
        assert trial.converge()["replica"]["status"]["epoch"] == 1
    finally:
        trial.end()
