"""Whole emulated stores as bytes by file name: of each version, shut down or dead in the middle."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from replicator.ese.columns import ColumnType
from replicator.ese.schema import ColumnDefinition, IndexDefinition, TableDefinition
from replicator.runtime import group
from simulator.exchange.ese.growth import GrowthPolicy
from simulator.exchange.ese.instance_options import InstanceConfig
from simulator.exchange.ese.store_format import STORE_FORMATS
from tests.store_ese.engine_harness import DIRECTORY, Life, body, new_medium, run

DATABASE: Final = "priv1.edb"
MAIL: Final = TableDefinition(
    "Mail",
    (
        ColumnDefinition("Id", ColumnType.LONG),
        ColumnDefinition("Folder", ColumnType.LONG),
        ColumnDefinition("Sender", ColumnType.TEXT, code_page=1252),
        ColumnDefinition("Size", ColumnType.CURRENCY),
        ColumnDefinition("Subject", ColumnType.LONG_TEXT),
        ColumnDefinition("Body", ColumnType.LONG_BINARY),
    ),
    (
        IndexDefinition("ById", ("Id",), primary=True),
        IndexDefinition("ByFolder", ("Folder", "Id")),
    ),
)

CONFIGS: Final[dict[str, InstanceConfig]] = {
    name: InstanceConfig(
        store_format=STORE_FORMATS[name],
        log_version=version,
        log_file_bytes=256 << 10,
        checkpoint_depth_bytes=4 << 20,
        limit_pages=512,
        log_buffer_bytes=2 << 20,
        policy=GrowthPolicy(
            smallest_extent_pages=2, largest_extent_pages=4, extension_pages=4, split_buffer_pages=4
        ),
    )
    for name, version in (
        ("exchange 2003 rtm", 7),
        ("exchange 2003", 7),
        ("exchange 2007", 7),
        ("exchange 2010", 7),
        ("exchange 2016", 8),
    )
}


def message(number: int, page_bytes: int) -> dict[str, object]:
    """A row; every sixth one has a body that is a long value of several pieces."""
    size = 2 * page_bytes + 100 if number % 6 == 0 else 60
    return {
        "Id": number,
        "Folder": number % 3,
        "Sender": f"sender {number}",
        "Size": size,
        "Subject": f"subject of message {number}, of some length",
        "Body": body(number, size),
    }


@lru_cache(maxsize=32)
def store(
    name: str, *, clean: bool, messages: int = 12, log_kib: int = 256, checkpoint: bool = False
) -> dict[str, bytes]:
    """The files of a store.

    Arguments
    ---------
    name: one of :data:`CONFIGS`.
    clean: shut down; else its process has died, with a transaction open.
    messages: rows, each committed by itself.
    log_kib: size of a log.
    checkpoint: in the middle all pages are written and older logs deleted.

    Lives are the same up to where they differ in this: a shorter one has older pages.
    """
    config = replace(CONFIGS[name], log_file_bytes=log_kib << 10, circular=checkpoint)
    medium = new_medium()
    page_bytes = config.store_format.page_bytes

    async def live(life: Life) -> None:
        instance = await life.open()
        async with group() as tasks:
            tasks.spawn(instance.run(), "engine")
            one = await instance.create_database(DATABASE, initial_pages=34)
            session = instance.session(one)
            session.begin()
            table = await session.do(one.database.create_table, MAIL)
            await session.commit()
            for number in range(messages):
                session.begin()
                await session.do(table.insert, message(number, page_bytes))
                await session.commit()
                if number == messages // 2:
                    await instance.write_old_pages()
                    if checkpoint:
                        await instance.move_checkpoint()
            if clean:
                await instance.close()
                return
            session.begin()
            await session.do(table.delete, table.key(1))
            await session.do(table.insert, message(messages + 3, page_bytes))
            if not checkpoint:
                await instance.write_old_pages()
            await session.do(table.delete, table.key(2))
            instance.abandon()

    life = run(medium, live, config=config)
    assert life.error is None, life.error
    return {
        path.removeprefix(f"{DIRECTORY}/"): bytes(data)
        for path, data in medium.digest(f"{DIRECTORY}/").items()
        if data
    }
