"""Configurations: what loads, each wrong one's line, key and way out; the page and the example."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator import cli
from replicator.command_line import finish
from replicator.config import (
    BadConfiguration,
    configuration_json_schema,
    load_configuration,
    parse_configuration,
)
from replicator.config_checks import exposed
from replicator.config_reference import configuration_reference_markdown
from replicator.errors import ExitCode
from replicator.source import SourceOptions
from replicator.source_place import SpoolOptions

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "replicator.toml"
SMALL = """\
set = "first"
[source]
directory = "/srv/exchange"
replica = "replica.example:7000"
heartbeat = "2s"
[source.spool]
directory = "/var/spool/first"
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(BadConfiguration) as raised:
        parse_configuration(text)
    assert raised.value.exit_code == ExitCode.USAGE
    assert all(error.remedy for error in raised.value.errors)
    return [str(error) for error in raised.value.errors]


def test_defaults_are_those_of_the_code() -> None:
    table = parse_configuration(SMALL).source()
    expected = SourceOptions("first", "source", "replica.example:7000", heartbeat_ns=2_000_000_000)
    assert table.options("first") == expected
    assert table.spool_options == SpoolOptions()


def test_values_reach_the_options() -> None:
    more = 'limit = "3GiB"\npolicy = "hold"\n'
    loaded = parse_configuration(SMALL.replace("heartbeat", 'window = "1MiB"\nheartbeat') + more)
    assert loaded.source().options("first").window_bytes == 1 << 20
    assert loaded.source().spool_options.limit_bytes == 3 << 30
    settings = {setting.path: setting for setting in loaded.settings()}
    assert settings["source", "window"].value == "1MiB"
    assert settings["source", "window"].line == 5
    assert settings["source", "reconnect"].line is None
    with pytest.raises(BadConfiguration, match=r"there is no table \[replica\]"):
        loaded.replica()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("heartbeat", "hartbeat"), "configuration:5: source.hartbeat: unknown key 'hartbeat'"),
        (("heartbeat", "hartbeat"), "did you mean 'heartbeat'?"),
        (('"2s"', '"2 secs"'), "configuration:5: source.heartbeat: '2 secs' has the unknown unit"),
        (('"2s"', "2"), "2 has no unit"),
        ((":7000", ""), "configuration:4: source.replica: 'replica.example' has no port"),
        ((":7000", ":70000"), "'70000' is no port from 1 to 65535"),
        (("replica.example:", ":"), "':7000' names no host to connect to"),
        (("replica.example:", "::1:"), "'::1' is no host"),
        (('"/srv/exchange"', '"srv"'), "configuration:3: source.directory: 'srv' is no absolute"),
        (('"/srv/exchange"', '"/srv/../x"'), "goes through '.' or '..'"),
        (('"/srv/exchange"', '"/"'), "the root of the machine cannot be it"),
        (("/var/spool/first", "/srv/exchange/spool"), "lies inside of source.directory"),
        (("/var/spool/first", "/srv"), "source.directory: /srv/exchange lies inside of"),
        (("/var/spool/first", "/srv/exchange/"), "is source.directory as well"),
        (("[source.spool]", "[source.spol]"), "unknown key 'spol' in [source]"),
        (('set = "first"', ""), "set: this key is missing"),
        (('"/var/spool/first"', '"/v"\nlimit = "9MiB"'), "8MiB exceeds half of limit (9MiB)"),
        (('"/var/spool/first"', '"/v"\npolicy = "holt"'), "did you mean 'hold'?"),
        (('"2s"', '"2s"\nbatch_size = "16MiB"'), "exceeds source.window (4MiB)"),
    ],
)
def test_what_is_wrong_is_named(change: tuple[str, str], says: str) -> None:
    assert any(says in error for error in errors_of(SMALL.replace(*change)))


def test_an_end_is_needed_and_both_must_be_apart() -> None:
    assert "neither a table [source] nor a table [replica]" in errors_of('set = "x"')[0]
    both = SMALL + '[replica]\ndirectory = "/srv/exchange"\nlisten = ":7000"\n'
    assert any("replica.directory: /srv/exchange is source" in error for error in errors_of(both))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('heartbeat = "10ms"', "is shorter than a busy machine"),
        ('heartbeat = "5m"', "a dead connection goes unnoticed"),
        ('heartbeat = "1s"', "replica.heartbeat: 1s differs from source.heartbeat (2s)"),
        ('heartbeat = "2s"\njournal.limit = "64MiB"', "is less than source.spool.limit"),
    ],
)
def test_doubts(lines: str, says: str) -> None:
    loaded = parse_configuration(SMALL + f'[replica]\ndirectory = "/r"\nlisten = ":1"\n{lines}\n')
    [doubt] = [each for each in loaded.doubts() if says in str(each)]
    assert doubt.remedy


@given(st.text(max_size=300))
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    try:
        parse_configuration(text)
    except BadConfiguration as refusal:
        assert refusal.errors


@given(st.sampled_from(SMALL.splitlines()), st.text(max_size=20))
def test_whatever_line_is_changed(line: str, instead: str) -> None:
    try:
        parse_configuration(SMALL.replace(line, instead))
    except BadConfiguration as refusal:
        assert refusal.errors


def test_the_page_is_made_from_the_models() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == configuration_reference_markdown(), (
        "renew it: .venv/bin/python -m replicator.config_reference > docs/configuration.md"
    )


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(cli.app, "replicator", ["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == configuration_json_schema()


def test_check_of_the_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its directories in place, the example needs nothing but room and a safe way."""
    text = EXAMPLE.read_text(encoding="utf-8").replace("30GiB", "64MiB")
    text = text.replace("replica.example:7000", "localhost:7000").replace(
        '":7000"', '"127.0.0.1:7000"'
    )
    for name in ("srv/exchange/first", "var/spool/replicator/first", "srv/replica/first"):
        (tmp_path / name).mkdir(parents=True)
        text = text.replace(f'"/{name}"', f'"{tmp_path / name}"')
    config = tmp_path / "first.toml"
    config.write_text(text)
    assert finish(cli.app, "replicator", ["check-config", str(config)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    [line] = [row for row in printed.out.splitlines() if row.startswith("source.drain ")]
    assert line.split() == ["source.drain", "30s", f"{config}:11"]
    assert finish(cli.app, "replicator", ["check-config", str(config), "--json", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and not document["warnings"]
    assert {"key": "source.reconnect", "value": "2s", "line": None} in document["settings"]


def test_check_says_all_that_the_machine_objects_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "first.toml"
    config.write_text(EXAMPLE.read_text(encoding="utf-8"))
    assert finish(cli.app, "replicator", ["check-config", str(config), "--json", "-"]) == 64
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert not document["ok"]
    assert [each["place"] for each in document["errors"]] == [
        f"{config}:{line}" for line in (8, 14, 19)
    ]
    assert (
        printed.err.count("what to do: Mount the volume that it is on, or correct the path.") == 3
    )
    # A link that leads into the protected set is seen through.
    (tmp_path / "data" / "spool").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data" / "spool")
    config.write_text(
        SMALL.replace("/srv/exchange", str(tmp_path / "data")).replace(
            "/var/spool/first", str(tmp_path / "link")
        )
    )
    assert finish(cli.app, "replicator", ["check-config", str(config)]) == 64
    assert "lies inside of source.directory" in capsys.readouterr().err


def checked(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What check-config, which must refuse it, says of a configuration."""
    for name in ("data", "spool", "replica"):
        (tmp_path / name).mkdir(exist_ok=True)
        text = text.replace(f"<{name}>", str(tmp_path / name))
    config = tmp_path / "first.toml"
    config.write_text(text)
    assert finish(cli.app, "replicator", ["check-config", str(config)]) == 64
    return capsys.readouterr().err


ON_THIS_MACHINE = SMALL.replace("/srv/exchange", "<data>").replace("/var/spool/first", "<spool>")


def test_check_finds_what_cannot_be_replicated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    os.mkfifo(tmp_path / "data" / "deep" / "pipe")
    said = checked(tmp_path, ON_THIS_MACHINE, capsys)
    assert f"source.directory: {tmp_path}/data/deep/pipe is neither a file" in said
    assert "what to do: Remove it: sockets, pipes and devices cannot be replicated." in said


def test_check_of_a_single_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "database").write_bytes(b"")
    text = ON_THIS_MACHINE.replace("<data>", str(tmp_path / "database"))
    said = checked(tmp_path, text, capsys)
    assert "database is no directory" in said
    assert "what to do: Name a directory; a single file is protected by the one" in said


def test_check_of_an_address_that_is_not_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replica = 'set = "first"\n[replica]\ndirectory = "<replica>"\nlisten = "{}"\n'
    said = checked(tmp_path, replica.format("192.0.2.1:7000"), capsys)
    assert "replica.listen: 192.0.2.1:7000 is not an address of this machine" in said
    assert "what to do: Give replica.listen an address of this machine (':7000'" in said
    with socket.socket() as taken:  # by the replica itself, as like as not
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        (tmp_path / "first.toml").write_text(
            replica.format(address).replace("<replica>", str(tmp_path / "replica"))
        )
        assert finish(cli.app, "replicator", ["check-config", str(tmp_path / "first.toml")]) == 0


@pytest.mark.parametrize("mark", ["\ufeff", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_text(mark: str | bytes) -> None:
    text = mark + (SMALL if isinstance(mark, str) else SMALL.encode())
    loaded = parse_configuration(text)
    assert loaded.set_id == "first"
    assert loaded.places.lines[("set",)] == 1


def test_check_of_a_limit_that_the_volume_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data", "spool"):
        (tmp_path / name).mkdir()
    config = tmp_path / "first.toml"
    text = SMALL.replace("/srv/exchange", str(tmp_path / "data"))
    text = text.replace("/var/spool/first", str(tmp_path / "spool")) + 'limit = "4PiB"\n'
    config.write_text(text)
    assert finish(cli.app, "replicator", ["check-config", str(config)]) == 0
    assert "warning: " in (err := capsys.readouterr().err)
    assert "source.spool.limit: 4PiB is more than the volume of" in err


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("127.0.0.1:7000", False),
        ("127.3.0.1:7000", False),
        ("[::1]:7000", False),
        ("localhost:7000", False),
        ("replica.example:7000", True),
        ("localhost.example:7000", True),
        ("192.0.2.1:7000", True),
        ("[fe80::1%lo]:7000", True),
        (":7000", True),
        ("[::]:7000", True),
    ],
)
def test_an_address_that_others_reach_is_warned_of(address: str, warned: bool) -> None:
    text = SMALL + f'[replica]\ndirectory = "/srv/replica"\nlisten = "{address}"\n'
    if not address.startswith(":"):
        text = text.replace("replica.example:7000", address)
    found = [each.keys[0] for each in exposed(parse_configuration(text).configuration)]
    # An address without a host is one to listen on only.
    assert (("replica", "listen") in found) is warned
    assert (("source", "replica") in found) is warned


def test_the_warning_names_the_paragraph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data", "spool"):
        (tmp_path / name).mkdir()
    text = SMALL.replace("/srv/exchange", str(tmp_path / "data"))
    config = tmp_path / "first.toml"
    config.write_text(text.replace("/var/spool/first", str(tmp_path / "spool")))
    assert finish(cli.app, "replicator", ["check-config", str(config)]) == 0
    err = " ".join(capsys.readouterr().err.split())
    assert (
        f"{config}:4: source.replica: the connection to replica.example:7000 is neither "
        "encrypted nor authenticated" in err
    )
    [title] = re.findall(r"see '([^']*)' in docs/operating.md", err)
    assert f"\n## {title}\n" in (ROOT / "docs/operating.md").read_text()


def test_the_example_loads() -> None:
    assert load_configuration(EXAMPLE).doubts() == []
