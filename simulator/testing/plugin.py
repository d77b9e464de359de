"""The pytest plugin: tests that are run under many fault plans, one item for each plan.

::

    @pytest.mark.fault_plans("wan.toml", plans=20, kinds=["link_outage", "link_reset"])
    def test_the_link_flaps(bench_run):
        assert bench_run.rpo_seconds <= 30

A test takes the fixture ``bench_run`` (:class:`~simulator.testing.planned_run.PlannedRun`).
Besides what it asserts itself, its run must hold what the bench's oracles demand.  A plan that
fails is shrunk by calling the test again under smaller ones, and is saved; the item's text tells
how to see it again.  ``docs/suites.md`` shows all of it.

pytest imports this at each start, whoever runs it: nothing of the simulator is imported here
before somebody uses it.  PYTEST_DONT_REWRITE: there are no asserts here.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from simulator.plans.plan import FaultPlan
    from simulator.scenario import Scenario
    from simulator.testing.case import Case
    from simulator.testing.fakes import FakeWorld
    from simulator.testing.planned_run import PlannedRun
    from simulator.testing.suite import Options, Suite

MARKER: Final = "fault_plans"
FIXTURE: Final = "bench_run"
REPLAY: Final = "replay"
"""The id of a plan that ``--bench-plan`` gives."""
DEFAULT_SEED: Final = 1
LARGEST_SEED: Final = 2**63 - 1
DEFAULT_FAILURES: Final = "bench-failures"
SHRINK_RUNS: Final = 100

_case: Final[pytest.StashKey[Case]] = pytest.StashKey()
_totals: Final[pytest.StashKey[Counter[str]]] = pytest.StashKey()
_seed: Final[pytest.StashKey[int]] = pytest.StashKey()
_command: Final[pytest.StashKey[list[str]]] = pytest.StashKey()


# -- options ---------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fault plans", "fault plans of the replication test bench")
    group.addoption(
        "--bench-plans",
        metavar="N",
        help="draw so many plans for each test, whatever its marker says",
    )
    group.addoption(
        "--bench-seed",
        metavar="S",
        help="names all plans that are drawn; 'random' for another one each time (default: the "
        f"ini setting bench_seed, or {DEFAULT_SEED})",
    )
    group.addoption(
        "--bench-failures",
        metavar="DIR",
        help="save shrunk failures there (default: the ini setting bench_failures, or "
        f"{DEFAULT_FAILURES} in the present directory)",
    )
    group.addoption(
        "--bench-plan",
        metavar="FILE",
        help="run each test once, under the faults of this plan or saved failure",
    )
    group.addoption(
        "--bench-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change the scenarios, for instance link.rtt=200ms; repeatable",
    )
    group.addoption(
        "--bench-mutant",
        metavar="NAME",
        default="",
        help="take a rule away from the replicator, to see that a suite can fail",
    )
    group.addoption(
        "--bench-shrink",
        metavar="RUNS",
        default=str(SHRINK_RUNS),
        help="spend so many runs on making a failing plan small (default: %(default)s; 0: none)",
    )
    parser.addini("bench_seed", "base seed of the fault plans", default=str(DEFAULT_SEED))
    parser.addini("bench_failures", "directory of saved failures, as seen from the ini file")
    parser.addini("bench_scenarios", "directory of scenarios, as seen from the ini file")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(scenario, *, plans=20, kinds=(), always=(), faults=(1, 6), begin=None, "
        "changes=(), reaches=(), tolerates=(), shrink=True): run the test under fault plans, one "
        "item for each (docs/suites.md)",
    )
    worker = getattr(config, "workerinput", {})
    config.stash[_totals] = Counter()
    config.stash[_seed] = worker["bench_seed"] if worker else _base_seed(config)
    config.stash[_command] = worker["bench_command"] if worker else _replay_command(config)
    if config.option.bench_plans is not None:
        _whole(config.option.bench_plans, "--bench-plans", 1, 100_000)
    _whole(config.option.bench_shrink, "--bench-shrink", 0, 100_000)
    if not worker:
        _check_early(config)
        from simulator.testing.reach_report import ReachReport

        config.pluginmanager.register(ReachReport(config), "bench-reach-report")


def _check_early(config: pytest.Config) -> None:
    """Options that can be refused before anything is collected; only used ones cost anything."""
    option = config.option
    if option.bench_plan is not None and not Path(option.bench_plan).is_file():
        raise pytest.UsageError(f"--bench-plan: there is no file {option.bench_plan}")
    if option.bench_mutant or option.bench_failures:
        from replicator.errors import BadInput
        from simulator.mutants import mutant_named
        from simulator.report.output import check_directory_target

        try:
            if option.bench_mutant:
                mutant_named(option.bench_mutant)
            if option.bench_failures:
                check_directory_target(Path(option.bench_failures), "--bench-failures")
        except BadInput as error:
            raise pytest.UsageError(_told(error)) from None


def _whole(given: str, option: str, least: int, most: int) -> int:
    if re.fullmatch(r"[0-9]{1,19}", str(given), re.ASCII) and least <= int(given) <= most:
        return int(given)
    raise pytest.UsageError(
        f"{option}: {given!r} is not understood: write a whole number from {least} to {most}"
    )


def _base_seed(config: pytest.Config) -> int:
    given, where = config.option.bench_seed, "--bench-seed"
    if given is None:
        given, where = str(config.getini("bench_seed")), "bench_seed"
    if given == "random":
        return random.SystemRandom().randrange(1, 1_000_000_000)
    return _whole(given, where, 0, LARGEST_SEED)


def _replay_command(config: pytest.Config) -> list[str]:
    from simulator.testing.command_lines import pytest_command

    return pytest_command(config)


def pytest_report_header(config: pytest.Config) -> str:
    more = "".join(f", --bench-set {each}" for each in config.option.bench_set)
    if config.option.bench_mutant:
        more += f", without the rule {config.option.bench_mutant}"
    seed = config.stash[_seed]
    return f"fault plans: base seed {seed} (--bench-seed {seed}){more}"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Workers of xdist draw the same plans as the process that started them."""
    node.workerinput["bench_seed"] = node.config.stash[_seed]
    node.workerinput["bench_command"] = node.config.stash[_command]


# -- collection ------------------------------------------------------------------------------


def _options(config: pytest.Config) -> Options:
    from simulator.testing.suite import Options

    option = config.option
    return Options(
        plans=None if option.bench_plans is None else int(option.bench_plans),
        replay=None if option.bench_plan is None else Path(option.bench_plan).absolute(),
        changes=tuple(option.bench_set),
    )


def _places(config: pytest.Config, test_file: Path) -> list[Path]:
    """Where scenarios are looked for."""
    ini = config.getini("bench_scenarios")
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    return [test_file.parent, *([base / ini] if ini else []), config.rootpath]


def _told(error: Any) -> str:
    """An error of ours as text: all that is wrong, and what to do about it."""
    return f"{error}\nwhat to do: {error.remedy}" if error.remedy else str(error)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for each plan of a marked test."""
    function = metafunc.definition
    markers = list(function.iter_markers(MARKER))
    if not markers:
        if FIXTURE in metafunc.fixturenames:
            _refuse(function, f"it takes {FIXTURE}, and has no marker {MARKER}")
        return
    if FIXTURE not in metafunc.fixturenames:
        if any(mark.name == MARKER for mark in function.own_markers):
            _refuse(function, f"it has the marker {MARKER}, and does not take {FIXTURE}")
        return
    from replicator.errors import BadInput
    from simulator.testing.suite import read_suite

    config, marker = metafunc.config, markers[0]
    try:
        suite = read_suite(
            marker.args, marker.kwargs, _places(config, function.path), _options(config)
        )
    except BadInput as error:
        _refuse(function, _told(error))
    ids = [_plan_id(suite, number, config) for number in range(suite.count)]
    metafunc.parametrize(
        FIXTURE, [(suite, number) for number in range(suite.count)], ids=ids, indirect=True
    )


def _plan_id(suite: Suite, number: int, config: pytest.Config) -> str:
    return REPLAY if config.option.bench_plan is not None else f"plan{number}"


def _refuse(function: pytest.Function, why: str) -> None:
    path, line, _name = function.reportinfo()
    here = Path(path)
    with_line = f"{here}:{(line or 0) + 1}"
    raise pytest.Collector.CollectError(f"{with_line}: {function.originalname}: {why}")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Collector,
) -> Generator[None, Any, Any]:
    """How many items each marked test has, before any of them is left out: by its id, or later."""
    made = yield
    several = made if isinstance(made, list) else [made]
    items = [each for each in several if FIXTURE in getattr(each, "fixturenames", ())]
    if items:
        from simulator.testing.reach_report import function_id

        totals = Counter(function_id(item.nodeid) for item in items)
        collector.config.stash[_totals] |= totals
    return made


# -- fixtures --------------------------------------------------------------------------------


@pytest.fixture
def bench_run(request: pytest.FixtureRequest) -> PlannedRun:
    """The scenario under one fault plan; needs the marker ``fault_plans``."""
    from simulator.testing.case import Case
    from simulator.testing.reach_report import function_id

    if not hasattr(request, "param"):
        pytest.fail(
            f"{FIXTURE} was asked for by getfixturevalue(), which is too late to make an item for "
            f"each plan: let the test, or a fixture of it, take it as an argument, beside the "
            f"marker {MARKER}",
            pytrace=False,
        )
    suite, number = request.param
    config, item = request.config, request.node
    failures = config.option.bench_failures or _ini_path(config, "bench_failures")
    case = Case(
        item,
        suite,
        number,
        base_seed=config.stash[_seed],
        total=config.stash[_totals][function_id(item.nodeid)],
        mutant=config.option.bench_mutant,
        changes=tuple(config.option.bench_set),
        shrink_runs=int(config.option.bench_shrink) if suite.shrink else 0,
        failures=config.invocation_params.dir / (failures or DEFAULT_FAILURES),
        command=config.stash[_command],
        replays=config.option.bench_plan is not None,
    )
    item.stash[_case] = case
    return case.run


def _ini_path(config: pytest.Config, name: str) -> str:
    given = config.getini(name)
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    return str(base / given) if given else ""


@pytest.fixture(scope="session")
def bench_seed(pytestconfig: pytest.Config) -> int:
    """The base seed of this session's fault plans (``--bench-seed``)."""
    return pytestconfig.stash[_seed]


@pytest.fixture
def bench_scenario(request: pytest.FixtureRequest) -> Callable[..., Scenario]:
    """Loads a scenario as the marker does: ``bench_scenario("wan.toml", "link.rtt=80ms")``.

    Raises BadScenario, with file, line and key.
    """
    from simulator.scenario import load_scenario
    from simulator.testing.suite import find_file

    def load(name: str | Path, *changes: str) -> Scenario:
        path = find_file(name, _places(request.config, request.path))
        return load_scenario(path, [*changes, *request.config.option.bench_set])

    return load


@pytest.fixture(scope="session")
def bench_under(pytestconfig: pytest.Config) -> Callable[[Scenario, FaultPlan], PlannedRun]:
    """Gives the run of a scenario under a plan, for Hypothesis tests: ``bench_under(WAN, plan)``.

    ``--bench-mutant`` counts for it as for marked tests; nothing else does.
    """
    from simulator.testing.planned_run import PlannedRun

    def under(scenario: Scenario, plan: FaultPlan) -> PlannedRun:
        return PlannedRun(scenario, plan, mutant=pytestconfig.option.bench_mutant)

    return under


@pytest.fixture
def fake_world() -> Iterator[FakeWorld]:
    """Hosts with volumes, and streams between them, in simulated time; closed behind the test."""
    from simulator.testing.fakes import FakeWorld

    with FakeWorld() as world:
        yield world


# -- running ---------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    case = pyfuncitem.stash.get(_case, None)
    if case is None:
        return (yield)
    try:
        outcome = yield
        case.judge(case.run)
        return outcome
    except (pytest.exit.Exception, pytest.xfail.Exception):
        raise  # the end of the session, or a failure that the test expects
    except (Exception, pytest.fail.Exception) as error:
        case.failed(error)
        raise
    finally:
        case.note_reached()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    case = item.stash.get(_case, None)
    if case is not None and call.when == "call" and report.failed and case.story:
        add_section = getattr(report.longrepr, "addsection", None)
        if add_section is not None:
            add_section("fault plan", case.story)
        else:
            report.longrepr = f"{report.longrepr}\n{' fault plan ':-^80}\n{case.story}"
    if case is not None and call.when == "teardown":
        del item.stash[_case]  # items live as long as the session, what their runs hold need not
    return report
