"""An operator's slip: the source is set up for the replica of another protected set.

That replica has the other set's name, and an image of its own.  Whoever calls with another
name is told so and turned away; nothing of the image may change.
"""

from __future__ import annotations

from random import Random
from typing import Final

from replicator.replica import Replica
from replicator.replica_options import ReplicaOptions
from replicator.replica_store import ReplicaStore
from simulator.device import INSTANT
from simulator.digest import image_digest
from simulator.host import Host
from simulator.link import Link
from simulator.systems.byte_level import REPLICA_ADDRESS, REPLICA_ROOT, SOURCE, ByteLevelSystem

OTHER: Final = "other replica"
OTHER_ADDRESS: Final = f"{OTHER}:7000"
_SET_ID: Final = "second storage group"
_FILE_BYTES: Final = 256 << 10


class ReplicaOfAnotherSet:
    """The machine, the way to it, and its replicator.

    Arguments
    ---------
    system: whose source takes it for its replica.
    link: what its own way there is like.
    """

    def __init__(self, system: ByteLevelSystem, link: Link) -> None:
        self._system = system
        world = system.world
        self._machine = machine = world.machine(OTHER)
        machine.add_disk("data", INSTANT)
        assert world.network is not None
        world.network.add_link(
            Link(world.clock, SOURCE, OTHER, link.model, world.random("jitter to another replica"))
        )
        host = machine.start()
        volume = host.volume("data")
        for directory in (REPLICA_ROOT, f"{REPLICA_ROOT}/image"):
            volume.mkdir(directory)
        content = Random(f"{world.seed}/{OTHER}").randbytes(_FILE_BYTES)
        volume.create(f"{REPLICA_ROOT}/image/priv2.edb").write_at(0, content)
        self._digest = self._image()
        host.start(self._main(host), OTHER)

    def _image(self) -> int:
        return image_digest(self._machine.disks["data"], f"{REPLICA_ROOT}/image")

    def aim(self) -> None:
        """Restart the sender with this one's address."""
        self._system.set_up_sender(OTHER_ADDRESS)

    def correct(self) -> None:
        """Restart the sender with its own replica's address."""
        self._system.set_up_sender(REPLICA_ADDRESS)

    @property
    def defect(self) -> str:
        """What was done to the other set's replica; empty when nothing was."""
        if self._machine.failure is not None:
            return f"the replica of another set died of a foreign source: {self._machine.failure}"
        if self._image() != self._digest:
            return "a source of another set has changed the image of a replica"
        return ""

    async def _main(self, host: Host) -> None:
        volume, options = host.volume("data"), self._system.options.source
        store = ReplicaStore(
            host, volume, REPLICA_ROOT, volume, REPLICA_ROOT, ReplicaOptions(_SET_ID, OTHER)
        )
        await store.open()
        replica = Replica(
            host, store, OTHER_ADDRESS, options.heartbeat_ns, options.heartbeat_misses
        )
        await replica.run()
