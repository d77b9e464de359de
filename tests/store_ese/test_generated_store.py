"""Whole stores: what independent readers find in them is what the ledger says."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

import replicator.cli
from replicator.cli_ese_places import Places
from replicator.cli_ese_recover import recover_files
from replicator.command_line import finish
from replicator.errors import NoSpace
from replicator.ese.database_header import State, read_database_header
from replicator.ese.log_names import LogRole, parse_log_name
from replicator.ese.reader import BytesReader
from replicator.ese.recovery_result import RecoveryResult
from replicator.host.world import run_on_host
from simulator import cli
from simulator.exchange.diurnal import DAY_NS, HOUR_NS
from simulator.exchange.ese.generated_store import LEDGER_NAME, StoreSpec, generate_store
from simulator.exchange.ese.mail_ledger import LedgerEntry, read_entry
from simulator.exchange.ese.mail_work import MailWork
from simulator.exchange.ese.store_record import StoreRecord
from simulator.exchange.mail_events import MailEvent, SoftDelete
from simulator.exchange.mail_io import IoModel
from simulator.exchange.mail_stream import MailStream
from simulator.exchange.profiles import select_profile
from tests.store_ese.engine_harness import Life, new_medium, run
from tests.store_ese.mail_readers import READERS, expected_of

PROFILES = {"2003": "light", "2007": "light", "2010": "50"}
VERSIONS = sorted(PROFILES)
PAGE_BYTES = {"2003": 4096, "2007": 8192, "2010": 32768}


def spec_of(version: str, **more: object) -> StoreSpec:
    size = {"mailboxes": 4, "databases": 2} if version == "2007" else {"mailboxes": 2}
    profile = select_profile(version, PROFILES[version])
    given = {"profile": profile, **size, "days": 1, "views": False, **more}
    return StoreSpec(**given)  # type: ignore[arg-type]


def write(directory: Path, spec: StoreSpec) -> StoreRecord:
    directory.mkdir()

    async def main(runtime):
        return await generate_store(runtime.volume("store", str(directory)), "/", spec)

    return run_on_host(main)


def ledger_of(directory: Path) -> list[LedgerEntry]:
    text = (directory / LEDGER_NAME).read_text(encoding="utf-8")
    return [read_entry(line) for line in text.splitlines()]


def check_readers(directory: Path, entries: list[LedgerEntry], names: tuple[str, ...]) -> None:
    for name in names:
        expected = expected_of(entries, name)
        assert expected
        for reader in READERS:
            assert reader(directory / name) == expected


def recovered(directory: Path, output: Path) -> tuple[Path, RecoveryResult]:
    places = Places(directory, None, None, (), False, False)
    result, errors = recover_files(places, undo=True, output=output)
    assert not errors
    assert result is not None
    return output, result


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def clean(version, tmp_path_factory) -> tuple[Path, StoreSpec, StoreRecord]:
    spec = spec_of(version)
    directory = tmp_path_factory.mktemp(f"clean-{version}") / "store"
    return directory, spec, write(directory, spec)


@pytest.fixture(scope="module")
def crashed(version, tmp_path_factory) -> tuple[Path, StoreSpec, StoreRecord]:
    spec = spec_of(version, crash_at_ns=14 * HOUR_NS + 1)
    directory = tmp_path_factory.mktemp(f"crashed-{version}") / "store"
    return directory, spec, write(directory, spec)


# --- what is in it ------------------------------------------------------------------------


def test_readers_find_the_very_messages_of_a_clean_store(clean) -> None:
    directory, spec, record = clean
    assert record.state == "clean shutdown"
    assert record.required_generations is None
    entries = ledger_of(directory)
    assert len(entries) == record.messages
    assert all(each.committed for each in entries)
    check_readers(directory, entries, spec.file_names)


def test_readers_find_what_was_committed_after_a_crash_and_recovery(
    crashed, tmp_path_factory
) -> None:
    directory, spec, record = crashed
    assert record.state == "dirty shutdown"
    for name in spec.file_names:
        header = read_database_header(BytesReader((directory / name).read_bytes()))[0]
        assert header.state is State.DIRTY_SHUTDOWN
        assert header.first_required_generation >= record.required_generations[0]
        assert header.last_required_generation <= record.required_generations[1]
    entries = ledger_of(directory)
    undone = [each for each in entries if not each.committed]
    assert len(undone) == record.uncommitted_messages > 0
    assert len(entries) - len(undone) == record.messages > 10
    output, result = recovered(directory, tmp_path_factory.mktemp("recovered") / "store")
    # Both were needed: what was committed was missing in the files, what was not was there.
    assert result.redone_pages > 0
    assert result.transactions > 0
    assert result.undone > 0
    check_readers(output, entries, spec.file_names)


def test_ledger_and_record_tell_the_stream(clean, version) -> None:
    directory, spec, record = clean
    expected: Counter[str] = Counter()
    deleted = 0
    for event in MailStream(spec.plan).events():
        expected[type(event).__name__] += 1
        deleted += isinstance(event, SoftDelete)
    told = dict(record.events)
    assert told.pop("missing") == 0
    assert (told.pop("idle logs", 0) > 0) == (version != "2003")  # which had no log roll
    assert told == expected
    folders = Counter(each.folder for each in ledger_of(directory))
    assert folders[2] == deleted > 0
    assert folders[1] == expected["Submit"]
    on_disk = {each.name: each.stat().st_size for each in directory.iterdir()}
    assert {each.name: each.size_bytes for each in record.files} == on_disk
    closed = [
        parsed.generation
        for parsed in map(parse_log_name, on_disk)
        if parsed and parsed.role is LogRole.CLOSED
    ]
    assert bool(closed) == (version != "2003")  # whose logs are larger than all that was written
    assert min(closed, default=1) == record.first_generation
    assert record.last_generation == max(closed, default=0) + 1


def test_files_are_those_of_the_version(clean, version) -> None:
    directory, spec, record = clean
    header = read_database_header(BytesReader((directory / "priv1.edb").read_bytes()))[0]
    assert header.page_size == PAGE_BYTES[version]
    assert header.state is State.CLEAN_SHUTDOWN
    size = (directory / "E00.log").stat().st_size
    assert size == spec.profile.log_file_bytes.value
    assert size == (5 << 20 if version == "2003" else 1 << 20)
    assert record.log_bytes % size == 0


def test_a_body_is_kept_once_to_2007_and_for_each_copy_in_2010(clean, version) -> None:
    import pyesedb

    directory, spec, record = clean
    bodies = messages = 0
    for name in spec.file_names:
        file = pyesedb.open(str(directory / name))
        messages += file.get_table_by_name("Msg").get_number_of_records()
        bodies += file.get_table_by_name("Body").get_number_of_records()
        assert (file.get_table_by_name("Content") is not None) == (version != "2010")
        file.close()
    assert messages == record.messages
    assert (bodies < messages) if version != "2010" else (bodies == messages)


# --- the same again -----------------------------------------------------------------------


def contents(directory: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in directory.iterdir()}


def test_the_same_spec_makes_the_same_bytes_anywhere(crashed, tmp_path) -> None:
    directory, spec, _ = crashed
    elsewhere = tmp_path / "another" / "much" / "deeper"
    elsewhere.parent.mkdir(parents=True)
    write(elsewhere, spec)
    assert contents(elsewhere) == contents(directory)


def test_a_store_that_is_shut_down_is_the_same_again_and_other_seeds_are_others(tmp_path) -> None:
    spec = spec_of("2007", mailboxes=1, databases=1)
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        write(tmp_path / name, replace(spec, seed=seed))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one")["priv1.edb"] != contents(tmp_path / "other")["priv1.edb"]


def test_a_store_with_its_profiles_operations_is_the_same_again_and_whole_after_a_crash(
    tmp_path,
) -> None:
    profile = select_profile("2007", "light", iops=0.02)
    spec = spec_of("2007", io=IoModel(cache_share=0.05), profile=profile, views=True)
    spec = replace(spec, mailboxes=2, crash_at_ns=8 * HOUR_NS + 1)
    record = write(tmp_path / "one", spec)
    write(tmp_path / "two", spec)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert record.older_pages > 64
    assert [each.hour for each in record.hours] == list(range(8))
    reads = sum(each.database_reads for each in record.hours)
    # 12 % of the day's traffic; an hour of the peak has 10 %.
    assert reads == pytest.approx(0.01 * 3600 * 2 * 1.2, rel=0.05)
    assert 0 < sum(each.view_bytes for each in record.hours) <= record.view_bytes
    output, result = recovered(tmp_path / "one", tmp_path / "out")
    assert result.redone_pages > 0
    check_readers(output, ledger_of(tmp_path / "one"), spec.file_names)


@pytest.mark.full
def test_circular_logging_keeps_what_recovery_needs(tmp_path) -> None:
    spec = StoreSpec(
        profile=select_profile("2007", "average"),
        mailboxes=4,
        days=1,
        circular=True,
        crash_at_ns=DAY_NS,
    )
    record = write(tmp_path / "store", spec)
    assert 1 < record.first_generation <= record.required_generations[0]
    output, _ = recovered(tmp_path / "store", tmp_path / "out")
    check_readers(output, ledger_of(tmp_path / "store"), spec.file_names)


@pytest.mark.parametrize(
    "wrong",
    [{"databases": 6}, {"databases": 0}, {"days": 0}, {"crash_at_ns": DAY_NS + 1},
     {"profile": select_profile("2013", "50")}],
)  # fmt: skip
def test_a_spec_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match=r"databases|day|days|version"):
        replace(spec_of("2007"), **wrong)


# --- the page -----------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "store-generator.md"


def blocks_of_the_page(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_that_checks_a_store_does(clean, crashed, tmp_path) -> None:
    names: dict[str, Any] = {}
    exec(blocks_of_the_page("python")[0], names)
    names["check"](clean[0])
    output, _ = recovered(crashed[0], tmp_path / "out")
    shutil.copy(crashed[0] / LEDGER_NAME, output)
    names["check"](output)
    other = tmp_path / "other"
    shutil.copytree(clean[0], other)
    lines = (other / LEDGER_NAME).read_text(encoding="utf-8").splitlines()
    lines.remove(next(line for line in lines if json.loads(line)["database"] == "priv1.edb"))
    (other / LEDGER_NAME).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(KeyError):
        names["check"](other)


def test_the_example_that_delivers_does() -> None:
    names: dict[str, Any] = {}
    exec(blocks_of_the_page("python")[1], names)

    async def script(life: Life) -> None:
        messages = await names["deliver_two"](await life.open())
        assert [each.message_id for each in messages] == [0, 1]
        assert messages[0].body == messages[1].body == b"the same"

    life = run(new_medium(), script)
    assert life.error is None


def test_the_commands_of_the_page_work(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [line.split("#")[0].split() for line in blocks_of_the_page("sh")[0].splitlines()]
    assert len(commands) == 3
    for program, *arguments in commands:
        smaller = [{"4": "1", "14h30m": "9h30m"}.get(each, each) for each in arguments]
        app = cli.app if program.endswith("simulator") else replicator.cli.app
        assert finish(app, program, smaller) == 0
    shown = capfd.readouterr().out
    assert "DirtyShutdown  CleanShutdown" in shown
    for option in re.findall(r"`(--[a-z-]+)[ `]", PAGE.read_text(encoding="utf-8")):
        assert option in store_options(), option


def store_options() -> set[str]:
    command = typer.main.get_command(cli.app).commands["store"]
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)}


# --- the command --------------------------------------------------------------------------


def command(*arguments: object) -> int:
    return finish(cli.app, "simulator", ["store", *map(str, arguments)])


def test_the_command_writes_and_tells(tmp_path, capfd) -> None:
    target, out = tmp_path / "new" / "store", tmp_path / "out.json"
    options = ("--mailboxes", 1, "--version", "2010", "--crash-at", "9h30m", "--json", out)
    assert command(target, *options) == 0
    shown = capfd.readouterr().out
    told = json.loads(out.read_text())
    assert told["state"] == "dirty shutdown"
    assert told["crashed_at_ns"] == 9 * HOUR_NS + HOUR_NS // 2
    assert "killed after 9 h 30 m" in shown
    assert f"{told['messages']} that must be there" in shown
    assert f"replicator ese recover {target} --output {target}-recovered" in shown
    assert {each["name"] for each in told["files"]} == {each.name for each in target.iterdir()}
    # As the umask says, not for the owner alone.
    assert {each.stat().st_mode & 0o1777 for each in target.iterdir()} == {
        out.stat().st_mode & 0o1777
    }


def test_json_on_standard_output_stands_alone(tmp_path, capfd) -> None:
    assert command(tmp_path / "store", "--mailboxes", 1, "--json", "-") == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["state"] == "clean shutdown"
    assert "replicator ese verify" in shown.err


def test_the_command_tells_the_operations_of_the_busiest_hour(tmp_path, capfd) -> None:
    options = ("--mailboxes", 1, "--profile", "light", "--io", "--crash-at", "1h", "--json")
    assert command(tmp_path / "store", *options, tmp_path / "out.json") == 0
    told = json.loads((tmp_path / "out.json").read_text())
    (hour,) = told["hours"]
    operations = hour["database_reads"] + hour["database_writes"]
    shown = " ".join(capfd.readouterr().out.split())
    assert f"operations {operations / 3600:.3f} a second and mailbox in hour 0, " in shown
    assert "on pages of older mail" in shown
    assert told["older_pages"] > 0


def test_a_store_that_is_stopped_leaves_nothing(tmp_path, capfd, monkeypatch) -> None:
    carry_out = MailWork.carry_out

    async def stopping(self: MailWork, event: MailEvent) -> None:
        await carry_out(self, event)
        if self.counts["Deliver"] == 3:
            raise NoSpace("the volume is full", path="/E00.log")

    monkeypatch.setattr(MailWork, "carry_out", stopping)
    target = tmp_path / "store"
    assert command(target, "--mailboxes", 1) == 1
    assert f"{target}/E00.log" in capfd.readouterr().err
    assert not target.exists()
    target.mkdir()
    assert command(target, "--mailboxes", 1) == 1
    assert list(target.iterdir()) == []


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path, capfd) -> None:
    (tmp_path / "mine").write_text("keep")
    assert command(tmp_path) == 64
    assert "empty" in capfd.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--version", "2013"), "2013"),
        (("--profile", "havy"), "heavy"),
        (("--databases", 3, "--mailboxes", 2), "--mailboxes"),
        (("--crash-at", "soon"), "--crash-at"),
        (("--crash-at", "25h"), "--days"),
        (("--json", "{target}/out.json"), "--json"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_made(tmp_path, capfd, options, words) -> None:
    target = tmp_path / "store"
    given = [str(each).replace("{target}", str(target)) for each in options]
    assert command(target, *given) == 64
    assert words in capfd.readouterr().err
    assert not target.exists()
