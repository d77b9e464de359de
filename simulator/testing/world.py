"""A replicating pair in simulated time, led by hand: source, replica, link, and the oracles.

::

    from simulator.testing import ReplicationWorld

    with ReplicationWorld() as world:
        world.write("/mail.edb", 0, b"first")
        world.lose_power("replica")
        world.settle()                    # all is repaired and applied
        assert world.image_file("/mail.edb") == b"first"

The code under test is the replicator's own, machines, disks and the link are emulated.  Time
passes in :meth:`ReplicationWorld.advance` and :meth:`ReplicationWorld.settle` and in nothing
else.  :meth:`ReplicationWorld.check` judges at any instant: the replica's disks are copied as if
its power had just failed, its own recovery runs on the copy, and the image must be the source's
after the very operation that the replica claims, with nothing missing that was acknowledged.

Leaves out: a store above the files (the files are judged by their bytes), objectives.
"""

from __future__ import annotations

from typing import Any

from replicator import units
from replicator.errors import BadInput
from replicator.runtime.port import write_all
from simulator.digest import image_digest
from simulator.disk import Disk
from simulator.inode import Inode
from simulator.systems.byte_level import HOME_ROOT, REPLICA, SOURCE
from simulator.testing.fault_documents import plan_from
from simulator.testing.pair import MS, Broken, RunningPair, time_ns
from simulator.testing.programs import ROOT, Step


class ReplicationWorld(RunningPair):
    """Source, replica and link, running; every fault heals unless it says otherwise.

    Arguments
    ---------
    scenario: its hosts, link and limits are used, as a scenario, its TOML text or a file; its
        stream and faults are not.  None for a small and fast one.
    changes: to it, as ``--set`` takes them.
    seed: names what is random.
    mutant: takes a rule away from the replicator (:mod:`simulator.mutants`) until :meth:`close`.

    Raises BadScenario, with the key; BadInput for an unknown mutant, and for changes to a
    scenario that is loaded already.
    """

    def settle(self, within: str | int = "20s") -> None:
        """Heal everything, wait until the replica has all that the source has, and judge it.

        Arguments
        ---------
        within: the longest that this may take, in simulated time.

        Raises Broken when it takes longer, and for whatever else is broken.
        """
        self.link_up()
        for host in list(self._full):
            self.make_room(host)
        end_ns, look_ns = self.now_ns + time_ns(within), 2 * MS
        while not self.converged:
            self.check()
            if self.now_ns >= end_ns:
                raise Broken(f"after everything was healed it did not converge: {self.describe()}")
            self.advance(look_ns)
            look_ns = min(2 * look_ns, 100 * MS)
        self.check()
        if self._takeover is None:
            ours = image_digest(self._disk(SOURCE), ROOT)
            if image_digest(self._disk(REPLICA), HOME_ROOT) != ours:
                raise Broken(f"it says that it has converged, and the images differ: "
                             f"{self.describe()}")  # fmt: skip

    # -- the source's programs ---------------------------------------------------------------

    def do(self, step: Step, size_bytes: int = 0) -> None:
        """Have the source's programs carry out a step, a function of their volume.

        Arguments
        ---------
        step: makes plain calls of the port's ``Volume``, with paths below ``/data``.
        size_bytes: that it writes: room for so many is asked for before.

        It is carried out while time passes; a millisecond of it passes here.
        """
        self.programs.tell(step, size_bytes)
        self.advance(MS)

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write into a file of the protected set, which is made if there is none.

        Arguments
        ---------
        path: below the set's root, e.g. ``"/mail.edb"``.
        offset: in bytes.

        What the volume refuses, or takes in part only, is kept in ``programs.refused``.
        """

        def step(volume: Any) -> None:
            file = volume.open(ROOT + path) if volume.exists(ROOT + path) else None
            file = volume.create(ROOT + path) if file is None else file
            try:
                write_all(file, offset, data)
            finally:
                file.close()

        self.do(step, len(data))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; a file that has that one is replaced."""
        self.do(lambda volume: volume.rename(ROOT + old, ROOT + new))

    def delete(self, path: str) -> None:
        """Remove a file."""
        self.do(lambda volume: volume.unlink(ROOT + path))

    def truncate(self, path: str, size_bytes: int) -> None:
        """Set a file's size; what it gains reads as zeros."""

        def step(volume: Any) -> None:
            file = volume.open(ROOT + path)
            try:
                file.truncate(size_bytes)
            finally:
                file.close()

        self.do(step)

    def source_files(self) -> dict[str, bytes]:
        """The files of the protected set, as they are at the source now."""
        return _files(self._disk(SOURCE), ROOT)

    def image_files(self) -> dict[str, bytes]:
        """The files of the copy, as they are at the replica now."""
        return _files(self._disk(REPLICA), HOME_ROOT)

    def image_file(self, path: str) -> bytes | None:
        """One file of the copy; None when it has none of that name."""
        return self.image_files().get(path)

    # -- what goes wrong -----------------------------------------------------------------------

    def inject(self, kind: str, **keys: Any) -> None:
        """Let a fault of any kind begin now.

        Arguments
        ---------
        kind: as in a scenario, e.g. ``"link_latency"``.
        keys: its keys by their names in TOML, without ``at``: ``rtt="2s", duration="100ms"``.

        Raises BadPlan, which lists all that is wrong with them; BadInput for a fault that would
        have had to begin earlier.
        """
        if kind == "replica_restored":
            raise BadInput(
                "a replica cannot be restored out of hand: its copy is made before",
                remedy="Use a fault plan, or lose_power().",
            )
        if kind == "failover":
            raise BadInput(
                "nobody fails over in this world while the source lives",
                remedy="Use take_over(), or a scenario with this fault and PlannedRun.",
            )
        document = {"kind": kind, "at": units.spell_duration(self.now_ns), **keys}
        fault = plan_from([document], self.scenario).faults[0]
        self._injected.append(fault)
        self._faults.schedule((fault,))
        self._world.clock.run_until(self.now_ns)

    def crash(self, host: str) -> None:
        """All processes of a host die; what they wrote stays in its page cache."""
        self.inject("process_crash", host=host)

    def lose_power(self, host: str, survive: str = "none") -> None:
        """A host loses its power; of its unsynced writes ``none``, ``all`` or a ``seeded`` part
        survives."""
        self.inject("power_loss", host=host, survive=survive)

    def pause(self, host: str, duration: str = "50ms") -> None:
        """A host stands still."""
        self.inject("pause", host=host, duration=duration)

    def fail_syncs(self, host: str, count: int = 1) -> None:
        """The next syncs of a host's disks fail."""
        self.inject("sync_failure", host=host, count=count)

    def reset_link(self) -> None:
        """All connections are reset, with data in flight."""
        self.inject("link_reset")

    @property
    def link_is_up(self) -> bool:
        """Whether bytes pass."""
        return not self._link_is_cut

    def link_down(self) -> None:
        """Nothing passes until :meth:`link_up`; nothing happens when it is down already."""
        if not self._link_is_cut:
            self._link_is_cut = True
            self._link.partition()

    def link_up(self) -> None:
        """Bytes pass again; nothing happens when they do already."""
        if self._link_is_cut:
            self._link_is_cut = False
            self._link.heal()

    def fill_disk(self, host: str, free_bytes: int = 0) -> None:
        """Somebody else's files fill a host's disks, but for so much, until :meth:`make_room`."""
        if host not in self._full:
            disks = self._world.machine(host).disks.values()
            self._full[host] = [(disk, disk.fill(free_bytes)) for disk in disks]

    def make_room(self, host: str) -> None:
        """Those files are gone again; nothing happens when there are none."""
        for disk, blocks in self._full.pop(host, []):
            disk.give_room(blocks)

    def is_full(self, host: str) -> bool:
        """Whether somebody else's files fill the host's disks."""
        return host in self._full

    def take_over(self) -> None:
        """The source is lost for ever, and the replica takes over: no more writes after that.

        It needs time; :meth:`settle` waits for it.
        """
        if self._takeover is None:
            self.inject("loss", host=SOURCE)

    @property
    def source_is_lost(self) -> bool:
        """Whether :meth:`take_over` was called."""
        return self._takeover is not None


def _files(disk: Disk, root: str) -> dict[str, bytes]:
    return {
        path.removeprefix(root): node.read(0, node.size)
        for path, node in disk.names.walk(root)
        if isinstance(node, Inode)
    }


__all__ = ["MS", "Broken", "ReplicationWorld"]
