"""The real files: what is shipped with the tests, and the whole collection where it is at hand.

The figures are those that an independent prototype found (pages) and that pyesedb and
dissect.esedb agree on (tables, rows).
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[3] / "shared/reference/samples"


@dataclass(frozen=True)
class Sample:
    """One real database."""

    name: str
    page_size: int
    revision: int
    minor: int
    clean: bool
    generation: int
    """Required and committed, all the same in these files; 0 when clean."""
    verified: int
    initialised: int
    pages: int
    tables: int
    rows: int


DATABASES = (
    Sample("srum-server2022-first/SRUDB.dat", 4096, 0xB4, 400, True, 0, 30, 30, 46, 6, 191),
    Sample("srum-server2022-later/SRUDB.dat", 4096, 0xB4, 400, True, 0, 73, 73, 158, 12, 620),
    Sample("srum-win10-dirty/SRUDB.dat", 4096, 0x14, 0, False, 81, 647, 647, 782, 13, 7785),
    Sample("srum-win10-repaired/SRUDB.dat", 4096, 0x6E, 240, True, 0, 647, 647, 782, 13, 7785),
    Sample("srum-win10-clean/SRUDB.dat", 4096, 0x6E, 240, True, 0, 325, 325, 446, 14, 3592),
    Sample(
        "search-win10-32k/repaired-Windows.edb",
        32768,
        0x6E,
        240,
        True,
        0,
        211,
        211,
        510,
        23,
        4110,
    ),
    Sample("sum-2012r2/Current.mdb", 4096, 0x14, 0, False, 1, 89, 89, 256, 8, 954),
    Sample("sum-2012r2/SystemIdentity.mdb", 4096, 0x14, 0, True, 0, 36, 36, 256, 7, 246),
    Sample("bits-16k-dirty/qmgr.db", 16384, 0x12C, 620, False, 23, 43, 43, 78, 6, 191),
    Sample("readers-4k/basic.edb", 4096, 0x14, 0, True, 0, 23, 23, 254, 5, 190),
    Sample("readers-4k/index.edb", 4096, 0x14, 0, True, 0, 47, 47, 254, 5, 259),
    Sample("readers-32k/large.edb", 32768, 0x14, 0, True, 0, 381, 381, 766, 5, 130166),
    Sample("damaged-tail/SRUDB.dat", 4096, 0x14, 0, True, 0, 79, 95, 158, 12, 683),
    Sample("readers-8k/decompress_test.edb", 8192, 0x14, 0, True, 0, 18, 18, 254, 5, 178),
)

FLUSH_MAPS = {
    "srum-server2022-first/SRUDB.dat": "srum-server2022-first/SRUDB.jfm",
    "srum-server2022-later/SRUDB.dat": "srum-server2022-later/SRUDB.jfm",
    "srum-win10-dirty/SRUDB.dat": "srum-win10-dirty/SRUDB.jfm",
    "srum-win10-repaired/SRUDB.dat": "srum-win10-repaired/SRUDB.jfm",
    "srum-win10-clean/SRUDB.dat": "srum-win10-clean/SRUDB.jfm",
    "search-win10-32k/repaired-Windows.edb": "search-win10-32k/repaired-Windows.jfm",
}

CHECKPOINTS = {
    "srum-server2022-first/SRU.chk": (2, 2, 0),
    "srum-server2022-later/SRU.chk": (5, 6, 0),
    "srum-win10-dirty/SRU.chk": (0x51, 9, 0),
    "srum-win10-clean/SRU.chk": (0x20, 0xE, 0),
    "ntds-2012r2/edb.chk": (3, 0x2F3, 0),
}


def place(name: str) -> Path | None:
    """Where a sample is stored, compressed or not; None when it is not at hand."""
    for root in (HERE, SHARED):
        for path in (root / name, root / f"{name}.xz"):
            if path.exists():
                return path
    return None


@lru_cache(maxsize=4)
def load(name: str) -> bytes:
    """A sample, uncompressed."""
    path = place(name)
    assert path is not None, name
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def each(names: list[str]) -> list[object]:
    """Parameters for a test over samples; those that lie in ../shared only need it."""
    return [
        pytest.param(
            name,
            id=name,
            marks=pytest.mark.skipif(place(name) is None, reason="needs ../shared, which CI has"),
        )
        for name in names
    ]


LARGE = "readers-32k/large.edb"
"""130,000 rows: what looks at each of them is for ``make test-full`` there."""

AGAIN = "srum-win10-repaired/SRUDB.dat"
"""The rows of srum-win10-dirty once more, after its repair: likewise."""


def databases(*, large: bool = False) -> list[object]:
    """All databases, as test parameters.

    Arguments
    ---------
    large: whether the test is quick enough to have the large one in ``make test``.
    """
    if large:
        return each([sample.name for sample in DATABASES])
    names = each([sample.name for sample in DATABASES if sample.name not in (LARGE, AGAIN)])
    return [*names, *full(LARGE), *full(AGAIN)]


def full(name: str) -> list[object]:
    """A sample for ``make test-full``."""
    there = pytest.mark.skipif(place(name) is None, reason="needs ../shared, which CI has")
    return [pytest.param(name, id=name, marks=(pytest.mark.full, there))]


def sample(name: str) -> Sample:
    """The figures of a database."""
    return next(each for each in DATABASES if each.name == name)
