"""What the documentation says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replicator.protocol import TRANSITIONS, Role, State
from replicator.protocol_page import protocol_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_protocol_page_is_drawn_from_the_table() -> None:
    assert (ROOT / "docs/protocol.md").read_text(encoding="utf-8") == protocol_page()


def test_every_state_of_the_protocol_can_be_reached_and_left() -> None:
    reached = {State.OPEN}
    while (
        more := {following for (state, _, _), following in TRANSITIONS.items() if state in reached}
        - reached
    ):
        reached |= more
    assert reached == set(State)
    assert {state for state, _, _ in TRANSITIONS} == set(State) - {State.CLOSED}
    assert {role for _, role, _ in TRANSITIONS} == set(Role)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for name in re.findall(r"`((?:replicator|simulator|tests|scenarios|docs)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_commands_in_the_readme_exist() -> None:
    from typer.main import get_command

    import replicator.cli
    import simulator.cli

    commands = {
        "simulator": get_command(simulator.cli.app),
        "replicator": get_command(replicator.cli.app),
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"\.venv/bin/(simulator|replicator)((?: [a-z][a-z-]*)+)", text)
    assert found
    for program, words in found:
        command = commands[program]
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"{program} {words}"
            command = command.commands[word]
