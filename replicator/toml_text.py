"""Where each key of a TOML text stands.

``tomllib`` returns values without places.  :func:`locate` scans the same text again, once it
is known to be valid, and notes the line of every table, key and array element, so that an
error can name a line.  It understands table headers, arrays of tables, dotted keys, inline
tables, arrays over several lines and all four kinds of strings; it does not interpret values.

Theory: a *path* such as ``("faults", 0, "at")`` names a place in the document.  A header
``[faults.sub]`` after ``[[faults]]`` means the last element, so headers are resolved against
the arrays counted so far.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Final

KeyPath = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]*")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{1,2}(?!"))?'
    r"|'''.*?'''(?:'{1,2}(?!'))?"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


class _Scanner:
    """One pass over a valid TOML text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {}
        self.array_lengths: dict[KeyPath, int] = {}
        self.line = 1
        self.line_counted_to = 0

    def note(self, path: KeyPath) -> None:
        """Remember the line of ``path``; the first mention counts."""
        self.line += self.text.count("\n", self.line_counted_to, self.position)
        self.line_counted_to = self.position
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self.line)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            raise ValueError(f"unexpected text at {self.position}")
        self.position = match.end()
        return match[0]

    def peek(self, start: str) -> bool:
        return self.text.startswith(start, self.position)

    def take(self, start: str) -> bool:
        """Step over ``start`` if it stands here."""
        found = self.peek(start)
        self.position += len(start) if found else 0
        return found

    def dotted_key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self.skip(_SPACE)
            if self.peek('"') or self.peek("'"):
                quoted = self.skip(_STRING)
                parts.append(str(tomllib.loads(f"k={quoted}")["k"]))
            else:
                parts.append(self.skip(_BARE_KEY))
            self.skip(_SPACE)
            if not self.take("."):
                return tuple(parts)

    def resolve(self, keys: Sequence[str]) -> KeyPath:
        """Add to each array of tables on the way the index of its last element."""
        path: KeyPath = ()
        for name in keys:
            path += (name,)
            if path in self.array_lengths:
                path += (self.array_lengths[path] - 1,)
        return path

    def document(self) -> None:
        table: KeyPath = ()
        self.skip(_BLANK)
        while self.position < len(self.text):
            if self.take("[["):
                keys = self.dotted_key()
                array = (*self.resolve(keys[:-1]), keys[-1])
                self.array_lengths[array] = self.array_lengths.get(array, 0) + 1
                table = self.resolve(keys)
                self.note(table)
                self.take("]]")
            elif self.take("["):
                table = self.resolve(self.dotted_key())
                self.note(table)
                self.take("]")
            else:
                self.pair(table)
            self.skip(_BLANK)

    def pair(self, table: KeyPath) -> None:
        path = table + self.dotted_key()
        self.note(path)
        self.take("=")
        self.skip(_SPACE)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        if self.peek('"') or self.peek("'"):
            self.skip(_STRING)
        elif self.take("["):
            self.array(path)
        elif self.take("{"):
            self.inline_table(path)
        else:
            self.skip(_SCALAR)

    def array(self, path: KeyPath) -> None:
        index = 0
        self.skip(_BLANK)
        while not self.take("]"):
            self.note((*path, index))
            self.value((*path, index))
            index += 1
            self.skip(_BLANK)
            self.take(",")
            self.skip(_BLANK)

    def inline_table(self, path: KeyPath) -> None:
        self.skip(_BLANK)
        while not self.take("}"):
            self.pair(path)
            self.skip(_BLANK)
            self.take(",")
            self.skip(_BLANK)


def locate(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of each path of a *valid* TOML text.

    A text that this scanner does not understand gives what was found before: an error then
    names the nearest line above.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    try:
        scanner.document()
    except (ValueError, RecursionError):
        return scanner.lines
    return scanner.lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of the path, or of the innermost table around it; 1 for the whole document."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def dotted(path: KeyPath) -> str:
    """``("faults", 0, "at")`` -> ``faults.0.at``, as ``--set`` takes it."""
    return ".".join(str(part) for part in path)
