"""Damage to the files of a store: by the disk below, by the store above, by whoever copied them.

What models what: a *disk* turns bits, tears a page, writes it to another place, loses a write, or
gives back zeros; the checksum tells most of that.  A *store* with a defect, or bad memory, writes
wrong pages with right checksums.  A *person or program* loses, mixes or exchanges logs, and
streaming files.

Damage is plain data, to be kept in a plan and shrunk; :func:`inflict` carries it out on a volume,
beneath whatever captures writes.  What each kind is found by, and under which number, is in
docs/store-corruption.md.  Left out: damage in memory that never reaches a file, and the file
system's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from replicator.errors import BadInput
from replicator.ese.checkpoint import Checkpoint
from replicator.ese.checksum import with_checksums
from replicator.ese.database_header import DatabaseHeader, read_database_header
from replicator.ese.errors import EseError
from replicator.ese.header_copies import sealed
from replicator.ese.log_header import HEADER_BYTES, LogHeader
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.node import COMPRESSED
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import is_streaming
from replicator.ese.values import Signature
from replicator.ese.verification import LARGEST_SMALL_PAGE
from replicator.runtime.port import File, Volume, write_all

HEADER_PAGE: Final = -1
"""Page number of a database's header; that of its second copy is 0."""

_LARGEST_HEADERS_BYTES: Final = 2 * 32768
_NOT_THIS: Final = "Name a file, page and line that the store has."
_SMALL_TAG_MASK: Final = 0x1FFF


class DamageKind(StrEnum):
    """What happens to a file."""

    # Below the store: bytes of a file, or of one page of a database.
    BITS_FLIPPED = "bits flipped"
    """``bits`` bits from ``offset`` on, one each byte."""
    ZEROED = "zeroed"
    """``length`` bytes from ``offset`` on, or the whole page."""
    TORN = "torn"
    """The page from ``offset`` on is that of ``content``: zeros when that is empty."""
    STALE = "stale"
    """The page is ``content``, what it was at some time: its last write was lost."""
    MISPLACED = "misplaced"
    """Page ``other`` was written here."""
    CUT = "cut"
    """The file ends at ``offset``."""

    # Above: pages of a database with right checksums.
    TAGS_OVERLAP = "tags overlap"
    """``line`` lies where the line before it does."""
    PREFIX_TOO_LONG = "prefix too long"
    """``line`` takes more of the page's prefix than there is."""
    LINES_EXCHANGED = "lines exchanged"
    """``line`` and the one behind it: keys are out of order."""
    LINE_LOST = "line lost"
    """``line`` is gone: a row, an entry of an index, a piece of a long value, a page below."""
    SIBLING_LINK = "sibling link"
    """The page names ``other`` as the next one."""
    CHILD_LINK = "child link"
    """``line`` of a branch page leads to page ``other``."""
    DBTIME = "dbtime"
    """The page's dbtime is raised by ``other``, or lowered."""

    # Files of a set.
    MISSING = "missing"
    """The file is not there."""
    FOREIGN = "foreign"
    """Log or checkpoint of another log set, streaming file of another database: another
    signature."""
    EXCHANGED = "exchanged"
    """The file and ``other_file`` have each other's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One damage.

    Arguments
    ---------
    kind: see :class:`DamageKind`, which says what of the others counts.
    file: name in the store's directory.
    page: of a database: -1 is its header, 0 the copy of it; None for bytes of the file.
    offset: byte in the page, or in the file.
    length: bytes.
    bits: how many.
    line: of the page, from 0.
    other: a page number; of DBTIME the difference.
    other_file: another name.
    content: a page's bytes of before.
    """

    kind: DamageKind
    file: str
    page: int | None = None
    offset: int = 0
    length: int = 0
    bits: int = 1
    line: int = 0
    other: int = 0
    other_file: str = ""
    content: bytes = b""


async def inflict(volume: Volume, directory: str, damage: Damage) -> None:
    """Carry out one damage; it is durable when this returns.

    Arguments
    ---------
    volume: where the files are, nothing of them open for writing.
    directory: of the store.

    Raises BadInput for a file, page or line that is not there, NotFound, StorageError.
    """
    path = f"{directory.rstrip('/')}/{damage.file}"
    if damage.kind is DamageKind.MISSING:
        volume.unlink(path)
    elif damage.kind is DamageKind.EXCHANGED:
        other = f"{directory.rstrip('/')}/{damage.other_file}"
        beside = f"{path}.exchanged"
        for old, new in ((path, beside), (other, path), (beside, other)):
            volume.rename(old, new)
    else:
        file = volume.open(path)
        try:
            await _change(file, damage)
            await file.sync()
        finally:
            file.close()
    await volume.sync_directory(directory)


async def _change(file: File, damage: Damage) -> None:
    if damage.kind is DamageKind.CUT:
        file.truncate(damage.offset)
    elif damage.kind is DamageKind.FOREIGN:
        await _make_foreign(file, damage.file)
    elif damage.page is None:
        await _change_bytes(file, damage)
    else:
        await _change_page(file, damage, damage.page)


# -- bytes of a file ------------------------------------------------------------------------


async def _change_bytes(file: File, damage: Damage) -> None:
    change = _BYTES.get(damage.kind)
    if change is None:
        raise BadInput(f"{damage.kind} needs a page", path=file.path, remedy=_NOT_THIS)
    length = max(damage.length, damage.bits)
    if damage.offset + length > file.size_bytes:
        detail = f"bytes {damage.offset:,} +{length:,} are not there"
        raise BadInput(detail, path=file.path, remedy=_NOT_THIS)
    data = bytearray(await file.read_at(damage.offset, length))
    change(data, replace(damage, offset=0), b"")
    write_all(file, damage.offset, bytes(data))


def _flip(data: bytearray, damage: Damage, _other: bytes) -> None:
    for number in range(damage.bits):
        data[damage.offset + number] ^= 1 << number % 8


def _zero(data: bytearray, damage: Damage, _other: bytes) -> None:
    length = damage.length or len(data) - damage.offset
    data[damage.offset : damage.offset + length] = bytes(length)


def _tear(data: bytearray, damage: Damage, _other: bytes) -> None:
    before = damage.content or bytes(len(data))
    data[damage.offset :] = before[damage.offset :]


def _take_back(data: bytearray, damage: Damage, _other: bytes) -> None:
    data[:] = damage.content


def _misplace(data: bytearray, _damage: Damage, other: bytes) -> None:
    data[:] = other


BytesChange = Callable[[bytearray, Damage, bytes], None]

_BYTES: Final[dict[DamageKind, BytesChange]] = {
    DamageKind.BITS_FLIPPED: _flip,
    DamageKind.ZEROED: _zero,
}
_RAW: Final[dict[DamageKind, BytesChange]] = {
    **_BYTES,
    DamageKind.TORN: _tear,
    DamageKind.STALE: _take_back,
    DamageKind.MISPLACED: _misplace,
}


# -- pages of a database --------------------------------------------------------------------


async def _change_page(file: File, damage: Damage, pgno: int) -> None:
    size = await _page_size(file)
    data = bytearray(await _page(file, pgno, size))
    wanted = {DamageKind.STALE: (size,), DamageKind.TORN: (0, size)}.get(damage.kind)
    if wanted is not None and len(damage.content) not in wanted:
        detail = f"the page's content of before has {len(damage.content):,} bytes, not {size:,}"
        raise BadInput(detail, path=file.path, remedy=_NOT_THIS)
    raw = _RAW.get(damage.kind)
    if raw is not None:
        misplaced = damage.kind is DamageKind.MISPLACED
        other = await _page(file, damage.other, size) if misplaced else b""
        raw(data, damage, other)
        changed = bytes(data)
    else:
        changed = _logical(bytes(data), pgno, damage, file.path)
    write_all(file, page_offset(pgno, size), changed[:size])


async def _page_size(file: File) -> int:
    return _header(await file.read_at(0, _LARGEST_HEADERS_BYTES), file.path).page_size


def _header(start: bytes, path: str) -> DatabaseHeader:
    try:
        return read_database_header(BytesReader(start, path))[0]
    except EseError as error:
        detail = f"it is no database with a good header: {error.detail}"
        raise BadInput(detail, path=path, remedy=_NOT_THIS) from error


async def _page(file: File, pgno: int, size: int) -> bytes:
    offset = page_offset(pgno, size)
    if pgno < HEADER_PAGE or offset + size > file.size_bytes:
        raise BadInput(f"there is no page {pgno}", path=file.path, remedy=_NOT_THIS)
    return await file.read_at(offset, size)


def _logical(data: bytes, pgno: int, damage: Damage, path: str) -> bytes:
    """The page with wrong content and a right checksum."""
    try:
        page = PageEditor.load(data, pgno)
        need = damage.line + (damage.kind is DamageKind.LINES_EXCHANGED)
        if damage.kind in _ON_LINES and not need < page.line_count:
            detail = f"page {pgno} has {page.line_count} lines, {need} is none of them"
            raise BadInput(detail, path=path, remedy=_NOT_THIS)
        plain = _LOGICAL[damage.kind](page, damage)
    except EseError as error:
        detail = f"page {pgno} is damaged already, or cannot be so: {error.detail}"
        raise BadInput(detail, path=path, remedy=_NOT_THIS) from error
    return with_checksums(plain, pgno)


def _overlap(page: PageEditor, damage: Damage) -> bytes:
    data = bytearray(page.plain_bytes())
    own, before = _tag_at(page, damage.line), _tag_at(page, damage.line - 1)
    mask = 0x7FFF if page.page_bytes > LARGEST_SMALL_PAGE else _SMALL_TAG_MASK
    word = int.from_bytes(data[own + 2 : own + 4], "little") & ~mask
    word |= int.from_bytes(data[before + 2 : before + 4], "little") & mask
    data[own + 2 : own + 4] = word.to_bytes(2, "little")
    return bytes(data)


def _tag_at(page: PageEditor, line: int) -> int:
    """Byte of a line's tag; tags stand from the end of the page on, tag 0 first."""
    return page.page_bytes - 4 * (line + 2)


def _too_long(page: PageEditor, damage: Damage) -> bytes:
    node = page.node(damage.line)
    page.delete(damage.line)
    key = bytes(len(page.prefix) + 8) + node.key
    page.insert(damage.line, key, node.data, len(page.prefix) + 8, node.flags | COMPRESSED)
    return page.plain_bytes()


def _exchange(page: PageEditor, damage: Damage) -> bytes:
    data = bytearray(page.plain_bytes())
    one, two = _tag_at(page, damage.line), _tag_at(page, damage.line + 1)
    data[one : one + 4], data[two : two + 4] = data[two : two + 4], data[one : one + 4]
    return bytes(data)


def _lose(page: PageEditor, damage: Damage) -> bytes:
    page.delete(damage.line)
    return page.plain_bytes()


def _link(page: PageEditor, damage: Damage) -> bytes:
    page.next_pgno = damage.other
    return page.plain_bytes()


def _lead(page: PageEditor, damage: Damage) -> bytes:
    page.child(damage.line)  # it leads somewhere now
    page.replace_data(damage.line, damage.other.to_bytes(4, "little"))
    return page.plain_bytes()


def _shift(page: PageEditor, damage: Damage) -> bytes:
    page.dbtime = max(1, page.dbtime + damage.other)
    return page.plain_bytes()


_LOGICAL: Final[dict[DamageKind, Callable[[PageEditor, Damage], bytes]]] = {
    DamageKind.TAGS_OVERLAP: _overlap,
    DamageKind.PREFIX_TOO_LONG: _too_long,
    DamageKind.LINES_EXCHANGED: _exchange,
    DamageKind.LINE_LOST: _lose,
    DamageKind.SIBLING_LINK: _link,
    DamageKind.CHILD_LINK: _lead,
    DamageKind.DBTIME: _shift,
}
_ON_LINES: Final = frozenset(_LOGICAL) - {DamageKind.SIBLING_LINK, DamageKind.DBTIME}


# -- logs and checkpoint --------------------------------------------------------------------


async def _make_foreign(file: File, name: str) -> None:
    """Give a file the signature of another set or database; its checksums are right."""
    parsed = parse_log_name(name)
    if parsed is None:
        await _make_foreign_stream(file)
        return
    block = await file.read_at(0, HEADER_BYTES)
    if parsed.role is LogRole.CHECKPOINT:
        checkpoint = Checkpoint.decode(block)
        other = replace(checkpoint, log_signature=_another(checkpoint.log_signature))
        changed = sealed(other.encode(), HEADER_BYTES)
        write_all(file, 0, changed, changed)
    else:
        header = LogHeader.decode(block)
        changed_header = replace(header, log_signature=_another(header.log_signature))
        write_all(file, 0, sealed(changed_header.encode(), HEADER_BYTES))


async def _make_foreign_stream(file: File) -> None:
    start = await file.read_at(0, _LARGEST_HEADERS_BYTES)
    header = _header(start, file.path)
    if not is_streaming(header):
        detail = "it is a database: only logs, checkpoints and streaming files can be foreign"
        raise BadInput(detail, path=file.path, remedy=_NOT_THIS)
    other = replace(header, database_signature=_another(header.database_signature))
    changed = sealed(other.encode(), header.page_size)
    write_all(file, 0, changed, changed)


def _another(signature: Signature) -> Signature:
    return replace(signature, random=signature.random ^ 1)
