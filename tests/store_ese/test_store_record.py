"""What ``simulator store --json`` writes is as the schema in docs/ says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from replicator.command_line import finish
from simulator import cli
from simulator.exchange.ese.store_record import STORE_SCHEMA, StoreRecord, store_json_schema

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--mailboxes", 1, "--no-views", "--crash-at", "2h")


def command(*arguments: object) -> int:
    return finish(cli.app, "simulator", list(map(str, arguments)))


def test_the_schema_is_printed_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """To renew it: ``simulator schema --store > docs/store-record.schema.json``."""
    assert command("schema", "--store") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == store_json_schema()
    assert (ROOT / "docs/store-record.schema.json").read_text(encoding="utf-8") == printed
    assert command("schema", "--store", "--plan") == 64
    assert "one schema at a time: --plan, --store" in capsys.readouterr().err


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for each in node:
            yield from objects(each)
    elif isinstance(node, dict):
        if "properties" in node:
            yield node
        for each in node.values():
            yield from objects(each)


def test_every_object_is_closed_and_whole() -> None:
    found = list(objects(store_json_schema()))
    assert len(found) == 4
    for each in found:
        assert each["additionalProperties"] is False
        assert set(each["required"]) == set(each["properties"])


@pytest.mark.parametrize(
    "options",
    [
        ("--version", 2003, *SHORT, "--backup", "{backup}"),
        ("--version", 2007, *SHORT, "--circular"),
        ("--version", 2010, "--mailboxes", 2, "--databases", 2, "--no-views"),
    ],
    ids=["2003, backed up", "2007, killed", "2010, shut down"],
)
def test_what_is_written_is_as_the_schema_says(
    options: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(each).format(backup=tmp_path / "backup") for each in options]
    assert command("store", tmp_path / "store", *given, "--json", "-") == 0
    written = capsys.readouterr().out
    record = StoreRecord.model_validate_json(written)
    document = json.loads(written)
    assert document["schema"] == STORE_SCHEMA
    assert set(document) == set(store_json_schema()["properties"])
    assert (record.backup is not None) == ("--backup" in given)
    assert (record.crashed_at_ns is None) == (record.state == "clean shutdown")
    there = {each.name: each.stat().st_size for each in (tmp_path / "store").iterdir()}
    assert there == {each.name: each.size_bytes for each in record.files}
    for change in ({"surplus": 1}, {"seed": "1"}, {"days": -1}, {"schema": "simulator-store/2"}):
        with pytest.raises(ValidationError):
            StoreRecord.model_validate_json(json.dumps(document | change))
    for name in document:
        with pytest.raises(ValidationError):
            less = {key: value for key, value in document.items() if key != name}
            StoreRecord.model_validate_json(json.dumps(less))
