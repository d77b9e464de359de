"""The suites to copy can fail, and what their page shows runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.testing import plugin
from simulator.testing.suite import fault_plans
from tests.testing.conftest import ROOT, Suite, environment

PAGE = (ROOT / "docs/suites.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("suite", "arguments", "told"),
    [
        ("test_wan_flaps.py", ["--bench-mutant", "all_differences_sent"], "check.holds"),
        ("test_wan_flaps.py", ["--bench-set", "protection.reconnect=20s"], "catch_up_seconds <="),
        ("test_replica_power_loss.py", ["--bench-mutant", "redo_after_restart"], "check.holds"),
        ("test_replica_power_loss.py", ["--bench-set", "replica.restart=10s"], "rpo_seconds <= 2"),
        ("test_full_spool.py", ["--bench-mutant", "atomic_resynchronization"], "check.holds"),
        # Who gives the spool another policy has to notice that this suite is not about it.
        ("test_full_spool.py", ["--bench-set", "protection.spool_full=hold"], "never reached"),
    ],
)
def test_a_suite_to_copy_can_fail(
    tmp_path: Path, suite: str, arguments: list[str], told: str
) -> None:
    command = [
        sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "--bench-shrink=0",
        f"--bench-failures={tmp_path}", f"scenarios/suites/{suite}", "-k", "not beside", *arguments,
    ]  # fmt: skip
    if told != "never reached":
        command += ["--maxfail=4"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout


def test_what_the_page_shows_runs(place: Path, run_pytest: Suite) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    for number, block in enumerate(blocks):
        place.joinpath(f"test_page{number}.py").write_text(block, encoding="utf-8")
    done = run_pytest()
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout


def test_the_page_names_what_there_is() -> None:
    options = set(re.findall(r"`(--bench-[a-z]+)", PAGE))
    source = Path(plugin.__file__).read_text(encoding="utf-8")
    assert options == set(re.findall(r'^        "(--bench-[a-z]+)",$', source, re.MULTILINE))
    arguments = set(re.findall(r"^\| `([a-z]+)[=`]", PAGE, re.MULTILINE))
    assert arguments >= set(fault_plans.__annotations__) - {"return"}
