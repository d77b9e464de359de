"""Plans that campaigns found defects with, shrunk: each is a scenario of its own and must pass.

Some damage both sites by design: there the verdict has to say so, and nothing else.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from replicator import protocol
from replicator.capture import Capture
from replicator.home import HomeImage
from replicator.log_recovery import LogRecovery
from replicator.replica_checkpointer import ReplicaCheckpointer
from replicator.replica_store import ReplicaStore
from replicator.source import Source
from replicator.source_session import SourceSession
from simulator import promises
from simulator.circumstances import CircumstanceFinder
from simulator.measures import RunResult, Verdict
from simulator.run import run_scenario
from simulator.scenario import load_scenario
from simulator.truth import Truth

FOUND = sorted((Path(__file__).parent / "found").glob("*.toml"))
UNRECOVERABLE = {
    "ahead_until_another_image": "prefix cannot be kept under the bit rot",
    "doubtful_image_takes_over": "durable means durable: what the bit rot",
}
"""By name: what the first reason begins with."""


def run(name: str) -> RunResult:
    [path] = [path for path in FOUND if path.stem == name]
    return run_scenario(load_scenario(path))


@pytest.mark.parametrize("name", [path.stem for path in FOUND])
def test_what_was_found_once_stays_mended(name: str) -> None:
    result = run(name)
    assert result.faults, "it really happened"
    if name not in UNRECOVERABLE:
        assert result.verdict is Verdict.PASS, result.reasons
        return
    assert result.verdict is Verdict.UNRECOVERABLE, result.reasons
    assert result.reasons[0].startswith(UNRECOVERABLE[name])


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_each_names_the_store_that_it_was_found_with(path: Path) -> None:
    """Another default would make another run of it, which proves nothing."""
    assert tomllib.loads(path.read_text(encoding="utf-8"))["stream"]["format"] == "small"


# -- without what mended it, each is a breach again --------------------------------------


def test_without_the_sync_of_home() -> None:
    """What a dead process left is synced before it is a basis."""

    async def nothing(_home: HomeImage) -> None:
        return None

    # Where it is in doubt it is written again, which syncs it too.
    with (
        mock.patch.object(HomeImage, "write_again", nothing),
        mock.patch.object(HomeImage, "sync_all", nothing),
    ):
        result = run("home_in_the_cache_only")
    assert result.verdict is Verdict.SAFETY, result.reasons


def test_a_source_that_goes_on_believing_that_its_history_is_there() -> None:
    forget = Source.has_nothing

    def only_at_a_new_history(source: Source) -> None:
        if not source.committed or source.spool.history.hex() not in seen:
            seen.add(source.spool.history.hex())
            forget(source)

    seen: set[str] = set()
    with mock.patch.object(Source, "has_nothing", only_at_a_new_history):
        result = run("replica_from_an_empty_copy")
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert "epoch 1 was acknowledged, epoch 0 is there" in result.reasons[0]


def test_who_waits_for_a_checkpoint_wakes_who_waits_for_it_too() -> None:
    """With one signal for what is asked and what is told, time stands still."""
    begin = ReplicaStore.__init__

    def with_one_signal(store: ReplicaStore, *arguments: Any, **more: Any) -> None:
        begin(store, *arguments, **more)
        store.marks.asked = store.marks.changed

    with mock.patch.object(ReplicaStore, "__init__", with_one_signal):
        result = run("two_wait_for_a_checkpoint")
    assert result.verdict is Verdict.LIVENESS, result.reasons
    assert "tasks wake each other for ever" in result.reasons[0]


def test_a_header_without_a_seal() -> None:
    with mock.patch.object(protocol, "head_seal", lambda _head: 0):
        result = run("changed_length_swallows_heartbeats")
    assert result.verdict is Verdict.LIVENESS, result.reasons


def test_a_doubt_that_ends_when_any_source_says_hello() -> None:
    """As it once was: the mark was told before anybody knew that the histories agree."""
    handshake = SourceSession._handshake

    async def any_mark_will_do(session: SourceSession) -> object:
        for replica in replicas:
            replica.image.source_has(replica.image.epoch, session._spool.completed)
        return await handshake(session)

    replicas: list[ReplicaStore] = []
    made = ReplicaStore.__init__

    def remember(store: ReplicaStore, *args: object, **kwargs: object) -> None:
        made(store, *args, **kwargs)  # type: ignore[arg-type]
        replicas.append(store)

    with (
        mock.patch.object(ReplicaStore, "__init__", remember),
        mock.patch.object(SourceSession, "_handshake", any_mark_will_do),
    ):
        result = run("mark_of_the_next_history")
    assert result.verdict is Verdict.SAFETY, result.reasons


def test_a_recovery_that_takes_for_torn_what_it_has_let_go_of() -> None:
    """The rot is before the place from which the checkpoint redoes; one of two ways would do."""
    unseen = mock.patch("replicator.replica_journal.lost_before", lambda *_args: "")
    stopped = mock.patch.object(LogRecovery, "_pass_over", lambda *_args: False)
    for alone in (unseen, stopped):
        with alone:
            result = run("rot_beside_what_was_let_go")
        assert result.verdict is Verdict.PASS, result.reasons
    with unseen, stopped:
        result = run("rot_beside_what_was_let_go")
    assert result.verdict is Verdict.SAFETY, result.reasons


@pytest.mark.parametrize("question", ["rotten_end", "_may_be_ahead"])
def test_a_bench_that_does_not_know_what_the_newest_record_s_rot_does(question: str) -> None:
    """Home is ahead of the journal then, through nobody's fault."""
    with mock.patch.object(CircumstanceFinder, question, lambda *_args: False):
        result = run("ahead_until_another_image")
    assert result.verdict is Verdict.SAFETY
    assert result.reasons[0].startswith("prefix is broken")


def test_pages_whose_room_was_promised_to_one_write() -> None:
    admit = Capture.admit

    async def as_one(capture: Capture, size_bytes: int, _writes: int = 1) -> None:
        await admit(capture, size_bytes)

    with mock.patch.object(Capture, "admit", as_one):
        result = run("many_pages_admitted_at_once")
    assert result.verdict is Verdict.LIVENESS, result.reasons
    assert "the spool has no room" in result.reasons[0]


def test_without_a_doubt_of_answers_that_are_under_way() -> None:
    """The bench took what the replica said before its old copy was put back for a promise."""
    with mock.patch.object(promises, "_HEARING", promises._TOLD):
        result = run("answer_under_way_when_restored")
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert "replica went back" in result.reasons[1]


def test_without_what_the_full_volume_refused() -> None:
    """The bench knew of no write that capture had seen end short and its program had not."""
    with mock.patch.object(Truth, "_was_refused", return_value=False):
        result = run("cut_short_for_want_of_room")
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert "neither that before nor that after" in result.reasons[-1]


def test_with_one_copy_of_the_checkpoint_before_a_name() -> None:
    with mock.patch.object(ReplicaCheckpointer, "_settled", True):
        result = run("newest_checkpoint_rots_at_a_name")
    assert result.verdict is Verdict.SAFETY, result.reasons
    assert "a file of the image is gone" in result.reasons[0]
