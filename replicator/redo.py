"""Carrying out a change of names that may have happened already, wholly or not at all.

The source rolls its last intent forward with it after a crash, the replica applies with it:
doing it twice is the same as doing it once, as long as no other change of names came between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replicator.operation import Operation, OperationKind
from replicator.runtime.port import Volume

NAMES_BEFORE: Final[dict[int, Callable[[Operation], list[tuple[str, bool]]]]] = {
    OperationKind.CREATE: lambda operation: [(operation.name, False)],
    OperationKind.MKDIR: lambda operation: [(operation.name, False)],
    OperationKind.SYMLINK: lambda operation: [(operation.name, False)],
    OperationKind.LINK: lambda operation: [(operation.name, True), (operation.name2, False)],
    OperationKind.RENAME: lambda operation: [(operation.name, True)],
    OperationKind.UNLINK: lambda operation: [(operation.name, True)],
    OperationKind.RMDIR: lambda operation: [(operation.name, True)],
    OperationKind.SET_ATTRIBUTES: lambda operation: [(operation.name, True)],
}
"""Which names must have been there, and which not: any file system refuses the change else."""


def redo_names(volume: Volume, root: str, operation: Operation) -> None:
    """Do what ``operation`` does to names below ``root``; operations on content do nothing.

    Plain calls only; raises StorageError.  A rename between two names of one file, which POSIX
    leaves alone, must not come here (:meth:`Catalogue.changes_nothing`): a file with both
    names is taken for one whose power went away between two directories.
    """
    kind = operation.kind
    path, path2 = root + operation.name, root + operation.name2
    if kind == OperationKind.CREATE:
        if not volume.exists(path):
            volume.create(path).close()
    elif kind == OperationKind.MKDIR:
        if not volume.exists(path):
            volume.mkdir(path)
    elif kind == OperationKind.SYMLINK:
        if not volume.exists(path):
            volume.symlink(operation.name2, path)
    elif kind == OperationKind.LINK:
        if not volume.exists(path2):
            volume.link(path, path2)
    elif kind == OperationKind.RENAME:
        if volume.exists(path):
            volume.rename(path, path2)
            if volume.exists(path):
                volume.unlink(path)
    elif kind == OperationKind.UNLINK:
        if volume.exists(path):
            volume.unlink(path)
    elif kind == OperationKind.RMDIR:
        if volume.exists(path):
            volume.rmdir(path)
    elif kind == OperationKind.SET_ATTRIBUTES:
        volume.set_attributes(path, operation.offset)
