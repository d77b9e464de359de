"""Configurations: read from TOML, checked, with every error at its file, line and key.

:func:`load_configuration` is the way in.  Whatever the bytes of the file, it returns a
:class:`~replicator.config_model.Configuration` or raises :class:`BadConfiguration`, which lists
*all* that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from replicator.config_checks import contradictions, doubts
from replicator.config_model import Configuration, ReplicaTable, SourceTable
from replicator.errors import BadInput
from replicator.toml_document import Reading, read_toml_file
from replicator.toml_errors import BadDocument, Grammar, Places
from replicator.toml_keys import Quantity
from replicator.toml_reference import toml_json_schema
from replicator.toml_text import KeyPath


class BadConfiguration(BadDocument):
    """A configuration that cannot be used; ``errors`` holds one BadInput for each thing wrong."""

    noun = "configuration"
    default_remedy = (
        "Correct each of them; docs/configuration.md lists all keys with their units and defaults."
    )


@cache
def configuration_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a configuration; treat it as read-only."""
    return toml_json_schema(Configuration)


GRAMMAR: Final = Grammar(
    Configuration, configuration_json_schema, BadConfiguration, "docs/replicator.toml"
)


class Setting(NamedTuple):
    """One effective value and where it comes from."""

    path: KeyPath
    value: int | str
    """As TOML would write it, quotes apart."""
    line: int | None
    """Of the file; None for a default."""


class LoadedConfiguration(NamedTuple):
    """A configuration with the places of its values."""

    path: str
    configuration: Configuration
    places: Places

    @property
    def set_id(self) -> str:
        """Name of the protected set."""
        return self.configuration.set

    def source(self) -> SourceTable:
        """The table [source]; raises BadConfiguration when the file has none."""
        table = self.configuration.source
        if table is None:
            raise self._missing("source")
        return table

    def replica(self) -> ReplicaTable:
        """The table [replica]; raises BadConfiguration when the file has none."""
        table = self.configuration.replica
        if table is None:
            raise self._missing("replica")
        return table

    def _missing(self, name: str) -> BadDocument:
        return GRAMMAR.bad(
            self.path,
            f"there is no table [{name}]",
            f"Add [{name}] to the file, or name the configuration of a {name}.",
        )

    def doubts(self) -> list[BadInput]:
        """What is allowed but hardly meant, as far as the file alone can tell."""
        return [self.places.error(remark) for remark in doubts(self.configuration)]

    def settings(self) -> Iterator[Setting]:
        """Every effective value, in the order of the reference page."""
        yield from self._settings(self.configuration, ())

    def _settings(self, table: BaseModel, path: KeyPath) -> Iterator[Setting]:
        for name, field in type(table).model_fields.items():
            here = (*path, field.alias or name)
            value = getattr(table, name)
            if isinstance(value, BaseModel):
                yield from self._settings(value, here)
            elif value is not None:
                quantity = next((m for m in field.metadata if isinstance(m, Quantity)), None)
                shown = value if quantity is None else quantity.spell(value)
                yield Setting(here, shown, self.places.lines.get(here))


def load_configuration(path: str | Path) -> LoadedConfiguration:
    """Read a configuration file.

    Raises BadConfiguration, with file, line, key and what to do.
    """
    return parse_configuration(read_toml_file(Path(path), GRAMMAR), str(path))


def parse_configuration(content: bytes | str, origin: str = "configuration") -> LoadedConfiguration:
    """As :func:`load_configuration`, from memory; ``origin`` names the text in errors."""
    reading = Reading(content, origin, GRAMMAR)
    configuration, places = reading.validate(Configuration, contradictions)
    return LoadedConfiguration(origin, configuration, places)


__all__ = [
    "BadConfiguration",
    "LoadedConfiguration",
    "Setting",
    "configuration_json_schema",
    "load_configuration",
    "parse_configuration",
]
