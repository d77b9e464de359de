"""The final files of a run's machines, made real: for the tools that look into directories.

``simulator run --keep DIR`` leaves what an operator would find on two hosts::

    DIR/source    the source's spool: segments/, source.a, source.b
    DIR/replica   the replica: journal/, checkpoint.a, checkpoint.b, staging/, image/

Files are as the machine's programs saw them at the end of the run.  They are written block by
block and keep their holes, beside the target first, so that DIR never holds half of them.
A machine that was lost in the run has left nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from replicator.errors import BadInput
from replicator.units import format_bytes
from simulator.blocks import BLOCK_BYTES, all_keys
from simulator.inode import Inode
from simulator.namespace import Directory, Node, Symlink
from simulator.report.output import check_new_directory_target, directory_for
from simulator.run import ScenarioRun
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.systems.interface import KeptTree

OPTION = "--keep"
Progress = Callable[[int, int], None]
"""Called with (bytes written, bytes in all)."""


def _nodes(tree: KeptTree) -> Iterator[tuple[str, Node]]:
    """Path below the tree's root, and what stands there; directories first."""
    for path, node in tree.disk.names.walk(tree.root):
        yield path.removeprefix(tree.root).lstrip("/"), node


def keep_files(run: ScenarioRun, directory: Path, progress: Progress) -> dict[str, Path | None]:
    """Writes the files of a run that has ended; where each machine's are, None when it is lost.

    Raises BadInput when the directory is not empty, or has no room.
    """
    trees = list(run.system.kept())
    total_bytes = sum(_held_bytes(node) for tree in trees for _, node in _nodes(tree))
    check_new_directory_target(directory, OPTION)
    with directory_for(directory, OPTION):
        free_bytes = shutil.disk_usage(directory).free
        if total_bytes > free_bytes:
            raise BadInput(
                f"{OPTION} needs {format_bytes(total_bytes)}, {format_bytes(free_bytes)} are free",
                path=str(directory),
                remedy=f"Give {OPTION} a directory on a volume with more room.",
            )
        partial = directory / f".partial.{os.getpid()}"
        try:
            _write_trees(trees, partial, total_bytes, progress)
            for each in sorted(partial.iterdir()):
                each.rename(directory / each.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    kept = {tree.target for tree in trees}
    return {name: directory / name if name in kept else None for name in (SOURCE, REPLICA)}


def _held_bytes(node: Node) -> int:
    return node.held_blocks * BLOCK_BYTES if isinstance(node, Inode) else 0


def _write_trees(trees: list[KeptTree], target: Path, total_bytes: int, progress: Progress) -> None:
    written_bytes = 0
    target.mkdir()
    for tree in trees:
        (target / tree.target).mkdir(exist_ok=True)
        for name, node in _nodes(tree):
            place = target / tree.target / name
            if isinstance(node, Directory):
                place.mkdir(parents=True, exist_ok=True)
            elif isinstance(node, Symlink):
                place.symlink_to(node.target)
            else:
                for size in _write_file(node, place):
                    written_bytes += size
                    progress(written_bytes, total_bytes)


def _write_file(inode: Inode, place: Path) -> Iterator[int]:
    """Writes one file; yields the bytes of each block on the way."""
    blocks = inode.blocks
    with place.open("xb") as file:
        for number in sorted(all_keys(blocks)):
            block = blocks.get(number)
            if block and block.strip(b"\0"):
                file.seek(number * BLOCK_BYTES)
                file.write(block)
            if block:
                yield BLOCK_BYTES
        file.truncate(inode.size)
