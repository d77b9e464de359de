"""The streaming file of Exchange 2000 and 2003: ``priv1.stm`` beside ``priv1.edb``.

Content that came from the Internet lies there as it came, in raw pages; the database has its
properties, and says where the content is::

    page 0, 1   header and shadow, of the database's format        (the database's pages of 4 KiB)
    page 2 ...  clusters of 16 pages, without any structure of their own

Known is (ese-format.md 11): header, file type 2, attribute 1, raw pages of 4 KiB in clusters of
16, checksums and space map in trees of the database, and that the database's header names the
streaming file's signature.  Nothing else was published, and no real file was at hand.
Assumed [A]: both headers have the same log set; state and generations of the streaming file's
header are not used; a row of a table ``Stream`` takes the place of the trees, with the clusters
and a checksum a page, the XOR checksum of pages of that time with the page's number in it.

A page that does not fit is -1018 with event 478.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from replicator.ese.checksum import MAGIC
from replicator.ese.columns import ColumnFlag, ColumnType
from replicator.ese.database import Database
from replicator.ese.database_header import (
    FORMAT_VERSION,
    DatabaseHeader,
    FileType,
    State,
    read_database_header,
)
from replicator.ese.errors import EseError
from replicator.ese.reader import Reader, name_of
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.ese.values import Signature

PAGE_BYTES: Final = 4096
CLUSTER_PAGES: Final = 16
CLUSTER_BYTES: Final = PAGE_BYTES * CLUSTER_PAGES
HEADER_BYTES: Final = 2 * PAGE_BYTES
SUFFIX: Final = ".stm"
_DATABASE: Final = ".edb"
ATTRIBUTE: Final = 1
MISMATCH: Final = -540
BAD_PAGE_EVENTS: Final = (478,)

_NUMBER: Final = struct.Struct("<I")

STREAM: Final = TableDefinition(
    "Stream",
    (
        ColumnDefinition("ContentId", ColumnType.CURRENCY, flags=ColumnFlag.NOT_NULL),
        ColumnDefinition("Lengths", ColumnType.LONG_BINARY),
        ColumnDefinition("Clusters", ColumnType.LONG_BINARY),
        ColumnDefinition("Checksums", ColumnType.LONG_BINARY),
    ),
    (IndexDefinition("ById", ("ContentId",), primary=True),),
)
"""Where contents lie [A]: lengths of body and attachments, pairs of first cluster and number of
clusters, a checksum a page; numbers of 32 bits."""


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Where one content lies.

    Arguments
    ---------
    lengths: of its parts, one behind the other.
    runs: first cluster, from 0, and number of clusters.
    checksums: of its pages in their order.
    """

    lengths: tuple[int, ...]
    runs: tuple[tuple[int, int], ...]
    checksums: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(self.lengths)

    @property
    def clusters(self) -> tuple[int, ...]:
        """All of them in order."""
        return tuple(first + each for first, count in self.runs for each in range(count))

    def pages(self) -> Iterator[int]:
        """The numbers of its pages, from 1, in order."""
        wanted = len(self.checksums)
        for number, cluster in enumerate(self.clusters):
            for page in range(min(CLUSTER_PAGES, wanted - number * CLUSTER_PAGES)):
                yield cluster * CLUSTER_PAGES + page + 1

    def as_row(self) -> dict[str, bytes]:
        """The columns of ``Stream`` but the content's number."""
        return {
            "Lengths": _packed(self.lengths),
            "Clusters": _packed(number for run in self.runs for number in run),
            "Checksums": _packed(self.checksums),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StreamPlace:
        """Raises EseError -1206 for a row that does not hold together."""
        columns = [row.get(each) or b"" for each in ("Lengths", "Clusters", "Checksums")]
        if any(not isinstance(each, bytes) or len(each) % _NUMBER.size for each in columns):
            raise EseError(-1206, "a row of the streaming file has no whole numbers")
        lengths, runs, sums = map(_unpacked, columns)
        place = cls(lengths, tuple(zip(runs[::2], runs[1::2], strict=False)), sums)
        held = sum(count for _, count in place.runs)
        pages = -(-place.size_bytes // PAGE_BYTES)
        wrong = len(sums) != pages or held != -(-pages // CLUSTER_PAGES)
        if len(runs) % 2 or not lengths or wrong:
            detail = f"content {row.get('ContentId')} of the streaming file has a row that is wrong"
            raise EseError(-1206, detail)
        return place

    def parts(self, data: bytes) -> list[bytes]:
        """The content taken apart."""
        found, at = [], 0
        for length in self.lengths:
            found.append(data[at : at + length])
            at += length
        return found


def _packed(numbers: Any) -> bytes:
    values = tuple(numbers)
    return struct.pack(f"<{len(values)}I", *values)


def _unpacked(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // _NUMBER.size}I", data)


def page_at(number: int) -> int:
    """Byte in the file at which a page, from 1, begins."""
    return (number - 1) * PAGE_BYTES + HEADER_BYTES


def page_checksum(page: bytes, number: int) -> int:
    """The checksum of a page of 4 KiB under its number [A]."""
    folded = int(np.bitwise_xor.reduce(np.frombuffer(page, dtype="<u4")))
    return folded ^ MAGIC ^ number


def check_page(page: bytes, number: int, expected: int, path: str) -> None:
    """Raises EseError -1018, event 478, for a page that is not the one that was written."""
    if len(page) < PAGE_BYTES or page_checksum(page, number) != expected:
        detail = "a page of the streaming file has not the checksum that the database has of it"
        raise EseError(
            -1018, detail, path=path, page=number, offset=page_at(number), events=BAD_PAGE_EVENTS
        )


def streaming_path(path: str) -> str:
    """The streaming file that lies beside a database, its suffix in the same case."""
    if not path.lower().endswith(_DATABASE):
        return f"{path}{SUFFIX}"
    stem, suffix = path[: -len(_DATABASE)], path[-len(_DATABASE) :]
    return f"{stem}{SUFFIX.upper() if suffix.isupper() else SUFFIX}"


def new_header(signature: Signature, log_signature: Signature, revision: int) -> DatabaseHeader:
    """The header of a new streaming file.

    Arguments
    ---------
    signature: new; the database's header names it (signSLV).
    log_signature, revision: as the database has them.
    """
    return DatabaseHeader(
        magic=MAGIC,
        format_version=FORMAT_VERSION,
        attribute=ATTRIBUTE,
        database_signature=signature,
        state_number=State.CLEAN_SHUTDOWN,
        log_signature=log_signature,
        revision=revision,
        page_size_field=PAGE_BYTES,
        created_version=FORMAT_VERSION,
        created_revision=revision,
        file_type_number=FileType.STREAMING_FILE,
    )


def is_streaming(header: DatabaseHeader) -> bool:
    """Whether a header of the database's format is that of a streaming file."""
    return header.attribute == ATTRIBUTE or header.file_type is FileType.STREAMING_FILE


def check_pair(database: DatabaseHeader, stream: Reader, path: str) -> None:
    """Raises EseError -540 when a streaming file is not that of a database, -1018 without header.

    Arguments
    ---------
    stream: the file, its beginning at least.
    path: of it, for errors.
    """
    header, _ = read_database_header(stream)
    if not is_streaming(header):
        raise EseError(MISMATCH, "this is no streaming file", path=path)
    if header.database_signature != database.streaming_signature:
        detail = (
            f"its signature is {header.database_signature}, the database names "
            f"{database.streaming_signature}"
        )
        raise EseError(MISMATCH, detail, path=path)


def stream_places(database: Database) -> Iterator[tuple[int, StreamPlace]]:
    """The contents that a database has in its streaming file: number and place.

    Raises EseError for pages or rows that cannot be used; nothing where there is no such table.
    """
    if all(each.name != STREAM.name for each in database.catalog.tables):
        return
    table = database.table(STREAM.name)
    missing = {each.name for each in STREAM.columns} - table.by_name.keys()
    if missing:
        detail = f"table {STREAM.name!r} lacks {', '.join(sorted(missing))}: it is another one's"
        raise EseError(-1206, detail)
    for row in table.rows():
        place = StreamPlace.from_row({each.name: row[each.name] for each in STREAM.columns})
        identifier = row["ContentId"]
        if not isinstance(identifier, int):
            raise EseError(-1206, f"a row of {STREAM.name!r} has no number")
        yield identifier, place


def read_content(stream: Reader, place: StreamPlace) -> bytes:
    """The bytes of one content; raises EseError -1018 for a page that is damaged."""
    path, parts = name_of(stream) or "", []
    for number, expected in zip(place.pages(), place.checksums, strict=True):
        page = bytes(stream.read_at(page_at(number), PAGE_BYTES))
        check_page(page, number, expected, path)
        parts.append(page)
    return b"".join(parts)[: place.size_bytes]
