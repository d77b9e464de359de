"""A frame takes the link longer than a peer may be silent: what comes of it is a sign of life.

Heartbeats wait behind the pages of a synchronization.  Whoever counts whole frames only gives up
a connection that works, again and again, and the replica never catches up.
"""

from __future__ import annotations

import pytest

from simulator.measures import Verdict
from simulator.run import ScenarioRun
from simulator.scenario import parse_scenario

SLOW = """
name = "slow"
duration = "20s"
settle = "5m"
[stream]
kind = "store"
format = "small"
messages = "1/s"
message_size = "8KiB"
mailboxes = 2
database_size = "2MiB"
[protection]
heartbeat = "100ms"
heartbeat_misses = 4
reconnect = "200ms"
[link]
bandwidth = "200kbit/s"
rtt = "20ms"
"""
SILENCE = """
[[faults]]
kind = "link_outage"
at = "8s"
duration = "3s"
"""


@pytest.mark.parametrize("bandwidth", ["100kbit/s", "200kbit/s"])
def test_a_slow_link_is_no_silent_peer(bandwidth: str) -> None:
    made = ScenarioRun(parse_scenario(SLOW.replace("200kbit/s", bandwidth)))
    ended: list[object] = []
    made.world.observers.append(
        lambda _machine, event, values: ended.append(values) if event == "session_end" else None
    )
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert not ended, "no connection was given up"


def test_one_that_is_silent_in_the_middle_of_a_frame_is_given_up() -> None:
    made = ScenarioRun(parse_scenario(SLOW + SILENCE))
    ended: list[object] = []
    made.world.observers.append(
        lambda _machine, event, values: ended.append(values) if event == "session_end" else None
    )
    result = made.run()
    assert result.verdict is Verdict.PASS, result.reasons
    assert ("the source fell silent",) in ended
