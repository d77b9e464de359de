"""The log of a process: what is said, in which form, how often."""

from __future__ import annotations

import json
import re

import pytest

from replicator.config_model import LogTable
from replicator.host.event_log import MOST_A_MINUTE, EventLog


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog("source", LogTable())
    log.emit("source_state", ("disconnected", "nobody\nlistens \x1b[2J"))
    log.emit("activity", ("apply",))  # not for operators
    log.emit("source_state", ("connecting", ""))  # below the level
    [line] = lines(capsys)
    time, _, rest = line.partition(" ")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == "warning source: disconnected: nobody listens \\x1b[2J"


def test_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog("replica", LogTable(format="json", level="debug"))
    log.emit("recovered", (3, 120))
    [line] = lines(capsys)
    document = json.loads(line)
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "info",
        "process": "replica",
        "event": "recovered",
        "text": "recovered to operation 120 of epoch 3",
        "values": [3, 120],
    }


def test_what_repeats_is_said_a_few_times_only(capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog("source", LogTable())
    for attempt in range(50):
        log.emit("source_state", ("disconnected", "nobody listens"))
        log.emit("epoch", (attempt,))
    said = lines(capsys)
    assert sum("nobody listens" in line for line in said) == MOST_A_MINUTE
    assert sum("begins" in line for line in said) == 50
