"""A candidate that is a class over the port: its coroutines run as ours do.

The class, whose methods all take ``(self, runtime, volume, site)``::

    async def source(...)    # required: the source's end; ``volume`` is that of the programs
    async def replica(...)   # required: the replica's end; the copy goes below ``site.image``
    def tap(...)             # a volume over ``volume`` through which the programs write;
                             # may be a coroutine: the programs wait for it
    async def recover(...)   # what its service does at a restart before the image can be used;
                             # may return another directory that the image is in, or InDoubt
    async def claim(...)     # after recover(): (epoch, operation) that the image is of, or None
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from replicator.runtime import group
from replicator.runtime.port import Volume
from simulator.candidates.failure import CandidateFailed, told, told_of_theirs
from simulator.candidates.site import InDoubt, Site, claimed_operation, image_directory
from simulator.host import Host
from simulator.systems.candidate import CandidateSystem, Image


class PortClass:
    """The adapter of such a class.

    Arguments
    ---------
    made: the class.
    site: of both ends.
    judged_from_start: see :class:`simulator.systems.candidate.Adapter`.
    """

    def __init__(
        self,
        made: type,
        site: Callable[[CandidateSystem], Site],
        judged_from_start: bool,
    ) -> None:
        self._class = made
        self._site_of = site
        self.judged_from_start = judged_from_start
        self.has_tap = hasattr(made, "tap")
        self.recovers = hasattr(made, "recover") or hasattr(made, "claim")
        self.claims = hasattr(made, "claim")

    def prepare(self, system: CandidateSystem) -> None:
        self._site = self._site_of(system)

    async def _made(self) -> Any:
        async def make() -> Any:
            return self._class()

        return await told(make, "constructor")

    async def source_with_tap(
        self, host: Host, programs: Callable[[Volume], Awaitable[None]]
    ) -> None:
        candidate, volume = await self._made(), host.volume("data")

        async def tap() -> Any:
            given = candidate.tap(host, volume, self._site)
            return await given if inspect.isawaitable(given) else given

        tapped = await told(tap, "tap()")
        if not isinstance(tapped, Volume):
            raise CandidateFailed(
                f"the candidate's tap() returned {type(tapped).__name__}, not a volume",
                remedy="Return an object with all methods of replicator.runtime.port.Volume, for "
                "instance a subclass of replicator.runtime.volume_over.VolumeOver.",
            )
        async with group() as g:
            g.spawn(told(lambda: candidate.source(host, volume, self._site), "source()"), "source")
            await told_of_theirs(programs(tapped), "tap")

    async def source(self, host: Host) -> None:
        candidate = await self._made()
        await told(lambda: candidate.source(host, host.volume("data"), self._site), "source()")

    async def replica(self, host: Host) -> None:
        candidate = await self._made()
        await told(lambda: candidate.replica(host, host.volume("data"), self._site), "replica()")

    async def recover(self, host: Host) -> Image:
        if not self.recovers:
            return Image()
        candidate, volume = await self._made(), host.volume("data")
        root, operation = None, None
        if hasattr(candidate, "recover"):
            root = await told(lambda: candidate.recover(host, volume, self._site), "recover()")
        if self.claims:
            claim = await told(lambda: candidate.claim(host, volume, self._site), "claim()")
            operation = claimed_operation(claim)
        if isinstance(root, InDoubt):
            return Image("", operation, root.why)
        return Image(image_directory(root), operation)

    def close(self) -> None:
        """Nothing is left behind."""
