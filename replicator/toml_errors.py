"""What is wrong with a TOML file of ours, in words: the place, the message and what to do.

A place is a line of the file or the ``--set`` that gave the value.  Where two keys collide,
the error stands at the one that was set last (a ``--set`` before the file, the file before a
default) and says where the other one comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from pydantic_core import ErrorDetails

from replicator.errors import BadInput
from replicator.toml_keys import KeyProblem, Table
from replicator.toml_text import KeyPath, dotted, line_of


class Remark(NamedTuple):
    """One thing to say about a document."""

    keys: tuple[KeyPath, ...]
    """The key to blame, then the others that have a part in it."""
    message: str
    remedy: str


class BadDocument(BadInput):
    """A TOML file that cannot be used; ``errors`` holds one BadInput for each thing wrong."""

    noun = "file"

    def __init__(self, errors: Sequence[BadInput]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        if len(self.errors) == 1:
            super().__init__(
                first.message,
                path=first.path,
                offset=first.offset,
                line=first.line,
                remedy=first.remedy,
            )
        else:
            lines = "\n".join(f"  {error}" for error in self.errors)
            super().__init__(f"{len(self.errors)} errors in the {self.noun}:\n{lines}")


@dataclass(frozen=True)
class Grammar:
    """One kind of TOML file: its keys, and what errors call it.

    ``error`` is raised for all that is wrong; ``example`` is a file that is right.
    """

    model: type[Table]
    schema: Callable[[], dict[str, Any]]
    error: type[BadDocument]
    example: str
    unions: Mapping[str, int] = field(default_factory=dict)
    """Top-level keys whose tables come in kinds, and where pydantic names the chosen one."""

    @property
    def noun(self) -> str:
        return self.error.noun

    @property
    def name_one(self) -> str:
        """What to do about a file that is none of this kind."""
        article = "an" if self.noun[0] in "aeiou" else "a"
        return f"Name {article} {self.noun} file, for instance {self.example}."

    def bad(self, path: str, message: str, remedy: str, line: int | None = None) -> BadDocument:
        """One thing that is wrong with the document as a whole."""
        return self.error([BadInput(message, path=path, line=line, remedy=remedy)])


def set_place(argument: str) -> str:
    """The place of a value that was given on the command line."""
    return f"--set {argument}" if len(argument) <= 80 else f"--set {argument[:77]}..."


class Places:
    """Knows where each value comes from.

    Arguments
    ---------
    origin: name of the file.
    lines: the line of each path in it.
    overridden: path and argument of each ``--set``, in order.
    """

    def __init__(
        self,
        origin: str,
        lines: dict[KeyPath, int],
        overridden: Sequence[tuple[KeyPath, str]],
    ) -> None:
        self.origin = origin
        self.lines = lines
        self.overridden = overridden

    def argument(self, path: KeyPath) -> str | None:
        """The ``--set`` that the value at ``path`` comes from: the last one counts."""
        for set_path, argument in reversed(self.overridden):
            if path[: len(set_path)] == set_path:
                return argument
        return None

    def error(self, remark: Remark) -> BadInput:
        """The remark with its place."""
        keys, message, remedy = remark
        text = f"{dotted(keys[0])}: {message}" if keys[0] else message
        main = min(keys, key=self._rank)  # the first among equals
        others = [f"{dotted(key)} {self._origin(key)}" for key in keys if self._apart(key, main)]
        text = "; ".join([text, *others])
        argument = self.argument(main)
        if argument is not None:
            return BadInput(text, path=set_place(argument), remedy=remedy)
        return BadInput(text, path=self.origin, line=line_of(self.lines, main), remedy=remedy)

    def _rank(self, path: KeyPath) -> int:
        if self.argument(path) is not None:
            return 0
        return 1 if path in self.lines else 2

    def _apart(self, key: KeyPath, main: KeyPath) -> bool:
        return key != main and (self._rank(key), self._origin(key)) != (
            self._rank(main),
            self._origin(main),
        )

    def _origin(self, path: KeyPath) -> str:
        argument = self.argument(path)
        if argument is not None:
            return f"comes from {set_place(argument)}"
        if path in self.lines:
            return f"stands in {self.origin}:{self.lines[path]}"
        return "has its default"


# -- what pydantic found, in our words -------------------------------------------------


def _path_without_tags(location: Iterable[str | int], unions: Mapping[str, int]) -> KeyPath:
    """Pydantic puts the chosen ``kind`` of a union into the location: take it out."""
    parts = list(location)
    tag_at = unions.get(str(parts[0])) if parts else None
    if tag_at is not None and len(parts) > tag_at:
        del parts[tag_at]
    return tuple(parts)


def _value_at(document: Any, path: KeyPath) -> Any:
    for part in path:
        in_list = isinstance(document, list) and isinstance(part, int) and part < len(document)
        if not in_list and not (isinstance(document, dict) and part in document):
            return None
        document = document[part]
    return document


def _schema_at(root: dict[str, Any], path: KeyPath, document: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of what stands at ``path``; empty when nothing may stand there."""

    def resolve(node: dict[str, Any], value: Any) -> dict[str, Any]:
        mapping = node.get("discriminator", {}).get("mapping")
        if mapping is not None:
            kind = value.get("kind") if isinstance(value, dict) else None
            node = {"$ref": mapping[kind]} if isinstance(kind, str) and kind in mapping else {}
        if "$ref" in node:
            definition = node["$ref"].removeprefix("#/$defs/")
            node = {**root["$defs"][definition], **{k: v for k, v in node.items() if k != "$ref"}}
        return node

    node: dict[str, Any] = root
    for length, part in enumerate(path, start=1):
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {})
        node = node if isinstance(part, int) else node.get(part, {})
        node = resolve(node, _value_at(document, path[:length]))
    return node


def shown(value: object) -> str:
    """The value for a message: short, and never a traceback of its own."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else repr(value[:57] + "...")
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _word(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _near(wrong: str, right: Sequence[str]) -> str | None:
    return next(iter(get_close_matches(wrong[:100].lower(), right, n=1, cutoff=0.6)), None)


def _nearest(wrong: str, right: Sequence[str]) -> str:
    """``: did you mean 'x'?``, else all that is right."""
    near = _near(wrong, right)
    return f": did you mean {near!r}?" if near else f": known are {', '.join(right)}"


def _choice(key: str, wrong: str, right: Sequence[str]) -> str:
    near = _near(wrong, right)
    if near is not None:
        return f"Write {key} = {_toml(near)}."
    return f"Write for {key} one of: {', '.join(right)}."


_SHAPES: Final = {
    "int": ("a whole number", "Write a whole number, without quotes."),
    "float": ("a number", "Write a number, without quotes."),
    "string": ("text in quotes", "Put the value in quotes."),
    "tuple": ("a list", "Write a list in brackets, [...]; an empty one is []."),
    "datetime": (
        "a date and time",
        "Write year, month and day, without quotes, for instance 2007-01-17 09:00:00.",
    ),
    "date": ("a date", "Write year, month and day, without quotes, for instance 2007-01-17."),
    "model": ("a table", "Write a table: a header in brackets, its keys below."),
    "dict": ("a table", "Write a table: a header in brackets, its keys below."),
}


def explain(
    details: ErrorDetails, document: Mapping[str, Any], places: Places, grammar: Grammar
) -> Iterator[Remark]:
    """The remarks for one finding of pydantic."""
    schema = grammar.schema()
    kind = details["type"]
    path = _path_without_tags(details["loc"], grammar.unions)
    given = details["input"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted(_schema_at(schema, path[:-1], document).get("properties", {}))
        where = f"in [{dotted(path[:-1])}]" if path[:-1] else "at the top level"
        wrong = str(path[-1])[:60]
        near = _near(wrong, known)
        remedy = f"Write {near} instead." if near else "Take the key out, or write a known one."
        message = f"unknown key {wrong!r} {where}{_nearest(wrong, known)}"
        yield Remark((path, *_kind_set(path, places)), message, remedy)
    elif kind == "missing":
        node = _schema_at(schema, path, document)
        examples = node.get("examples") or ([node["const"]] if "const" in node else None)
        hint = f": write for instance {path[-1]} = {_toml(examples[0])}" if examples else ""
        where = f"to [{dotted(path[:-1])}]" if path[:-1] else "before the first table"
        if _is_table(_schema_at(schema, path, document), path, grammar):
            remedy = f"Add a table [{dotted(path)}]; {grammar.example} has one."
        else:
            remedy = f"Add {where}: {path[-1]} = {_toml((examples or ['...'])[0])}"
        for kind_path in _kind_set(path, places):
            chosen = _value_at(document, kind_path)
            message = f"the kind {shown(chosen)} needs the key {path[-1]!r}, which is missing"
            yield Remark((kind_path,), message, remedy)
            return
        yield Remark((path,), f"this key is missing{hint}", remedy)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        yield _explain_kind(path, given, _kinds(schema, path))
    elif kind == "literal_error":
        node = _schema_at(schema, path, document)
        choices = node.get("enum") or [node.get("const", context["expected"])]
        known = [str(choice) for choice in choices]
        if isinstance(given, str) and given in known and given not in choices:
            message = f"{shown(given)} is text, and a number is wanted"
            yield Remark((path,), message, f"Write {path[-1]} = {given}, without quotes.")
            return
        message = f"{shown(given)} is not known here{_nearest(_word(given), known)}"
        yield Remark((path,), message, _choice(str(path[-1]), _word(given), known))
    elif kind == "value_error":
        yield _explain_refusal(path, context["error"])
    elif kind == "too_short" and isinstance(given, list) and len(given) >= context["min_length"]:
        return  # its entries were refused, each with a remark of its own
    elif kind.startswith("tuple") and isinstance(given, dict):
        header = f"[[{dotted(path)}]]"
        remedy = f"Write its header with two brackets, {header}, once for each of them."
        yield Remark((path,), "one table stands here, but there may be several: a list", remedy)
    else:
        message, remedy = _shape(kind, context, details["msg"])
        if kind.startswith("tuple") and isinstance(given, str):
            remedy = f"Write it in brackets: {path[-1]} = [{_toml(given)}]."
        yield Remark((path,), f"{shown(given)} {message}", remedy)


def _kind_set(path: KeyPath, places: Places) -> list[KeyPath]:
    """The table's ``kind`` when a ``--set`` chose it: then it decided what is missing here."""
    kind = (*path[:-1], "kind")
    return [kind] if places.argument(kind) is not None else []


def _explain_refusal(path: KeyPath, error: Exception) -> Remark:
    """A validator of ours refused the value: its message ends with what is right."""
    message = str(error)
    if isinstance(error, KeyProblem):
        return Remark((path,), message, error.remedy)
    _, found, right = message.rpartition(": write ")
    remedy = f"Write {right}; the file wants it in quotes." if found else BadInput.default_remedy
    return Remark((path,), message, remedy)


def _explain_kind(path: KeyPath, given: object, known: list[str]) -> Remark:
    one = f"Write kind = one of: {', '.join(known)}."
    if not isinstance(given, dict):
        message, remedy = f"{shown(given)} is not a table", _SHAPES["dict"][1]
        return Remark((path,), message, remedy)
    if "kind" not in given:
        message = f"this key is missing: write one of {', '.join(known)}"
        return Remark(((*path, "kind"),), message, one)
    wrong = given["kind"]
    message = f"{shown(wrong)} is not known here{_nearest(_word(wrong), known)}"
    return Remark(((*path, "kind"),), message, _choice("kind", _word(wrong), known))


def _is_table(node: dict[str, Any], path: KeyPath, grammar: Grammar) -> bool:
    return bool(node.get("properties")) or (len(path) == 1 and path[0] in grammar.unions)


def _kinds(schema: dict[str, Any], path: KeyPath) -> list[str]:
    node = schema["properties"][path[0]]
    return sorted(node.get("items", node)["discriminator"]["mapping"])


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _shape(kind: str, context: Mapping[str, Any], message: str) -> tuple[str, str]:
    """What the value should have been, for the types that scenarios use; and the remedy."""
    bounds = {
        "greater_than": ("more than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        words, name = bounds[kind]
        return (
            f"must be {words} {context[name]}",
            f"Write a number that is {words} {context[name]}.",
        )
    if kind == "string_too_short":
        return "is empty", "Write at least one character."
    if kind == "string_too_long":
        return "is too long", f"Write at most {context['max_length']:,} characters."
    if kind == "too_short":
        return "has too few entries", f"Give {context['min_length']:,} at least."
    if kind == "too_long":
        return "has too many entries", f"Give {context['max_length']:,} at most."
    if kind == "finite_number":
        return "is no finite number", "Write a plain number."
    wanted = _SHAPES.get(kind.split("_")[0])
    if wanted:
        return f"is not {wanted[0]}", wanted[1]
    return f"does not fit: {message}", BadInput.default_remedy
