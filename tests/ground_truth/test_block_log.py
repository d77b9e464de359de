"""The logged disk: what a flush is, in which order things come, and that all is given back."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.live.block_log import BlockLog, Kind, LogWriter
from simulator.live.logged_file_system import LoggedFileSystem
from simulator.live.mounts import (
    PREFIX,
    MountFailed,
    loops_below,
    mounts_below,
    sweep,
)

ROOT = Path(__file__).resolve().parents[2]


def queue_setting(device: str, name: str) -> str:
    return Path(f"/sys/block/{Path(device).name}/queue/{name}").read_text().strip()


def kinds_between(log: BlockLog, begin: str, end: str) -> list[Kind]:
    first, last = log.marked(begin), log.marked(end)
    return [e.kind for e in log.entries if first <= e.begin < last and e.kind is not Kind.MARK]


def test_a_log_says_what_is_durable(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, 1 << 20)

    def write(at: int) -> tuple[int, int, int, int]:
        return writer.stamp(), at, 512, writer.data(bytes([at]) * 512)

    begin, *first = write(1)
    writer.answered(Kind.WRITE, begin, *first)  # stamps 0, 1
    begin, *second = write(2)  # stamp 2: it arrives ...
    flush = writer.stamp()  # stamp 3
    writer.answered(Kind.WRITE, begin, *second)  # ... and is answered at 4, after the flush came
    writer.answered(Kind.FLUSH, flush)  # stamp 5
    writer.mark(b"half")  # stamp 6
    writer.answered(Kind.FLUSH, writer.stamp())  # stamps 7, 8
    writer.close()
    log = BlockLog(tmp_path, "none", 4096, remove=lambda _directory: None)
    at = [[log.data(write)[0] for write in log.pending(cut)] for cut in range(log.end + 1)]
    assert at == [[], [1], [1], [1, 2], [1, 2], [1, 2], [2], [2], [2], []]
    assert log.marked("half") == 7
    assert [mark.text for mark in log.marks_before(7)] == ["half"]
    log.close()


def test_a_full_log_refuses_the_write(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, 1000)
    writer.data(bytes(1000))
    with pytest.raises(OSError, match="full"):
        writer.data(b"x")
    writer.close()


@pytest.mark.usefixtures("real_disks")
def test_the_loop_device_passes_each_write_and_flush_on_in_order() -> None:
    """Below any file system: O_DIRECT writes and fsync of the loop device itself."""
    with LoggedFileSystem() as fs:
        assert queue_setting(fs.device, "write_cache") == "write back"
        assert queue_setting(fs.device, "fua") == "0"  # it comes as a write and a flush
        subprocess.run(["umount", fs.mount_path], check=True, timeout=60)
        # The device went with its mount; take it again, bare.
        said = subprocess.run(
            ["losetup", "--find", "--show", fs.mark_path.with_name("disk")],
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        device = said.stdout.strip()
        try:
            page = mmap.mmap(-1, 4096)
            page.write(b"direct!!" * 512)
            bare = os.open(device, os.O_RDWR | os.O_DIRECT)
            fs.mark("write")
            os.pwrite(bare, page, 8192)
            fs.mark("written")
            os.fsync(bare)
            fs.mark("flushed")
            assert os.preadv(bare, [page], 8192) == 4096
            os.close(bare)
        finally:
            subprocess.run(["losetup", "--detach", device], check=True, timeout=60)
        subprocess.run(
            ["mount", "-o", "loop", fs.mark_path.with_name("disk"), fs.mount_path],
            check=True,
            timeout=60,
        )
        with fs.finish() as log:
            # It is in the log when pwrite returns, and nothing that was not asked for is.
            assert kinds_between(log, "write", "written") == [Kind.WRITE]
            assert kinds_between(log, "written", "flushed") == [Kind.FLUSH]
            [write] = [w for w in log.writes if w.begin >= log.marked("write")][:1]
            assert (write.offset_bytes, write.length_bytes) == (8192, 4096)
            assert log.data(write) == b"direct!!" * 512
            assert log.pending(log.marked("written")) == [write]
            assert write not in log.pending(log.marked("flushed"))


@pytest.mark.usefixtures("real_disks")
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_an_fsync_flushes_all_that_it_wrote(kind: str) -> None:
    if not any((Path(p) / f"mkfs.{kind}").exists() for p in ("/sbin", "/usr/sbin", "/usr/bin")):
        pytest.skip(f"no mkfs.{kind} (it is not needed for the ext4 tests)")
    content = os.urandom(20000)
    with LoggedFileSystem(kind) as fs:
        with (fs.mount_path / "file").open("wb") as file:
            file.write(content)
            file.flush()
            fs.mark("fsync")
            os.fsync(file.fileno())
            fs.mark("fsynced")
        log = fs.finish()
    with log:
        happened = kinds_between(log, "fsync", "fsynced")
        assert Kind.WRITE in happened
        assert Kind.FLUSH in happened
        asked = range(log.marked("fsync"), log.marked("fsynced"))
        data = [w for w in log.writes if w.begin in asked and content[:512] in log.data(w)]
        assert data
        assert not [w for w in data if not log.is_durable(w, log.marked("fsynced"))]


@pytest.mark.usefixtures("real_disks")
def test_requests_do_not_overlap_and_their_data_is_what_a_reader_sees() -> None:
    """The loop device asks for one thing after the other: order of arrival is all there is."""
    with LoggedFileSystem() as fs:
        for number in range(20):
            with (fs.mount_path / str(number)).open("wb") as file:
                file.write(os.urandom(30000))
                file.flush()
                os.fsync(file.fileno())
        with fs.finish() as log:
            assert len(log.writes) > 20
            pairs = zip(log.entries, log.entries[1:], strict=False)
            assert all(one.end < other.begin for one, other in pairs)


@pytest.mark.usefixtures("real_disks")
def test_a_full_log_is_an_error_for_the_writer_and_all_is_given_back() -> None:
    with (
        LoggedFileSystem(size_bytes=64 << 20, log_limit_bytes=8 << 20) as fs,
        (fs.mount_path / "file").open("wb") as file,
    ):
        file.write(bytes(16 << 20))
        file.flush()
        with pytest.raises(OSError, match=r"Input/output|Read-only"):
            os.fsync(file.fileno())
    assert not fs.directory.exists()
    assert not mounts_below(fs.directory)
    assert not loops_below(fs.directory)


@pytest.mark.usefixtures("real_disks")
def test_a_dead_server_hangs_nobody_and_all_is_given_back() -> None:
    with LoggedFileSystem() as fs:
        assert fs._server is not None
        (fs.mount_path / "file").write_bytes(bytes(100_000))
        fs._server.kill()
        fs._server.wait()
        with pytest.raises((OSError, MountFailed)):
            fs.finish()
    assert not fs.directory.exists()
    assert not mounts_below(fs.directory)
    assert not loops_below(fs.directory)


@pytest.mark.usefixtures("real_disks")
def test_a_file_left_open_is_told_and_all_is_given_back() -> None:
    with LoggedFileSystem() as fs:
        left_open = (fs.mount_path / "file").open("wb")
        with pytest.raises(MountFailed, match=r"busy"):
            fs.finish()
        left_open.close()
        fs.finish().close()
    assert not fs.directory.exists()
    assert not loops_below(fs.directory)


@pytest.mark.usefixtures("real_disks")
def test_what_a_killed_test_left_is_swept(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from simulator.live.logged_file_system import LoggedFileSystem\n"
        f"with LoggedFileSystem(parent=pathlib.Path({os.fspath(tmp_path)!r})) as fs:\n"
        "    print(fs.device, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        device = child.stdout.readline().strip()
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert loops_below(tmp_path) == [device]
    [left] = tmp_path.glob(f"{PREFIX}*")
    assert sweep(tmp_path) == [left]
    assert not left.exists()
    assert not mounts_below(tmp_path)
    assert not loops_below(tmp_path)


@pytest.mark.usefixtures("real_disks")
def test_what_a_living_test_has_is_not_swept(tmp_path: Path) -> None:
    with LoggedFileSystem(parent=tmp_path) as fs:
        assert sweep(tmp_path) == []
        (fs.mount_path / "file").write_bytes(b"still mounted")
        fs.finish().close()
