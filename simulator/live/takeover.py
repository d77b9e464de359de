"""Failover with real processes: silence, ``replicator promote``, the mount, each timed.

``detect`` is waited for: the replica's own count of its silence must reach the scenario's figure.
``decide`` and ``redirect`` are what a site's people and caches need; they are taken from the
scenario and not waited for.  ``recover`` is the whole command, its start included.  ``mount`` is
the emulated store's recovery as measured, and the scenario's time for each log generation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.live.children import Child
from simulator.live.judge import LiveJudge
from simulator.live.layout import Layout
from simulator.live.machines import Machines
from simulator.measures import RecoveryTime
from simulator.scenario import Scenario

SECOND_NS: Final = 1_000_000_000


class Takeover:
    """One failover; :meth:`step` moves it on as far as it can go now.

    Arguments
    ---------
    scenario: for the site's figures.
    lost_at_ns: when the source was lost, by ``now_ns``.
    now_ns: time since the start of the run.
    """

    def __init__(
        self,
        scenario: Scenario,
        layout: Layout,
        machines: Machines,
        judge: LiveJudge,
        lost_at_ns: int,
        now_ns: Callable[[], int],
    ) -> None:
        self._failover = scenario.failover
        self._layout = layout
        self._machines = machines
        self._judge = judge
        self._lost_at_ns = lost_at_ns
        self._now_ns = now_ns
        self._detected_at_ns = 0
        self._recover_ns = 0
        self._promoting: Child | None = None
        self._mounting: Child | None = None
        self._promoted_at_ns = 0
        self._mount_began_ns = 0
        self._damage = ""
        self.mount_seconds: float | None = None
        self.recovery: RecoveryTime | None = None
        """None until clients are at work on the replica."""
        self.defect = ""
        """Why it did not end well; empty while it goes."""

    @property
    def opened(self) -> bool:
        """Whether the store has been given the image: from then on it is no copy any more."""
        return self._mounting is not None

    def step(self) -> None:
        """Do what can be done now."""
        if self.recovery is not None or self.defect:
            return
        if self._promoting is None:
            self._look_for_silence()
        elif not self._promoted_at_ns:
            self._look_at_promotion(self._promoting)
        elif self._mounting is None:
            self._look_for_its_claim()
        elif not self._mounting.runs:
            self._look_at_mount(self._mounting)

    def _look_for_silence(self) -> None:
        view = self._machines.replica_status().replica
        if view is None or view.status is None or not view.status["address"]:
            return  # it is down, or recovers: a promotion would have to wait for it as well
        silent_ns = view.status["silent_ns"]
        if silent_ns is None:  # started after the loss: it counts from then
            silent_ns = self._now_ns() - self._lost_at_ns
        if silent_ns + (view.age_ns or 0) < self._failover.detect_ns:
            return
        self._detected_at_ns = self._now_ns()
        arguments = ["-m", "replicator.cli", "promote", str(self._layout.replica_configuration)]
        self._promoting = Child(
            "promotion", [*arguments, "--yes"], self._layout.root / "promote.log"
        )

    def _look_at_promotion(self, promoting: Child) -> None:
        if promoting.runs:
            return
        self._recover_ns = self._now_ns() - self._detected_at_ns
        if promoting.exit_code:
            self.defect = promoting.failure(f"ended with {promoting.exit_code}").message
            return
        promoting.end(1.0)
        self._promoted_at_ns = self._now_ns()

    def _look_for_its_claim(self) -> None:
        """Mount when the promoted replica has said which operation its image is of."""
        view, now_ns = self._machines.replica_status().replica, self._now_ns()
        if view is None or view.status is None or view.age_ns is None:
            return
        if now_ns - view.age_ns <= self._promoted_at_ns:
            return  # it was said before the promotion was over
        self._damage = view.status["damage"]
        self._mount_began_ns = now_ns
        self._mounting = self._judge.mount((view.status["epoch"], view.status["applied"]))

    def _look_at_mount(self, mounting: Child) -> None:
        found = self._judge.mounted(mounting, self._mount_began_ns, self._damage)
        if found.failure:
            self.defect = f"the image that took over cannot be mounted: {found.failure}"
            return
        mount_ns = 0
        if found.mounted is not None:
            self.mount_seconds = found.mount_ns / SECOND_NS
            mount_ns = found.mount_ns + self._failover.mount_per_log_ns * self._logs()
        self.recovery = RecoveryTime(
            max(0, self._detected_at_ns - self._lost_at_ns) / SECOND_NS,
            self._failover.decide_ns / SECOND_NS,
            self._recover_ns / SECOND_NS,
            mount_ns / SECOND_NS,
            self._failover.redirect_ns / SECOND_NS,
        )

    def _logs(self) -> int:
        """Log generations in the image: the most that a mount has to replay."""
        return sum(1 for _ in (self._layout.replica / "image").glob("*.log"))

    def kill_all(self) -> None:
        """End what is still underway."""
        for child in (self._promoting, self._mounting):
            if child is not None:
                child.kill()
