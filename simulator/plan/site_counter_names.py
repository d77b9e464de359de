r"""Which columns of a performance-counter log are written bytes, by their names.

A column is named ``\\SERVER\Object(Instance)\Counter``.  Known are the store's own counters (of
the objects ``MSExchange Database ==> Instances`` and ``MSExchange Database``, ``Database`` in 2000
to 2003) and those of disks.  Objects and counters of Windows have other names in other languages; a
few are known [M], and for the rest the planner names the columns.

Totals beside their parts would count twice: ``_Total`` is taken only where it stands alone, a
whole server (``Information Store``) only without its databases, and of volumes and drives only the
volumes.
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
    """

    columns: tuple[tuple[int, Role], ...]
    names: tuple[str, ...]
    log_sets: int
    remarks: tuple[str, ...]

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


def _matching(parts: Sequence[str], header: Sequence[str], option: str, path: str) -> list[int]:
    places = [
        place
        for place, name in enumerate(header)
        if place and any(part.lower() in name.lower() for part in parts)
    ]
    for part in parts:
        if not any(part.lower() in name.lower() for name in header[1:]):
            refuse(
                path,
                f"no column's name holds {part!r}, which {option} asks for",
                "Look at the names in the first line of the file.",
                1,
            )
    return places


def _given_role(name: str, whole: Role, writes: Role) -> Role:
    parsed = parse_counter(name)
    known = parsed and _known(parsed)
    counter = name if parsed is None else parsed.counter
    if known in (Role.WRITES, Role.LOG_WRITES) or _OPERATIONS.search(counter.lower()):
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
    for role in (
        Role.LOG_BYTES,
        Role.LOG_FILES,
        Role.WRITTEN_BYTES,
        Role.LOG_WRITES,
        Role.WRITES,
    ):
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
    logs = _matching(options.log_counters, header, "log_counters", path)
    pages = _matching(options.database_counters, header, "database_counters", path)
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
        role = _given_role(header[place], Role.DATABASE_BYTES, Role.WRITES)
        if role is Role.LOG_FILES:
            refuse(path, "log files are no pages", "Name columns of bytes (database_counters).", 1)
        columns.append((place, role))
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
    sets = max(1, len(columns) - len(pages))
    return Chosen(tuple(columns), taken, sets, (f"columns as asked for: {_list(taken)}",))


def _list(names: Sequence[str], most: int = 6) -> str:
    more = "" if len(names) <= most else f" and {len(names) - most:,} more"
    return ", ".join(names[:most]) + more
