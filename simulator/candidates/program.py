"""A candidate that is an ordinary asyncio program: one coroutine function for each end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from replicator.runtime.port import Volume
from simulator.candidates.event_loop import SimulatedLoop
from simulator.candidates.failure import told
from simulator.candidates.files import Files
from simulator.candidates.site import InDoubt, Site, image_directory
from simulator.host import Host
from simulator.systems.candidate import CandidateSystem, Image

End = Callable[[Site], Coroutine[Any, Any, Any]]


class Program:
    """The adapter of such a program.

    Arguments
    ---------
    source, replica: its ends.
    recover: what its service does at a restart; None for nothing.
    """

    has_tap = False
    claims = False

    def __init__(
        self,
        source: End,
        replica: End,
        recover: End | None,
        site: Callable[[CandidateSystem], Site],
        judged_from_start: bool,
    ) -> None:
        self._source = source
        self._replica = replica
        self._recover = recover
        self._site_of = site
        self.judged_from_start = judged_from_start
        self.recovers = recover is not None

    def prepare(self, system: CandidateSystem) -> None:
        self._site = self._site_of(system)

    async def _run(self, host: Host, end: End, what: str) -> Any:
        site = replace(self._site, files=Files(host), emit=host.emit)
        return await told(lambda: SimulatedLoop(host).run(end(site)), what)

    async def source_with_tap(
        self, host: Host, programs: Callable[[Volume], Awaitable[None]]
    ) -> None:
        raise NotImplementedError("a program has no tap")

    async def source(self, host: Host) -> None:
        await self._run(host, self._source, "source()")

    async def replica(self, host: Host) -> None:
        await self._run(host, self._replica, "replica()")

    async def recover(self, host: Host) -> Image:
        if self._recover is None:
            return Image()
        found = await self._run(host, self._recover, "recover()")
        if isinstance(found, InDoubt):
            return Image(doubt=found.why)
        return Image(image_directory(found))

    def close(self) -> None:
        """Nothing is left behind."""
