"""The timeline of a run: everything is on it, in order, and recording it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from replicator.protocol import (
    Acknowledgement,
    BatchHeader,
    FrameType,
    Heartbeat,
    frame_header,
)
from replicator.safeguards import ALL_SAFEGUARDS
from simulator.measures import RunResult, Verdict
from simulator.run import ScenarioRun, run_scenario
from simulator.scenario import parse_scenario
from simulator.timeline import (
    Event,
    Outcome,
    Timeline,
    TrackKey,
    record_timeline,
    switched_off,
)
from simulator.timeline_disks import unsynced_at
from simulator.timeline_frames import FrameReader
from simulator.timeline_recorder import TimelineRecorder

SMALL = (Path(__file__).parents[1] / "scenarios/campaign.toml").read_text()
FAULTS = """
[[faults]]
kind = "link_outage"
at = "800ms"
duration = "300ms"
[[faults]]
kind = "power_loss"
host = "replica"
at = "1700ms"
when = "apply"
[[faults]]
kind = "link_reset"
at = "1400ms"
[[faults]]
kind = "process_crash"
host = "source"
at = "3100ms"
[[faults]]
kind = "pause"
host = "replica"
at = "3600ms"
duration = "100ms"
"""
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def recorded() -> tuple[RunResult, Timeline]:
    return record_timeline(parse_scenario(SMALL))


@pytest.fixture(scope="module")
def hurt() -> tuple[RunResult, Timeline]:
    return record_timeline(parse_scenario(SMALL + FAULTS))


def events(timeline: Timeline, owner: str, what: str) -> list[Event]:
    found = list(timeline.events(owner, what))
    assert found, f"nothing was recorded of {what} of {owner}"
    return found


@pytest.mark.parametrize("text", [SMALL, SMALL + FAULTS], ids=["quiet", "faults"])
def test_a_recorded_run_is_the_same_run(text: str) -> None:
    alone = run_scenario(parse_scenario(text))
    watched, _timeline = record_timeline(parse_scenario(text))
    assert watched.trace_hash == alone.trace_hash
    assert replace(watched, wall_seconds=0.0) == replace(alone, wall_seconds=0.0)


def test_each_operation_is_there_once_with_its_number(
    recorded: tuple[RunResult, Timeline],
) -> None:
    result, timeline = recorded
    operations = events(timeline, "source", "operations")
    assert [e.first for e in operations] == list(range(1, result.operations + 1))
    assert sum(e.size_bytes for e in operations) == result.captured_bytes
    assert {e.epoch for e in operations} == {1}
    assert operations[0].word == "create /store/E00res00001.jrs"
    assert not [e for e in operations if e.word.startswith("failed")]
    syncs = [e for e in operations if e.word.startswith("sync ")]
    assert syncs and all("/store/" in e.word for e in syncs)


def test_frames_are_sent_before_they_arrive_and_carry_every_operation(
    recorded: tuple[RunResult, Timeline],
) -> None:
    result, timeline = recorded
    there = events(timeline, "source->replica", "frames")
    back = events(timeline, "replica->source", "frames")
    one_way_ns = 5_000_000
    for frame in [*there, *back]:
        if frame.outcome is Outcome.DONE:
            assert frame.end_ns - frame.start_ns >= one_way_ns, frame
    assert [f.word for f in there[:2]] == ["HELLO", "SYNC_BEGIN"]
    assert back[0].word == "WELCOME"
    carried = [n for f in there if f.word == "BATCH" for n in range(f.first, f.last + 1)]
    assert carried == list(range(1, result.operations + 1))
    # What is on the timeline and what the link counted are the same bytes.
    assert sum(f.size_bytes for f in there) == result.wire_bytes
    assert sum(f.size_bytes for f in back) == result.reverse_wire_bytes


def test_no_promise_before_the_sync_of_the_journal_that_covers_it(
    recorded: tuple[RunResult, Timeline],
) -> None:
    _result, timeline = recorded
    arrived = {
        f.last: f.end_ns
        for f in events(timeline, "source->replica", "frames")
        if f.word == "BATCH" and f.outcome is Outcome.DONE
    }
    syncs = events(timeline, "replica", "journal: journal: syncs")
    promises = [
        f
        for f in events(timeline, "replica->source", "frames")
        if f.word == "ACKNOWLEDGE" and f.first
    ]
    assert promises
    for promise in promises:
        came_ns = arrived[promise.first]
        assert [s for s in syncs if came_ns <= s.start_ns and s.end_ns <= promise.start_ns]


def test_the_source_learns_what_was_promised_in_order(
    recorded: tuple[RunResult, Timeline],
) -> None:
    result, timeline = recorded
    told = events(timeline, "source", "acknowledged")
    durable = [e.first for e in told]
    assert durable == sorted(durable) and durable[-1] == result.operations
    assert all(e.last <= e.first for e in told)
    arrivals = [
        f.end_ns
        for f in events(timeline, "replica->source", "frames")
        if f.word == "ACKNOWLEDGE" and f.outcome is Outcome.DONE
    ]
    assert [e.start_ns for e in told] == arrivals


def test_names_are_called_as_they_were(recorded: tuple[RunResult, Timeline]) -> None:
    _result, timeline = recorded
    words = [e.word for e in events(timeline, "source", "data: protected files: names")]
    assert "create /store/priv1.edb" in words
    assert "rename /store/E00tmp.log to /store/E00.log" in words
    # Circular logging: a log that recovery needs no more becomes the next one.
    assert "rename /store/E0000000001.log to /store/E00tmp.log" in words
    # The replica does to its image what the source did to the store.
    copied = [e.word for e in events(timeline, "replica", "data: image: names")]
    assert [w.replace("/store", "/replica/image") for w in words] == copied


def test_faults_leave_their_traces(hurt: tuple[RunResult, Timeline]) -> None:
    result, timeline = hurt
    assert result.verdict is Verdict.PASS, result.reasons
    marks = {fault.kind: fault for fault in result.faults}
    for direction in ("source->replica", "replica->source"):
        [outage] = events(timeline, direction, "outages")
        assert outage.start_ns == 800_000_000 and outage.end_ns == 1_100_000_000
        held = [
            f
            for f in events(timeline, direction, "frames")
            if outage.start_ns <= f.start_ns < outage.end_ns
        ]
        assert held and all(f.end_ns >= outage.end_ns for f in held)
    power_ns = round(marks["power_loss"].start_seconds * SECOND_NS)
    runs = events(timeline, "replica", "process replica")
    assert runs[0].end_ns == power_ns and len(runs) == 2
    assert runs[0].word.endswith("until power loss")
    assert runs[1].start_ns == round((marks["power_loss"].end_seconds or 0.0) * SECOND_NS)
    [lost_power] = events(timeline, "replica", "power")
    assert lost_power.start_ns == power_ns
    lost = [f for f in timeline.events("source->replica", "frames") if f.outcome is Outcome.LOST]
    assert lost and all(f.end_ns >= f.start_ns for f in lost)
    assert [f for f in lost if power_ns <= f.end_ns], "what was on its way to it never came"
    programs = events(timeline, "source", "process programs")
    assert len(programs) == 2 and programs[0].word.endswith("until crash")
    ends = [e.word for e in events(timeline, "source->replica", "connections")]
    assert any("reset by the network" in words for words in ends)
    opened = [words for words in ends if words.endswith("opened")]
    assert len(opened) == len({*opened}) >= 4


def test_syncs_that_a_power_loss_cuts_off_do_not_count() -> None:
    """What was never synced is said at the power loss, and who was cut off in a sync."""
    off = replace(ALL_SAFEGUARDS, sync_before_acknowledge=False)
    _result, whole = record_timeline(parse_scenario(SMALL), safeguards=off)
    sync = [s for s in whole.events("replica", "data: image: syncs") if s.end_ns > s.start_ns][-1]
    within_ns = (sync.start_ns + sync.end_ns) // 2
    text = f'{SMALL}[[faults]]\nkind = "power_loss"\nhost = "replica"\nat = "{within_ns}ns"\n'
    _result, timeline = record_timeline(parse_scenario(text), safeguards=off)
    assert timeline.safeguards_off == ["sync before acknowledge"] == switched_off(off)
    lost_power = events(timeline, "replica", "power")[0]
    assert "in the journal" in lost_power.word
    at_ns = lost_power.start_ns
    writes = [
        e for e in events(timeline, "replica", "journal: journal: writes") if e.start_ns <= at_ns
    ]
    segment = writes[-1].word.removeprefix("write ")
    # Those before it are gone by then; of the newest this is what came after its last sync.
    syncs = timeline.events("replica", "journal: journal: syncs")
    ends = [s.end_ns for s in syncs if s.word == f"sync {segment}" and s.end_ns <= at_ns]
    since_ns = max(ends, default=0)
    written = [w for w in writes if w.word == f"write {segment}" and w.start_ns >= since_ns]
    assert written
    size_bytes = sum(w.size_bytes for w in written)
    assert f"{len(written)} writes ({size_bytes} bytes) in the journal" in lost_power.word
    late = [s for s in timeline.events("replica", "data: image: syncs") if "cut off" in s.word]
    assert late and all(s.end_ns == lost_power.start_ns for s in late)


@pytest.mark.parametrize("at_ms", [203, 290, 761, 1503, 2999, 3800])
def test_what_is_unsynced_can_be_counted_again_from_the_tracks(at_ms: int) -> None:
    """At a power loss both ways of counting are there: as it happened, and from the tracks."""
    fault = f'[[faults]]\nkind = "power_loss"\nhost = "{{}}"\nat = "{at_ms}300us"\n'
    text = SMALL + fault.format("replica") + fault.format("source")
    off = replace(ALL_SAFEGUARDS, sync_before_acknowledge=False)
    _result, timeline = record_timeline(parse_scenario(text), safeguards=off)
    for machine in ("replica", "source"):
        lost_power = events(timeline, machine, "power")[0]
        counted = unsynced_at(timeline, machine, lost_power.start_ns)
        said = lost_power.word.partition("at that moment: ")[2]
        assert counted == said


def test_all_hooks_are_taken_off() -> None:
    run = ScenarioRun(parse_scenario(SMALL, ["duration=1s"]))
    before = len(run.world.observers)
    recorder = TimelineRecorder(run)
    run.run()
    timeline = recorder.finish()
    assert len(run.world.observers) == before
    assert run.world.trace.watch is None and run.world.network is not None
    assert run.world.network.watch is None and run.link.to_b.watch is None
    assert run.system.truth.watch is None
    assert all(d.watch_sync is None for m in run.world.machines.values() for d in m.disks.values())
    assert all(e.end_ns >= e.start_ns for t in timeline.tracks.values() for e in t)
    assert TrackKey("source", "process sender") in timeline.tracks


# -- frames ------------------------------------------------------------------------------


def frames() -> list[tuple[bytes, ...]]:
    batch = BatchHeader(3, 1, 44, 57, 1000, False, b"a" * 16, b"b" * 16).encode()
    ack = Acknowledgement(3, 57, 50, 40, 0).encode()
    beat = Heartbeat(3, 57, 0).encode()
    why = b'{"reason": "taken over"}'
    return [
        (frame_header(FrameType.BATCH, batch, b"x" * 5000), batch, b"x" * 5000),
        (frame_header(FrameType.ACKNOWLEDGE, ack), ack),
        (frame_header(FrameType.HEARTBEAT, beat), beat),
        (frame_header(FrameType.REFUSE, why), why),
        (frame_header(FrameType.SYNC_END),),
    ]


@pytest.mark.parametrize("piece_bytes", [1, 7, 24, 4096, 10**6])
def test_frames_are_found_however_they_are_cut(piece_bytes: int) -> None:
    whole = b"".join(piece for frame in frames() for piece in frame)
    reader, found = FrameReader(), []
    for at in range(0, len(whole), piece_bytes):
        found += reader.feed((whole[at : at + piece_bytes],))
    assert [f.name for f in found] == [
        "BATCH",
        "ACKNOWLEDGE",
        "HEARTBEAT",
        "REFUSE: taken over",
        "SYNC_END",
    ]
    batch, ack, beat = found[:3]
    assert (batch.epoch, batch.first, batch.last) == (3, 44, 57)
    assert (ack.first, ack.last, ack.checkpointed) == (57, 50, 40)
    assert beat.last == 57
    sizes = [sum(map(len, frame)) for frame in frames()]
    assert [f.size_bytes for f in found] == sizes
    assert [f.end_offset for f in found] == [sum(sizes[: n + 1]) for n in range(len(sizes))]


def test_what_is_no_frame_stops_nobody() -> None:
    reader = FrameReader()
    found = list(reader.feed((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",)))
    assert [f.name for f in found] == ["no frame of ours"]
    cut_short = frame_header(FrameType.ACKNOWLEDGE, b"abc") + b"abc"
    found = list(FrameReader().feed((cut_short,)))
    assert [f.name for f in found] == ["ACKNOWLEDGE, malformed"]
