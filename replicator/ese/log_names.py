"""Names of the files of a log set: which set they belong to, and what they are in it.

E src/ese/_log/logstream.cxx, src/inc/log.hxx; the older names after published manuals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

BASE_CHARACTERS: Final = 3
UNFINISHED_NAME: Final = "UNFINISHED-STORE.txt"
"""Beside the files of a store that is being made, or whose making was killed."""

_CLOSED: Final = re.compile(r"(.{3})([0-9A-F]{8}|[0-9A-F]{5})\.(?:LOG|JTX)", re.DOTALL)
_CURRENT: Final = re.compile(r"(.{3})\.(?:LOG|JTX)", re.DOTALL)
_TEMPORARY: Final = re.compile(r"(.{3})TMP\.(?:LOG|JTX)", re.DOTALL)
_RESERVE: Final = re.compile(r"(.{3})RES[0-9A-F]{5}\.JRS", re.DOTALL)
_OLD_RESERVE: Final = re.compile(r"RES[12]\.LOG")
_CHECKPOINT: Final = re.compile(r"(.{3})\.(?:CHK|JCP)", re.DOTALL)


class LogRole(Enum):
    """What a file is in its log set."""

    CURRENT = "current"
    """The generation being written."""
    CLOSED = "closed"
    TEMPORARY = "temporary"
    """The next log in preparation, by and by a recycled old one."""
    RESERVE = "reserve"
    """Kept for a clean end on a full disk."""
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class LogName:
    """A file name of a log set.

    Arguments
    ---------
    name: as it is in the directory.
    role: what it is.
    base: the set's three characters, upper case; None for the old reserve logs, which belong to
        all sets of the directory.
    generation: of a closed log.
    """

    name: str
    role: LogRole
    base: str | None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class LogNames:
    """The names that a log set gives its files.

    Arguments
    ---------
    base: three characters, as ``E00``.
    digits: of a generation: 5 (Exchange 2000 and 2003) or 8; above 0xFFFFF the engine always
        takes 8.
    shared_reserves: the reserve logs are ``res1.log`` and ``res2.log``, for all sets of a directory
        (Exchange 2000 and 2003); else each set has its own.

    Raises ValueError for a base or a number of digits that no log set has.
    """

    base: str = "E00"
    digits: int = 8
    shared_reserves: bool = False

    def __post_init__(self) -> None:
        if len(self.base) != BASE_CHARACTERS or "/" in self.base:
            raise ValueError(f"a log set's base name has three characters, not {self.base!r}")
        if self.digits not in (5, 8):
            raise ValueError("generations in file names have 5 or 8 digits")

    @property
    def current(self) -> str:
        return f"{self.base}.log"

    @property
    def temporary(self) -> str:
        return f"{self.base}tmp.log"

    @property
    def checkpoint(self) -> str:
        return f"{self.base}.chk"

    @property
    def reserves(self) -> tuple[str, str]:
        if self.shared_reserves:
            return "res1.log", "res2.log"
        return f"{self.base}res00001.jrs", f"{self.base}res00002.jrs"

    def closed(self, generation: int) -> str:
        digits = 8 if generation > 0xFFFFF else self.digits
        return f"{self.base}{generation:0{digits}X}.log"


def parse_log_name(name: str) -> LogName | None:
    """What a file is by its name; None for a file that belongs to no log set.

    The case does not matter.  A generation has five hex digits (Exchange 2000 and 2003, Windows)
    or eight (Exchange 2007 on).
    """
    upper = name.upper()
    if _OLD_RESERVE.fullmatch(upper):
        return LogName(name, LogRole.RESERVE, None)
    for pattern, role in (
        (_CURRENT, LogRole.CURRENT),
        (_TEMPORARY, LogRole.TEMPORARY),
        (_RESERVE, LogRole.RESERVE),
        (_CHECKPOINT, LogRole.CHECKPOINT),
    ):
        found = pattern.fullmatch(upper)
        if found:
            return LogName(name, role, found[1])
    found = _CLOSED.fullmatch(upper)
    return found and LogName(name, LogRole.CLOSED, found[1], int(found[2], 16))


def log_bases(names: Iterable[str]) -> tuple[str, ...]:
    """The log sets in a directory, by their base names; a lone checkpoint makes none."""
    roles = (LogRole.CURRENT, LogRole.CLOSED, LogRole.TEMPORARY)
    parsed = [found for name in names if (found := parse_log_name(name))]
    return tuple(sorted({each.base for each in parsed if each.base and each.role in roles}))
