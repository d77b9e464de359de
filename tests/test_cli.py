"""The command ``simulator``: exit codes, what is printed where, what is written when."""

import ast
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from replicator import errors
from replicator.command_line import finish, printable
from replicator.errors import BadInput, ExitCode
from simulator import cli
from simulator.measures import Verdict
from simulator.report.terminal import print_result, progress_on
from tests.report import samples

ROOT = Path(__file__).parents[1]
SCENARIO = """
name = "small"
duration = "1m"
[stream]
kind = "store"
[link]
bandwidth = "10Mbit/s"
rtt = "60ms"
[[faults]]
kind = "link_outage"
at = "10s"
duration = "5s"
[objectives]
rpo = "5m"
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture
def runs(monkeypatch):
    """Stands in for simulator.run; ``runs.result`` is what a run gives."""
    fake = types.ModuleType("simulator.run")
    fake.result = samples.passing(20)
    fake.calls = []

    def run_scenario(scenario, seed, progress):
        fake.calls.append((scenario, seed))
        if isinstance(fake.result, BaseException):
            raise fake.result
        progress(1.0, 2.0, "streaming")
        return fake.result

    fake.run_scenario = run_scenario
    monkeypatch.setitem(sys.modules, "simulator.run", fake)
    return fake


def simulator(*arguments):
    return finish(cli.app, "simulator", [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.PASS, 0),
        (Verdict.OBJECTIVE, 1),
        (Verdict.UNRECOVERABLE, 1),
        (Verdict.LIVENESS, 1),
        (Verdict.SAFETY, 1),
        (Verdict.INCONCLUSIVE, 2),
    ],
)
def test_verdict_decides_the_exit_code(scenario, runs, verdict, code, capsys):
    runs.result = replace(runs.result, verdict=verdict, reasons=["because"])
    assert simulator("run", scenario) == code
    assert "because" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "--sed", "1", "x.toml"],
        ["run", "x.toml", "--seed", "many"],
        ["run", "x.toml", "--seed", "-1"],
        ["run", "no such file.toml"],
        ["check", "no such file.toml"],
        ["check"],
        ["schema", "too", "many"],
    ],
)
def test_wrong_usage_is_64_with_a_remedy(arguments, capsys):
    assert simulator(*arguments) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "what to do: " in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (BadInput("no", path="a.csv", line=3), 64, "error: a.csv:3: no\nwhat to do: Correct"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("by\nnought"), 70, "internal error: ZeroDivisionError: by nought at "),
        (EOFError("cut"), 70, "internal error: EOFError: cut at "),
        (MemoryError(), 70, "internal error: MemoryError at "),
    ],
)
def test_what_ends_a_run_early(scenario, runs, failure, code, says, capsys, tmp_path):
    runs.result = failure
    assert simulator("run", scenario, "--json", tmp_path / "r.json") == code
    captured = capsys.readouterr()
    assert captured.err.lstrip().startswith(says)
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert not (tmp_path / "r.json").exists()


def test_options_reach_the_run(scenario, runs):
    assert simulator("run", scenario, "--seed", 7, "--set", "link.rtt=80ms") == 0
    [(loaded, seed)] = runs.calls
    assert seed == 7
    assert loaded.link.rtt_ns == 80_000_000
    assert simulator("run", scenario) == 0
    assert runs.calls[-1][1] is None


def test_json_and_report_are_written_and_named(scenario, runs, tmp_path, capsys):
    record, report = tmp_path / "r.json", tmp_path / "out"
    assert simulator("run", scenario, "--json", record, "--report", report) == 0
    out = capsys.readouterr().out
    assert f"JSON: {record}\n" in out
    assert f"report: {report}/report.html\n" in out
    assert json.loads(record.read_text()) == runs.result.to_json()
    page = (report / "report.html").read_text()
    assert f"simulator run {scenario} --seed 1" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "r.json", "small.toml"]


def test_json_may_lie_in_the_report_that_is_yet_to_be_made(scenario, runs, tmp_path):
    out = tmp_path / "out" / "deep"
    assert simulator("run", scenario, "--json", out / "r.json", "--report", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["r.json", "report.html"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ZeroDivisionError()])
def test_what_ends_a_run_early_leaves_no_directory(scenario, runs, failure, tmp_path):
    runs.result = failure
    out = tmp_path / "out" / "deep"
    assert simulator("run", scenario, "--report", out, "--keep", tmp_path / "kept") in (70, 130)
    assert list(tmp_path.iterdir()) == [scenario]


def test_json_on_standard_output_stands_alone(scenario, runs, capsys):
    assert simulator("run", scenario, "--json", "-") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == runs.result.to_json()
    assert "verdict" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "missing/r.json"],
        ["--json", "."],
        ["--json", ""],
        ["--report", "small.toml"],
        ["--report", "small.toml/below"],
        ["--report", "out", "--json", "out/report.html"],
        ["--keep", "."],
        ["--keep", "small.toml"],
        ["--keep", "out", "--report", "out"],
        ["--keep", "out", "--json", "out/r.json"],
    ],
)
def test_unwritable_target_is_refused_before_the_run(
    scenario, runs, arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert simulator("run", scenario, *arguments) == 64
    assert runs.calls == []
    assert "what to do: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [scenario]


def test_bad_scenario_leaves_no_report_directory(scenario, runs, tmp_path):
    scenario.write_text("name = 3")
    assert simulator("run", scenario, "--report", tmp_path / "out") == 64
    assert not (tmp_path / "out").exists()


def test_check_says_what_the_scenario_is(scenario, capsys):
    assert simulator("check", scenario, "--set", "objectives.rto=1h") == 0
    out = capsys.readouterr().out
    for line in ("small", "10 Mbit/s", "60 ms", "1 fault:", "after 10 s: link outage", "RTO 1 h"):
        assert line in out
    scenario.write_text(SCENARIO.replace("rtt", "rt"))
    assert simulator("check", scenario) == 64
    assert f"{scenario}:" in capsys.readouterr().err


def test_check_warns_of_what_is_hardly_meant(scenario, capsys):
    assert simulator("check", scenario, "--set", "protection.heartbeat=20ms") == 0
    captured = capsys.readouterr()
    assert "warning" not in captured.out
    assert captured.err.startswith("warning: --set protection.heartbeat=20ms: protection.heart")
    assert "what to do: Set protection.heartbeat to 60ms or more." in captured.err
    assert simulator("check", scenario) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("override", ["link.loss=100%", "stream.messages=0/s"])
def test_check_finds_what_only_a_run_found(scenario, override, capsys):
    assert simulator("check", scenario, "--set", override) == 64
    assert f"--set {override}: " in capsys.readouterr().err


def test_schemas_are_json(capsys):
    assert simulator("schema") == 0
    assert "properties" in json.loads(capsys.readouterr().out)
    assert simulator("schema", "--result") == 0
    printed = capsys.readouterr().out
    assert printed == (ROOT / "docs" / "run-result.schema.json").read_text()


@pytest.mark.parametrize("name", samples.ALL)
def test_table_of_any_result_is_printable(name, capsys):
    print_result(Console(width=80), samples.ALL[name]())
    out = capsys.readouterr().out
    assert "verdict" in out
    assert "trace hash" in out
    assert "\x1b" not in out
    assert "\x00" not in out


def test_table_has_the_figures(capsys):
    print_result(Console(width=200), samples.passing())
    out = capsys.readouterr().out
    for part in (
        "3.2 s, 75 operations, 598 KiB, 14 messages",
        "detect 30 s + decide 5 min + recover 41.5 s + mount 12.2 s + redirect 5 min",
        "of 64 MiB limit",
        "captured",
        "RPO at most 5 min: 3.2 s, met",
        "All 43 checks of 3 invariants held.",
        "0 resynchronizations",
        "6 min 40 s simulated in 7.4 s",
    ):
        assert part in out


def test_progress_in_a_log_is_a_line_in_ten_seconds_after_the_first_two(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("simulator.report.terminal.time.monotonic", lambda: now[0])
    with progress_on(Console(stderr=True), "starting") as report:
        for tick in range(260):
            now[0] = tick / 10
            report(float(tick), 260.0, "streaming [bold]\x1b[2J")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == ("20 s of 4 min 20 s simulated (7.69 %) after 2 s: streaming [bold]\\x1b[2J")


def test_progress_on_a_terminal_is_a_bar_that_goes_away(monkeypatch):
    import io

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with progress_on(console, "starting") as report:
        report(5.0, 10.0, "catching up")
        report(0.0, 0.0, "")
    assert "catching up" in screen.getvalue() or "starting" in screen.getvalue()


def test_printable_leaves_text_and_disarms_controls():
    assert printable("a\tb\n日本 µ") == "a\tb\n日本 µ"
    assert printable("\x1b[31m\x07") == "\\x1b[31m\\x07"


# --- the table of exit codes --------------------------------------------------------------


def _member_docstrings():
    """Docstrings below enum members, which exist in the source only."""
    tree = ast.parse(inspect.getsource(errors))
    [enum] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "ExitCode"]
    name, found = None, {}
    for node in enum.body:
        if isinstance(node, ast.Assign):
            name = node.targets[0].id
            found[name] = ""
        elif isinstance(node, ast.Expr) and name:
            found[name] = node.value.value
    return found


def _rows(heading):
    lines = (ROOT / "docs" / "exit-codes.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def test_documented_exit_codes_are_those_of_the_code():
    rows = list(_rows("| Code"))
    assert [(int(code), name) for code, name, _ in rows] == [(c.value, c.name) for c in ExitCode]
    docstrings = _member_docstrings()
    for _, name, meaning in rows:
        assert meaning
        if docstrings[name]:
            assert meaning == docstrings[name]


def test_documented_verdicts_are_those_of_the_code():
    documented = {verdict: int(code) for verdict, _, code in _rows("| Verdict")}
    assert documented == {verdict.value: cli.exit_code_of(verdict) for verdict in Verdict}


def test_help_names_every_exit_code(capsys):
    assert simulator("--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    for code in ExitCode:
        assert f" {code.value} " in out


# --- as a process of its own ---------------------------------------------------------------

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(*arguments, code=None, **options):
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "simulator.cli"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_process_ends_with_the_code():
    process = start("run", "--sed", "1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (64, "")
    assert err.startswith("error: ")


def test_help_loads_no_heavy_library():
    code = (
        "import sys, simulator.cli as c\n"
        "try: c.main()\n"
        "finally: print(sorted({'numpy', 'matplotlib', 'pydantic', 'simpy', 'pandas'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    process = start("--help", code=code)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Usage: simulator" in out
    assert err == "[]\n"


def test_control_c_is_130(scenario):
    code = (
        "import sys, time, types, simulator.cli as c\n"
        "fake = types.ModuleType('simulator.run')\n"
        "def run(*_):\n"
        "    print('running', file=sys.stderr, flush=True)\n"
        "    time.sleep(60)\n"
        "fake.run_scenario = run\n"
        "sys.modules['simulator.run'] = fake\n"
        "c.main()"
    )
    with start("run", scenario, code=code) as process:
        try:
            assert process.stderr.readline() == "running\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


FAKE_RUN = (
    "import sys, types, simulator.cli as c\n"
    "from tests.report import samples\n"
    "fake = types.ModuleType('simulator.run')\n"
    "fake.run_scenario = lambda *_: samples.passing(20)\n"
    "sys.modules['simulator.run'] = fake\n"
    "c.main()"
)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_full_output_is_64(scenario, options, unbuffered):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", FAKE_RUN, "run", scenario, *options],
            env={**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 64
    assert done.stderr.splitlines()[-2:] == [
        "error: standard output cannot be written: No space left on device",
        "what to do: Send it to a file on a volume with room, to a terminal, or to /dev/null.",
    ]


@pytest.mark.parametrize("command", [["run", "--json", "-"], ["check"]])
def test_closed_output_is_refused_before_the_work(scenario, command):
    call = [sys.executable, "-m", "simulator.cli", *command, str(scenario)]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *call],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 64
    assert done.stderr.startswith("error: standard output cannot be written: it is closed\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_full_standard_error_changes_nothing(scenario):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", FAKE_RUN, "run", scenario, "--json", "-"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "pass"


def test_reader_of_the_record_that_goes_away_is_130(scenario):
    process = start("run", scenario, "--json", "-", code=FAKE_RUN)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 130
    assert err.endswith("interrupted: nobody reads the output any more\n")
    assert "Traceback" not in err


def test_reader_that_goes_away_is_no_verdict():
    process = start("schema")
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in err
    assert "Exception ignored" not in err


# -- the timeline --------------------------------------------------------------------------


def test_a_timeline_is_written_and_said(tmp_path, capsys):
    path = tmp_path / "t.html"
    text = (ROOT / "scenarios/campaign.toml").read_text()
    scenario = tmp_path / "small.toml"
    scenario.write_text(text)
    json_path, kept = tmp_path / "r.json", tmp_path / "kept"
    code = simulator(
        *("run", scenario, "--timeline", path, "--json", json_path, "--keep", kept),
        *("--set", "duration=1s"),
    )
    assert code == 0
    assert f"timeline: {path}" in capsys.readouterr().out.replace("\n", "")
    page = path.read_text(encoding="utf-8")
    assert "--set duration=1s" in page and json.loads(json_path.read_text())["trace_hash"] in page
    assert (kept / "replica").is_dir()


def test_a_live_run_has_no_timeline(scenario, tmp_path, capsys):
    path = tmp_path / "t.html"
    assert simulator("run", scenario, "--timeline", path, "--world", "live") == 64
    error = capsys.readouterr().err
    assert "a live run has no timeline" in error and "what to do: " in error
    assert not path.exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--timeline", "{dir}/none/t.html"], "--timeline cannot be written"),
        (["--timeline", "-"], "--timeline wants a file"),
        (["--timeline", "{dir}"], "--timeline cannot be written"),
        (["--timeline", "{dir}/small.toml"], "--timeline would overwrite the scenario"),
        (["--timeline", "{dir}/r", "--json", "{dir}/r"], "would write the same file"),
        (["--timeline", "{dir}/o/report.html", "--report", "{dir}/o"], "write the same file"),
        (["--timeline", "{dir}/k/t.html", "--keep", "{dir}/k"], "--timeline"),
    ],
)
def test_targets_of_a_timeline_are_refused_before_the_run(
    scenario, runs, tmp_path, capsys, more, says
):
    arguments = [each.replace("{dir}", str(tmp_path)) for each in more]
    assert simulator("run", scenario, *arguments) == 64
    assert says in " ".join(capsys.readouterr().err.split())
    assert runs.calls == []
    assert [each.name for each in tmp_path.iterdir()] == ["small.toml"]
