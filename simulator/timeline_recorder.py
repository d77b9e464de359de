"""Records the timeline of a run: looks on at machines, disks, links and the truth.

It hangs on hooks that are None in every other run: of the event trace (steps of disks, starts
and ends of processes, chunks of connections), of the disks (syncs that begin), of the network
(frames that are sent, connections that end), of the lines (cuts) and of the truth (operations
captured).  It only reads, so a run with it has the trace hash of one without.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from replicator.event_words import say
from replicator.runtime.port import Buffer
from simulator.run import ScenarioRun
from simulator.stream import SimStream
from simulator.systems.byte_level import REPLICA, SOURCE
from simulator.timeline import OPEN, Outcome, Timeline
from simulator.timeline_disks import DiskWatch, unsynced_words
from simulator.timeline_frames import CallReader, FrameReader

FRAMES, CONNECTIONS, OUTAGES = "frames", "connections", "outages"
OPERATIONS, REPORTS, ACTIVITY, POWER = "operations", "reports", "activity", "power"
ACKNOWLEDGED = "acknowledged"
PROCESS = "process "
_SILENT = frozenset({"activity", "session_begin", "programs_done", "history_opens"})
"""What stands on another track, or says nothing to a reader."""


class TimelineRecorder:
    """Attached to a run that has not started; :meth:`finish` gives what was recorded."""

    def __init__(self, run: ScenarioRun) -> None:
        self.timeline = Timeline()
        self._run = run
        self._clock = run.world.clock
        self._disks: dict[str, DiskWatch] = {}
        self._processes: dict[tuple[str, str], int] = {}
        self._activity: dict[str, int] = {}
        self._readers: dict[tuple[int, int], FrameReader | CallReader] = {}
        self._underway: dict[tuple[int, int], deque[tuple[int, int, int, int, int, int]]] = {}
        """By connection and sending side: end offset and number of each frame on its way, and
        epoch, durable, applied, checkpointed of an acknowledgement."""
        self._directions: dict[tuple[int, int], str] = {}
        self._ended: set[tuple[int, int]] = set()
        self._outages: dict[str, int] = {}
        self._attach()

    def _attach(self) -> None:
        world, system = self._run.world, self._run.system
        for machine in world.machines.values():
            for name, disk in machine.disks.items():
                watch = DiskWatch(self.timeline, machine.name, name, disk, system.areas)
                self._disks[disk.name] = watch
                disk.watch_sync = watch.sync_begins
        world.trace.watch = self._traced
        world.observers.append(self._reported)
        assert world.network is not None
        world.network.watch = self
        for line in (self._run.link.to_a, self._run.link.to_b):
            line.watch = self._line_changed
        system.truth.watch = partial(self._captured, self._disks[f"{SOURCE}/data"])

    def finish(self) -> Timeline:
        """Take the hooks off again; what had not ended is still under way."""
        world, timeline = self._run.world, self.timeline
        world.trace.watch = None
        world.observers.remove(self._reported)
        if world.network is not None:
            world.network.watch = None
        for line in (self._run.link.to_a, self._run.link.to_b):
            line.watch = None
        self._run.system.truth.watch = None
        for machine in world.machines.values():
            for disk in machine.disks.values():
                disk.watch_sync = None
        timeline.end_ns = self._clock.now()
        for track in timeline.tracks.values():
            for number in range(len(track)):
                if track.is_open(number):
                    track.end(number, timeline.end_ns, Outcome.UNDERWAY)
        return timeline

    # -- the event trace -----------------------------------------------------------------

    def _traced(self, event: str, values: tuple[int, ...]) -> None:
        owner, _, what = event.partition(" ")
        disk = self._disks.get(owner)
        if disk is not None:
            disk.step(what, values)
        elif owner == "network.chunk":
            self._arrived(*values)
        elif owner in self._run.world.machines:
            self._machine_event(owner, what, values)

    def _machine_event(self, machine: str, what: str, values: tuple[int, ...]) -> None:
        now_ns = self._clock.now()
        if what in ("power", "lost"):
            ends = "power loss" if what == "power" else "loss of the machine"
            for name, process in list(self._processes):
                if name == machine:
                    self._process_ends(machine, process, ends)
            by_area: dict[str, list[int]] = {}
            for each in self._disks.values():
                if each.machine == machine:
                    each.power_lost(by_area)
            unsynced = unsynced_words(by_area)
            words = "power lost; " + (
                f"not synced at that moment: {unsynced}"
                if unsynced
                else "all that was written to files had been synced"
            )
            self._note(machine, POWER, words if what == "power" else "machine lost for ever")
            return
        process, _, change = what.rpartition(" ")
        if change == "starts":
            boot, incarnation = values
            words = f"runs (boot {boot}, incarnation {incarnation})"
            track = self.timeline.track(machine, PROCESS + process)
            self._processes[machine, process] = track.add(now_ns, OPEN, words)
        elif change in ("crash", "ends"):
            self._process_ends(machine, process, "crash" if change == "crash" else "its own end")
            for each in self._disks.values():
                if each.machine == machine:
                    each.process_died("its process died")

    def _process_ends(self, machine: str, process: str, cause: str) -> None:
        number = self._processes.pop((machine, process), None)
        if number is None:
            return
        track, now_ns = self.timeline.track(machine, PROCESS + process), self._clock.now()
        words = f"{track[number].word}, until {cause}"
        track.end(number, now_ns, Outcome.LOST, words)
        if machine == REPLICA:
            self._activity_ends(machine, Outcome.LOST)

    def _note(self, owner: str, what: str, words: str, outcome: Outcome = Outcome.LOST) -> None:
        now_ns = self._clock.now()
        self.timeline.track(owner, what).add(now_ns, now_ns, words, outcome=outcome)

    # -- what the software says ----------------------------------------------------------

    def _reported(self, machine: str, event: str, values: tuple[int | str, ...]) -> None:
        if event == "activity":
            self._activity_ends(machine, Outcome.DONE)
            if values[0]:
                track = self.timeline.track(machine, ACTIVITY)
                self._activity[machine] = track.add(self._clock.now(), OPEN, str(values[0]))
        elif event not in _SILENT:
            said = say(event, values)
            words = f"{event.replace('_', ' ')} {' '.join(map(str, values))}".strip()
            bad = event == "failed" or (said is not None and said.level == "warning")
            outcome = Outcome.LOST if bad else Outcome.DONE
            self._note(machine, REPORTS, words if said is None else said.text, outcome)

    def _activity_ends(self, machine: str, outcome: Outcome) -> None:
        number = self._activity.pop(machine, None)
        if number is not None:
            self.timeline.track(machine, ACTIVITY).end(number, self._clock.now(), outcome)

    def _captured(self, disk: DiskWatch, epoch: int, operation: int, size_bytes: int) -> None:
        now_ns, words = self._clock.now(), disk.last_change()
        track = self.timeline.track(SOURCE, OPERATIONS)
        track.add(now_ns, now_ns, words, epoch, operation, operation, size_bytes)

    # -- the link ------------------------------------------------------------------------

    def _line_changed(self, name: str, cut: bool) -> None:
        track, now_ns = self.timeline.track(name, OUTAGES), self._clock.now()
        if cut:
            self._outages[name] = track.add(now_ns, OPEN, "cut: nothing arrives")
        else:
            track.end(self._outages.pop(name), now_ns)

    def _direction(self, stream: SimStream) -> str:
        """Where the bytes that this end sends go."""
        key = (stream.number, stream.side)
        found = self._directions.get(key)
        if found is None:
            found = f"{stream.host.name}->{stream.peer.host.name}"
            self._directions[key] = found
            if stream.side == 0:
                words = f"connection {stream.number + 1} opened"
                self._note(found, CONNECTIONS, words, Outcome.DONE)
        return found

    def sent(self, stream: SimStream, buffers: tuple[Buffer, ...]) -> None:
        """An end has handed over bytes."""
        key = (stream.number, stream.side)
        if key not in self._readers:
            ours = self._run.system.has_our_frames
            self._readers[key] = FrameReader() if ours else CallReader()
        reader = self._readers[key]
        track, now_ns = self.timeline.track(self._direction(stream), FRAMES), self._clock.now()
        for f in reader.feed(buffers):
            number = track.add(now_ns, OPEN, f.name, f.epoch, f.first, f.last, f.size_bytes)
            acknowledged = (0, 0, 0, 0)
            if f.name == "ACKNOWLEDGE":
                acknowledged = (f.epoch, f.first, f.last, f.checkpointed)
            self._underway.setdefault(key, deque()).append((f.end_offset, number, *acknowledged))

    def _arrived(self, connection: int, side: int, offset: int, size_bytes: int) -> None:
        """Bytes have come to one side: all frames that end with them have arrived."""
        key = (connection, 1 - side)
        underway = self._underway.get(key)
        if not underway:
            return
        now_ns, direction = self._clock.now(), self._directions[key]
        track = self.timeline.track(direction, FRAMES)
        while underway and underway[0][0] <= offset + size_bytes:
            _end, number, epoch, durable, applied, checkpointed = underway.popleft()
            track.end(number, now_ns)
            if epoch:
                told = self.timeline.track(direction.partition("->")[2], ACKNOWLEDGED)
                words = f"checkpointed {checkpointed}"
                told.add(now_ns, now_ns, words, epoch, durable, applied)

    def ended(self, stream: SimStream) -> None:
        """An end is over: what was on its way to it is lost, and both, once both are over."""
        key, peer = (stream.number, stream.side), (stream.number, 1 - stream.side)
        self._ended.add(key)
        self._lose(peer)
        if peer in self._ended:
            self._lose(key)
        in_order = stream.failure == "closed by this end"
        words = f"connection {stream.number + 1} ended at the {stream.host.name}: {stream.failure}"
        outcome = Outcome.DONE if in_order else Outcome.LOST
        self._note(self._direction(stream.peer), CONNECTIONS, words, outcome)

    def _lose(self, key: tuple[int, int]) -> None:
        for _end, number, *_ in self._underway.pop(key, ()):
            track = self.timeline.track(self._directions[key], FRAMES)
            track.end(number, self._clock.now(), Outcome.LOST)
