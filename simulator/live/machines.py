"""The two machines of a live run: which processes are theirs, and what can befall them.

The source machine has the programs and the sender, the replica machine the replica; the link is
a process too, and nobody's.  The same commands run here that an operator runs: ``replicator
source`` and ``replicator replica``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from replicator.config import LoadedConfiguration, load_configuration
from replicator.host.status_reader import read_status
from replicator.status_view import StatusView
from simulator.live.children import Child, ChildFailed, pause_all
from simulator.live.layout import Layout
from simulator.live.programs import READY, ProgramsSpecification, stream_figures
from simulator.overrides import Overrides
from simulator.scenario import Scenario
from simulator.systems.byte_level import PROGRAMS, REPLICA, SENDER, SOURCE

START_SECONDS: Final = 30.0
END_SECONDS: Final = 45.0
_LOOK_SECONDS: Final = 0.02
_REPLICATOR: Final = ["-m", "replicator.cli"]


class LiveLink:
    """The relay, and what is known of the link.

    Arguments
    ---------
    scenario: for the figures.
    layout: for the addresses.
    seed: of the jitter.
    """

    def __init__(self, scenario: Scenario, layout: Layout, seed: int) -> None:
        self._model = scenario.link_model
        self._bits_per_second: float | None = None
        self._overrides = Overrides(self._set_bandwidth)
        self._cuts: list[str] = []
        specification = layout.root / "relay.json"
        target = f"127.0.0.1:{layout.replica_port}"
        figures = {"model": asdict(self._model), "target": target, "seed": seed}
        specification.write_text(json.dumps(figures, indent=2) + "\n")
        arguments = ["-m", "simulator.live.relay", str(specification)]
        self.child = Child("relay", arguments, layout.root / "relay.log")
        self.port: int = json.loads(self.child.answer(START_SECONDS))["port"]

    def start(self, zero_ns: int) -> None:
        """Say when the run began: from here on the schedule counts."""
        self.child.ask({"do": "start", "zero_ns": zero_ns})

    def counts(self) -> tuple[int, int]:
        """Bytes to the replica and back, so far."""
        found = self.child.ask({"do": "counts"})
        return found["forward_bytes"], found["backward_bytes"]

    def cut(self, direction: str) -> None:
        """An outage begins: both, to_replica or to_source."""
        self._cuts.append(direction)
        self.child.ask({"do": "cut", "direction": direction})

    def heal(self, direction: str) -> None:
        """An outage is over; with the last one of a direction everything passes there again."""
        self._cuts.remove(direction)
        self.child.ask({"do": "heal", "direction": direction})

    def reset(self) -> None:
        """Reset all connections."""
        self.child.ask({"do": "reset"})

    def override_bandwidth(self, bits_per_second: float) -> Callable[[], None]:
        """Another rate than the schedule's; returns what ends that."""
        return self._overrides.begin(bits_per_second)

    def _set_bandwidth(self, bits_per_second: float | None) -> None:
        self._bits_per_second = bits_per_second
        self.child.ask({"do": "bandwidth", "bits_per_second": bits_per_second})

    def mute(self) -> None:
        """The source machine is about to vanish: it says nothing any more."""
        self.child.ask({"do": "mute"})

    def capacity_bytes_per_second(self, now_ns: int) -> float:
        """What can pass to the replica now."""
        if any(direction != "to_source" for direction in self._cuts):
            return 0.0
        bits = self._bits_per_second
        return (self._model.scheduled_bits_per_second(now_ns) if bits is None else bits) / 8


class Machines:
    """Starts, freezes and kills the processes of both machines.

    Arguments
    ---------
    scenario, seed: what the programs do.
    layout: prepared, with its configurations written.
    """

    def __init__(self, scenario: Scenario, seed: int, layout: Layout) -> None:
        self._layout = layout
        self.children: dict[str, Child] = {}
        """Those that run, or have ended by themselves, by their names."""
        self.lost: set[str] = set()
        self.start_ns: dict[str, int] = {SOURCE: 0, REPLICA: 0}
        """What it took each machine's processes to be up, at the first start."""
        self.programs_done = False
        self.source_killed: Callable[[], None] = lambda: None
        """Called when all of the source's processes are dead and its files are still there."""
        self.source: LoadedConfiguration = load_configuration(layout.source_configuration)
        self.replica: LoadedConfiguration = load_configuration(layout.replica_configuration)
        self._specification = layout.root / "programs.json"
        ProgramsSpecification(
            str(layout.source_configuration),
            str(layout.truth),
            str(layout.ledger),
            scenario.duration_ns,
            seed,
            scenario.stream.kind,
            stream_figures(scenario.stream),
        ).write(self._specification)

    # -- starting --------------------------------------------------------------------------

    def start(self, machine: str, zero_ns: int | None = None) -> None:
        """Start what the machine runs and does not run now.

        ``zero_ns``: when the run began; None to have the programs wait for :meth:`go`.
        """
        root = self._layout.root
        if machine == REPLICA:
            self._start(REPLICA, [*_REPLICATOR, REPLICA, str(self._layout.replica_configuration)])
            return
        if PROGRAMS not in self.children and not self.programs_done:
            arguments = ["-m", "simulator.live.programs", str(self._specification)]
            self.children[PROGRAMS] = Child(PROGRAMS, arguments, root / "programs.log")
            if zero_ns is not None:
                self.children[PROGRAMS].say(str(zero_ns))
        self._start(SENDER, [*_REPLICATOR, SOURCE, str(self._layout.source_configuration)])

    def _start(self, name: str, arguments: list[str]) -> None:
        if name not in self.children:
            self.children[name] = Child(name, arguments, self._layout.root / f"{name}.log")

    def wait_until_ready(self) -> None:
        """Return when all processes of the first start are up.  Raises ChildFailed."""
        end = time.monotonic() + START_SECONDS
        answer = self.children[PROGRAMS].answer(START_SECONDS)
        assert answer == READY, answer
        self._note_start(SOURCE, PROGRAMS)
        while time.monotonic() < end:
            for child in self.children.values():
                if not child.runs:
                    raise child.failure(f"did not start (exit code {child.exit_code})")
            source, replica = self.source_status().source, self.replica_status().replica
            sends = source is not None and source.status is not None
            listens = replica is not None and bool((replica.status or {}).get("address"))
            if listens and not self.start_ns[REPLICA]:
                self._note_start(REPLICA, REPLICA)
            if sends and listens:
                return
            time.sleep(_LOOK_SECONDS)
        raise ChildFailed(
            f"the replicator's processes were not up after {START_SECONDS:.0f} s",
            path=str(self._layout.root),
        )

    def _note_start(self, machine: str, process: str) -> None:
        self.start_ns[machine] = time.monotonic_ns() - self.children[process].started_ns

    def go(self, zero_ns: int) -> None:
        """Let the programs begin."""
        self.children[PROGRAMS].say(str(zero_ns))

    # -- what they say ---------------------------------------------------------------------

    def source_status(self) -> StatusView:
        """How the source's processes are."""
        return read_status(self.source)

    def replica_status(self) -> StatusView:
        """How the replica is."""
        return read_status(self.replica)

    def ended_by_themselves(self) -> Iterator[Child]:
        """Processes that nobody killed and that do not run."""
        for child in self.children.values():
            if not child.runs and not child.killed:
                yield child

    # -- what befalls them -----------------------------------------------------------------

    def of(self, machine: str) -> list[Child]:
        """The processes of a machine that run."""
        names = (REPLICA,) if machine == REPLICA else (PROGRAMS, SENDER)
        found = (self.children.get(name) for name in names)
        return [child for child in found if child is not None and child.runs]

    def kill(self, machine: str) -> None:
        """kill -9 of all that the machine runs."""
        for child in self.of(machine):
            child.kill()
            del self.children[child.name]
        if machine == SOURCE:
            self.source_killed()

    def pause(self, machine: str) -> Callable[[], None]:
        """Freeze all that the machine runs; returns what ends this pause."""
        return pause_all(self.of(machine))

    def lose(self, machine: str) -> None:
        """kill -9, and the machine's files are taken away."""
        self.kill(machine)
        self.lost.add(machine)
        gone = self._layout.root / f"lost-{machine}"
        directory = self._layout.source if machine == SOURCE else self._layout.replica
        if directory.is_mount():
            return  # in memory, and it goes with the run; nobody looks into it any more
        directory.rename(gone)

    def end_in_order(self) -> dict[str, int | None]:
        """SIGTERM to the sender, then to the replica; exit codes, None for one that hung."""
        codes: dict[str, int | None] = {}
        for name in (SENDER, REPLICA):
            child = self.children.pop(name, None)
            if child is not None:
                codes[name] = child.end(END_SECONDS)
        return codes

    def kill_all(self) -> None:
        """End whatever still runs."""
        for child in self.children.values():
            child.kill()
