"""Memory that the processes of one emulated machine share, behind the port.

Models: stores are seen by every process at once and outlive the process that made them; a
power loss leaves zeros.  Leaves out: the delay between two processors' caches, pages that
survive a power loss as a file would.
"""

from __future__ import annotations

from typing import Protocol

from replicator.runtime.channels import Signal


class Holder(Protocol):
    """Who has mounted the disk: a host incarnation, dead or alive."""

    @property
    def dead(self) -> bool: ...

    def charge_ns(self, time_ns: int) -> None:
        """Book processor time."""


class PageMemory:
    """One page of a machine, and who listens to its bells."""

    def __init__(self, size_bytes: int) -> None:
        self.bytes = bytearray(size_bytes)
        self.listeners: dict[int, list[tuple[Holder, Signal]]] = {}

    def lose_power(self) -> None:
        """Zeros again; whoever listened is gone."""
        self.bytes[:] = bytes(len(self.bytes))
        self.listeners.clear()


class SimSharedPage:
    """A page as one process sees it; see the port's ``SharedPage``."""

    def __init__(self, page: PageMemory, holder: Holder) -> None:
        self._page = page
        self._holder = holder
        self._bells: dict[int, Signal] = {}
        self.memory = page.bytes
        self.words = memoryview(page.bytes).cast("Q")

    def ring(self, bell: int) -> None:
        for holder, signal in self._page.listeners.get(bell, []):
            if not holder.dead:
                signal.notify()

    def bell(self, bell: int) -> Signal:
        signal = self._bells.get(bell)
        if signal is None:
            signal = self._bells[bell] = Signal()
            listeners = self._page.listeners.setdefault(bell, [])
            listeners[:] = [entry for entry in listeners if not entry[0].dead]
            listeners.append((self._holder, signal))
        return signal

    def close(self) -> None:
        for bell, signal in self._bells.items():
            listeners = self._page.listeners.get(bell, [])
            listeners[:] = [entry for entry in listeners if entry[1] is not signal]
        self._bells.clear()
