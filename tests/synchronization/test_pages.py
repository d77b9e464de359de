"""Digests, staging and the overlay: whatever differs and whatever broke, the images end equal."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replicator.committed_pages import discard_committed
from replicator.digests import (
    DIGEST_BYTES,
    EXTENT_BYTES,
    PAGE_BYTES,
    PAGES_PER_EXTENT,
    differing,
    page_digests,
    pages_of,
    with_extents,
)
from replicator.errors import ConnectionLost, DamagedLog
from replicator.runtime import group, yield_now
from simulator.host import keep_everything, lose_everything, seeded_choice
from tests.synchronization.pair import Pair


def content(pages: list[int], tail: int) -> bytes:
    """Pages by number (0: zeros), the last one cut to ``tail`` bytes."""
    whole = b"".join(
        random.Random(n).randbytes(PAGE_BYTES) if n else bytes(PAGE_BYTES) for n in pages
    )
    return whole[: max(0, len(whole) - PAGE_BYTES + tail)] if pages else b""


FILES = st.builds(
    content,
    st.lists(st.integers(0, 3), max_size=3)
    | st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=30, max_size=70),
    st.integers(1, PAGE_BYTES),
)
TREES = st.dictionaries(st.sampled_from(["/a", "/b", "/c"]), FILES, max_size=3)


@given(FILES, FILES, st.integers(0, 2**64 - 1))
def test_digests_differ_exactly_where_the_padded_bytes_do(one, other, seed):
    pages = pages_of(max(len(one), len(other)))
    own = with_extents(page_digests(one, pages, seed), seed)
    theirs = with_extents(page_digests(other, pages, seed), seed)
    size = pages * PAGE_BYTES
    a, b = one.ljust(size, b"\0"), other.ljust(size, b"\0")
    for ours, others, step in (
        (own.extents, theirs.extents, EXTENT_BYTES),
        (own.pages, theirs.pages, PAGE_BYTES),
    ):
        wanted = [
            n for n in range(-(-size // step)) if a[n * step :][:step] != b[n * step :][:step]
        ]
        assert len(ours) == DIGEST_BYTES * -(-size // step)
        assert differing(ours, others) == wanted
    rows = [own.pages_of_extent(n) for n in range(len(own.extents) // DIGEST_BYTES)]
    assert b"".join(rows) == own.pages


def test_another_seed_is_another_digest():
    one, other = (with_extents(page_digests(b"x", 1, seed), seed) for seed in (1, 2))
    assert one.extents != other.extents
    assert one.pages != other.pages


@given(TREES, TREES)
def test_an_image_becomes_the_other(source, home):
    pair = Pair(source, home)
    pair.commit(pair.attempt())
    assert pair.tree("/home") == source
    assert pair.sent == pair.received
    assert pair.volume.list("/staging") == []
    pair.close()


BREAKS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["cut", "crash", "none", "all", "some"])),
    min_size=1,
    max_size=4,
)


@given(TREES, TREES, TREES, BREAKS)
@settings(max_examples=200)
def test_broken_attempts_are_taken_up_again(source, home, later, breaks):
    """Cuts, crashes and power losses of the replica, while the source changes in between."""
    pair = Pair(source, home)
    for number, (frames, what) in enumerate(breaks):
        with suppress(ConnectionLost):
            pair.attempt(frames)
        choose = {"none": lose_everything, "all": keep_everything, "some": seeded_choice(what)}
        if what in choose:
            pair.run(sync_all(pair, "/home", "/source", ""))  # only staging is in doubt
            pair.restart(choose[what])
        elif what == "crash":
            pair.restart()
        if number == 0:
            for path, data in later.items():
                if pair.volume.exists("/source" + path):
                    pair.write("/source" + path, 0, data)
    wanted = pair.tree("/source")
    old = pair.tree("/home")
    document = pair.attempt()
    assert pair.tree("/home") == old, "nothing changes before the commit"
    pair.commit(document)
    assert pair.tree("/home") == wanted
    pair.close()


async def sync_all(pair: Pair, *roots: str) -> None:
    for root in roots:
        for name in pair.volume.list(root or "/"):
            path = f"{root}/{name}"
            if root:
                await pair.volume.open(path).sync()
        await pair.volume.sync_directory(root or "/")


def test_what_was_staged_is_not_sent_again():
    data = random.Random(5).randbytes(3 * EXTENT_BYTES)
    pair = Pair({"/a": data}, {})
    with pytest.raises(ConnectionLost):
        pair.attempt(6)
    before = pair.received.data_pages
    assert before >= PAGES_PER_EXTENT
    pair.restart()
    pair.commit(pair.attempt())
    assert pair.received.data_pages == 3 * PAGES_PER_EXTENT
    assert pair.tree("/home") == {"/a": data}
    pair.close()


def test_a_damaged_staged_page_is_sent_again():
    data = random.Random(5).randbytes(2 * EXTENT_BYTES)
    pair = Pair({"/a": data}, {"/a": bytes(len(data))})
    pair.attempt()
    [name] = [n for n in pair.volume.list("/staging") if n.endswith(".pages")]
    pair.write(f"/staging/{name}", 5 * PAGE_BYTES + 77, b"?")
    before = pair.received.data_pages
    pair.commit(pair.attempt())
    assert pair.received.data_pages == before + 1
    assert pair.tree("/home") == {"/a": data}
    pair.close()


def test_a_damaged_staged_page_is_forgotten_even_if_it_is_not_needed_any_more():
    old, new = (random.Random(n).randbytes(EXTENT_BYTES) for n in (1, 2))
    pair = Pair({"/a": new}, {"/a": old})
    pair.attempt()
    [name] = [n for n in pair.volume.list("/staging") if n.endswith(".pages")]
    pair.write(f"/staging/{name}", 77, b"?")
    pair.write("/source/a", 0, old)
    pair.commit(pair.attempt())
    assert pair.tree("/home") == {"/a": old}
    pair.close()


@pytest.mark.parametrize(("suffix", "place"), [(".pages", 100), (".index", 3), (".index", 16)])
def test_damage_after_the_commit_is_found_before_it_is_used(suffix, place):
    pair = Pair({"/a": random.Random(5).randbytes(EXTENT_BYTES)}, {"/a": b"old"})
    document = pair.attempt()
    pair.write(document["path"] + suffix, place, b"\xee")
    with pytest.raises(DamagedLog) as damaged:
        pair.commit(document)
    assert damaged.value.path == document["path"] + suffix
    pair.close()


def test_zeros_cost_next_to_nothing():
    pair = Pair({"/a": b""}, {"/a": random.Random(1).randbytes(4 * EXTENT_BYTES)})
    pair.volume.open("/source/a").truncate(256 * EXTENT_BYTES)
    pair.commit(pair.attempt())
    assert pair.sent.data_pages == 0
    assert pair.sent.zero_pages == 4 * PAGES_PER_EXTENT
    assert pair.sent.total_bytes < 3000
    assert pair.tree("/home") == {"/a": bytes(256 * EXTENT_BYTES)}
    pair.close()


def test_a_file_that_grows_between_attempts_keeps_what_was_staged():
    data = random.Random(9).randbytes(2 * EXTENT_BYTES)
    pair = Pair({"/a": data}, {})
    pair.attempt()
    pair.write("/source/a", len(data), data[:EXTENT_BYTES])
    before = pair.received.data_pages
    pair.commit(pair.attempt())
    assert pair.received.data_pages == before + PAGES_PER_EXTENT
    pair.close()


def test_what_was_staged_is_removed_piece_by_piece() -> None:
    """A file system may take seconds for all of it, and heartbeats must go out meanwhile."""
    pair = Pair({}, {})
    file = pair.volume.create("/staging/epoch-00000001.pages")
    for number in range(5):
        file.write_at(number << 26, b"x")
    file.close()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while pair.volume.exists("/staging/epoch-00000001.pages"):
            turns += 1
            await yield_now()

    async def main() -> None:
        async with group() as g:
            g.spawn(others(), "others")
            await discard_committed(pair.volume, {"path": "/staging/epoch-00000001"})

    pair.run(main())
    assert turns >= 8
    pair.close()
