"""The unit for systemd in docs/operating.md: what passes by itself is tried again, no more."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from replicator.config import load_configuration
from replicator.errors import (
    BadInput,
    CannotListen,
    ExitCode,
    ForeignLog,
    NoDirectory,
    ReplicatorError,
    ServiceRuns,
    SourceFenced,
    SyncFailed,
)
from replicator.units import NS_PER_SECOND

DOCS = Path(__file__).resolve().parents[1] / "docs"
PREVENT = "RestartPreventExitStatus"


def unit() -> ConfigParser:
    page = (DOCS / "operating.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```ini\n(.*?)```", page, re.S)
    parser = ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def stays_down() -> set[int]:
    return {int(code) for code in unit()["Service"][PREVENT].split()}


@pytest.mark.parametrize("passes", [NoDirectory, CannotListen, ServiceRuns, SyncFailed])
def test_what_a_restart_may_heal_is_tried_again_without_end(passes: type[ReplicatorError]) -> None:
    service = unit()["Service"]
    assert service["Restart"] == "on-failure"
    assert int(service["RestartSec"]) > 0
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"
    assert passes.exit_code not in {ExitCode.PASS, *stays_down()}


@pytest.mark.parametrize("stays", [BadInput, ForeignLog, SourceFenced])
def test_what_no_restart_heals_is_left_alone(stays: type[ReplicatorError]) -> None:
    assert stays.exit_code in stays_down()
    assert ExitCode.NOT_DRAINED in stays_down()  # it was asked to stop


def test_it_waits_for_network_and_volumes_and_comes_up_with_the_machine() -> None:
    parts = unit()
    assert parts["Unit"]["After"] == parts["Unit"]["Wants"] == "network-online.target"
    source = load_configuration(DOCS / "replicator.toml").source()
    mounts = parts["Unit"]["RequiresMountsFor"].split()
    assert mounts == [source.directory, source.spool.directory]
    assert int(parts["Service"]["TimeoutStopSec"]) * NS_PER_SECOND > source.drain_ns
    assert int(parts["Service"]["LimitNOFILE"]) > 1024
    assert parts["Install"]["WantedBy"] == "multi-user.target"


def test_the_page_of_exit_codes_says_the_same() -> None:
    page = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    [codes] = re.findall(PREVENT + r"=([\d ]+)", page)
    assert {int(code) for code in codes.split()} == stays_down()
