"""A program that sets a file's size only where it looks wrong: what recovery must not be."""

from __future__ import annotations

import pytest

from simulator.volume import SimFile


def truncate_where_it_looks_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a size that the cache shows already is not set again."""
    truncate = SimFile.truncate

    def lazily(file: SimFile, size_bytes: int) -> None:
        if file.inode.size != size_bytes:
            truncate(file, size_bytes)

    monkeypatch.setattr(SimFile, "truncate", lazily)
