"""A directory of logs: which generations are there, and whether they are one unbroken chain.

Every finding is the engine's own error, number and event ids included, in the order of the
generations.  What is worth telling but stops no recovery is a note.  Of each log only its header
and the verdict on its segments are kept.

E src/ese/_log/logredo.cxx, logdump.cxx, logstream.cxx.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from replicator.ese.attachments import Attachment
from replicator.ese.checkpoint import Checkpoint, read_checkpoint
from replicator.ese.errors import EseError
from replicator.ese.log_file import LogFile
from replicator.ese.log_header import LogHeader, read_log_header
from replicator.ese.log_names import LogName, LogRole, log_bases, parse_log_name
from replicator.ese.log_record_types import Kind
from replicator.ese.log_records import AttachDB, CreateDB, DetachDB
from replicator.ese.log_scan import LogScan
from replicator.ese.reader import FileReader, Reader
from replicator.ese.values import Signature

ReaderOpener = Callable[[str], AbstractContextManager[Reader]]

GENERATION_MISMATCH: Final = -513
WRONG_SEQUENCE: Final = -515
MISSING_LOG: Final = -528
BAD_SIGNATURE: Final = -530
SIZE_MISMATCH: Final = -541
SECTOR_MISMATCH: Final = -546
CHECKSUM_MISMATCH: Final = -590
PAGE_SIZE_MISMATCH: Final = -1213
NO_CHECKPOINT: Final = -542
FILE_NOT_FOUND: Final = -1811

GAP_EVENTS: Final = (450, 518, 519)
CURRENT_MISSING_EVENTS: Final = (455,)
_ONE_CURRENT: Final = "Put the one aside that is older."


@dataclass(frozen=True, slots=True)
class AttachedDatabase:
    """A database that is attached where the logs end."""

    dbid: int
    path: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class LogSummary:
    """What is kept of one log.

    Arguments
    ---------
    name: file name and role.
    path: how errors call the file.
    size_bytes: how long it is.
    header: None when it cannot be used; its raw bytes are not kept.
    attachments: the databases attached when the log was created.
    scan: the verdict on its segments or sectors; None when not reached or not asked for.
    error: why the log cannot be used as it is, or None.
    notes: what is worth telling.
    """

    name: LogName
    path: str
    size_bytes: int
    header: LogHeader | None
    attachments: tuple[Attachment, ...]
    scan: LogScan | None
    error: EseError | None
    notes: tuple[EseError, ...]

    @property
    def generation(self) -> int | None:
        """By its name, and where that holds none, by its header."""
        if self.name.generation is not None:
            return self.name.generation
        return self.header.generation if self.header else None


def summarise(name: LogName, reader: Reader, path: str, *, contents: bool = True) -> LogSummary:
    """Read one log for a chain; what is wrong with it becomes its ``error``.

    Arguments
    ---------
    name: its name and role.
    reader: the file.
    path: how errors call it.
    contents: whether its segments or sectors are verified too.
    """
    header: LogHeader | None = None
    scan: LogScan | None = None
    notes: tuple[EseError, ...] = ()
    error: EseError | None = None
    attachments: tuple[Attachment, ...] = ()
    size = 0
    try:
        size = reader.size_bytes
        whole = read_log_header(reader)
        attachments = whole.attachments
        header = dataclasses.replace(whole, raw=b"")
        if name.generation is not None and header.generation != name.generation:
            detail = f"the header has generation 0x{header.generation:X}, the name says otherwise"
            raise EseError(GENERATION_MISMATCH, detail, offset=4)
        try:
            whole.check_geometry(size)
        except EseError as found:
            if found.number != SIZE_MISMATCH:
                header = None
            raise
        if contents:
            log = LogFile(reader, closed=name.role is LogRole.CLOSED)
            scan, notes = log.scan, log.notes()
    except EseError as found:
        error = found
    for each in (*notes, *(() if error is None else (error,))):
        each.path = path
    return LogSummary(name, path, size, header, attachments, scan, error, notes)


def check_one_current(paths: Sequence[str]) -> Iterator[EseError]:
    """Names of the current log that differ in case: only one of them can be it.

    Arguments
    ---------
    paths: of all files that are called so.
    """
    for path in paths[1:]:
        detail = f"it is called like the current log, {paths[0]}, but for the case of its letters"
        yield EseError(GENERATION_MISMATCH, detail, path=path, remedy=_ONE_CURRENT)


def check_chain(logs: Sequence[LogSummary]) -> Iterator[EseError]:
    """What is wrong with logs that should follow one another, in the order given.

    Each log's own error comes before those with the log before it.
    """
    before: LogSummary | None = None
    for log in logs:
        if log.error is not None:
            yield log.error
        if before is not None:
            yield from _check_pair(before, log)
        before = log


def _check_pair(before: LogSummary, log: LogSummary) -> Iterator[EseError]:
    if before.generation is None or log.generation is None:
        return

    def differs(number: int, detail: str, *, events: tuple[int, ...] | None = None) -> EseError:
        return EseError(number, detail, path=log.path, events=events)

    if log.generation <= before.generation:
        detail = f"generation 0x{log.generation:X} is there already, as {before.path}"
        if log.generation < before.generation:
            detail = f"generation 0x{log.generation:X} cannot follow {before.path}"
        yield differs(GENERATION_MISMATCH, detail)
        return
    if log.generation > before.generation + 1:
        first, last = before.generation + 1, log.generation - 1
        which = f"0x{first:X}" if first == last else f"0x{first:X} to 0x{last:X}"
        yield differs(MISSING_LOG, f"generation {which} is missing before it", events=GAP_EVENTS)
        neighbours = False
    else:
        neighbours = True
    one, two = before.header, log.header
    if one is None or two is None:
        return
    if any(
        each.error is not None and each.error.number == GENERATION_MISMATCH
        for each in (before, log)
    ):
        return
    if one.sector_bytes != two.sector_bytes:
        detail = f"its sectors have {two.sector_bytes} bytes, before it they had {one.sector_bytes}"
        yield differs(SECTOR_MISMATCH, detail)
    elif one.file_bytes != two.file_bytes:
        detail = f"it has {two.file_bytes:,} bytes, the log before it {one.file_bytes:,}"
        yield differs(SIZE_MISMATCH, detail)
    if one.page_size != two.page_size:
        detail = f"its pages have {two.page_size} bytes, before it they had {one.page_size}"
        yield differs(PAGE_SIZE_MISMATCH, detail)
    if one.log_signature != two.log_signature:
        detail = f"its log set is {two.log_signature}, before it {one.log_signature}"
        yield differs(BAD_SIGNATURE, detail)
    elif neighbours and two.previous_created != one.created:
        detail = (
            f"the log before it was created {two.previous_created} by its header, "
            f"{one.created} by its own"
        )
        yield differs(WRONG_SEQUENCE, detail)
    elif neighbours and two.has_accumulated_checksum and before.scan is not None:
        expected, found = two.previous_accumulated_checksum, before.scan.accumulated_checksum
        if found is not None and expected != found:
            detail = (
                f"the segments before it should give checksum {expected:016X}, they give "
                f"{found:016X}"
            )
            yield differs(CHECKSUM_MISMATCH, detail)


@dataclass(frozen=True)
class LogSet:
    """The logs of one base name in one place.

    Arguments
    ---------
    base: three characters.
    logs: closed logs by generation, then the current one, if it is there.
    temporary: the log in preparation, or None; it is no part of the chain.
    reserves: names of the reserve logs.
    checkpoint: None when missing or damaged.
    attached: the databases attached where the last log ends; None when that is not known.
    errors: what is wrong, in the order of the generations.
    notes: what is worth telling.
    last_named: the databases that the last log's header or records name, attached or not.
    """

    base: str
    logs: tuple[LogSummary, ...]
    temporary: LogSummary | None
    reserves: tuple[str, ...]
    checkpoint: Checkpoint | None
    attached: tuple[AttachedDatabase, ...] | None
    errors: tuple[EseError, ...]
    notes: tuple[EseError, ...]
    last_named: tuple[AttachedDatabase, ...] = ()

    @property
    def named(self) -> tuple[AttachedDatabase, ...]:
        """The databases that the headers name, and the records of the last log."""
        listed = [
            AttachedDatabase(each.dbid, each.path, each.database_signature)
            for log in self.logs
            for each in log.attachments
        ]
        return tuple(dict.fromkeys((*listed, *self.last_named)))

    @property
    def current(self) -> LogSummary | None:
        if self.logs and self.logs[-1].name.role is LogRole.CURRENT:
            return self.logs[-1]
        return None

    @property
    def generations(self) -> tuple[int, ...]:
        """Those that are there, damaged ones included, in rising order."""
        return tuple(sorted({log.generation for log in self.logs if log.generation is not None}))

    @property
    def signature(self) -> Signature | None:
        """Of the last log with a usable header."""
        for log in reversed(self.logs):
            if log.header is not None:
                return log.header.log_signature
        return None

    def log(self, generation: int) -> LogSummary | None:
        """The log of a generation; the first of two that claim it."""
        return next((log for log in self.logs if log.generation == generation), None)

    @property
    def missing(self) -> tuple[range, ...]:
        """The gaps between the first and the last generation, each as a range."""
        found = self.generations
        return tuple(range(one + 1, two) for one, two in pairwise(found) if two > one + 1)


def open_log_set(
    names: Iterable[str],
    opener: ReaderOpener,
    *,
    base: str | None = None,
    contents: bool = True,
    where: str = "",
) -> LogSet:
    """Read a log set and check its chain; one file is open at a time.

    Arguments
    ---------
    names: the files that lie there; others than those of the set do not matter.
    opener: gives the reader of a file by its name.
    base: three characters; needed when several sets lie there.
    contents: whether segments are verified, and with them the accumulated checksums.
    where: the directory, for errors.

    Raises EseError -1811 when there is no log, or when the base has to be named.
    """
    known = [found for name in sorted(names) if (found := parse_log_name(name))]
    bases = log_bases(each.name for each in known)
    wanted = base.upper() if base is not None else bases[0] if len(bases) == 1 else None
    if wanted not in bases:
        asked = f"no log of {base} is there" if base is not None else "name one log set"
        detail = f"{asked}; found: {', '.join(bases)}" if bases else "no logs are there"
        raise EseError(FILE_NOT_FOUND, detail, path=where or None)
    mine = [each for each in known if each.base in (wanted, None)]

    def summary(each: LogName, *, verify: bool) -> LogSummary:
        path = f"{where}/{each.name}" if where else each.name
        try:
            with opener(each.name) as reader:
                return summarise(each, reader, path, contents=verify)
        except EseError as error:
            error.path = path
            return LogSummary(each, path, 0, None, (), None, error, ())

    def having(role: LogRole) -> list[LogName]:
        return [each for each in mine if each.role is role]

    closed = sorted(having(LogRole.CLOSED), key=lambda each: (each.generation or 0, each.name))
    logs = tuple(summary(each, verify=contents) for each in (*closed, *having(LogRole.CURRENT)[:1]))
    temporary = next((summary(each, verify=False) for each in having(LogRole.TEMPORARY)), None)
    current_paths = [
        f"{where}/{each.name}" if where else each.name for each in having(LogRole.CURRENT)
    ]
    errors = [*check_chain(logs), *check_one_current(current_paths)]
    notes = [note for log in logs for note in log.notes]
    if not logs or logs[-1].name.role is not LogRole.CURRENT:
        path = f"{where}/{wanted}.log" if where else f"{wanted}.log"
        detail = "the current log is missing"
        if temporary is None or not logs:
            errors.append(EseError(MISSING_LOG, detail, path=path, events=CURRENT_MISSING_EVENTS))
        else:
            detail += ", the next one was being put in its place: recovery uses the closed logs"
            notes.append(EseError(MISSING_LOG, detail, path=path, events=()))
    checkpoint = _checkpoint(having(LogRole.CHECKPOINT), opener, where, notes)
    attached: tuple[AttachedDatabase, ...] | None = None
    named: tuple[AttachedDatabase, ...] = ()
    if contents and logs and logs[-1].error is None and logs[-1].scan is not None:
        with opener(logs[-1].name.name) as reader:
            try:
                attached, named = databases_in(
                    LogFile(reader, closed=logs[-1].name.role is LogRole.CLOSED)
                )
            except EseError as error:
                error.path = logs[-1].path
                errors.append(error)
    return LogSet(
        wanted or "",
        logs,
        temporary,
        tuple(each.name for each in having(LogRole.RESERVE)),
        checkpoint,
        attached,
        tuple(errors),
        tuple(notes),
        named,
    )


def open_log_directory(
    path: str | Path, *, base: str | None = None, contents: bool = True
) -> LogSet:
    """The log set in a directory of this machine.

    Raises EseError -1811 when the directory is not there or holds no log of that base.
    """
    directory = Path(path)
    try:
        names = [each.name for each in directory.iterdir() if each.is_file()]
    except OSError as error:
        reason = error.strerror or "it cannot be listed"
        raise EseError(FILE_NOT_FOUND, reason, path=str(directory)) from error
    return open_log_set(
        names,
        lambda name: FileReader(directory / name),
        base=base,
        contents=contents,
        where=str(directory),
    )


def _checkpoint(
    names: list[LogName], opener: ReaderOpener, where: str, notes: list[EseError]
) -> Checkpoint | None:
    """The checkpoint; without one recovery begins at the oldest log, so that is but a note."""
    if not names:
        notes.append(EseError(NO_CHECKPOINT, "there is no checkpoint file", path=where or None))
        return None
    path = f"{where}/{names[0].name}" if where else names[0].name
    try:
        with opener(names[0].name) as reader:
            return read_checkpoint(reader)[0]
    except EseError as error:
        error.path = path
        notes.append(error)
        return None


def databases_in(
    log: LogFile,
) -> tuple[tuple[AttachedDatabase, ...], tuple[AttachedDatabase, ...]]:
    """The databases that are attached where a log ends, and all that it names.

    Raises EseError -501 where its records make no sense.
    """
    found = {
        each.dbid: AttachedDatabase(each.dbid, each.path, each.database_signature)
        for each in log.header.attachments
    }
    named = dict.fromkeys(found.values())
    for record in log.records():
        if record.number not in _ATTACHING:
            continue
        if record.number == Kind.SHUT_DOWN:
            found.clear()
            continue
        content = record.content
        if isinstance(content, CreateDB | AttachDB):
            one = AttachedDatabase(content.dbid, content.path, content.database_signature)
            found[content.dbid] = one
            named[one] = None
        elif isinstance(content, DetachDB):
            found.pop(content.dbid, None)
    return tuple(found[dbid] for dbid in sorted(found)), tuple(named)


_ATTACHING: Final = frozenset({Kind.CREATE_DB, Kind.ATTACH_DB, Kind.DETACH_DB, Kind.SHUT_DOWN})
