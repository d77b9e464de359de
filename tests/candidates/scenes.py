"""A short scenario with a candidate, for tests."""

from __future__ import annotations

from pathlib import Path

from simulator.scenario import Scenario, load_scenario

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "scenarios" / "candidates"

SCENE = """\
name = "candidate"
duration = "1s"
settle = "2s"
sample = "100ms"

[candidate]
{candidate}

[stream]
kind = "store"
messages = "2/s"
message_size = "5KiB"
mailboxes = 3
log_size = "64KiB"
checkpoint_depth = "128KiB"
database_size = "2MiB"

[source]
restart = "300ms"
disk = {{ profile = "ssd", sector = 8192 }}

[replica]
restart = "300ms"
disk = {{ profile = "ssd" }}

[link]
bandwidth = "20Mbit/s"
rtt = "10ms"
"""


def scene_file(directory: Path, candidate: str, module: str = "") -> Path:
    """Write the scenario, and ``mine.py`` beside it."""
    (directory / "mine.py").write_text(module)
    path = directory / "scene.toml"
    path.write_text(SCENE.format(candidate=candidate))
    return path


def scene(directory: Path, candidate: str, module: str = "", *overrides: str) -> Scenario:
    """The scenario, checked."""
    return load_scenario(scene_file(directory, candidate, module), overrides)


def running_with(marker: str) -> list[bytes]:
    """The command lines of this machine's processes that hold a text."""
    running = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in words:
            running.append(words)
    return running
