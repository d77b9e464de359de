r"""Which columns of a performance-counter log are written bytes, by their names.

A column is named ``\\SERVER\Object(Instance)\Counter``.  Known are the store's own counters (of
the objects ``MSExchange Database ==> Instances`` and ``MSExchange Database``, ``Database`` in 2000
to 2003) and those of disks.  Objects and counters of Windows have other names in other languages; a
few are known [M], and for the rest the planner names the columns.

Totals beside their parts would count twice: ``_Total`` is taken only where it stands alone, a
whole server (``Information Store``) only without its databases, and of volumes and drives only the
volumes.

A part of a name that a planner gives (``LogicalDisk(E:)``) fits all that is gathered of that disk:
its reads, its free space.  Of the columns that hold it those known as written bytes are taken, and
nothing else.  Where none is known it has to fit columns of one counter, which is neither known to
be something else nor told by its name to be one (:data:`_NOT_WRITTEN`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import refuse

_PATH: Final = re.compile(r"(?:\\\\([^\\]+))?\\(?:(.+?)\((.*)\)|([^\\(]+))\\([^\\]+)")
_STORE_OBJECTS: Final = re.compile(r"(?:msexchange )?database( ==> instances)?|msexchangeis.*")
_VOLUMES: Final = ("logicaldisk", "logischer datenträger", "disque logique", "disco lógico")
_DRIVES: Final = (
    "physicaldisk",
    "physikalischer datenträger",
    "physischer datenträger",
    "disque physique",
    "disco físico",
)
_LOG_BYTES: Final = ("log bytes write/sec",)
_LOG_FILES: Final = ("log files generated",)
_LOG_WRITES: Final = ("log writes/sec", "i/o log writes/sec")
_DISK_BYTES: Final = (
    "disk write bytes/sec",
    "bytes geschrieben/s",
    "écritures disque, octets/s",
    "bytes de escritura en disco/s",
)
_OPERATIONS: Final = re.compile(r"^(?!.*(byte|octet)).*(writ|schreib|écritur|escritur|transfer)")
"""A counter that was asked for and counts operations, not bytes."""
_NOT_WRITTEN: Final = re.compile(
    r"%|prozent|read|lese|gelesen|lectur|queue|warteschlange|file d'attente|\bcola\b"
    r"|\bfree\b|\bfreie?\b|libre|idle|leerlauf|\bavg\b|mittlere|durchschnitt|moyen|promedio"
    r"|stall|latenc"
)
"""Names of reads, lengths of queues, free space, shares and means: nothing that is written [M]."""
_READS_TOO: Final = (
    "disk bytes/sec",
    "bytes/s",
    "octets disque/s",
    "bytes de disco/s",
    "disk transfers/sec",
    "übertragungen/s",
    "transferts disque/s",
    "transferencias de disco/s",
)
"""Counters of reads and writes together [M]."""
_DISK_WRITES: Final = (
    "disk writes/sec",
    "schreibvorgänge/s",
    "écritures disque/s",
    "escrituras en disco/s",
)


class Role(Enum):
    """What a column is."""

    LOG_BYTES = "bytes of logs a second"
    LOG_FILES = "log files since the start"
    DATABASE_BYTES = "bytes of pages a second"
    WRITTEN_BYTES = "bytes a second, logs and pages"
    LOG_WRITES = "log writes a second"
    WRITES = "writes a second, of logs and pages"


_LOG_ROLES: Final = (
    Role.LOG_BYTES,
    Role.LOG_FILES,
    Role.WRITTEN_BYTES,
    Role.LOG_WRITES,
    Role.WRITES,
)
_PAGE_ROLES: Final = (Role.WRITTEN_BYTES, Role.WRITES)
"""What columns that were asked for may be, the best first."""


@dataclass(frozen=True, slots=True)
class CounterName:
    """The parts of a column's name, in lower case."""

    server: str
    object_name: str
    instance: str
    counter: str


@dataclass(frozen=True)
class Chosen:
    """The columns to read.

    Attributes
    ----------
    columns: place in a row and role of each.
    names: of the columns, for remarks.
    log_sets: databases with logs of their own among them.
    remarks: what was chosen, and what not.
    warnings: what is to be told at once, beside the remarks.
    """

    columns: tuple[tuple[int, Role], ...]
    names: tuple[str, ...]
    log_sets: int
    remarks: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(role for _, role in self.columns)


def parse_counter(name: str) -> CounterName | None:
    """The parts of a column's name; None for what is no counter."""
    found = _PATH.fullmatch(name.strip())
    if found is None:
        return None
    return CounterName(
        (found[1] or "").lower(),
        (found[2] or found[4]).strip().lower(),
        (found[3] or "").strip().lower(),
        found[5].strip().lower(),
    )


def _known(name: CounterName) -> Role | None:
    if _STORE_OBJECTS.fullmatch(name.object_name):
        for counters, role in (
            (_LOG_BYTES, Role.LOG_BYTES),
            (_LOG_FILES, Role.LOG_FILES),
            (_LOG_WRITES, Role.LOG_WRITES),
        ):
            if name.counter in counters:
                return role
    if name.object_name in _VOLUMES + _DRIVES:
        if name.counter in _DISK_BYTES:
            return Role.WRITTEN_BYTES
        if name.counter in _DISK_WRITES:
            return Role.WRITES
    return None


def _total(instance: str) -> bool:
    return instance.split("/")[-1].strip() == "_total" or instance == "total"


def _parts_only(places: Sequence[int], names: dict[int, CounterName]) -> list[int]:
    """Without what other columns hold already, server by server."""
    kept: list[int] = []
    for server in sorted({names[place].server for place in places}):
        own = [place for place in places if names[place].server == server]
        volumes = [place for place in own if names[place].object_name in _VOLUMES]
        instances = [place for place in own if "==>" in names[place].object_name]
        own = volumes or instances or own
        kept += [place for place in own if not _total(names[place].instance)] or own[:1]
    return sorted(kept)


def _asked(
    parts: Sequence[str], roles: Sequence[Role], header: Sequence[str], option: str, path: str
) -> tuple[list[int], list[int]]:
    """The columns that parts of names ask for, and those that hold such a part and are left out.

    Arguments
    ---------
    roles: what they may be, the best first.
    """
    taken: set[int] = set()
    held: set[int] = set()
    for part in parts:
        places = [
            place for place, name in enumerate(header) if place and part.lower() in name.lower()
        ]
        if not places:
            refuse(
                path,
                f"no column's name holds {part!r}, which {option} asks for",
                "Look at the names in the first line of the file.",
                1,
            )
        names = {place: name for place in places if (name := parse_counter(header[place]))}
        known = {place: _known(name) for place, name in names.items()}
        best = next((role for role in roles if role in known.values()), None)
        if best is None:
            taken |= set(_unknown(part, places, header, known, option, path))
        else:
            of_role = [place for place in places if known.get(place) is best]
            taken |= set(_parts_only(of_role, names))
        held |= set(places)
    return sorted(taken), sorted(held - taken)


def _unknown(
    part: str,
    places: Sequence[int],
    header: Sequence[str],
    known: dict[int, Role | None],
    option: str,
    path: str,
) -> Sequence[int]:
    """Columns that hold a part of a name, none of them known to be what is asked for."""
    remedy = (
        "Give a part of a name that only columns of written bytes hold, such as "
        rf"LogicalDisk(E:)\Disk Write Bytes/sec ({option})."
    )
    for place in places:
        role, counter = known.get(place), _counter(header[place])
        if role is not None:
            refuse(path, f"{header[place].strip()[:80]} counts {role.value}", remedy, 1)
        if _NOT_WRITTEN.search(counter):
            refuse(path, f"{header[place].strip()[:80]} counts nothing that is written", remedy, 1)
    counters = sorted({_counter(header[place]) for place in places})
    if len(counters) > 1:
        refuse(
            path,
            f"columns of {len(counters):,} counters hold {part!r}, and none of them is known to be "
            f"written bytes: {_list(counters)[:200]}",
            remedy,
            1,
        )
    return places


def _counter(name: str) -> str:
    """The counter in a column's name, in lower case."""
    parsed = parse_counter(name)
    return name.strip().lower() if parsed is None else parsed.counter


def _given_role(name: str, whole: Role, writes: Role) -> Role:
    parsed = parse_counter(name)
    known = parsed and _known(parsed)
    if known in (Role.WRITES, Role.LOG_WRITES) or _OPERATIONS.search(_counter(name)):
        return writes
    return Role.LOG_FILES if known is Role.LOG_FILES else whole


def choose_columns(header: Sequence[str], options: SiteOptions, path: str) -> Chosen:
    """The columns of written bytes.

    Raises BadInput where there are none, with what to gather.
    """
    if options.log_counters or options.database_counters:
        return _given(header, options, path)
    names = {
        place: parsed
        for place, name in enumerate(header)
        if place and (parsed := parse_counter(name)) is not None
    }
    by_role: dict[Role, list[int]] = {}
    for place, name in names.items():
        role = _known(name)
        if role is not None:
            by_role.setdefault(role, []).append(place)
    for role in _LOG_ROLES:
        if role not in by_role:
            continue
        if role in (Role.LOG_WRITES, Role.WRITES) and options.bytes_per_write is None:
            refuse(
                path,
                "the file counts writes, but not their bytes",
                "Gather Log Bytes Write/sec or Disk Write Bytes/sec, or say how large a write is "
                "(bytes_per_write).",
                1,
            )
        places = _parts_only(by_role[role], names)
        taken = tuple(header[place].strip() for place in places)
        remarks = [f"columns: {_list(taken)}"]
        disks = by_role.get(Role.WRITTEN_BYTES, [])
        if role in (Role.LOG_BYTES, Role.LOG_FILES) and disks:
            remarks.append(
                f"{len(disks):,} columns of disks are not used: name those of databases "
                "(database_counters) to have pages measured"
            )
        if role is Role.WRITTEN_BYTES and len(places) > 1:
            remarks.append(
                f"the writes of {len(places):,} disks are added up, the system's among them "
                "(choose with log_counters, database_counters)"
            )
        sets = len(places) if role in (Role.LOG_BYTES, Role.LOG_FILES, Role.LOG_WRITES) else 1
        return Chosen(tuple((place, role) for place in places), taken, sets, tuple(remarks))
    refuse(
        path,
        f"none of the {max(0, len(header) - 1):,} columns is known to count written bytes",
        r"Gather \MSExchange Database ==> Instances(*)\Log Bytes Write/sec or "
        r"\LogicalDisk(*)\Disk Write Bytes/sec; if they have other names on this server, give a "
        "part of the name (log_counters, database_counters).",
        1,
    )


def _given(header: Sequence[str], options: SiteOptions, path: str) -> Chosen:
    columns: list[tuple[int, Role]] = []
    logs, no_logs = _asked(options.log_counters, _LOG_ROLES, header, "log_counters", path)
    pages, no_pages = _asked(
        options.database_counters, _PAGE_ROLES, header, "database_counters", path
    )
    both = set(logs) & set(pages)
    if both:
        refuse(
            path,
            f"{header[min(both)].strip()[:80]} is taken both for logs and for pages",
            "Give longer parts of the names (log_counters, database_counters).",
            1,
        )
    for place in logs:
        columns.append((place, _given_role(header[place], Role.LOG_BYTES, Role.LOG_WRITES)))
    for place in pages:
        columns.append((place, _given_role(header[place], Role.DATABASE_BYTES, Role.WRITES)))
    if not logs:
        names = {
            place: parsed
            for place, name in enumerate(header)
            if place not in pages and (parsed := parse_counter(name)) is not None
        }
        known = {
            role: [place for place, name in names.items() if _known(name) is role]
            for role in (Role.LOG_BYTES, Role.LOG_FILES)
        }
        first = Role.LOG_BYTES if known[Role.LOG_BYTES] else Role.LOG_FILES
        if not known[first]:
            refuse(
                path,
                "database_counters are given, and no column of logs is known",
                "Name the columns of logs as well (log_counters).",
                1,
            )
        columns += [(place, first) for place in _parts_only(known[first], names)]
    if any(role in (Role.LOG_WRITES, Role.WRITES) for _, role in columns) and (
        options.bytes_per_write is None
    ):
        refuse(
            path,
            "a column that was asked for counts writes, but not their bytes",
            "Say how large a write is (bytes_per_write), or name a column of bytes.",
            1,
        )
    taken = tuple(header[place].strip() for place, _ in columns)
    remarks = [f"columns as asked for: {_list(taken)}"]
    left = sorted(set(no_logs + no_pages) - {place for place, _ in columns})
    if left:
        names_left = _list([header[place].strip() for place in left])
        remarks.append(f"columns that hold the same names, and are left out: {names_left}")
    both_ways = [name for name in taken if _counter(name) in _READS_TOO]
    warnings = (
        [f"reads are counted as if they were written: {_list(both_ways)}"] if both_ways else []
    )
    sets = max(1, len(columns) - len(pages))
    return Chosen(tuple(columns), taken, sets, tuple(remarks), tuple(warnings))


def _list(names: Sequence[str], most: int = 6) -> str:
    more = "" if len(names) <= most else f" and {len(names) - most:,} more"
    return ", ".join(names[:most]) + more
