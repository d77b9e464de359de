"""Targets that read headers, maps and logs, recover stores, and run the commands."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

from replicator.cli import app
from replicator.command_line import finish
from replicator.ese.checksum import with_checksums
from replicator.ese.database_header import read_database_header
from replicator.ese.errors import EseError
from replicator.ese.flush_map import MAP_PAGE_BYTES, FlushMap
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import HEADER_BYTES, LogHeader, sealed_log_header
from replicator.ese.log_need import check_recovery
from replicator.ese.log_record_types import Kind
from replicator.ese.log_v7_encoding import LogV7Format
from replicator.ese.log_v8_encoding import LogV8Format
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.values import LogTime
from replicator.ese_header_lines import header_lines
from replicator.ese_header_report import header_document, read_header
from replicator.ese_log_report import logs_document, record_document, record_line, rows_of
from tests.ese.logs import log_set
from tests.ese.samples import load
from tests.ese.small_ese_store import DIRECTORY, crashed_store, run_recovery
from tests.fuzz import bases
from tests.fuzz.edits import MOST_EDITS, Plan, edit
from tests.fuzz.outcomes import refusals
from tests.fuzz.page_targets import changed_database
from tests.fuzz.sealing import seal_header, seal_log, seal_pages
from tests.store.memory_volume import Medium, MemoryVolume

SECTOR_BYTES = 512
MOST_RECORDS = 40
ROOM_BYTES = 16 << 20
STORES = ((8, 4096), (7, 4096), (8, 8192), (7, 8192), (8, 16384))


@lru_cache(maxsize=1)
def scratch() -> Path:
    """A directory for files that are read through the operating system."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def fuzz_header(data: bytes) -> None:
    """A header of any file, as ``replicator ese header`` shows it."""
    plan = Plan(data)
    content = bytearray(plan.among(bases.headers()))
    block = len(content) // 2 if plan.number() % 2 else HEADER_BYTES
    first = content[:block]
    for _ in range(plan.number() % MOST_EDITS):
        edit(first, plan, ((0, 256), (256, 748), (640, 700), (748, 1400)))
    content[:block] = first
    match plan.number() % 4:
        case 0:
            seal_header(content, block)
        case 1:
            seal_header(content, block, 2)
        case 2:
            content = content[: plan.number(2)]
    path = scratch() / "header"
    path.write_bytes(content)
    with refusals():
        report = read_header(path)
        assert all("\n" not in line for line in header_lines(report))
        json.dumps(header_document(report)).encode()
        assert report.copies


def fuzz_flush_map(data: bytes) -> None:
    """A flush map: header and map pages, each by itself."""
    plan = Plan(data)
    content = bytearray(load("srum-server2022-later/SRUDB.jfm"))
    seals = plan.number()
    for _ in range(plan.number() % MOST_EDITS):
        start = plan.number() % 2 * MAP_PAGE_BYTES
        block = content[start : start + MAP_PAGE_BYTES]
        edit(block, plan, ((0, 64), (640, 700)))
        content[start : start + MAP_PAGE_BYTES] = block
    if seals % 4:
        seal_header(content, MAP_PAGE_BYTES)
        content[MAP_PAGE_BYTES:] = with_checksums(content[MAP_PAGE_BYTES:], 0)
    cut = plan.number(2) % 9000 if plan.number() % 4 == 3 else 0
    with refusals():
        flush_map = FlushMap(BytesReader(content[: len(content) - cut]))
        for number in range(flush_map.map_pages + 1):
            with refusals():
                flush_map.page(number)
        assert len(flush_map.types(1, 40_000)) == 40_000


def _read_log(content: bytes) -> None:
    for closed in (False, True):
        with refusals():
            log = LogFile(BytesReader(content, "E00.log"), closed=closed)
            assert all(str(note) for note in log.notes())
            for record in log.records():
                with refusals():
                    assert record_line(record)
                    json.dumps(record_document(record)).encode()


def fuzz_log(data: bytes) -> None:
    """A log of either version with bytes changed anywhere, checksums put right or not."""
    plan = Plan(data)
    base = plan.among(bases.logs())
    content = bytearray(base)
    sectors = max(1, _used(base) // SECTOR_BYTES)
    for _ in range(1 + plan.number() % MOST_EDITS):
        at = plan.number(2) % sectors * SECTOR_BYTES
        edit(content, plan, ((at, at + 64), (at, at + SECTOR_BYTES), (0, 72), (HEADER_BYTES, 4200)))
    if plan.number() % 4:
        seal_log(content)
    if plan.number() % 8 == 7:
        content = content[: plan.number(2) * 16]
        seal_header(content, HEADER_BYTES)
    _read_log(bytes(content))


@lru_cache(maxsize=16)
def _used(log: bytes) -> int:
    """Up to where a log holds anything of its own."""
    last = list(LogFile(BytesReader(log), closed=False).records())[-1]
    unit = LogHeader.decode(log[:HEADER_BYTES]).sector_bytes
    return (last.position.sector + 2) * unit


def _formats() -> dict[str, LogV7Format | LogV8Format]:
    return {
        "7": LogV7Format(file_bytes=64 * SECTOR_BYTES),
        "8": LogV8Format(now=LogTime, file_bytes=16 * 4096, page_size=4096),
    }


def fuzz_log_of_records(data: bytes) -> None:
    """Records of a fuzzer's own, properly laid out in a log: what is whole is read back."""
    plan = Plan(data)
    form = plan.among(list(_formats().values()))
    encoder = form.encoder(form.header(1 + plan.number(), LogTime()))
    content = bytearray(form.prepared(0, form.file_bytes))
    for _ in range(MOST_RECORDS):
        if not plan:
            break
        record = _record(plan)
        try:
            encoder.append(record, new_segment=plan.number() % 4 == 0)
        except ValueError:
            continue  # it does not fit, or is none
        if plan.number() % 2:
            _put(content, encoder.flush())
    if plan.number() % 2:
        encoder.finish()
    for writes in (encoder.header_writes(), encoder.flush()):
        _put(content, writes)
    _read_log(bytes(content))


def _put(content: bytearray, writes: list[tuple[int, bytes]]) -> None:
    for offset, written in writes:
        content[offset : offset + len(written)] = written


def _record(plan: Plan) -> bytes:
    if plan.number() % 4 == 0:
        return plan.piece(plan.number() % 64) + bytes(plan.number() * 8)
    record = bytearray(plan.among(bases.records()))
    for _ in range(plan.number() % 4):
        edit(record, plan, ((0, 64),))
    return bytes(record)


# -- whole stores ---------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _store(version: int, page_size: int) -> Medium:
    return crashed_store(version, page_size).medium


def changed_store(plan: Plan) -> Medium:
    """A store whose engine died; pages, header, records or whole files are changed."""
    version, page_size = plan.among(STORES)
    medium = _store(version, page_size).copy()
    for _ in range(1 + plan.number() % 4):
        paths = sorted(path for path, inode in medium.names.items() if inode and inode.data)
        path = plan.among(paths)
        inode = medium.names[path]
        assert inode is not None
        kind = plan.number() % 8
        if path.endswith(".edb"):
            _edit_database(inode.data, page_size, plan)
        elif kind == 0:
            del medium.names[path]
            continue
        elif kind == 1:
            other = medium.names[plan.among(paths)]
            assert other is not None
            inode.data = bytearray(other.data)
        elif kind == 2:
            edit(inode.data, plan, ((0, 72), (640, 748)))
            seal_log(inode.data)
        elif bases.is_log(path, inode.data):
            inode.data = bytearray(with_changed_records(bytes(inode.data), plan))
        inode.durable = bytes(inode.data)
    return medium


def _edit_database(data: bytearray, page_size: int, plan: Plan) -> None:
    if len(data) < 2 * page_size:
        return
    if plan.number() % 4 == 0:
        block = data[:page_size]
        edit(block, plan, ((4, 748), (16, 80), (208, 256)))
        data[:page_size] = block
        seal_header(data, page_size, 2)
        return
    pgno = 1 + plan.number() % 20
    at = page_offset(pgno, page_size)
    page = data[at : at + page_size]
    if len(page) == page_size:
        header = 80 if page_size > 8192 else 40
        edit(page, plan, ((8, 40), (page_size - 80, page_size), (header, header + 200)))
        data[at : at + page_size] = page
        seal_pages(data, page_size, {pgno}, page_offset(1, page_size))


def with_changed_records(log: bytes, plan: Plan) -> bytes:
    """A log with some of its records changed, left out, doubled, and laid out anew."""
    header = LogHeader.decode(log[:HEADER_BYTES])
    try:
        records = [each.data for each in LogFile(BytesReader(log), closed=False).records()]
    except EseError:
        return log
    for _ in range(1 + plan.number() % 6):
        if not records:
            break
        at = plan.number() % len(records)
        record = bytearray(records[at])
        kind = plan.number() % 8
        if kind == 0:
            del records[at]
        elif kind == 1:
            records.insert(plan.number() % len(records), bytes(record))
        elif kind == 2:
            records.insert(at, plan.among(bases.records()))
        else:
            edit(record, plan, ((0, 64), (28, 48), (8, 24)))
            records[at] = bytes(record)
    form: LogV7Format | LogV8Format
    if header.is_segmented:
        form = LogV8Format(now=LogTime, file_bytes=len(log), page_size=header.page_size)
    else:
        form = LogV7Format(file_bytes=len(log), page_size=header.page_size)
    encoder = form.encoder(replace(header))
    content = bytearray(form.prepared(0, len(log)))
    for record in records:
        try:
            encoder.append(bytes(record), new_segment=record[:1] == bytes((Kind.INIT2,)))
        except ValueError:
            continue
    _put(content, encoder.flush())
    content[:HEADER_BYTES] = sealed_log_header(header)
    return bytes(content)


def fuzz_recovery(data: bytes) -> None:
    """Recovery of a changed store; ``run_recovery`` lets no error pass but the permitted ones."""
    plan = Plan(data)
    lost = bool(plan.number() % 2)
    medium = changed_store(plan)
    files = {
        path.removeprefix(f"{DIRECTORY}/"): content
        for path, content in medium.digest(f"{DIRECTORY}/").items()
    }
    with refusals():
        found = log_set(files)
        headers = {}
        if "mail.edb" in files:
            headers["mail.edb"] = read_database_header(BytesReader(files["mail.edb"]))[0]
        errors = tuple(check_recovery(found, headers))
        json.dumps(logs_document(found, errors)).encode()
        assert len(list(rows_of(found))) == len(found.logs)
    # The volume is this process's memory, and a record may make a file as long as there is room.
    with refusals(), patch.object(MemoryVolume, "free_bytes", lambda volume: ROOM_BYTES):
        run_recovery(medium, allow_lost_logs=lost, limit_pages=8)


def _command(*arguments: str) -> int:
    """One command; a defect of ours ends it with 70."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = finish(app, "replicator", ["ese", *arguments])
    assert code in (0, 1, 2, 3, 64), f"{arguments[0]} ended with {code}: {err.getvalue()[-900:]}"
    assert code in (0, 2) or out.getvalue() or err.getvalue(), f"{arguments[0]} said nothing"
    return code


def fuzz_commands(data: bytes) -> None:
    """One command of ``replicator ese`` on files of a store that lie in a directory."""
    plan = Plan(data)
    command = plan.among(("header", "verify", "dump", "logs", "recover", "copy"))
    directory, copy = scratch() / "store", scratch() / "copy"
    for place in (directory, copy):
        shutil.rmtree(place, ignore_errors=True)
    directory.mkdir()
    if plan.number() % 4:
        medium = changed_store(plan)
        for path, content in medium.digest(f"{DIRECTORY}/").items():
            (directory / Path(path).name).write_bytes(content)
    else:
        (directory / "mail.edb").write_bytes(changed_database(plan)[1])
    path = str(plan.among(sorted(directory.iterdir())))
    json_to = ("--json", str(scratch() / "out.json")) if plan.number() % 2 else ()
    match command:
        case "verify":
            _command("verify", path, "--contents", *json_to)
        case "logs":
            _command("logs", str(directory), "--database", path, *json_to)
        case "recover":
            _command("recover", str(directory), *json_to)
        case "copy":
            _command("recover", str(directory), "--output", str(copy), "-a", *json_to)
        case _:
            _command(command, path, *json_to)


FILE_TARGETS: dict[str, Callable[[bytes], None]] = {
    "header": fuzz_header,
    "flush_map": fuzz_flush_map,
    "log": fuzz_log,
    "log_of_records": fuzz_log_of_records,
    "recovery": fuzz_recovery,
    "commands": fuzz_commands,
}
