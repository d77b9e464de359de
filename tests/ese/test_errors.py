"""The engine's error numbers as data, and the exception that carries them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from replicator.ese.errors import ERRORS, EseError

PACKAGE = Path(__file__).resolve().parents[2] / "replicator/ese"


@pytest.mark.parametrize(
    ("number", "hexadecimal"), [(-1018, "0xFFFFFC06"), (-550, "0xFFFFFDDA"), (-543, "0xFFFFFDE1")]
)
def test_a_number_is_shown_as_windows_shows_it(number: int, hexadecimal: str) -> None:
    assert ERRORS[number].hexadecimal == hexadecimal


def test_every_row_is_complete() -> None:
    assert len(ERRORS) == 108
    assert len({kind.symbol for kind in ERRORS.values()}) == len(ERRORS)
    for number, kind in ERRORS.items():
        assert kind.number == number
        assert kind.symbol.startswith("JET_err" if number < 0 else "JET_wrn")
        assert kind.meaning
        assert kind.remedy.endswith(".")


def test_every_number_that_the_code_raises_is_in_the_table() -> None:
    used = {
        int(number)
        for path in PACKAGE.glob("*.py")
        for number in re.findall(r"EseError\((-\d+)", path.read_text(encoding="utf-8"))
    }
    assert used >= {-1018, -1019, -1022, -1118, -1119, -1206}
    assert used <= set(ERRORS)


def test_an_error_names_its_place_and_what_to_do() -> None:
    error = EseError(-1018, "the checksum is wrong", path="priv1.edb", offset=8192, page=1)
    assert str(error) == (
        "priv1.edb, page 1, byte 8192: -1018 JET_errReadVerifyFailure: the checksum is wrong"
    )
    assert error.events == (474, 475)
    assert "backup" in error.remedy


def test_an_error_survives_the_way_to_another_process() -> None:
    error = EseError(-1119, "lost", path="a.edb", offset=1, page=2, events=(544,))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.events, copy.number) == (str(error), (544,), -1119)
