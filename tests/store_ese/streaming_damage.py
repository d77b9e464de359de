"""Damage to the streaming file of a store of 2003, and what finds it: rows of the same table."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from replicator.ese.database import Database
from replicator.ese.errors import EseError
from replicator.ese.reader import BytesReader
from replicator.ese.streaming_file import (
    CLUSTER_BYTES,
    CLUSTER_PAGES,
    PAGE_BYTES,
    STREAM,
    StreamPlace,
    page_at,
    read_content,
    stream_places,
)
from replicator.runtime import group
from simulator.exchange.ese.corruption import Damage, DamageKind
from simulator.exchange.ese.streamed_contents import StreamedContents
from tests.ese.small_ese_store import run_recovery
from tests.store_ese.damaged_files import (
    NOT_FOUND,
    WHOLE,
    Case,
    Files,
    damaged,
    files_of,
    medium_of,
    numbers,
    verified,
)
from tests.store_ese.engine_harness import Life, body, new_medium, run
from tests.store_ese.stores import CONFIGS, DATABASE

STREAM_FILE: Final = "priv1.stm"
_CONFIG: Final = replace(
    CONFIGS["exchange 2003"], streaming_file=True, log_file_bytes=48 << 10, circular=True
)
_CONTENTS: Final = 4
_DELETED: Final = 1
"""So there is a cluster that no row names."""
_SIZE: Final = CLUSTER_BYTES + 3 * PAGE_BYTES + 100
"""Two clusters each, the second one used in part."""
_REPEATS: Final = 3
"""A content of four bytes again and again: the words of a page cancel each other in XOR."""
Contents = dict[int, bytes]


def content(number: int) -> bytes:
    return body(number, _SIZE) if number == _REPEATS else random.Random(number).randbytes(_SIZE)


@lru_cache(maxsize=2)
def streamed(*, clean: bool) -> Files:
    """The files of a store with contents, shut down or dead with one more underway."""
    medium = new_medium()

    async def live(life: Life) -> None:
        instance = await life.open()
        async with group() as tasks:
            tasks.spawn(instance.run(), "engine")
            one = await instance.create_database(DATABASE, initial_pages=34)
            session = instance.session(one)
            session.begin()
            await session.do(one.database.create_table, STREAM)
            await session.commit()
            contents = StreamedContents(session)
            for number in range(_CONTENTS):
                session.begin()
                await contents.put(number, [content(number)])
                await session.commit()
            await instance.write_old_pages()
            await instance.move_checkpoint()
            session.begin()
            assert await contents.delete(_DELETED)
            await session.commit()
            if clean:
                await instance.close()
                return
            session.begin()
            await contents.put(_CONTENTS, [body(99, 100)])
            instance.abandon()

    life = run(medium, live, config=_CONFIG)
    assert life.error is None, life.error
    return {name: data for name, data in files_of(medium).items() if data}


# -- where in the file ----------------------------------------------------------------------


def place_of(number: int = 2) -> StreamPlace:
    """Of a content: one that was there before the last checkpoint."""
    database = Database(BytesReader(streamed(clean=True)[DATABASE], DATABASE))
    return dict(stream_places(database))[number]


def cluster_at(cluster: int) -> int:
    """Byte at which it begins."""
    return page_at(cluster * CLUSTER_PAGES + 1)


def used_at() -> int:
    """Byte at which a content begins."""
    return cluster_at(place_of().clusters[0])


def repeating_at() -> int:
    """Byte at which the content begins that repeats itself."""
    return cluster_at(place_of(_REPEATS).clusters[0])


def free_at() -> int:
    """Byte of a cluster that no row names."""
    database = Database(BytesReader(streamed(clean=True)[DATABASE], DATABASE))
    used = {each for _, place in stream_places(database) for each in place.clusters}
    return cluster_at(min(set(range(max(used))) - used))


def stream(kind: DamageKind, where: Callable[[], int] = lambda: 0, **more: Any) -> Any:
    """A damage of the streaming file, ``by`` bytes behind a place."""
    by = more.pop("by", 0)
    return lambda files: [Damage(kind=kind, file=STREAM_FILE, offset=where() + by, **more)]


def both_headers(_: Files) -> list[Damage]:
    return [
        Damage(kind=DamageKind.BITS_FLIPPED, file=STREAM_FILE, offset=at, bits=4)
        for at in (100, PAGE_BYTES + 100)
    ]


K = DamageKind
STREAMING: Final = (
    Case("one bit of a used cluster", stream(K.BITS_FLIPPED, used_at, by=5000)),
    Case("a used cluster zeroed", stream(K.ZEROED, used_at, length=CLUSTER_BYTES)),
    Case(
        "the same, of a pattern that repeats", stream(K.ZEROED, repeating_at, length=CLUSTER_BYTES)
    ),
    Case("one bit of a free cluster", stream(K.BITS_FLIPPED, free_at, by=5000)),
    Case("file cut in a used cluster", stream(K.CUT, used_at, by=5000)),
    Case("streaming file of another database", stream(K.FOREIGN)),
    Case("streaming file missing", stream(K.MISSING)),
    Case("first copy of its header", stream(K.BITS_FLIPPED, by=100, bits=4)),
    Case("second copy of its header", stream(K.BITS_FLIPPED, by=PAGE_BYTES + 100, bits=4)),
    Case("both copies of its header", both_headers),
)


# -- what is asked --------------------------------------------------------------------------


def contents_of(files: Files) -> Contents:
    """All that the database names, read from the streaming file."""
    database = Database(BytesReader(files[DATABASE], DATABASE))
    reader = BytesReader(files.get(STREAM_FILE, b""), STREAM_FILE)
    return {number: read_content(reader, place) for number, place in stream_places(database)}


def expected() -> Contents:
    return {each: content(each) for each in range(_CONTENTS) if each != _DELETED}


def read(files: Files) -> str:
    """Every content by the reader, which takes the file as it is."""
    if STREAM_FILE not in files:
        return ""
    try:
        return WHOLE if contents_of(files) == expected() else NOT_FOUND
    except EseError as error:
        return str(error.number)


def attached(files: Files) -> str:
    """The emulated engine attaches the database and gets every content."""
    seen: Contents = {}

    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.attach(DATABASE)
        session = instance.session(one)
        contents = await session.do(lambda _: StreamedContents(session))
        for number in expected():
            parts = await contents.get(number)
            if parts is not None:
                seen[number] = b"".join(parts)
        instance.abandon()

    life = run(medium_of(files), script, config=_CONFIG, ticks=10**6)
    if life.error is not None:
        assert isinstance(life.error, EseError), life.error
        return str(life.error.number)
    return WHOLE if seen == expected() else NOT_FOUND


def recovered(files: Files) -> str:
    """``replicator ese recover``, and the contents afterwards."""
    medium = medium_of(files)
    done = run_recovery(medium)
    if done.result is None:
        return numbers(done.errors or (done.error,))
    found = read(files_of(medium))
    return found if found in (WHOLE, NOT_FOUND) else f"{NOT_FOUND}; then {found}"


def streaming_answers(case: Case) -> dict[str, str]:
    """What each step says to one damage; a step that has nothing to look at is missing."""
    whole = streamed(clean=True)
    files = damaged(whole, case.damage(whole))
    found = {"every content read": read(files), "engine": attached(files)}
    if STREAM_FILE in files:
        found["verify"] = verified(files, [STREAM_FILE], contents=False)
    dead = streamed(clean=False)
    found["recover"] = recovered(damaged(dead, case.damage(dead)))
    return {step: told for step, told in found.items() if told}
