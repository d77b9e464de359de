"""Whatever a file holds: the reader ends, in little time and memory, with a value or EseError."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.ese.btree import BTree
from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.checksum import header_checksum, with_checksums
from replicator.ese.database import Database
from replicator.ese.database_check import check_database
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FlushMap
from replicator.ese.reader import BytesReader, FileReader
from replicator.ese.space import available_extents, owned_extents
from tests.ese.samples import load, sample

FILES = settings.default.max_examples // 4
"""Whole files are read for each example."""

NAMES = (
    "readers-4k/index.edb",
    "readers-8k/decompress_test.edb",
    "bits-16k-dirty/qmgr.db",
    "srum-server2022-later/SRUDB.dat",
)


def used_part(name: str) -> bytes:
    """A sample without the pages behind the last one in use; each of them is like the other."""
    size, data = sample(name).page_size, load(name)
    return data[: -(-len(data.rstrip(b"\0")) // size) * size]


def read_everything(reader: BytesReader) -> int:
    """Everything that can be asked of a database; each refusal must be an EseError."""
    done = 0
    try:
        database = Database(reader, allow_dirty=True)
        check_database(reader, contents=True)
        tables = database.tables()
    except EseError as error:
        assert str(error)
        return done
    for table in tables:
        try:
            for row in table.rows():
                done += 1
                for column in table.columns:
                    try:
                        assert row[column.name] is not NotImplemented
                    except EseError as error:
                        assert error.page is not None
        except EseError as error:
            assert str(error)
        for ask in (owned_extents, available_extents):
            try:
                ask(database.source, table.definition.root_pgno)
            except EseError as error:
                assert str(error)
    return done


def used_pages(name: str) -> list[int]:
    size = sample(name).page_size
    data = load(name)
    return [
        pgno
        for pgno in range(1, sample(name).pages + 1)
        if any(data[(pgno + 1) * size : (pgno + 2) * size])
    ]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=FILES)
@given(data=st.data())
def test_changed_pages_with_fitting_checksums(name: str, data: st.DataObject) -> None:
    """The worst: what no checksum betrays."""
    size = sample(name).page_size
    changed = bytearray(used_part(name))
    pages = used_pages(name)
    for _ in range(data.draw(st.integers(1, 6))):
        pgno = data.draw(st.sampled_from(pages))
        start = (pgno + 1) * size
        page = changed[start : start + size]
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(
                st.integers(16, 130) | st.integers(0, size - 1) | st.integers(size - 120, size - 1)
            )
            page[at] = data.draw(st.integers(0, 255) | st.just(0xFF))
        other = data.draw(st.none() | st.sampled_from(pages))
        if other is not None:  # a whole page of another place, as if it belonged here
            page = changed[(other + 1) * size : (other + 2) * size]
        changed[start : start + size] = with_checksums(page, pgno)
    read_everything(BytesReader(changed, name))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=FILES)
@given(data=st.data())
def test_flipped_and_cut_files(name: str, data: st.DataObject) -> None:
    changed = bytearray(used_part(name))
    for _ in range(data.draw(st.integers(0, 20))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(changed)) | st.just(len(changed)))
    read_everything(BytesReader(changed[:cut], name))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=FILES)
@given(data=st.data())
def test_changed_headers_with_fitting_checksums(name: str, data: st.DataObject) -> None:
    size = sample(name).page_size
    changed = bytearray(used_part(name))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, 747) | st.sampled_from([52, 208, 209, 236, 237]))
        changed[at] = data.draw(st.integers(0, 255))
    block = changed[:size]
    changed[:4] = header_checksum(block).to_bytes(4, "little")
    read_everything(BytesReader(changed, name))


@given(st.binary(max_size=20_000), st.sampled_from([2048, 4096]))
def test_a_file_of_anything_behind_a_good_header(junk: bytes, size: int) -> None:
    header = bytearray(load("readers-4k/index.edb")[:4096])[:size]
    header[236:240] = size.to_bytes(4, "little")
    header[:4] = header_checksum(header).to_bytes(4, "little")
    read_everything(BytesReader(bytes(header) * 2 + junk))


@given(data=st.data())
def test_checkpoints_and_flush_maps(data: st.DataObject) -> None:
    for name, block in (
        ("srum-server2022-later/SRU.chk", 4096),
        ("srum-server2022-later/SRUDB.jfm", 8192),
    ):
        changed = bytearray(load(name))
        for _ in range(data.draw(st.integers(0, 4))):
            changed[data.draw(st.integers(0, 800))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            changed[:4] = header_checksum(changed[:block]).to_bytes(4, "little")
        reader = BytesReader(changed[: data.draw(st.integers(0, len(changed)))])
        try:
            if block == 4096:
                checkpoint, _ = read_checkpoint(reader)
                assert isinstance(checkpoint.attachments, tuple | None)
                assert isinstance(checkpoint.parameters.system_path, str)
            else:
                assert len(FlushMap(reader).types(1, 40_000)) == 40_000
        except EseError as error:
            assert str(error)


def test_memory_does_not_grow_with_the_file() -> None:
    """Sixteen MiB of pages are judged and walked with a small part of that in memory."""
    data = load("srum-server2022-later/SRUDB.dat")
    data += bytes((16 << 20) - len(data))
    reader = BytesReader(data)
    tracemalloc.start()
    try:
        check_database(reader)
        database = Database(reader)
        for _ in BTree(database.source, 4).entries():
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


def test_files_that_are_not_there_or_are_directories(tmp_path: object) -> None:
    with pytest.raises(EseError) as caught:
        FileReader(f"{tmp_path}/nothing.edb")
    assert caught.value.number == -1811
    with pytest.raises(EseError) as caught:
        FileReader(str(tmp_path))
    assert caught.value.number == -1811
    assert "directory" in str(caught.value)
