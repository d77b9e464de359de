"""Reading a JSON file that holds what a TOML file of ours does, with every error at its line.

The standard library gives values without places.  As :mod:`replicator.toml_text` does for TOML,
:func:`locate_json` scans the text once more and notes the line of each key and list element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from replicator.toml_document import Reading
from replicator.toml_text import KeyPath

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_STRING: Final = re.compile(r'"(?:\\.|[^"\\])*"')
_SCALAR: Final = re.compile(r"[^,\]}\s]+")
_NO_NUMBER: Final = re.compile(r'"(?:\\.|[^"\\])*"|-?(?:NaN|Infinity|[0-9]{4301,})')
"""Texts, to pass over them, and what Python's parser takes for a number and we, or it, refuse."""
_REMEDY: Final = "Correct the line: keys and texts stand in double quotes, commas between values."


def looks_like_json(content: bytes | str, origin: str = "") -> bool:
    """Whether a text begins as a JSON object does, which no TOML file can.

    A list may be the header of a table; in a file that is called ``.json`` it is none.
    """
    begins = ("{", "[") if origin.lower().endswith(".json") else ("{",)
    if isinstance(content, str):
        return content.lstrip("\ufeff \t\r\n").startswith(begins)
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return text.startswith(tuple(each.encode() for each in begins))


class JsonReading(Reading):
    """A JSON text that was read, before anybody looks at what it means."""

    def parse(self, origin: str) -> dict[str, Any]:
        """The document; raises the grammar's error."""
        grammar = self._grammar
        try:
            document = json.loads(
                self.text, object_pairs_hook=_without_repetition, parse_constant=_refuse
            )
        except RecursionError as error:
            raise grammar.bad(origin, "not JSON: nested too deeply", grammar.name_one, 1) from error
        except json.JSONDecodeError as error:
            message = f"column {error.colno}: not JSON: {error.msg}"
            raise grammar.bad(origin, message, _REMEDY, error.lineno) from error
        except _RepeatedKey as error:
            line = _second_line(self.text, error.key)
            message = f"the key {error.key[:60]!r} stands twice in one object"
            raise grammar.bad(origin, message, "Take one of the two out.", line) from error
        except ValueError as error:  # NaN, or a number of thousands of digits
            line = _line_of_no_number(self.text)
            raise grammar.bad(origin, f"not JSON: {error}", _REMEDY, line) from error
        if not isinstance(document, dict):
            message = "a list stands here, and the whole is to be one object, { ... }"
            raise grammar.bad(origin, message, grammar.name_one, 1)
        return document

    def lines(self) -> dict[KeyPath, int]:
        """The line of each key of it."""
        return locate_json(self.text)


class _RepeatedKey(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKey(key)
        found[key] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _line_of_no_number(text: str) -> int:
    found = (match for match in _NO_NUMBER.finditer(text) if match[0][0] != '"')
    first = next(found, None)
    return 1 if first is None else 1 + text.count("\n", 0, first.start())


class _Scanner:
    """One pass over a valid JSON text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.counted_to = 0
        self.lines: dict[KeyPath, int] = {}
        self.repeated: dict[str, int] = {}
        """By name of a key: the line on which it stands in one object for the second time."""

    def note(self, path: KeyPath) -> None:
        self.line += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        if path in self.lines:
            self.repeated.setdefault(str(path[-1]), self.line)
        self.lines.setdefault(path, self.line)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"unexpected text at {self.at}")
        self.at = match.end()
        return match[0]

    def take(self, sign: str) -> bool:
        """Step over a sign, if it stands here, and over the space around it."""
        self.skip(_SPACE)
        found = self.text.startswith(sign, self.at)
        self.at += len(sign) if found else 0
        self.skip(_SPACE)
        return found

    def value(self, path: KeyPath) -> None:
        if self.take("{"):
            while not self.take("}"):
                inner = (*path, json.loads(self.text[self.at : self._end_of_string()]))
                self.note(inner)
                self.skip(_STRING)
                self.take(":")
                self.value(inner)
                self.take(",")
        elif self.take("["):
            index = 0
            while not self.take("]"):
                self.note((*path, index))
                self.value((*path, index))
                index += 1
                self.take(",")
        elif self.text.startswith('"', self.at):
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def _end_of_string(self) -> int:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise ValueError(f"no text at {self.at}")
        return match.end()


def _scanned(text: str) -> _Scanner:
    scanner = _Scanner(text)
    try:
        scanner.value(())
    except (ValueError, RecursionError):
        return scanner  # what was found before: an error names the nearest line above
    return scanner


def locate_json(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of each key and list element of a valid JSON text."""
    return _scanned(text).lines


def _second_line(text: str, key: str) -> int:
    return _scanned(text).repeated.get(key, 1)
