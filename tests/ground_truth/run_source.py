"""The source and its programs, as a process of its own, beside a replica whose disk is logged.

``python -m tests.ground_truth.run_source '{"directory": ..., "marks": ..., "port": ..., ...}'``
carries out steps through capture and sends them.  Each promise that reaches it is marked in
the log of the *replica's* disk: ``durable EPOCH OPERATION``; and ``epoch EPOCH STEPS`` tells how
many steps had been done when an epoch began.  It says ``kill`` on standard output where the
replica shall be killed, and ends once the replica has applied everything.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from replicator.capture import Capture
from replicator.captured_volume import CapturedVolume
from replicator.host.world import HostRuntime, run_on_host
from replicator.runtime import TimedOut, deadline, group, sleep_ns
from replicator.runtime.port import Volume
from replicator.source import Source, SourceOptions, SourceState
from replicator.source_place import SourcePlace, SpoolOptions
from tests.ground_truth.replica_steps import (
    NOT_OF_THE_SET,
    Step,
    differences,
    first_image,
    images,
    look,
    payload,
    steps_of,
)
from tests.ground_truth.run_replica import SET_ID, Marks, die_with_the_parent

MILLISECOND_NS = 1_000_000
PATIENCE_NS = 90_000 * MILLISECOND_NS
PAUSE_NS = 40 * MILLISECOND_NS
ROOT = "/set"


class Witness(Source):
    """A sender that marks what it is promised."""

    def __init__(self, marks: Marks, *arguments: Any) -> None:
        self._marks_of_disk = marks
        self._durable = 0
        self._told = (0, 0)
        super().__init__(*arguments)

    @property
    def durable(self) -> int:
        return self._durable

    @durable.setter
    def durable(self, operation: int) -> None:
        self._durable = operation
        self.note()

    def note(self) -> None:
        """Mark what is promised now, if it is more than before."""
        now = (self.spool.epoch, self._durable)
        if now > self._told and self.committed:
            self._told = now
            self._marks_of_disk.say(f"durable {now[0]} {now[1]}")


class Programs:
    """Carries out steps, one after the other, and counts those that change files."""

    def __init__(self, steps: list[Step], marks: Marks) -> None:
        self._steps = steps
        self._marks = marks
        self.done = 0
        self.bases: dict[int, int] = {}

    def epoch_begins(self, epoch: int) -> None:
        """Capture says that what is there now is operation 0."""
        self.bases[epoch] = self.done
        self._marks.say(f"epoch {epoch} {self.done}")

    async def prepare(self, volume: Volume) -> None:
        """The first steps, before anything is captured."""
        for step in first_image():
            await self._carry_out(volume, step)

    async def run(self, capture: Capture, source: Witness) -> None:
        """All others."""
        volume = CapturedVolume(capture)
        for step in self._steps[self.done :]:
            if step.op in NOT_OF_THE_SET:
                await self._wait(step, capture, source)
                continue
            await self._carry_out(volume, step)
            if capture.capturing:
                number = self.done - self.bases[capture.spool.epoch]
                assert capture.spool.completed == number, (step, number)
        self._marks.say("programs end")

    async def _wait(self, step: Step, capture: Capture, source: Witness) -> None:
        match step.op:
            case "gap":
                capture.stop("a test")
            case "kill":
                print("kill", flush=True)
            case "epoch":
                while not capture.capturing:
                    await sleep_ns(MILLISECOND_NS)
            case "synchronizing":
                while source.spool.epoch != capture.spool.epoch or not (
                    source.committed or source.state == SourceState.SYNCHRONIZING
                ):
                    await sleep_ns(MILLISECOND_NS // 5)
                await sleep_ns(step.offset * MILLISECOND_NS)
            case "drain":
                await drained(capture, source)
                await sleep_ns(PAUSE_NS)
                self._marks.say("rest")
            case "pause":
                await caught_up(capture, source)
            case unknown:
                raise ValueError(unknown)

    async def _carry_out(self, volume: Volume, step: Step) -> None:
        path, other = ROOT + step.path, ROOT + step.other
        await volume.admit(step.length + 1000)
        match step.op:
            case "create":
                volume.create(path).close()
            case "mkdir" | "unlink" | "rmdir":
                getattr(volume, step.op)(path)
            case "rename" | "link":
                getattr(volume, step.op)(path, other)
            case "symlink":
                volume.symlink(step.other, path)
            case "attributes":
                volume.set_attributes(path, step.offset)
            case _:
                file = volume.open(path)
                if step.op == "write":
                    file.write_at(step.offset, payload(self.done, step.length))
                elif step.op == "truncate":
                    file.truncate(step.offset)
                elif step.op == "zero":
                    file.zero_range(step.offset, step.length)
                else:
                    await file.sync()
                file.close()
        self.done += 1


async def caught_up(capture: Capture, source: Witness) -> None:
    """Rest until everything is promised, or for a moment: so promises are many and small."""
    try:
        async with deadline(PAUSE_NS):
            while source.durable < capture.spool.completed:
                await sleep_ns(MILLISECOND_NS)
    except TimedOut:
        return


async def drained(capture: Capture, source: Witness) -> None:
    """Wait until the replica has applied everything."""
    while True:
        same = capture.capturing and source.committed and source.spool.epoch == capture.spool.epoch
        if same and source.durable == source.applied == capture.spool.completed:
            return
        await sleep_ns(2 * MILLISECOND_NS)


def main(arguments: dict[str, Any]) -> None:
    """Work until all is at the replica."""
    die_with_the_parent()
    marks = Marks(arguments["marks"])
    directory = Path(arguments["directory"])
    steps = steps_of(arguments["script"], arguments["seed"])
    programs = Programs(steps, marks)
    sources: list[Witness] = []

    def emit(event: str, values: tuple[int | str, ...]) -> None:
        if event == "epoch":
            programs.epoch_begins(int(values[0]))
        elif event in ("source_state", "image_sent"):
            marks.say(" ".join([event, *map(str, values)]))
        for source in sources:
            source.note()

    async def replicate(runtime: HostRuntime) -> None:
        data = runtime.volume("source", str(directory))
        spool = SpoolOptions(64 << 20, 1 << 20)
        place = SourcePlace(runtime, data, ROOT, data, "/spool", SET_ID, "source", spool)
        await place.prepare()
        await programs.prepare(data)
        board = place.board()
        keeper = place.keeper(board)
        options = SourceOptions(
            SET_ID,
            "source",
            f"127.0.0.1:{arguments['port']}",
            batch_bytes=24 << 10,
            heartbeat_ns=200 * MILLISECOND_NS,
            heartbeat_misses=50,
            reconnect_ns=20 * MILLISECOND_NS,
        )
        await keeper.open()
        source = Witness(marks, runtime, place.reader(board), place.files(), options)
        sources.append(source)
        async with deadline(PATIENCE_NS), group() as g:
            g.spawn(keeper.serve(), "keeper")
            g.spawn(source.run(), "source")
            await programs.run(keeper.capture, source)
            await drained(keeper.capture, source)
            g.cancel()

    run_on_host(replicate, emit=emit)
    marks.close()
    # The model is the truth of all that follows: real files must agree with it.
    wrong = differences(look(directory / "set"), images(steps)[-1])
    assert not wrong, wrong
    assert programs.done == sum(step.op not in NOT_OF_THE_SET for step in steps)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
