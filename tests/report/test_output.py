"""Targets: found unwritable before the run, written whole or not at all."""

import os

import pytest

from replicator.errors import BadInput
from simulator.report.output import (
    check_directory_target,
    check_file_target,
    check_new_directory_target,
    directory_for,
    write_atomically,
)


def test_check_leaves_nothing_behind(tmp_path):
    check_file_target(tmp_path / "result.json", "--json")
    check_directory_target(tmp_path / "a" / "b", "--report")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    check_directory_target(tmp_path / "a" / "b", "--report")
    assert [p.name for p in tmp_path.rglob("*")] == ["a"]


def test_directory_of_what_fails_goes_away_again(tmp_path):
    def interrupted():
        with directory_for(tmp_path / "a" / "b", "--report"):
            assert (tmp_path / "a" / "b").is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with directory_for(tmp_path / "a", "--report"):
        pass
    assert (tmp_path / "a").is_dir()


def test_new_directory_must_be_empty(tmp_path):
    check_new_directory_target(tmp_path / "new", "--keep")
    check_new_directory_target(tmp_path, "--keep")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--keep wants an empty directory"):
        check_new_directory_target(tmp_path, "--keep")
    with pytest.raises(BadInput, match="not a directory"):
        check_new_directory_target(tmp_path / "file", "--keep")


@pytest.mark.parametrize("target", ["missing/result.json", ".", "file/result.json"])
def test_unwritable_file_targets(tmp_path, target):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--json cannot be written"):
        check_file_target(tmp_path / target, "--json")


def test_write_replaces_whole_files_and_leaves_no_temporary(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old, and longer than the new one")
    write_atomically(target, "new", "--json")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_failed_write_keeps_the_old_content(tmp_path, monkeypatch):
    target = tmp_path / "result.json"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="No space left on device"):
        write_atomically(target, "new", "--json")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new", "--json")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        check_file_target(pipe, "--json")
        write_atomically(pipe, "text", "--json")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
