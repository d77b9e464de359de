"""The log stream with logs of version 7, the same lives and the same crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.errors import NoSpace
from replicator.ese.log_directory import ALL_SAFEGUARDS
from replicator.ese.log_v7_checksum import CHECKSUM_RECORD_BYTES
from replicator.ese.log_v7_encoding import EXCHANGE_2000, LogV7Format
from tests.ese.log_writing import (
    DIRECTORY,
    UNDO,
    Logger,
    breach,
    crash_states,
    files_of,
    read_back,
    run,
    short_life,
    unseen,
)
from tests.ese.test_log_stream import go_on
from tests.store.memory_volume import Medium

LOG_BYTES = 28 << 10


@pytest.fixture(autouse=True)
def version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    def format_7(_logger: Logger) -> LogV7Format:
        return LogV7Format(file_bytes=LOG_BYTES, version=EXCHANGE_2000, page_size=4096)

    monkeypatch.setattr(Logger, "format", property(format_7))
    monkeypatch.setattr(Logger, "first_place", (8, CHECKSUM_RECORD_BYTES))


def test_all_that_was_logged_is_read_back() -> None:
    life = run(Medium(), short_life)
    assert life.error is None, life.error
    assert breach(life.medium, life.diary) == ""
    files = files_of(life.medium)
    records, errors = read_back(files)
    assert not errors
    assert [data for _, data in records] == [
        data for place, data in life.diary.logged if place >= records[0][0]
    ]
    closed = [name for name in files if name.startswith("E000000")]
    assert closed, "a log was rolled, its name with five digits"


def test_whatever_crashes_leaves_a_valid_chain() -> None:
    states = 0
    for name, medium, diary in crash_states():
        states += 1
        found = breach(medium, diary)
        assert not found, f"{name}: {found}"
    assert states > 600


def test_a_log_goes_on_behind_what_a_crash_has_left() -> None:
    for name, medium, diary in unseen(crash_states(stride=2)):
        found = go_on(name, medium, diary)
        assert not found, found


def test_without_the_sync_before_the_promise_it_is_broken() -> None:
    careless = replace(ALL_SAFEGUARDS, sync_before_return=False)
    assert any(breach(m, diary) for _, m, diary in crash_states(safeguards=careless, stride=2))


CIRCULAR_SIZES = (9000, 4000, 9000, 12_000, 300, 17_000, 9000, 13_000)


async def circular_life(logger: Logger) -> None:
    """Rolls in which old logs, full of old records, become the next one."""
    await logger.create()
    for size in CIRCULAR_SIZES:
        await logger.commit(size)
        logger.stream.delete_below(logger.stream.generation - 1)
    await logger.stream.close()


def test_logs_that_are_used_again_hold_nothing_of_their_older_life() -> None:
    whole = run(Medium(), circular_life, circular=True)
    assert whole.error is None, whole.error
    assert any("rename" in step and "tmp.log" in step.split()[2] for step in whole.steps)
    states = 0
    for name, medium, diary in crash_states(script=circular_life, circular=True, stride=3):
        states += 1
        assert breach(medium, diary) == "", name
        found = go_on(name, medium, diary)
        assert not found, found
    assert states > 200


def test_so_it_is_with_a_reserve_log() -> None:
    """Reserve logs are all zero, and nothing but the fill pattern may lie behind the data."""
    life = run(Medium(), short_life)
    medium = life.medium
    temporary, reserve = f"{DIRECTORY}/E00tmp.log", f"{DIRECTORY}/res1.log"
    assert medium.names[reserve] is not None

    async def full(logger: Logger) -> None:
        volume = logger.volume
        if volume.exists(temporary):
            volume.unlink(temporary)
        create = volume.create

        def refused(path: str) -> object:
            if path == temporary:
                raise NoSpace("the volume is full", path=path)
            return create(path)

        volume.create = refused  # type: ignore[method-assign,assignment]
        await logger.resume()
        logger.append_record(UNDO, new_segment=True)
        await logger.commit(15_000)
        await logger.commit(15_000)
        assert logger.stream.must_shut_down
        await logger.stream.close()

    again = run(medium, full, diary=life.diary)
    assert again.error is None, again.error
    assert breach(medium, again.diary) == ""
