"""Lines of a text file that a site gave: any size, plain or gzip, in the usual encodings.

Windows tools write UTF-16 (PowerShell's ``>``), UTF-8 with a mark, or the machine's own code page;
of the last only ASCII matters here, since names of logs, numbers and dates are ASCII.  One line is
held at a time, and its length has a limit: memory does not grow with the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, cast

from replicator.errors import BadInput
from simulator.plan.site_options import Progress

LINE_LIMIT_CHARACTERS: Final = 8 << 20
"""The header of a counter log names thousands of counters in one line."""
HEAD_BYTES: Final = 64 << 10
PROGRESS_LINES: Final = 1 << 14
GZIP_MAGIC: Final = b"\x1f\x8b"


def refuse(path: str | Path, reason: str, remedy: str, line: int | None = None) -> NoReturn:
    """Raises BadInput."""
    raise BadInput(reason, path=str(path), line=line, remedy=remedy)


def _unreadable(path: str, error: Exception) -> NoReturn:
    if isinstance(error, OSError) and error.strerror:
        refuse(path, f"it cannot be read: {error.strerror}", "Check the name and the permissions.")
    refuse(
        path,
        f"the compressed file is damaged or cut short: {error}",
        "Copy it again, or unpack it and give what comes out.",
    )


_READ_ERRORS: Final = (OSError, EOFError, zlib.error, ValueError)


def read_head(path: str | Path) -> bytes:
    """The first bytes of a file, unpacked; raises BadInput when it cannot be read."""
    name = str(path)
    if os.path.exists(name) and not os.path.isfile(name):
        refuse(path, "it is no ordinary file", "Give the name of a file, or of a folder of logs.")
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            if not packed:
                return raw.read(HEAD_BYTES)
            with gzip.GzipFile(fileobj=raw) as stream:
                return stream.read(HEAD_BYTES)
    except _READ_ERRORS as error:
        _unreadable(name, error)


def is_packed(path: str | Path) -> bool:
    """Whether a file is compressed with gzip; raises BadInput when it cannot be read."""
    try:
        with open(path, "rb") as raw:
            return raw.read(2) == GZIP_MAGIC
    except OSError as error:
        _unreadable(str(path), error)


def encoding_of(head: bytes) -> str:
    """How the text is written, judged by its first bytes."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    sample = head[:4096]
    if len(sample) >= 8 and sample[1::2].count(0) > len(sample) // 3:
        return "utf-16-le"
    try:
        head[: len(head) - 4].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def decoded_head(head: bytes) -> str:
    """The first bytes as text."""
    return head.decode(encoding_of(head), "replace").removeprefix("\ufeff")


def read_lines(path: str | Path, progress: Progress | None = None) -> Iterator[tuple[int, str]]:
    """Each line with its number, without its end.

    Raises BadInput for a file that cannot be read and a line without end.
    """
    name = str(path)
    head = read_head(path)
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(cast(BinaryIO, binary), encoding_of(head), "replace") as text:
                number = 0
                while line := text.readline(LINE_LIMIT_CHARACTERS):
                    number += 1
                    if len(line) == LINE_LIMIT_CHARACTERS:
                        refuse(
                            path,
                            "the line has no end",
                            "Take the file as the tool wrote it: this is no text of lines.",
                            number,
                        )
                    if progress is not None and number % PROGRESS_LINES == 0:
                        progress(raw.tell(), size)
                    yield number, line.rstrip("\n")
                if progress is not None:
                    progress(size, size)
    except _READ_ERRORS as error:
        _unreadable(name, error)


def fields_of(line: str, delimiter: str, path: str | Path, number: int) -> list[str]:
    """The fields of a delimited line, quotes taken off; raises BadInput for quotes that do not
    close."""
    try:
        rows = list(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        refuse(
            path,
            f"the line is no delimited text: {error}",
            "Take the file as the tool wrote it, or leave the line out.",
            number,
        )
    return rows[0] if rows else []


def delimiter_of(header: str) -> str:
    """What parts the fields of a header: a tab, a semicolon, a bar, or a comma."""
    outside = "".join(header.split('"')[::2])
    counts = {each: outside.count(each) for each in "\t;|,"}
    best = max(counts, key=lambda each: counts[each])
    return best if counts[best] else ","
