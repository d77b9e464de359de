"""Soft recovery of real stores: the result is what the engine's own was, header and pages."""

from __future__ import annotations

import pytest

from replicator.ese.checkpoint import read_checkpoint
from replicator.ese.database_header import DatabaseHeader, State, read_database_header
from replicator.ese.log_file import LogFile
from replicator.ese.log_record_types import Kind
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogPosition
from replicator.ese.verification import Verdict, judge_page
from tests.ese.logs import log_set
from tests.ese.redoing import (
    DIRTY,
    DIRTY_LOGS,
    FIRST,
    GENERATIONS,
    LATER,
    PAGE_BYTES,
    difference,
    pages_of,
)
from tests.ese.samples import load, place
from tests.ese.small_ese_store import DIRECTORY, RecoveryRun, run_recovery
from tests.store.memory_volume import Inode, Medium

pytestmark = pytest.mark.skipif(
    any(place(name) is None for name in (*GENERATIONS, *DIRTY_LOGS)),
    reason="needs ../shared, which CI has",
)
PATH = f"{DIRECTORY}/SRUDB.dat"


def laid_out(files: dict[str, str]) -> Medium:
    """Samples under names, all durable."""
    medium = Medium()
    medium.names[DIRECTORY] = medium.durable_names[DIRECTORY] = None
    for number, (name, sample) in enumerate(files.items(), 1):
        inode = Inode(number, bytearray(load(sample)), load(sample))
        path = f"{DIRECTORY}/{name}"
        medium.names[path] = medium.durable_names[path] = inode
    medium.inodes = len(files)
    return medium


def content(medium: Medium, path: str = PATH) -> bytes:
    inode = medium.names[path]
    assert inode is not None
    return bytes(inode.data)


def header_of(medium: Medium) -> DatabaseHeader:
    return read_database_header(BytesReader(content(medium)))[0]


def recovered(medium: Medium) -> RecoveryRun:
    run = run_recovery(medium)
    assert run.result is not None, (run.errors, run.error)
    return run


def check_pages(medium: Medium, sample: str) -> None:
    """Every page that the engine's file has in use, and no other, all of them whole."""
    data, wanted = content(medium), pages_of(sample)
    for pgno, theirs in wanted.items():
        at = page_offset(pgno, PAGE_BYTES)
        ours = data[at : at + PAGE_BYTES]
        if not any(theirs):
            assert not any(ours)
            continue
        assert judge_page(ours, pgno).verdict is Verdict.GOOD
        assert difference(PageEditor.load(ours, pgno), theirs) == [], f"page {pgno}"


@pytest.mark.parametrize("oldest", [1, 2], ids=["all logs", "logs from the shutdown on"])
def test_an_older_copy_is_rolled_forward(oldest: int) -> None:
    names = ("SRU00001", "SRU00002", "SRU00003", "SRU00004", "SRU")
    logs = {f"{name}.log": sample for name, sample in zip(names, GENERATIONS, strict=True)}
    files = dict(list(logs.items())[oldest - 1 :])
    medium = laid_out({**files, "SRUDB.dat": f"{FIRST}/SRUDB.dat"})
    result = recovered(medium).result
    assert result is not None
    assert result.clean_log
    check_pages(medium, f"{LATER}/SRUDB.dat")
    ours = header_of(medium)
    theirs = read_database_header(BytesReader(load(f"{LATER}/SRUDB.dat")))[0]
    for name in (
        "state_number",
        "dbtime",
        "consistent_position",
        "attach_position",
        "detach_position",
        "last_objid",
        "extend_count",
        "last_resize_position",
        "database_signature",
        "log_signature",
        "first_required_generation",
        "last_required_generation",
        "last_committed_generation",
        "recovering_generation",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    checkpoint = read_checkpoint(BytesReader(content(medium, f"{DIRECTORY}/SRU.chk")))[0]
    engines = read_checkpoint(BytesReader(load(f"{LATER}/SRU.chk")))[0]
    assert checkpoint.position == engines.position == LogPosition(5, 6, 0)
    for name in files:  # a clean end needs no word more in the logs
        assert content(medium, f"{DIRECTORY}/{name}") == load(logs[name])


def dirty_store(current: str) -> Medium:
    names = ("SRU0004E.log", "SRU0004F.log", "SRU00050.log", current)
    logs = dict(zip(names, DIRTY_LOGS, strict=True))
    return laid_out({**logs, "SRUDB.dat": f"{DIRTY}/SRUDB.dat", "SRU.chk": f"{DIRTY}/SRU.chk"})


def records_behind(log: bytes, position: LogPosition) -> list[tuple[LogPosition, int]]:
    found = LogFile(BytesReader(log), closed=False).records()
    return [(each.position, each.number) for each in found if each.position >= position]


def test_a_dirty_store_comes_to_rest_as_the_engine_writes_it() -> None:
    """Its last generation is still the current one: recovery goes on in it, behind segment 11,
    which is whole and holds no record."""
    medium = dirty_store("SRU.log")
    before = header_of(medium)
    assert before.state is State.DIRTY_SHUTDOWN
    result = recovered(medium).result
    assert result is not None
    assert (result.first_generation, result.last_generation) == (81, 81)
    assert (result.redone_pages, result.undone, result.transactions) == (0, 0, 0)
    after = header_of(medium)
    assert after.state is State.CLEAN_SHUTDOWN
    end = LogPosition(81, 0xC, 0x31)
    assert after.consistent_position == after.detach_position == end
    assert after.attach_position == before.attach_position
    assert (after.dbtime, after.last_objid) == (25653, 32)
    assert after.last_required_generation == after.first_required_generation == 0
    assert not after.detach_time.is_zero
    tail = records_behind(content(medium, f"{DIRECTORY}/SRU.log"), LogPosition(81, 0xC, 0))
    kinds = [each for each in tail if each[1] not in (Kind.NOP, Kind.NOP2)]
    assert kinds == [
        (LogPosition(81, 0xC, 0x28), Kind.RECOVERY_UNDO2),
        (end, Kind.SHUT_DOWN),
        (LogPosition(81, 0xD, 0x28), Kind.RECOVERY_QUIT2),
    ]
    checkpoint = read_checkpoint(BytesReader(content(medium, f"{DIRECTORY}/SRU.chk")))[0]
    assert checkpoint.position == LogPosition(81, 0xD, 0)
    check_untouched(medium)
    names = {path.removeprefix(f"{DIRECTORY}/") for path in medium.digest(f"{DIRECTORY}/")}
    assert {"SRUres00001.jrs", "SRUres00002.jrs"} <= names
    assert not names & {"res1.log", "res2.log"}, "those of older sets"


def check_untouched(medium: Medium) -> None:
    """All pages as they were, and no pages behind those that are owned."""
    data = content(medium)
    theirs = load(f"{DIRTY}/SRUDB.dat")
    assert data[2 * PAGE_BYTES :] == theirs[2 * PAGE_BYTES : len(data)]
    assert not any(theirs[len(data) :])


def test_so_it_does_in_a_generation_of_its_own() -> None:
    medium = dirty_store("SRU00051.log")
    medium.names[f"{DIRECTORY}/SRUtmp.log"] = Inode(99)  # as between the renames of a roll
    recovered(medium)
    assert header_of(medium).consistent_position == LogPosition(82, 1, 0x31)
    check_untouched(medium)
    files = {
        path.removeprefix(f"{DIRECTORY}/"): data
        for path, data in medium.digest(f"{DIRECTORY}/SRU").items()
    }
    assert not log_set(files).errors


def test_recovered_twice_nothing_changes() -> None:
    medium = dirty_store("SRU.log")
    recovered(medium)
    once = medium.digest(DIRECTORY)
    result = recovered(medium).result
    assert result is not None
    assert result.clean_log
    assert medium.digest(DIRECTORY) == once
