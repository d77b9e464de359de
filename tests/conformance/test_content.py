"""What the port promises about bytes: writes, gaps, sizes, reads, handles."""

from __future__ import annotations

import pytest

from replicator.errors import StorageError
from replicator.runtime.port import Scan, Volume
from tests.conformance.storage_worlds import StorageWorld

FAR = 3 * (1 << 20) + 12345


def test_a_write_of_several_buffers_is_one_write(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        mutable = bytearray(b"-two-")
        assert file.write_at(2, b"one", mutable, memoryview(b"three"), b"") == 13
        mutable[:] = b"XXXXX"
        assert await file.read_at(0, 99) == b"\0\0one-two-three"
        alone = bytearray(b"alone")
        file.write_at(0, alone)
        alone[:] = b"XXXXX"
        assert await file.read_at(0, 5) == b"alone"
        assert file.write_at(0, memoryview(b"abcdef")[2:4]) == 2
        assert await file.read_at(0, 5) == b"cdone"

    world.run(program)


def test_a_write_of_nothing_does_nothing(world: StorageWorld) -> None:
    file = world.mounted().create(world.root + "/f")
    assert file.write_at(0) == file.write_at(100, b"") == file.write_at(5, b"", b"") == 0
    assert file.size_bytes == 0


@pytest.mark.parametrize("gap", [1, 511, 4096, 8191, 8192, 8193, FAR])
def test_a_gap_reads_as_zeros(world: StorageWorld, gap: int) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        file.write_at(0, b"x")
        file.write_at(1 + gap, b"y")
        assert file.size_bytes == volume.stat(world.root + "/f").size_bytes == gap + 2
        assert await file.read_at(0, gap + 9) == b"x" + bytes(gap) + b"y"

    world.run(program)


def test_overlapping_writes_at_all_borders_of_blocks(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        expected = bytearray()
        at_border = (0, 1, 4095, 4096, 8191, 8192, 8193, 12288, 16384, 16385)
        for number, offset in enumerate(at_border):
            for length in (1, 512, 4096, 8192, 8193, 20000):
                data = bytes([number * 16 + length % 16 + 1]) * length
                assert file.write_at(offset, data) == length
                if len(expected) < offset + length:
                    expected.extend(bytes(offset + length - len(expected)))
                expected[offset : offset + length] = data
        assert await file.read_at(0, 1 << 20) == expected

    world.run(program)


def test_truncate_cuts_and_what_is_gained_again_reads_as_zeros(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        for size, larger in ((100, 300), (8192, 8193), (8000, 30000), (0, 10), (16384, 20000)):
            file.truncate(0)
            file.write_at(0, b"d" * 20000)
            file.truncate(size)
            assert (file.size_bytes, await file.read_at(0, 99999)) == (size, b"d" * size)
            file.truncate(larger)
            assert file.size_bytes == larger
            assert await file.read_at(0, 99999) == b"d" * size + bytes(larger - size)

    world.run(program)


def test_a_write_beyond_a_cut_does_not_bring_old_bytes_back(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        file.write_at(0, b"d" * 9000)
        file.truncate(10)
        file.write_at(8500, b"e")
        assert await file.read_at(0, 9999) == b"d" * 10 + bytes(8490) + b"e"

    world.run(program)


@pytest.mark.parametrize(("offset", "length"), [(0, 30000), (1, 8191), (8192, 8192), (100, 20000)])
def test_zero_range_reads_as_zeros_and_no_more(
    world: StorageWorld, offset: int, length: int
) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        file.write_at(0, b"d" * 30000)
        file.zero_range(offset, length)
        assert file.size_bytes == 30000
        rest = b"d" * (30000 - offset - length)
        assert await file.read_at(0, 30000) == b"d" * offset + bytes(length) + rest

    world.run(program)


def test_zero_range_grows_the_file(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        file.write_at(0, b"dd")
        file.zero_range(1, 9000)
        assert (file.size_bytes, await file.read_at(0, 9999)) == (9001, b"d" + bytes(9000))
        file.zero_range(20000, 0)
        assert file.size_bytes == 9001

    world.run(program)


def test_allocate_changes_neither_size_nor_bytes(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        file.write_at(0, b"dd")
        free = volume.free_bytes()
        file.allocate(0, 1 << 20)
        assert (file.size_bytes, await file.read_at(0, 10)) == (2, b"dd")
        assert volume.free_bytes() <= free - (1 << 20) + 2 * world.block_bytes

    world.run(program)


def test_a_read_is_short_only_at_the_end(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        file.write_at(0, b"0123456789")
        assert await file.read_at(8, 5) == b"89"
        for offset, length in ((10, 5), (11, 5), (1 << 40, 1), (3, 0)):
            assert await file.read_at(offset, length) == b""
        file.truncate(20000)
        assert await file.read_at(9, 30000) == b"9" + bytes(19990)

    world.run(program)


def test_two_handles_show_one_file(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        one = volume.create(world.root + "/f")
        two = volume.open(world.root + "/f")
        one.write_at(0, b"abcdef")
        assert await two.read_at(0, 9) == b"abcdef"
        two.truncate(2)
        assert (one.size_bytes, await one.read_at(0, 9)) == (2, b"ab")
        one.close()
        two.write_at(0, b"AB")
        assert await two.read_at(0, 9) == b"AB"

    world.run(program)


@pytest.mark.parametrize("length", [0, 1, 20_000, 300_000, 700_000])
@pytest.mark.parametrize("piece_bytes", [8192, 262_144, 1 << 20])
@pytest.mark.parametrize("offset", [0, 8192, 499_999, 600_000])
def test_a_scan_hands_over_each_piece(
    world: StorageWorld, offset: int, length: int, piece_bytes: int
) -> None:
    async def program(volume: Volume) -> None:
        file = volume.create(world.root + "/f")
        content = bytes(range(251)) * 1993
        file.write_at(0, content)
        end = offset + length
        expected = [
            content[at : min(at + piece_bytes, end)][::-1] for at in range(offset, end, piece_bytes)
        ]
        scan = Scan(offset, length, piece_bytes, lambda piece: piece[::-1], 0.1)
        assert await file.scan(scan) == expected

    world.run(program)


def test_a_closed_handle_is_of_no_use(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        path = world.root + "/f"
        file = volume.create(path)
        file.write_at(0, b"abc")
        file.close()
        file.close()
        for call in (
            lambda: file.write_at(0, b"x"),
            lambda: file.truncate(0),
            lambda: file.zero_range(0, 1),
            lambda: file.allocate(0, 1),
        ):
            with pytest.raises(StorageError) as caught:
                call()
            assert caught.value.path == path
        whole = Scan(0, 1 << 20, 1 << 18, bytes, 0)
        for wait in (file.read_at(0, 1), file.scan(whole), file.sync()):
            with pytest.raises(StorageError) as caught:
                await wait
            assert caught.value.path == path
        again = volume.open(path)
        assert await again.read_at(0, 9) == b"abc"

    world.run(program)


def test_who_opens_for_reading_only_reads_and_changes_nothing(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        path = world.root + "/f"
        writer = volume.create(path)
        writer.write_at(0, b"one")
        reader = volume.open(path, read_only=True)
        for change in (
            lambda: reader.write_at(0, b"x"),
            lambda: reader.truncate(0),
            lambda: reader.zero_range(0, 1),
            lambda: reader.allocate(0, 1),
        ):
            with pytest.raises(StorageError, match="opened for reading only") as refused:
                change()
            assert refused.value.path == path
        assert await reader.read_at(0, 9) == b"one"
        await reader.sync()
        reader.close()
        with pytest.raises(StorageError, match="is closed"):
            reader.write_at(0, b"x")
        writer.write_at(3, b" two")
        assert await writer.read_at(0, 9) == b"one two"

    world.run(program)


def test_a_file_open_for_reading_only_can_be_opened_for_writing_too(world: StorageWorld) -> None:
    async def program(volume: Volume) -> None:
        path = world.root + "/f"
        made = volume.create(path)
        made.write_at(0, b"one")
        await made.sync()
        made.close()
        reader = volume.open(path, read_only=True)
        assert await reader.read_at(0, 9) == b"one"
        writer = volume.open(path)
        writer.write_at(0, b"two")
        await writer.sync()
        assert await reader.read_at(0, 9) == b"two"
        writer.close()
        assert await reader.read_at(0, 9) == b"two"
        volume.open(path).write_at(0, b"six")
        await reader.sync()
        assert await reader.read_at(0, 9) == b"six"

    world.run(program)
