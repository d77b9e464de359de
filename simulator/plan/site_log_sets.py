"""Whether the files of a site are of all its log sets.

Theory
------
Each log set (a storage group, from 2010 on a database) has logs of its own, and so a listing of its
own.  Whoever gives one listing of four and says that there are four gets a quarter of what the site
writes, thinly spread: a line and a spool that are far too small, without a sign of it.  So the
number that is declared is held against the one that the files are of, where they tell it:

* a folder or listing: the log sets that it names;
* hourly statistics: one each, or of a single file as many as are declared, whose mean it has
  (:mod:`.site_hours`);
* counters: columns that are each of one log set.  Totals, disks and traces do not tell.

Where they differ the plan is refused.  Or it is said that the missing log sets are like the others
(``change.log_sets_alike``): then all that was counted, logs, pages and messages, is multiplied.
"""

from __future__ import annotations

from dataclasses import replace

from replicator.errors import BadInput
from simulator.plan.change import ChangeCurve


def of_all_log_sets(curve: ChangeCurve, declared: int | None, *, alike: bool) -> ChangeCurve:
    """What all log sets write.

    Arguments
    ---------
    curve: of all files of the site together.
    declared: the number of log sets that the planner gave; None: those that the files are of.
    alike: whether log sets that no file is of write as much as the others, on average.

    Raises BadInput for another number of log sets in the files than declared, unless they are
    alike; and for alike ones that nothing says the number of.
    """
    if declared is None:
        return curve
    seen = curve.seen_log_sets
    if seen is None and alike:
        raise BadInput(
            "change.log_sets_alike: the files do not tell how many log sets they are of, so there "
            "is nothing to multiply by",
            path=curve.origin,
            remedy="Leave log_sets_alike out if the files count all log sets; else give files that "
            "tell: listings, or counters of instances.",
        )
    if seen is None or seen == declared:
        return replace(curve, log_sets=declared)
    files = f"change.log_sets = {declared:,}, but the files are of {_sets(seen)}"
    if seen > declared:
        raise BadInput(
            files,
            path=curve.origin,
            remedy=f"Say log_sets = {seen:,}, or leave it out; or take some of them "
            "(log_sets_taken, log_counters), or fewer files.",
        )
    if not alike:
        raise BadInput(
            f"{files}: what the others write would be missing",
            path=curve.origin,
            remedy=f"Give the files of all {declared:,} (change.files). Or say log_sets = {seen:,} "
            "if there are no more. Or log_sets_alike = true if the others write as much: what was "
            f"counted is then multiplied by {declared / seen:.3g}.",
        )
    times = declared / seen
    stands = "stands" if seen == 1 else "stand"
    told = (
        f"{_sets(seen)} {stands} for {declared:,}: logs, pages and messages of the files are "
        f"multiplied by {times:.3g}, as given (log_sets_alike)"
    )
    return replace(curve.scaled(times), log_sets=declared, remarks=(told, *curve.remarks))


def stand_for_others(curve: ChangeCurve) -> str:
    """A sentence on log sets that no file is of and that are taken to be like the others; empty
    where there are none."""
    seen, all_sets = curve.seen_log_sets, curve.log_sets
    if seen is None or seen >= all_sets:
        return ""
    return (
        f"The files are of {seen:,} of {_sets(all_sets)}; the others are taken to write as much "
        "(log_sets_alike)."
    )


def _sets(count: int) -> str:
    return "1 log set" if count == 1 else f"{count:,} log sets"
