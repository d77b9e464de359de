"""Choosing states, telling them, and making them a disk again."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.live.block_log import SECTOR_BYTES, BlockLog, Kind, LogWriter
from simulator.live.power_loss import PowerLoss, Tear, states, story, surviving_parts
from simulator.live.replay import materialise

PAGE = 4096


@pytest.fixture
def log(tmp_path: Path) -> BlockLog:
    """Two flushed writes, a flush, three writes, a mark, a flush, one write; a disk of 16 pages."""
    writer = LogWriter(tmp_path, 1 << 20)

    def write(page: int, letter: bytes, pages: int = 1) -> None:
        begin = writer.stamp()
        data = letter * (PAGE * pages)
        at = writer.data(data)
        writer.answered(Kind.WRITE, begin, page * PAGE, len(data), at)

    writer.mark(b"mounted")
    write(0, b"a")
    write(1, b"b")
    writer.answered(Kind.FLUSH, writer.stamp())
    write(0, b"c", 2)
    write(1, b"d")
    writer.answered(Kind.ZERO, writer.stamp(), 2 * PAGE, PAGE)
    writer.mark(b"sync returns")
    writer.answered(Kind.FLUSH, writer.stamp())
    write(3, b"e")
    writer.mark(b"unmounting")
    writer.close()
    (tmp_path / "base.img").write_bytes(b"." * (16 * PAGE))
    return BlockLog(tmp_path, "none", 16 * PAGE, remove=lambda _directory: None)


def pages(data: bytes) -> str:
    """The first letter of each page, with a ``?`` behind pages of more than one letter."""
    found = ""
    for start in range(0, 4 * PAGE, PAGE):
        page = data[start : start + PAGE]
        letter = chr(page[0]) if page[0] else "0"
        found += letter + ("?" if page != page[:1] * PAGE else "")
    return found


def test_few_pending_writes_are_tried_in_every_subset(log: BlockLog) -> None:
    chosen = states(log, 1000)
    by_cut: dict[int, set[tuple[int, ...]]] = {}
    for state in chosen:
        if not state.torn:
            by_cut.setdefault(state.cut, set()).add(state.survivors)
    sizes = {cut: len(each) for cut, each in by_cut.items()}
    first, second = (flush.end for flush in log.flushes)
    assert sizes[first] == 4
    assert sizes[second] == 8
    assert sizes[log.marked("unmounting") - 1 + 1] == 2


def test_equal_arguments_choose_equal_states_and_all_are_of_the_log(log: BlockLog) -> None:
    chosen = states(log, 60, seed=7)
    assert chosen == states(log, 60, seed=7)
    assert chosen != states(log, 60, seed=8)
    assert len(chosen) == len(set(chosen)) == 60
    assert any(state.torn for state in chosen)
    for state in chosen:
        surviving_parts(log, state)
        for tear in state.torn:
            lengths = [end - first for first, end in tear.kept]
            sectors = log.entries[tear.write].length_bytes // SECTOR_BYTES
            assert 0 < sum(lengths) < sectors
            assert all(length > 0 for length in lengths)
        assert eval(repr(state)) == state  # what is printed can be pasted


def test_a_small_budget_is_kept(log: BlockLog) -> None:
    assert len(states(log, 5)) == 5


def test_tears_may_be_coarse_and_spare_a_range(log: BlockLog) -> None:
    for state in states(log, 200, tear_bytes=4096):
        for tear in state.torn:
            assert all(first % 8 == end % 8 == 0 for first, end in tear.kept)
    assert not any(state.torn for state in states(log, 100, never_torn=(0, 16 * PAGE)))


def test_states_become_disks(log: BlockLog, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a tmpfs of its own, so that this needs no root.
    monkeypatch.setattr("simulator.live.replay.mount", lambda *_words, **_options: None)
    [first, second], [c, d, zero] = log.flushes, log.pending(log.flushes[1].end)

    def disk(cut: int, survivors: tuple[int, ...] = (), torn: tuple[Tear, ...] = ()) -> str:
        image = materialise(log, PowerLoss(cut, survivors, torn))
        data = image.read_bytes()
        image.unlink()
        assert data[4 * PAGE :] == b"." * (12 * PAGE)
        return pages(data)

    assert disk(first.end) == "...."
    assert disk(first.end + 1) == "ab.."
    assert disk(second.end) == "ab.."
    assert disk(second.end, (c.number,)) == "cc.."
    assert disk(second.end, (c.number, d.number)) == "cd.."
    assert disk(second.end, (d.number, zero.number)) == "ad0."
    assert disk(second.end, (c.number,), (Tear(c.number, ((8, 16),)),)) == "ac.."
    assert disk(second.end, (c.number,), (Tear(c.number, ((0, 1), (9, 10))),)) == "c?b?.."
    assert disk(second.end + 1) == "cd0."
    assert disk(log.end) == "cd0."
    assert disk(first.end, (log.writes[1].number,)) == ".b.."  # back again


def test_what_is_no_state_is_refused(log: BlockLog) -> None:
    durable = log.writes[0].number
    with pytest.raises(ValueError, match="not a state"):
        surviving_parts(log, PowerLoss(log.end, (durable,)))
    pending = log.writes[-1].number
    with pytest.raises(ValueError, match="not a state"):
        surviving_parts(log, PowerLoss(log.end, (), (Tear(pending, ((0, 1),)),)))


def test_a_state_tells_its_story(log: BlockLog) -> None:
    c, d, _zero = log.pending(log.flushes[1].end)
    state = PowerLoss(log.flushes[1].end, (c.number, d.number), (Tear(c.number, ((2, 5),)),))
    told = story(log, state)
    assert "after write 5 of 6; 2 of 3 pending writes survive, 1 of them torn" in told
    assert "'sync returns'" in told
    assert "8192 B at 0: torn, kept sectors 2-4" in told
    assert "4096 B at 4096: survives" in told
    assert "zero" in told and "lost" in told
    assert told.endswith(repr(state))
