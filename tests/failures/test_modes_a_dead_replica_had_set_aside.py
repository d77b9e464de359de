"""The replica's process dies while a read-only file's mode is set aside, so as to open the file.

The emulated disk knows no rights, so nothing is set aside here: the test leaves behind what such
a death leaves, and the next start has to put it back.  (What is done while it lives is tried over
real files, in ``tests/host/test_modes.py``.)
"""

from __future__ import annotations

from typing import Any

import pytest

from replicator import replica_recovery
from replicator.home import HomeImage
from replicator.runtime.port import Runtime, Volume
from simulator.host import keep_everything
from tests.failures.worlds import IMAGE, ROOT, FailureWorld

MODES = {"/read-only": 0o444, "/sealed": 0o555, "/sealed/open": 0o644, "/odd": 0o400}


async def programs(_world: FailureWorld, _runtime: Runtime, volume: Volume) -> None:
    volume.mkdir(ROOT + "/sealed")
    for name in ("/read-only", "/sealed/open", "/odd"):
        volume.create(ROOT + name).close()
    for name, mode in MODES.items():
        volume.set_attributes(ROOT + name, mode)


def modes_after_a_death(left: dict[str, int], promoted: bool = False) -> dict[str, int]:
    """What the image has after the next start, where a death had left these modes."""
    world = FailureWorld(programs).start()
    world.converge()
    if promoted:
        world.host("replica").start(world.replica.promote(), "promotion")
        world.run_until(lambda: bool(world.closed))
    names = world.disk("replica").names
    for name, mode in left.items():
        names.set_attributes(IMAGE + name, mode)
    world.replica_loses_power(choose=keep_everything)
    if promoted:
        before = len(world.said("recovered"))
        world.run_until(lambda: len(world.said("recovered")) > before)
    else:
        world.converge()
    found = {
        name: world.host("replica").volume("data").stat(IMAGE + name).attributes for name in MODES
    }
    world.close()
    return found


LEFT = {"/read-only": 0o644, "/sealed": 0o755}


def test_the_next_start_puts_them_back() -> None:
    assert modes_after_a_death(LEFT) == MODES


def test_without_that_the_oracle_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HomeImage, "put_back_attributes", lambda _home: None)
    with pytest.raises(AssertionError, match="the image is not that after operation"):
        modes_after_a_death(LEFT)


def test_what_somebody_else_set_is_not_taken_for_it() -> None:
    with pytest.raises(AssertionError, match="the image is not that after operation"):
        modes_after_a_death({"/odd": 0o444})


@pytest.mark.parametrize("safeguard", [True, False])
def test_after_a_takeover_modes_are_the_clients_own(
    monkeypatch: pytest.MonkeyPatch, safeguard: bool
) -> None:
    if not safeguard:  # whether it has taken over is not asked
        raise_marks = replica_recovery._raise_marks

        def raise_and_put_back(store: Any) -> None:
            raise_marks(store)
            store.image.home.put_back_attributes()

        monkeypatch.setattr(replica_recovery, "_raise_marks", raise_and_put_back)
    found = modes_after_a_death(LEFT, promoted=True)
    assert found == (MODES | LEFT if safeguard else MODES)
