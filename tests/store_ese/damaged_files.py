"""Files of a store that are damaged, and what ``replicator ese verify`` says of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from replicator.ese_report import verify_file
from simulator.exchange.ese.corruption import Damage, inflict
from tests.store.memory_volume import Inode, Medium
from tests.store_ese.engine_harness import DIRECTORY, Life, new_medium, run

Files = Mapping[str, bytes]
NOT_FOUND: Final = "**not found**"
"""Nothing is said, and rows are missing or others."""
WHOLE: Final = "all there"
"""Nothing is said, and rightly so: every row is as it was."""
SILENT: Final = "nothing"
"""Nothing is said by what does not look at rows."""


@dataclass(frozen=True)
class Case:
    """One damage.

    Arguments
    ---------
    title: what happened, for the table.
    damage: for a store's files; several where one alone says nothing.
    version: of the store.
    at_rest: also asked of a store that was shut down; else of a dead one only.
    dead: also asked of a store whose process died.
    """

    title: str
    damage: Callable[[Files], list[Damage]]
    version: str = "exchange 2007"
    at_rest: bool = True
    dead: bool = True


def medium_of(files: Files) -> Medium:
    """All of it durable."""
    medium = new_medium()
    for name, data in files.items():
        medium.inodes += 1
        inode = Inode(medium.inodes, bytearray(data), bytes(data))
        path = f"{DIRECTORY}/{name}"
        medium.names[path] = medium.durable_names[path] = inode
    return medium


def files_of(medium: Medium) -> dict[str, bytes]:
    return {
        path.removeprefix(f"{DIRECTORY}/"): data
        for path, data in medium.digest(f"{DIRECTORY}/").items()
    }


def damaged(files: Files, damages: list[Damage]) -> dict[str, bytes]:
    """The files afterwards."""
    medium = medium_of(files)

    async def script(life: Life) -> None:
        for each in damages:
            await inflict(life.volume, DIRECTORY, each)  # type: ignore[arg-type]

    life = run(medium, script)
    assert life.error is None, life.error
    return files_of(medium)


def numbers(errors: Any) -> str:
    return ", ".join(dict.fromkeys(str(error.number) for error in errors))


def verified(files: Files, names: list[str], *, contents: bool) -> str:
    """``replicator ese verify``, of the files that were damaged."""
    said = []
    with tempfile.TemporaryDirectory() as place:
        for name, data in files.items():
            Path(place, name).write_bytes(data)
        for name in names:
            if name not in files:
                continue
            found = verify_file(
                Path(place, name), contents=contents, progress=lambda done, total: None
            )
            if found.verdict == "mendable":
                said.append("mendable")
            elif found.verdict != "sound":
                said.append(numbers(found.findings))
    return ", ".join(said) or SILENT
