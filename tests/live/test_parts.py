"""The parts of a live run, each alone: trees, truth and ledger files, the relay."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from replicator.errors import BadInput
from simulator.exchange.ledger import Ledger
from simulator.exchange.store import Message
from simulator.link import LinkModel
from simulator.live.children import Child, ChildFailed
from simulator.live.compare import BEGIN_MARK, END_MARK, put_into, table
from simulator.live.layout import quoted
from simulator.live.ledger_file import RecordedLedger, read_ledger
from simulator.live.real_tree import TreeDigest, first_difference, tree_digest
from simulator.live.truth_file import EPOCH, OPERATION, UNCAPTURED, TruthReader, TruthWriter
from simulator.measures import LiveNotes
from simulator.report.page import page_text
from simulator.report.record import RunRecord
from tests.report import samples

# -- trees -----------------------------------------------------------------------------------


def make_tree(root: Path, seed: int) -> None:
    numbers = random.Random(seed)
    (root / "below").mkdir(parents=True)
    for name in ("a", "below/b"):
        (root / name).write_bytes(numbers.randbytes(40_000))
    os.truncate(root / "a", 5_000_000)  # a hole
    (root / "link").symlink_to("a")


def test_equal_trees_have_one_digest_and_no_difference(tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_tree(tmp_path / name, 1)
    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "other")
    assert first_difference(tmp_path / "one", tmp_path / "other") == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: (root / "c").touch(), "/c is in"),
        (lambda root: (root / "below/b").rename(root / "below/c"), "/below/b is in"),
        (lambda root: os.truncate(root / "a", 4_999_999), "/a differs from byte 4999999 on"),
        (lambda root: flip(root / "below/b", 12_345), "/below/b differs from byte 12345 on"),
        (lambda root: (root / "a").chmod(0o640), "/a has the attributes 640"),
        (lambda root: relink(root / "link"), "/link leads elsewhere"),
    ],
)
def test_every_difference_is_seen_and_named(change, says, tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_tree(tmp_path / name, 1)
    change(tmp_path / "other")
    assert tree_digest(tmp_path / "one") != tree_digest(tmp_path / "other")
    assert first_difference(tmp_path / "one", tmp_path / "other").startswith(says)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("below/b")


@pytest.mark.parametrize("seed", range(5))
def test_a_digest_that_is_kept_up_to_date_equals_a_new_one(seed: int, tmp_path: Path) -> None:
    make_tree(tmp_path, seed)
    tree, numbers = TreeDigest(str(tmp_path)), random.Random(seed)
    tree.scan()
    fd = os.open(tmp_path / "a", os.O_RDWR)
    for step in range(120):
        draw, offset = numbers.random(), numbers.randrange(300_000)
        if draw < 0.6:
            data = numbers.randbytes(numbers.choice([1, 100, 8192, 20_000, 900_000]))
            os.pwrite(fd, data, offset)
            tree.content_changed(fd, offset, len(data))
        elif draw < 0.7:
            size = numbers.randrange(400_000)
            os.ftruncate(fd, size)
            tree.content_changed(fd, size, 0, zeroed=True)
        elif draw < 0.8:
            length = numbers.randrange(1, 60_000)
            os.pwrite(fd, bytes(length), offset)
            tree.content_changed(fd, offset, length, zeroed=True)
        elif draw < 0.9:
            os.rename(tmp_path / "below/b", tmp_path / "below/x")
            os.rename(tmp_path / "below/x", tmp_path / f"below/{'bc'[step % 2]}")
            os.rename(tmp_path / f"below/{'bc'[step % 2]}", tmp_path / "below/b")
            tree.names_changed()
        else:
            (tmp_path / "new").write_bytes(numbers.randbytes(100))
            tree.names_changed()
            (tmp_path / "new").unlink()
            tree.names_changed()
        assert tree.value == tree_digest(tmp_path), step
    os.close(fd)


# -- files that outlive their writer ------------------------------------------------------------


def test_truth_is_read_as_it_was_written_also_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "truth"
    reader = TruthReader(path, zero_ns=1000)
    reader.poll()  # there is no file yet
    assert reader.instant == 0
    writer = TruthWriter(path)
    writer.put(EPOCH, 1, 0, 1000, 0, 7)
    writer.put(OPERATION, 1, 1, 1100, 10, 8)
    reader.poll()
    writer.put(OPERATION, 1, 2, 1200, 10, 9)
    writer.put(UNCAPTURED, 1, 2, 1300, 30, 10)
    writer.put(EPOCH, 2, 0, 1300, 30, 10)
    writer.put(OPERATION, 2, 1, 1400, 35, 9)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])  # the last record is being written
    reader.poll()
    assert reader.instant == 3
    path.write_bytes(whole)
    reader.poll()
    assert list(reader.times_ns) == [0, 100, 200, 300, 400]
    assert list(reader.written_bytes) == [0, 10, 10, 30, 35]
    assert [reader.digest_of(1, k) for k in range(4)] == [7, 8, 9, None]
    assert [reader.instant_of(*each) for each in ((0, 0), (1, 2), (2, 0), (2, 1))] == [0, 2, 3, 4]
    assert reader.find(1, 9) == [2]
    assert reader.instant_at(250) == 2
    assert reader.data_records == 3
    # An epoch that the caretaker began after the last program shows the last image.
    assert (reader.digest_of(3, 0), reader.digest_of(3, 1)) == (9, None)
    assert reader.instant_of(3, 0) == 4
    assert reader.breaches == []
    writer.breach("two\nlines")
    assert reader.breaches == ["two lines"]


def test_a_ledger_goes_on_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    first = RecordedLedger(path)
    assert first.next_message_id == 1
    for number in range(1, 6):
        first.begin([Message(number, 0, bytes([number]) * 50)], [], number)
        if number < 5:
            first.acknowledge(number, number + 100)
    first.begin([Message(6, 1, b"six")], [1, 2], 6)
    sizes = path.stat().st_size
    first.continue_from(5)
    second = RecordedLedger(path)
    assert second.next_message_id == 7, "an id is never given twice"
    assert (second.begun, second.acknowledged_messages) == (5, 4)
    assert second.live() == first.live()
    before: Ledger = read_ledger(path, sizes)
    assert (before.begun, len(before.live())) == (6, 4)
    assert before.loss(2) == first.loss(2)
    path.write_bytes(path.read_bytes()[:-3])  # the last entry is being written
    assert read_ledger(path).begun == 6


# -- children ------------------------------------------------------------------------------------


def test_a_child_that_ends_is_told_by_its_last_words(tmp_path: Path) -> None:
    script = "import sys; print('last words', file=sys.stderr); sys.exit(5)"
    child = Child("fragile", ["-c", script], tmp_path / "log")
    with pytest.raises(ChildFailed, match="the fragile has ended: last words"):
        child.answer()
    assert child.end(5.0) == 5


def test_a_paused_child_stands_still_and_goes_on(tmp_path: Path) -> None:
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    child = Child("echo", ["-c", echo], tmp_path / "log")
    child.say("one")
    assert child.answer() == "one"
    child.pause()
    child.say("two")
    with pytest.raises(ChildFailed, match="does not answer"):
        child.answer(0.2)
    child.pause()
    child.resume()
    assert child.paused
    with pytest.raises(ChildFailed, match="does not answer"):
        child.answer(0.2)  # of two pauses one is left
    child.resume()
    assert child.answer() == "two"
    child.kill()
    assert not child.runs
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


# -- the relay -----------------------------------------------------------------------------------


class Rig:
    """A relay between this test and a listener of its own."""

    def __init__(self, model: LinkModel, directory: Path) -> None:
        self.ends: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(20)
        target = f"127.0.0.1:{self.listener.getsockname()[1]}"
        specification = directory / "relay.json"
        specification.write_text(json.dumps({"model": asdict(model), "target": target, "seed": 1}))
        arguments = ["-m", "simulator.live.relay", str(specification)]
        self.child = Child("relay", arguments, directory / "relay.log")
        self.port = json.loads(self.child.answer())["port"]

    def call(self) -> socket.socket:
        near = socket.create_connection(("127.0.0.1", self.port), 20)
        self.ends.append(near)
        return near

    def accept(self) -> socket.socket:
        far, _ = self.listener.accept()
        far.settimeout(20)
        self.ends.append(far)
        return far

    def connect(self) -> tuple[socket.socket, socket.socket]:
        return self.call(), self.accept()


@contextmanager
def rig(model: LinkModel, directory: Path):
    made = Rig(model, directory)
    try:
        yield made
    finally:
        made.child.kill()
        for end in (made.listener, *made.ends):
            end.close()
        assert (directory / "relay.log").read_text() == ""


def receive_exactly(end: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size and (piece := end.recv(size - len(found))):
        found += piece
    return bytes(found)


def test_bytes_pass_whole_no_faster_than_the_link(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(400_000)
    with rig(LinkModel(8_000_000, 40_000_000), tmp_path) as made:
        near, far = made.connect()
        began = time.monotonic()
        sender = threading.Thread(target=near.sendall, args=(data,))
        sender.start()
        assert receive_exactly(far, len(data)) == data
        # At least the line's time for the bytes, but for the relay's credit of 5 ms.
        assert time.monotonic() - began >= len(data) / 1e6 - 0.01
        sender.join()
        began = time.monotonic()
        near.sendall(b"ping")
        assert receive_exactly(far, 4) == b"ping"
        far.sendall(b"pong")
        assert receive_exactly(near, 4) == b"pong"
        # The round trip, but for the credit each way.
        assert time.monotonic() - began >= 0.04 - 2 * 0.005
        near.shutdown(socket.SHUT_WR)
        assert far.recv(10) == b""
        far.sendall(b"still")
        assert receive_exactly(near, 5) == b"still"
        counts = made.child.ask({"do": "counts"})
        assert counts["forward_bytes"] == len(data) + 4
        assert counts["backward_bytes"] == 9


@pytest.mark.parametrize(
    "model",
    [
        LinkModel(1e9, 100_000_000, tcp_window_bytes=50_000),
        LinkModel(1e9, 100_000_000, loss=0.001, mss_bytes=1460),
    ],
)
def test_window_and_loss_bound_one_connection(model: LinkModel, tmp_path: Path) -> None:
    size = 300_000
    with rig(model, tmp_path) as made:
        near, far = made.connect()
        sender = threading.Thread(target=near.sendall, args=(bytes(size),))
        sender.start()
        began = time.monotonic()
        receive_exactly(far, size)
        least = (size - model.tcp_window_bytes % (1 << 20)) / model.stream_bytes_per_second()
        assert time.monotonic() - began >= min(least, size / model.stream_bytes_per_second()) - 0.1
        sender.join()


def test_an_outage_holds_bytes_and_connections(tmp_path: Path) -> None:
    with rig(LinkModel(8_000_000, 10_000_000), tmp_path) as made:
        near, far = made.connect()
        made.child.ask({"do": "cut", "direction": "to_replica"})
        near.sendall(b"held")
        far.sendall(b"free")
        assert receive_exactly(near, 4) == b"free"
        late = made.call()  # accepted, and hangs
        late.sendall(b"late")
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(4)
        made.child.ask({"do": "heal", "direction": "to_replica"})
        far.settimeout(20)
        assert receive_exactly(far, 4) == b"held"
        assert receive_exactly(made.accept(), 4) == b"late"


def test_each_direction_is_open_when_all_its_outages_are_over(tmp_path: Path) -> None:
    with rig(LinkModel(8_000_000, 10_000_000), tmp_path) as made:
        near, far = made.connect()
        for direction in ("both", "to_replica", "to_source"):
            made.child.ask({"do": "cut", "direction": direction})
        near.sendall(b"there")
        far.sendall(b"back")
        for direction, end in (("to_source", near), ("to_replica", far)):
            made.child.ask({"do": "heal", "direction": direction})
            end.settimeout(0.2)
            with pytest.raises(TimeoutError):
                end.recv(1)
            end.settimeout(20)
        made.child.ask({"do": "heal", "direction": "both"})
        assert receive_exactly(far, 5) == b"there"
        assert receive_exactly(near, 4) == b"back"


def test_a_reset_reaches_both_ends_and_the_next_connection_works(tmp_path: Path) -> None:
    with rig(LinkModel(8_000_000, 10_000_000), tmp_path) as made:
        near, far = made.connect()
        near.sendall(b"x")
        receive_exactly(far, 1)
        made.child.ask({"do": "reset"})
        for end in (near, far):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        near, far = made.connect()
        near.sendall(b"y")
        assert receive_exactly(far, 1) == b"y"


def test_a_machine_that_is_gone_does_not_say_so(tmp_path: Path) -> None:
    with rig(LinkModel(8_000_000, 10_000_000), tmp_path) as made:
        near, far = made.connect()
        near.sendall(b"last")
        assert receive_exactly(far, 4) == b"last"
        made.child.ask({"do": "mute"})
        near.close()
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(1)


def test_a_replica_that_does_not_listen_refuses_after_a_while(tmp_path: Path) -> None:
    with rig(LinkModel(8_000_000, 10_000_000), tmp_path) as made:
        made.listener.close()
        near = made.call()
        with pytest.raises(ConnectionResetError):
            near.recv(1)


# -- what is told --------------------------------------------------------------------------------


def live_result(count: int = 20):
    notes = LiveNotes(["power_loss of replica at 5 s: <a kill -9 stood in>"], 3, 0.2, 0.5, 24.0)
    return replace(samples.passing(count), world="live", trace_hash="", live=notes)


def test_record_and_page_say_what_was_not_as_in_the_scenario() -> None:
    result = live_result()
    record = RunRecord.model_validate(result.to_json())
    assert record.world == "live"
    assert record.live is not None
    assert record.live.without_counterpart[0].startswith("power_loss")
    page = page_text(result)
    assert "With real processes" in page
    assert "&lt;a kill -9 stood in&gt;" in page
    assert "Trace hash" not in page
    assert "--world live" in page


def test_a_comparison_is_a_table_that_goes_into_a_page(tmp_path: Path) -> None:
    class Promise:
        class protection:
            heartbeat_ns = 10**9

    text = table("command", Promise(), samples.passing(20), live_result())  # type: ignore[arg-type]
    assert "| RPO |" in text
    assert "- Live, not as in the scenario: power_loss of replica" in text
    page = tmp_path / "page.md"
    begin, end = (mark.format(name="short") for mark in (BEGIN_MARK, END_MARK))
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    put_into(page, "short", text)
    assert page.read_text() == f"before\n{begin}\n\n{text}\n{end}\nafter\n"
    with pytest.raises(BadInput, match="no place"):
        put_into(page, "another", text)


def test_paths_are_written_as_toml_strings() -> None:
    assert quoted('a "b" \\ c') == '"a \\"b\\" \\\\ c"'
    with pytest.raises(BadInput):
        quoted("a\nb")
