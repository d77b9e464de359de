"""A volume over a volume: everything is handed on, until a subclass says otherwise."""

from __future__ import annotations

from typing import Any

from replicator.runtime.port import File, Lock, SharedPage, Stat, Volume


class VolumeOver:
    """Implements ``replicator.runtime.port.Volume`` by the volume ``below``.

    All changes of names but ``create`` go through :meth:`change_names`.
    """

    def __init__(self, below: Volume) -> None:
        self.below = below

    @property
    def name(self) -> str:
        return self.below.name

    @property
    def root(self) -> str:
        return self.below.root

    # -- changes of names ----------------------------------------------------------

    def change_names(self, call: str, paths: tuple[str, ...], *arguments: Any) -> Any:
        """Carry out a call that changes names; ``paths`` are the names it changes."""
        return getattr(self.below, call)(*arguments)

    def create(self, path: str) -> File:
        return self.below.create(path)

    def rename(self, old: str, new: str) -> None:
        self.change_names("rename", (old, new), old, new)

    def unlink(self, path: str) -> None:
        self.change_names("unlink", (path,), path)

    def link(self, old: str, new: str) -> None:
        self.change_names("link", (old, new), old, new)

    def symlink(self, target: str, path: str) -> None:
        self.change_names("symlink", (path,), target, path)

    def mkdir(self, path: str) -> None:
        self.change_names("mkdir", (path,), path)

    def rmdir(self, path: str) -> None:
        self.change_names("rmdir", (path,), path)

    def set_attributes(self, path: str, attributes: int) -> None:
        self.change_names("set_attributes", (path,), path, attributes)

    # -- the rest ------------------------------------------------------------------

    def open(self, path: str, read_only: bool = False) -> File:
        return self.below.open(path, read_only)

    def list(self, path: str) -> list[str]:
        return self.below.list(path)

    def stat(self, path: str) -> Stat:
        return self.below.stat(path)

    def exists(self, path: str) -> bool:
        return self.below.exists(path)

    def free_bytes(self) -> int:
        return self.below.free_bytes()

    def lock(self, path: str) -> Lock:
        return self.below.lock(path)

    def shared_page(self, path: str, size_bytes: int) -> SharedPage:
        return self.below.shared_page(path, size_bytes)

    async def sync_directory(self, path: str) -> None:
        await self.below.sync_directory(path)

    async def admit(self, size_bytes: int, writes: int = 1) -> None:
        await self.below.admit(size_bytes, writes)
