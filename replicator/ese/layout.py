"""Layouts as declarations: a dataclass whose fields know their offset, type and origin.

A decoded structure is immutable and keeps the bytes it came from, so that what no field
describes is still there when it is encoded again::

    @dataclass(frozen=True, kw_only=True)
    class Example(Structure, size_bytes=12):
        number: int = u32(0, "what it counts")
        when: LogTime = log_time(4, "E src/inc/daedef.hxx")

    changed = dataclasses.replace(Example.decode(data), number=7).encode()
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Self

from replicator.ese.errors import EseError
from replicator.ese.values import BackupInfo, LogPosition, LogTime, Signature

Decoder = Callable[[bytes], Any]
_KEY: Final = "ese"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field lies and how it is read.

    Arguments
    ---------
    offset: bytes from the start of the structure.
    size: bytes on disk.
    origin: source of the fact, or a remark.
    decode, encode: to and from the bytes.
    code: of a number, as :mod:`struct` names it.
    """

    offset: int
    size: int
    origin: str
    decode: Decoder
    encode: Callable[[Any], bytes]
    code: str = ""


def _field(place: Place, default: object) -> Any:
    return field(default=default, metadata={_KEY: place})


def _integer(code: str) -> Callable[..., Any]:
    packed = struct.Struct(f"<{code}")

    def declare(offset: int, origin: str = "") -> Any:
        def decode(data: bytes) -> int:
            number: int = packed.unpack(data)[0]
            return number

        return _field(Place(offset, packed.size, origin, decode, packed.pack, code), 0)

    return declare


u8 = _integer("B")
u16 = _integer("H")
u32 = _integer("I")
u64 = _integer("Q")
i32 = _integer("i")


def _value(kind: Any) -> Callable[..., Any]:
    def declare(offset: int, origin: str = "") -> Any:
        place = Place(offset, kind.SIZE, origin, kind.decode, lambda value: value.encode())
        return _field(place, kind())

    return declare


log_position = _value(LogPosition)
log_time = _value(LogTime)
signature = _value(Signature)
backup_info = _value(BackupInfo)


def octets(offset: int, size: int, origin: str = "") -> Any:
    """Bytes that are kept as they are."""

    def encode(value: bytes) -> bytes:
        return value.ljust(size, b"\0")[:size]

    return _field(Place(offset, size, origin, bytes, encode), bytes(size))


@dataclass(frozen=True, kw_only=True)
class Structure:
    """Base of all layouts; ``raw`` is the bytes it was decoded from, empty for a new one."""

    SIZE: ClassVar[int] = 0

    raw: bytes = field(default=b"", repr=False, compare=False)

    def __init_subclass__(cls, *, size_bytes: int = 0) -> None:
        cls.SIZE = size_bytes or cls.SIZE

    @classmethod
    def decode(cls, data: bytes | memoryview, **more: Any) -> Self:
        """Read it from the start of ``data``; bytes behind the layout are kept too.

        Raises EseError -1022 when ``data`` is shorter than the layout.
        """
        raw = bytes(data)
        if len(raw) < cls.SIZE:
            detail = f"{cls.__name__} takes {cls.SIZE} bytes, {len(raw)} are there"
            raise EseError(-1022, detail)
        numbers = _NUMBERS[cls] if cls in _NUMBERS else _numbers(cls)
        if numbers is not None and not more:
            names, unpack = numbers
            made = object.__new__(cls)
            # The classes are frozen; this is what their own __init__ does, field by field.
            object.__setattr__(
                made, "__dict__", dict(zip(names, unpack(raw), strict=True), raw=raw)
            )
            return made
        values = {
            name: place.decode(raw[place.offset : place.offset + place.size])
            for name, place in places(cls).items()
        }
        return cls(raw=raw, **values, **more)

    def encode(self) -> bytes:
        """The bytes; what no field describes is as it was read, zero in a new structure."""
        data = bytearray(self.raw or bytes(self.SIZE))
        for name, place in places(type(self)).items():
            data[place.offset : place.offset + place.size] = place.encode(getattr(self, name))
        return bytes(data)


_PLACES: dict[type, dict[str, Place]] = {}
_Numbers = tuple[tuple[str, ...], Callable[[bytes], tuple[int, ...]]]
_NUMBERS: dict[type, _Numbers | None] = {}


def _numbers(kind: type[Structure]) -> _Numbers | None:
    """Names and one read of all fields of a layout that has numbers only; None for any other.

    Redo reads hundreds of thousands of records, most of thirty numbers and more.
    """
    found = sorted(places(kind).items(), key=lambda each: each[1].offset)
    codes, end = [], 0
    for _name, place in found:
        codes.append(f"{max(0, place.offset - end)}x{place.code}")
        if not place.code or place.offset < end:
            break
        end = place.offset + place.size
    else:
        plain = len(fields(kind)) == len(found) + 1 and not hasattr(kind, "__post_init__")
        if plain and hasattr(kind(), "__dict__"):
            names = tuple(name for name, _ in found)
            _NUMBERS[kind] = names, struct.Struct(f"<{''.join(codes)}").unpack_from
            return _NUMBERS[kind]
    _NUMBERS[kind] = None
    return None


def places(kind: type[Structure]) -> dict[str, Place]:
    """The described fields of a layout, by name, in order of declaration."""
    found = _PLACES.get(kind)
    if found is None:
        found = {each.name: each.metadata[_KEY] for each in fields(kind) if _KEY in each.metadata}
        _PLACES[kind] = found
    return found
