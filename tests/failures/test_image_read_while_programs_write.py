"""The pages of an image are read while programs write, and their operations come later.

The link is far and the window small: when the last page is there, many operations that pages show
already are still at the source.  The image may not be committed before it has them: the fence.
"""

from __future__ import annotations

import pytest

from replicator.board import Board
from simulator.link import LinkModel
from tests.failures.worlds import MS, FailureWorld, blocks, payload

FAR = LinkModel(bits_per_second=10**9, rtt_ns=50 * MS)


def image_while_programs_write() -> FailureWorld:
    world = FailureWorld(
        blocks("/db", 0, 300, every_ms=1),
        files={"/db": b"".join(payload(1000 + number) for number in range(300))},
        link=FAR,
        source={"window_bytes": 16 << 10, "heartbeat_ns": 100 * MS},
    )
    return world.start()


def test_it_is_committed_when_it_is_that_of_an_instant() -> None:
    world = image_while_programs_write()
    world.run_until(lambda: bool(world.said("synchronized")), judge_every_ms=20)
    [(_pages, fence)] = world.said("image_sent")
    assert isinstance(fence, int) and fence > 50, "programs wrote meanwhile"
    world.converge(judge_every_ms=20)
    world.close()


def test_without_the_fence_it_is_a_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "intended", property(lambda _board: 0))
    world = image_while_programs_write()
    with pytest.raises(AssertionError, match="prefix: "):
        world.run_until(lambda: bool(world.said("synchronized")), judge_every_ms=5)
    assert world.said("image_sent")
    world.close()
