"""Every cut and flipped bit of a frame, and any bytes as a payload: refused, never believed."""

from __future__ import annotations

import json
import struct
import tracemalloc
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from replicator.batch import Compressor, unpack_body, verify_batch
from replicator.block_frames import (
    EXTENTS_PER_FRAME,
    EXTENTS_PER_PAGE_FRAME,
    ExtentDigests,
    ExtentPages,
    ExtentsWanted,
    PageData,
    PageDigests,
    PagesWanted,
    bits_of,
    pack_document,
    unpack_document,
)
from replicator.catalogue import Catalogue, Entry
from replicator.committed_pages import read_commit
from replicator.connection import Connection
from replicator.digests import DIGEST_BYTES, PAGE_BYTES, PAGES_PER_EXTENT
from replicator.errors import ConnectionLost, DamagedLog, ProtocolViolation
from replicator.operation import (
    CONTENT_KINDS,
    LARGEST_OFFSET,
    PREFIX,
    Operation,
    OperationKind,
    decode_operation,
    decode_path,
    encode_path,
)
from replicator.protocol import (
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    TRANSITIONS,
    Acknowledgement,
    BatchHeader,
    Frame,
    FrameType,
    Heartbeat,
    Role,
    frame_header,
    head_seal,
    parse_header,
)
from replicator.readonly import run_to_end
from replicator.records import InvalidRecord, Record, genesis
from replicator.runtime.port import EntryKind
from tests.tools.small_logs import EPOCH, OPERATIONS, SET, batch

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
LINK = st.binary(min_size=16, max_size=16)


class Wire:
    """A stream that delivers given bytes, in pieces of any size, and then ends."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    async def receive_exactly(self, size_bytes: int) -> bytes:
        if self._at + size_bytes > len(self._data):
            raise ConnectionLost("the peer closed the connection")
        self._at += size_bytes
        return self._data[self._at - size_bytes : self._at]


def receive_all(data: bytes, role: Role, states) -> list[Frame]:
    """The frames that a connection in such a state takes from ``data`` before it refuses."""
    connection = Connection(Wire(data), role)
    connection.session.state = states
    frames: list[Frame] = []
    try:
        while True:
            frames.append(run_to_end(connection.receive()))
    except (ConnectionLost, ProtocolViolation) as error:
        assert str(error)
        return frames


@pytest.mark.parametrize(
    ("state", "sender", "kind"), sorted(TRANSITIONS), ids=lambda each: getattr(each, "name", each)
)
def test_every_cut_and_flipped_bit_of_a_frame(state, sender, kind):
    payload = b'{"epoch": 1, "completed": 7}'
    data = frame_header(kind, payload) + payload
    role = Role.SOURCE if sender is Role.REPLICA else Role.REPLICA
    assert receive_all(data, role, state) == [Frame(kind, payload)]
    for length in range(len(data)):
        assert receive_all(data[:length], role, state) == []
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        assert receive_all(bytes(changed) + data, role, state) == []


@given(st.binary(max_size=200), st.sampled_from(sorted(TRANSITIONS)))
def test_any_bytes_are_refused(data, key):
    state, sender, _kind = key
    role = Role.SOURCE if sender is Role.REPLICA else Role.REPLICA
    assert receive_all(data, role, state) == []


def test_a_frame_that_promises_too_much_is_refused_before_it_is_read():
    payload = b"x"
    header = bytearray(frame_header(FrameType.HELLO, payload))
    struct.pack_into("<I", header, 8, MAX_PAYLOAD_BYTES + 1)
    struct.pack_into("<I", header, 12, head_seal(bytes(header[:12])))
    with pytest.raises(ProtocolViolation, match="length"):
        run_to_end(Connection(Wire(bytes(header)), Role.REPLICA).receive())


@pytest.mark.parametrize("place", range(8 * HEADER_BYTES - 64))
def test_a_changed_header_is_refused_before_the_payload_is_waited_for(place):
    """A changed length would swallow what follows: heartbeats that say that the peer lives."""
    header = bytearray(frame_header(FrameType.HELLO, b"x"))
    header[place // 8] ^= 1 << place % 8
    with pytest.raises(ProtocolViolation):
        parse_header(bytes(header))


# -- payloads of fixed form ------------------------------------------------------------

DECODERS = [
    BatchHeader.decode,
    Acknowledgement.decode,
    Heartbeat.decode,
    ExtentDigests.decode,
    ExtentsWanted.decode,
    PageDigests.decode,
    PagesWanted.decode,
    PageData.decode,
    unpack_document,
    lambda payload: unpack_body(payload, BatchHeader.decode(payload)),
    lambda payload: Frame(FrameType.HELLO, payload).document(),
]


@pytest.mark.parametrize("decode", DECODERS)
@given(payload=st.binary(max_size=200) | st.binary(max_size=60).map(lambda b: b"\1" + b))
def test_any_payload_is_understood_or_a_violation(decode, payload):
    try:
        decode(payload)
    except ProtocolViolation as violation:
        assert violation.message


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"3", b"", b"[]"],
    ids=["lists", "objects", "no text", "number", "nothing", "list"],
)
def test_documents_that_are_none(text):
    with pytest.raises(ProtocolViolation, match="HELLO holds no JSON object"):
        Frame(FrameType.HELLO, text).document()


@given(
    st.builds(
        BatchHeader,
        U32,
        U32,
        st.integers(1, 2**63),
        st.integers(2**63, 2**64 - 1),
        st.integers(0, MAX_PAYLOAD_BYTES),
        st.booleans(),
        LINK,
        LINK,
    )
)
def test_batch_headers_come_back(header):
    assert BatchHeader.decode(header.encode()) == header


@given(st.lists(U64, min_size=3, max_size=3).map(sorted), U32, U64)
def test_acknowledgements_come_back(marks, epoch, as_of_ns):
    ack = Acknowledgement(epoch, marks[2], marks[1], marks[0], as_of_ns)
    assert Acknowledgement.decode(ack.encode()) == ack


@given(st.builds(Heartbeat, U32, U64, U64))
def test_heartbeats_come_back(beat):
    assert Heartbeat.decode(beat.encode()) == beat


EXTENT = st.integers(0, 2**40)
MASK = st.integers(0, 2**PAGES_PER_EXTENT - 1)
PACKED = st.sampled_from([None, zstandard.ZstdCompressor(1).compress])


def digests_of(count: int):
    size = count * DIGEST_BYTES
    return st.binary(min_size=size, max_size=size) | st.just(bytes(size))


EXTENT_DIGESTS = st.integers(1, EXTENTS_PER_FRAME * PAGES_PER_EXTENT).flatmap(
    lambda pages: st.builds(
        ExtentDigests,
        U64,
        EXTENT,
        U64,
        st.just(pages),
        digests_of(-(-pages // PAGES_PER_EXTENT)),
    )
)
PAGE_DIGESTS = st.builds(
    PageDigests,
    U64,
    st.lists(
        st.tuples(EXTENT, st.integers(1, PAGES_PER_EXTENT).flatmap(digests_of)),
        min_size=1,
        max_size=EXTENTS_PER_PAGE_FRAME,
    ),
)


@given(EXTENT_DIGESTS, PACKED)
def test_extent_digests_come_back(digests, compress):
    assert ExtentDigests.decode(digests.encode(compress)) == digests


@given(PAGE_DIGESTS, PACKED)
def test_page_digests_come_back(digests, compress):
    assert PageDigests.decode(digests.encode(compress)) == digests


@given(
    st.lists(
        st.sampled_from(["same", "differs", "absent"]), min_size=1, max_size=EXTENTS_PER_FRAME
    ),
    U64,
)
def test_wanted_extents_come_back(states, file_id):
    wanted = ExtentsWanted(
        file_id,
        5,
        len(states),
        [n for n, state in enumerate(states) if state == "differs"],
        [n for n, state in enumerate(states) if state == "absent"],
    )
    assert ExtentsWanted.decode(wanted.encode()) == wanted


@given(U64, st.lists(st.tuples(EXTENT, MASK), min_size=1, max_size=EXTENTS_PER_FRAME))
def test_wanted_pages_come_back(file_id, extents):
    assert PagesWanted.decode(PagesWanted(file_id, extents).encode()).extents == extents


def extent_pages(extent: int, pages: int, zeros: int) -> ExtentPages:
    full = bits_of(pages & ~zeros)
    content = b"".join(bytes([page + 1]) * PAGE_BYTES for page in full)
    return ExtentPages(extent, pages, pages & zeros, content)


@given(EXTENT, MASK, MASK)
def test_runs_are_the_pages_in_order(extent, pages, zeros):
    seen = []
    runs = extent_pages(extent, pages, zeros).runs()
    for first, count, piece in runs:
        assert len(piece) in (0, count * PAGE_BYTES)
        for page in range(first, first + count):
            at = (page - first) * PAGE_BYTES
            assert piece[at : at + PAGE_BYTES] in (b"", bytes([page + 1]) * PAGE_BYTES)
            seen.append((page, bool(piece)))
    assert seen == [(page, not zeros >> page & 1) for page in bits_of(pages)]
    # None could be longer.
    for (first, count, data), (after, _, next_data) in pairwise(runs):
        assert first + count < after or bool(data) != bool(next_data)


@given(U64, st.lists(st.tuples(EXTENT, MASK, MASK), min_size=1, max_size=16), PACKED)
def test_pages_come_back(file_id, extents, compress):
    left, parts = PAGES_PER_EXTENT, []
    for extent, pages, zeros in extents:
        wanted = sum(1 << page for page in bits_of(pages)[:left])
        if wanted:
            parts.append(extent_pages(extent, wanted, zeros))
            left -= wanted.bit_count()
    if parts:
        data = PageData(file_id, parts)
        assert PageData.decode(data.encode(compress)) == data


@pytest.mark.parametrize(
    "extents",
    [
        [],
        [ExtentPages(1, 0, 0, b"")],
        [ExtentPages(1, 1, 2, b"x" * PAGE_BYTES)],
        [ExtentPages(1, 1, 0, b"x" * (PAGE_BYTES - 1))],
        [ExtentPages(1, 1, 1, b"x" * PAGE_BYTES)],
        [ExtentPages(2**50, 1, 1, b"")],
        [ExtentPages(n, 1, 1, b"") for n in range(17)],
        [ExtentPages(1, 2**32 - 1, 2**32 - 1, b""), ExtentPages(2, 1, 1, b"")],
    ],
)
def test_pages_that_no_source_sends(extents):
    with pytest.raises(ProtocolViolation):
        PageData.decode(PageData(1, extents).encode())


SMALL_FRAMES = [
    ExtentDigests(1, 0, 0, 40, b"d" * 16).encode(),
    ExtentsWanted(1, 0, 3, [0], [2]).encode(),
    PageDigests(1, [(0, b"d" * 16), (7, b"e" * 8)]).encode(),
    PagesWanted(1, [(0, 3), (9, 0)]).encode(),
    PageData(1, [ExtentPages(0, 7, 5, b"x" * PAGE_BYTES), ExtentPages(9, 1, 1, b"")]).encode(
        zstandard.ZstdCompressor(1).compress
    ),
]
SMALL_DECODERS = [
    each.decode for each in (ExtentDigests, ExtentsWanted, PageDigests, PagesWanted, PageData)
]


@pytest.mark.parametrize(
    ("decode", "payload"),
    list(zip(SMALL_DECODERS, SMALL_FRAMES, strict=True)),
    ids=["extent digests", "extents wanted", "page digests", "pages wanted", "pages"],
)
def test_every_cut_of_a_block_frame_is_a_violation_or_a_shorter_list(decode, payload):
    """The frame's checksum refuses them all; what its payload would say alone is bounded."""
    whole = decode(payload)
    for length in range(len(payload)):
        try:
            shorter = decode(payload[:length])
        except ProtocolViolation:
            continue
        assert shorter.file_id == whole.file_id
        assert len(shorter.extents) < len(whole.extents)
    for place in range(8 * len(payload)):
        changed = bytearray(payload)
        changed[place // 8] ^= 1 << place % 8
        try:
            decode(bytes(changed))
        except ProtocolViolation as violation:
            assert violation.message


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_packed_documents_come_back(document):
    assert json.loads(unpack_document(pack_document(json.dumps(document)))) == document


ONE_NAME = st.binary(min_size=1, max_size=8).filter(
    lambda name: name not in (b".", b"..") and not {0, ord("/")} & set(name)
)
PATHS = st.lists(ONE_NAME, min_size=1, max_size=3).map(
    lambda names: decode_path(b"/" + b"/".join(names))
)
TARGETS = st.binary(min_size=1, max_size=20).filter(lambda target: 0 not in target).map(decode_path)
NOTHING = st.just("")
U63 = st.integers(0, LARGEST_OFFSET)


def operations_of(kind):
    """Whatever a protected set can have had of one kind; of bytes that are UTF-8 or not."""
    name2 = {
        OperationKind.RENAME: PATHS,
        OperationKind.LINK: PATHS,
        OperationKind.SYMLINK: TARGETS,
    }.get(kind, NOTHING)
    return st.builds(
        Operation,
        st.just(kind),
        U64,
        U63,
        st.just(0),
        NOTHING if kind in CONTENT_KINDS else PATHS,
        name2,
        st.just(b""),
        U64,
    )


@given(
    st.sampled_from([k for k in OperationKind if k != OperationKind.WRITE]).flatmap(operations_of)
)
def test_operations_come_back(operation):
    record = Record(1, 1, 1, 0, b"", b"", operation.encode_prefix(), b"", 0)
    assert decode_operation(record) == operation


def sealed(kind, offset=0, length=0, name="", name2=""):
    """A record that no encoder of ours would make."""
    names = [encode_path(each) for each in (name, name2)]
    prefix = PREFIX.pack(kind, 0, *map(len, names), 0, 1, offset, length, 0)
    payload = bytes(length) if kind == OperationKind.WRITE else b""
    return Record(1, 1, 1, 0, b"", b"", prefix + b"".join(names), payload, 0)


@pytest.mark.parametrize(
    "kind, offset, length",
    [
        (OperationKind.WRITE, 1 << 63, 1),
        (OperationKind.WRITE, LARGEST_OFFSET, 1),
        (OperationKind.TRUNCATE, 1 << 63, 0),
        (OperationKind.ZERO_RANGE, 1, LARGEST_OFFSET),
        (OperationKind.ZERO_RANGE, (1 << 64) - 1, (1 << 64) - 1),
    ],
)
def test_no_operation_is_beyond_the_end_of_every_file(kind, offset, length):
    with pytest.raises(InvalidRecord, match="no file has"):
        decode_operation(sealed(kind, offset, length))


@pytest.mark.parametrize(
    "kind, name, name2",
    [
        (OperationKind.CREATE, "", ""),
        (OperationKind.RENAME, "/a", ""),
        (OperationKind.MKDIR, "/a", "/b"),
        (OperationKind.SYMLINK, "/a", ""),
        (OperationKind.SYMLINK, "/a", "b\0c"),
        (OperationKind.SYNC, "/a", ""),
    ],
)
def test_each_kind_has_the_paths_that_it_needs(kind, name, name2):
    with pytest.raises(InvalidRecord):
        decode_operation(sealed(kind, name=name, name2=name2))


@given(st.binary(max_size=80), st.binary(max_size=10))
def test_any_prefix_is_an_operation_or_invalid(prefix, payload):
    try:
        decode_operation(Record(1, 1, 1, 0, b"", b"", prefix, payload, 0))
    except InvalidRecord as invalid:
        assert invalid.reason


@pytest.mark.parametrize(
    "path", ["/../etc/passwd", "/a/../../b", "relative", "/a/./b", "/a//b", "/", "/a\0b"]
)
@pytest.mark.parametrize("kind", [OperationKind.CREATE, OperationKind.RENAME])
def test_no_operation_leads_out_of_the_protected_root(kind, path):
    pairs = [(path, ""), (path, "/b"), ("/b", path)]
    for name, name2 in pairs[:1] if kind == OperationKind.CREATE else pairs[1:]:
        with pytest.raises(InvalidRecord, match="protected root"):
            decode_operation(sealed(kind, name=name, name2=name2))
        # What cannot be read is never written either.
        with pytest.raises(AssertionError):
            Operation(kind, 1, name=name, name2=name2).encode_prefix()


# -- batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_every_flip_and_cut_of_a_batch_is_a_violation(packed):
    numbered = list(enumerate(OPERATIONS, 1))
    payload, _ = batch(numbered, genesis(SET, EPOCH), packed=packed)

    def take(data: bytes):
        header = BatchHeader.decode(data)
        return header, verify_batch(unpack_body(data, header), header)

    whole, operations = take(payload)
    assert [(number, operation) for number, operation, _chain in operations] == numbered
    for place in range(len(payload)):
        changed = bytearray(payload)
        changed[place] ^= 1 << place % 8
        try:
            header, found = take(bytes(changed))
        except ProtocolViolation:
            continue
        # Only what says nothing about the history may change unseen here: who sent it.
        assert found == operations
        assert (header.first, header.last, header.chain_after) == (
            whole.first,
            whole.last,
            whole.chain_after,
        )
    for length in range(len(payload)):
        with pytest.raises(ProtocolViolation):
            take(payload[:length])


@given(st.binary(max_size=3000), st.sampled_from([None, 1, 3]))
def test_compressed_bodies_come_back(raw, level):
    body, compressed = Compressor(level)(raw)
    header = BatchHeader(1, 1, 1, 1, len(raw), compressed, bytes(16), bytes(16))
    assert unpack_body(header.encode() + body, header) == raw


# -- decompression bombs ---------------------------------------------------------------

HUGE_DECLARED = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 62) + b"\x01\x00\x00"
BOMBS = [
    pytest.param(zstandard.compress(bytes(200 << 20), 1), id="declared"),
    pytest.param(
        zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(200 << 20)),
        id="undeclared",
    ),
    pytest.param(HUGE_DECLARED, id="beyond memory"),
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_cost_no_memory(bomb):
    small = BatchHeader(1, 1, 1, 1, 1000, True, bytes(16), bytes(16))
    for unpack in (
        lambda: unpack_body(small.encode() + bomb, small),
        lambda: PageData.decode(b"\1" + bomb),
    ):
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolViolation):
                unpack()
            assert tracemalloc.get_traced_memory()[1] < 40 << 20
        finally:
            tracemalloc.stop()


# -- names, commits, staging -----------------------------------------------------------

NAMES = st.lists(
    st.tuples(
        PATHS, st.sampled_from(EntryKind), st.integers(0, 2**40), st.integers(0, 2**32), PATHS
    ),
    max_size=6,
    unique_by=lambda each: each[0],
)


@given(NAMES)
def test_names_come_back(names):
    catalogue = Catalogue()
    for path, kind, file_id, attributes, target in names:
        catalogue.add(path, Entry(kind, file_id, attributes, target, 5))
    again = Catalogue.from_json(json.loads(json.dumps(catalogue.to_json())))
    assert again.entries == catalogue.entries
    assert again.next_id == catalogue.next_id


@pytest.mark.parametrize(
    "path, kind, target",
    [
        ("/a//b", EntryKind.FILE, ""),
        ("/\ud800", EntryKind.FILE, ""),
        ("/link", EntryKind.SYMLINK, ""),
        ("/link", EntryKind.SYMLINK, "a\0b"),
        ("/link", EntryKind.SYMLINK, "\ud800"),
    ],
)
def test_names_that_no_file_system_can_have(path, kind, target):
    with pytest.raises(ValueError):
        Catalogue.from_json({"entries": [[path, int(kind), 1, 0, target, 0]], "next_id": 2})
    if kind != EntryKind.SYMLINK:
        with pytest.raises(AssertionError):
            Catalogue().add(path, Entry(kind, 1))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(
            st.sampled_from(["entries", "next_id", "path", "slots", "index", "fence", "epoch"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
NEARLY_NAMES = st.builds(
    lambda entry, next_id: {"entries": [entry], "next_id": next_id},
    st.tuples(
        ANY_JSON | PATHS,
        ANY_JSON | st.just(1),
        ANY_JSON | st.just(1),
        ANY_JSON | st.just(1),
        ANY_JSON | st.just(""),
        ANY_JSON | st.just(1),
    ).map(list),
    ANY_JSON | st.just(2),
)


@given(ANY_JSON | NEARLY_NAMES)
def test_any_document_is_names_or_a_value_error(document):
    document = json.loads(json.dumps(document))
    try:
        names = Catalogue.from_json(document)
    except ValueError:
        return
    for path, entry in names:
        assert path.startswith("/")
        assert type(entry.file_id) is type(entry.size_bytes) is int
        assert entry.size_bytes >= 0


@given(ANY_JSON | NEARLY_NAMES.map(lambda n: {"path": "/p", "slots": [[1, 2]], "catalogue": n}))
def test_any_commit_is_read_or_damaged(document):
    packed = zstandard.compress(json.dumps(document).encode())
    for payload in (packed, packed[:-3], json.dumps(document).encode(), HUGE_DECLARED):
        try:
            assert isinstance(read_commit(payload), dict)
        except DamagedLog as damaged:
            assert damaged.message
