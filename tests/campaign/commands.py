"""The command line within this process, for tests of what it prints and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from replicator.command_line import finish
from simulator.cli import app

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios/campaign.toml"
TINY = ROOT / "scenarios/enumeration.toml"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    errors: str


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    """Run ``simulator`` with these arguments."""
    capsys.readouterr()
    code = finish(app, "simulator", [str(each) for each in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Ended(int(code), captured.out, captured.err)
