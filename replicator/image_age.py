"""How old the image is, by the clocks of two machines that need not agree.

*As of* is told by the source's wall clock: when the image was what the source had.  Nobody can
subtract that from the replica's clock, for the two may differ by an hour, and either may jump.
So the replica keeps beside it an instant of **its own**: when, by its clocks, the image was current
at the latest.  A heartbeat says at which source time ``s`` it was sent; it was heard at the
replica's ``r``.  An operation captured at source time ``t`` is then as old as::

    (now - r) + (s - t)

two differences, each of one clock alone; what it lacks is the time of that heartbeat's travel.
Within a process ``now - r`` is monotonic.  Over a restart the wall clock has to do, and the age
goes on from what it was when it was noted.

Before the first heartbeat of a process the difference of the clocks is taken to be what it was
when it was noted last; if nobody has noted one, the clocks are taken to agree.

An age is never shortened by a clock: of the monotonic and the wall difference the larger counts
(a monotonic clock may stand still while the machine sleeps, a wall clock may be set back).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from replicator.runtime.port import Runtime

CLOCKS_AGREE_NS: Final = 2_000_000_000
"""A difference of the clocks up to this is not worth a word."""


class ImageAge:
    """The time that the image is as of, by the source's clock and by ours.

    Arguments
    ---------
    runtime: the replica's clocks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.as_of_ns = 0
        """The source's wall clock when the image was current; 0 while that is not known."""
        self._here_ns = self._here_wall_ns = 0
        """Our clocks at that moment, monotonic and wall."""
        self._heard: tuple[int, int] | None = None
        """The source's wall clock in its last heartbeat, and our monotonic one when it came."""
        self._ahead_ns: int | None = None
        """How far the source's wall clock was ahead of ours when that was noted."""

    def load(self, as_of_ns: int, here_wall_ns: int) -> None:
        """Go on from what was noted before a restart, of ours as :attr:`here_wall_ns` said it.

        0 for ``here_wall_ns``: an earlier release has noted ``as_of_ns`` alone.
        """
        if not as_of_ns:
            return
        wall_ns = self._runtime.wall_ns()
        if here_wall_ns:
            self._ahead_ns = as_of_ns - here_wall_ns
        self.as_of_ns = as_of_ns
        self._here_wall_ns = here_wall_ns or min(as_of_ns, wall_ns)
        self._here_ns = self._runtime.now_ns() - max(0, wall_ns - self._here_wall_ns)

    def hear(self, wall_ns: int) -> None:
        """A heartbeat came just now, sent at ``wall_ns`` of the source's clock."""
        self._heard = wall_ns, self._runtime.now_ns()
        if self.as_of_ns:  # what was estimated before may have been too young
            age_ns = wall_ns - self.as_of_ns
            if age_ns > (self.age_ns() or 0):
                self._is_so_old(age_ns)

    def set(self, as_of_ns: int) -> None:
        """The image is as of this time of the source's clock, from now on."""
        now_ns = self._runtime.now_ns()
        if self._heard is not None:
            sent_ns, heard_ns = self._heard
            age_ns = now_ns - heard_ns + sent_ns - as_of_ns
        else:
            age_ns = self._runtime.wall_ns() + (self._ahead_ns or 0) - as_of_ns
        self.as_of_ns = as_of_ns
        self._is_so_old(max(0, age_ns))

    def _is_so_old(self, age_ns: int) -> None:
        self._here_ns = self._runtime.now_ns() - age_ns
        self._here_wall_ns = self._runtime.wall_ns() - age_ns

    def age_ns(self) -> int | None:
        """How long ago the image was current, by our clocks; None while that is not known."""
        if not self.as_of_ns:
            return None
        runtime = self._runtime
        return max(0, runtime.now_ns() - self._here_ns, runtime.wall_ns() - self._here_wall_ns)

    @property
    def here_wall_ns(self) -> int:
        """Our wall clock, as it goes now, when the image was current; 0 while not known."""
        age_ns = self.age_ns()
        return 0 if age_ns is None else self._runtime.wall_ns() - age_ns


# -- who looks at a report or a checkpoint ---------------------------------------------


class SeenAge(NamedTuple):
    """What can be said of the age from beside."""

    age_ns: int
    at_least: bool
    """It may be older: this machine's clock was set back since it was noted."""
    differ_ns: int
    """By how much the clocks differ, about; 0 when they agree, or when nobody knows."""


def seen_age(
    status: Mapping[str, Any], written_wall_ns: int | None, since_ns: int | None, now_wall_ns: int
) -> SeenAge | None:
    """The age of the image that a report or a checkpoint speaks of; None when it is not known.

    Arguments
    ---------
    status: has ``as_of_wall_ns``, and from this release on ``as_of_here_wall_ns`` and, if it is a
        report, ``as_of_age_ns``.
    written_wall_ns: this machine's wall clock when it was written; None when nobody noted that.
    since_ns: time since then by the monotonic clock; None when it was before the last boot.
    now_wall_ns: this machine's wall clock.
    """
    as_of_ns = int(status["as_of_wall_ns"])
    here_ns, age_ns = status.get("as_of_here_wall_ns", 0), status.get("as_of_age_ns")
    if not as_of_ns:
        return None
    if not here_ns:  # an earlier release's: the clocks have to be taken to agree
        ahead_ns = max(0, as_of_ns - now_wall_ns)
        return SeenAge(max(0, now_wall_ns - as_of_ns), bool(ahead_ns), _worth_a_word(ahead_ns))
    if age_ns is None or written_wall_ns is None:
        written_wall_ns, age_ns = here_ns, 0
    passed_ns = now_wall_ns - written_wall_ns
    return SeenAge(
        age_ns + max(0, passed_ns, since_ns or 0),
        passed_ns < 0 and since_ns is None,
        _worth_a_word(abs(as_of_ns - here_ns)),
    )


def _worth_a_word(differ_ns: int) -> int:
    return differ_ns if differ_ns > CLOCKS_AGREE_NS else 0
