"""A set that is not mounted, and one that two configurations name: real processes and files."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from replicator.capture import protect
from replicator.config import load_configuration
from replicator.errors import BadInput, EmptySet, ExitCode, Locked
from replicator.host.preflight import Preflight
from replicator.set_identity import Noted, noted_in
from replicator.slots import newest_of
from tests.processes.test_refusals import refused
from tests.processes.trial import PATIENCE_S, Process, Trial
from tests.real_tree import tree

EMPTY = "the protected set is empty, and was not when its history was kept last"


def warnings(config: Path) -> list[BadInput]:
    """What ``replicator check-config`` would warn of the set."""
    found = Preflight(load_configuration(config))
    assert not found.errors
    return [each for each in found.warnings if EMPTY in each.message]


def another_in_its_place(trial: Trial) -> None:
    trial.data.rename(trial.base / "elsewhere")
    trial.data.mkdir()


def test_a_set_whose_volume_is_not_mounted(trial: Trial) -> None:
    (trial.data / "priv1.edb").write_bytes(bytes(range(256)) * 400)
    trial.start("replica")
    source = trial.start("source")
    trial.converge()
    source.kill()
    assert not warnings(trial.config)
    another_in_its_place(trial)
    before = tree(trial.image), tree(trial.spool / "segments")

    refused(trial.start("source"), EMPTY, ExitCode.NOT_YET)
    with pytest.raises(EmptySet, match=f"{trial.data}: {EMPTY}"):
        protect(str(trial.config))
    [warning] = warnings(trial.config)
    assert warning.place.startswith(str(trial.config)) and "--accept-empty" in warning.remedy
    assert (tree(trial.image), tree(trial.spool / "segments")) == before

    trial.data.rmdir()
    (trial.base / "elsewhere").rename(trial.data)
    with protect(str(trial.config)) as files:
        assert files.list("/") == ["priv1.edb"]


@pytest.mark.parametrize("by", ["the sender", "a program"])
def test_a_set_that_is_meant_to_be_empty(trial: Trial, by: str) -> None:
    (trial.data / "priv1.edb").write_bytes(b"of no use any more")
    with protect(str(trial.config)):
        end = time.monotonic() + PATIENCE_S
        while not noted(trial).had_names:
            assert time.monotonic() < end
            time.sleep(0.01)
    another_in_its_place(trial)
    assert warnings(trial.config)
    if by == "a program":
        protect(str(trial.config), accept_empty=True).close()
    else:
        command = [sys.executable, "-m", "replicator.cli", "source", "--accept-empty"]
        trial.processes.append(Process("source", [*command, str(trial.config)], trial.base))
        trial.wait(lambda _status: not noted(trial).had_names, "an epoch of nothing")
        trial.processes[-1].kill()
    assert not warnings(trial.config)
    protect(str(trial.config)).close()


def noted(trial: Trial) -> Noted:
    """What the history's state says of the set."""
    slots = [path.read_bytes() for path in trial.spool.glob("source.[ab]")]
    found = noted_in(newest_of(slots, "source"))
    assert found is not None
    return found


def test_two_configurations_of_one_directory(trial: Trial, tmp_path: Path) -> None:
    spool = tmp_path / "other spool"
    spool.mkdir()
    (tmp_path / "link").symlink_to(trial.data)
    other = trial.configure(
        "other.toml",
        spool=f'directory = "{spool}"',
        source=f'directory = "{tmp_path / "link"}"',
    )
    with protect(str(trial.config)) as files:
        with pytest.raises(Locked, match=f"{trial.data}: .* into a spool of its own"):
            protect(str(other))
        refused(trial.start("source", other), "into a spool of its own")
        files.create("/f").close()
        assert files.list("/") == ["f"]  # nothing of a lock lies there
    with protect(str(other)) as files:
        assert files.list("/") == ["f"]
