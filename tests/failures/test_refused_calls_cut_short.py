"""A program is killed within a call that the file system was about to refuse.

Its intent is in the spool, its outcome is not.  The next start must neither fail because of it
nor take it for done.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replicator.captured_volume import CapturedVolume
from replicator.errors import StorageError
from replicator.spool import Spool
from simulator.volume import SimVolume
from tests.failures.one_machine import ROOT, OneMachine, Program

# Only calls that are not refused already before their intent is written.
REFUSED: dict[str, Callable[[CapturedVolume], object]] = {
    "create in nothing": lambda volume: volume.create(f"{ROOT}/nowhere/file"),
    "mkdir what exists": lambda volume: volume.mkdir(f"{ROOT}/full"),
    "mkdir in nothing": lambda volume: volume.mkdir(f"{ROOT}/nowhere/deep"),
    "symlink over a file": lambda volume: volume.symlink("target", f"{ROOT}/full/file"),
    "link over a file": lambda volume: volume.link(f"{ROOT}/other", f"{ROOT}/full/file"),
    "rename into itself": lambda volume: volume.rename(f"{ROOT}/full", f"{ROOT}/full/deep"),
    "rename onto a directory": lambda volume: volume.rename(f"{ROOT}/other", f"{ROOT}/full"),
    "unlink of a directory": lambda volume: volume.unlink(f"{ROOT}/full"),
    "rmdir of a full one": lambda volume: volume.rmdir(f"{ROOT}/full"),
    "rmdir of a file": lambda volume: volume.rmdir(f"{ROOT}/other"),
}


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("what", REFUSED)
def test_the_next_start_goes_on_as_if_it_had_never_been(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = OneMachine()
    before: list[object] = []

    async def main(program: Program) -> None:
        volume = program.volume
        volume.mkdir(f"{ROOT}/full")
        volume.create(f"{ROOT}/full/file")
        volume.create(f"{ROOT}/other")
        before.append(program.capture.spool.catalogue.to_json())
        # An outcome is written after the call was refused: killed in between.
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Spool, "outcome", kill)
            patch.setattr(Spool, "complete", kill)
            REFUSED[what](volume)

    def kill(*_arguments: object) -> None:
        raise Killed

    machine.run(main)
    after: list[object] = []

    async def again(program: Program) -> None:
        assert program.epoch == 1, "nothing was lost: no reason for another epoch"
        assert program.capture.spool.completed == 4
        after.append(program.capture.spool.catalogue.to_json())
        program.volume.create(f"{ROOT}/goes on")

    machine.run(again)
    assert after[0]["entries"] == before[0]["entries"]  # type: ignore[index]

    async def third(program: Program) -> None:
        assert program.epoch == 1
        assert "/goes on" in program.capture.spool.catalogue.entries

    machine.run(third)


def test_what_cannot_be_finished_begins_another_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = OneMachine()

    async def main(program: Program) -> None:
        file = program.volume.create(f"{ROOT}/db")
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Spool, "complete", kill)
            file.write_at(0, b"half of it may be there")

    def kill(*_arguments: object) -> None:
        raise Killed

    machine.run(main)
    real_open = SimVolume.open

    def failing(volume: SimVolume, path: str, read_only: bool = False) -> object:
        if path == f"{ROOT}/db":
            raise StorageError("input/output error", path=path)
        return real_open(volume, path, read_only)

    async def again(program: Program) -> None:
        assert program.epoch == 2
        assert program.capture.capturing

    monkeypatch.setattr(SimVolume, "open", failing)
    machine.run(again)
    assert "cannot be finished" in str(machine.said("epoch_reason")[-1][0])


def test_what_cannot_be_looked_at_is_not_taken_for_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The change may have happened: to note it as failed would be a guess."""
    machine = OneMachine()

    async def main(program: Program) -> None:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Spool, "complete", kill)
            program.volume.mkdir(f"{ROOT}/made")

    def kill(*_arguments: object) -> None:
        raise Killed

    machine.run(main)
    exists = SimVolume.exists

    def failing(volume: SimVolume, path: str) -> bool:
        if path == f"{ROOT}/made":
            raise StorageError("input/output error", path=path)
        return exists(volume, path)

    async def again(program: Program) -> None:
        assert program.epoch == 2
        assert "/made" in program.capture.spool.catalogue.entries

    monkeypatch.setattr(SimVolume, "exists", failing)
    machine.run(again)
