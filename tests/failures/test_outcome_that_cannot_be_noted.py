"""A change fails, or is cut short, and the spool does not take that note either.

With its intent alone it would count as done, whole: the history ends instead, and the program
is told what happened to its file.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.errors import AlreadyExists, NoSpace, StorageError
from replicator.records import RecordType
from replicator.runtime.port import Runtime, Volume
from replicator.segments import LogFull
from simulator.systems.byte_level import SOURCE
from simulator.volume import SimFile
from tests.failures.worlds import BLOCK, MIB, ROOT, FailureWorld, payload

Call = Callable[[Volume], None]


def write(volume: Volume) -> None:
    volume.open(f"{ROOT}/db").write_at(0, payload(1, 3 * BLOCK))


def truncate(volume: Volume) -> None:
    volume.open(f"{ROOT}/db").truncate(5)


def make_directory(volume: Volume) -> None:
    volume.mkdir(f"{ROOT}/db")  # the name is taken


def no_outcomes(world: FailureWorld, failure: Exception) -> None:
    """From here on the spool takes intents, and nothing else."""
    append = world.spool.log.append

    def refuse(kind: int, *arguments: object) -> None:
        if kind == RecordType.OUTCOME:
            raise failure
        append(kind, *arguments)  # type: ignore[arg-type]

    world.spool.log.append = refuse  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("call", [write, truncate, make_directory])
@pytest.mark.parametrize("failure", [LogFull(), StorageError("input/output error")])
def test_what_failed_is_not_done_at_the_replica(
    call: Call, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[StorageError] = []

    def fails(*_arguments: object) -> int:
        raise NoSpace("the volume is full")

    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        no_outcomes(world, failure)
        monkeypatch.setattr(SimFile, "write_at", fails_at_db(SimFile.write_at, fails))
        monkeypatch.setattr(SimFile, "truncate", fails)
        try:
            call(volume)
        except StorageError as error:
            seen.append(error)
        finally:
            monkeypatch.undo()
        # What follows must not count for what failed.
        volume.open(f"{ROOT}/db").write_at(4 * BLOCK, payload(2))

    world = FailureWorld(steps, files={"/db": payload(9, 2 * BLOCK)}).start()
    world.converge(judge_every_ms=5)
    assert [type(error) for error in seen] == [AlreadyExists if call is make_directory else NoSpace]
    [(reason,)] = world.said("capture_stopped")
    assert "cannot be noted" in str(reason)
    assert len(world.system.truth.epochs) == 2
    world.close()


def fails_at_db(write_at: Callable[..., int], fails: Callable[..., int]) -> Callable[..., int]:
    def instead(file: SimFile, offset: int, *buffers: bytes) -> int:
        here = fails if file.path == f"{ROOT}/db" else write_at
        return here(file, offset, *buffers)

    return instead


def test_a_write_that_was_cut_short_ends_the_history_with_its_true_length() -> None:
    written: list[int] = []

    async def steps(world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
        world.fill(SOURCE, "data", 2)
        no_outcomes(world, LogFull())
        written.append(volume.open(f"{ROOT}/db").write_at(0, payload(1, 6 * BLOCK)))
        world.resize(SOURCE, "data", 64 * MIB)

    world = FailureWorld(steps, files={"/db": b""}).start()
    world.converge(judge_every_ms=5)
    assert 0 < written[0] < 6 * BLOCK, "it was not cut short: this means nothing"
    assert len(world.said("capture_stopped")) == 1
    assert len(world.system.truth.epochs) == 2
    world.close()
