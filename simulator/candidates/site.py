"""What the bench tells a candidate about the place where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.candidates.files import Files


@dataclass(frozen=True, slots=True)
class InDoubt:
    """What ``recover()`` returns of an image that is of no use until it was repaired.

    A replicator that tells is better than one that does not; the doubt itself counts against it,
    unless a fault explains it.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Site:
    """Paths, address and options; the same at both ends.

    Arguments
    ---------
    root: directory of the protected set in the source's volume.
    image: directory in which the replica's volume must hold the copy.
    address: where the replica listens, as ``replica:7000``.
    options: ``[candidate.options]`` of the scenario.
    operation: epoch (boot of the source's machine) and number of the operation that the source's
        programs did last; asked inside a tap's call it is the one *before* that call.
    files: of a candidate of kind ``program``: the volume of its machine, without awaits.
    emit: of such a candidate: reports an event for the timeline, as ``runtime.emit`` does.
    """

    root: str
    image: str
    address: str
    options: Mapping[str, Any]
    operation: Callable[[], tuple[int, int]]
    files: Files | None = None
    emit: Callable[..., None] | None = None

    @property
    def host(self) -> str:
        """The replica's name, for ``asyncio.open_connection``."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port that the replica listens on."""
        return int(self.address.rpartition(":")[2])
