"""How a key of a TOML file is declared: its unit, bounds, default, examples and meaning.

A quantity is text with a unit in TOML and a plain number in Python, and the attribute's name
carries the unit: the key ``rtt = "60ms"`` becomes ``rtt_ns == 60_000_000``.  One declaration
serves the check, the JSON schema and the reference page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from replicator import units

REQUIRED: Final = ...
"""As a key's default: the file must give it."""


class KeyProblem(ValueError):
    """A value that a validator refuses, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Table(BaseModel):
    """A TOML table: unknown keys are errors, and nothing changes after loading.

    ``validate_default`` lets defaults be written as in TOML, with their unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def key(alias: str | None, meaning: str, default: Any = REQUIRED, **bounds: Any) -> Any:
    """Declare a key: its name in TOML when it differs from the attribute's, and its meaning."""
    return Field(default, alias=alias, description=meaning, **bounds)


@dataclass(frozen=True)
class Quantity:
    """Annotation of a number that TOML writes with a unit."""

    kind: str
    pattern: str
    examples: tuple[str, ...]
    read: Callable[[object], int | float]
    spell: Callable[[Any], str]
    at_least: int | float = 0
    positive: bool = False
    plain_number_too: bool = False

    def check(self, given: object) -> int | float:
        """Read and hold against the bounds; raises UnitError."""
        value = self.read(given)
        if self.positive and value <= 0:
            raise units.UnitError(f"{given!r} must be more than nothing: write {self.examples[0]}")
        if value < self.at_least:
            least = self.spell(self.at_least)
            raise units.UnitError(f"{given!r} is too little: write {least} or more")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text: JsonSchemaValue = {
            "type": "string",
            "pattern": f"^{self.pattern}$",
            "examples": list(self.examples),
        }
        if not self.plain_number_too:
            return text | {"title": self.kind}
        number = {"type": "number", "minimum": 0, "maximum": 1}
        return {"anyOf": [text, number], "title": self.kind, "examples": list(self.examples)}


def quantity(family: units.Family, spell: Callable[[Any], str], **more: Any) -> Quantity:
    """The annotation for one family of units; ``more`` are fields of :class:`Quantity`."""
    return Quantity(
        kind=family.name,
        pattern=more.pop("pattern", family.number_pattern),
        examples=more.pop("examples", family.examples),
        read=units.PARSERS[family.name],
        spell=spell,
        **more,
    )


DURATION_PATTERN: Final = rf"({units.DURATION.number_pattern} ?)+"

Size = Annotated[int, quantity(units.SIZE, units.spell_size)]
PositiveSize = Annotated[int, quantity(units.SIZE, units.spell_size, positive=True)]
SegmentSize = Annotated[int, quantity(units.SIZE, units.spell_size, at_least=4096)]
Duration = Annotated[int, quantity(units.DURATION, units.spell_duration, pattern=DURATION_PATTERN)]
PositiveDuration = Annotated[
    int, quantity(units.DURATION, units.spell_duration, pattern=DURATION_PATTERN, positive=True)
]
BitRate = Annotated[int, quantity(units.RATE, units.spell_rate, positive=True)]
Ratio = Annotated[float, quantity(units.RATIO, units.spell_ratio, plain_number_too=True)]
