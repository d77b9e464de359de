"""A sync of the replica fails in the midst of a synchronization, and it dies of that.

What it had staged reads well from then on and is not on the medium.  The next process goes on
with it, commits, and the power fails before the new image is written: what was committed must
be there.
"""

from __future__ import annotations

import pytest

from simulator.host import lose_everything
from simulator.systems.byte_level import REPLICA
from tests.failures.worlds import MS, Event, FailureWorld, blocks, payload, void

FILES = {
    "/big": b"".join(payload(n + 1) for n in range(128)),
    "/small": payload(900, 3000),
    "/holes": bytes(300_000) + payload(901) + bytes(300_000),
}


class FailingWorld(FailureWorld):
    """Fails one sync of the replica; power goes at a step of the switch to the new image."""

    def __init__(self, number: int, step_of_switch: int) -> None:
        super().__init__(blocks("/db", 0, 40), files=FILES)
        self.failed_path = ""
        self.switched = False
        disk = self.disk(REPLICA)
        syncs = 0

        def fails(path: str) -> bool:
            nonlocal syncs
            syncs += 1
            if syncs == number:
                self.failed_path = path
                disk.on_crash = self.process_dies
                disk.crash_at_step = 0  # the process dies of it
            return syncs == number

        def at_the_switch(event: Event) -> None:
            switches = self.system.replica is not None and (
                self.store.committed_epoch > self.store.epoch
            )
            if event[1:] == (REPLICA, "activity", ("resynchronize",)) and switches:
                self.on_event = None
                self.switched = True
                disk.on_crash = self.power_fails
                disk.crash_at_step = disk.steps + step_of_switch

        disk.sync_fails = fails
        self.on_event = at_the_switch

    @property
    def has_an_image(self) -> bool:
        return self.system.replica is not None and self.store.epoch > 0

    def process_dies(self) -> None:
        self.note_acknowledged()
        self.system.replica_machine.crash_process()
        self.system.replica = None
        self.oracle.judge(self.world.machine(REPLICA).disks, None, "crash", self.clock.now())
        self.clock.at(self.clock.now() + 5 * MS, lambda: void(self.system.start_replica()))

    def power_fails(self) -> None:
        self.replica_loses_power(choose=lose_everything)


@pytest.mark.parametrize("step_of_switch", [1, 6])
def test_what_is_committed_is_there(step_of_switch: int) -> None:
    number, of_staging = 0, set[str]()
    while True:
        number += 1
        world = FailingWorld(number, step_of_switch).start()
        world.run_until(lambda w=world: w.switched or w.has_an_image)
        failed = world.failed_path
        world.run_until(lambda w=world: w.system.replica is not None)
        world.converge()
        world.close()
        if not failed:
            break
        if failed.startswith("/replica/staging/"):
            of_staging.add(failed.rpartition(".")[2])
    assert {"pages", "index"} <= of_staging, "no sync of what is staged has failed"
