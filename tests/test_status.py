"""How a reader judges reports, page halves, the trend of a spool; the schema of the document."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from replicator.status import ProgramStatus, ReplicaStatus, SourceStatus, SpoolTrend
from replicator.status_page import HALF_BYTES, PAGE_BYTES, StatusPage, newest_document
from replicator.status_schema import status_json_schema
from replicator.status_text import status_lines
from replicator.status_view import (
    Condition,
    ProcessView,
    SpoolView,
    StatusView,
    WishView,
    judge,
)
from replicator.takeover_wish import WishState

ROOT = Path(__file__).resolve().parents[1]
BEAT_NS = 1_000_000_000
SECOND_NS = 1_000_000_000
SOURCE = SourceStatus(
    state="streaming",
    cause="",
    replica_address="replica:7000",
    replica_stalled="",
    epoch=3,
    capturing=True,
    capture_stopped="",
    caretaker=False,
    completed=120,
    durable=100,
    applied=90,
    lag_ns=2 * SECOND_NS,
    lag_operations=20,
    lag_bytes=163_840,
    spool_waiting_bytes=300_000,
    spool_used_bytes=16 << 20,
    spool_limit_bytes=64 << 20,
    spool_peak_bytes=1 << 20,
    spool_full_in_ns=3600 * SECOND_NS,
    wire_bytes=1,
    resynchronizations=0,
)
REPLICA = ReplicaStatus(
    state="streaming",
    cause="",
    address=":7000",
    connected=True,
    silent_ns=5_000_000,
    epoch=3,
    durable=100,
    applied=90,
    checkpointed=80,
    as_of_wall_ns=1_700_000_000 * SECOND_NS,
    behind_operations=30,
    stalled="",
    refused="",
    damage="",
    unverified="",
    promoted=False,
    journal_used_bytes=1,
    journal_limit_bytes=2,
    image="/srv/replica/image",
    as_of_here_wall_ns=1_700_000_000 * SECOND_NS,
    as_of_age_ns=5 * SECOND_NS,
)
PROGRAM = ProgramStatus("capturing", "", 3, 120, 0)


def report(status: Any, ended: str = "", boot: int = 7, written_ns: int = 0) -> dict[str, Any]:
    return {
        "format": 1,
        "process": "source",
        "set": "first",
        "pid": 42,
        "boot_id": boot,
        "started_wall_ns": 1_000,
        "heartbeat_ns": BEAT_NS,
        "incarnation": 2,
        "written_ns": written_ns,
        "written_wall_ns": 1_700_000_005 * SECOND_NS,
        "since_wall_ns": 1_500,
        "ended": ended,
        "status": asdict(status),
    }


@pytest.mark.parametrize(
    ("document", "locked", "now_ns", "condition"),
    [
        (None, False, 0, Condition.NEVER),
        (None, True, 0, Condition.STARTING),
        (report(SOURCE), True, BEAT_NS, Condition.RUNNING),
        (report(SOURCE), True, BEAT_NS + 1, Condition.LATE),
        (report(SOURCE), True, 3 * BEAT_NS, Condition.LATE),
        (report(SOURCE), True, 3 * BEAT_NS + 1, Condition.HUNG),
        (report(SOURCE), False, 0, Condition.DOWN),
        (report(SOURCE, ended="drained"), False, 0, Condition.DOWN),
        (report(SOURCE, ended="drained"), True, 0, Condition.STARTING),
        (report(SOURCE, boot=6), True, 0, Condition.STARTING),
        (report(SOURCE, boot=6), False, 0, Condition.DOWN),
    ],
)
def test_judgement(document: Any, locked: bool, now_ns: int, condition: Condition) -> None:
    view = judge(document, locked, now_ns, boot_id=7)
    assert view.condition == condition
    current = condition == Condition.RUNNING
    assert (view.status is not None) == current
    assert view.state == ("streaming" if current else "unknown")
    if document is not None:
        assert view.last_known == document["status"]
        assert (view.age_ns is None) == (document["boot_id"] != 7)


class Memory:
    """A volume that has one page."""

    def __init__(self) -> None:
        self.memory = bytearray(PAGE_BYTES)

    def shared_page(self, _path: str, _size: int) -> Memory:
        return self


def test_a_page_that_is_written_while_it_is_read_shows_the_report_before() -> None:
    memory = Memory()
    page = StatusPage(memory, "/status")  # type: ignore[arg-type]
    assert page.get() is None
    for number in range(5):
        page.put({"number": number})
        assert page.get() == {"number": number}
    whole = bytes(memory.memory)
    for half in (0, HALF_BYTES):  # the half under the pen is whichever
        torn = bytearray(whole)
        torn[half + 25] ^= 1
        shown = newest_document(bytes(torn))[1]
        assert shown in ({"number": 3}, {"number": 4})
    assert newest_document(b"")[1] is None
    for text in ("é\U0001f600" * 250, "\udc80" * 500):  # names that are no UTF-8, too
        page.put({"texts": [text] * 5})
        assert page.get() == {"texts": [text] * 5}
    page.put({"number": 4})
    with pytest.raises(ValueError, match="does not fit"):
        page.put({"text": "x" * HALF_BYTES})
    assert page.get() == {"number": 4}


def test_time_to_full_at_the_present_rate() -> None:
    trend, limit = SpoolTrend(), 1000
    assert trend.full_in_ns(0, 1, 100, limit) is None
    assert trend.full_in_ns(10 * SECOND_NS, 1, 200, limit) == 80 * SECOND_NS
    assert trend.full_in_ns(20 * SECOND_NS, 1, 50, limit) is None  # it gets emptier
    assert trend.full_in_ns(30 * SECOND_NS, 1, 1000, limit) == 0
    assert trend.full_in_ns(40 * SECOND_NS, 2, 900, limit) is None  # another epoch
    # What was more than a minute ago does not count any more.
    trend = SpoolTrend()
    for second in range(0, 121, 10):
        used = 0 if second <= 60 else (second - 60) * 10
        answer = trend.full_in_ns(second * SECOND_NS, 1, used, limit)
    assert answer == 40 * SECOND_NS


def view(**changes: Any) -> StatusView:
    def running(status: Any) -> ProcessView:
        return judge(report(status), True, 5_000_000, 7)

    parts: dict[str, Any] = {
        "set": "first",
        "checked_wall_ns": 1_700_000_009 * SECOND_NS,
        "source": running(SOURCE),
        "program": running(PROGRAM),
        "spool": SpoolView(3, True, "", 120, 300_000, 16 << 20, 64 << 20),
        "replica": running(REPLICA),
    }
    return StatusView(**(parts | changes))


def test_what_ended_with_a_takeover_says_so_and_nothing_else() -> None:
    down = judge(report(SOURCE, "the replica has taken over"), False, 5_000_000, 7)
    assert view(source=down, fence="promoted").attention() == ["source fenced: promoted"]
    never = judge(None, False, 0, 8)  # the machine was restarted
    assert view(source=never, fence="promoted").attention() == ["source fenced: promoted"]
    assert view(source=down).attention() == ["the source's sender is not running"]


def test_a_full_spool_that_would_hold_a_program_needs_a_look() -> None:
    spool = SpoolView(3, True, "", 120, 300_000, 64 << 20, 64 << 20, holds=True)
    [attention] = view(spool=spool, program=None).attention()
    assert attention.startswith("the spool is full: a program that writes is held")
    held = judge(report(replace(PROGRAM, state="held", cause="a write waits")), True, 0, 7)
    assert view(spool=spool, program=held).attention() == ["a write waits"]


def check(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> None:
    """As much of JSON Schema as the schema uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        for choice in schema["anyOf"]:
            try:
                return check(value, choice, root, where)
            except AssertionError as failure:
                reason = failure
        raise AssertionError(f"{where} fits no choice: {reason}")
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "boolean": bool,
        "null": type(None),
    }
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), where
        assert schema["type"] != "integer" or not isinstance(value, bool), where
    if "properties" in schema:
        assert set(value) == set(schema["required"]) == set(schema["properties"]), where
        for name, inner in schema["properties"].items():
            check(value[name], inner, root, f"{where}.{name}")
    return None


@pytest.mark.parametrize(
    "shown",
    [
        view(),
        view(source=None, program=None, spool=None),
        view(replica=None),
        view(replica=judge(None, False, 0, 7)),
        view(source=judge(report(SOURCE), False, 9 * SECOND_NS, 7)),
        view(replica=judge(report(REPLICA, boot=1), False, 0, 7)),
        view(wish=WishView(WishState.PENDING, 42, 1_700_000_000 * SECOND_NS, SECOND_NS)),
        view(wish=WishView(WishState.OLD, None, None, None)),
    ],
)
def test_the_document_is_as_its_schema_says(shown: StatusView) -> None:
    document = json.loads(json.dumps(shown.to_json()))
    schema = json.loads((ROOT / "docs" / "status.schema.json").read_text(encoding="utf-8"))
    assert schema == status_json_schema(), (
        "renew it: .venv/bin/python -m replicator.status_schema > docs/status.schema.json"
    )
    check(document, schema, schema, "status")
    assert all(isinstance(line, str) and line for line in status_lines(shown))


def test_lines_say_what_is_known_and_what_is_not() -> None:
    text = "\n".join(status_lines(view()))
    for part in (
        "running, process 42",
        "lag       2 s, 20 operations, 160 KiB not durable at the replica",
        "16 MiB of 64 MiB on disk (25 %); full in 1 h at the present rate",
        "epoch 3, 120 operations, by a program",
        "2023-11-14 22:13:20 UTC, 9 s ago by this machine's clock",
        "30 operations ahead of the image",
        "attention   nothing",
    ):
        assert part in text, part
    hung = judge(report(SOURCE), True, 60 * SECOND_NS, 7)
    text = "\n".join(status_lines(view(source=hung)))
    assert "hung, process 42" in text and "1 m ago" in text
    assert "state     unknown; it was streaming" in text
    assert "lag       unknown; at the last report 2 s, 20 operations" in text
    assert "attention   the source's sender is hung" in text
