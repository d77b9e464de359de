"""Damage to checkpoints, staging files and traces: the other copy, or a named place."""

from __future__ import annotations

import json
import struct
from itertools import islice
from pathlib import Path

import pytest
import xxhash
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from replicator.block_frames import ExtentPages
from replicator.catalogue import Catalogue, Entry
from replicator.committed_pages import check_staged, read_commit, staged_pages
from replicator.digests import PAGE_BYTES
from replicator.errors import BadInput, DamagedLog
from replicator.readonly import run_to_end
from replicator.runtime.port import EntryKind
from replicator.slots import StateSlots
from replicator.staging import open_staging
from simulator.traces import read_writes
from tests.tools.small_logs import EPOCH, DictVolume

OLD, NEW = {"epoch": 1, "text": "old"}, {"epoch": 2, "text": "newest"}
EXCERPT = Path(__file__).parents[2] / "scenarios" / "data" / "vscsi-excerpt.csv"


def slots(*states: dict) -> dict[str, bytes]:
    volume = DictVolume()
    pair = StateSlots(volume, "/state")
    for state in states:
        run_to_end(pair.write(state))
    return volume.content()


def load(files: dict[str, bytes]):
    return run_to_end(StateSlots(DictVolume(files), "/state").load())


def sealed(body: bytes, number: int) -> bytes:
    """The content of a slot of ``/state``, as docs/journal.md has it."""
    checksum = xxhash.xxh3_128_digest(b"state\0" + body, number)
    return struct.pack("<8sQI16s", b"XRSLOT2\0", number, len(body), checksum) + body


def mutations(data: bytes):
    for length in range(len(data)):
        yield data[:length]
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield bytes(changed)


def test_when_one_copy_is_damaged_the_other_is_used():
    files = slots(OLD, NEW)
    assert load(files) == NEW
    for path, kept in (("/state.a", NEW), ("/state.b", OLD)):
        for changed in mutations(files[path]):
            assert load({**files, path: changed}) == kept


def test_when_both_copies_are_damaged_it_is_said():
    files = slots(OLD, NEW)
    for a in islice(mutations(files["/state.a"]), 1, None, 37):
        for b in islice(mutations(files["/state.b"]), 1, None, 37):
            with pytest.raises(DamagedLog, match="neither copy") as caught:
                load({"/state.a": a, "/state.b": b})
            assert caught.value.path == "/state.a"


def test_a_first_write_that_was_torn_is_no_state():
    files = slots(OLD)
    for changed in mutations(files["/state.a"]):
        assert load({"/state.a": changed}) is None


@given(st.binary(max_size=100), st.booleans())
def test_a_sealed_slot_with_any_content_is_a_state_or_none(content, packed):
    body = zstandard.compress(content) if packed else content
    assert load({"/state.a": sealed(body, 5)}) is None or packed


@pytest.mark.parametrize(
    "body",
    [
        zstandard.compress(b"[" * 100_000),
        zstandard.compress(b"[1]"),
        b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 62) + b"\x01\x00\x00",
    ],
    ids=["deep", "no object", "bomb"],
)
def test_a_sealed_slot_that_holds_nonsense_is_not_valid(body):
    files = slots(OLD, NEW)
    assert load({**files, "/state.a": sealed(body, 9)}) == NEW


def test_a_slot_is_sealed_as_it_is_documented():
    assert load({"/state.a": sealed(zstandard.compress(b'{"epoch": 7}'), 3)}) == {"epoch": 7}


CHECKPOINT = {"set": "mail", "promised_epoch": 3, "promoted": False}


def strayed() -> dict[str, bytes]:
    """A checkpoint that the disk has written into both places of the promotion."""
    volume = DictVolume()
    run_to_end(StateSlots(volume, "/replica/checkpoint").write(CHECKPOINT))
    [data] = volume.content().values()
    return {"/replica/promoted.a": data, "/replica/promoted.b": data}


def test_a_state_in_the_place_of_another_kind_is_none():
    with pytest.raises(DamagedLog, match="neither copy"):
        run_to_end(StateSlots(DictVolume(strayed()), "/replica/promoted").load())


def test_without_its_kind_a_checkpoint_would_be_a_promotion(monkeypatch):
    monkeypatch.setattr("replicator.slots.kind_of", lambda _path: "any")
    found = run_to_end(StateSlots(DictVolume(strayed()), "/replica/promoted").load())
    assert found == CHECKPOINT


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), max_size=5))
def test_states_come_back(state):
    files = slots(OLD, state)
    assert load(files) == json.loads(json.dumps(state))


# -- staging ---------------------------------------------------------------------------

PAGE = b"a" * PAGE_BYTES
PAGES = [
    (1, ExtentPages(0, 1, 0, PAGE)),
    (1, ExtentPages(0, 2, 2, b"")),
    (2, ExtentPages(0, 1, 0, PAGE)),
]
STAGED = [(1, 0, PAGE_BYTES, PAGE), (1, PAGE_BYTES, PAGE_BYTES, b""), (2, 0, PAGE_BYTES, PAGE)]


def staged() -> tuple[dict[str, bytes], dict]:
    names = Catalogue()
    names.add("/x", Entry(EntryKind.FILE, 1, size_bytes=PAGE_BYTES + 7))
    names.add("/y", Entry(EntryKind.FILE, 2, size_bytes=1))
    volume = DictVolume()
    staging = run_to_end(open_staging(volume, "/staging", EPOCH, b"", names, 0))
    for file_id, pages in PAGES:
        run_to_end(staging.add(file_id, pages, 0))
    return volume.content(), read_commit(run_to_end(staging.describe(9, (1, 0))))


def read_staged(files: dict[str, bytes], document: dict):
    async def collect():
        volume = DictVolume(files)
        await check_staged(volume, document)
        return [found async for found in staged_pages(volume, document)]

    return run_to_end(collect())


def committed_parts(path: str, data: bytes) -> list[int]:
    """Places of a staging file that a commit covers: slots 0, 1 and 36."""
    size = PAGE_BYTES if path.endswith(".pages") else 16
    slots = (0, 36) if size == PAGE_BYTES else (0, 1, 36)
    return [place for slot in slots for place in range(slot * size, (slot + 1) * size)]


@pytest.mark.parametrize("suffix", [".pages", ".index"])
def test_every_cut_and_flipped_bit_of_committed_pages_is_damage(suffix):
    files, document = staged()
    assert read_staged(files, document) == STAGED
    [path] = [path for path in files if path.endswith(suffix)]
    data = files[path]
    places = committed_parts(path, data)
    assert max(places) == len(data) - 1
    for place in places[:: 41 if suffix == ".pages" else 1]:
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        for spoiled in (bytes(changed), data[:place]):
            with pytest.raises(DamagedLog) as caught:
                read_staged({**files, path: spoiled}, document)
            assert caught.value.path == path
            assert caught.value.offset is not None
    del files[path]
    with pytest.raises(DamagedLog, match="gone"):
        read_staged(files, document)


# -- traces ----------------------------------------------------------------------------


def test_a_cut_or_flipped_trace_is_read_or_named_by_line(tmp_path):
    whole = b"".join(EXCERPT.read_bytes().splitlines(keepends=True)[:8])
    path = tmp_path / "trace.csv"
    path.write_bytes(whole)
    writes = list(read_writes(path))
    assert writes
    line_ends = {i + 1 for i, byte in enumerate(whole) if byte == ord("\n")}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in line_ends:
            assert list(read_writes(path)) == writes[: len(list(read_writes(path)))]
            continue
        with pytest.raises(BadInput) as caught:
            list(read_writes(path))
        assert caught.value.path == str(path)
        assert caught.value.line
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(changed))
        try:
            assert len(list(read_writes(path))) <= 9
        except BadInput as error:
            assert error.line is not None
            assert error.offset is not None
