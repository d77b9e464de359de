"""The client library in this process: every call, threads, a fork, Ctrl-C, waiting for room."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from replicator.capture import protect
from replicator.config import load_configuration
from replicator.errors import (
    AlreadyExists,
    CaptureBroken,
    Locked,
    NotFound,
    SpoolFull,
    StorageError,
)
from replicator.host.captured_volume import captured_volume
from replicator.host.world import HostRuntime, run_on_host
from tests.processes.trial import Status, Trial


def test_every_call_does_what_it_says_and_is_replicated(trial: Trial) -> None:
    trial.start("replica"), trial.start("source")
    with protect(str(trial.config)) as files:
        with files.create("/db") as db:
            assert db.write_at(0, b"0123456789") == 10
            assert db.append(bytearray(b"abc")) == 10
            assert db.read_at(8, 100) == b"89abc"
            db.zero_range(2, 3)
            db.truncate(11)
            db.sync()
            assert db.size_bytes == 11
            assert db.path == str(trial.data / "db")
        files.mkdir("/logs")
        files.rename("/db", "/logs/db")
        files.link("/logs/db", "/second")
        files.symlink("logs/db", "/link")
        files.set_attributes("/second", 0o640)
        files.mkdir("/gone"), files.rmdir("/gone")
        files.create("/dropped").close()
        files.unlink("/dropped")
        files.sync_directory("/")
        assert files.list("/") == ["link", "logs", "second"]
        assert files.exists("/second") and not files.exists("/db")
        assert files.stat("/link").target == "logs/db"
        with files.open("/second") as again:
            assert again.read_at(0, 99) == b"01\0\0\x0056789a"
        with pytest.raises(AlreadyExists, match=str(trial.data)):
            files.create("/second")
        with pytest.raises(NotFound):
            files.open("/db")
        with pytest.raises(StorageError):
            files.rename("/nothing", "/something")
        trial.converge()
    with pytest.raises(CaptureBroken, match="is closed"):
        files.mkdir("/late")
    trial.converge()


def test_threads_write_at_the_same_time(trial: Trial) -> None:
    trial.start("replica"), trial.start("source")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            numbers = random.Random(number)
            with files.create(f"/{number}") as own:
                for turn in range(150):
                    own.write_at(numbers.randrange(50) * 4096, numbers.randbytes(4096))
                    shared.append(bytes([number]) * 100)
                    if turn % 30 == 0:
                        own.sync()
                        files.sync_directory("/")
                    assert len(own.read_at(0, 10)) in (0, 10)
        except BaseException as failure:
            failures.append(failure)
            raise

    with protect(str(trial.config)) as files, files.create("/shared") as shared:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        assert shared.size_bytes == 6 * 150 * 100
        blocks = shared.read_at(0, 90_000)
        for at in range(0, 90_000, 100):  # each append is one piece
            assert len(set(blocks[at : at + 100])) == 1
    trial.converge()


def test_a_child_of_a_fork_is_told(trial: Trial) -> None:
    with protect(str(trial.config)) as files, files.create("/f") as file:
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            try:
                file.write_at(0, b"from the child")
                said = "written"
            except CaptureBroken as error:
                said = str(error)
            finally:
                os.write(write_end, said.encode())
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read_end, 1000) == (
            b"the protected set was opened by the parent of this process"
        )
        os.close(read_end), os.close(write_end)
        file.write_at(0, b"the parent goes on")
        # A child that lives on keeps nothing locked when the parent closes.
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
    try:
        with protect(str(trial.config), patience_ns=1_000_000_000) as files:
            assert files.stat("/f").size_bytes == 18
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_one_program_at_a_time(trial: Trial) -> None:
    with protect(str(trial.config)):
        started = time.monotonic()
        with pytest.raises(Locked, match="another program captures"):
            protect(str(trial.config), patience_ns=200_000_000)
        assert time.monotonic() - started < 5


def test_who_is_held_too_long_is_told_and_nothing_was_changed(tmp_path: Path) -> None:
    settings = 'limit = "2MiB"\nsegment_size = "512KiB"\npolicy = "hold"\npatience = "300ms"'
    trial = Trial(tmp_path, spool=settings)
    try:
        with protect(str(trial.config)) as files, files.create("/f") as file:
            written = 0
            with pytest.raises(SpoolFull, match="has been full for 300 ms") as refusal:
                while written < 1000:
                    file.write_at(written * 8192, bytes([written % 251]) * 8192)
                    written += 1
            assert "larger limit" in refusal.value.remedy
            assert file.size_bytes == written * 8192
            made = 0
            with pytest.raises(SpoolFull):
                while made < 10_000:  # what is left in the last segment
                    files.mkdir(f"/{made}")
                    made += 1
            assert len(files.list("/")) == made + 1
            with pytest.raises(SpoolFull, match="can never find room"):
                file.write_at(0, bytes(3 << 20))
            trial.start("replica"), trial.start("source")
            trial.wait_for("streaming")
            file.write_at(written * 8192, b"there is room again")
        trial.converge()
    finally:
        trial.end()


def test_a_call_that_is_broken_off_is_settled_by_the_next_opening(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the intent and the file: nobody knows, so nobody may go on."""
    with protect(str(trial.config)) as files, files.create("/f") as file:
        file.write_at(0, b"before")
        raw = type(file._raw)
        real = raw.write_at

        def interrupted(self: object, offset: int, *buffers: bytes) -> int:
            if getattr(self, "path", "").endswith("/f"):
                raise KeyboardInterrupt
            return real(self, offset, *buffers)

        monkeypatch.setattr(raw, "write_at", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.write_at(0, b"underway")
        monkeypatch.undo()
        with pytest.raises(CaptureBroken, match="nobody knows") as refusal:
            file.write_at(100, b"after")
        assert "protect the set again" in refusal.value.remedy
    assert (trial.data / "f").read_bytes() == b"before"
    with protect(str(trial.config)) as files, files.open("/f") as file:
        assert file.read_at(0, 100) == b"underway"
    trial.start("replica"), trial.start("source")
    trial.converge()


def test_a_program_of_coroutines_uses_the_captured_volume(trial: Trial) -> None:
    async def program(runtime: HostRuntime) -> None:
        async with captured_volume(runtime, load_configuration(trial.config)) as protected:
            volume, root = protected.volume, protected.root
            assert root == str(trial.data)
            file = volume.create(root + "/f")
            await volume.admit(8192)
            file.write_at(0, bytes(8192))
            await file.sync()
            file.close()

    run_on_host(program)
    trial.start("replica"), trial.start("source")
    trial.converge()


def test_what_ends_the_history_is_told_to_the_program(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    from replicator.history import HistoryKeeper

    async def broken(_self: object) -> None:
        raise StorageError("the device reported an input/output error", path="/spool")

    monkeypatch.setattr(HistoryKeeper, "serve", broken)
    files = protect(str(trial.config))
    deadline = time.monotonic() + 10
    with pytest.raises(CaptureBroken, match="input/output error"):
        while time.monotonic() < deadline:
            files.list("/")
    files.close()


def caretaker(status: Status) -> bool:
    return bool((status["source"]["status"] or {}).get("caretaker"))


def streaming(status: Status) -> bool:
    return (status["source"]["status"] or {}).get("state") == "streaming"


def segments_open(pid: int | str) -> int:
    found = 0
    for link in list(Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):  # the listing's own handle, or one just closed
            found += os.readlink(link).endswith(".segment")
    return found


def test_each_hand_over_of_the_history_leaves_no_handle_open(trial: Trial) -> None:
    sender = trial.start("source")
    for number in range(5):
        trial.wait(caretaker, "the sender keeps the history")
        assert (segments_open("self"), segments_open(sender.pid)) == (0, 1)
        files = protect(str(trial.config))
        with files.create(f"/{number}") as file:
            file.write_at(0, bytes(100_000))
            assert segments_open("self") == 1
        files.close()


def test_a_removed_file_gives_its_space_back_although_the_sender_had_read_it(
    trial: Trial,
) -> None:
    (trial.data / "old.edb").write_bytes(bytes(range(256)) * 4096)
    trial.start("replica")
    sender = trial.start("source")
    trial.wait(streaming, "synchronized")
    open_files = {os.readlink(link) for link in Path(f"/proc/{sender.pid}/fd").iterdir()}
    assert not {path for path in open_files if "old.edb" in path}
