"""What a file of the store is, found out by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from replicator.errors import BadInput
from replicator.ese.checksum import MAGIC, PAGE_SIZES
from replicator.ese.database_header import FileType
from replicator.ese.errors import EseError
from replicator.ese.log_header import read_log_header
from replicator.ese.log_names import UNFINISHED_NAME, LogRole, parse_log_name
from replicator.ese.log_v7_checksum import fill_pattern
from replicator.ese.page_source import page_offset
from replicator.ese.reader import Reader
from replicator.ese.streaming_file import ATTRIBUTE as STREAMING_ATTRIBUTE
from replicator.ese.verification import Verdict, judge_page

READABLE: Final = (FileType.DATABASE, FileType.CHECKPOINT, FileType.FLUSH_MAP, FileType.LOG)

_ATTRIBUTE_AT: Final = 12
_TYPE_AT: Final = 667
_COPY_BYTES: Final = 4096
_PAGES_LOOKED_AT: Final = 32
"""Pages 1 to 12 are the roots of the engine's own trees, and hold something in every database."""

FLUSH_MAP_SUFFIX: Final = ".jfm"
_BY_ROLE: Final = {
    LogRole.CURRENT: FileType.LOG,
    LogRole.CLOSED: FileType.LOG,
    LogRole.CHECKPOINT: FileType.CHECKPOINT,
}
"""Files that have a header from their first moment on."""


def unfinished_line(directory: Path) -> str | None:
    """What is told of a directory with the mark of a store that was never finished; else None."""
    mark = directory / UNFINISHED_NAME
    if not mark.is_file():
        return None
    return (
        f"note: {mark}: the store here is still being made, or its making was killed: "
        "what is missing or damaged in it says nothing"
    )


def identify(reader: Reader, path: str) -> FileType:
    """What kind of file it is, by its content, be one copy of its header damaged or not.

    Where nothing is left of its header, by the name of a log, a checkpoint or a flush map, or by
    pages of a database behind: whoever reads the header tells of the damage.

    Raises BadInput for what is none of the store's.
    """
    start = bytes(reader.read_at(0, 2 * _COPY_BYTES))
    for at in (0, 2048, _COPY_BYTES, 8192, 16384, 32768):  # the copies, for each page size
        if bytes(reader.read_at(at + 4, 4)) == MAGIC.to_bytes(4, "little"):
            attribute = int.from_bytes(reader.read_at(at + _ATTRIBUTE_AT, 4), "little")
            streaming = attribute == STREAMING_ATTRIBUTE
            return FileType.STREAMING_FILE if streaming else FileType.DATABASE
    if _is_log(reader):
        return FileType.LOG
    for at in (0, _COPY_BYTES):
        number = int.from_bytes(start[at + _TYPE_AT : at + _TYPE_AT + 4], "little")
        if number in READABLE:
            return FileType(number)
    if (named := _by_name_or_pages(reader, path)) is not None:
        return named
    check_written(reader, path)
    raise BadInput(
        "this is no file of an ESE store" + ("" if start else ": it is empty"),
        path=path,
        remedy="Give a database, a log, a checkpoint or a .jfm.",
    )


def _by_name_or_pages(reader: Reader, path: str) -> FileType | None:
    """What a file was before its header was lost; None for one that never was of the store.

    What was never written, as a log in preparation or in reserve, is none.
    """
    name = parse_log_name(Path(path).name)
    if name is not None:
        return _BY_ROLE.get(name.role)
    if Path(path).suffix.lower() == FLUSH_MAP_SUFFIX:
        return FileType.FLUSH_MAP
    return FileType.DATABASE if _has_pages(reader) else None


def _has_pages(reader: Reader) -> bool:
    """Whether one of the first pages verifies as the page of its place, in any page size."""
    for size in PAGE_SIZES:
        for pgno in range(1, _PAGES_LOOKED_AT + 1):
            page = bytes(reader.read_at(page_offset(pgno, size), size))
            if len(page) < size:
                break
            if judge_page(page, pgno).verdict is Verdict.GOOD:
                return True
    return False


def check_written(reader: Reader, path: str) -> None:
    """Raises BadInput for a log in preparation or in reserve: its header was never written.

    Logs of version 7 are filled with a pattern beforehand, others with zeros; a crash, or the end
    of a recovery, leaves the next one as long as it was by then.
    """
    start = bytes(reader.read_at(0, _COPY_BYTES))
    if not start or start not in (bytes(len(start)), fill_pattern(0, len(start))):
        return
    held = "a fill pattern" if any(start) else "all zero"
    raise BadInput(
        f"the header is {held}: a log prepared or held in reserve (...tmp.log, .jrs, res1.log), "
        "or a file that was never written",
        path=path,
        remedy="Leave it out: there is nothing in it to look at.",
    )


def _is_log(reader: Reader) -> bool:
    """A log with a good header, be it of an engine before headers had the type."""
    try:
        read_log_header(reader)
    except EseError:
        return False
    return True
