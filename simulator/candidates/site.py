"""What the bench tells a candidate about the place where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.candidates.failure import CandidateFailed

if TYPE_CHECKING:
    from simulator.candidates.files import Files


@dataclass(frozen=True, slots=True)
class InDoubt:
    """What ``recover()`` returns of an image that is of no use until it was repaired.

    A replicator that tells is better than one that does not; the doubt itself counts against it,
    unless a fault explains it.
    """

    why: str


def image_directory(returned: object) -> str:
    """The directory that ``recover()`` returned; empty for where the image always is.

    Raises CandidateFailed for what names no directory of a volume.
    """
    if returned is None or returned == "":
        return ""
    if isinstance(returned, str):
        names = returned.split("/")
        if names[0] == "" and len(names) > 1 and not {"", ".", ".."} & set(names[1:]):
            return returned
    raise CandidateFailed(
        f"the candidate's recover() returned {_shown(returned)}, which names no directory",
        remedy='Return None, a text such as "/replica/other", or InDoubt("why").',
    )


def claimed_operation(returned: object) -> tuple[int, int] | None:
    """The epoch and the operation that ``claim()`` returned; None for no claim.

    Raises CandidateFailed for anything else.
    """
    match returned:
        case None:
            return None
        case (int() as epoch, int() as operation):
            if not isinstance(epoch, bool) and not isinstance(operation, bool):
                return epoch, operation
    raise CandidateFailed(
        f"the candidate's claim() returned {_shown(returned)}, which is no operation",
        remedy="Return None, or the two whole numbers (epoch, operation).",
    )


def _shown(value: object) -> str:
    return f"{value!r}"[:80]


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
