"""Every storage step of a short life as the one to die in: what recovery then finds.

The control is at the end: with a safeguard switched off, the same enumeration must find a
breach.  Without it, passing here would prove nothing.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools

import pytest

from replicator.runtime import group
from simulator.exchange.ledger import Ledger
from simulator.exchange.small_files import ALL_SAFEGUARDS, Safeguards
from simulator.exchange.small_store import SmallStore
from tests.store.harness import (
    POWER_LOSSES,
    _one,
    breach,
    crash_states,
    failed_sync_states,
    recover,
    run,
    short_life,
)
from tests.store.memory_volume import Medium


async def _mount(store: SmallStore, _ledger: Ledger) -> None:
    await store.mount()


async def _second_life(store: SmallStore, ledger: Ledger) -> None:
    """Mount what was left, and go on."""
    await store.mount()
    ledger.continue_from(ledger.judge(await store.contents()).transactions)
    ids = iter(range(5000, 6000))
    async with group() as g:
        g.spawn(store.run(), "store")
        for size in (5_000, 9_000, 400, 20_000):
            await _one(store, ledger, ids, size)
        g.cancel()


def _recovery_breach(
    name: str, medium: Medium, ledger: Ledger, safeguards: Safeguards = ALL_SAFEGUARDS
) -> str:
    """Crash in each step of recovery too; what mounts in the end must be right."""
    undisturbed = recover(medium.copy(), ledger)
    assert undisturbed.verdict is not None, f"{name}: {undisturbed.refused}"
    for step in range(1, undisturbed.steps + 1):
        crashed = medium.copy()
        run(crashed, _mount, ledger=ledger, crash_at=step, safeguards=safeguards)
        again = recover(crashed.copy(), ledger)
        if again.contents != undisturbed.contents:
            return f"{name}; then {step}, power stays: {again.refused or 'other contents'}"
        for loss in ("nothing unsynced survives", "every other sector"):
            dark = crashed.copy()
            dark.lose_power(POWER_LOSSES[loss])
            found = breach(dark, ledger)
            if found:
                return f"{name}; then {step}, {loss}: {found}"
    return ""


def _mounted_breach(
    name: str, medium: Medium, ledger: Ledger, safeguards: Safeguards = ALL_SAFEGUARDS
) -> str:
    """What a finished mount has told must survive any power loss after it."""
    told = recover(medium, ledger, safeguards)
    if told.contents is None:
        return f"{name}: {told.refused}"
    for loss, numbers in POWER_LOSSES.items():
        dark = medium.copy()
        dark.lose_power(numbers)
        again = recover(dark, ledger, safeguards)
        if again.contents != told.contents:
            return f"{name}; mounted; then {loss}: {again.refused or 'other contents'}"
    return ""


def test_a_crash_in_any_step_leaves_a_prefix_with_all_that_was_acknowledged() -> None:
    states = 0
    for name, medium, ledger in crash_states():
        states += 1
        found = breach(medium, ledger)
        assert not found, f"{name}: {found}"
    assert states > 1000


def test_the_short_life_reaches_what_it_is_meant_to_reach() -> None:
    life = run(Medium(), short_life)
    steps = "\n".join(life.steps)
    assert life.error is None
    assert steps.count("rename /store/E00.log") >= 5
    assert steps.count("unlink /store/E0000000") >= 5
    assert steps.count("write /store/E00.chk") >= 10
    assert steps.count("write /store/priv1.edb") >= 30
    assert any(t.removed_ids for t in life.ledger._transactions)
    seen = [recover(medium, ledger) for _name, medium, ledger in crash_states(stride=5)]
    reports = [r.report for r in seen if r.report is not None]
    assert any(r.torn_tail_bytes for r in reports)
    assert any(r.rewritten_pages for r in reports)
    assert any(r.replayed_transactions >= 3 for r in reports)
    assert any(r.created for r in reports)
    assert any(not r.recovered and not r.created for r in reports)


def test_a_crash_in_any_step_of_recovery_changes_nothing() -> None:
    losses = ("nothing unsynced survives", "every other sector")
    for name, medium, ledger in crash_states(power_losses=losses, stride=9):
        found = _recovery_breach(name, medium, ledger)
        assert not found, found


@pytest.mark.full
def test_a_crash_in_any_step_of_recovery_changes_nothing_in_full() -> None:
    for name, medium, ledger in crash_states():
        found = _recovery_breach(name, medium, ledger)
        assert not found, found


def test_what_a_mount_has_told_survives_a_power_loss_after_it() -> None:
    for name, medium, ledger in crash_states(power_losses=("every other sector",), stride=2):
        found = _mounted_breach(name, medium, ledger)
        assert not found, found


def test_what_a_failed_sync_left_in_the_cache_alone_survives_a_power_loss_after_a_mount() -> None:
    states = 0
    for name, medium, ledger in failed_sync_states():
        states += 1
        found = _mounted_breach(name, medium, ledger)
        assert not found, found
    assert states > 50


def test_a_recovered_store_goes_on_and_crashes_again() -> None:
    _go_on(stride=17, second_stride=5)


@pytest.mark.full
def test_a_recovered_store_goes_on_and_crashes_again_in_full() -> None:
    _go_on(stride=2, second_stride=1)


def _go_on(stride: int, second_stride: int) -> None:
    for name, medium, ledger in crash_states(power_losses=("every other sector",), stride=stride):
        whole = run(medium.copy(), _second_life, ledger=copy.deepcopy(ledger))
        assert whole.error is None, f"{name}: {whole.error}"
        for crash_at in range(1, len(whole.steps) + 1, second_stride):
            second = run(
                medium.copy(), _second_life, ledger=copy.deepcopy(ledger), crash_at=crash_at
            )
            for loss in ("nothing unsynced survives", "every other sector"):
                dark = second.medium.copy()
                dark.lose_power(POWER_LOSSES[loss])
                found = breach(dark, second.ledger)
                assert not found, f"{name}; second life step {crash_at}, {loss}: {found}"


@pytest.mark.parametrize("seed", range(3))
def test_other_orders_of_wake_ups_change_nothing(seed: int) -> None:
    for crash_at in itertools.count(1, 3):
        numbers = itertools.count(seed * 7919 + 1)

        def hops(numbers: itertools.count[int] = numbers) -> int:
            return next(numbers) * 2654435761 % 4294967296 >> 30

        life = run(Medium(), short_life, crash_at=crash_at, hops=hops)
        if not life.died:
            assert life.error is None
            break
        for numbers_of_loss in POWER_LOSSES.values():
            dark = life.medium.copy()
            dark.lose_power(numbers_of_loss)
            found = breach(dark, life.ledger)
            assert not found, f"step {crash_at} ({life.steps[-1]}): {found}"


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Safeguards)])
def test_without_a_safeguard_the_enumeration_finds_a_breach(name: str) -> None:
    safeguards = dataclasses.replace(ALL_SAFEGUARDS, **{name: False})
    of_the_cache = name == "write_again_after_recovery"
    states = failed_sync_states if of_the_cache else crash_states
    for state, medium, ledger in states(safeguards):
        if name == "whole_copy_last":
            found = _recovery_breach(state, medium, ledger, safeguards)
        elif name in ("sync_after_recovery", "write_again_after_recovery"):
            found = _mounted_breach(state, medium, ledger, safeguards)
        else:
            found = breach(medium, ledger, safeguards)
        if found:
            return
    pytest.fail(f"nothing noticed that {name} is off")
