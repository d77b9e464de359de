"""Log records from their fields, bytes and object in one step.

A store makes hundreds of thousands of them, so the fixed part of each layout is compiled to one
``struct`` format, and the object is filled without looking at each field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, TypeVar

from replicator.ese.layout import places
from replicator.ese.log_page_records import Record

R = TypeVar("R", bound=Record)

_UNSIGNED: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SEVERAL: Final = 2
"""So many fields at least: of one alone an itemgetter gives no tuple."""
_SIGNED: Final = {1: "b", 2: "h", 4: "i", 8: "q"}


def build(kind: type[R], fields: dict[str, Any], tail: bytes = b"") -> R:
    """One record, as :meth:`Structure.decode` would read it.

    Arguments
    ---------
    kind: its layout.
    fields: by name; what is not named is 0.  The dictionary may become the record's own.
    tail: the part of variable length.

    Raises struct.error for a number that its field cannot hold.
    """
    zeros, values, pack = _COMPILED.get(kind) or _compiled(kind)
    if len(fields) != len(zeros):
        fields = zeros | fields
    fields["raw"] = pack(*values(fields)) + tail
    record = _new(kind)
    # The classes are frozen; this is what their own __init__ does, field by field.
    _set(record, "__dict__", fields)
    return record


def build_bytes(kind: type[Record], *values: int) -> bytes:
    """The bytes alone of a record without tail, of which nobody needs the object.

    Arguments
    ---------
    kind: its layout.
    values: of all its fields, in the order in which they stand.
    """
    return (_COMPILED.get(kind) or _compiled(kind))[2](*values)


_new, _set = object.__new__, object.__setattr__
_Compiled = tuple[dict[str, Any], Callable[[dict[str, Any]], tuple[int, ...]], Callable[..., bytes]]
_COMPILED: Final[dict[type[Record], _Compiled]] = {}


def _compiled(kind: type[Record]) -> _Compiled:
    """Every field with 0, in their order, and what packs them; only whole numbers in a row."""
    found = sorted(places(kind).items(), key=lambda each: each[1].offset)
    codes, end = [], 0
    for name, place in found:
        if place.offset != end or place.size not in _UNSIGNED:
            raise TypeError(f"{kind.__name__}.{name} does not follow the field before it")
        end += place.size
        signed = place.decode(b"\xff" * place.size) < 0
        codes.append((_SIGNED if signed else _UNSIGNED)[place.size])
    if end != kind.SIZE:
        raise TypeError(f"{kind.__name__} has {kind.SIZE} bytes, its fields end at {end}")
    pack = struct.Struct(f"<{''.join(codes)}").pack
    names = tuple(name for name, _ in found)
    if len(names) < _SEVERAL:
        raise TypeError(f"{kind.__name__} has no fields besides its number")
    _COMPILED[kind] = dict.fromkeys(names, 0), itemgetter(*names), pack
    return _COMPILED[kind]
