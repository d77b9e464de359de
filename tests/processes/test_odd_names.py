"""Names and paths that programs may give: bytes that are no UTF-8, and what is no path."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from replicator.capture import protect
from replicator.errors import StorageError
from replicator.host.protected_set import ProtectedSet
from tests.processes.trial import Trial

LATIN_1 = os.fsdecode("Übergröße".encode("latin-1"))
"""As an old client would have named it: no UTF-8."""

NO_PATHS = ["2/d", "database", "//double", "/trailing/", "/a//b", "/../escaped", "", "/nul\0"]
CALLS: list[Callable[[ProtectedSet, str], object]] = [
    lambda files, path: files.create(path),
    lambda files, path: files.open(path),
    lambda files, path: files.mkdir(path),
    lambda files, path: files.rmdir(path),
    lambda files, path: files.unlink(path),
    lambda files, path: files.symlink("/etc", path),
    lambda files, path: files.link("/db", path),
    lambda files, path: files.rename("/db", path),
    lambda files, path: files.rename(path, "/other"),
    lambda files, path: files.set_attributes(path, 0o600),
    lambda files, path: files.list(path),
    lambda files, path: files.stat(path),
    lambda files, path: files.exists(path),
    lambda files, path: files.sync_directory(path),
]


def test_a_name_that_is_no_utf8_is_replicated(trial: Trial) -> None:
    # There before the first start, so that it goes over with the first image.
    (trial.data / f"{LATIN_1}.old").write_bytes(b"old")
    trial.start("replica")
    source = trial.start("source")
    with protect(str(trial.config)) as files:
        files.mkdir(f"/{LATIN_1}")
        with files.create(f"/{LATIN_1}/db") as db:
            db.write_at(0, b"content")
        trial.converge()
        files.rename(f"/{LATIN_1}/db", f"/{LATIN_1}/{LATIN_1}")
        files.symlink(f"{LATIN_1}/{LATIN_1}", f"/{LATIN_1}.link")
        files.unlink(f"/{LATIN_1}.old")
        trial.converge()
        assert files.stat(f"/{LATIN_1}.link").target == f"{LATIN_1}/{LATIN_1}"
    # Checkpoint, spool and journal hold it, too; so do the words of the commands.
    source.signal(signal.SIGKILL), source.ends()
    trial.processes[0].kill()
    for command in (
        ["journal", "inspect", str(trial.spool), "--operations"],
        ["journal", "inspect", str(trial.replica), "--operations", "--json", "-"],
        ["journal", "verify", str(trial.replica)],
        ["status", str(trial.config)],
    ):
        done = trial.command(*command)
        assert done.returncode in (0, 1) and "internal error" not in done.stderr, done.stderr
        assert "inspect" not in command or "udcdc" in done.stdout
    trial.start("replica"), trial.start("source")
    with protect(str(trial.config)) as files:
        files.unlink(f"/{LATIN_1}/{LATIN_1}")
        files.rmdir(f"/{LATIN_1}")
        trial.converge()
        with pytest.raises(StorageError, match="exists already"):
            files.symlink("x", f"/{LATIN_1}.link")


def test_what_is_no_path_of_the_set_leads_nowhere(trial: Trial) -> None:
    beside = trial.base / f"{trial.data.name}2"
    (beside / "d").mkdir(parents=True)
    (beside / "file").write_bytes(b"beside")
    with protect(str(trial.config)) as files:
        files.create("/db").close()
        completed = files.capture.spool.completed
        for path in [*NO_PATHS, "2/file"]:
            for call in CALLS:
                with pytest.raises(StorageError, match="not a path of the protected set"):
                    call(files, path)
        assert files.capture.spool.completed == completed
        assert files.list("/") == ["db"] and files.exists("/")
        files.sync_directory("/")
    assert sorted(os.listdir(beside)) == ["d", "file"]
    assert not (trial.base / f"{trial.data.name}database").exists()


def test_what_no_file_can_take_changes_nothing(trial: Trial) -> None:
    trial.start("replica"), trial.start("source")
    with protect(str(trial.config)) as files, files.create("/db") as db:
        db.write_at(0, b"content")
        for offset in (-1, 1 << 63, (1 << 63) - 1, 1 << 64):
            with pytest.raises(StorageError):
                db.write_at(offset, b"x")
            with pytest.raises(StorageError):
                db.zero_range(offset, 1)
        for size in (-1, 1 << 63, 1 << 62):
            with pytest.raises(StorageError):
                db.truncate(size)
        for data in (4096, [65, 66], "text"):
            with pytest.raises(TypeError):
                db.write_at(0, data)
            with pytest.raises(TypeError):
                db.append(data)
        assert db.read_at(1 << 63, 10) == b""
        assert db.read_at(0, 1 << 63) == b"content"
        trial.converge()
    with protect(str(trial.config)) as files, files.open("/db") as db:
        db.append(memoryview(b" goes on"))
        trial.converge()
