"""Failover: from the silence of the source to clients on the replica, timed by part.

``detect`` is the silence that must pass before anybody is told, ``decide`` what people need
to decide, ``redirect`` what names and caches need to lead clients here; these are facts of
a site, not of this program.  ``recover`` (apply what is durable, end the source's epoch) and
``mount`` (the store's own recovery) are measured.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from replicator.replica import Replica
from replicator.runtime import sleep_ns
from replicator.runtime.port import Runtime


@dataclass(frozen=True, slots=True)
class FailoverOptions:
    """The parts of an RTO that are decided by the site; nanoseconds."""

    detect_ns: int
    decide_ns: int
    redirect_ns: int


@dataclass(frozen=True, slots=True)
class FailoverReport:
    """How long each part took; nanoseconds.

    ``detected_at_ns`` is an instant of the runtime's clock: only who knows when the source
    died can tell how long detection took.
    """

    detected_at_ns: int
    decide_ns: int
    recover_ns: int
    mount_ns: int
    redirect_ns: int


@dataclass(slots=True)
class FailoverProgress:
    """How far people are with a failover: that outlives the replica's process.

    Instants of the runtime's clock, None as long as they have not come.
    """

    detected_at_ns: int | None = None
    decided_at_ns: int | None = None


async def wait_for_silence(runtime: Runtime, replica: Replica, silence_ns: int) -> None:
    """Return when nothing was heard of a source for so long; never before one was heard."""
    while True:
        quiet_ns = replica.silent_ns()
        if quiet_ns is not None and quiet_ns >= silence_ns:
            return
        await sleep_ns(silence_ns - (quiet_ns or 0))


async def fail_over(
    runtime: Runtime,
    replica: Replica,
    options: FailoverOptions,
    still_wanted: Callable[[], bool],
    mount: Callable[[], Awaitable[None]],
    progress: FailoverProgress | None = None,
) -> FailoverReport | None:
    """Take over from a source that is gone.

    Arguments
    ---------
    still_wanted: asked after the decision time; False when the source came back.
    mount: opens the store on the image.
    progress: of this failover with an earlier process of the replica; what has been detected
        and decided then is not waited for again.

    Returns None when the source came back before the decision.
    """
    progress = progress or FailoverProgress()
    if progress.detected_at_ns is None:
        await wait_for_silence(runtime, replica, options.detect_ns)
        progress.detected_at_ns = runtime.now_ns()
        runtime.emit("failover", "detected")
    if progress.decided_at_ns is None:
        await sleep_ns(progress.detected_at_ns + options.decide_ns - runtime.now_ns())
        if not still_wanted():
            runtime.emit("failover", "called off")
            return None
        progress.decided_at_ns = runtime.now_ns()
        runtime.emit("failover", "decided")
    decided_ns = progress.decided_at_ns
    runtime.emit("failover", "takes over")
    await replica.promote()
    recovered_ns = runtime.now_ns()
    runtime.emit("failover", "recovered")
    await mount()
    mounted_ns = runtime.now_ns()
    runtime.emit("failover", "mounted")
    await sleep_ns(options.redirect_ns)
    runtime.emit("failover", "redirected")
    return FailoverReport(
        progress.detected_at_ns,
        decided_ns - progress.detected_at_ns,
        recovered_ns - decided_ns,
        mounted_ns - recovered_ns,
        options.redirect_ns,
    )
