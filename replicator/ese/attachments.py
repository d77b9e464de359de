"""What log headers and checkpoints say of the engine's run: its parameters, the databases attached.

E src/inc/log.hxx, src/inc/daedef.hxx; V.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from replicator.ese.layout import Structure, log_position, octets, signature, u8, u16, u32, u64
from replicator.ese.values import LogPosition, Signature

ATTACHMENTS_MAX_BYTES: Final = 2048
UNICODE_NAMES: Final = 0x20
SPARSE: Final = 0x40


@dataclass(frozen=True, kw_only=True)
class EngineParameters(Structure, size_bytes=567):
    """DBMS_PARAM: how the engine was set up."""

    system_path_bytes: bytes = octets(0, 261)
    log_path_bytes: bytes = octets(261, 261)
    flags: int = u8(522, "1: circular logging")
    sessions: int = u32(523)
    open_tables: int = u32(527)
    version_pages: int = u32(531)
    cursors: int = u32(535)
    log_buffers: int = u32(539)
    log_size_sectors: int = u32(543)
    cache_size: int = u32(547)

    @property
    def system_path(self) -> str:
        return _text(self.system_path_bytes)

    @property
    def log_path(self) -> str:
        return _text(self.log_path_bytes)

    @property
    def circular_logging(self) -> bool:
        return bool(self.flags & 1)


@dataclass(frozen=True, kw_only=True)
class Attachment(Structure, size_bytes=64):
    """One database that was attached; ``names`` is its path, and in old files that of the .stm."""

    dbid: int = u8(0, "0 ends the list")
    flags: int = u8(1)
    names_bytes: int = u16(2)
    dbtime: int = u64(4)
    last_objid: int = u32(12)
    max_size_pages: int = u32(16)
    attach_position: LogPosition = log_position(20)
    consistent_position: LogPosition = log_position(28)
    database_signature: Signature = signature(36)
    names: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.names[0] if self.names else ""


def decode_attachments(data: bytes) -> tuple[Attachment, ...]:
    """The entries up to the first with dbid 0, or to what does not fit any more."""
    found = []
    at = 0
    while at + Attachment.SIZE <= len(data) and data[at]:
        entry = Attachment.decode(data[at : at + Attachment.SIZE])
        end = at + Attachment.SIZE + entry.names_bytes
        if end > len(data):
            break
        text = data[at + Attachment.SIZE : end]
        code = "utf-16-le" if entry.flags & UNICODE_NAMES else "cp1252"
        words = text.decode(code, "replace").split("\0")
        names = tuple(word for word in words if word)
        found.append(Attachment.decode(data[at : at + Attachment.SIZE], names=names))
        at = end
    return tuple(found)


def attachment(
    path: str, *, stream_path: str | None = None, unicode: bool = True, **fields: Any
) -> Attachment:
    """An entry for a database.

    Arguments
    ---------
    path: of the database, as the engine sees it.
    stream_path: of the streaming file of old stores.
    unicode: names in UTF-16, as newer engines have them; else in the ANSI code page.
    fields: the others of :class:`Attachment`.
    """
    names = (path,) if stream_path is None else (path, stream_path)
    text = _names(names, unicode=unicode)
    return Attachment(
        names=names, names_bytes=len(text), flags=UNICODE_NAMES if unicode else 0, **fields
    )


def encode_attachments(entries: Iterable[Attachment]) -> bytes:
    """The list as headers and checkpoints have it: 2048 bytes, zeros behind the last entry.

    Raises ValueError when an entry has no dbid, or when they need more room.
    """
    parts = []
    for entry in entries:
        if not 0 < entry.dbid < 256:
            raise ValueError(f"{entry.path} has dbid {entry.dbid}, which would end the list")
        text = _names(entry.names, unicode=bool(entry.flags & UNICODE_NAMES))
        parts += [replace(entry, names_bytes=len(text)).encode()[: Attachment.SIZE], text]
    data = b"".join(parts)
    if len(data) > ATTACHMENTS_MAX_BYTES:
        raise ValueError(f"the attachments take {len(data):,} of {ATTACHMENTS_MAX_BYTES:,} bytes")
    return data.ljust(ATTACHMENTS_MAX_BYTES, b"\0")


def _names(names: tuple[str, ...], *, unicode: bool) -> bytes:
    return "".join(f"{name}\0" for name in names).encode("utf-16-le" if unicode else "cp1252")


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("cp1252", "replace")
