"""Files of a host volume: threads, syncs that fail, write-back, short writes, locks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from replicator.errors import Locked, NoSpace, StorageError, SyncFailed
from replicator.host import files
from replicator.host.volume import LIMIT_ATTRIBUTES, HostVolume
from replicator.host.writeback import CLOSED_FILES_LIMIT
from replicator.runtime import TimedOut, deadline, group, sleep_ns, yield_now
from tests.real_loop import PATIENCE_S, RealLoop

MILLISECOND_NS = 1_000_000


def failing(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@contextmanager
def hanging(name: str) -> Iterator[threading.Event]:
    """``os.name`` hangs until the event is set."""
    go_on, real = threading.Event(), getattr(os, name)

    def hang(*arguments: Any) -> Any:
        assert go_on.wait(PATIENCE_S)
        return real(*arguments)

    with mock.patch.object(os, name, hang):
        try:
            yield go_on
        finally:
            go_on.set()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- threads ---------------------------------------------------------------------------


def test_a_sync_that_hangs_holds_nobody_else(real: RealLoop, volume: HostVolume) -> None:
    async def program() -> int:
        file = volume.create("/f")
        turns = 0
        async with group() as g:
            syncing = g.spawn(file.sync(), "sync")
            for _ in range(50):
                await sleep_ns(1000)
                assert await file.read_at(0, 1) == b"" and file.write_at(0, b"") == 0
                turns += 1
            assert not syncing.done
            go_on.set()
        return turns

    with hanging("fdatasync") as go_on:
        assert real.run(program()) == 50


def test_a_sync_that_is_given_up_goes_on_and_closes_its_file_late(
    real: RealLoop, volume: HostVolume
) -> None:
    async def program() -> None:
        file = volume.create("/f")
        with pytest.raises(TimedOut):
            async with deadline(5 * MILLISECOND_NS):
                await file.sync()
        file.close()

    before = open_descriptors()
    with hanging("fdatasync"):
        real.run(program())
        assert open_descriptors() > before, "the thread's descriptor must not be another file's"
    real.run_until(lambda: not volume.workers.underway)
    assert open_descriptors() <= before


def test_a_sync_that_fails_after_it_was_given_up_still_poisons(
    real: RealLoop, volume: HostVolume
) -> None:
    go_on = threading.Event()

    def fail(_fd: int) -> None:
        go_on.wait(PATIENCE_S)
        raise failing(errno.EIO)

    async def program() -> None:
        file = volume.create("/f")
        file.write_at(0, b"x")
        with pytest.raises(TimedOut):
            async with deadline(5 * MILLISECOND_NS):
                await file.sync()
        go_on.set()
        while volume.workers.underway:
            await sleep_ns(MILLISECOND_NS)
        with pytest.raises(SyncFailed):
            file.write_at(0, b"y")
        file.close()
        assert volume.dirty_bytes == 0

    with mock.patch.object(os, "fdatasync", fail):
        real.run(program())


def test_reads_of_any_size_come_from_where_they_are(real: RealLoop, volume: HostVolume) -> None:
    data = os.urandom(3 * files.INLINE_READ_BYTES)

    async def program() -> None:
        file = volume.create("/f")
        file.write_at(0, data)
        await file.sync()
        for drop in (False, True):
            if drop:
                os.posix_fadvise(file._node.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for offset, length in ((5, 10), (100, files.INLINE_READ_BYTES), (1, len(data))):
                assert await file.read_at(offset, length) == data[offset : offset + length]
        file.close()

    real.run(program())


def test_where_the_page_cache_cannot_be_asked_a_thread_reads(
    real: RealLoop, volume: HostVolume
) -> None:
    async def program() -> None:
        file = volume.create("/f")
        file.write_at(0, b"abc")
        with mock.patch.object(os, "preadv", side_effect=failing(errno.EOPNOTSUPP)) as asked:
            assert await file.read_at(0, 9) == await file.read_at(0, 9) == b"abc"
            assert asked.call_count == 1
        with mock.patch.object(os, "pread", side_effect=failing(errno.EIO)):
            with pytest.raises(StorageError, match="input/output") as caught:
                await file.read_at(1, 2)
            assert (caught.value.path, caught.value.offset) == ("/f", 1)
        file.close()

    real.run(program())


# -- failed syncs ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failed_sync_poisons_all_open_handles_and_no_later_one(
    real: RealLoop, volume: HostVolume, number: int
) -> None:
    async def program() -> None:
        one, other = volume.create("/f"), volume.open("/f")
        one.write_at(0, b"x")
        broken = mock.patch.object(os, "fdatasync", side_effect=failing(number))
        with broken, pytest.raises(SyncFailed) as caught:
            await other.sync()
        assert caught.value.path == "/f" and os.strerror(number) in str(caught.value)
        later = volume.open("/f")
        for handle in (one, other):
            for _ in range(2):
                with pytest.raises(SyncFailed):
                    handle.write_at(0, b"y")
                with pytest.raises(SyncFailed):
                    await handle.sync()
            handle.close()
        later.write_at(0, b"z")
        await later.sync()
        later.close()

    real.run(program())


def test_bytes_lost_when_nobody_had_the_file_open_are_told_to_the_next(
    real: RealLoop, volume: HostVolume
) -> None:
    async def program() -> None:
        file = volume.create("/f")
        file.write_at(0, b"x" * 600_000)
        file.close()
        with mock.patch.object(os, "fdatasync", side_effect=failing(errno.EIO)):
            await volume.admit(600_000)
        for _ in range(2):
            handle = volume.open("/f")
            handle.write_at(0, b"y")
            with pytest.raises(SyncFailed):
                await handle.sync()
            handle.close()
        volume.unlink("/f")
        fresh = volume.create("/f")
        await fresh.sync()
        fresh.close()

    real.run(program())


def test_a_directory_whose_sync_failed_fails_for_ever(real: RealLoop, volume: HostVolume) -> None:
    async def program() -> None:
        volume.mkdir("/d")
        with mock.patch.object(os, "fsync", side_effect=failing(errno.EIO)):
            with pytest.raises(SyncFailed) as caught:
                await volume.sync_directory("/d")
            assert caught.value.path == "/d"
        with pytest.raises(SyncFailed):
            await volume.sync_directory("/d")
        await volume.sync_directory("/")

    real.run(program())


# -- space -----------------------------------------------------------------------------


def test_a_write_cut_short_says_how_far_it_came(real: RealLoop, volume: HostVolume) -> None:
    file = volume.create("/f")
    room = 100
    pwritev = os.pwritev

    def almost_full(fd: int, buffers: list[bytes], offset: int) -> int:
        nonlocal room
        if not room:
            raise failing(errno.ENOSPC)
        data = b"".join(buffers)[: min(room, 30)]
        room -= len(data)
        return pwritev(fd, [data], offset)

    with mock.patch.object(os, "pwritev", almost_full):
        assert file.write_at(10, b"a" * 50, bytearray(b"b" * 40), memoryview(b"c" * 60)) == 100
        with pytest.raises(NoSpace) as caught:
            file.write_at(110, b"d")
        assert (caught.value.path, caught.value.offset) == ("/f", 110)
    expected = bytes(10) + b"a" * 50 + b"b" * 40 + b"c" * 10
    assert real.run(file.read_at(0, 999)) == expected
    assert volume.dirty_bytes == 100


def test_a_write_that_fails_half_way_says_how_far_it_came(volume: HostVolume) -> None:
    """Whoever keeps the history must know what of it is in the file."""
    file = volume.create("/f")
    answers = [4, failing(errno.EIO), failing(errno.EIO)]
    with mock.patch.object(os, "pwritev", side_effect=answers):
        assert file.write_at(0, b"12345678") == 4
        with pytest.raises(StorageError, match="input/output") as caught:
            file.write_at(4, b"5678")
    assert caught.value.offset == 4


def test_very_many_buffers_are_one_write(real: RealLoop, volume: HostVolume) -> None:
    file = volume.create("/f")
    buffers = [bytes([number % 251]) * (number % 7) for number in range(3000)]
    assert file.write_at(3, *buffers) == sum(map(len, buffers))
    assert real.run(file.read_at(3, 99999)) == b"".join(buffers)


def test_where_ranges_cannot_be_zeroed_zeros_are_written(
    real: RealLoop, volume: HostVolume
) -> None:
    file = volume.create("/f")
    file.write_at(0, b"x" * 3_000_000)
    with mock.patch.object(files, "_fallocate", side_effect=failing(errno.EOPNOTSUPP)):
        file.zero_range(1, 2_500_000)
        file.zero_range(2_999_999, 10)
        file.allocate(0, 1)
        with pytest.raises(NoSpace):
            file.allocate(0, 1 << 60)
    data = real.run(file.read_at(0, 4_000_000))
    assert data == b"x" + bytes(2_500_000) + b"x" * 499_998 + bytes(10)
    real.run(file.sync())


# -- back-pressure ---------------------------------------------------------------------


def test_admit_writes_back_and_never_passes_the_limit(real: RealLoop, volume: HostVolume) -> None:
    async def program() -> int:
        most = 0
        handles = [volume.create(f"/{number}") for number in range(3)]
        for number in range(60):
            await volume.admit(100_000)
            handles[number % 3].write_at(number * 100_000, b"x" * 100_000)
            most = max(most, volume.dirty_bytes)
        for handle in handles:
            await handle.sync()
            handle.close()
        return most

    assert (1 << 19) < real.run(program()) <= 1 << 20
    real.run_until(lambda: not volume.workers.underway)
    assert volume.dirty_bytes == 0


def test_what_is_written_during_a_sync_stays_dirty(real: RealLoop, volume: HostVolume) -> None:
    async def program() -> None:
        file = volume.create("/f")
        file.write_at(0, b"x" * 100)
        async with group() as g:
            g.spawn(file.sync(), "sync")
            await yield_now()
            file.write_at(0, b"y" * 50)
            go_on.set()
        assert volume.dirty_bytes == 50
        await file.sync()
        assert volume.dirty_bytes == 0
        file.close()

    with hanging("fdatasync") as go_on:
        real.run(program())


def test_a_writer_held_by_a_hanging_disk_can_be_cancelled(
    real: RealLoop, volume: HostVolume
) -> None:
    async def program() -> None:
        file = volume.create("/f")
        file.write_at(0, b"x" * (1 << 20))
        with pytest.raises(TimedOut):
            async with deadline(5 * MILLISECOND_NS):
                await volume.admit(1)
        go_on.set()
        await volume.admit(1)
        file.close()

    with hanging("fdatasync") as go_on:
        real.run(program())


def test_files_closed_dirty_are_few_and_their_descriptors_come_back(
    real: RealLoop, volume: HostVolume
) -> None:
    before = open_descriptors()

    async def program() -> int:
        most = 0
        for number in range(4 * CLOSED_FILES_LIMIT):
            await volume.admit(10)
            file = volume.create(f"/{number}")
            file.write_at(0, b"0123456789")
            file.close()
            most = max(most, open_descriptors() - before)
        return most

    assert real.run(program()) <= CLOSED_FILES_LIMIT + 4
    volume.close()
    real.run_until(lambda: not volume.workers.underway)
    assert open_descriptors() <= before


def test_a_file_that_is_closed_and_removed_gives_back_its_space(volume: HostVolume) -> None:
    before = open_descriptors()
    for name in ("/a", "/b", "/c"):
        file = volume.create(name)
        file.write_at(0, b"x" * 1000)
        if name != "/c":
            file.close()
    volume.unlink("/a")
    volume.rename("/c", "/b")
    file.close()
    assert volume.dirty_bytes == 1000 and open_descriptors() == before + 1
    volume.unlink("/b")
    assert volume.dirty_bytes == 0 and open_descriptors() == before


# -- locks and children ----------------------------------------------------------------


def test_a_lock_is_gone_when_its_process_is_killed(
    real: RealLoop, volume: HostVolume, base: Path
) -> None:
    program = (
        "import asyncio, sys, time\n"
        "from replicator.host.volume import HostVolume\n"
        "loop = asyncio.new_event_loop()\n"
        "lock = HostVolume('data', sys.argv[1], loop).lock('/lock')\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "held\n"
            with pytest.raises(Locked):
                volume.lock("/lock")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE_S)
    volume.lock("/lock").release()


def test_no_descriptor_passes_to_a_child(volume: HostVolume) -> None:
    file, lock = volume.create("/f"), volume.lock("/lock")
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if "/base" in target:
            assert not os.get_inheritable(int(descriptor)), target
    lock.release()
    file.close()


def test_two_readers_one_of_them_cancelled(real: RealLoop, volume: HostVolume) -> None:
    async def program() -> Callable[[], bytes]:
        file = volume.create("/f")
        file.write_at(0, b"x" * (1 << 20))
        async with group() as g:
            first = g.spawn(file.read_at(0, 1 << 20), "first")
            second = g.spawn(file.read_at(0, 1 << 20), "second")
            await yield_now()
            first.cancel()
            go_on.set()
        file.close()
        assert first.cancelled
        return second.result

    with hanging("pread") as go_on:
        assert real.run(program())() == b"x" * (1 << 20)


# -- offsets that no file has ----------------------------------------------------------


@pytest.mark.parametrize("offset", [-1, (1 << 63) - 1, 1 << 63, 1 << 64, 1 << 100])
def test_an_offset_that_is_no_64_bit_number_is_a_storage_error(
    volume: HostVolume, offset: int
) -> None:
    file = volume.create("/f")
    file.write_at(0, b"content")
    calls: list[Callable[[], object]] = [
        lambda: file.write_at(offset, b"x"),
        lambda: file.truncate(offset),
        lambda: file.zero_range(offset, 7),
        lambda: file.allocate(offset, 7),
    ]
    for call in calls:
        with pytest.raises(StorageError):
            call()
    assert file.size_bytes == 7
    file.close()


def test_a_read_before_the_beginning_is_refused(real: RealLoop, volume: HostVolume) -> None:
    """The kernel's calls with flags take -1 for the position of the descriptor."""
    file = volume.create("/f")
    file.write_at(0, b"content")
    with pytest.raises(StorageError):
        real.run(file.read_at(-1, 3))
    file.close()


def test_attributes_in_many_directories_keep_few_of_them_open(
    real: RealLoop, volume: HostVolume
) -> None:
    for number in range(LIMIT_ATTRIBUTES + 9):
        volume.mkdir(f"/{number}")
        volume.mkdir(f"/{number}/below")
        volume.set_attributes(f"/{number}/below", 0o711)
        waiting = sum(map(len, volume._attributes.values()))
        assert waiting <= LIMIT_ATTRIBUTES
        assert len(volume._attributes) <= LIMIT_ATTRIBUTES, "directories without any are kept"
    assert waiting == 9
    assert volume.stat("/0/below").attributes == 0o711
    real.run(volume.sync_directory(f"/{LIMIT_ATTRIBUTES + 8}"))
    assert sum(map(len, volume._attributes.values())) == 8
