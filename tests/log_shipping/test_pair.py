"""Both ends over an emulated link: what they do with good logs, bad ones, and missing ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.logship import CopyUnusable
from replicator.logship_queue import ReplayDelay
from replicator.logship_status import CopyState
from simulator.host import lose_everything
from tests.log_shipping.scenes import (
    COPY,
    QUICK,
    REPLICA,
    SECOND_NS,
    SOURCE,
    STORE,
    History,
    Pair,
    generation_of,
    is_prefix,
    make_history,
    put,
)


def pair_of(history: History, **more: object) -> Pair:
    return Pair(history, **more)  # type: ignore[arg-type]


def test_logs_are_pulled_in_order_and_replayed(short_history: History) -> None:
    pair = pair_of(short_history)
    names = list(short_history.logs)
    pair.start_source()
    copy = pair.start_copy()
    pair.close_logs(*names[:2])
    pair.run()
    assert copy.status.state is CopyState.HEALTHY
    assert copy.queue is not None and copy.queue.replayed == 2
    pair.close_logs(*names[2:])
    pair.run()
    last = short_history.generations[-1]
    assert copy.queue.report().replayed == last
    inspected = [v[0] for _n, event, v in pair.events if event == "log_inspected"]
    assert inspected == short_history.generations
    generation, contents = pair.found(lose_everything)
    assert generation == last and is_prefix(contents, short_history, last)
    assert pair.states() == ["Resynchronizing", "Healthy"]
    pair.close()


def test_the_open_log_is_never_served(short_history: History) -> None:
    pair = pair_of(short_history)
    names = list(short_history.logs)
    pair.start_source()
    pair.start_copy()
    pair.close_logs(*names[:2])
    pair.run()
    there = [generation_of(name) for name in pair.replica_disk.names.directory(COPY).entries]
    assert max(there) == 2
    assert 3 not in there, "generation 3 is E00.log"
    pair.close()


def test_a_source_without_truncation_keeps_its_logs_and_one_with_it_waits(
    short_history: History,
) -> None:
    for truncate in (False, True):
        pair = pair_of(short_history, truncate=truncate)
        pair.start_source()
        pair.close_logs()
        pair.run()
        there = pair.source_disk.names.directory(STORE).entries
        assert set(short_history.logs) <= set(there), "nothing is deleted without a checkpoint"
        pair.close()


def test_a_connection_that_breaks_is_made_again(short_history: History) -> None:
    pair = pair_of(short_history)
    pair.start_source()
    copy = pair.start_copy()
    pair.run(0.3)
    pair.world.machine(SOURCE).crash_process("server")
    pair.run(0.3)
    assert copy.status.state is CopyState.DISCONNECTED_AND_HEALTHY
    pair.close_logs()
    pair.start_source()
    pair.run(2)
    assert copy.status.state is CopyState.HEALTHY
    assert copy.queue is not None and copy.queue.replayed == short_history.generations[-1]
    pair.close()


def test_a_bad_log_is_copied_again_and_again_and_then_the_copy_is_failed(
    short_history: History,
) -> None:
    pair = pair_of(short_history)
    names = list(short_history.logs)
    pair.start_source()
    copy = pair.start_copy()
    pair.close_logs(names[0])
    pair.close_logs(names[1], damage=lambda data: data[:6000] + b"\x01" + data[6001:])
    pair.run(0.4)
    refused = [v for _n, event, v in pair.events if event == "log_refused"]
    assert [generation for generation, _why in refused[:3]] == [2, 2, 2]
    assert "-501" in str(refused[0][1])
    assert copy.status.state is CopyState.FAILED and "-501" in copy.status.cause
    assert copy.queue is not None and copy.queue.inspected == 1, "it never counts"
    pair.close_logs(*names[1:])  # somebody has mended it
    pair.run(2)
    assert copy.status.state is CopyState.HEALTHY
    assert copy.queue.replayed == short_history.generations[-1]
    pair.close()


def test_a_log_that_the_source_has_not_any_more_needs_an_operator(
    short_history: History,
) -> None:
    pair = pair_of(short_history)
    pair.start_source()
    copy = pair.start_copy()
    pair.close_logs(*list(short_history.logs)[2:])
    pair.run()
    assert copy.status.state is CopyState.FAILED_AND_SUSPENDED
    assert "generation 0x1" in copy.status.cause and "seeded anew" in copy.status.cause
    pair.close_logs()
    pair.run()
    assert copy.status.state is CopyState.FAILED_AND_SUSPENDED, "by itself it does nothing"
    copy.resume()
    pair.run()
    assert copy.status.state is CopyState.HEALTHY
    pair.close()


def test_a_source_of_another_history_is_noticed(short_history: History) -> None:
    """It was restored, say, and has closed a second generation two of its own."""
    pair = pair_of(short_history)
    pair.start_source()
    copy = pair.start_copy()
    names = list(short_history.logs)
    pair.close_logs(*names[:2])
    pair.run()
    pair.history = make_history(20, seed=2)
    pair.world.machine(SOURCE).crash_process("server")
    pair.close_logs(*names[:2])
    pair.start_source()
    pair.run(2)
    assert copy.status.state is CopyState.FAILED_AND_SUSPENDED
    assert "the two have parted" in copy.status.cause
    _generation, contents = pair.found()
    assert is_prefix(contents, short_history, 2), "what it has stays usable"
    pair.close()


def test_a_suspended_copy_does_nothing_and_goes_on(short_history: History) -> None:
    pair = pair_of(short_history)
    pair.start_source()
    copy = pair.start_copy()
    pair.run(0.3)
    copy.suspend("for maintenance")
    pair.close_logs()
    pair.run()
    assert copy.status.state is CopyState.SUSPENDED
    assert copy.queue is not None and copy.queue.inspected == 0
    copy.resume()
    pair.run()
    assert copy.queue is not None and copy.queue.replayed == short_history.generations[-1]
    pair.close()


def test_a_source_may_call_its_logs_by_eight_digits_and_by_five(short_history: History) -> None:
    """A copy calls all of its own alike: a recovery would not find those that it guesses."""
    pair = pair_of(short_history)
    first, second = list(short_history.logs)[:2]
    pair.start_source()
    pair.start_copy()
    pair.close_logs(first)
    other_name = f"E00{generation_of(second):05X}.log"
    host = pair.world.machine(SOURCE).processes["courier"]
    host.start(put(pair.source_volume, STORE, {other_name: short_history.logs[second]}), "closes")
    pair.run()
    there = pair.replica_disk.names.directory(COPY).entries
    assert second in there and other_name not in there
    generation, contents = pair.found(lose_everything)
    assert generation == 2 and is_prefix(contents, short_history, 2)
    pair.close()


def test_a_copy_without_a_database_waits_for_one(short_history: History) -> None:
    pair = pair_of(History())
    pair.history = short_history
    pair.start_source()
    copy = pair.start_copy()
    pair.run(0.5)
    assert copy.status.state is CopyState.SEEDING
    host = pair.world.machine(REPLICA).processes["courier"]
    host.start(put(host.volume("data"), COPY, short_history.seed), "brings")
    pair.close_logs()
    pair.run(2)
    assert copy.status.state is CopyState.HEALTHY
    pair.close()


def test_replay_stays_behind_as_asked(short_history: History) -> None:
    delay = ReplayDelay(lag_ns=SECOND_NS, behind_logs=1)
    pair = pair_of(short_history, options=replace(QUICK, delay=delay))
    pair.start_source()
    copy = pair.start_copy()
    pair.close_logs()
    pair.run(0.8)
    last = short_history.generations[-1]
    assert copy.queue is not None
    assert (copy.queue.inspected, copy.queue.replayed) == (last, 0)
    pair.run(1)
    assert copy.queue.replayed == last - 1
    generation, contents = pair.found()
    assert generation == last and is_prefix(contents, short_history, last), "activation has all"
    pair.close()


def test_an_activation_ends_the_copy_and_leaves_a_clean_store(short_history: History) -> None:
    pair = pair_of(short_history, options=replace(QUICK, replay_per_log_ns=SECOND_NS))
    pair.start_source()
    copy = pair.start_copy()
    pair.close_logs()
    pair.run(0.5)
    host = pair.world.machine(REPLICA).processes["copy"]
    done = host.kernel.run_task(copy.activate(), "activation", lambda _task: None)
    begun_ns = pair.world.clock.now()
    while not done.done:
        pair.run(0.1)
    took_s = (pair.world.clock.now() - begun_ns) / SECOND_NS
    last = short_history.generations[-1]
    assert done.result() == last
    assert took_s >= last - 1, "the replay queue takes its time"
    assert copy.status.state is CopyState.MOUNTED
    _generation, contents = pair.found()
    assert is_prefix(contents, short_history, last)
    pair.close()


def test_a_set_of_another_name_is_refused(short_history: History) -> None:
    pair = pair_of(short_history, options=replace(QUICK, set_id="another"))
    pair.start_source()
    copy = pair.start_copy()
    pair.close_logs()
    pair.run(0.5)
    assert copy.status.state is CopyState.FAILED
    assert "this is the source of 'set'" in copy.status.cause
    assert copy.queue is not None and copy.queue.inspected == 0
    pair.close()


def test_a_lost_log_directory_is_no_traceback(short_history: History) -> None:
    """A database that needs logs which are not there: activation says so."""
    pair = pair_of(short_history)
    pair.start_source()
    pair.start_copy()
    pair.close_logs()
    pair.run()
    pair.world.machine(REPLICA).crash_process("copy")
    volume = pair.world.machine(REPLICA).processes["courier"].volume("data")
    for name in volume.list(COPY):
        if generation_of(name):
            volume.unlink(f"{COPY}/{name}")
    with pytest.raises(CopyUnusable, match="-528"):
        pair.found()
    pair.close()
