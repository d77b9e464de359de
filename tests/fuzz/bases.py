"""What plans change: real files cut down to what is used of them, and emulated ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from replicator.ese.database_header import read_database_header
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import HEADER_BYTES
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from tests.ese.samples import load
from tests.ese.small_ese_store import DIRECTORY, crashed_store
from tests.store_ese.stores import DATABASE, store

REAL: Final = (
    "readers-4k/basic.edb",
    "readers-4k/index.edb",
    "readers-8k/decompress_test.edb",
    "bits-16k-dirty/qmgr.db",
    "sum-2012r2/SystemIdentity.mdb",
)
EMULATED: Final = ("exchange 2003 rtm", "exchange 2007", "exchange 2010", "exchange 2016")
PAGE_SIZES: Final = (2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class Base:
    """A database.

    Arguments
    ---------
    name: what it is.
    data: all of it, up to its last page in use.
    page_size: of its pages.
    used: the pages that are not all zero.
    """

    name: str
    data: bytes
    page_size: int
    used: tuple[int, ...]


def base_of(name: str, data: bytes) -> Base:
    """A database cut behind its last page in use."""
    size = read_database_header(BytesReader(data))[0].page_size
    pages = range(1, len(data) // size - 1)
    used = tuple(n for n in pages if any(data[page_offset(n, size) : page_offset(n + 1, size)]))
    return Base(name, data[: page_offset(used[-1] + 1, size)], size, used)


@lru_cache(maxsize=1)
def databases() -> tuple[Base, ...]:
    """All that the target of whole databases changes."""
    real = [base_of(name, load(name)) for name in REAL]
    made = [
        base_of(name, store(name, clean=clean)[DATABASE])
        for name in EMULATED
        for clean in (True, False)
    ]
    return (*real, *made)


@lru_cache(maxsize=1)
def pages() -> tuple[tuple[int, bytes], ...]:
    """Pages of every size and kind, by number: branch, leaf, space, long values, none of 2 KiB.

    Those of 2 KiB are made, since nobody's files have them any more.
    """
    found = []
    for base in databases():
        kinds = {}
        for pgno in base.used:
            data = base.data[page_offset(pgno, base.page_size) :][: base.page_size]
            kinds[int.from_bytes(data[36:40], "little") & 0xFF] = pgno, data
        found += kinds.values()
    made = PageEditor(7, 2048)
    made.start(9, 5, 0x802, b"prefix of keys")
    for line in range(20):
        made.insert(line, b"prefix of keys and %02d" % line, bytes(line), 14 if line % 2 else 0)
    return (*found, (7, made.sealed_bytes()))


@lru_cache(maxsize=1)
def headers() -> tuple[bytes, ...]:
    """The beginnings of files of each kind, as far as they say something."""
    logs = [load("srum-server2022-later/SRU.log"), store("exchange 2003", clean=True)["E00.log"]]
    small = ("srum-server2022-later/SRU.chk", "ntds-2012r2/edb.chk")
    return (
        *(base.data[: 2 * base.page_size] for base in databases()),
        *(load(name) for name in small),
        store("exchange 2003", clean=True)["E00.chk"],
        load("srum-server2022-later/SRUDB.jfm"),
        *(log[:HEADER_BYTES] for log in logs),
    )


@lru_cache(maxsize=1)
def logs() -> tuple[bytes, ...]:
    """Logs of both versions; emulated ones are cut behind their data, as their headers say then."""
    small = [crashed_store(version).medium.digest(f"{DIRECTORY}/") for version in (8, 7)]
    return (
        load("srum-server2022-later/SRU.log"),
        load("srum-server2022-later/SRU00004.log"),
        *(data for files in small for name, data in files.items() if is_log(name, data)),
        store("exchange 2003", clean=True)["E00.log"],
        store("exchange 2016", clean=False)["E00.log"],
    )


def is_log(path: str, data: bytes) -> bool:
    """Whether it has records: no reserve, and none in preparation."""
    name = path.rpartition("/")[2]
    return name.endswith(".log") and any(data) and not name.startswith(("res", "E00tmp"))


@lru_cache(maxsize=1)
def records() -> tuple[bytes, ...]:
    """One record of each type and size that the logs have."""
    found = {}
    for data in logs():
        for record in LogFile(BytesReader(data), closed=False).records():
            found.setdefault((record.data[0], len(record.data) // 16), record.data)
    return tuple(found.values())
