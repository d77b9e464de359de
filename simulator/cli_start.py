"""Where the console command ``simulator`` starts; see :mod:`replicator.cli_start`."""

from __future__ import annotations

from replicator.cli_start import start


def main() -> None:
    """The command ``simulator``."""
    start("simulator.cli")
