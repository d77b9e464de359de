"""The oracle of a live run: copies of the replica, recovered and held against the truth.

As :mod:`simulator.oracle`, over real files.  A copy of the replica's directories is what a kill
-9 of its process would have left: the process is stopped (SIGSTOP) while it is copied, unless
it is dead already.  The replica's own recovery, the digest and the store's mount run on the copy
in a process of their own (:mod:`simulator.live.examine`) while the run goes on; the verdict is
about the instant of the copy.

Leaves out: what a power loss would leave.  Unsynced data of a process that was killed is still
in this machine's cache, so "durable means durable" is judged for a crash of processes only;
``docs/ground-truth.md`` says how power losses are judged on real file systems.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from simulator.live.children import Child
from simulator.live.examine import ExaminationSpecification, Finding
from simulator.live.layout import Layout
from simulator.live.mounts import run
from simulator.live.programs import stream_figures
from simulator.live.truth_file import TruthReader
from simulator.measures import Check, LossMeasure

SECOND_NS: Final = 1_000_000_000
PATIENCE_SECONDS: Final = 600.0


@dataclass(slots=True)
class _Examination:
    """One copy on its way to a verdict."""

    occasion: str
    now_ns: int
    instant: int
    durable: dict[int, int]
    wants_loss: bool
    directory: Path
    child: Child


class LiveJudge:
    """Copies, examines, and collects checks and losses.

    Arguments
    ---------
    layout: where everything is.
    truth: what the programs did.
    """

    def __init__(self, layout: Layout, truth: TruthReader) -> None:
        self.truth = truth
        self.checks: list[Check] = []
        self.losses: list[LossMeasure] = []
        self.durable: dict[int, int] = {}
        """Epoch to the highest operation that the source was told is durable."""
        self.prefix = (0, 0)
        self._prefix_ns = -1
        self.longest_copy_seconds = 0.0
        self.copies = 0
        self._layout = layout
        self._underway: list[_Examination] = []

    def acknowledged(self, epoch: int, operation: int) -> None:
        """The source was told that an operation is durable at the replica."""
        if operation > self.durable.get(epoch, -1):
            self.durable[epoch] = operation

    # -- examinations ----------------------------------------------------------------------

    def examine(self, replica: Child | None, occasion: str, now_ns: int, loss: bool) -> None:
        """Copy the replica as it is now, and let it be judged.

        Arguments
        ---------
        replica: its process, if it runs: it stands still meanwhile.
        loss: whether to measure what would be lost if the source were gone now.
        """
        self.copies += 1
        directory = self._layout.copies / str(self.copies)
        directory.mkdir()
        stopped = replica is not None and not replica.paused
        began = time.monotonic()
        if replica is not None and stopped:
            replica.pause()
        try:
            self._copy(directory)
            self.truth.poll()
        finally:
            if replica is not None and stopped:
                replica.resume()
        if stopped:
            took = time.monotonic() - began
            self.longest_copy_seconds = max(self.longest_copy_seconds, took)
        child = self._start(directory, recover=True)
        self._underway.append(
            _Examination(
                occasion,
                now_ns,
                self.truth.instant_at(now_ns),
                dict(self.durable),
                loss,
                directory,
                child,
            )
        )

    def _copy(self, directory: Path) -> None:
        layout = self._layout
        for source, name in ((layout.replica, "replica"), (layout.journal, "journal")):
            if source is not None:
                target = str(directory / name)
                run("cp", "-a", "--reflink=auto", "--sparse=auto", str(source), target)

    def _start(self, directory: Path, recover: bool) -> Child:
        layout = self._layout
        configuration = layout.replica_configuration
        if recover:
            configuration = directory / "replica.toml"
            journal = None if layout.journal is None else directory / "journal"
            text = layout.replica_text(directory / "replica", journal, layout.replica_port)
            configuration.write_text(text)
        specification = directory / "examine.json"
        ledger_bytes = layout.ledger.stat().st_size if layout.ledger.exists() else 0
        stream = layout.scenario.stream
        ExaminationSpecification(
            str(configuration),
            str(layout.ledger),
            ledger_bytes,
            recover,
            stream.kind,
            stream_figures(stream),
        ).write(specification)
        arguments = ["-m", "simulator.live.examine", str(specification)]
        return Child("examination", arguments, layout.root / "examine.log")

    def look(self) -> None:
        """Take in the verdicts that are ready."""
        for each in list(self._underway):
            if not each.child.runs:
                self._underway.remove(each)
                self._take(each)

    def finish(self) -> None:
        """Wait for all verdicts.  Raises ChildFailed."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._underway:
            self.look()
            if time.monotonic() > end:
                raise self._underway[0].child.failure("did not end")
            time.sleep(0.05)
        self.checks.sort(key=lambda check: check.at_seconds)
        self.losses.sort(key=lambda loss: loss.at_seconds)

    def kill_all(self) -> None:
        """End what is still underway."""
        for each in self._underway:
            each.child.kill()

    # -- verdicts --------------------------------------------------------------------------

    def _take(self, each: _Examination) -> None:
        finding = Finding(**json.loads(each.child.answer()))
        each.child.end(1.0)
        judged_before = len(self.checks)
        seconds = each.now_ns / SECOND_NS
        self._check("prefix", seconds, each.occasion, *self._prefix(finding))
        if finding.damage:
            self._check("durable means durable", seconds, each.occasion, False, finding.damage)
        elif not finding.failure:
            self._durable(each, finding)
        if finding.mounted is not None:
            self._check("mountable", seconds, each.occasion, finding.mounted, finding.mount_reason)
        if each.now_ns >= self._prefix_ns:
            self._prefix_ns, self.prefix = each.now_ns, (finding.epoch, finding.operation)
        if each.wants_loss:
            self._loss(each, finding)
        if all(check.holds for check in self.checks[judged_before:]):
            shutil.rmtree(each.directory, ignore_errors=True)

    def _check(
        self, invariant: str, seconds: float, occasion: str, holds: bool, detail: str
    ) -> None:
        self.checks.append(Check(invariant, seconds, occasion, holds, detail))

    def _prefix(self, finding: Finding) -> tuple[bool, str]:
        claimed = f"operation {finding.operation} of epoch {finding.epoch}"
        if finding.failure:
            return False, f"recovery of a copy failed: {finding.failure}"
        if finding.epoch == 0:
            return True, "nothing has been synchronized yet"
        if finding.damage:
            return True, f"the replica says that its image is in doubt: {finding.damage}"
        digest = int(finding.digest, 16)
        self.truth.poll()
        if self.truth.digest_of(finding.epoch, finding.operation) == digest:
            return True, f"the image is that after {claimed}"
        elsewhere = self.truth.find(finding.epoch, digest)
        if elsewhere:
            return False, f"the replica claims {claimed}, its image is that after {elsewhere[:3]}"
        return False, f"the image is not that after {claimed}, nor after any other"

    def _durable(self, each: _Examination, finding: Finding) -> None:
        newest = max((epoch for epoch, k in each.durable.items() if k > 0), default=0)
        floor = each.durable.get(finding.epoch)
        if finding.epoch < newest:
            holds = False
            detail = f"epoch {newest} was acknowledged, epoch {finding.epoch} is there"
        elif floor is not None:
            holds = finding.operation >= floor
            detail = f"operation {floor} was acknowledged, {finding.operation} is there"
        else:
            return
        seconds = each.now_ns / SECOND_NS
        self._check("durable means durable", seconds, each.occasion, holds, detail)

    def _loss(self, each: _Examination, finding: Finding) -> None:
        truth = self.truth
        have = min(each.instant, truth.instant_of(finding.epoch, finding.operation))
        lag_ns = each.now_ns - truth.times_ns[have + 1] if have < each.instant else 0
        self.losses.append(
            LossMeasure(
                each.occasion,
                each.now_ns / SECOND_NS,
                max(0, lag_ns) / SECOND_NS,
                truth.written_bytes[each.instant] - truth.written_bytes[have],
                each.instant - have,
                finding.lost_messages,
            )
        )

    def lose_all(self, occasion: str, now_ns: int, messages: int | None) -> None:
        """No replica is left: everything would be lost."""
        self.truth.poll()
        truth, last = self.truth, self.truth.instant
        lag_s = max(0, now_ns - truth.times_ns[1]) / SECOND_NS if last else 0.0
        written = truth.written_bytes[last]
        at_seconds = now_ns / SECOND_NS
        self.losses.append(LossMeasure(occasion, at_seconds, lag_s, written, last, messages))

    # -- the image that has taken over -----------------------------------------------------

    def mount(self) -> Child:
        """Start to mount the image of the promoted replica, in place."""
        directory = self._layout.copies / "mount"
        directory.mkdir()
        return self._start(directory, recover=False)

    def mounted(self, child: Child, claimed: tuple[int, int], now_ns: int) -> Finding:
        """Judge what :meth:`mount` found; ``claimed`` is the operation of the promoted image."""
        found: Finding = Finding(**json.loads(child.answer()))
        child.end(1.0)
        found = replace(found, epoch=claimed[0], operation=claimed[1])
        seconds = now_ns / SECOND_NS
        self._check("prefix", seconds, "failover", *self._prefix(found))
        if found.mounted is not None:
            self._check("mountable", seconds, "failover", found.mounted, found.mount_reason)
        self._prefix_ns, self.prefix = now_ns, claimed
        return found
