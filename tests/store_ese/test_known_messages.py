"""Messages read through what is known of pages: the same ones, and whatever is wrong is found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

import pytest
import xxhash

from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.runtime import Kernel, group
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.engine_store import BODY_MOST_BYTES, EngineStore
from simulator.exchange.ese import known_messages, known_pages
from simulator.exchange.ese.known_messages import KnownMessages, knowing_messages
from simulator.exchange.ese.mailboxes import Mailboxes
from simulator.exchange.store import Message, StoreUnmountable, payload_digest
from simulator.runtime import SimClock
from tests.store.harness import payload
from tests.store.memory_volume import Medium, MemoryVolume
from tests.store_ese.engine_harness import new_medium

T = TypeVar("T")
DATABASE = "/store/priv1.edb"
SIZES = (300, 5_000, BODY_MOST_BYTES, 40_000, 0, BODY_MOST_BYTES + 1, 9_000, 26_000, 120, 2_000)
CONFIGS = {
    version: EngineStoreConfig(
        format=version,  # type: ignore[arg-type]
        database_size_bytes=24 << 20,
        log_size_bytes=256 << 10,
        mailboxes=2,
    )
    for version in ("exchange 2003", "exchange 2007", "exchange 2010")
}
CONFIG = CONFIGS["exchange 2007"]


def lived(medium: Medium, config: EngineStoreConfig, script: Callable[[EngineStore], Any]) -> Any:
    """What a script returns of the store that is mounted there, and closed afterwards."""
    clock = SimClock()
    kernel = Kernel(clock, None)
    draws = count(1)
    store = EngineStore(
        MemoryVolume(medium, None),
        "/store",
        now_ns=clock.now,
        wall_ns=lambda: 10**18,
        random=lambda: next(draws) / 1e6,
        config=config,
    )

    async def life() -> Any:
        await store.mount()
        return await script(store)

    task = kernel.run_task(life(), "life")
    clock.run_until_idle()
    assert task.done, "the script hangs"
    kernel.close()
    return task.result()


def deliver(
    medium: Medium, config: EngineStoreConfig, ids: range, delete: tuple[int, ...] = ()
) -> dict[int, bytes]:
    """Deliver messages; returns the digests of these."""
    messages = [
        Message(number, number % 2, payload(number, SIZES[number % len(SIZES)])) for number in ids
    ]

    async def script(store: EngineStore) -> None:
        async with group() as tasks:
            tasks.spawn(store.run(), "store")
            for at, message in enumerate(messages):
                await store.deliver([message], delete[at : at + 1])
            await store.dismount()

    lived(medium, config, script)
    return {each.message_id: payload_digest(each.payload) for each in messages}


def contents(
    medium: Medium, known: KnownMessages | None, config: EngineStoreConfig = CONFIG
) -> dict[int, bytes]:
    """The messages of a copy, as an examination reads it."""

    async def script(store: EngineStore) -> dict[int, bytes]:
        return await store.contents()

    copy = medium.copy()
    if known is None:
        return dict(lived(copy, config, script))
    with knowing_messages(known):
        return dict(lived(copy, config, script))


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each walk through all rows, which is what nothing is known for."""
    made: list[object] = []
    messages = Mailboxes.messages

    def walked(mailboxes: Mailboxes) -> Any:
        made.append(mailboxes)
        return messages(mailboxes)

    monkeypatch.setattr(Mailboxes, "messages", walked)
    return made


@pytest.mark.parametrize("version", CONFIGS)
def test_the_next_image_costs_what_is_new_in_it(version: str, walks: list[object]) -> None:
    config, medium, known = CONFIGS[version], new_medium(), KnownMessages()
    there = deliver(medium, config, range(1, 101))
    plain = contents(medium, None, config)
    assert plain == there and len(walks) == 1
    assert list(contents(medium, known, config)) == list(plain)
    assert len(walks) == 1
    pages = known.facts.misses
    assert contents(medium, known, config) == plain
    assert known.facts.misses == pages, "an image that is known is known page by page"
    gone = tuple(range(3, 9))
    there |= deliver(medium, config, range(101, 107), gone)
    assert contents(medium, known, config) == {
        number: digest for number, digest in there.items() if number not in gone
    }
    assert known.facts.misses - pages < pages / 2
    assert len(walks) == 1


def test_tables_that_hold_little_change_nothing_but_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    medium = new_medium()
    there = deliver(medium, CONFIG, range(1, 21))
    for limit in (0, 5_000):
        known = KnownMessages(limit, limit)
        for _time in range(2):
            assert contents(medium, known) == there
        assert known.facts.weight <= limit and known.digests.weight <= limit
    monkeypatch.setattr(known_pages, "FRESH_BYTES", 3_000)
    known = KnownMessages()
    assert contents(medium, known) == there, "pieces that are not at hand are read once more"
    assert 0 < len(known.digests) < len(there)


def test_pages_known_by_their_number_alone_would_bring_old_messages_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The safeguard is the hash over the bytes: without it pages of the first image count."""
    medium, known = new_medium(), KnownMessages()
    there = deliver(medium, CONFIG, range(1, 21))
    monkeypatch.setattr(known_pages, "_key", lambda _page, pgno, role: (pgno, role))
    assert contents(medium, known) == there
    gone = (1, 2, 3)
    there |= deliver(medium, CONFIG, range(21, 24), gone)
    right = {number: digest for number, digest in there.items() if number not in gone}
    assert contents(medium, None) == right
    assert contents(medium, known) != right


# -- what is wrong --------------------------------------------------------------------------


def change(medium: Medium, pgno: int, how: Callable[[PageEditor], None]) -> None:
    """Make a page say something else, with a checksum that fits."""
    size = CONFIG.store_format.page_bytes
    inode, at = medium.names[DATABASE], page_offset(pgno, size)
    assert inode is not None
    page = PageEditor.load(bytes(inode.data[at : at + size]), pgno)
    how(page)
    inode.write(at, page.sealed_bytes())
    inode.durable = bytes(inode.data)


def leaves(medium: Medium) -> list[int]:
    """Leaves that have another one on their right."""
    size = CONFIG.store_format.page_bytes
    inode = medium.names[DATABASE]
    assert inode is not None
    found = []
    for pgno in range(1, len(inode.data) // size - 1):
        data = bytes(inode.data[page_offset(pgno, size) : page_offset(pgno + 1, size)])
        if any(data):
            page = PageEditor.load(data, pgno)
            wanted = page.flags & PageFlag.LEAF and not page.flags & PageFlag.SPACE_TREE
            if wanted and page.next_pgno and page.line_count > 1:
                found.append(pgno)
    return found


def outcome(read: Callable[[], T]) -> T | tuple[int | None, str]:
    try:
        return read()
    except StoreUnmountable as refused:
        return refused.number, str(refused)


def lead_nowhere(page: PageEditor) -> None:
    page.next_pgno = 0


def lose_the_last(page: PageEditor) -> None:
    page.delete(page.line_count - 1)


@pytest.mark.parametrize("how", [lead_nowhere, lose_the_last], ids=lambda each: each.__name__)
def test_a_tree_that_does_not_hold_together_is_read_as_ever(
    how: Callable[[PageEditor], None],
) -> None:
    """Whatever a walk makes of it, a missing message or the engine's number, comes out."""
    medium, known = new_medium(), KnownMessages()
    there = deliver(medium, CONFIG, range(1, 31))
    assert contents(medium, known) == there
    differing = 0
    for pgno in leaves(medium)[::4]:
        broken = medium.copy()
        change(broken, pgno, how)
        plain = outcome(lambda image=broken: contents(image, None))
        assert outcome(lambda image=broken: contents(image, known)) == plain
        differing += plain != there
    assert differing > 0


def test_without_a_look_at_how_leaves_are_linked_a_broken_chain_would_be_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_pages, "_check_leaves", lambda _leaves, _level: None)
    medium, known = new_medium(), KnownMessages()
    there = deliver(medium, CONFIG, range(1, 201))
    missed = 0
    for pgno in leaves(medium):
        broken = medium.copy()
        change(broken, pgno, lead_nowhere)
        if outcome(lambda image=broken: contents(image, None)) != there:
            missed += outcome(lambda image=broken: contents(image, known)) == there
            break
    assert missed


def test_a_damaged_page_has_the_engines_number_each_time() -> None:
    medium, known = new_medium(), KnownMessages()
    deliver(medium, CONFIG, range(1, 21))
    contents(medium, known)
    pgno = leaves(medium)[-1]
    inode, at = medium.names[DATABASE], page_offset(pgno, CONFIG.store_format.page_bytes)
    assert inode is not None
    inode.write(at + 4_000, bytes(each ^ 0xFF for each in inode.data[at + 4_000 : at + 4_002]))
    inode.durable = bytes(inode.data)
    plain = outcome(lambda: contents(medium, None))
    for _time in range(2):
        assert outcome(lambda: contents(medium, known)) == plain
    assert isinstance(plain, tuple) and plain[0] == -1018


def test_it_is_off_by_default_and_for_what_is_not_written() -> None:
    medium, known = new_medium(), KnownMessages()
    there = deliver(medium, CONFIG, range(1, 6))
    assert contents(medium, None) == there

    async def script(store: EngineStore) -> dict[int, bytes]:
        async with group() as tasks:
            tasks.spawn(store.run(), "store")
            await store.deliver([Message(9, 1, b"only in memory yet")])
            found = await store.contents()
            await store.dismount()
        return found

    with knowing_messages(known):
        found = lived(medium, CONFIG, script)
    assert found == {**there, 9: payload_digest(b"only in memory yet")}
    assert len(known.facts) == 0
    assert known_messages._now.get() is None
    assert xxhash.xxh3_128_digest(b"") == payload_digest(b"")
