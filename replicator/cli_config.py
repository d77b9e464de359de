"""``replicator check-config`` and ``replicator schema``."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replicator.cli_output import (
    STANDARD_OUTPUT,
    JsonOption,
    check_target,
    console_for,
    json_target,
    say,
    write_document,
)
from replicator.command_line import print_error
from replicator.errors import BadInput, ExitCode

if TYPE_CHECKING:
    from replicator.config import LoadedConfiguration

ConfigArgument = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="The configuration, a TOML file.", show_default=False),
]


def check_config(config: ConfigArgument, json: JsonOption = None) -> None:
    """Check CONFIG and the directories it names, without starting anything.

    Prints every effective value and where it comes from.  Ends with 64 when a process could not
    start; warnings change nothing.
    """
    check_target(json)
    from replicator.config import BadConfiguration, load_configuration
    from replicator.host.preflight import Preflight

    loaded: LoadedConfiguration | None = None
    errors: list[BadInput] = []
    warnings: list[BadInput] = []
    try:
        found = load_configuration(config)
    except BadConfiguration as refusal:
        errors = list(refusal.errors)
    else:
        loaded, preflight = found, Preflight(found)
        errors, warnings = preflight.errors, preflight.warnings
    if json is not None:
        with json_target(json) as stream:
            write_document(stream, _document(config, loaded, errors, warnings))
    if loaded is not None and json != STANDARD_OUTPUT:
        _print_settings(loaded)
    for warning in warnings:
        print_error(warning, "warning")
    for error in errors:
        print_error(error)
    raise typer.Exit(ExitCode.USAGE if errors else ExitCode.PASS)


def _origin(loaded: LoadedConfiguration, line: int | None) -> str:
    return "default" if line is None else f"{loaded.path}:{line}"


def _print_settings(loaded: LoadedConfiguration) -> None:
    from replicator.toml_text import dotted

    console = console_for(None)
    rows = [
        (dotted(setting.path), str(setting.value), _origin(loaded, setting.line))
        for setting in loaded.settings()
    ]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    for name, value, origin in rows:
        say(console, f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _document(
    config: Path,
    loaded: LoadedConfiguration | None,
    errors: list[BadInput],
    warnings: list[BadInput],
) -> dict[str, Any]:
    from replicator.toml_text import dotted

    def shown(found: list[BadInput]) -> list[dict[str, str]]:
        return [
            {"place": each.place, "message": each.message, "remedy": each.remedy} for each in found
        ]

    settings = [] if loaded is None else list(loaded.settings())
    return {
        "config": str(config),
        "ok": not errors,
        "settings": [
            {"key": dotted(path), "value": value, "line": line} for path, value, line in settings
        ],
        "errors": shown(errors),
        "warnings": shown(warnings),
    }


def schema(
    ese: Annotated[
        bool,
        typer.Option(
            "--ese",
            help="Of the JSON of the other ese commands instead.",
        ),
    ] = False,
    ese_dump: Annotated[
        bool, typer.Option("--ese-dump", help="Of a line of the JSON of ese dump.")
    ] = False,
) -> None:
    """Print the JSON Schema of a configuration, or of what another command writes."""
    if ese and ese_dump:
        raise BadInput("one schema at a time: --ese, --ese-dump", remedy="Give one of them.")
    if ese or ese_dump:
        from replicator.ese_schema import dump_json_schema, ese_json_schema

        document = ese_json_schema() if ese else dump_json_schema()
    else:
        from replicator.config import configuration_json_schema

        document = configuration_json_schema()
    print(json_format.dumps(document, indent=2))
