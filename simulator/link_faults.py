"""Faults of the emulated link: cuts, resets, other figures for a while, bytes that flip.

Each tells :class:`~simulator.fault_marks.FaultMarks` when it really happened.  Bytes are
flipped where they are put on the wire, behind the transport's checksum; a flip that is due
while nothing is sent befalls what is sent next, be it later than the fault was to last; one
for which nothing comes at all is told.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from replicator.units import spell_duration
from simulator.fault_marks import FaultMarks, Mark
from simulator.host import World
from simulator.link import Direction, Directions, Link
from simulator.scenario_faults import (
    LinkBandwidth,
    LinkCorruption,
    LinkFault,
    LinkLatency,
    LinkLoss,
    LinkOutage,
    LinkReset,
)

_DIRECTIONS: Final[dict[str, Directions]] = {
    "both": "both",
    "to_replica": "to_b",
    "to_source": "to_a",
}


class LinkFaults:
    """Carries out what befalls the link.

    Arguments
    ---------
    world, link: the link runs from source (a) to replica (b).
    marks: where each is noted.
    struck: called as ``struck("link_outage", "link")`` just before an outage ends.
    """

    def __init__(
        self,
        world: World,
        link: Link,
        marks: FaultMarks,
        struck: Callable[[str, str], None],
        seed: int,
    ) -> None:
        self._world = world
        self._seed = seed
        self._link = link
        self._marks = marks
        self._struck = struck
        self._corruptions: list[Corruption] = []
        self._count = 0

    def begin(self, fault: LinkFault) -> None:
        """It happens, or begins, now."""
        if isinstance(fault, LinkOutage):
            self._outage(fault)
        elif isinstance(fault, LinkReset):
            self._marks.instant("link_reset", "link")
            self._link.reset()
        elif isinstance(fault, LinkCorruption):
            self._corrupt(fault)
        else:
            end, note = self._override(fault)
            self._marks.lasting(fault.kind, "link", fault.duration_ns, end, note)

    def _override(
        self, fault: LinkBandwidth | LinkLatency | LinkLoss
    ) -> tuple[Callable[[], None], str]:
        if isinstance(fault, LinkBandwidth):
            return self._link.override_bandwidth(fault.bits_per_second), ""
        if isinstance(fault, LinkLatency):
            return self._link.override_rtt(fault.rtt_ns), f"RTT {spell_duration(fault.rtt_ns)}"
        return self._link.override_loss(fault.loss), f"{100 * fault.loss:g}% of the packets"

    def _outage(self, fault: LinkOutage) -> None:
        direction = _DIRECTIONS[fault.direction]
        self._link.partition(direction)

        def heal() -> None:
            self._struck("link_outage", "link")  # what would have been lost until now?
            self._link.heal(direction)

        self._marks.lasting("link_outage", "link", fault.duration_ns, heal)

    # -- bytes that flip -------------------------------------------------------------

    def _corrupt(self, fault: LinkCorruption) -> None:
        self._count += 1
        random = Random(f"{self._seed}/link corruption/{self._count}")
        corruption = Corruption(fault, self._world.clock.now(), random)
        self._corruptions.append(corruption)
        self._listen()

        corruption.mark = self._marks.lasting(
            "link_corruption", "link", fault.duration_ns, lambda: None, "0 bytes"
        )

    def over(self) -> None:
        """The run has ended: what has not flipped a single byte has not happened."""
        for each in self._corruptions:
            if len(each.due_ns) == each.fault.count:
                each.due_ns.clear()
                self._marks.withdraw(each.mark, each.fault, "nothing was sent any more")

    @property
    def still_waiting(self) -> list[str]:
        """Flips that found nothing under way, in words."""
        return [
            f"{len(each.due_ns)} of the {each.fault.count} bytes to be flipped from "
            f"{spell_duration(each.fault.at_ns)} on never were: nothing was sent any more"
            for each in self._corruptions
            if each.due_ns
        ]

    def _listen(self) -> None:
        """Hear of what is sent, while there is anything to flip and no longer."""
        directions: tuple[Direction, ...] = ("to_a", "to_b")
        for direction in directions:
            wanted = any(each.concerns(direction) for each in self._corruptions)
            hook = self._hook(direction) if wanted else None
            self._link.corrupt(direction, hook)

    def _hook(self, direction: Direction) -> Callable[[int, bytes], bytes]:
        def passes(_number: int, data: bytes) -> bytes:
            done = False
            for each in self._corruptions:
                if each.concerns(direction):
                    data = each.flip(self._world.clock.now(), data)
                    done = done or not each.due_ns
            if done:
                self._listen()
            return data

        return passes


class Corruption:
    """The flips of one fault that are still due.

    Arguments
    ---------
    now_ns: when it begins.
    random: draws the instants and the bytes.
    """

    mark: Mark

    def __init__(self, fault: LinkCorruption, now_ns: int, random: Random) -> None:
        self.fault = fault
        self._direction = _DIRECTIONS[fault.direction]
        self._random = random
        self.due_ns = sorted(
            now_ns + random.randrange(fault.duration_ns) for _ in range(fault.count)
        )

    def concerns(self, direction: Direction) -> bool:
        """Whether anything that is sent this way may still be hit."""
        return bool(self.due_ns) and self._direction in ("both", direction)

    def flip(self, now_ns: int, data: bytes) -> bytes:
        """What arrives in place of ``data``."""
        while self.due_ns and self.due_ns[0] <= now_ns:
            self.due_ns.pop(0)
            at = self._random.randrange(len(data))
            flipped = data[at] ^ (1 + self._random.randrange(255))
            data = data[:at] + bytes([flipped]) + data[at + 1 :]
            self.mark.note = f"{self.fault.count - len(self.due_ns)} bytes"
        return data
