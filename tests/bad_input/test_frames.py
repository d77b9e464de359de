"""Every cut and flipped bit of a frame, and any bytes as a payload: refused, never believed."""

from __future__ import annotations

import json
import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from replicator.batch import Compressor, unpack_body, verify_batch
from replicator.blocksync import Staging, read_commit, unpack_blocks
from replicator.catalogue import Catalogue, Entry
from replicator.connection import Connection
from replicator.errors import ConnectionLost, DamagedLog, ProtocolViolation
from replicator.operation import Operation, OperationKind, decode_operation
from replicator.protocol import (
    BLOCK_BYTES,
    MAX_PAYLOAD_BYTES,
    TRANSITIONS,
    Acknowledgement,
    BatchHeader,
    BlockDigests,
    BlocksWanted,
    Frame,
    FrameType,
    Heartbeat,
    Role,
    decode_blocks,
    encode_blocks,
    frame_header,
)
from replicator.readonly import run_to_end
from replicator.records import InvalidRecord, Record, genesis
from replicator.runtime.port import EntryKind
from tests.tools.small_logs import EPOCH, OPERATIONS, SET, DictVolume, batch

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
    with pytest.raises(ProtocolViolation, match="length"):
        run_to_end(Connection(Wire(bytes(header)), Role.REPLICA).receive())


# -- payloads of fixed form ------------------------------------------------------------

DECODERS = [
    BatchHeader.decode,
    Acknowledgement.decode,
    Heartbeat.decode,
    BlockDigests.decode,
    BlocksWanted.decode,
    decode_blocks,
    unpack_blocks,
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


@given(st.builds(BlockDigests, U64, U64, st.lists(LINK, max_size=1024)))
def test_digests_come_back(digests):
    assert BlockDigests.decode(digests.encode()) == digests


@given(st.builds(BlocksWanted, U64, U64, st.lists(U64, max_size=1024)))
def test_wanted_blocks_come_back(wanted):
    assert BlocksWanted.decode(wanted.encode()) == wanted


@given(U64, st.lists(st.tuples(U64, st.binary(max_size=BLOCK_BYTES)), max_size=4), st.booleans())
def test_blocks_come_back(file_id, blocks, packed):
    payload = encode_blocks(file_id, blocks)
    flagged = b"\1" + zstandard.compress(payload) if packed else b"\0" + payload
    assert unpack_blocks(flagged) == [(file_id, n, data) for n, data in blocks]


PATHS = st.lists(
    st.text(
        st.characters(blacklist_characters="/\0", codec="utf-8"), min_size=1, max_size=8
    ).filter(lambda part: part not in (".", "..")),
    min_size=1,
    max_size=3,
).map(lambda parts: "/" + "/".join(parts))


@given(
    st.builds(
        Operation,
        st.sampled_from([k for k in OperationKind if k != OperationKind.WRITE]),
        U64,
        U64,
        U64,
        PATHS | st.just(""),
        PATHS | st.just(""),
        st.just(b""),
        U64,
    )
)
def test_operations_come_back(operation):
    record = Record(1, 1, 1, 0, b"", b"", operation.encode_prefix(), b"", 0)
    assert decode_operation(record) == operation


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
    for operation in (
        Operation(kind, 1, name=path, name2="/b"),
        Operation(kind, 1, name="/b", name2=path),
    ):
        record = Record(1, 1, 1, 0, b"", b"", operation.encode_prefix(), b"", 0)
        with pytest.raises(InvalidRecord, match="protected root"):
            decode_operation(record)


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
        lambda: unpack_blocks(b"\1" + bomb),
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


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(
            st.sampled_from(["entries", "next_id", "path", "bytes", "chain", "fence", "epoch"]),
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


@given(ANY_JSON | NEARLY_NAMES.map(lambda n: {"path": "/p", "chain": "", "catalogue": n}))
def test_any_commit_is_read_or_damaged(document):
    packed = zstandard.compress(json.dumps(document).encode())
    for payload in (packed, packed[:-3], json.dumps(document).encode(), HUGE_DECLARED):
        try:
            assert isinstance(read_commit(payload), dict)
        except DamagedLog as damaged:
            assert damaged.message


def test_blocks_of_unknown_files_or_beyond_the_end_are_not_staged():
    names = Catalogue()
    names.add("/a", Entry(EntryKind.FILE, 1, size_bytes=BLOCK_BYTES + 1))
    staging = Staging(DictVolume(), "/staging", EPOCH, b"", names)
    run_to_end(staging.add([(1, 0, b"x" * BLOCK_BYTES), (1, 1, b"y")]))
    for block in ((2, 0, b"z"), (1, 2, b"z"), (1, 2**63, b"z")):
        with pytest.raises(ProtocolViolation):
            run_to_end(staging.add([block]))
    assert len(staging.index) == 2
