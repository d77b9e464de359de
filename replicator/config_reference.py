"""The reference page of configurations, made from their declarations.

A test compares ``docs/configuration.md`` with it.  To renew the page::

    .venv/bin/python -m replicator.config_reference > docs/configuration.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from replicator.config import GRAMMAR, configuration_json_schema
from replicator.toml_reference import QUANTITIES, reference_section

_INTRODUCTION: Final = f"""\
# Configuration: all keys

One TOML file describes one protected set: `[source]` on the machine where programs write,
`[replica]` where the copy is; both in one file for a trial on one machine. `replicator
check-config FILE` checks one and prints every effective value with its origin, `replicator
schema` prints its JSON Schema. Unknown keys are errors. This page is made from the same
declarations that the check uses (`replicator/config_model.py`).

The connection is neither encrypted nor authenticated: see
[who can reach the port](operating.md#who-can-reach-the-port).

{QUANTITIES}"""

_SECTIONS: Final = (
    ("Top level", "Configuration", "Keys before the first table."),
    ("[source]", "SourceTable", ""),
    ("[source.spool]", "SpoolTable", ""),
    ("[replica]", "ReplicaTable", ""),
    ("[replica.journal]", "JournalTable", ""),
    ("[log]", "LogTable", ""),
)


def configuration_reference_markdown() -> str:
    """The text of ``docs/configuration.md``."""
    schema = configuration_json_schema()
    lines = [_INTRODUCTION.rstrip("\n")]
    for title, name, note in _SECTIONS:
        model = schema if name == "Configuration" else schema["$defs"][name]
        lines += reference_section(title, model, note)
    example = Path(__file__).resolve().parents[1] / GRAMMAR.example
    lines += ["\n## An example\n", "```toml", example.read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(configuration_reference_markdown())
