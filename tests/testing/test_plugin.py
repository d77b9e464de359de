"""The pytest plugin, used as a user uses it: in a directory of his own, from a command line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import pytest

from tests.testing.conftest import ROOT, Suite, environment

FAILS_ON_OUTAGES = """
import pytest

@pytest.mark.fault_plans("small.toml", plans=4, kinds=["link_outage", "link_reset"], faults=(2, 3))
def test_no_outage(bench_run):
    assert not any(mark.kind == "link_outage" for mark in bench_run.result.faults)
"""


def after(text: str, heading: str) -> str:
    """The line below a heading of the fault plan's section."""
    found = re.search(rf"^{re.escape(heading)}\n  (.*)$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


# -- what it costs, and where it is found --------------------------------------------------------


def test_it_costs_nothing_who_does_not_use_it(place: Path, run_pytest: Suite) -> None:
    place.joinpath("test_other.py").write_text(
        "import sys\n"
        "def test_nothing_of_ours_is_loaded():\n"
        "    heavy = {'numpy', 'pandas', 'simpy', 'pydantic', 'scipy', 'matplotlib', 'zstandard'}\n"
        "    assert not heavy & set(sys.modules)\n"
        "    assert 'simulator.scenario' not in sys.modules\n"
    )
    done = run_pytest()
    assert done.returncode == 0, done.stdout
    assert "fault plans: base seed 1 (--bench-seed 1)" in done.stdout


def test_pytest_finds_it_by_an_entry_point_of_its_own_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [(name, module)] = project["entry-points"]["pytest11"].items()
    assert name == module  # so that "-p module" is the same plugin, not a second one
    assert hasattr(import_module(module), "pytest_generate_tests")


def test_everything_public_is_there_and_says_what_it_is() -> None:
    testing = import_module("simulator.testing")
    assert set(testing.__all__) == set(testing._HOMES)
    for name in testing.__all__:
        assert getattr(testing, name).__doc__, name
        assert name in testing.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nobody'"):
        _ = testing.nobody


# -- a failure -----------------------------------------------------------------------------------


def test_a_failure_is_shrunk_saved_and_can_be_pasted(
    place: Path, run_pytest: Suite, shell: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    done = run_pytest("--bench-seed", "3")
    assert done.returncode == 1, done.stdout
    assert "fault plans: base seed 3 (--bench-seed 3)" in done.stdout
    first = re.search(r"(plan\d) of 4, base seed 3: 1 fault, shrunk from", done.stdout)
    assert first is not None, done.stdout
    assert "link_outage at 0s, duration 10ms, direction both" in done.stdout
    assert f"it fails as {first[1]} does, which was" in done.stdout

    again = after(done.stdout, "the test under this plan:")
    replayed = shell(again)
    assert replayed.returncode == 1, replayed.stdout
    assert "1 failed" in replayed.stdout
    assert "assert not any(mark.kind" in replayed.stdout
    assert shell(after(replayed.stdout, "the test again:")).returncode == 1

    run = shell(after(done.stdout, "the run alone:"))
    assert run.returncode == 0, run.stdout
    assert "the same trace as recorded, bit for bit" in run.stdout

    whole = shell(after(done.stdout, f"the test under the whole {first[1]}:"))
    assert whole.returncode == 1
    assert f"{first[1]} of 4, base seed 3: 1 fault, shrunk from" in whole.stdout

    page = re.search(r"its timeline: (\S+)", done.stdout)
    assert page is not None
    assert "<html" in place.joinpath(page[1]).read_text()
    assert not list(place.rglob("*.tmp"))


def test_the_lines_work_from_a_subdirectory_with_other_parameters(
    place: Path, run_pytest: Suite, shell: Suite
) -> None:
    suites = place / "the suites"
    suites.mkdir()
    suites.joinpath("test_suite.py").write_text(
        FAILS_ON_OUTAGES.replace(
            "import pytest\n",
            "import pytest\n\npytestmark = pytest.mark.parametrize('of', ['a b', 'plan0'])\n",
        ).replace("(bench_run)", "(bench_run, of)")
    )
    done = run_pytest(
        "the suites", "-k", "plan0 and b", "--bench-shrink=0", "--bench-set", "link.rtt=30ms"
    )
    assert done.returncode == 1, done.stdout
    again = after(done.stdout, "the test under this plan:")
    assert "--bench-set=link.rtt=30ms" in again
    replayed = shell(again)
    assert replayed.returncode == 1, replayed.stdout
    assert "1 failed" in replayed.stdout


def test_what_breaks_a_promise_fails_whatever_the_test_asserts(
    place: Path, run_pytest: Suite, shell: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(
        "import pytest\n"
        "@pytest.mark.fault_plans('small.toml', plans=1, kinds=['process_crash'])\n"
        "def test_it(bench_run):\n"
        "    assert bench_run.rpo_seconds < 100\n"
        "@pytest.mark.fault_plans('small.toml', plans=1, tolerates=['safety'])\n"
        "def test_it_is_tolerated(bench_run):\n"
        "    assert bench_run.verdict == 'safety'\n"
    )
    assert run_pytest("-k", "test_it and not tolerated").returncode == 0
    done = run_pytest("--bench-mutant", "redo_after_restart", "--bench-shrink", "5")
    assert done.returncode == 1
    assert "the run ended with the verdict safety:" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "without the rule redo_after_restart" in done.stdout
    replayed = shell(after(done.stdout, "the run alone:"))
    assert "the same trace as recorded" in replayed.stdout
    assert shell(after(done.stdout, "the test under this plan:")).returncode == 1


def test_a_failure_that_cannot_be_saved_is_told_all_the_same(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    place.joinpath("bench-failures").write_text("this is a file")
    done = run_pytest("-k", "plan0", "--bench-shrink=0")
    assert done.returncode == 1
    assert "the plan could not be saved: " in done.stdout
    assert "bench-failures: --bench-failures cannot be written" in done.stdout
    assert "the test under the whole plan0:" in done.stdout
    assert "INTERNALERROR" not in done.stdout


def test_ctrl_c_while_it_shrinks_leaves_nothing_half_done(place: Path, run_pytest: Suite) -> None:
    place.joinpath("test_suite.py").write_text(
        FAILS_ON_OUTAGES.replace(
            "    assert", "    calls.append(1)\n    if len(calls) == 4:\n"
            "        raise KeyboardInterrupt\n    assert"
        ).replace("import pytest\n", "import pytest\n\ncalls = []\n")
    )  # fmt: skip
    done = run_pytest("-k", "plan0")
    assert done.returncode == 2
    assert "KeyboardInterrupt" in done.stdout
    assert "INTERNALERROR" not in done.stdout
    assert not place.joinpath("bench-failures").exists()


def test_a_skip_is_a_skip_and_an_expected_failure_is_expected(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(
        "import pytest\n"
        "@pytest.mark.fault_plans('small.toml', plans=2)\n"
        "def test_skipped(bench_run):\n"
        "    pytest.skip('not today')\n"
        "@pytest.mark.xfail(strict=True)\n"
        "@pytest.mark.fault_plans('small.toml', plans=1)\n"
        "def test_expected(bench_run):\n"
        "    assert bench_run.rpo_seconds < 0\n"
    )
    done = run_pytest("--bench-shrink=0")
    assert done.returncode == 0, done.stdout
    assert "2 skipped, 1 xfailed" in done.stdout


def test_what_ends_a_test_on_purpose_is_not_shrunk_and_not_saved(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(
        "import pytest\n"
        "def note(what): open('calls', 'a').write(what)\n"
        "@pytest.mark.fault_plans('small.toml', plans=1)\n"
        "def test_expected(bench_run):\n"
        "    note('x')\n"
        "    pytest.xfail('known')\n"
        "@pytest.mark.fault_plans('small.toml', plans=1)\n"
        "def test_stops(bench_run):\n"
        "    note('s')\n"
        "    pytest.exit('stop now')\n"
    )
    done = run_pytest()
    assert "1 xfailed" in done.stdout
    assert "stop now" in done.stdout
    assert place.joinpath("calls").read_text() == "xs"
    assert not place.joinpath("bench-failures").exists()


RUN_AGAIN = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for last in (False, True):
        item._initrequest()
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if last or report.when != "call":
                item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


def test_an_item_that_is_run_again_keeps_what_was_made_small(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("conftest.py").write_text(RUN_AGAIN)
    place.joinpath("test_suite.py").write_text(
        "import pytest\n"
        "@pytest.mark.fault_plans('small.toml', plans=1, kinds=['link_outage'], faults=(3, 3))\n"
        "def test_it(bench_run):\n"
        "    raise ValueError('whatever the plan')\n"
    )
    done = run_pytest()
    assert "plan0 of 1, base seed 1: no fault, shrunk from 3 by 1 runs" in done.stdout
    assert "it fails as plan0 does" not in done.stdout
    [saved] = place.joinpath("bench-failures").glob("*.toml")
    assert "[[faults]]" not in saved.read_text()


def test_a_test_that_goes_elsewhere_or_wraps_the_run_is_told_of_too(
    place: Path, run_pytest: Suite, shell: Suite
) -> None:
    place.joinpath("elsewhere").mkdir()
    place.joinpath("test_suite.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def wrapped(bench_run, monkeypatch):\n"
        "    monkeypatch.chdir('elsewhere')\n"
        "    return bench_run\n"
        "@pytest.mark.fault_plans('small.toml', plans=1, faults=(3, 3))\n"
        "def test_it(wrapped):\n"
        "    raise ValueError('before anything has run')\n"
    )
    done = run_pytest()
    assert done.returncode == 1
    assert "plan0 of 1, base seed 1: 3 faults\n" in done.stdout
    assert not list(place.joinpath("elsewhere").iterdir())
    run = after(done.stdout, "the run alone:")
    assert " run " in run  # nothing is recorded of it
    assert "verdict" in shell(run).stdout
    assert "1 failed" in shell(after(done.stdout, "the test under this plan:")).stdout


# -- many processes, and parts of a suite ----------------------------------------------------------


@pytest.mark.full
def test_the_plans_are_the_same_whatever_the_number_of_workers(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    seen = []
    for workers in ("0", "2"):
        directory = place / f"failures{workers}"
        done = run_pytest(
            "-n", workers, "-rA", "--bench-shrink=0", "--bench-seed=11", "--bench-plans=6",
            f"--bench-failures={directory}",
        )  # fmt: skip
        assert done.returncode == 1, done.stdout
        assert "base seed 11" in done.stdout
        ended = sorted(re.findall(r"^(PASSED|FAILED) (\S+)", done.stdout, re.MULTILINE))
        files = {path.name: path.read_text() for path in directory.glob("*.toml")}
        assert len(ended) == 6
        assert len(files) == sum(how == "FAILED" for how, _item in ended)
        assert len(list(directory.glob("*.html"))) == len(files)
        seen.append((ended, files))
    assert seen[0] == seen[1]


def test_a_random_seed_is_one_for_all_workers_and_is_told(
    place: Path, run_pytest: Suite, shell: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES.replace("not any", "any"))
    done = run_pytest("-n", "2", "--bench-shrink=0", "--bench-seed", "random", "--bench-plans=8")
    told = re.search(r"base seed (\d+) \(--bench-seed \1\)", done.stdout)
    assert told is not None, done.stdout
    failed = set(re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE))
    again = run_pytest("--bench-shrink=0", "--bench-seed", told[1], "--bench-plans=8")
    assert set(re.findall(r"^FAILED (\S+)", again.stdout, re.MULTILINE)) == failed


@pytest.mark.full
def test_parts_of_a_suite_are_run_by_id_and_by_what_failed_last(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    done = run_pytest("--bench-shrink=0")
    failed = int(re.search(r"(\d+) failed", done.stdout)[1])  # type: ignore[index]
    assert failed > 0
    again = run_pytest("--bench-shrink=0", "--lf", "-p", "no:randomly")
    assert f"{failed} failed" in again.stdout
    assert "passed" not in again.stdout
    one = run_pytest("--bench-shrink=0", "test_suite.py::test_no_outage[plan0]")
    assert "1 failed" in one.stdout
    none = run_pytest("-k", "nothing")
    assert none.returncode == 5


def test_plans_of_ones_own(place: Path, run_pytest: Suite) -> None:
    place.joinpath("plan.toml").write_text(
        'format = 1\n[[faults]]\nkind = "link_reset"\nat = "1s"\n'
    )
    saved = place.joinpath("small.toml").read_text()
    place.joinpath("saved.toml").write_text(
        saved + '[[faults]]\nkind = "pause"\nhost = "source"\nat = "1s"\nduration = "10ms"\n'
    )
    place.joinpath("test_suite.py").write_text(
        "import pytest\n"
        "from simulator.plans.plan import FaultPlan\n"
        "NONE = FaultPlan(format=1)\n"
        "@pytest.mark.fault_plans('small.toml', plans=['plan.toml', 'saved.toml', NONE])\n"
        "class TestSome:\n"
        "    def test_it(self, bench_run, bench_seed):\n"
        "        kinds = [mark.kind for mark in bench_run.result.faults]\n"
        "        print('kinds', kinds, bench_seed)\n"
        "        assert bench_run.result is bench_run.result\n"
        "    def test_of_no_plan(self, bench_scenario):\n"
        "        assert bench_scenario('small.toml', 'link.rtt=9ms').link.rtt_ns == 9_000_000\n"
    )
    done = run_pytest("-s")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
    for kinds in ("['link_reset']", "['pause']", "[]"):
        assert f"kinds {kinds} 1" in done.stdout


# -- it really happened ----------------------------------------------------------------------------

REACHES = """
import pytest

@pytest.mark.fault_plans(
    "small.toml", plans=2, kinds=[{"kind": "link_outage", "duration": "1s"}],
    reaches=["link_outage", "disk_full", "seen by me"],
)
def test_about_a_full_disk(bench_run):
    if bench_run.result.faults:
        bench_run.reach("seen by me")
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_suite_that_never_got_there_fails(place: Path, run_pytest: Suite, workers: str) -> None:
    place.joinpath("test_suite.py").write_text(REACHES)
    done = run_pytest("-n", workers, "--junitxml=out.xml")
    assert done.returncode == 1, done.stdout
    assert "what it is about was never reached in any of its 2 plans:\n  disk_full" in done.stdout
    assert "the same plans again: --bench-seed 1\n" in done.stdout
    assert "seen by me\n" not in done.stdout.partition("any of its 2 plans")[2]
    assert "1 failed, 2 passed" in done.stdout
    cases = ElementTree.parse(place / "out.xml").getroot().iter("testcase")
    assert [case.get("name") for case in cases if case.find("failure") is not None] == [
        "test_about_a_full_disk"
    ]


def test_only_a_whole_suite_is_judged_by_what_it_reached(place: Path, run_pytest: Suite) -> None:
    place.joinpath("test_suite.py").write_text(REACHES)
    by_id = "test_suite.py::test_about_a_full_disk[plan0]"
    for part in (("-k", "plan0"), ("--bench-plans", "1"), (by_id,)):
        done = run_pytest(*part)
        assert done.returncode == 0, done.stdout
        assert "not reached by the part that was run: disk_full" in done.stdout


def test_who_got_there_passes_and_is_no_last_failure_any_more(
    place: Path, run_pytest: Suite
) -> None:
    place.joinpath("test_suite.py").write_text(REACHES)
    assert run_pytest().returncode == 1
    place.joinpath("test_suite.py").write_text(REACHES.replace('"disk_full", ', ""))
    assert run_pytest().returncode == 0
    assert "no previously failed tests" in run_pytest("--lf", "-v").stdout


# -- wrong use -------------------------------------------------------------------------------------

WRONG = {
    "'nowhere.toml'": "there is no scenario 'nowhere.toml' in",
    "'wrong.toml'": "wrong.toml:2: candidat: unknown key",
    "'small.toml', plans=0": "plans: 0 is no number of plans",
    "'small.toml', plans=True": "plans: True is no number of plans",
    "'small.toml', plans=[]": "plans: the list is empty",
    "'small.toml', plans=['none.toml']": "none.toml: cannot be read: No such file",
    "'small.toml', kinds='pause'": "kinds: 'pause' is no list",
    "'small.toml', kinds=['disc_full']": "no kind of fault 'disc_full': did you mean 'disk_full'?",
    "'small.toml', kinds=[{'host': 'source'}]": "has no kind",
    "'small.toml', kinds=[{'kind': 'pause', 'host': 'third'}]": "'third'",
    "'small.toml', kinds=[{'kind': 'pause', 'hots': 'source'}]": "did you mean 'host'?",
    "'small.toml', always=[{'kind': 'pause'}]": "is missing",
    "'small.toml', always=[{'kind': 'link_reset', 'at': '1h'}]": "after the end of the scenario",
    "'small.toml', faults=(3, 1)": "faults: (3, 1) is no pair",
    "'small.toml', begin=('3s', '1s')": "begin: from 3s to 1s is no time within the scenario (4s)",
    "'small.toml', begin=('3', '4s')": "begin: '3' has no unit",
    "'small.toml', changes=['link.rt=1ms']": "--set link.rt=1ms",
    "'small.toml', reaches='disk_full'": "reaches: 'disk_full' is no list",
    "'small.toml', tolerates=['saftey']": "there is no verdict 'saftey'",
    "'small.toml', plan=3": "unexpected keyword argument 'plan'",
    "": "missing 1 required positional argument: 'scenario'",
    "7": "7 is no scenario",
}


def test_wrong_use_is_told_in_a_sentence_with_its_place(place: Path, run_pytest: Suite) -> None:
    saved = place.joinpath("small.toml").read_text()
    place.joinpath("wrong.toml").write_text(saved.replace("name =", "candidat = 1\nname =", 1))
    place.joinpath("wrong.toml").write_text("\ncandidat = 1\n" + saved)
    for number, arguments in enumerate(WRONG):
        place.joinpath(f"test_{number}.py").write_text(
            f"import pytest\n\n\n@pytest.mark.fault_plans({arguments})\n"
            "def test_it(bench_run):\n    pass\n"
        )
    done = run_pytest()
    assert done.returncode == 2, done.stdout
    assert f"{len(WRONG)} errors" in done.stdout
    for number, told in enumerate(WRONG.values()):
        section = done.stdout.split(f"ERROR collecting test_{number}.py ")[1]
        section = section.partition("ERROR collecting")[0]
        assert told in section, section
        assert f"test_{number}.py:4: test_it: " in section
    assert "Traceback" not in done.stdout
    assert "simulator/testing" not in done.stdout


def test_marker_and_fixture_belong_together(place: Path, run_pytest: Suite) -> None:
    place.joinpath("test_a.py").write_text(
        "import pytest\n@pytest.mark.fault_plans('small.toml')\ndef test_it():\n    pass\n"
    )
    place.joinpath("test_b.py").write_text("def test_it(bench_run):\n    pass\n")
    done = run_pytest()
    assert done.returncode == 2
    assert "test_a.py:2: test_it: it has the marker fault_plans, and does not take" in done.stdout
    assert "test_b.py:1: test_it: it takes bench_run, and has no marker fault_plans" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--bench-plans", "0"], "--bench-plans: '0' is not understood: write a whole number"),
        (["--bench-seed", "x"], "--bench-seed: 'x' is not understood"),
        (["--bench-shrink", "-1"], "--bench-shrink: '-1' is not understood"),
        (["-o", "bench_seed=-3"], "bench_seed: '-3' is not understood"),
        (["--bench-plan", "none.toml"], "--bench-plan: there is no file none.toml"),
        (["--bench-mutant", "nobody"], "there is no mutant 'nobody'"),
        (["--bench-failures", "/proc/failures"], "--bench-failures cannot be written"),
    ],
)
def test_wrong_options_are_usage_errors(
    place: Path, run_pytest: Suite, arguments: list[str], told: str
) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    done = run_pytest(*arguments)
    assert done.returncode == 4, done.stdout
    assert told in done.stdout
    assert "Traceback" not in done.stdout


def test_a_scenario_without_a_plan_is_none_to_replay(place: Path, run_pytest: Suite) -> None:
    place.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    done = run_pytest("--bench-plan", "small.toml")
    assert done.returncode not in (0, 1), done.stdout
    assert "it holds no plan" in done.stdout
    assert "Name a fault plan, or a failure that" in done.stdout
    assert "Traceback" not in done.stdout


def test_who_asks_too_late_is_told_what_to_do(place: Path, run_pytest: Suite) -> None:
    place.joinpath("test_suite.py").write_text(
        "def test_late(request):\n    request.getfixturevalue('bench_run')\n"
    )
    done = run_pytest()
    assert done.returncode == 1
    assert "let the test, or a fixture of it, take it as an argument" in done.stdout
    assert "AttributeError" not in done.stdout


def test_settings_of_the_ini_file(place: Path, run_pytest: Suite) -> None:
    deep = place / "deep"
    deep.mkdir()
    scenarios = place / "worlds"
    scenarios.mkdir()
    place.joinpath("small.toml").rename(scenarios / "small.toml")
    deep.joinpath("test_suite.py").write_text(FAILS_ON_OUTAGES)
    place.joinpath("pytest.ini").write_text(
        "[pytest]\nbench_seed = 5\nbench_scenarios = worlds\nbench_failures = kept\n"
    )
    done = run_pytest("deep", "--bench-shrink=0", "-k", "plan0 or plan1")
    assert done.returncode == 1, done.stdout
    assert "base seed 5" in done.stdout
    assert list(place.joinpath("kept").glob("test_no_outage_plan*.toml"))
    saved = next(place.joinpath("kept").glob("*.toml"))
    check = [sys.executable, "-m", "simulator.cli", "check", str(saved)]
    assert subprocess.run(check, env=environment(), check=False).returncode == 0
