"""Kills of the sender, the replica and the program at random moments, and the look afterwards.

What a kill may leave is decided on a copy of the replica's directory, taken while nobody writes
there (it is dead, or stopped): :class:`~replicator.replica_store.ReplicaStore` recovers it, and
the image must be the model's after exactly the steps that the recovered operation includes.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from replicator.config import load_configuration
from replicator.host.processes import replica_places, replica_store
from replicator.host.world import HostRuntime, run_on_host
from replicator.replica_store import RecoveryReport
from replicator.runtime import deadline
from tests.ground_truth.replica_steps import Image, differences, look
from tests.processes.store_set import StoreModel, lay_out, steps
from tests.processes.trial import PATIENCE_S, Process, Trial

VICTIMS = ("source", "replica", "writer")
WAIT_S = (0.0, 0.9)
"""Between the end of one round and the next kill."""
STEP_WRITER = Path(__file__).with_name("step_writer.py")


class Truth:
    """What the program noted: the operation of each step, in order of the steps."""

    def __init__(self, path: Path, first_image: Path) -> None:
        self._path = path
        self._read_bytes = 0
        self.operations: list[tuple[int, int]] = []
        """(epoch, operation) after step 0, 1, 2 ..."""
        self._model = StoreModel(first_image)
        self._steps = steps()
        self._images: dict[int, Image] = {0: self._model.describe()}
        """By number of steps; only the last two are kept."""

    def read(self) -> None:
        """Take over the lines that were added, but no part of a line."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        lines = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(lines)
        for line in lines.splitlines():
            number, epoch, operation = map(int, line.split())
            assert number == len(self.operations), f"line {line!r} of {self._path}"
            self.operations.append((epoch, operation))
            assert self.operations[-2:] == sorted(self.operations[-2:])

    def allowed(self, epoch: int, operation: int) -> list[int]:
        """After how many steps the image may be that includes this operation and no later one."""
        taken = bisect_right(self.operations, (epoch, operation))
        if taken and self.operations[taken - 1] == (epoch, operation):
            return [taken]
        # The operation of a step that was not noted: the program was killed, or will note it.
        return [taken, taken + 1]

    def image(self, taken: int) -> Image:
        """The image after so many steps; asked for in ascending order."""
        first = max(self._images)
        for number in range(first, taken):
            self._model.apply(number, next(self._steps))
            if number >= taken - 2:
                self._images[number + 1] = self._model.describe()
        self._images = {n: self._images[n] for n in sorted(self._images)[-2:]}
        return self._images[taken]


@dataclass
class Campaign:
    """A trial under load, and the rounds that were survived.

    Arguments
    ---------
    base: an empty directory for everything.
    seed: of the moments and of the order of the victims.
    """

    base: Path
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    redone_operations: int = 0
    claimed: tuple[int, int] = (0, 0)
    """Epoch and operation that the last recovery came to: it never goes back."""
    empty_rounds: int = 0
    """Rounds in which no first image was complete yet."""

    def __post_init__(self) -> None:
        self._numbers = random.Random(self.seed)
        self.trial = Trial(
            self.base,
            source='reconnect = "50ms"',
            # Full of checkpoints and short of segments, so that kills meet them.
            spool='policy = "hold"',
            replica='checkpoint_every = "2MiB"\ncheckpoint_interval = "400ms"',
        )
        lay_out(self.trial.data)
        first = self.base / "first"
        shutil.copytree(self.trial.data, first)
        self.truth_path = self.base / "truth"
        self.truth = Truth(self.truth_path, first)
        self._copy = self.base / "copy"
        copy_line = f'directory = "{self._copy}"'
        self._copy_config = self.trial.configure("copy.toml", replica=copy_line)
        self._running: dict[str, Process] = {}

    def start(self, name: str) -> None:
        """Start the sender, the replica or the program, again or for the first time."""
        if name == "writer":
            arguments = [str(self.trial.config), str(self.truth_path), "2"]
            process = Process(name, [sys.executable, str(STEP_WRITER), *arguments], self.base)
            self.trial.processes.append(process)
        else:
            process = self.trial.start(name)
        self._running[name] = process

    def run(self, kills: int) -> None:
        """So many rounds, then an orderly end."""
        for name in ("replica", "source", "writer"):
            self.start(name)
        order: list[str] = []
        for number in range(kills):
            if not order:
                order = self._numbers.sample(VICTIMS, len(VICTIMS))
            self._round(number, order.pop())
        self._end()

    def _round(self, number: int, victim: str) -> None:
        """One kill, the look at what it left, and the start of what was killed."""
        wait_s = self._numbers.uniform(*WAIT_S)
        time.sleep(wait_s)
        for name, process in self._running.items():
            assert process.running, f"{name} had ended by itself:\n{process.log}"
        promised = self._promised()
        self._running[victim].kill()
        self.kills[victim] += 1
        self._copy_replica()
        self.start(victim)
        what = (
            f"seed {self.seed}, round {number}, killed {victim} after {wait_s:.3f} s, "
            f"promised {promised}, before {self.claimed}, copy {self._copy}"
        )
        report = recover(self._copy_config)
        self._judge(report, promised, f"{what}: {report}")
        shutil.rmtree(self._copy)

    def _promised(self) -> tuple[int, int]:
        """What the sender has been told is durable at the replica."""
        source = self.trial.status()["source"]
        status = source and source["status"]
        # While it synchronizes, the old image stands until the new one is whole.
        if not status or status["state"] != "streaming" or status["durable"] is None:
            return (0, 0)
        return (status["epoch"], status["durable"])

    def _copy_replica(self) -> None:
        """Copy the replica's directory while nobody writes there."""
        replica = self._running["replica"]
        replica.signal(signal.SIGSTOP)
        try:
            if replica.running:
                _wait_until_stopped(replica.pid)
            command = ["cp", "-a", "--sparse=always", str(self.trial.replica), str(self._copy)]
            subprocess.run(command, check=True, timeout=PATIENCE_S)
        finally:
            replica.signal(signal.SIGCONT)

    def _judge(self, report: RecoveryReport, promised: tuple[int, int], what: str) -> None:
        claim = (report.epoch, report.operation)
        assert not report.damage, what
        assert claim >= promised, f"what was promised is gone: {what}"
        assert claim >= self.claimed, f"what was durable is gone: {what}"
        self.claimed = claim
        self.redone_operations += report.redone_operations
        found = look(self._copy / "image")
        if not report.epoch:
            self.empty_rounds += 1
            assert not found, what
            return
        self.truth.read()
        wrong: list[str] = []
        for taken in self.truth.allowed(*claim):
            wrong = differences(found, self.truth.image(taken))
            if not wrong:
                return
        raise AssertionError("\n".join([f"not the image of that operation: {what}", *wrong]))

    def _end(self) -> None:
        """The program comes to an end, and everything is the same everywhere."""
        Path(f"{self.truth_path}.stop").touch()
        writer = self._running["writer"]
        assert writer.ends() == 0, writer.log
        self.status = self.trial.converge()
        self.truth.read()
        expected = self.truth.image(len(self.truth.operations))
        for directory in (self.trial.data, self.trial.image):
            wrong = differences(look(directory), expected)
            assert not wrong, "\n".join([f"seed {self.seed}, {directory}:", *wrong])
        for process in self.trial.processes:
            assert "Traceback" not in process.log, f"{process.name}:\n{process.log}"


def recover(config: Path) -> RecoveryReport:
    """Open the configured replica's store as a start of the replica would."""
    loaded = load_configuration(config)

    async def main(runtime: HostRuntime) -> RecoveryReport:
        async with deadline(int(PATIENCE_S * 1e9)):
            return await replica_store(runtime, loaded, replica_places(runtime, loaded)).open()

    return run_on_host(main)


def _wait_until_stopped(pid: int) -> None:
    """Until every thread stands still; one that waits for the disk stops only after that."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        if all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats):
            return
        time.sleep(0.002)
    raise AssertionError(f"process {pid} does not stop")
