"""Drawn plans of faults over the store under load: whatever happens, the verdict is a pass.

Hypothesis draws the *plan*, an explicit list of faults, so that a failure shrinks to the
faults that matter; the scenario in the failure text can be run by itself.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from simulator.measures import Verdict
from simulator.run import run_scenario
from simulator.scenario import parse_scenario

BASE = """
name = "drawn"
duration = "6s"
settle = "3m"
sample = "500ms"
[stream]
kind = "store"
format = "small"
messages = "12/s"
message_size = "6KiB"
mailboxes = 3
log_size = "64KiB"
checkpoint_depth = "256KiB"
database_size = "16MiB"
[protection]
spool_limit = "{spool}"
segment_size = "256KiB"
batch_size = "32KiB"
heartbeat = "100ms"
heartbeat_misses = 4
reconnect = "200ms"
journal_limit = "4MiB"
checkpoint_every = "256KiB"
checkpoint_interval = "1s"
spool_full = "{policy}"
[source]
restart = "300ms"
[source.disk]
profile = "{disk}"
metadata = "{metadata}"
[replica]
restart = "300ms"
[replica.disk]
profile = "{disk}"
sector = {sector}
metadata = "{metadata}"
[link]
bandwidth = "20Mbit/s"
rtt = "10ms"
"""

instants = st.integers(0, 600).map(lambda n: f'at = "{n * 10}ms"')
spans = st.integers(1, 200).map(lambda n: f'duration = "{n * 10}ms"')
hosts = st.sampled_from(["source", "replica"])


def fault(kind: str, *parts: str) -> str:
    return "\n".join(["[[faults]]", f'kind = "{kind}"', *parts, ""])


faults = st.one_of(
    st.builds(
        lambda at, span, way: fault("link_outage", at, span, f'direction = "{way}"'),
        instants,
        spans,
        st.sampled_from(["both", "to_replica", "to_source"]),
    ),
    st.builds(lambda at: fault("link_reset", at), instants),
    st.builds(
        lambda at, span: fault("link_bandwidth", at, span, 'bandwidth = "300kbit/s"'),
        instants,
        spans,
    ),
    st.builds(lambda at, host: fault("process_crash", at, f'host = "{host}"'), instants, hosts),
    st.builds(
        lambda at, span, host: fault("pause", at, span, f'host = "{host}"'),
        instants,
        spans,
        hosts,
    ),
    st.builds(
        lambda at, host, survive: fault(
            "power_loss", at, f'host = "{host}"', f'survive = "{survive}"'
        ),
        instants,
        hosts,
        st.sampled_from(["seeded", "none", "all"]),
    ),
    st.builds(
        lambda at, when: fault("power_loss", at, 'host = "replica"', f'when = "{when}"'),
        instants,
        st.sampled_from(["apply", "checkpoint", "resynchronize"]),
    ),
)

worlds = st.fixed_dictionaries(
    {
        "spool": st.sampled_from(["2MiB", "64MiB"]),
        "policy": st.sampled_from(["resynchronize", "hold"]),
        "disk": st.sampled_from(["ssd", "sas-15k"]),
        "metadata": st.sampled_from(["ordered", "any"]),
        "sector": st.sampled_from([512, 4096]),
    }
)


def check(world: dict[str, object], plan: list[str], seed: int) -> None:
    text = BASE.format(**world) + "\n".join(plan)
    note(f"seed {seed}\n{text}")
    result = run_scenario(parse_scenario(text), seed)
    # A power loss that waits for an activity may wait in vain; the run says so.
    reasons = [reason for reason in result.reasons if "never happened" not in reason]
    assert result.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE), reasons
    assert not reasons, reasons


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(worlds, st.lists(faults, max_size=5), st.integers(1, 4))
def test_few_faults(world: dict[str, object], plan: list[str], seed: int) -> None:
    check(world, plan, seed)


@pytest.mark.full
@settings(max_examples=1500, suppress_health_check=[HealthCheck.too_slow])
@given(worlds, st.lists(faults, max_size=12), st.integers(1, 1000))
def test_many_faults(world: dict[str, object], plan: list[str], seed: int) -> None:
    check(world, plan, seed)


FAILOVER = '\n[failover]\ndetect = "1s"\ndecide = "1s"\nredirect = "1s"\nmount_per_log = "1ms"\n'


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(worlds, st.lists(faults, max_size=4), instants, st.integers(1, 4))
def test_few_faults_and_the_loss_of_the_source(
    world: dict[str, object], plan: list[str], at: str, seed: int
) -> None:
    """Some strike before the loss, some while the replica takes over."""

    def time_ms(text: str) -> int:
        return int(text.partition('at = "')[2].partition("ms")[0])

    possible = [f for f in plan if 'host = "source"' not in f or time_ms(f) < time_ms(at)]
    check(world, [FAILOVER, *possible, fault("loss", at, 'host = "source"')], seed)
