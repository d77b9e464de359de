"""Every cut and every flipped byte of a spool and a journal: named, never believed.

The rule, for recovery and for the offline check alike: what is accepted is a prefix of what
was written, and where records are missing that surviving ones behind call promised, it is
damage.  Anything else that comes out of recovery is a defect.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator import segments
from replicator.errors import ExitCode, ReplicatorError
from replicator.journal import LogKind, SegmentedLog
from replicator.offline_report import examine
from replicator.readonly import run_to_end
from replicator.records import InvalidRecord, RecordType, decode, encode, find_valid
from tests.tools.small_logs import (
    DIRECTORY,
    EPOCH,
    SET,
    DictVolume,
    small_journal,
    small_spool,
    spool_over,
    write_files,
)

LOGS = {LogKind.SPOOL: small_spool(), LogKind.JOURNAL: small_journal()}


def recover(kind: LogKind, files: dict[str, bytes]):
    """What recovery accepts, and the damage that it reports."""
    accepted: list[bytes] = []
    log = SegmentedLog(DictVolume(files), DIRECTORY, kind, SET, 1024, 1 << 20)
    damage = run_to_end(log.recover(lambda record, _: accepted.append(record.checksum)))
    return accepted, damage, log


def floors_behind(files: dict[str, bytes], accepted: int, whole: list[bytes]) -> int:
    """The highest floor of a record of this log that recovery did not take.

    Records inside a batch are not of this log, though they look like it.
    """
    highest = 0
    for data in files.values():
        at = 0
        while (found := find_valid(data, at)) is not None:
            record, start = found
            if record.checksum in whole[accepted:]:
                highest = max(highest, record.floor)
            at = start + record.size_bytes
    return highest


def check(kind: LogKind, files: dict[str, bytes], whole: list[bytes]) -> bool:
    """Recovery of changed files keeps the rule; returns whether it found damage."""
    before = dict(files)
    accepted, damage, log = recover(kind, files)
    assert accepted == whole[: len(accepted)]
    promised = floors_behind(before, len(accepted), whole) >= log.sequence + 1
    assert (damage is not None) == promised
    if damage is not None:
        assert damage.path.endswith(".segment")
        assert 0 <= damage.offset <= len(before.get(damage.path, b""))
    return damage is not None


def flips(data: bytes, every_bit: bool):
    for place in range(len(data)):
        for bit in range(8) if every_bit else (place % 8,):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            yield place, bytes(changed)


@pytest.mark.parametrize("kind", LogKind)
def test_every_flip_is_damage_or_an_unpromised_tail(kind):
    files = LOGS[kind]
    whole, damage, _ = recover(kind, files)
    assert damage is None
    assert len(files) > 1
    seen = {True: 0, False: 0}
    for path, data in files.items():
        for _place, changed in flips(data, every_bit=False):
            seen[check(kind, {**files, path: changed}, whole)] += 1
    assert seen[True] > seen[False] > 0


@pytest.mark.full
@pytest.mark.parametrize("kind", LogKind)
def test_every_flipped_bit(kind):
    files = LOGS[kind]
    whole, _, _ = recover(kind, files)
    for path, data in files.items():
        for _place, changed in flips(data, every_bit=True):
            check(kind, {**files, path: changed}, whole)


@pytest.mark.parametrize("kind", LogKind)
def test_every_cut_is_damage_or_an_unpromised_tail(kind):
    files = LOGS[kind]
    whole, _, _ = recover(kind, files)
    for path, data in files.items():
        for length in range(len(data)):
            check(kind, {**files, path: data[:length]}, whole)


@pytest.mark.parametrize("kind", LogKind)
def test_the_log_goes_on_behind_every_cut_of_its_last_segment(kind):
    files = LOGS[kind]
    path = max(files)
    for length in range(0, len(files[path]), 7):
        _, damage, log = recover(kind, {**files, path: files[path][:length]})
        assert damage is None
        log.append(RecordType.END, EPOCH, log.sequence, 0, b"", b"")
        accepted, damage, again = recover(kind, log._volume.content())
        assert damage is None
        assert again.chain == log.chain == accepted[-1]


@pytest.mark.parametrize("kind", LogKind)
def test_the_offline_check_says_what_recovery_would(kind, tmp_path):
    files = LOGS[kind]
    whole, _, _ = recover(kind, files)
    directory = write_files(files, tmp_path / "log")
    for path, data in files.items():
        real = directory / path.rpartition("/")[2]
        for place, changed in flips(data, every_bit=False):
            if place % 5:
                continue
            real.write_bytes(changed)
            damaged = check(kind, {**files, path: changed}, whole)
            found = examine(directory, lambda _done, _total: None)
            assert found.exit_code == (ExitCode.BROKEN if damaged else ExitCode.PASS)
            if damaged:
                [first, *_] = [f for f in found.findings if f.broken]
                assert first.path == str(real)
                assert first.offset is not None
                assert first.offset <= place
                assert first.last_good
                assert first.remedy
            else:
                assert found.verdict == "torn tail"
            assert real.read_bytes() == changed
        real.write_bytes(data)


def test_a_spool_recovers_from_any_flip_with_a_gap_or_a_prefix():
    files = LOGS[LogKind.SPOOL]
    for path, data in files.items():
        for _place, changed in flips(data, every_bit=False):
            spool = spool_over(DictVolume({**files, path: changed}))
            found = run_to_end(spool.recover(EPOCH))
            assert found.gap or spool.sequence <= 5


# -- anything at all -------------------------------------------------------------------


@given(st.binary(max_size=400), st.integers(0, 300))
def test_any_bytes_are_no_record_or_a_valid_one(data, offset):
    try:
        decode(data, offset)
    except InvalidRecord as invalid:
        assert invalid.offset == offset
    find_valid(data, offset)


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=100),
    st.binary(max_size=100),
)
def test_records_come_back(kind, epoch, sequence, floor, previous, prefix, payload):
    head, checksum = encode(kind, epoch, sequence, floor, previous, prefix, payload)
    record = decode(b"??" + head + payload + b"more", 2)
    assert (record.type, record.epoch, record.sequence, record.floor) == (
        kind,
        epoch,
        sequence,
        floor,
    )
    assert (record.previous, record.checksum) == (previous, checksum)
    assert (record.prefix, record.payload) == (prefix, payload)
    assert record.size_bytes == len(head) + len(payload)


SENSELESS = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["format", "kind", "set", "before", "entries", "next_id", "x"]),
                inner,
                max_size=6,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.just(b"[" * 100_000),
    st.builds(
        lambda kind, before: json.dumps(
            {"format": 1, "kind": kind, "set": SET, "before": before}
        ).encode(),
        st.sampled_from([*LogKind, "other"]),
        st.none() | st.text(max_size=3) | st.integers() | st.floats() | st.just([]),
    ),
)


@given(
    st.sampled_from(LogKind),
    SENSELESS,
    st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=90), SENSELESS), max_size=3),
)
def test_sealed_nonsense_never_escapes_as_a_crash(tmp_path_factory, kind, header, records):
    """Records whose checksums hold but whose content a defect or an enemy wrote."""
    chain = bytes(16)
    head, _ = encode(RecordType.SEGMENT, EPOCH, 1, 0, chain, b"", header)
    data = head + header
    for number, (record_type, prefix, payload) in enumerate(records, 1):
        head, checksum = encode(record_type, EPOCH, number, number, chain, prefix, payload)
        data += head + payload
        chain = checksum if record_type < RecordType.SEGMENT else chain
    files = {f"{DIRECTORY}/00000001.segment": data}
    with suppress(ReplicatorError):
        recover(kind, files)
    with suppress(ReplicatorError):
        run_to_end(spool_over(DictVolume(files)).recover(EPOCH))
    directory = write_files(files, tmp_path_factory.getbasetemp() / "nonsense")
    try:
        examine(directory, lambda _done, _total: None)
    except ReplicatorError as error:
        assert error.exit_code in (ExitCode.USAGE, ExitCode.BROKEN)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_segment(tmp_path_factory, data):
    directory = tmp_path_factory.getbasetemp() / "any"
    directory.mkdir(exist_ok=True)
    (directory / "00000001.segment").write_bytes(data)
    try:
        examine(directory, lambda _done, _total: None)
    except ReplicatorError as error:
        assert error.exit_code == ExitCode.USAGE


def test_files_that_only_look_like_segments_are_left_alone(tmp_path: Path):
    files = small_journal()
    directory = write_files(files, tmp_path)
    for name in ("1.segment", "²².segment", "٣.segment", "x.segment", "00000009.segment.bak"):
        (directory / name).write_bytes(b"?")
    found = examine(directory, lambda _done, _total: None)
    assert found.verdict == "sound"
    assert len(found.readings[0].numbers) == len(files)
    assert segments.SUFFIX == ".segment"
