"""Whatever is wrong with a candidate is told in words, with the place; nothing hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.candidates import guards
from simulator.measures import RunResult, Verdict
from simulator.run import run_scenario
from simulator.scenario import BadScenario
from tests.candidates.scenes import ROOT, scene, scene_file

PORT = 'kind = "port"\nclass = "mine:Mine"'
PROGRAM = 'kind = "program"\nsource = "mine:source"\nreplica = "mine:replica"'
IDLE = "    async def {name}(self, runtime, volume, site):\n        {body}\n"
NOTHING = "await site_sleep(10**9)"
HEAD = "from replicator.runtime import sleep_ns as site_sleep\nclass Mine:\n"


def class_with(source: str = NOTHING, replica: str = NOTHING, more: str = "") -> str:
    return (
        HEAD
        + IDLE.format(name="source", body=source)
        + IDLE.format(name="replica", body=replica)
        + more
    )


def program_with(source: str, head: str = "") -> str:
    return (
        f"import asyncio\n{head}\n"
        f"async def source(site):\n    {source}\n"
        "async def replica(site):\n    await asyncio.sleep(1e6)\n"
    )


@pytest.mark.parametrize(
    ("candidate", "module", "said"),
    [
        ('kind = "port"\nclass = "nowhere:Mine"', "", "there is no module 'nowhere'"),
        ('kind = "port"\nclass = "nowhere.py:Mine"', "", "there is no file"),
        ('kind = "port"\nclass = "mine"', "", "names no object of a module"),
        (PORT, "x = 1", "has no 'Mine'"),
        (PORT, "Mine = 1", "Mine is no class"),
        (PORT, "class Mine:\n    def source(self): ...", "Mine has no coroutine source()"),
        (PORT, HEAD + IDLE.format(name="source", body="pass"), "no coroutine replica()"),
        (
            PORT,
            class_with().replace("(self, runtime, volume, site)", "(self)"),
            "Mine.source does not take (self, runtime, volume, site)",
        ),
        (PORT, class_with(more="    def recover(self, *a): ...\n"), "recover() of Mine is no"),
        (PORT, "class Mine\n", "the module cannot be imported: SyntaxError"),
        (PORT, "import no_such_thing\n", "the module cannot be imported: ModuleNotFoundError"),
        (PORT, "1 / 0\n", "mine.py:1"),
        (
            PROGRAM,
            "def source(site): ...\nasync def replica(site): ...\n",
            "source is no coroutine",
        ),
        ('kind = "command"\ncommand = ["no-such-command", "{source}", "{replica}"]', "", "no comm"),
        ('kind = "command"\ncommand = ["cp", "{source}"]', "", "no word of it holds {replica}"),
        ('kind = "command"\ncommand = []', "", "candidate.command"),
        ('kind = "magic"', "", "candidate.kind"),
    ],
)
def test_what_cannot_run_is_refused_with_file_and_line(
    tmp_path: Path, candidate: str, module: str, said: str
) -> None:
    with pytest.raises(BadScenario) as refused:
        scene(tmp_path, candidate, module)
    [error] = refused.value.errors
    assert said in str(error)
    assert f"{tmp_path}/scene.toml:" in str(error)
    assert error.remedy


def test_a_second_source_has_no_candidate(tmp_path: Path) -> None:
    fault = 'faults=[{kind="second_source", at="1s", duration="1s"}]'
    with pytest.raises(BadScenario, match="a second source speaks the reference"):
        scene(tmp_path, PORT, class_with(), fault)


def outcome(directory: Path, candidate: str, module: str = "") -> RunResult:
    return run_scenario(scene(directory, candidate, module))


def reason_of(
    directory: Path, candidate: str, module: str = "", verdict: Verdict = Verdict.LIVENESS
) -> str:
    """The first reason of a run that ends with a verdict."""
    result = outcome(directory, candidate, module)
    assert result.verdict is verdict, result.reasons
    return result.reasons[0]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (class_with(source="raise ValueError('so it is')"), "source() raised ValueError: so it is"),
        (class_with(replica="{}['x']"), "replica() raised KeyError: 'x'"),
        (class_with(source="__import__('time').sleep(1)"), "time.sleep(1) would block the whole"),
        (
            class_with().replace("class Mine:", "from time import sleep\nclass Mine:")
            + "    def tap(self, runtime, volume, site):\n        sleep(0.5)\n",
            "tap() raised RuntimeError: time.sleep(0.5) would block",
        ),
        (
            class_with(more="    def tap(self, runtime, volume, site): return None\n"),
            "tap() returned NoneType, not a volume",
        ),
        (
            class_with(more="    def __init__(self): raise OSError('no')\n"),
            "constructor raised OSError: no",
        ),
    ],
)
def test_an_exception_ends_the_process_and_counts(tmp_path: Path, module: str, said: str) -> None:
    reason = reason_of(tmp_path, PORT, module)
    assert said in reason and "and no fault explains it" in reason
    if "raised" in said:
        assert f"{tmp_path}/mine.py:" in reason


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("await asyncio.create_subprocess_exec('ls')", "NotImplementedError"),
        ("asyncio.get_running_loop().add_reader(0, print)", "the simulated loop has no add_reader"),
        ("await asyncio.open_connection('replica', 7, ssl=True)", "takes host and port only"),
        ("open_ = site.files.open('/nothing')", "FileNotFoundError"),
        ("__import__('time').sleep(3)", "time.sleep(3) would block"),
    ],
)
def test_a_program_is_told_of_as_well(tmp_path: Path, source: str, said: str) -> None:
    reason = reason_of(tmp_path, PROGRAM, program_with(source))
    assert said in reason and "/mine.py:4: " in reason


def test_recovery_that_raises_is_no_image(tmp_path: Path) -> None:
    module = class_with(more=IDLE.format(name="recover", body="raise ValueError('no')"))
    result = outcome(tmp_path, PORT, module)
    assert result.verdict is Verdict.SAFETY
    assert "recovery of a copy failed" in " ".join(result.reasons)


def test_recovery_that_never_ends_is_no_image(tmp_path: Path) -> None:
    for body in ("await __import__('replicator.runtime').runtime.Signal()", "await forever()"):
        more = IDLE.format(name="recover", body=body)
        forever = "async def forever():\n    while True: await site_sleep(10**12)\n"
        result = outcome(tmp_path, PORT, class_with(more=more) + forever)
        assert "recover() had not ended after 1d" in " ".join(result.reasons)
        tmp_path = tmp_path / "next"
        tmp_path.mkdir()


TAP = """
from replicator.runtime.volume_over import VolumeOver
class Tapped(VolumeOver):
    def create(self, path):
        return File(super().create(path))
    def open(self, path, read_only=False):
        return File(super().open(path, read_only))
class File:
    def __init__(self, below): self.below = below
    def __getattr__(self, name): return getattr(self.below, name)
    def write_at(self, offset, *buffers):
        BODY
"""


@pytest.mark.parametrize(
    ("body", "verdict", "said"),
    [
        ("raise ValueError('tapped')", Verdict.LIVENESS, "the candidate's tap raised ValueError"),
        ("return len(b''.join(buffers))", Verdict.SAFETY, "did not reach its file"),
    ],
)
def test_a_tap_must_let_writes_through(
    tmp_path: Path, body: str, verdict: Verdict, said: str
) -> None:
    tap = "    def tap(self, runtime, volume, site): return Tapped(volume)\n"
    result = outcome(tmp_path, PORT, class_with(more=tap) + TAP.replace("BODY", body))
    assert result.verdict is verdict
    assert said in " ".join(result.reasons)


@pytest.mark.parametrize("body", ["while True: pass", "while True: await site_sleep(0)"])
def test_a_candidate_that_never_waits_is_found(
    tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(guards, "PATIENCE_TICKS", 3)
    try:
        said = " ".join(outcome(tmp_path, PORT, class_with(source=body)).reasons)
    except guards.CandidateFailed as failed:  # met in the bench's own code
        said = str(failed)
    assert "simulated time stands still" in said


COMMAND = 'kind = "command"\nevery = "200ms"\ntimeout = "{timeout}"\ncommand = {words}'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('["false", "{source}", "{replica}"]', "ended with exit code 1; it said nothing"),
        (
            '["sh", "-c", "echo bad {source} >&2; exit 7", "{replica}"]',
            "exit code 7; it said: bad {source}",
        ),
        ('["sh", "-c", "kill -9 $$", "{source}", "{replica}"]', "was killed by signal 9"),
        ('["sh", "-c", "sleep 60 & sleep 60", "{source}{replica}"]', "had not ended after 500ms"),
        ('["sh", "-c", "touch {source}/x; echo {replica}"]', "changed /x in the source's dir"),
        ('["sh", "-c", "touch {replica}x {source}y"]', "wrote outside of its directories"),
        ('["sh", "-c", "mkfifo {replica}/x; echo {source}"]', "made /x, which is neither"),
    ],
)
def test_a_command_that_fails_is_told_of(tmp_path: Path, words: str, said: str) -> None:
    timeout = "500ms" if "500ms" in said else "50s"  # a busy machine may take its time
    assert said in reason_of(tmp_path, COMMAND.format(timeout=timeout, words=words))


def test_a_class_has_no_live_world(tmp_path: Path) -> None:
    path = scene_file(tmp_path, PORT, class_with())
    command = [sys.executable, "-m", "simulator.cli", "run", str(path), "--world", "live"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 64
    assert "a candidate of kind 'port' runs in the simulated world only" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_copy_that_is_never_whole_counts(tmp_path: Path) -> None:
    reason = reason_of(tmp_path, f'{PORT}\njudged_from = "synchronized"', class_with())
    assert "had not converged" in reason


# -- what ends the bench, or leads out of the simulated world -------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise SystemExit(0)", "raised SystemExit: 0"),
        ("raise asyncio.CancelledError", "raised CancelledError"),
        ("raise BaseExceptionGroup('all', [SystemExit(3)])", "raised BaseExceptionGroup: all"),
        (
            "asyncio.create_task(leave())\n    await asyncio.sleep(1e6)",
            "raised SystemExit: 0",
        ),
        ("__import__('threading').Thread(target=print).start()", "a thread is not part of"),
        ("__import__('socket').socket()", "a socket of this machine is not part of"),
        ("__import__('subprocess').run(['true'])", "a process of this machine is not part of"),
        ("import os; os.fork() or os._exit(0)", "a process of this machine is not part of"),
        ("__import__('signal').signal(14, print)", "a signal handler is not part of"),
        ("__import__('os')._exit(0)", "the end of the bench (os._exit) is not part of"),
        ("from os import _exit; _exit(0)", "the end of the bench (os._exit) is not part of"),
        ("__import__('os').abort()", "the end of the bench (os.abort) is not part of"),
        ("import os; os.kill(os.getpid(), 15)", "a signal to a process of this machine is not"),
        ("import os; os.killpg(0, 15)", "a signal to processes of this machine is not part of"),
        ("import os; os.execv('/bin/true', ['true'])", "another program in place of the bench is"),
        ("__import__('signal').raise_signal(2)", "a signal to the bench is not part of"),
        (
            "import signal, threading; signal.pthread_kill(threading.get_ident(), 15)",
            "a signal to the bench is not part of",
        ),
        ("__import__('signal').alarm(0)", "a timer of this machine is not part of"),
        ("__import__('signal').setitimer(0, 0)", "a timer of this machine is not part of"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
        (
            "asyncio.create_task(interrupt())\n    await asyncio.sleep(1e6)",
            "raised KeyboardInterrupt",
        ),
    ],
)
def test_what_would_end_the_bench_or_lead_out_of_it_ends_the_process(
    tmp_path: Path, source: str, said: str
) -> None:
    head = (
        "async def leave(): raise SystemExit(0)\nasync def interrupt(): raise KeyboardInterrupt\n"
    )
    reason = reason_of(tmp_path, PROGRAM, program_with(source, head))
    assert said in reason
    assert f"{tmp_path}/mine.py:" in reason


def test_else_it_would_have_a_process_and_nobody_would_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_LEADS_OUT", {})
    touch = f"__import__('subprocess').run(['touch', '{tmp_path}/left'])"
    assert "source() returned" in reason_of(tmp_path, PROGRAM, program_with(touch))
    assert tmp_path.joinpath("left").exists()


def test_a_task_of_ones_own_over_the_port_cannot_end_the_bench_in_silence(tmp_path: Path) -> None:
    source = "await runtime_group()"
    head = (
        "import sys\nfrom replicator.runtime import group\n"
        "async def leave(): sys.exit(0)\n"
        "async def runtime_group():\n"
        "    async with group() as g:\n        g.spawn(leave(), 'leaves')\n"
    )
    with pytest.raises(guards.CandidateFailed, match="raised SystemExit: 0"):
        outcome(tmp_path, PORT, head + class_with(source=source))
    head = head.replace("sys.exit(0)", "raise KeyboardInterrupt")
    (tmp_path / "next").mkdir()
    with pytest.raises(guards.CandidateFailed, match="raised KeyboardInterrupt"):
        outcome(tmp_path / "next", PORT, head + class_with(source=source))


@pytest.mark.parametrize("leaving", ["__import__('os')._exit(0)", "raise KeyboardInterrupt"])
def test_a_recovery_or_an_end_cannot_end_the_bench_in_silence(tmp_path: Path, leaving: str) -> None:
    more = IDLE.format(name="recover", body=leaving)
    result = outcome(tmp_path, f'{PORT}\njudged_from = "start"', class_with(more=more))
    assert "recover() raised" in " ".join(result.reasons)
    assert f"{tmp_path}/mine.py:" in " ".join(result.reasons)
    (tmp_path / "next").mkdir()
    late = program_with(f"try: await asyncio.sleep(1e6)\n    finally: {leaving}")
    assert outcome(tmp_path / "next", PROGRAM, late).verdict is not Verdict.PASS


def test_what_only_wakes_itself_is_told_with_its_place(tmp_path: Path) -> None:
    head = "async def inner(): await asyncio.sleep(0)"
    loop = "while True: await inner()"
    reason = reason_of(tmp_path, PROGRAM, program_with(loop, head))
    assert "tasks wake each other for ever: more than 200,000 events" in reason
    assert reason.endswith(f"some of them of {tmp_path}/mine.py:2")
    (tmp_path / "next").mkdir()
    loop = "while True: await site_sleep(0)"
    reason = reason_of(tmp_path / "next", PORT, class_with(source=loop))
    assert reason.endswith(f"some of them of {tmp_path}/next/mine.py:4")


def test_ctrl_c_in_a_candidates_code_ends_the_bench(tmp_path: Path) -> None:
    busy = f"open('{tmp_path}/begun', 'w').close()\n    while True: pass"
    path = scene_file(tmp_path, PROGRAM, program_with(busy))
    command = [sys.executable, "-m", "simulator.cli", "run", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "begun").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1:]) == (130, ["interrupted"])


def test_the_bench_itself_may_do_what_its_candidates_may_not(tmp_path: Path) -> None:
    outcome(tmp_path, PROGRAM, program_with("await asyncio.sleep(1e6)"))
    assert subprocess.run(["true"], check=False).returncode == 0
    with guards.watched(lambda: 0), guards.outside():
        assert subprocess.run(["true"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("candidate", "module", "said"),
    [
        (PROGRAM, program_with("return"), "source() returned"),
        (PORT, class_with(replica="return"), "replica() returned"),
        (PORT, class_with(source="return", replica="return"), "source() and replica() returned"),
    ],
)
def test_an_end_that_returned_is_named_where_nothing_converges(
    tmp_path: Path, candidate: str, module: str, said: str
) -> None:
    reason = reason_of(tmp_path, candidate, module)
    assert "had not converged" in reason
    assert said in reason


def test_a_module_that_leaves_when_it_is_imported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match="cannot be imported: SystemExit: 0"):
        scene(tmp_path, PORT, "import sys; sys.exit(0)\n" + class_with())
    for number, (leaving, said) in enumerate(
        (
            ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt"),
            ("import os; os._exit(0)", "RuntimeError: the end of the bench"),
            ("import os; os.kill(os.getpid(), 9)", "RuntimeError: a signal to a process"),
            ("import os; os.execv('/bin/true', ['true'])", "RuntimeError: another program"),
        )
    ):
        place = tmp_path / str(number)
        place.mkdir()
        with pytest.raises(BadScenario, match=said) as refused:
            scene(place, PORT, f"{leaving}\n{class_with()}")
        assert f"({place}/mine.py:1)" in str(refused.value)


@pytest.mark.parametrize(
    ("method", "returned", "said"),
    [
        ("recover", "5", "recover() returned 5, which names no directory"),
        ("recover", "'nowhere/at/all'", "recover() returned 'nowhere/at/all', which names no"),
        ("recover", "'/replica/../..'", "recover() returned '/replica/../..', which names no"),
        ("claim", "7", "claim() returned 7, which is no operation"),
        ("claim", "'ab'", "claim() returned 'ab', which is no operation"),
        ("claim", "(1, True)", "claim() returned (1, True), which is no operation"),
    ],
)
def test_an_answer_of_the_wrong_kind_is_the_candidates(
    tmp_path: Path, method: str, returned: str, said: str
) -> None:
    more = IDLE.format(name=method, body=f"return {returned}")
    reason = reason_of(tmp_path, PORT, class_with(more=more), Verdict.SAFETY)
    assert f"the candidate's {said}" in reason


def test_a_package_that_is_installed_is_named_with_its_line(tmp_path: Path) -> None:
    place = tmp_path / "lib" / "python3" / "site-packages"
    place.mkdir(parents=True)
    tap = "    def tap(self, runtime, volume, site): return Tapped(volume)\n"
    tapped = TAP.replace("BODY", "raise ValueError('tapped')")
    reason = reason_of(place, PORT, class_with(more=tap) + tapped)
    assert f"{place}/mine.py:" in reason
    assert "the candidate's tap raised ValueError: tapped" in reason
