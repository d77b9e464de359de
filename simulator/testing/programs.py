"""A source's programs that do what they are told, one step after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from replicator.errors import SpoolFull, StorageError, SyncFailed
from replicator.runtime import Signal
from replicator.runtime.port import Runtime, Volume
from simulator.exchange.ledger import Ledger

Step = Callable[[Volume], Any]
"""Calls of the source's volume, below ``root``."""

ROOT = "/data"


class ToldPrograms:
    """The workload of a world that is led by hand.

    Steps that wait when the source goes down are carried out when its programs run again; one
    that was underway counts as done, whatever part of it was.
    """

    root = ROOT
    ledger: Ledger | None = None

    def __init__(self) -> None:
        self._waiting: deque[tuple[Step, int]] = deque()
        self._told = Signal()
        self.refused: list[StorageError | SpoolFull] = []
        """What the volume answered to steps that it did not carry out."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self._waiting

    def tell(self, step: Step, size_bytes: int) -> None:
        """Have a step carried out that writes so many bytes."""
        self._waiting.append((step, size_bytes))
        self._told.notify()

    async def run(self, runtime: Runtime, volume: Volume, until_ns: int) -> None:
        """The programs' process; it goes on for ever."""
        self._told = Signal()  # of this process: nobody wakes the dead
        while True:
            while self._waiting:
                step, size_bytes = self._waiting[0]
                try:
                    await volume.admit(size_bytes)
                    self._waiting.popleft()
                    step(volume)
                except SyncFailed:
                    raise
                except (StorageError, SpoolFull) as refusal:
                    self.refused.append(refusal)
                    if self._waiting and self._waiting[0][0] is step:
                        self._waiting.popleft()
            await self._told

    async def mounts(self, *_arguments: Any, **_named: Any) -> None:
        """There is nothing to mount: the files are judged by their bytes."""
        return None
