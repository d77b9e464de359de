"""Which damage is found by what: damages small stores in every way, and asks everything.

The table in docs/store-corruption.md is printed by ``python -m tests.store_ese.corruption_table``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from replicator.ese.btree import BTree
from replicator.ese.checksum import with_checksums
from replicator.ese.database import Database
from replicator.ese.errors import EseError
from replicator.ese.flush_map import FLUSH_TYPE_SHIFT
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.page import PageFlag
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese_log_report import survey
from simulator.exchange.ese.corruption import Damage, DamageKind
from tests.ese.samples import load
from tests.ese.small_ese_store import run_recovery
from tests.store_ese.damaged_files import (
    NOT_FOUND,
    SILENT,
    WHOLE,
    Case,
    Files,
    damaged,
    files_of,
    medium_of,
    numbers,
    verified,
)
from tests.store_ese.engine_harness import Life, run
from tests.store_ese.stores import CONFIGS, DATABASE, MAIL, store
from tests.store_ese.streaming_damage import STREAMING, streamed, streaming_answers

MESSAGES: Final = 90
LOG_KIB: Final = {"exchange 2003 rtm": 48, "exchange 2007": 48, "exchange 2016": 128}
"""So that there are a few logs behind the checkpoint."""


# -- where in a store -----------------------------------------------------------------------


def _database(files: Files) -> Database:
    return Database(BytesReader(files[DATABASE], DATABASE), allow_dirty=True)


def leaf(files: Files, number: int = 0) -> int:
    """A leaf of the table's rows."""
    database = _database(files)
    root = database.table("Mail").definition.root_pgno
    return [page.pgno for page in BTree(database.source, root).leaves()][number]


def branch(files: Files) -> int:
    """A branch page: that of the rows, or where these are one page, of the long values."""
    database = _database(files)
    table = database.table("Mail").definition
    roots = (table.root_pgno, table.long_value_root or 0)
    return next(root for root in roots if not database.source.page(root).is_leaf)


def long_leaf(files: Files) -> int:
    """A leaf with a piece of a long value."""
    database = _database(files)
    root = database.table("Mail").definition.long_value_root
    assert root is not None
    leaves = BTree(database.source, root).leaves()
    return next(
        page.pgno for page in leaves if page.flags & PageFlag.LONG_VALUE and page.line_count
    )


def index_page(files: Files) -> int:
    """A leaf of the secondary index."""
    database = _database(files)
    indices = database.table("Mail").definition.indices
    root = next(each.root_pgno for each in indices if each.name == "ByFolder")
    return next(BTree(database.source, root).leaves()).pgno


def older(files: Files) -> tuple[int, bytes]:
    """A leaf of the table, and what it was some time before its last write."""
    clean = _database(files).header.is_clean
    version = next(each for each in LOG_KIB if files == made(each, clean=clean))
    pgno, messages = (leaf(files, -1), MESSAGES - 8) if clean else (leaf(files), MESSAGES // 3)
    before = store(version, clean=True, messages=messages, log_kib=LOG_KIB[version])[DATABASE]
    size = _database(files).header.page_size
    return pgno, before[page_offset(pgno, size) : page_offset(pgno + 1, size)]


def logs(files: Files) -> list[str]:
    """The names of the closed logs, oldest first."""
    names = [found for name in files if (found := parse_log_name(name))]
    closed = [each for each in names if each.role is LogRole.CLOSED]
    return [each.name for each in sorted(closed, key=lambda each: each.generation or 0)]


def page(kind: DamageKind, where: Callable[[Files], int], **more: Any) -> Callable[..., Any]:
    """A damage of one page of the database."""
    return lambda files: [Damage(kind=kind, file=DATABASE, page=where(files), **more)]


def file(kind: DamageKind, name: Callable[[Files], str], **more: Any) -> Callable[..., Any]:
    """A damage of a whole file."""
    return lambda files: [Damage(kind=kind, file=name(files), **more)]


def stale(files: Files) -> list[Damage]:
    pgno, before = older(files)
    return [Damage(kind=DamageKind.STALE, file=DATABASE, page=pgno, content=before)]


def torn(files: Files) -> list[Damage]:
    pgno, before = older(files)
    return [Damage(kind=DamageKind.TORN, file=DATABASE, page=pgno, offset=512, content=before)]


def exchanged(files: Files) -> list[Damage]:
    first, second = logs(files)[-2:]
    return [Damage(kind=DamageKind.EXCHANGED, file=first, other_file=second)]


def both_headers(files: Files) -> list[Damage]:
    return [
        Damage(kind=DamageKind.BITS_FLIPPED, file=DATABASE, page=number, offset=300, bits=4)
        for number in (-1, 0)
    ]


def both_checkpoints(files: Files) -> list[Damage]:
    return [
        Damage(kind=DamageKind.BITS_FLIPPED, file="E00.chk", offset=at, bits=4)
        for at in (100, 4196)
    ]


def first_log(files: Files) -> str:
    return logs(files)[0]


def middle_log(files: Files) -> str:
    return logs(files)[-2]


K = DamageKind
NEW = "exchange 2016"
DISK: Final = (
    Case("one bit of a page", page(K.BITS_FLIPPED, leaf, offset=5000)),
    Case("one bit of a page, XOR only", page(K.BITS_FLIPPED, leaf, offset=3000),
         "exchange 2003 rtm"),
    Case("several bits of a page", page(K.BITS_FLIPPED, leaf, offset=5000, bits=9)),
    Case("page torn: its second half is old", torn),
    Case("page written to another place", page(K.MISPLACED, leaf, other=4)),
    Case("the same, pages of 32 KiB", page(K.MISPLACED, leaf, other=4), NEW),
    Case("page zeroed", page(K.ZEROED, leaf)),
    Case("page zeroed that no log names", page(K.ZEROED, long_leaf)),
    Case("lost write: the page is an old one", stale),
    Case("file cut in a page", file(K.CUT, lambda files: DATABASE, offset=36 * 8192)),
    Case("first copy of the header", page(K.BITS_FLIPPED, lambda files: -1, offset=300, bits=4)),
    Case("second copy of the header", page(K.BITS_FLIPPED, lambda files: 0, offset=300, bits=4)),
    Case("both copies of the header", both_headers),
)  # fmt: skip
STORE: Final = (
    Case("tags overlap", page(K.TAGS_OVERLAP, leaf, line=3)),
    Case("prefix longer than the page's", page(K.PREFIX_TOO_LONG, leaf, line=3)),
    Case("two lines exchanged", page(K.LINES_EXCHANGED, leaf, line=2)),
    Case("a row lost", page(K.LINE_LOST, leaf, line=9)),
    Case("a long value's piece lost", page(K.LINE_LOST, long_leaf, line=0)),
    Case("an index entry lost", page(K.LINE_LOST, index_page, line=2)),
    Case("a branch page's line lost", page(K.LINE_LOST, branch, line=0)),
    Case("link to a wrong sibling", page(K.SIBLING_LINK, leaf, other=4)),
    Case("link to a wrong child", page(K.CHILD_LINK, branch, line=0, other=4)),
    Case("dbtime too low", page(K.DBTIME, leaf, other=-1)),
    Case("dbtime too high", page(K.DBTIME, leaf, other=1)),
    Case("dbtime far too high", page(K.DBTIME, leaf, other=1 << 40)),
)
LOGS: Final = (
    *(
        Case(f"{title}{suffix}", damage, version, at_rest=False)
        for version, suffix in (("exchange 2007", " (version 7)"), (NEW, " (version 8)"))
        for title, damage in (
            ("first required log missing", file(K.MISSING, first_log)),
            ("a log in the middle missing", file(K.MISSING, middle_log)),
            ("current log missing", file(K.MISSING, lambda files: "E00.log")),
            ("log of another set", file(K.FOREIGN, middle_log)),
            ("logs exchanged", exchanged),
            ("log torn in the middle", file(K.ZEROED, middle_log, offset=5 * 4096, length=4096)),
            ("log cut short", file(K.CUT, middle_log, offset=9 * 4096)),
            ("one bit of a log", file(K.BITS_FLIPPED, middle_log, offset=5 * 4096 + 700)),
            ("several bits of a log", file(K.BITS_FLIPPED, middle_log, offset=20_500, bits=9)),
            ("header of a log", file(K.BITS_FLIPPED, middle_log, offset=64, bits=3)),
        )
    ),
    Case("checkpoint missing", file(K.MISSING, lambda files: "E00.chk"), at_rest=False),
    Case("checkpoint of another set", file(K.FOREIGN, lambda files: "E00.chk"), at_rest=False),
    Case("both copies of the checkpoint", both_checkpoints, at_rest=False),
)
GROUPS: Final = {
    "The disk": DISK,
    "The store": STORE,
    "Logs and checkpoint": LOGS,
    "The streaming file": STREAMING,
}


# -- stores ---------------------------------------------------------------------------------


def made(version: str, *, clean: bool) -> dict[str, bytes]:
    """The store that is damaged: at rest, or dead behind a checkpoint, older logs deleted."""
    return store(
        version, clean=clean, messages=MESSAGES, log_kib=LOG_KIB[version], checkpoint=not clean
    )


def files_for(case: Case, *, clean: bool) -> Files:
    """Those that a case damages."""
    return streamed(clean=clean) if case in STREAMING else made(case.version, clean=clean)


# -- what is asked --------------------------------------------------------------------------


def surveyed(files: Files) -> str:
    """``replicator ese logs``, with the database."""
    with tempfile.TemporaryDirectory() as place:
        for name, data in files.items():
            Path(place, name).write_bytes(data)
        found, errors = survey(Path(place), None, [Path(place, DATABASE)], contents=True)
        notes = [each for each in found.notes if each.number not in (-542,) or "chk" in str(each)]
    said = numbers(errors)
    noted = f"note {numbers(notes)}" if notes else ""
    return said or noted or SILENT


Rows = list[dict[str, Any]]


def rows_of(data: bytes) -> Rows:
    """Every value of every row."""
    database = Database(BytesReader(data, DATABASE), allow_dirty=True)
    return [dict(row.items()) for row in database.table("Mail").rows()]


def read(files: Files, expected: Rows) -> str:
    """All rows of the table by the reader, which goes by the catalog."""
    try:
        return WHOLE if rows_of(files[DATABASE]) == expected else NOT_FOUND
    except EseError as error:
        return str(error.number)


def attached(files: Files, version: str, expected: Rows) -> str:
    """The emulated engine: the instance opens, attaches the database, and reads every row."""
    seen: list[tuple[Any, bytes]] = []

    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.attach(DATABASE)
        session = instance.session(one)
        table = await one.open_table(MAIL)
        columns = {column.name: column for column in MAIL.layout.columns.values()}
        for row in expected:
            record = await session.read(table.get, table.key(row["Id"]))
            if record is not None:
                found = record.instances(columns["Body"], 0)
                assert found
                [body] = found
                data = body.data
                if body.separated:
                    number = int.from_bytes(body.data, "little")
                    data = await session.read(table.long_value, number)
                seen.append((row["Id"], data))
        instance.abandon()

    life = run(medium_of(files), script, config=CONFIGS[version], ticks=10**6)
    if life.error is not None:
        assert isinstance(life.error, EseError), life.error
        return str(life.error.number)
    return WHOLE if seen == [(row["Id"], row["Body"]) for row in expected] else NOT_FOUND


def recovered(files: Files, expected: Rows) -> str:
    """``replicator ese recover``, and the rows afterwards."""
    medium = medium_of(files)
    done = run_recovery(medium)
    if done.result is None:
        errors = done.errors or (done.error,)
        return numbers(errors)
    try:
        rows = rows_of(files_of(medium)[DATABASE])
    except EseError as error:
        return f"{NOT_FOUND}; then {error.number}"
    return WHOLE if rows == expected else NOT_FOUND


@lru_cache(maxsize=8)
def expected_rows(version: str, clean: bool) -> Rows:
    """Those of the store without any damage, recovered."""
    files = made(version, clean=clean)
    if clean:
        return rows_of(files[DATABASE])
    medium = medium_of(files)
    assert run_recovery(medium).result is not None
    return rows_of(files_of(medium)[DATABASE])


COLUMNS: Final = (
    "verify",
    "verify --contents",
    "every row read",
    "every content read",
    "engine",
    "logs",
    "recover",
)


def answers(case: Case) -> dict[str, str]:
    """What each step says to one damage; a step that was not asked is missing."""
    if case in STREAMING:
        return streaming_answers(case)
    found: dict[str, str] = {}
    if case.at_rest:
        whole = made(case.version, clean=True)
        damages = case.damage(whole)
        files = damaged(whole, damages)
        names = [each.file for each in damages][:1]
        rows = expected_rows(case.version, True)
        found["verify"] = verified(files, names, contents=False)
        found["verify --contents"] = verified(files, names, contents=True)
        found["every row read"] = read(files, rows)
        found["engine"] = attached(files, case.version, rows)
    if case.dead:
        whole = made(case.version, clean=False)
        damages = case.damage(whole)
        files = damaged(whole, damages)
        if not case.at_rest:
            found["verify"] = verified(files, [each.file for each in damages][:1], contents=False)
            found["logs"] = surveyed(files)
        found["recover"] = recovered(files, expected_rows(case.version, False))
    return found


def lost_write_with_flush_map() -> str:
    """``replicator ese verify`` of a real database with its map, one page as it was before."""
    name, size, pgno = "srum-server2022-later/SRUDB", 4096, 4
    data = load(f"{name}.dat")
    before = bytearray(data[page_offset(pgno, size) : page_offset(pgno + 1, size)])
    flags = int.from_bytes(before[36:40], "little")
    written = (flags >> FLUSH_TYPE_SHIFT & 3) % 3 + 1
    flags = flags & ~int(PageFlag.FLUSH_TYPE) | written << FLUSH_TYPE_SHIFT
    before[36:40] = flags.to_bytes(4, "little")
    old = with_checksums(before, pgno)
    damage = Damage(kind=DamageKind.STALE, file="a.edb", page=pgno, content=old)
    files = {"a.edb": data, "a.jfm": load(f"{name}.jfm")}
    assert verified(files, ["a.edb"], contents=False) == SILENT
    return verified(damaged(files, [damage]), ["a.edb"], contents=False)


def lines() -> Iterator[str]:
    """The table as it stands in the page."""
    for title, cases in GROUPS.items():
        told = [answers(case) for case in cases]
        asked = [each for each in COLUMNS if any(each in one for one in told)]
        yield f"### {title}"
        yield ""
        yield f"| what is damaged | {' | '.join(asked)} |"
        yield f"|---|{'---|' * len(asked)}"
        for case, found in zip(cases, told, strict=True):
            cells = [found.get(column, "") for column in asked]
            yield f"| {case.title} | {' | '.join(cells)} |"
        yield ""


if __name__ == "__main__":
    print("\n".join(lines()), end="")
