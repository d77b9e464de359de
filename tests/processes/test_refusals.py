"""Wrong directories, second processes, strangers on the port: each is a named error."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from replicator.errors import ExitCode
from replicator.protocol import HEADER, MAGIC
from tests.processes.trial import ENVIRONMENT, Process, Trial
from tests.real_tree import tree


def refused(process: Process, says: str, code: int = ExitCode.USAGE) -> None:
    assert process.ends() == code, process.log
    assert says in process.log
    assert "what to do: " in process.log
    assert "Traceback" not in process.log


@pytest.mark.parametrize("name", ["source", "replica"])
def test_a_second_process_is_locked_out(trial: Trial, name: str) -> None:
    first = trial.start(name)
    trial.wait_for_condition("running", name)
    refused(trial.start(name), "another process is the", ExitCode.NOT_YET)
    assert first.running


def test_a_second_program_is_locked_out(trial: Trial) -> None:
    trial.write(1, 100_000, "10")
    trial.wait_for("capturing", "program")
    config = trial.configure("hasty.toml", source='heartbeat = "1ms"')
    script = (
        "from replicator.capture import protect\n"
        "from replicator.errors import Locked\n"
        f"try: protect({str(config)!r}, patience_ns=300_000_000)\n"
        "except Locked as error: print(error, '|', error.remedy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "another program captures this protected set | Stop the other program" in done.stdout


def test_directories_of_the_other_end_and_of_another_set(trial: Trial) -> None:
    # A source that still waits has not begun its epoch.
    for name, not_yet in (("replica", {"recovering"}), ("source", {"recovering", "waiting"})):
        process = trial.start(name)
        trial.wait_for_condition("running", name)
        trial.wait(lambda s, n=name, b=not_yet: s[n]["status"]["state"] not in b, "up")
        process.kill()
    before = tree(trial.spool), tree(trial.replica)
    other = trial.configure("other.toml", set_id="another set")
    refused(trial.start("source", other), "holds the history of the protected set 'trial'")
    refused(trial.start("replica", other), "it holds the protected set 'trial'")
    swapped = trial.configure(
        "swapped.toml",
        spool=f'directory = "{trial.replica}"',
        replica=f'directory = "{trial.spool}"',
    )
    refused(trial.start("source", swapped), "it is the directory of a replica")
    refused(trial.start("replica", swapped), "it is the spool's directory of a source")
    for config, says in ((other, "of the protected set 'trial'"), (swapped, "is the directory of")):
        done = trial.command("check-config", str(config))
        assert done.returncode == ExitCode.USAGE
        assert done.stderr.count(says) == 2, done.stderr
    after = tree(trial.spool), tree(trial.replica)
    for was, now in zip(before, after, strict=True):
        changed = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
        # Its start is counted, and the status says that it was refused: nothing else.
        assert not {n for n in changed if not n.endswith(".starts") and "status." not in n}
    trial.start("replica"), trial.start("source")
    assert trial.write(1, 20).ends() == 0
    trial.converge()


def test_a_directory_that_is_not_there_is_not_made(trial: Trial, tmp_path: Path) -> None:
    gone = tmp_path / "not mounted"
    config = trial.configure("gone.toml", spool=f'directory = "{gone}"')
    says = "source.spool.directory: there is no such directory"
    refused(trial.start("source", config), says, ExitCode.NOT_YET)
    assert not gone.exists()
    gone.write_bytes(b"")  # no start heals this
    refused(trial.start("source", config), "source.spool.directory: this is no directory")


def test_an_address_in_use(trial: Trial) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", trial.port))
        taken.listen()
        says = f"address 127.0.0.1:{trial.port} is in use"
        refused(trial.start("replica"), says, ExitCode.NOT_YET)
    assert not (trial.replica / "image").exists()  # nothing was begun


def test_an_address_of_another_machine(trial: Trial) -> None:
    config = trial.configure("far.toml", replica='listen = "192.0.2.1:7000"')
    process = trial.start("replica", config)
    refused(process, "192.0.2.1:7000 is not an address of this machine", ExitCode.NOT_YET)
    assert "Give replica.listen an address of this machine" in process.log


def hello_of_version(version: int) -> bytes:
    """A frame as another release would send it."""
    payload = json.dumps({"protocol": version}).encode()
    header = HEADER.pack(MAGIC, 1, 0, version, len(payload), 0, xxhash.xxh3_64_intdigest(payload))
    return header + payload


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: replica.example\r\n\r\n", "does not speak this protocol"),
        (bytes(range(256)), "does not speak this protocol"),
        (hello_of_version(99), "the peer speaks protocol version 99"),
    ],
    ids=["http", "garbage", "version"],
)
def test_strangers_who_call_the_replica(trial: Trial, sent: bytes, says: str) -> None:
    replica = trial.start("replica")
    trial.wait_for("waiting", "replica")
    with socket.create_connection(("127.0.0.1", trial.port), timeout=10) as stranger:
        stranger.sendall(sent)
        status = trial.wait(lambda s: says in s["replica"]["last_known"]["cause"], says)
    assert status["replica"]["state"] == "waiting"
    assert says in replica.log
    trial.start("source")
    assert trial.write(1, 20).ends() == 0
    trial.converge()


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "does not speak this protocol"),
        (hello_of_version(99), "the peer speaks protocol version 99"),
    ],
    ids=["http", "version"],
)
def test_strangers_whom_the_source_calls(trial: Trial, sent: bytes, says: str) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", trial.port))
        listener.listen()
        listener.settimeout(20)
        source = trial.start("source")
        stranger, _ = listener.accept()
        with stranger:
            stranger.sendall(sent)
            trial.wait(
                lambda s: s["source"]["last_known"] and says in s["source"]["last_known"]["cause"],
                says,
            )
    assert says in source.log
    trial.start("replica")
    assert trial.write(1, 20).ends() == 0
    trial.converge()


def test_a_source_of_another_set_is_refused_by_the_replica(trial: Trial, tmp_path: Path) -> None:
    trial.start("replica")
    spool = tmp_path / "other spool"
    spool.mkdir()
    other = trial.configure("other.toml", set_id="another set", spool=f'directory = "{spool}"')
    trial.start("source", other)
    trial.wait(
        lambda s: (
            "holds 'trial', not 'another set'"
            in (s["replica"]["last_known"] or {}).get("cause", "")
        ),
        "refused",
    )
    says = "the replica refused: it holds another protected set than 'another set'"
    trial.wait(
        lambda s: says in (trial.status(other)["source"]["last_known"] or {}).get("cause", ""),
        "told to the source",
    )
