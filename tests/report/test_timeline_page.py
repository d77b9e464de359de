"""The page of a timeline: well-formed, one file, honest about what it sums up, bounded."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import pytest

from replicator.errors import BadInput
from replicator.safeguards import ALL_SAFEGUARDS
from simulator.judgement import Claim, durable_check, prefix_check
from simulator.measures import Check, FaultMark
from simulator.report.timeline import LARGEST_PAGE_BYTES, timeline_page
from simulator.report.timeline_lanes import Focus, lanes_of, shares, thin
from simulator.report.timeline_story import Concerned, concerned_by, tell
from simulator.scenario import parse_scenario
from simulator.timeline import Outcome, Timeline, record_timeline, write_timeline
from tests.report import samples
from tests.report.test_page import parse
from tests.test_timeline import FAULTS, SMALL

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & \"' \udc80 \x07 ]]> {{ 7*7 }}"


def data_of(page):
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found)


def lane(page, name):
    [found] = [each for each in data_of(page)["lanes"] if each["name"] == name]
    return found


def count(marks):
    return sum(mark[5] if len(mark) > 5 else 1 for mark in marks)


@pytest.fixture(scope="module")
def hurt():
    return record_timeline(parse_scenario(SMALL + FAULTS))


@pytest.fixture(scope="module")
def broken():
    text = SMALL + '[[faults]]\nkind = "power_loss"\nhost = "replica"\nat = "3900ms"\n'
    off = replace(ALL_SAFEGUARDS, sync_before_acknowledge=False)
    return record_timeline(parse_scenario(text), safeguards=off)


def many(events, checks=0, word="write /store/priv1.edb"):
    """A timeline of a long run, and its record."""
    timeline, numbers = Timeline(), random.Random(1)
    end_ns = timeline.end_ns = 3_600 * 10**9
    step_ns = max(1, end_ns // max(1, events))
    operations, frames = timeline.track("source", "operations"), None
    frames = timeline.track("source->replica", "frames")
    for n in range(events):
        at_ns = n * step_ns
        operations.add(at_ns, at_ns, word, 1, n + 1, n + 1, 8192)
        outcome = Outcome.LOST if n % 1000 == 7 else Outcome.DONE
        frames.add(at_ns, at_ns + numbers.randrange(10**7), "BATCH", 1, n + 1, n + 1, 900, outcome)
    result = replace(samples.passing(20), faults=[], simulated_seconds=3600.0)
    result.checks = [
        Check("prefix", n * 3600 / checks, "in the course of the run", n != checks // 2, "x" * 90)
        for n in range(checks)
    ]
    return timeline, result


# -- the page ----------------------------------------------------------------------------


def test_the_page_is_well_formed_and_fetches_nothing(hurt):
    result, timeline = hurt
    page = timeline_page(timeline, result)
    parsed = parse(page)
    assert {"canvas", "script", "style", "h1", "button", "input"} <= parsed.tags
    assert not parsed.tags & {"link", "iframe", "object", "img", "image", "base"}
    assert not [a for a, _value in parsed.attributes if a in ("src", "href", "action", "data")]
    assert not [a for a, _value in parsed.attributes if a.startswith("on")]
    assert "http" not in page.replace("http-equiv", "")
    [policy] = [v for a, v in parsed.attributes if a == "content" and v.startswith("default-src")]
    assert policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy


def test_the_policy_names_just_the_script_that_is_there(hurt):
    import base64
    import hashlib

    result, timeline = hurt
    page = timeline_page(timeline, result)
    [script] = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_a_small_run_is_shown_whole(hurt):
    result, timeline = hurt
    page = timeline_page(timeline, result)
    recorded = sum(len(track) for track in timeline.tracks.values())
    lanes = data_of(page)["lanes"]
    shown = [each for each in lanes if each["name"] not in ("faults", "examinations")]
    assert sum(len(each["marks"]) for each in shown) == recorded
    assert not [each for each in lanes if each["thinned"]]
    assert "recorded events are shown" in page and "summed up" not in page.partition("</main>")[0]
    assert len(lane(page, "faults")["marks"]) == len(result.faults) == 5
    assert len(lane(page, "examinations")["marks"]) == len(result.checks)


def test_marks_are_in_order_and_within_the_run(hurt):
    result, timeline = hurt
    page = timeline_page(timeline, result)
    for each in data_of(page)["lanes"]:
        starts = [mark[0] for mark in each["marks"]]
        assert starts == sorted(starts), each["name"]
        assert all(mark[1] >= 0 for mark in each["marks"])
        assert all(0 <= mark[0] <= timeline.end_ns for mark in each["marks"])


def test_equal_runs_make_equal_pages(hurt):
    result, timeline = hurt
    again, recorded = record_timeline(parse_scenario(SMALL + FAULTS))
    again.wall_seconds = result.wall_seconds
    assert timeline_page(recorded, again) == timeline_page(timeline, result)


def test_texts_with_odd_characters_stay_texts(hurt):
    result, _timeline = hurt
    timeline, _ = many(5, word=f"create /store/{HOSTILE}")
    timeline.track("source", "reports").add(1, 1, HOSTILE)
    hostile = replace(
        result,
        scenario=HOSTILE,
        reasons=[HOSTILE],
        checks=[Check("prefix", 1.0, HOSTILE, False, HOSTILE)],
        faults=[FaultMark("power_loss", "replica", 1.0, None, HOSTILE)],
    )
    page = timeline_page(timeline, hostile, command=HOSTILE)
    parsed = parse(page)
    assert page.count("<script") == 2 and page.count("</script") == 2
    assert "alert(1)</script" not in page and "\x07" not in page
    assert "49" not in "".join(parsed.texts).partition("To repeat it")[2][:200]
    marks = [mark for each in data_of(page)["lanes"] for mark in each["marks"]]
    assert any("</script><script>alert(1)" in mark[4] for mark in marks), "said as it is"


def test_the_file_is_written_whole_or_not_at_all(hurt, tmp_path):
    result, timeline = hurt
    path = tmp_path / "t.html"
    path.write_text("old")
    with pytest.raises(BadInput, match="--timeline"):
        write_timeline(timeline, result, tmp_path / "none" / "t.html")
    write_timeline(timeline, result, path, command="simulator run x")
    assert path.read_text().endswith("</html>\n") or path.read_text().endswith("</html>")
    assert [each.name for each in tmp_path.iterdir()] == ["t.html"]


# -- thinning ----------------------------------------------------------------------------


def test_what_is_summed_up_is_counted_and_said():
    timeline, result = many(60_000, checks=300)
    page = timeline_page(timeline, result)
    for name in ("operations captured", "link to the replica"):
        each = lane(page, name)
        buckets = [mark for mark in each["marks"] if len(mark) > 5]
        assert buckets and count(each["marks"]) == 60_000
        assert each["thinned"] == count(buckets)
        assert f"{name}: {each['thinned']:,} of 60,000 events" in page
        for mark in buckets:
            assert f"{mark[5]:,} " in mark[4] and "summed up" in mark[4]
    assert len(lane(page, "examinations")["marks"]) == 300
    broken = [mark for mark in lane(page, "examinations")["marks"] if mark[2] == "breach"]
    assert len(broken) == 1


def test_what_failed_and_what_is_in_the_first_view_is_kept_singly():
    timeline, result = many(60_000, checks=300)
    view_ns = tell(timeline, result).view_ns
    lanes = {each.name: each for each in lanes_of(timeline, result, Focus(view_ns, view_ns), 2000)}
    frames = [m for m in lanes["link to the replica"].marks if m.count == 1]
    assert sum(m.kind == "lost" for m in frames) == 60
    singly = {m.start_ns for m in frames}
    track = timeline.track("source->replica", "frames")
    inside = [e.start_ns for e in track if view_ns[0] <= e.start_ns <= view_ns[1]]
    assert inside and set(inside) <= singly


def test_when_the_view_is_too_full_what_is_near_the_faults_is_kept():
    timeline, _result = many(10_000)
    track, end_ns = timeline.track("source", "operations"), timeline.end_ns
    near_ns = (end_ns // 4, end_ns // 2)
    single, _buckets = thin(track, 40, Focus((0, end_ns), near_ns), end_ns)
    step_ns = end_ns // 10_000
    kept = [track[n].start_ns for n in single]
    assert len(kept) == 40
    for at_ns in near_ns:
        assert 19 <= sum(abs(start - at_ns) <= 11 * step_ns for start in kept) <= 21


def test_buckets_cover_what_they_stand_for():
    timeline, _result = many(10_000)
    track = timeline.track("source", "operations")
    single, buckets = thin(track, 100, Focus((0, 10**9), (0,)), timeline.end_ns)
    assert len(single) == 100
    rest = [track[n] for n in range(len(track)) if n not in set(single)]
    assert sum(b.count for b in buckets) == len(rest)
    assert sum(b.size_bytes for b in buckets) == sum(e.size_bytes for e in rest)
    for bucket in buckets:
        inside = [e for e in rest if bucket.start_ns <= e.start_ns <= bucket.end_ns]
        assert len(inside) == bucket.count
        assert (bucket.first, bucket.last) == (inside[0].first, inside[-1].last)


@pytest.mark.parametrize(
    ("sizes", "budget", "given"),
    [
        ([5, 5], 100, [5, 5]),
        ([5, 1000], 100, [5, 95]),
        ([1000, 5, 1000], 105, [50, 5, 50]),
        ([], 10, []),
    ],
)
def test_small_tracks_are_kept_whole_and_large_ones_share_the_rest(sizes, budget, given):
    assert shares(sizes, budget) == given


def test_a_page_never_grows_beyond_its_bound():
    word = "write /store/" + "ö\u2028" * 300  # long names, of which each character is escaped
    timeline, result = many(200_000, checks=4_000, word=word)
    page = timeline_page(timeline, result)
    assert len(page.encode("utf-8", "backslashreplace")) < LARGEST_PAGE_BYTES
    assert len(lane(page, "examinations")["marks"]) == 4_000
    assert count(lane(page, "operations captured")["marks"]) == 200_000
    timeline, result = many(100, checks=60_000)
    page = timeline_page(timeline, result)
    assert len(page.encode("utf-8", "backslashreplace")) < LARGEST_PAGE_BYTES
    marks = lane(page, "examinations")["marks"]
    assert len(marks) == 60_000 and any(mark[2] == "breach" for mark in marks)


# -- the story ---------------------------------------------------------------------------


class NoTruth:
    """A truth that never had the image which is claimed."""

    instant = 0
    times_ns = written_bytes = (0,)

    def __init__(self, elsewhere):
        self._elsewhere = elsewhere

    def digest_of(self, epoch, operation):
        return None

    def instant_of(self, epoch, operation):
        return 0

    def find(self, epoch, digest):
        return self._elsewhere


def test_which_operations_a_breach_is_about_is_read_in_its_own_words():
    """Whoever changes the words of the judgement hears of it here."""
    holds, detail = durable_check(Claim(2, 43, 0), {2: 57})
    assert not holds
    assert concerned_by(Check("durable means durable", 1.0, "", holds, detail)) == Concerned(
        44, 57, 2
    )
    for elsewhere in ([], [12]):
        holds, detail = prefix_check(Claim(2, 43, 7), NoTruth(elsewhere))
        assert not holds
        assert concerned_by(Check("prefix", 1.0, "", holds, detail)) == Concerned(43, 43, 2)
    assert concerned_by(Check("mountable", 1.0, "", False, "no checkpoint")) is None


def test_a_broken_promise_is_told_from_the_write_to_the_breach(broken):
    result, timeline = broken
    story = tell(timeline, result)
    first = min(check.at_seconds for check in result.checks if not check.holds)
    assert story.breach_ns == round(first * 1e9)
    assert story.headline.startswith("Broken: durable means durable. The replica had promised")
    told = [step.text for step in story.steps]
    order = [
        next(n for n, text in enumerate(told) if wanted in text)
        for wanted in (
            "The source's programs did operation",
            "Received by the replica",
            "no sync of the journal began and ended",
            "The replica promised: durable up to operation",
            "as if its power failed at this instant",
        )
    ]
    assert order == sorted(order)
    assert [step.at_ns for step in story.steps] == sorted(step.at_ns for step in story.steps)
    start_ns, end_ns = story.view_ns
    assert start_ns <= story.steps[0].at_ns and story.breach_ns <= end_ns
    assert end_ns - start_ns < timeline.end_ns / 2
    page = timeline_page(timeline, result)
    marked = [m for m in lane(page, "operations captured")["marks"] if "concerned" in m[2]]
    concerned = story.concerned
    assert len(marked) == concerned.last - concerned.first + 1
    assert "Switched off in the replicator for this run: sync before acknowledge." in page


def test_with_all_safeguards_the_journal_was_synced_before_each_promise(hurt):
    """The sentence that accuses must not come out of a run without a breach."""
    result, timeline = hurt
    # The run has a second epoch: an operation that the first one had acknowledged.
    last = max(e.first for e in timeline.events("source", "acknowledged") if e.epoch == 1)
    lie = Check(
        "durable means durable",
        timeline.end_ns / 1e9,
        "end of run",
        False,
        f"operation {last} of epoch 1 was acknowledged, {last - 1} is there",
    )
    accused = replace(result, checks=[*result.checks, lie])
    other = replace(lie, detail=lie.detail.replace("epoch 1", "epoch 2"))
    elsewhere = replace(result, checks=[*result.checks, other])
    assert not any("was synced" in step.text for step in tell(timeline, elsewhere).steps)
    told = " ".join(step.text for step in tell(timeline, accused).steps)
    assert "The journal was synced" in told and "no sync" not in told


def test_of_a_failover_the_loss_is_shown_first_and_the_end_is_told():
    text = SMALL + '[[faults]]\nkind = "loss"\nhost = "source"\nat = "2s"\n'
    result, timeline = record_timeline(parse_scenario(text))
    story = tell(timeline, result)
    assert result.recovery is not None and timeline.end_ns > 60 * 10**9
    assert story.view_ns[0] == 0 and 2 * 10**9 < story.view_ns[1] < 3 * 10**9
    assert story.steps[0].text == "Loss of the source, for ever."
    assert "Clients are at work on the replica" in story.steps[-1].text
    assert abs(story.steps[-1].at_ns - timeline.end_ns) < 10**9


def test_a_run_that_passed_tells_its_faults_and_shows_all(hurt):
    result, timeline = hurt
    story = tell(timeline, result)
    assert story.view_ns == (0, timeline.end_ns) and story.breach_ns is None
    assert "all held" in story.headline
    kinds = " ".join(step.text for step in story.steps)
    for fault in ("Link outage", "Power loss of the replica", "Link reset", "Process crash"):
        assert fault in kinds
