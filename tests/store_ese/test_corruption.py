"""Damage of every kind, and what finds it: docs/store-corruption.md says what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from replicator.errors import BadInput, NotFound
from replicator.ese.page_editor import PageEditor
from replicator.ese.page_source import page_offset
from simulator.exchange.ese.corruption import Damage, DamageKind, inflict
from tests.store_ese.corruption_table import (
    GROUPS,
    answers,
    files_for,
    leaf,
    lost_write_with_flush_map,
    made,
)
from tests.store_ese.damaged_files import Case, damaged, medium_of
from tests.store_ese.engine_harness import DIRECTORY, Life, run
from tests.store_ese.stores import DATABASE

PAGE = Path(__file__).parents[2] / "docs/store-corruption.md"


def told(group: str) -> dict[str, dict[str, str]]:
    """What the page says of a group: by damage and step."""
    section = PAGE.read_text(encoding="utf-8").split(f"### {group}\n")[1].strip().split("\n\n")[0]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines()]
    return {
        title: {step: cell for step, cell in zip(table[0][1:], cells, strict=True) if cell}
        for title, *cells in table[2:]
    }


@pytest.mark.parametrize(
    ("group", "case"),
    [
        pytest.param(group, case, id=case.title, marks=[pytest.mark.full] * (number % 2))
        for group, cases in GROUPS.items()
        for number, case in enumerate(cases)
    ],
)
def test_damage_is_found_as_the_page_says(group: str, case: Case) -> None:
    """Every other one in ``make test``."""
    assert answers(case) == told(group)[case.title]


def test_the_page_has_every_damage_and_no_other() -> None:
    for group, cases in GROUPS.items():
        assert list(told(group)) == [case.title for case in cases]
    kinds = {
        each.kind
        for cases in GROUPS.values()
        for case in cases
        for clean in (True, False)
        if (case.at_rest if clean else case.dead)
        for each in case.damage(files_for(case, clean=clean))
    }
    assert kinds == set(DamageKind)


def test_a_flush_map_tells_a_lost_write() -> None:
    assert lost_write_with_flush_map() == "-1119"


def refused(damage: Damage) -> BadInput:
    """With what a damage that cannot be is refused; the files stay as they were."""
    files = made("exchange 2007", clean=True)
    medium = medium_of(files)

    async def script(life: Life) -> None:
        await inflict(life.volume, DIRECTORY, damage)  # type: ignore[arg-type]

    life = run(medium, script)
    assert isinstance(life.error, BadInput)
    assert medium.digest(f"{DIRECTORY}/") == medium_of(files).digest(f"{DIRECTORY}/")
    assert life.error.remedy
    return life.error


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Damage(kind=DamageKind.ZEROED, file=DATABASE, page=1 << 30), "there is no page"),
        (Damage(kind=DamageKind.STALE, file=DATABASE, page=4), "0 bytes, not 8,192"),
        (Damage(kind=DamageKind.TORN, file=DATABASE, page=4, content=b"x"), "1 bytes"),
        (Damage(kind=DamageKind.LINE_LOST, file=DATABASE, page=4, line=999), "999 is none"),
        (Damage(kind=DamageKind.CHILD_LINK, file=DATABASE, page=36), "cannot be so"),
        (Damage(kind=DamageKind.LINE_LOST, file=DATABASE), "needs a page"),
        (Damage(kind=DamageKind.BITS_FLIPPED, file="E00.chk", offset=1 << 20), "are not there"),
        (Damage(kind=DamageKind.ZEROED, file="E00.chk", page=4), "no database"),
        (Damage(kind=DamageKind.FOREIGN, file=DATABASE), "it is a database: only"),
    ],
)
def test_what_is_not_there_cannot_be_damaged(damage: Damage, words: str) -> None:
    assert words in str(refused(damage))


def test_a_file_that_is_not_there() -> None:
    async def script(life: Life) -> None:
        await inflict(
            life.volume,  # type: ignore[arg-type]
            DIRECTORY,
            Damage(kind=DamageKind.CUT, file="priv2.edb"),
        )

    life = run(medium_of(made("exchange 2007", clean=True)), script)
    assert isinstance(life.error, NotFound)


def test_nothing_but_the_page_is_changed() -> None:
    files = made("exchange 2007", clean=True)
    pgno = leaf(files)
    after = damaged(files, [Damage(kind=DamageKind.LINE_LOST, file=DATABASE, page=pgno, line=1)])
    start, end = page_offset(pgno, 8192), page_offset(pgno + 1, 8192)
    before, now = files[DATABASE], after[DATABASE]
    assert (before[:start], before[end:]) == (now[:start], now[end:])
    assert {name: data for name, data in files.items() if name != DATABASE} == {
        name: data for name, data in after.items() if name != DATABASE
    }
    lines = [
        [node.key for node in PageEditor.load(data[start:end], pgno).nodes()]
        for data in (before, now)
    ]
    assert lines[1] == lines[0][:1] + lines[0][2:]
