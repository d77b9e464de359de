"""How a key of a scenario is declared: its unit, bounds, default, examples and meaning.

A quantity is text with a unit in TOML and a plain number in Python, and the attribute's name
carries the unit: the key ``rtt = "60ms"`` becomes ``rtt_ns == 60_000_000``.  One declaration
serves the check, the JSON schema and the reference page.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from replicator import units

REQUIRED: Final = ...
"""As a key's default: the scenario must give it."""
DAY_NS: Final = 86_400 * units.NS_PER_SECOND


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


def read_time_of_day_ns(given: object) -> int:
    """``"08:00"``, ``"08:00:30"``, ``"24:00"`` or a TOML local time, in ns since midnight."""
    if isinstance(given, datetime.time) and given.tzinfo is None:
        given = given.strftime("%H:%M:%S")
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?", str(given), re.ASCII)
    if match is not None and isinstance(given, str):
        hours, minutes, seconds = (int(group or 0) for group in match.groups())
        time_ns = (hours * 3_600 + minutes * 60 + seconds) * units.NS_PER_SECOND
        if minutes < 60 and seconds < 60 and time_ns <= DAY_NS:
            return time_ns
    raise units.UnitError(f"{str(given)[:40]!r} is no time of day: write for instance 08:00")


def spell_time_of_day(time_ns: int) -> str:
    """28800000000000 -> ``08:00``."""
    minutes, seconds = divmod(time_ns // units.NS_PER_SECOND, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text


def _of(family: units.Family, spell: Callable[[Any], str], **more: Any) -> Quantity:
    return Quantity(
        kind=family.name,
        pattern=more.pop("pattern", family.number_pattern),
        examples=more.pop("examples", family.examples),
        read=units.PARSERS[family.name],
        spell=spell,
        **more,
    )


_DURATION_PATTERN: Final = rf"({units.DURATION.number_pattern} ?)+"

Size = Annotated[int, _of(units.SIZE, units.spell_size)]
PositiveSize = Annotated[int, _of(units.SIZE, units.spell_size, positive=True)]
SegmentSize = Annotated[int, _of(units.SIZE, units.spell_size, at_least=4096)]
Duration = Annotated[int, _of(units.DURATION, units.spell_duration, pattern=_DURATION_PATTERN)]
PositiveDuration = Annotated[
    int, _of(units.DURATION, units.spell_duration, pattern=_DURATION_PATTERN, positive=True)
]
SamplingInterval = Annotated[
    int,
    _of(
        units.DURATION,
        units.spell_duration,
        pattern=_DURATION_PATTERN,
        examples=("1s", "500ms"),
        at_least=1_000_000,
    ),
]
BitRate = Annotated[int, _of(units.RATE, units.spell_rate, positive=True)]
PositiveFrequency = Annotated[
    float, _of(units.FREQUENCY, units.spell_frequency, positive=True, at_least=1e-9)
]
Ratio = Annotated[float, _of(units.RATIO, units.spell_ratio, plain_number_too=True)]


def _read_bytes_per_second(given: object) -> int:
    return units.parse_rate_bits_per_second(given) // 8


ByteRate = Annotated[
    int,
    Quantity(
        kind="rate",
        pattern=units.RATE.number_pattern,
        examples=("100MB/s", "400MB/s"),
        read=_read_bytes_per_second,
        spell=lambda bytes_per_second: units.spell_size(bytes_per_second) + "/s",
        positive=True,
    ),
]
TimeOfDay = Annotated[
    int,
    Quantity(
        kind="time of day",
        pattern=r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?",
        examples=("08:00", "18:30"),
        read=read_time_of_day_ns,
        spell=spell_time_of_day,
    ),
]
