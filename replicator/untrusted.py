"""Bytes that came from elsewhere: decompressed within a bound, read as JSON.

Whatever is wrong with them is one ValueError with a sentence, which the caller turns into its
own error; nothing else comes out, and never more memory than the bound is used.
"""

from __future__ import annotations

import json
from typing import Any

import zstandard

from replicator.compression import decompress


def inflate(packed: bytes, limit_bytes: int) -> bytes:
    """The content of one zstd frame; raises ValueError when it is none, or too large.

    The frame must declare its size: zstandard takes memory for what is *declared*, and for
    such a frame ignores ``max_output_size``.
    """
    try:
        size_bytes = zstandard.frame_content_size(packed)
        if not 0 <= size_bytes <= limit_bytes:
            raise ValueError(f"it would unpack to {size_bytes} bytes, {limit_bytes} are allowed")
        return decompress(packed)
    except zstandard.ZstdError as error:
        raise ValueError(f"it cannot be unpacked: {error}") from None


def json_object(text: bytes | str) -> dict[str, Any]:
    """A JSON object; raises ValueError."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("the JSON is no object")
    return document


def whole_number(document: dict[str, Any], key: str, default: int | None = None) -> int:
    """A number, not negative, of at most 63 bits; raises ValueError."""
    value = document.get(key, default)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{key!r} is no whole number")
    return value


def binary(document: dict[str, Any], key: str, limit_bytes: int = 64) -> bytes:
    """Bytes written as hexadecimal digits; raises ValueError."""
    value = document.get(key)
    try:
        if isinstance(value, str) and len(value) <= 2 * limit_bytes:
            return bytes.fromhex(value)
    except ValueError:
        pass
    raise ValueError(f"{key!r} is no short hexadecimal text")
