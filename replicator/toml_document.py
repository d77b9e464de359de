"""Reading a TOML file of ours, with every error at its file, line and key.

Whatever the bytes of the file, the answer is the model or the grammar's error, which lists
*all* that is wrong.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from replicator.toml_errors import Grammar, Places, Remark, explain
from replicator.toml_keys import Table
from replicator.toml_text import KeyPath, locate

M = TypeVar("M", bound=Table)

LARGEST_FILE_BYTES: Final = 1 << 20
"""No file of ours is that long: refuse an image or a trace given by mistake."""
_BYTE_ORDER_MARK: Final = "\ufeff"
"""Some editors begin every file with it; TOML knows nothing of it."""
_DATE_REMEDY: Final = "Write a date that the calendar has: year-month-day, 2007-02-28."
_TOML_REMEDY: Final = (
    "Correct the line: text stands in quotes, one key = value a line, each key once in its table."
)

_WORDS: Final = (
    ("Cannot overwrite a value", "this key was given before in its table, or is no table"),
    ("Duplicate inline table key (.*)", r"the key \1 stands twice in these braces"),
    ("Cannot declare .* twice", "this table was written before, or its name is taken"),
    (r"Cannot mutate immutable namespace .*", "this table was closed where it was written"),
    (r"Cannot redefine namespace .*", "this table was written before, as keys with dots"),
    (r"Illegal character '\\[rn]+'", "the line ends within a text: its closing quote is missing"),
    (r"(?:Illegal|Found invalid) character (.*)", r"the character \1 may not stand here"),
    ("Unterminated string", "a text is not closed: its last quotes are missing"),
    ("Unescaped .* in a string", "a backslash stands alone: write two, or single quotes around it"),
    ("Invalid hex value", "after a backslash and u or U stand 4 or 8 hexadecimal digits"),
    ("Escaped character is .*", "a backslash and u or U name a character that there is none of"),
    ("Unclosed array", "a list is not closed: ] is missing, or a comma between entries"),
    ("Unclosed inline table", "} is missing, or a comma between keys in braces"),
    ("Expected '=' after a key in a key/value pair", "= is missing after a key"),
    ("Expected newline or end .*", "more stands on this line than one key and its value"),
    (r"Expected '(\]+)' at the end of .*", r"the table's header lacks its \1"),
    ("Expected (.*)", r"\1 is missing"),
    ("Invalid initial character for a key part", "no key begins with this character"),
    ("Invalid statement", "neither a key nor a table's header begins so"),
    ("Invalid date or datetime", "the calendar has no such date, or the day no such time"),
    ("Invalid value", "this is no value"),
)
"""What Python's own parser says, and how we do."""


def _worded(message: str) -> str:
    """The parser's message in our words; one that is not known stays as it is."""
    for pattern, words in _WORDS:
        found = re.fullmatch(pattern, message)
        if found is not None:
            return found.expand(words)
    return message


class Reading:
    """A TOML text that was read, before anybody looks at what it means.

    Arguments
    ---------
    content: the text, or its bytes.
    origin: what errors call it.
    grammar: what it is to be.
    """

    def __init__(self, content: bytes | str, origin: str, grammar: Grammar) -> None:
        self._grammar = grammar
        self.text = _decode(content, origin, grammar)
        self.document = self.parse(origin)
        self.origin = origin

    def parse(self, origin: str) -> dict[str, Any]:
        """The document; raises the grammar's error."""
        return _parse_toml(self.text, origin, self._grammar)

    def lines(self) -> dict[KeyPath, int]:
        """The line of each key of it."""
        return locate(self.text)

    def validate(
        self,
        model: type[M],
        contradictions: Callable[[M], Iterable[Remark]],
        overridden: Sequence[tuple[KeyPath, str]] = (),
        context: dict[str, Any] | None = None,
    ) -> tuple[M, Places]:
        """The model, and where each of its values comes from; raises the grammar's error.

        ``overridden`` names what was changed in the document since it was read.
        """
        grammar, document = self._grammar, self.document
        places = Places(self.origin, self.lines(), overridden)
        remarks = [
            Remark((path,), "is no 64-bit number", "Write a smaller number.")
            for path in _huge_numbers(document)
        ]
        if not remarks:
            try:
                loaded = model.model_validate(document, context=context)
            except ValidationError as error:
                for details in error.errors(include_url=False):
                    remarks += explain(details, document, places, grammar)
            else:
                remarks += contradictions(loaded)
                if not remarks:
                    return loaded, places
        found = [places.error(remark) for remark in remarks]
        raise grammar.error(sorted(found, key=lambda each: (each.line or 1 << 30, each.message)))


def read_toml_file(path: Path, grammar: Grammar) -> bytes:
    """The bytes of a file that is to be TOML; raises the grammar's error.

    A pipe that has a name would be waited for until somebody writes to it.
    """
    try:
        if path.is_fifo() and not path.is_relative_to("/dev"):  # a shell's pipe has its writer
            raise grammar.bad(str(path), "is a pipe, not a file", grammar.name_one)
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise grammar.bad(str(path), f"cannot be read: {reason}", grammar.name_one) from error


def _decode(content: bytes | str, origin: str, grammar: Grammar) -> str:
    if len(content) > LARGEST_FILE_BYTES:
        too_long = f"is larger than 1 MiB: this is no {grammar.noun}"
        raise grammar.bad(origin, too_long, grammar.name_one)
    if isinstance(content, str):
        return content.removeprefix(_BYTE_ORDER_MARK)
    try:
        return content.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        message = f"column {column}: not UTF-8 text (byte 0x{content[error.start]:02x})"
        remedy = f"Save the {grammar.noun} as UTF-8 text."
        raise grammar.bad(origin, message, remedy, line) from error


def _parse_toml(text: str, origin: str, grammar: Grammar) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise grammar.bad(origin, "not TOML: nested too deeply", grammar.name_one, 1) from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        message = str(error)
        place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)$", message)
        if place is not None:
            remedy = _DATE_REMEDY if "Invalid date" in message else _TOML_REMEDY
            message = f"column {place[2]}: not TOML: {_worded(message[: place.start()])}"
            raise grammar.bad(origin, message, remedy, int(place[1])) from error
        lines = text.splitlines() or [""]
        message = _worded(message.removesuffix(" (at end of document)"))
        at_end = f"column {len(lines[-1]) + 1}: not TOML: {message} (the text ends here)"
        raise grammar.bad(origin, at_end, _TOML_REMEDY, len(lines)) from error


def _huge_numbers(document: dict[str, Any]) -> Iterator[KeyPath]:
    """Whole numbers beyond 64 bits, which TOML does not know and messages could not show."""
    waiting: list[tuple[KeyPath, Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, name), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), inner) for index, inner in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield path
