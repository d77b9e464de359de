"""The protected set is not there, or is another one: its history is not carried on over it.

After a restart the volume of the set may not be mounted: its mount point is an empty directory.
Between two starts somebody may change ``source.directory``.  Each of the rules is also taken
away here, and then what it keeps off does happen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

import replicator.history
from replicator.errors import EmptySet, ExitCode, StorageError, SyncFailed
from replicator.history import kept
from replicator.operation import write_prefix
from replicator.runtime import sleep_ns
from replicator.runtime.port import Volume
from replicator.set_identity import Noted, SetIdentity, noted_in, why_another
from replicator.slots import StateSlots
from replicator.source_place import SourcePlace
from simulator.host import Host, lose_everything
from simulator.inode import Inode
from tests.failures.one_machine import ROOT, OneMachine, Program, payload
from tests.failures.worlds import KIB, MS, SECOND

T = TypeVar("T")
ELSEWHERE = "/elsewhere"


def on(one: OneMachine, main: Callable[[Host], Awaitable[T]]) -> T:
    """Run something on the machine to its end; returns what it returns, raises what it raises."""
    host = one.machine.start("operator", networked=False)
    results: list[T] = []

    async def whole() -> None:
        results.append(await main(host))

    host.start(whole(), "operator")
    for _ in range(20_000):
        if results or host.failure is not None:
            break
        one.world.clock.run_until(one.world.clock.now() + MS)
    failure = host.failure
    one.machine.crash_process("operator")
    if failure is not None:
        raise failure
    return results[0]


def opened(
    one: OneMachine,
    root: str = ROOT,
    accept_empty: bool = False,
    for_ns: int = 100 * MS,
) -> tuple[int, int, int]:
    """What the next process finds: epoch, operations in it, names; it keeps the history a while."""

    async def main(host: Host) -> tuple[int, int, int]:
        place = one.place(host)
        place.root, place.accept_empty = root, accept_empty
        await place.prepare()
        board = place.board()
        lock = await place.take_capture_lock(board, SECOND)
        keeper = place.keeper(board)
        async with kept(keeper) as capture:
            await sleep_ns(for_ns)
            found = capture.spool.epoch, capture.spool.completed, len(capture.spool.catalogue)
        lock.release()
        return found

    return on(one, main)


def state_of(one: OneMachine) -> dict[str, Any]:
    async def main(host: Host) -> dict[str, Any]:
        state = await StateSlots(host.volume("spool"), "/spool/source").look()
        assert state is not None
        return state

    return on(one, main)


def on_disk(one: OneMachine) -> dict[str, Any]:
    """All that is on both volumes, by path; notes in memory apart."""
    found = {}
    for name in ("data", "spool"):
        for path, node in one.machine.disks[name].names.walk("/"):
            held = bytes(node.read(0, node.size)) if isinstance(node, Inode) else b""
            found[f"{name}:{path}"] = type(node).__name__, node.number, held
    return found


async def two_files(program: Program) -> None:
    for number in range(2):
        file = program.volume.create(f"{ROOT}/{number}")
        await program.volume.admit(8 * KIB)
        file.write_at(0, payload(number))
        await file.sync()
    await program.volume.sync_directory(ROOT)
    await sleep_ns(3 * SECOND)  # the keeper looks again, and notes that there are names now


def a_history() -> OneMachine:
    one = OneMachine()
    one.run(two_files)
    assert noted_in(state_of(one)) == Noted(one_identity(one), True)
    return one


def one_identity(one: OneMachine, root: str = ROOT) -> SetIdentity:
    return SetIdentity("source/data", root, one.machine.disks["data"].names.node(root).number)


def move_away(one: OneMachine, in_its_place: bool = True) -> None:
    """What stands at the root is elsewhere; in its place is an empty directory."""

    async def main(host: Host) -> None:
        volume = host.volume("data")
        volume.rename(ROOT, ELSEWHERE)
        if in_its_place:
            volume.mkdir(ROOT)
        await volume.sync_directory("/")

    on(one, main)


def mount_again(one: OneMachine) -> None:
    async def main(host: Host) -> None:
        volume = host.volume("data")
        volume.rmdir(ROOT)
        volume.rename(ELSEWHERE, ROOT)
        await volume.sync_directory("/")

    on(one, main)


def restart(one: OneMachine) -> None:
    one.machine.lose_power(lose_everything)


def none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicator.history, "refuse_empty", lambda *_arguments: None)


# -- an empty mount point ----------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [True, False], ids=["restart", "same boot"])
def test_an_empty_mount_point_begins_no_epoch(restarted: bool) -> None:
    one = a_history()
    move_away(one)
    if restarted:
        restart(one)
    before = on_disk(one)
    with pytest.raises(EmptySet, match="is empty, and was not") as refused:
        opened(one)
    assert refused.value.path == ROOT
    assert refused.value.exit_code == ExitCode.NOT_YET  # a supervisor starts it again
    assert "--accept-empty" in refused.value.remedy
    after = on_disk(one)
    assert {path for path in after if before.get(path) != after[path]} <= {"spool:/spool/board"}
    assert before.keys() <= after.keys()
    mount_again(one)
    epoch, _operations, names = opened(one)
    assert (epoch, names) == (2 if restarted else 1, 2)


def test_without_that_rule_the_epoch_says_that_all_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = a_history()
    move_away(one)
    restart(one)
    none_is_refused(monkeypatch)
    assert opened(one) == (2, 0, 0)


def test_an_operator_may_say_that_it_is_meant_to_be_empty() -> None:
    one = a_history()
    move_away(one)
    restart(one)
    assert opened(one, accept_empty=True) == (2, 0, 0)
    assert not state_of(one)["set_had_names"]
    restart(one)
    assert opened(one) == (3, 0, 0)  # once is enough


def test_a_set_that_its_programs_have_emptied_is_not_suspicious() -> None:
    one = a_history()

    async def empty(program: Program) -> None:
        for number in range(2):
            program.volume.unlink(f"{ROOT}/{number}")
        await program.volume.sync_directory(ROOT)
        await sleep_ns(3 * SECOND)

    one.run(empty)
    restart(one)
    assert opened(one) == (2, 0, 0)


def test_names_that_a_power_loss_takes_are_no_volume_that_is_missing() -> None:
    """They are made durable before it is noted that there are any."""
    one = OneMachine()

    async def no_sync(program: Program) -> None:
        program.volume.create(f"{ROOT}/0")
        await sleep_ns(3 * SECOND)

    one.run(no_sync)
    restart(one)
    assert opened(one) == (2, 0, 1)


def test_without_that_sync_a_lost_name_would_keep_the_store_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = OneMachine()
    real = one.place

    class NoSync:
        def __init__(self, below: Volume) -> None:
            self._below = below

        async def sync_directory(self, _path: str) -> None:
            return None

        def __getattr__(self, name: str) -> Any:
            return getattr(self._below, name)

    def place(host: Host) -> SourcePlace:
        made = real(host)
        made.volume = NoSync(made.volume)  # type: ignore[assignment]
        return made

    async def no_sync(program: Program) -> None:
        await program.host.volume("data").sync_directory("/")
        program.volume.create(f"{ROOT}/0")
        await sleep_ns(3 * SECOND)

    monkeypatch.setattr(one, "place", place)
    one.run(no_sync)
    restart(one)
    with pytest.raises(EmptySet):
        opened(one)


@pytest.mark.parametrize("kind", [StorageError, SyncFailed])
def test_a_note_that_cannot_be_written_ends_nobody(
    kind: type[StorageError], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, refusals = OneMachine(), [2]
    write = StateSlots.write

    async def refusing(slots: StateSlots, state: dict[str, Any]) -> None:
        if state.get("set_had_names") and refusals[0]:
            refusals[0] -= 1
            raise kind("the volume takes nothing")
        await write(slots, state)

    monkeypatch.setattr(StateSlots, "write", refusing)

    async def main(program: Program) -> None:
        program.volume.create(f"{ROOT}/0")
        await sleep_ns(20 * SECOND)

    one.run(main, for_ms=30_000)
    assert one.said("set_not_noted") == [("the volume takes nothing",)] * 2
    assert state_of(one)["set_had_names"]


def test_the_state_of_an_earlier_release_refuses_nothing_and_is_completed() -> None:
    one = a_history()

    async def forget(host: Host) -> None:
        slots = StateSlots(host.volume("spool"), "/spool/source")
        state = await slots.load()
        assert state is not None
        old = {key: value for key, value in state.items() if not key.startswith("set_")}
        assert old.keys() == {"set", "epoch", "history", "boot_id"}
        await slots.write(old)

    on(one, forget)
    assert opened(one) == (1, 6, 2)
    assert noted_in(state_of(one)) == Noted(one_identity(one), True)
    on(one, forget)
    move_away(one)
    restart(one)
    assert opened(one) == (2, 0, 0)


# -- another directory -------------------------------------------------------------------------


def other_files(one: OneMachine) -> None:
    async def main(host: Host) -> None:
        volume = host.volume("data")
        volume.mkdir("/other")
        for number in range(3):
            volume.create(f"/other/{number}").write_at(0, b"of another set")
        await volume.sync_directory("/other")

    on(one, main)


async def killed_in_a_write(program: Program) -> None:
    """An intent is in the spool and was not carried out."""
    await two_files(program)
    file_id = program.capture.spool.catalogue.entries["/0"].file_id
    data = b"half done"
    prefix = write_prefix(file_id, 0, len(data), program.host.wall_ns())
    assert program.capture.intend(prefix, data, f"{ROOT}/0")


def content(one: OneMachine, path: str) -> bytes:
    node = one.machine.disks["data"].names.node(path)
    assert isinstance(node, Inode)
    return bytes(node.read(0, 14))


def test_a_history_is_not_continued_over_another_directory() -> None:
    one = OneMachine()
    one.run(killed_in_a_write)
    other_files(one)
    assert opened(one, "/other") == (2, 0, 3)
    assert content(one, "/other/0") == b"of another set"
    reason = f"the protected set is /other now, and was {ROOT}"
    assert one.said("epoch_reason")[-1] == (reason,)
    assert noted_in(state_of(one)) == Noted(one_identity(one, "/other"), True)
    assert opened(one, "/other") == (2, 0, 3)


def test_without_that_rule_it_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    one = OneMachine()
    one.run(killed_in_a_write)
    other_files(one)
    monkeypatch.setattr(replicator.history, "why_another", lambda *_arguments: "")
    assert opened(one, "/other") == (1, 7, 2)  # two files, and there are three
    assert content(one, "/other/0") == b"half done" + b"r set"


def test_a_directory_under_another_name_is_the_same() -> None:
    one = a_history()
    move_away(one, in_its_place=False)
    assert opened(one, ELSEWHERE) == (1, 6, 2)
    assert noted_in(state_of(one)) == Noted(one_identity(one, ELSEWHERE), True)


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (SetIdentity("/a", "/a/set", 7), ""),
        (SetIdentity("/a", "/a/renamed", 7), ""),
        (SetIdentity("/a", "/a/set", 8), "/a/set is another directory than before"),
        (SetIdentity("/a", "/a/other", 8), "the protected set is /a/other now, and was /a/set"),
        # The roots of two volumes often have one number.
        (SetIdentity("/b", "/b", 7), "the protected set is /b now, and was /a/set"),
    ],
)
def test_which_directories_are_the_same(now: SetIdentity, says: str) -> None:
    noted = Noted(SetIdentity("/a", "/a/set", 7), True)
    found = why_another(noted, now)
    assert found.startswith(says) and bool(found) == bool(says)


def test_where_inodes_say_nothing_the_path_counts() -> None:
    noted = Noted(SetIdentity("/a", "/a/set", 0), True)
    assert not why_another(noted, SetIdentity("/a", "/a/set", 0))
    assert why_another(noted, SetIdentity("/a", "/a/other", 0))
    assert noted_in(noted.to_state()) == noted
    assert noted_in(noted.to_state() | {"set_root_inode": "7"}) is None
    assert noted_in(None) is None
