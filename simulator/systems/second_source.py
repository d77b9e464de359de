"""An operator's slip: a second machine is set up as the source of the same protected set.

It has files and a history of its own, the set's name, and the replica's address.  To the
replica it is a source like any other: each synchronizes its own image, into an epoch that
is higher than all the replica knows.  Nothing writes there but the history's keeper.
"""

from __future__ import annotations

from random import Random
from typing import Final

from replicator.runtime import group
from replicator.source import Source
from replicator.source_place import SourcePlace, SpoolOptions
from simulator.device import INSTANT
from simulator.host import Host, lose_everything
from simulator.link import Link
from simulator.systems.byte_level import REPLICA, SET_ID, SPOOL_ROOT, ByteLevelSystem

SECOND: Final = "second source"
_FILE_BYTES: Final = 256 << 10


class SecondSource:
    """The machine, its link to the replica, and its replicator.

    Arguments
    ---------
    system: whose replica it takes for its own.
    link: what its own way there is like.
    """

    def __init__(self, system: ByteLevelSystem, link: Link) -> None:
        self._system = system
        world = system.world
        self._machine = world.machine(SECOND)
        self._machine.add_disk("data", INSTANT)
        assert world.network is not None
        world.network.add_link(
            Link(world.clock, SECOND, REPLICA, link.model, world.random("jitter of the second"))
        )

    def start(self) -> None:
        """Start its software; the first time it finds a set that was never replicated."""
        host = self._machine.start()
        host.start(self._main(host), SECOND)

    def stop(self) -> None:
        """Somebody pulls the plug."""
        self._machine.lose_power(lose_everything)

    async def _main(self, host: Host) -> None:
        options = self._system.options
        volume, root = host.volume("data"), self._system.workload.root
        if not volume.exists(root):
            volume.mkdir(root)
            content = Random(f"{host.world.seed}/{SECOND}").randbytes(_FILE_BYTES)
            volume.create(f"{root}/other").write_at(0, content)
        limits = SpoolOptions(options.spool_limit_bytes, options.spool_segment_bytes)
        place = SourcePlace(host, volume, root, volume, SPOOL_ROOT, SET_ID, SECOND, limits)
        await place.prepare()
        board = place.board()
        keeper = place.keeper(board)
        await keeper.open()
        source = Source(host, place.reader(board), place.files(), options.source)
        async with group() as g:
            g.spawn(keeper.serve(), "keeper")
            await source.run()
