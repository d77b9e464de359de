"""Cuts the power of a real replica and judges what its own recovery makes of what is left.

``python -m tests.ground_truth.replica_losses '{"kind": "ext4", "count": 120}'`` does all of it in
a process of its own and prints a :class:`Verdict` as JSON; :func:`examine` runs that.

States are cut out of the log of one run (:mod:`tests.ground_truth.replica_run`), mounted,
recovered by ``ReplicaStore.open``, and judged: the image must be the model's after the
operation that recovery claims; nothing that had been promised before the cut may be missing;
no damage may be reported; a second recovery must say the same.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import traceback
from bisect import bisect_right
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from replicator.errors import ReplicatorError
from replicator.runtime import TimedOut
from replicator.safeguards import Safeguards
from simulator.live.block_log import BlockLog
from simulator.live.logged_state import LoggedState
from simulator.live.mounts import sweep
from simulator.live.power_loss import PowerLoss, states, story
from simulator.live.replay import Unmountable, mounted
from tests.ground_truth.replica_run import record, start
from tests.ground_truth.replica_steps import Image, differences, images, look, steps_of
from tests.ground_truth.run_replica import die_with_the_parent, marking, recover

LAST_MARKS = 8


@dataclass(frozen=True)
class Finding:
    """A state that was recovered wrongly."""

    what: str
    claim: str
    """What recovery said."""
    promised: str
    """What had been promised before."""
    story: str
    """The state: in words, and as Python."""
    first_loss: str = ""
    """For a second loss, during recovery: the story of the first."""


@dataclass
class Verdict:
    """How one examination went."""

    log: str = ""
    """What was recorded, in words."""
    states: int = 0
    second_states: int = 0
    """Those of them that were cut out of a recovery."""
    found_after: int = 0
    """How many states it took to the first finding; 0 without one."""
    occasions: Counter[str] = field(default_factory=Counter)
    """States by what the replica was doing."""
    epochs: Counter[str] = field(default_factory=Counter)
    """States by the epoch that they recovered to; 0 is before the first synchronization."""
    redone: int = 0
    """Those that had something to redo."""
    exact: int = 0
    """Those that recovered to just what was promised, and nothing beyond."""
    torn: int = 0
    """Those with a torn write."""
    mixed: int = 0
    """Those in which some pending writes survived and others did not."""
    findings: list[Finding] = field(default_factory=list)

    def told(self) -> str:
        """The first findings in words, for a failure's message."""
        words = [
            f"{each.what}\npromised: {each.promised}; recovery: {each.claim}\n{each.story}"
            + (f"\nduring the recovery of: {each.first_loss}" if each.first_loss else "")
            for each in self.findings[:3]
        ]
        return "\n\n".join([f"{self.log}: {len(self.findings)} findings", *words])


# -- choosing states ---------------------------------------------------------------------


def activities(log: BlockLog) -> tuple[list[int], list[str]]:
    """Stamps, and what the replica does from each of them on."""
    stamps, words = [0], ["start"]
    doing, synchronizing = "", False
    for mark in log.marks:
        kind, _, rest = mark.text.partition(" ")
        if kind == "activity":
            doing = rest
        elif kind == "source_state":
            synchronizing = rest.startswith("synchronizing")
        elif kind == "replica":
            doing = "recovery"
        else:
            continue
        stamps.append(mark.stamp)
        words.append(doing or ("synchronizing" if synchronizing else "streaming"))
    return stamps, words


SHARES = {
    "recovery": 3,
    "resynchronize": 4,
    "synchronizing": 3,
    "checkpoint": 5,
    "apply": 3,
    "streaming": 4,
}
"""How the states are shared out among what the replica was doing."""


def choose(log: BlockLog, count: int, seed: int = 0) -> dict[PowerLoss, str]:
    """States, and what the replica was doing at each; in the order of their cuts."""
    choice = random.Random(f"replica {seed}")
    first, last = log.marked("mounted"), log.marked("unmounting")
    stamps, words = activities(log)
    ends = [flush.end for flush in log.flushes if first <= flush.end < last]
    stretches: dict[str, list[tuple[int, int]]] = {}
    for begin, end in zip([first, *(end + 1 for end in ends)], [*ends, last], strict=True):
        # A stretch may go over several activities: each has its part of the cuts.
        bounds = [begin, *(s for s in stamps if begin < s <= end), end + 1]
        for low, high in pairwise(bounds):
            word = words[bisect_right(stamps, low) - 1]
            stretches.setdefault(word, []).append((low, high - 1))
    # Wherever the programs rested: nothing but what had been promised, and all of that.
    rests = [mark.stamp for mark in log.marks if mark.text == "rest"]
    chosen = {PowerLoss(cut): words[bisect_right(stamps, cut) - 1] for cut in rests[:count]}
    # Where more is pending, more can happen.
    weights = {
        word: [1 + 2 * len(log.pending(high)) for _low, high in each]
        for word, each in stretches.items()
    }
    known = [word for word in SHARES if word in stretches]
    for attempt in range(4 * count):
        if len(chosen) >= count:
            break
        [word] = choice.choices(known, [SHARES[word] for word in known])
        [(low, high)] = choice.choices(stretches[word], weights[word])
        more = states(
            log,
            choice.choice((1, 4, 6)),
            seed=seed + attempt,
            first_cut=low,
            last_cut=high,
            exhaustive_up_to=choice.choice((0, 0, 2)),
        )
        chosen.update(dict.fromkeys(more[: count - len(chosen)], word))
    return dict(sorted(chosen.items()))


# -- judging -----------------------------------------------------------------------------


class Promise(NamedTuple):
    """An epoch and an operation of it; a later epoch includes all that was before."""

    epoch: int
    operation: int


NOTHING = Promise(0, 0)


def promised(log: BlockLog, cut: int, before: Promise) -> Promise:
    """What had been promised at the cut: to the source, or by a recovery that returned."""
    most = before
    for mark in log.marks_before(cut):
        words = mark.text.split()
        if words[0] in ("durable", "recovered"):
            most = max(most, Promise(int(words[1]), int(words[2])))
    return most


class Judge:
    """Recovers states and compares them with the truth.

    Arguments
    ---------
    log: of the run; it knows when epochs began.
    truth: the image after each step.
    safeguards: those of the run; recovery works by the same.
    """

    def __init__(self, log: BlockLog, truth: list[Image], safeguards: Safeguards) -> None:
        self._log = log
        self._truth = truth
        self._safeguards = safeguards
        self._bases = {
            int(words[1]): int(words[2])
            for words in (mark.text.split() for mark in log.marks)
            if words[0] == "epoch"
        }
        self.verdict = Verdict()
        marks = Counter(mark.text.split()[0] for mark in log.marks)
        self.verdict.log = (
            f"{log.kind}: {len(log.writes)} writes, {len(log.flushes)} flushes,"
            f" {len(truth) - 1} steps, {marks['durable']} promises, {marks['epoch']} epochs"
        )

    def judge(
        self,
        log: BlockLog,
        state: PowerLoss,
        occasion: str,
        before: Promise = NOTHING,
        first_loss: str = "",
    ) -> None:
        """Mount a state, recover it, compare.

        Arguments
        ---------
        log, state: of the run, or of a recovery that was cut short.
        occasion: what the replica was doing.
        before: what had been promised before the log begins.
        first_loss: for a recovery that was cut short, the state that it began with.
        """
        verdict, promise = self.verdict, promised(log, state.cut, before)
        verdict.states += 1
        verdict.second_states += bool(first_loss)
        verdict.occasions[occasion] += 1
        verdict.torn += bool(state.torn)
        verdict.mixed += 0 < len(state.survivors) < len(log.pending(state.cut))
        claim, problems = "none", []
        try:
            with mounted(log, state) as directory:
                claim, problems = self._recover_twice(directory, promise)
        except Unmountable as refused:
            problems.append(f"the kernel refuses the state: {refused}")
        if problems:
            verdict.found_after = verdict.found_after or verdict.states
            told = story(log, state, LAST_MARKS)
            verdict.findings += [
                Finding(problem, claim, str(promise), told, first_loss)
                for problem in dict.fromkeys(problems)
            ]

    def _recover_twice(self, directory: Path, promise: Promise) -> tuple[str, list[str]]:
        """What recovery says of a mounted state, and what is wrong."""
        verdict, mount = self.verdict, os.fspath(directory)
        try:
            report = recover(mount, self._safeguards)
            recovered = Promise(report.epoch, report.operation)
            problems = self._compare(directory, recovered, promise)
            if report.damage:
                problems.append(f"damage is reported: {report.damage}")
            again = recover(mount, self._safeguards)
            if (again.epoch, again.operation, again.damage) != (*recovered, report.damage):
                problems.append(f"a second recovery says otherwise: {again}")
            problems += self._compare(directory, recovered, promise)
        except (ReplicatorError, TimedOut, OSError) as failure:
            told = "".join(traceback.format_exception(failure)[-3:])
            return told, [f"recovery failed: {failure!r}"]
        verdict.epochs[str(report.epoch)] += 1
        verdict.redone += report.redone_operations > 0
        verdict.exact += recovered == promise
        return repr(report), problems

    def _compare(self, directory: Path, recovered: Promise, promise: Promise) -> list[str]:
        problems = []
        if recovered < promise:
            problems.append(f"{promise} was promised, recovery ends at {recovered}")
        if not recovered.epoch:
            return problems
        number = self._bases.get(recovered.epoch, len(self._truth)) + recovered.operation
        if number >= len(self._truth):
            return [*problems, f"{recovered} never was"]
        found = look(directory / "home" / "image")
        if found != self._truth[number]:
            same = [step for step, image in enumerate(self._truth) if image == found]
            elsewhere = f"but after {same[:4]}" if same else "nor after any other"
            wrong = "; ".join(differences(found, self._truth[number])[:6])
            problems.append(f"the image is not that after step {number}, {elsewhere}: {wrong}")
        return problems

    def judge_recovery(self, state: PowerLoss, occasion: str, count: int, seed: int) -> None:
        """Recover a state of the run on a logged disk, and cut the power of that recovery."""
        before = promised(self._log, state.cut, NOTHING)
        first_loss = f"{occasion}: {story(self._log, state, LAST_MARKS)}"
        with LoggedState(self._log, state) as fs:
            recover(os.fspath(fs.mount_path), self._safeguards, marking(fs.mark))
            fs.mark("ended")
            log = fs.finish()
        with log:
            # Most while recovery runs, some while the kernel replays its own journal.
            chosen = [
                *states(
                    log, count - 2, seed=seed, last_cut=log.marked("ended"), exhaustive_up_to=1
                ),
                *states(log, 2, seed=seed, first_cut=0, last_cut=log.marked("mounted")),
            ]
            for second in sorted(set(chosen)):
                self.judge(log, second, "recovery again", before, first_loss)


# -- in a process of its own ---------------------------------------------------------------


def run_examination(
    count: int,
    kind: str = "ext4",
    script: str = "store",
    seed: int = 1,
    safeguards: dict[str, bool] | None = None,
    recoveries: int = 0,
    losses_each: int = 8,
) -> Verdict:
    """Record a run, choose states, judge them.

    Arguments
    ---------
    count: states of the run.
    kind: of the file system.
    script, seed: what the programs do.
    safeguards: those that are switched off; then the first finding ends it.
    recoveries: that many of the states are recovered on a logged disk, and the power is cut
        ``losses_each`` times while that goes on.
    """
    rules = Safeguards(**(safeguards or {}))
    with record(kind, script, seed, rules) as log:
        judge = Judge(log, images(steps_of(script, seed)), rules)
        chosen = list(choose(log, count, seed).items())
        if safeguards:
            # In any order: how many it takes shall not depend on where in the run it shows.
            random.Random(seed).shuffle(chosen)
        for state, occasion in chosen:
            judge.judge(log, state, occasion)
            if judge.verdict.findings and safeguards:
                break
        for index in range(recoveries):
            state, occasion = chosen[(2 * index + 1) * len(chosen) // (2 * recoveries)]
            judge.judge_recovery(state, occasion, losses_each, seed + index)
        return judge.verdict


def examine(limit_s: float = 300.0, **arguments: Any) -> Verdict:
    """:func:`run_examination` in a child process; what that leaves behind is given back."""
    child = start(
        "replica_losses", arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said, errors = child.communicate(timeout=limit_s)
    finally:
        child.kill()
        child.wait()
        sweep()
    assert child.returncode == 0, errors
    document = json.loads(said.splitlines()[-1])
    document["findings"] = [Finding(**each) for each in document["findings"]]
    for counted in ("occasions", "epochs"):
        document[counted] = Counter(document[counted])
    return Verdict(**document)


if __name__ == "__main__":
    die_with_the_parent()
    verdict = run_examination(**json.loads(sys.argv[1]))
    print(json.dumps(vars(verdict) | {"findings": [asdict(each) for each in verdict.findings]}))
