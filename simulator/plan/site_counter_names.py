r"""Which columns of a performance-counter log are written bytes, by their names.

What the usual counters are called is known (:mod:`.site_counter_catalogue`); columns of other names
the planner names.

Totals beside their parts would count twice: of a process its total is taken only where its parts
are not there, ``_Total`` of all only where it stands alone, a whole server (``Information Store``)
only without its databases, and of volumes and drives only the volumes.

A part of a name that a planner gives (``LogicalDisk(E:)``) fits all that is gathered of that disk:
its reads, its free space.  Of the columns that hold it those known as written bytes are taken, and
nothing else.  Where none is known it has to fit columns of one counter, which is neither known to
be something else nor told by its name to be one (:data:`_NOT_WRITTEN`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulator.plan.site_counter_catalogue import (
    READS_TOO,
    VOLUMES,
    CounterName,
    Role,
    known_role,
    parse_counter,
)
from simulator.plan.site_options import SiteOptions
from simulator.plan.site_text import refuse

_OPERATIONS: Final = re.compile(r"^(?!.*(byte|octet)).*(writ|schreib|écritur|escritur|transfer)")
"""A counter that was asked for and counts operations, not bytes."""
_NOT_WRITTEN: Final = re.compile(
    r"%|prozent|read|lese|gelesen|lectur|queue|warteschlange|file d'attente|\bcola\b"
    r"|\bfree\b|\bfreie?\b|libre|idle|leerlauf|\bavg\b|mittlere|durchschnitt|moyen|promedio"
    r"|\baverage\b"
    r"|stall|latenc"
)
"""Names of reads, lengths of queues, free space, shares and means: nothing that is written [M]."""
_BYTES: Final = re.compile("byte|octet|байт")
"""In the name of a counter of bytes."""
_GATHERED: Final = (
    r"\MSExchange Database ==> Instances(*)\Log Bytes Write/sec or "
    r"\LogicalDisk(*)\Disk Write Bytes/sec"
)
_LONGEST_SHOWN: Final = 100
_LOG_ROLES: Final = (
    Role.LOG_BYTES,
    Role.LOG_FILES,
    Role.WRITTEN_BYTES,
    Role.LOG_WRITES,
    Role.WRITES,
)
_PAGE_ROLES: Final = (Role.WRITTEN_BYTES, Role.WRITES)
"""What columns that were asked for may be, the best first."""


@dataclass(frozen=True)
class Chosen:
    """The columns to read.

    Attributes
    ----------
    columns: place in a row and role of each.
    names: of the columns, for remarks.
    log_sets: databases with logs of their own among them.
    seen_log_sets: the same where each column is of one, else None: a total is of any number.
    remarks: what was chosen, and what not.
    warnings: what is to be told at once, beside the remarks.
    """

    columns: tuple[tuple[int, Role], ...]
    names: tuple[str, ...]
    log_sets: int
    seen_log_sets: int | None
    remarks: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(role for _, role in self.columns)


def _parts_only(places: Sequence[int], names: dict[int, CounterName]) -> list[int]:
    """Without what other columns hold already, server by server."""
    kept: list[int] = []
    for server in sorted({names[place].server for place in places}):
        own = [place for place in places if names[place].server == server]
        volumes = [place for place in own if names[place].object_name in VOLUMES]
        instances = [place for place in own if names[place].is_of_instances]
        kept += _without_totals(volumes or instances or own, names)
    return sorted(kept)


def _without_totals(places: Sequence[int], names: dict[int, CounterName]) -> list[int]:
    """Of each process its parts, or its total where it has none; the total of all only alone."""
    by_process: dict[str, list[int]] = {}
    for place in places:
        by_process.setdefault(names[place].process, []).append(place)
    kept: list[int] = []
    for process, own in by_process.items():
        parts = [place for place in own if not names[place].is_total]
        kept += parts or (own[:1] if process else [])
    return kept or list(places[:1])


def _seen_log_sets(places: Sequence[int], names: dict[int, CounterName]) -> int | None:
    """How many log sets columns of logs are of, where each is of one."""
    single = all(place in names and names[place].is_one_log_set for place in places)
    return len(places) if single else None


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
        known = {place: known_role(name) for place, name in names.items()}
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
    known = parsed and known_role(parsed)
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
        role = known_role(name)
        if role is not None:
            by_role.setdefault(role, []).append(place)
    for role in _LOG_ROLES:
        if role not in by_role:
            continue
        if role in (Role.LOG_WRITES, Role.WRITES) and options.bytes_per_write is None:
            refuse(
                path,
                f"the file counts {role.value}, but no column is known to be their bytes; it has "
                f"{_kinds_of_columns(header)}",
                f"{_name_remedy(header)} Else gather {_GATHERED}, or say how large a write is "
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
        if role in (Role.WRITTEN_BYTES, Role.WRITES):
            remarks += _perhaps_logs(header, names)
        remarks += _other_programs(header, names)
        of_logs = role in (Role.LOG_BYTES, Role.LOG_FILES, Role.LOG_WRITES)
        sets, seen = (len(places), _seen_log_sets(places, names)) if of_logs else (1, None)
        return Chosen(tuple((place, role) for place in places), taken, sets, seen, tuple(remarks))
    refuse(
        path,
        f"none of the {max(0, len(header) - 1):,} columns is known to count written bytes: "
        f"{_kinds_of_columns(header)}",
        f"{_name_remedy(header)} Else gather {_GATHERED}.",
        1,
    )


def _kinds_of_columns(header: Sequence[str]) -> str:
    """A column of each counter, without its server."""
    found: dict[str, str] = {}
    for name in header[1:]:
        short = re.sub(r"^\\\\[^\\]+(?=\\)", "", name.strip())
        found.setdefault(_counter(name), short[:_LONGEST_SHOWN])
    return _list(list(found.values()))


def _name_remedy(header: Sequence[str]) -> str:
    """How to name columns of bytes, with one that may be meant."""
    unknown = [name for name in header[1:] if _may_be_bytes(name)]
    example = (
        unknown[0].strip().rpartition("\\")[2][:_LONGEST_SHOWN] if unknown else "LogicalDisk(E:)"
    )
    return (
        "If one of them is bytes of logs or of pages a second under another name, give a part of "
        f'that name: log_counters = ["{example}"], or database_counters.'
    )


def _may_be_bytes(name: str) -> bool:
    """Whether a column that is not known may be written bytes, as its name goes."""
    parsed, counter = parse_counter(name), _counter(name)
    known = parsed is not None and (known_role(parsed) or parsed.is_of_other_program)
    rate = "/" in counter and _BYTES.search(counter) and not _NOT_WRITTEN.search(counter)
    return bool(not known and rate)


def _perhaps_logs(header: Sequence[str], names: dict[int, CounterName]) -> list[str]:
    """Columns of the store beside those of disks that may be bytes of logs."""
    found = [
        header[place].strip()
        for place, name in names.items()
        if (name.is_of_store or name.is_of_instances) and _may_be_bytes(header[place])
    ]
    return [f"may be bytes of logs, and not used (log_counters): {_list(found)}"] if found else []


def _other_programs(header: Sequence[str], names: dict[int, CounterName]) -> list[str]:
    """Columns of the engine that are not the mail store's."""
    found = [
        header[place].strip()
        for place, name in names.items()
        if name.is_of_other_program and _BYTES.search(name.counter)
    ]
    return [f"no mail store, and left out: {_list(found)}"] if found else []


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
            role: [place for place, name in names.items() if known_role(name) is role]
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
    both_ways = [name for name in taken if _counter(name) in READS_TOO]
    warnings = (
        [f"reads are counted as if they were written: {_list(both_ways)}"] if both_ways else []
    )
    of_logs = [place for place, _ in columns if place not in pages]
    parsed_names = {place: each for place in of_logs if (each := parse_counter(header[place]))}
    return Chosen(
        tuple(columns),
        taken,
        max(1, len(of_logs)),
        _seen_log_sets(of_logs, parsed_names),
        tuple(remarks),
        tuple(warnings),
    )


def _list(names: Sequence[str], most: int = 6) -> str:
    more = "" if len(names) <= most else f" and {len(names) - most:,} more"
    return ", ".join(names[:most]) + more
