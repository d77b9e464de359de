"""``replicator journal verify`` on directories of a real run, whole and damaged."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from replicator.block_frames import ExtentPages
from replicator.catalogue import Catalogue, Entry
from replicator.digests import PAGE_BYTES
from replicator.errors import ExitCode
from replicator.journal import LogKind, SegmentedLog
from replicator.offline_place import FindingKind
from replicator.offline_report import VERIFY_SCHEMA, examine
from replicator.offline_survey import Survey
from replicator.protocol import BATCH_BYTES
from replicator.readonly import run_to_end
from replicator.records import RecordType, decode, encode, genesis
from replicator.replica_journal import lost_before
from replicator.runtime.port import EntryKind
from replicator.segments import Position
from replicator.slots import StateSlots
from replicator.staging import open_staging
from tests.tools.small_logs import (
    DIRECTORY,
    EPOCH,
    SET,
    DictVolume,
    batch,
    small_journal,
    small_spool,
    write_files,
)

ROOT = Path(__file__).parents[2]


def fingerprint(directory: Path) -> dict[str, tuple[str, int, int]]:
    found = {}
    for path in sorted(directory.rglob("*")):
        stat = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (digest, stat.st_mtime_ns, stat.st_mode)
    return found


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.segment"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(bytes(data))


def verify(replicator, directory, tmp_path, code) -> dict:
    target = tmp_path / "verify.json"
    before = fingerprint(directory)
    assert replicator("journal", "verify", directory, "--json", target) == code
    assert fingerprint(directory) == before
    document = json.loads(target.read_text())
    assert document["schema"] == VERIFY_SCHEMA
    assert document["exit_code"] == code
    return document


@pytest.mark.parametrize("part", ["", "segments"])
def test_a_spool_is_sound(spool, part, replicator, tmp_path, capsys):
    document = verify(replicator, spool / part, tmp_path, 0)
    assert document["verdict"] == "sound"
    [log] = document["logs"]
    assert log["kind"] == "spool"
    assert log["segments"] == len(segments(spool / "segments"))
    [held] = log["operations"]
    assert held["last"] - held["first"] + 1 == held["count"] == log["records"] - 2 * log["segments"]
    out = capsys.readouterr().out
    assert out.endswith("verdict: sound\n")
    # The second one notes that the set has names.
    assert "source.b is the newest (write 2); source.a is older (write 1)" in out


@pytest.mark.parametrize("part", ["", "journal"])
def test_a_journal_is_sound(replica, part, replicator, tmp_path):
    document = verify(replicator, replica / part, tmp_path, 0)
    [log] = document["logs"]
    [state] = document["state"]
    assert log["kind"] == "journal"
    assert state["state"]["segment"] == int(segments(replica / "journal")[0].stem)
    assert state["state"]["names"] > 0
    assert document["findings"] == []


def test_a_cut_last_segment_is_a_torn_tail(replica, replicator, tmp_path, capsys):
    last = segments(replica / "journal")[-1]
    os.truncate(last, last.stat().st_size - 9)
    document = verify(replicator, replica, tmp_path, 0)
    assert document["verdict"] == "torn tail"
    [finding] = document["findings"]
    assert finding["kind"] == "torn tail"
    assert finding["path"] == str(last)
    assert 0 < finding["offset"] < last.stat().st_size
    assert "Nothing" in finding["remedy"]
    assert "torn tail: " in capsys.readouterr().out


def test_unused_space_behind_the_last_record_is_nothing(replica, replicator, tmp_path):
    last = segments(replica / "journal")[-1]
    os.truncate(last, last.stat().st_size + 5000)
    assert verify(replicator, replica, tmp_path, 0)["findings"] == []


def test_a_flipped_byte_in_the_middle_is_damage(replica, replicator, tmp_path, capsys):
    first = segments(replica / "journal")[0]
    flip(first, 9000)
    document = verify(replicator, replica, tmp_path, 1)
    assert document["verdict"] == "broken"
    damage, note = document["findings"]
    assert damage["kind"] == "damage"
    assert damage["path"] == str(first)
    assert damage["offset"] < 9000
    assert "operation" in damage["last_good"]
    assert "asks the source" in damage["remedy"]
    assert "records behind the damage are valid" in note["message"]
    assert "verdict: BROKEN" in capsys.readouterr().out


def test_every_damaged_place_is_listed(spool, replicator, tmp_path):
    paths = segments(spool / "segments")[:4]
    for path in paths[1:]:
        flip(path, 5000)
    findings = verify(replicator, spool, tmp_path, 1)["findings"]
    damaged = [finding["path"] for finding in findings if finding["kind"] == "damage"]
    assert damaged == [str(path) for path in paths[1:]]
    assert "new epoch" in findings[0]["remedy"]


def test_a_missing_segment_is_damage(replica, spool, replicator, tmp_path):
    for directory, index in ((spool, 3), (replica, 0), (replica, 1)):
        log = directory / ("segments" if directory is spool else "journal")
        gone = segments(log)[index]
        content = gone.read_bytes()
        gone.unlink()
        damage = verify(replicator, directory, tmp_path, 1)["findings"][0]
        assert damage["message"].startswith("the segment is missing")
        assert damage["path"] == str(gone)
        gone.write_bytes(content)


def reseal(path: Path, change) -> None:
    data = path.read_bytes()
    record = decode(data, 0)
    header = json.dumps(change(json.loads(record.payload))).encode()
    head, _ = encode(
        RecordType.SEGMENT,
        record.epoch,
        record.sequence,
        record.floor,
        record.previous,
        b"",
        header,
    )
    path.write_bytes(head + header + data[record.size_bytes :])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "written in format 2"),
        ({"kind": "diary"}, "diary"),
        ({"set": "another"}, "protected set"),
    ],
)
def test_foreign_segments_are_64(spool, replicator, capsys, change, says):
    for path in segments(spool / "segments")[1 if "set" in change else 0 :]:
        reseal(path, lambda header: {**header, **change})
    assert replicator("journal", "verify", spool) == 64
    err = capsys.readouterr().err
    assert says in err
    assert ".segment" in err
    assert "what to do: " in err


def test_what_is_no_log_is_64(tmp_path, replicator, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("hello")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "00000001.segment").write_bytes(b"not one of ours" * 30)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "00000001.segment")
    for name in ("empty", "other", "missing", "junk", "pipe", "other/notes.txt"):
        for command in ("verify", "inspect"):
            assert replicator("journal", command, tmp_path / name) == 64
            captured = capsys.readouterr()
            assert captured.out == ""
            assert name in captured.err
            assert "what to do: " in captured.err


@pytest.mark.parametrize("content", [b"", bytes(4096)])
def test_a_log_that_was_never_begun_is_a_torn_tail(content, tmp_path, replicator):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "00000001.segment").write_bytes(content)
    assert verify(replicator, tmp_path / "log", tmp_path, 0)["verdict"] == "torn tail"


def test_one_damaged_copy_of_a_state_is_a_note_and_two_are_damage(replica, replicator, tmp_path):
    flip(replica / "checkpoint.a", 50)
    document = verify(replicator, replica, tmp_path, 0)
    assert document["verdict"] == "sound"
    [note] = document["findings"]
    assert note["path"].endswith("checkpoint.a")
    flip(replica / "checkpoint.b", 50)
    document = verify(replicator, replica, tmp_path, 1)
    assert "neither copy" in document["findings"][0]["message"]


def committed(tmp_path: Path, fence: int = 4) -> tuple[Path, Path]:
    """A replica whose resynchronization to EPOCH + 1 is committed, but not in a checkpoint."""
    names = Catalogue()
    names.add("/b", Entry(EntryKind.FILE, 1, size_bytes=5))
    volume = DictVolume(small_journal())
    log = SegmentedLog(volume, DIRECTORY, LogKind.JOURNAL, SET, 1024, 1 << 20)
    run_to_end(log.recover(lambda _record, _position: None))
    staging = run_to_end(open_staging(volume, "/staging", EPOCH + 1, b"", names, EPOCH))
    run_to_end(staging.add(1, ExtentPages(0, 1, 0, b"hello".ljust(PAGE_BYTES, b"\0")), 0))
    commit = run_to_end(staging.describe(fence, (1, 0)))
    log.append(RecordType.COMMIT, EPOCH + 1, log.sequence + 1, 0, b"", commit)
    run_to_end(
        StateSlots(volume, "/checkpoint").write(
            {
                "set": SET,
                "replica": "r",
                "epoch": EPOCH,
                "operation": 6,
                "segment": 1,
                "as_of_ns": 10**18,
                "catalogue": names.to_json(),
            }
        )
    )
    root = tmp_path / "root"
    for path, content in volume.content().items():
        place = root / path.lstrip("/").replace("log/", "journal/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root, next((root / "staging").glob("*.pages"))


def test_staged_blocks_of_a_commit_are_checked(tmp_path, replicator, capsys):
    root, staging = committed(tmp_path)
    assert verify(replicator, root, tmp_path, 0)["verdict"] == "sound"
    assert replicator("journal", "inspect", root) == 0
    assert f"resynchronization to epoch {EPOCH + 1} is committed" in capsys.readouterr().out
    flip(staging, 70)
    [finding] = verify(replicator, root, tmp_path, 1)["findings"]
    assert finding["path"] == str(staging)
    staging.unlink()
    [finding] = verify(replicator, root, tmp_path, 1)["findings"]
    assert finding["path"] == str(staging)


def test_operations_inside_batches_are_checked(tmp_path, replicator):
    """The journal's own checksums hold; the source's record inside was changed before."""
    data = small_journal(1)[f"{DIRECTORY}/00000001.segment"]
    header = decode(data, 0)
    record = decode(data, header.size_bytes)
    payload = bytearray(record.payload)
    payload[-1] ^= 1
    head, _ = encode(3, EPOCH, 1, 0, record.previous, record.prefix, bytes(payload))
    write_files(
        {"/00000001.segment": data[: header.size_bytes] + head + bytes(payload)}, tmp_path / "log"
    )
    [finding] = verify(replicator, tmp_path / "log", tmp_path, 1)["findings"]
    assert finding["kind"] == "inconsistent"
    assert "operation 2 is not the one that follows" in finding["message"]
    assert finding["offset"] == header.size_bytes


def test_a_gap_between_batches_is_found(tmp_path, replicator):
    volume = DictVolume()
    log = SegmentedLog(volume, DIRECTORY, LogKind.JOURNAL, SET, 1024, 1 << 20)
    from tests.tools.small_logs import OPERATIONS

    chain = genesis(SET, EPOCH)
    for first in (1, 4):
        payload, chain = batch([(first, OPERATIONS[1])], chain)
        log.append(3, EPOCH, log.sequence + 1, 0, payload[:BATCH_BYTES], payload[BATCH_BYTES:])
    write_files(volume.content(), tmp_path / "log")
    [finding] = verify(replicator, tmp_path / "log", tmp_path, 1)["findings"]
    assert "operation 4 came where 2 was due" in finding["message"]


def test_targets_that_cannot_be_are_refused_first(spool, replicator, capsys, tmp_path):
    for target in (spool / "x.json", tmp_path / "no" / "x.json", tmp_path):
        assert replicator("journal", "verify", spool, "--json", target) == 64
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "--json" in captured.err


def test_json_on_standard_output_stands_alone(spool, replicator, capsys):
    assert replicator("journal", "verify", spool, "--json", "-") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "sound"
    assert "verdict: sound" in captured.err


def test_as_a_process_of_its_own(tmp_path):
    def run(*arguments) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "replicator.cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    log = write_files(small_spool(), tmp_path / "log")
    assert run("journal", "verify", log).returncode == 0
    flip(segments(log)[0], 300)
    done = run("journal", "verify", log)
    assert (done.returncode, done.stderr) == (1, "")
    assert "damage: " in done.stdout
    for arguments in ([], ["journal"], ["journal", "verify"], ["journal", "mend", log]):
        done = run(*arguments)
        assert done.returncode == ExitCode.USAGE
        assert "Traceback" not in done.stderr
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("replicator ")


def test_progress_is_a_line_now_and_then(spool, replicator, monkeypatch, capsys):
    ticks = iter(range(0, 10_000, 3))
    monkeypatch.setattr("replicator.cli_output.time.monotonic", lambda: next(ticks))
    assert replicator("journal", "verify", spool) == 0
    lines = capsys.readouterr().err.splitlines()
    assert 2 < len(lines) < len(segments(spool / "segments"))
    assert lines[0].startswith("reading: ")


def with_checkpoint(root: Path, files: dict[str, bytes], redo_from: int) -> Path:
    """A replica's directory whose checkpoint redoes from a byte of the first segment on, which is
    returned."""
    volume = DictVolume(files)
    state = {"set": SET, "replica": "r", "epoch": EPOCH, "operation": 2, "segment": 1}
    state |= {"offset": redo_from, "as_of_ns": 10**18, "catalogue": Catalogue().to_json()}
    run_to_end(StateSlots(volume, "/checkpoint").write(state))
    for name, content in volume.content().items():
        place = root / name.lstrip("/").replace("log/", "journal/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return root / "journal/00000001.segment"


def beginnings(files: dict[str, bytes]) -> list[int]:
    """Where the records of the first segment begin, and where the last one ends."""
    data, found = files[f"{DIRECTORY}/00000001.segment"], [0]
    while found[-1] < len(data):
        found.append(found[-1] + decode(data, found[-1]).size_bytes)
    return found


def test_rot_that_the_checkpoint_includes_is_a_note(tmp_path, replicator, capsys):
    """The next start passes over it; behind that place it is damage."""
    files = small_journal(8)
    _begin, header, redo_from, *_more = beginnings(files)
    root = tmp_path / "root"
    first = with_checkpoint(root, files, redo_from)
    sound = first.read_bytes()
    for spoilt in (3, header + 70):  # of the segment's own header, and of a batch
        flip(first, spoilt)
        document = verify(replicator, root, tmp_path, 0)
        [note] = document["findings"]
        assert note["kind"] == "note" and "the next start passes over it" in note["message"]
        assert note["path"] == str(first) and note["offset"] <= spoilt
        assert document["verdict"] == "sound"
        first.write_bytes(sound)
    flip(first, redo_from + 70)
    assert verify(replicator, root, tmp_path, 1)["findings"][0]["kind"] == "damage"
    assert "verdict: BROKEN" in capsys.readouterr().out


@pytest.mark.parametrize("known", [True, False])
def test_operations_that_were_passed_over_are_no_gap(tmp_path, replicator, monkeypatch, known):
    """Behind records that were read: the survey has to know that some are left out."""
    if not known:
        never = property(lambda _survey: False, lambda _survey, _given: None)
        monkeypatch.setattr(Survey, "_passed_over", never, raising=False)
    files = small_journal(8, segment_bytes=1 << 16)
    places = beginnings(files)
    first = with_checkpoint(tmp_path / "root", files, places[5])
    flip(first, places[3] + 70)
    found = verify(replicator, tmp_path / "root", tmp_path, 0 if known else 1)["findings"]
    assert {each["kind"] for each in found} == ({"note"} if known else {"note", "inconsistent"})


def test_a_torn_end_of_a_journal_that_has_rotted_is_told_as_damage(tmp_path, replicator):
    files = small_journal(8, segment_bytes=1 << 16)
    places = beginnings(files)
    first = with_checkpoint(tmp_path / "root", files, places[5])
    flip(first, places[-2] + 70)
    [torn] = verify(replicator, tmp_path / "root", tmp_path, 0)["findings"]
    assert (torn["kind"], torn["offset"]) == ("torn tail", places[-2])
    flip(first, places[3] + 70)
    note, damage, _behind = verify(replicator, tmp_path / "root", tmp_path, 1)["findings"]
    assert (note["kind"], note["offset"]) == ("note", places[3])
    assert (damage["kind"], damage["offset"]) == ("damage", places[-2])
    assert "in a log that has rotted before it, too" in damage["message"]


@pytest.mark.parametrize(("count", "segment_bytes"), [(4, 1 << 16), (8, 1024)])
def test_rot_in_front_of_a_checkpoint_at_the_end_of_a_segment_is_what_a_start_makes_of_it(
    tmp_path: Path, count: int, segment_bytes: int
) -> None:
    """Nothing is being written, so redo begins where the records of a segment end."""
    files = small_journal(count, segment_bytes=segment_bytes)
    places = beginnings(files)
    redo_from = places[-1]
    assert len(places) > 3
    for number, place in enumerate(places[:-2]):
        first = with_checkpoint(tmp_path / f"{number}", files, redo_from)
        flip(first, place + 70)
        volume = DictVolume(files)
        volume.files[f"{DIRECTORY}/00000001.segment"][:] = first.read_bytes()
        log = SegmentedLog(volume, DIRECTORY, LogKind.JOURNAL, SET, 1 << 16, 1 << 20)
        assert run_to_end(log.recover(lambda *_a: None, 1, redo_offset=redo_from)) is None
        ends = {each.number: each.end for each in log.segments}
        assert not lost_before(Position(1, redo_from), ends)
        found = examine(tmp_path / f"{number}", lambda *_a: None)
        assert {each.kind for each in found.findings} == {FindingKind.NOTE}
        assert found.exit_code == 0
