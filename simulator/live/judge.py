"""The oracle of a live run: copies of the replica, recovered and held against the truth.

As :mod:`simulator.oracle`, over real files and by the same rules (:mod:`simulator.judgement`).
A copy of the replica's directories is what a kill -9 of its process would have left: the process
is stopped (SIGSTOP) while it is copied, unless it is dead already.  The replica's own recovery,
the digest and the store's mount run on the copy in a process of their own
(:mod:`simulator.live.examine`) while the run goes on; the verdict is about the instant of the
copy.  The image of a replica that has taken over is judged in place, before the store opens it,
and what was lost is measured there.

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

from simulator.judgement import (
    FAILOVER,
    Claim,
    Found,
    durable_check,
    kept_check,
    loss_measure,
    prefix_check,
)
from simulator.live.children import Child
from simulator.live.examine import ExaminationSpecification, Finding
from simulator.live.layout import Layout
from simulator.live.mounts import run
from simulator.live.programs import stream_figures
from simulator.live.real_tree import tree_digest
from simulator.live.truth_file import TruthReader
from simulator.measures import LOSS_OF_SOURCE, Check, LossMeasure

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
        self._ahead: list[tuple[_Examination, Finding]] = []
        """Found ahead of what programs have noted: judged when they have, or at the end."""
        self._at_loss: tuple[Claim, int, int] | None = None
        """What was at the replica when the source was lost, when that was, at which instant."""
        self._taken_over: tuple[Claim, int, int | None] | None = None
        """What took over, when, and the messages that it lacks."""

    def acknowledged(self, epoch: int, operation: int) -> None:
        """The source was told that an operation is durable at the replica."""
        if operation > self.durable.get(epoch, -1):
            self.durable[epoch] = operation

    def source_killed(self) -> None:
        """The source's programs were killed: what they left may be ahead of what they noted."""
        self.truth.poll()
        self.truth.left(tree_digest(self._layout.set))

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
        child = self._start(directory, None)
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

    def _start(self, directory: Path, taken_over: tuple[int, int] | None) -> Child:
        layout = self._layout
        configuration = layout.replica_configuration
        if taken_over is None:
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
            str(layout.truth),
            taken_over,
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
                finding = Finding(**json.loads(each.child.answer()))
                each.child.end(1.0)
                self._ahead.append((each, finding))
        self.truth.poll()
        for each, finding in list(self._ahead):
            if not self.truth.lacks(finding.epoch, finding.operation):
                self._ahead.remove((each, finding))
                self._take(each, finding)

    def finish(self) -> None:
        """Wait for all verdicts.  Raises ChildFailed."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._underway:
            self.look()
            if time.monotonic() > end:
                raise self._underway[0].child.failure("did not end")
            time.sleep(0.05)
        for each, finding in self._ahead:
            self._take(each, finding)
        self._ahead.clear()
        self._settle_takeover()
        self.checks.sort(key=lambda check: check.at_seconds)
        self.losses.sort(key=lambda loss: loss.at_seconds)

    def kill_all(self) -> None:
        """End what is still underway."""
        for each in self._underway:
            each.child.kill()

    # -- verdicts --------------------------------------------------------------------------

    def _take(self, each: _Examination, finding: Finding) -> None:
        judged_before = len(self.checks)
        claim = self._judge(finding, each.durable, each.occasion, each.now_ns)
        if each.now_ns >= self._prefix_ns:
            self._prefix_ns, self.prefix = each.now_ns, (claim.epoch, claim.operation)
        if each.wants_loss:
            self._lose(claim, each.occasion, each.now_ns, each.instant, finding.lost_messages)
        if each.occasion == LOSS_OF_SOURCE and not claim.failure:
            self._at_loss = (claim, each.now_ns, each.instant)
        if all(check.holds for check in self.checks[judged_before:]):
            shutil.rmtree(each.directory, ignore_errors=True)

    def _judge(
        self, finding: Finding, durable: dict[int, int], occasion: str, now_ns: int
    ) -> Claim:
        """Note a check for each invariant that a finding can be judged by."""
        self.truth.poll()
        digest = int(finding.digest or "0", 16)
        claim = Claim(
            finding.epoch, finding.operation, digest, finding.damage, failure=finding.failure
        )
        self._note("prefix", now_ns, occasion, prefix_check(claim, self.truth))
        self._note("durable means durable", now_ns, occasion, durable_check(claim, durable))
        if finding.mounted is not None:
            self._note("mountable", now_ns, occasion, (finding.mounted, finding.mount_reason))
        return claim

    def _note(self, invariant: str, now_ns: int, occasion: str, found: Found | None) -> None:
        if found is not None:
            self.checks.append(Check(invariant, now_ns / SECOND_NS, occasion, *found))

    def _lose(
        self, claim: Claim, occasion: str, now_ns: int, instant: int, messages: int | None
    ) -> None:
        self.losses.append(
            loss_measure(
                self.truth,
                claim,
                failure=occasion,
                now_ns=now_ns,
                messages=messages,
                last=instant,
            )
        )

    def lose_all(self, occasion: str, now_ns: int, messages: int | None) -> None:
        """No replica is left: everything would be lost."""
        self.truth.poll()
        self._lose(Claim(0, 0, 0), occasion, now_ns, self.truth.instant, messages)

    # -- the image that has taken over -----------------------------------------------------

    def mount(self, claimed: tuple[int, int]) -> Child:
        """Start to mount the image of the promoted replica, in place.

        ``claimed``: epoch and operation that it says it has.
        """
        directory = self._layout.copies / "mount"
        directory.mkdir()
        return self._start(directory, claimed)

    def mounted(self, child: Child, now_ns: int, damage: str = "") -> Finding:
        """Judge what :meth:`mount` found; ``damage``: what the replica says of the image."""
        found: Finding = replace(Finding(**json.loads(child.answer())), damage=damage)
        child.end(1.0)
        claim = self._judge(found, self.durable, FAILOVER, now_ns)
        self._taken_over = (claim, now_ns, found.lost_messages)
        self._prefix_ns, self.prefix = now_ns, (claim.epoch, claim.operation)
        return found

    def _settle_takeover(self) -> None:
        """What clients go on with, against what was there at the loss: once both are known."""
        if self._taken_over is None or self._at_loss is None:
            return
        claim, now_ns, messages = self._taken_over
        earlier, lost_at_ns, instant = self._at_loss
        if claim.failure:
            return
        found = kept_check(claim, earlier)
        self._note("durable means durable", now_ns, f"{FAILOVER}, against the loss", found)
        self.losses = [loss for loss in self.losses if loss.failure != LOSS_OF_SOURCE]
        self._lose(claim, LOSS_OF_SOURCE, lost_at_ns, instant, messages)
