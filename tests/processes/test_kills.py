"""kill -9 and cut connections under load, over real store files: nothing is lost or torn."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from replicator.capture import protect
from replicator.host.protected_set import ProtectedSet
from replicator.protocol import FrameType
from tests.ground_truth.replica_steps import differences, look
from tests.processes.cutting_relay import Cut, CuttingRelay, Place
from tests.processes.kill_campaign import VICTIMS, Campaign
from tests.processes.store_set import StoreModel, lay_out, steps, take
from tests.processes.trial import PATIENCE_S, Trial


@pytest.mark.parametrize(
    ("seed", "kills"),
    [pytest.param(1, 9, id="9"), pytest.param(2, 200, id="200", marks=pytest.mark.full)],
)
def test_after_every_kill_the_image_is_that_of_one_operation(
    tmp_path: Path, seed: int, kills: int
) -> None:
    campaign = Campaign(tmp_path, seed)
    began_s = time.monotonic()
    try:
        campaign.run(kills)
    finally:
        campaign.trial.end()
    print(
        f"seed {seed}: {dict(campaign.kills)}, {len(campaign.truth.operations)} steps, "
        f"at the end {campaign.claimed}, {campaign.redone_operations} operations redone, "
        f"{campaign.empty_rounds} rounds without an image, "
        f"{time.monotonic() - began_s:.1f} s"
    )
    assert set(campaign.kills) == set(VICTIMS) and min(campaign.kills.values()) >= kills // 3


# -- connection cuts -------------------------------------------------------------------------

FIRST_CUTS = [
    [Cut(0), Cut(1, Place.HEADER), Cut(1)],
    [Cut(2), Cut(3, Place.MIDDLE), Cut(5, Place.LAST_BYTE)],
]
"""Each row in one go, then everything must converge."""
FULL_BOUNDARIES = 200
BEYOND_SYNCHRONIZATION = 3
"""Boundaries of the stream behind a synchronization that are still swept."""
PAUSE_S = 0.001


class CutTrial:
    """Source and replica with the relay between them, and a program in this process."""

    def __init__(self, base: Path) -> None:
        self.trial = Trial(base)
        self.relay = CuttingRelay(self.trial.port)
        lines = [f'replica = "127.0.0.1:{self.relay.port}"', 'reconnect = "20ms"']
        self.trial.config = self.trial.configure("trial.toml", source="\n".join(lines))
        lay_out(self.trial.data)
        self._model = StoreModel(self.trial.data)
        self._steps = steps()
        self._taken = 0
        self._files: ProtectedSet | None = None
        self.replica = self.trial.start("replica")
        self.trial.start("source")

    def open(self) -> None:
        """Begin to capture: the relay lets everything through so far."""
        self.trial.wait_for("streaming")
        self._files = protect(str(self.trial.config))
        self.trial.converge()
        self.relay.seen_types.clear()  # of the first synchronization

    def end(self) -> None:
        if self._files is not None:
            self._files.close()
        self.trial.end()
        self.relay.close()

    def cut(self, cuts: list[Cut]) -> None:
        """Write until all these cuts were made, and look whether everything converges."""
        assert self._files is not None
        before = self.relay.cuts_made
        end = time.monotonic() + PATIENCE_S
        self.relay.plan(cuts)
        while self.relay.cuts_made < before + len(cuts):
            assert time.monotonic() < end, f"not all were made: {cuts}"
            step = next(self._steps)
            take(self._files, self._taken, step)
            self._model.apply(self._taken, step)
            self._taken += 1
            time.sleep(PAUSE_S)
        self.trial.converge()

    def begin_anew(self) -> None:
        """The replica loses its disk: the next connection brings a synchronization."""
        self.replica.kill()
        for path in self.trial.replica.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.replica = self.trial.start("replica")

    def check_the_end(self) -> None:
        """Names, contents, links and modes, at both ends."""
        for directory in (self.trial.data, self.trial.image):
            assert not differences(look(directory), self._model.describe())
        assert all("Traceback" not in process.log for process in self.trial.processes)


@pytest.fixture
def cut_trial(tmp_path: Path) -> Iterator[CutTrial]:
    made = CutTrial(tmp_path)
    try:
        made.open()
        yield made
    finally:
        made.end()


def around(boundary: int) -> list[Cut]:
    """A boundary and three places in the frame behind it, the furthest first."""
    return [Cut(boundary, place) for place in reversed(list(Place))]


def test_a_streaming_session_is_cut(cut_trial: CutTrial) -> None:
    for cuts in FIRST_CUTS:
        cut_trial.cut(cuts)
    assert FrameType.SYNC_BEGIN not in cut_trial.relay.seen_types  # it goes on where it was
    cut_trial.check_the_end()


def test_a_synchronization_is_cut(cut_trial: CutTrial) -> None:
    for cuts in FIRST_CUTS:
        cut_trial.begin_anew()
        cut_trial.cut(cuts)
    assert FrameType.SYNC_BEGIN in cut_trial.relay.seen_types
    cut_trial.check_the_end()


@pytest.mark.full
def test_a_streaming_session_is_cut_everywhere(cut_trial: CutTrial) -> None:
    for boundary in range(FULL_BOUNDARIES):
        cut_trial.cut(around(boundary))
    assert FrameType.SYNC_BEGIN not in cut_trial.relay.seen_types
    cut_trial.check_the_end()


@pytest.mark.full
def test_a_synchronization_is_cut_everywhere(cut_trial: CutTrial) -> None:
    # How long one is that nobody cuts short.
    cut_trial.begin_anew()
    cut_trial.cut([Cut(0)])
    length = cut_trial.relay.frame_types.index(FrameType.SYNC_END) + 1
    for boundary in range(min(FULL_BOUNDARIES, length + BEYOND_SYNCHRONIZATION)):
        cut_trial.begin_anew()
        cut_trial.cut(around(boundary))
    print(f"a synchronization of {length} frames, {cut_trial.relay.cuts_made} cuts")
    cut_trial.check_the_end()
