"""A page that no log names is not looked at by recovery: who says so, and who finds it."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replicator import cli
from replicator.command_line import finish
from replicator.ese.errors import EseError
from replicator.ese.page import PageFlag
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from replicator.ese_schema import DOCUMENTS
from replicator.runtime import Kernel, group
from replicator.runtime.port import Runtime, Volume
from simulator.exchange.engine_config import EngineStoreConfig
from simulator.exchange.engine_store import EngineStore
from simulator.exchange.ese.corruption import Damage, DamageKind
from simulator.exchange.ese.known_messages import KnownMessages, knowing_messages
from simulator.exchange.ese.tree_search import TreeSearch
from simulator.exchange.ledger import Ledger, LedgerVerdict
from simulator.exchange.load import LoadConfig
from simulator.exchange.store import Message
from simulator.runtime import SimClock
from simulator.workload import StoreWorkload
from tests.ese.small_ese_store import run_recovery
from tests.store.harness import payload
from tests.store.memory_volume import Medium, MemoryVolume
from tests.store_ese.corruption_table import MESSAGES, leaf, long_leaf, made
from tests.store_ese.damaged_files import damaged, medium_of
from tests.store_ese.engine_harness import DIRECTORY, Life, new_medium, run
from tests.store_ese.stores import CONFIGS, DATABASE, MAIL
from tests.store_ese.streaming_damage import STREAM_FILE, streamed, used_at

# -- the command -----------------------------------------------------------------------------


def put(files: dict[str, bytes], directory: Path) -> Path:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def ese(*arguments: object) -> int:
    return finish(cli.app, "replicator", ["ese", *map(str, arguments)])


def recovered(
    store: Path, capsys: pytest.CaptureFixture[str], *options: object
) -> tuple[list[str], dict[str, Any]]:
    """The lines and the document of a recovery that comes to its end."""
    capsys.readouterr()
    report = store.parent / "report.json"
    assert ese("recover", store, "--json", report, *options) == 0
    document = DOCUMENTS.validate_json(report.read_text()).model_dump()
    return capsys.readouterr().out.splitlines(), document


def verified(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """What the command says that the line names."""
    program, *arguments = shlex.split(line.partition("to look at all: ")[2])
    assert program == "replicator"
    return finish(cli.app, program, arguments), capsys.readouterr().out


@pytest.mark.parametrize("zeroed", [False, True])
def test_recovery_says_how_many_pages_it_left_and_verify_reads_them(
    zeroed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = made("exchange 2007", clean=False)
    if zeroed:
        damage = Damage(kind=DamageKind.ZEROED, file=DATABASE, page=long_leaf(files))
        files = damaged(files, [damage])
    store = put(files, tmp_path / "a store")
    lines, document = recovered(store, capsys, "--output", tmp_path / "its copy")
    [database] = document["databases"]
    unread, pages = database["unread_pages"], database["pages"]
    assert 0 < unread < pages
    assert pages == (tmp_path / "its copy" / DATABASE).stat().st_size // 8192 - 2
    assert database["unread_streaming_file"] is None
    assert lines[-1].startswith(f"not looked at: {unread} of {pages} pages, which no log names;")
    code, told = verified(lines[-1], capsys)
    assert (code, "-1019" in told) == ((1, True) if zeroed else (0, False))


def test_a_streaming_file_is_not_looked_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flipped = Damage(kind=DamageKind.BITS_FLIPPED, file=STREAM_FILE, offset=used_at() + 9)
    store = put(damaged(streamed(clean=False), [flipped]), tmp_path / "store")
    lines, document = recovered(store, capsys)
    [database] = document["databases"]
    assert database["unread_streaming_file"] == str(store / STREAM_FILE)
    assert "pages, which no log names, and the streaming file; to look at all: " in lines[-1]
    code, told = verified(lines[-1], capsys)
    assert (code, "-1018" in told) == (1, True)


def test_before_undo_there_is_nothing_to_verify_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = put(made("exchange 2007", clean=False), tmp_path / "store")
    assert ese("recover", store, "--stop-before-undo") == 3
    assert "not looked at" not in capsys.readouterr().out


# -- the bench -------------------------------------------------------------------------------

CONFIG = EngineStoreConfig(
    format="exchange 2007", database_size_bytes=24 << 20, log_size_bytes=256 << 10, mailboxes=2
)


class Killed(Exception):
    """The process of the store dies."""


def killed() -> tuple[Medium, Ledger]:
    """A store that was shut down with twenty messages, and killed after two more."""
    medium, ledger = new_medium(), Ledger()
    for numbers in (range(1, 21), range(21, 23)):
        clock = SimClock()
        kernel = Kernel(clock, None)
        draws = count(numbers.start)
        store = EngineStore(
            MemoryVolume(medium, None),
            DIRECTORY,
            now_ns=clock.now,
            wall_ns=lambda: 10**18,
            random=lambda draws=draws: next(draws) / 1e6,  # type: ignore[misc]
            config=CONFIG,
        )

        async def live(store: EngineStore = store, numbers: range = numbers) -> None:
            await store.mount()
            async with group() as tasks:
                tasks.spawn(store.run(), "store")
                for number in numbers:
                    message = Message(number, number % 2, payload(number, 20_000))
                    transaction = ledger.begin((message,), (), number)
                    await store.deliver([message])
                    ledger.acknowledge(transaction, number)
                if numbers.start == 1:
                    await store.dismount()
                else:
                    raise Killed

        task = kernel.run_task(live(), "life")
        clock.run_until_idle()
        kernel.close()
        assert isinstance(task.error, Killed if numbers.start > 1 else type(None)), task.error
    return medium, ledger


def long_values(medium: Medium) -> list[int]:
    """Leaves with pieces of messages."""
    size = CONFIG.store_format.page_bytes
    inode = medium.names[f"{DIRECTORY}/{DATABASE}"]
    assert inode is not None
    found = []
    for pgno in range(1, len(inode.data) // size - 1):
        data = bytes(inode.data[page_offset(pgno, size) : page_offset(pgno + 1, size)])
        if any(data):
            page = PageEditor.load(data, pgno)
            if page.is_leaf and page.flags & PageFlag.LONG_VALUE and page.line_count:
                found.append(pgno)
    return found


def zero(medium: Medium, pgno: int) -> Medium:
    size = CONFIG.store_format.page_bytes
    spoilt = medium.copy()
    inode = spoilt.names[f"{DIRECTORY}/{DATABASE}"]
    assert inode is not None
    inode.write(page_offset(pgno, size), bytes(size))
    inode.durable = bytes(inode.data)
    return spoilt


def judged(medium: Medium, ledger: Ledger, known: KnownMessages | None = None) -> LedgerVerdict:
    """As the bench judges an image: mounted by the engine, and held against the ledger."""
    clock, draws = SimClock(), count(1)
    kernel = Kernel(clock, None)
    runtime = SimpleNamespace(
        now_ns=clock.now,
        wall_ns=lambda: 2 * 10**18,
        boot_id="boot",
        incarnation=1,
        random=lambda _name: lambda: next(draws) / 1e7,
        emit=lambda *_event: None,
    )
    load = LoadConfig(messages_per_second=1)
    workload = StoreWorkload(CONFIG, load, lambda: 0.5, ledger, directory=DIRECTORY)
    volume = cast("Volume", MemoryVolume(medium.copy(), None))
    with ExitStack() as looking_up:
        if known is not None:
            looking_up.enter_context(knowing_messages(known))
        task = kernel.run_task(
            workload.mounts(cast("Runtime", runtime), volume, DIRECTORY), "judgement"
        )
        clock.run_until_idle()
    kernel.close()
    verdict = task.result()
    assert verdict is not None
    return verdict


def test_the_bench_finds_a_zeroed_page_that_no_log_names() -> None:
    """Recovery alone, without a look at the messages, takes that image for a sound one."""
    medium, ledger = killed()
    known = KnownMessages()
    for knowing in (None, known):
        whole = judged(medium, ledger, knowing)
        assert whole.ok and whole.transactions == ledger.begun == 22, whole.reason
    at_rest = 0
    for pgno in long_values(medium)[::16]:
        spoilt = zero(medium, pgno)
        done = run_recovery(spoilt.copy())
        number = -566  # the logs go on with that page
        if done.result is not None:
            at_rest += 1
            assert {each.state for each in done.result.databases} == {"CleanShutdown"}
            number = -1019
        for knowing in (None, known):
            found = judged(spoilt, ledger, knowing)
            assert not found.ok
            assert (found.error_number, f"{number} JET_err" in found.reason) == (number, True)
    assert at_rest > 2


@pytest.mark.parametrize("looks", [True, False])
def test_a_walk_does_not_end_at_a_zeroed_leaf(looks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for an empty leaf, which has none on its right, it would hide all rows behind it."""
    files = made("exchange 2007", clean=True)
    damage = Damage(kind=DamageKind.ZEROED, file=DATABASE, page=leaf(files, 1))
    if not looks:
        monkeypatch.setattr(PageEditor, "is_zero", False)
        monkeypatch.setattr(TreeSearch, "_check_links", lambda *_: None)
    seen: list[bytes] = []

    async def script(life: Life) -> None:
        instance = await life.open()
        one = await instance.attach(DATABASE)
        session = instance.session(one)
        async for key, _ in session.rows(await one.open_table(MAIL)):
            seen.append(key)

    config = CONFIGS["exchange 2007"]
    life = run(medium_of(damaged(files, [damage])), script, config=config, ticks=10**6)
    assert 0 < len(seen) < MESSAGES
    number = life.error.number if isinstance(life.error, EseError) else None
    assert number == (-1019 if looks else None), life.error
