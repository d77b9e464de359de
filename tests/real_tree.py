"""A directory of real files as a value that can be compared."""

from __future__ import annotations

import os
from pathlib import Path


def tree(directory: Path) -> dict[str, bytes | str | None]:
    """All below a directory: content of files, targets of links, None for directories."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found
