"""Honest telemetry: what the two ends say of themselves, held against the truth; in both worlds.

A lag may be over-reported, never under-reported.  Nor may it be left out: a source that
streams and does not know how far the replica is behind is of no use to anybody.  The
replica's "as of" may be older than the image really is, never younger.
"""

from __future__ import annotations

SECOND_NS = 1_000_000_000


class TelemetryJudge:
    """Notes each report that is not true.

    Arguments
    ---------
    heartbeat_ns: so long a source that streams may be silent about its lag.
    tolerance_ns: by how much a report may be off, for it may be stamped after it was made.
    """

    def __init__(self, heartbeat_ns: int, tolerance_ns: int = 1) -> None:
        self.lies: list[str] = []
        """In words, in the order of time."""
        self.reports = 0
        """Reports that were held against the truth."""
        self._heartbeat_ns = heartbeat_ns
        self._tolerance_ns = tolerance_ns
        self._sender: tuple[int, ...] = ()
        self._streams_from_ns: int | None = None
        self._silent_from_ns: int | None = None

    def lag(
        self,
        now_ns: int,
        sender: tuple[int, ...],
        streaming: bool,
        reported_ns: int | None,
        oldest_ns: int | None,
    ) -> None:
        """What a sender says that its lag is.

        Arguments
        ---------
        sender: which process and history this is about.
        streaming: whether it says that it streams.
        oldest_ns: when the oldest operation that is not durable was made; None for none.
        """
        if sender != self._sender:
            self._sender = sender
            self._streams_from_ns = self._silent_from_ns = None
        if streaming and self._streams_from_ns is None:
            self._streams_from_ns = now_ns
        if reported_ns is not None:
            self._silent_from_ns = None
            self._held(now_ns, reported_ns, oldest_ns)
        elif not streaming or self._made_before_its_time(oldest_ns):
            self._silent_from_ns = None
        elif self._silent_from_ns is None:
            self._silent_from_ns = now_ns
        elif now_ns - self._silent_from_ns > self._heartbeat_ns:
            silent_s = (now_ns - self._silent_from_ns) / SECOND_NS
            self.lies.append(
                f"at {now_ns / SECOND_NS:.1f} s: it streams, and for {silent_s:.1f} s it has "
                "not said how far the replica is behind"
            )

    def _made_before_its_time(self, oldest_ns: int | None) -> bool:
        """Whether what is missing was written before this sender streamed: it cannot know when."""
        return (
            oldest_ns is not None
            and self._streams_from_ns is not None
            and oldest_ns <= self._streams_from_ns
        )

    def _held(self, now_ns: int, reported_ns: int, oldest_ns: int | None) -> None:
        self.reports += 1
        true_ns = 0 if oldest_ns is None else now_ns - oldest_ns
        if reported_ns + self._tolerance_ns < true_ns:
            self.lies.append(
                f"at {now_ns / SECOND_NS:.1f} s: a lag of {reported_ns / SECOND_NS:.3f} s is "
                f"reported, {true_ns / SECOND_NS:.3f} s is true"
            )

    def queue(self, now_ns: int, reported: int, true: int) -> None:
        """How many logs a copy says that it has not got yet.

        Arguments
        ---------
        true: how many it had not, at the time that the report is as of.
        """
        self.reports += 1
        if reported < true:
            self.lies.append(
                f"at {now_ns / SECOND_NS:.1f} s: a copy queue of {reported} logs is reported, "
                f"{true} is true"
            )

    def as_of(self, now_ns: int, reported_ns: int, until_ns: int) -> None:
        """As of when a replica says that its image is.

        Arguments
        ---------
        until_ns: when the first change was made that the image lacks; now when it lacks none.
        """
        self.reports += 1
        if reported_ns > until_ns + self._tolerance_ns:
            self.lies.append(
                f"at {now_ns / SECOND_NS:.1f} s: the image is said to be as of "
                f"{reported_ns / SECOND_NS:.3f} s, and lacks a change of "
                f"{until_ns / SECOND_NS:.3f} s"
            )
