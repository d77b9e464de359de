"""What the marker ``fault_plans`` says, read and checked.

All that can be wrong with it is found when tests are collected, before anything runs, and told
in one sentence with the place of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from replicator import units
from replicator.errors import BadInput
from simulator.measures import Verdict
from simulator.plans.plan import FaultPlan, load_plan, plan_of, wrong_with
from simulator.scenario import Scenario, load_scenario
from simulator.testing.drawing import Wishes, draw_wished
from simulator.testing.fault_documents import known_kind, plan_from

DEFAULT_PLANS: Final = 20
MOST_PLANS: Final = 100_000


def fault_plans(
    scenario: str | Path | Scenario,
    *,
    plans: int | Sequence[str | Path | FaultPlan] = DEFAULT_PLANS,
    kinds: Iterable[str | Mapping[str, Any]] = (),
    always: Iterable[Mapping[str, Any]] = (),
    faults: tuple[int, int] = (1, 6),
    begin: tuple[str, str] | None = None,
    changes: Iterable[str] = (),
    reaches: Iterable[str] = (),
    tolerates: Iterable[str] = (),
    shrink: bool = True,
) -> SuiteArguments:
    """The arguments of ``@pytest.mark.fault_plans(...)``.

    Arguments
    ---------
    scenario: a TOML file, as seen from the test's own directory, else from the ini setting
        ``bench_scenarios``, else from pytest's root directory; or a scenario itself.  Its own
        faults are not used.
    plans: so many plans, drawn; or plans of one's own: files (``[[faults]]``, or whole
        scenarios such as a saved failure) and :class:`~simulator.plans.plan.FaultPlan`.
    kinds: what is drawn from: kinds of faults, or tables of keys that are to be as given, such
        as ``{"kind": "disk_full", "host": "source", "volume": "spool"}``; all kinds of a
        campaign when there are none.
    always: faults, whole, that each drawn plan has besides.
    faults: the fewest and the most of a drawn plan.
    begin: drawn faults begin within, e.g. ``("0s", "800ms")``.
    changes: to the scenario, as ``--set`` takes them, e.g. ``["link.rtt=200ms"]``.
    reaches: what at least one of the plans must have reached; see :class:`.Watcher`.
    tolerates: verdicts that do not fail the test, e.g. ``["objective"]``.
    shrink: False for a test whose other fixtures do not bear it being called again.
    """
    return SuiteArguments(
        scenario, plans, kinds, always, faults, begin, changes, reaches, tolerates, shrink
    )


@dataclass(frozen=True)
class SuiteArguments:
    """As they were given; see :func:`fault_plans`."""

    scenario: str | Path | Scenario
    plans: int | Sequence[str | Path | FaultPlan]
    kinds: Iterable[str | Mapping[str, Any]]
    always: Iterable[Mapping[str, Any]]
    faults: tuple[int, int]
    begin: tuple[str, str] | None
    changes: Iterable[str]
    reaches: Iterable[str]
    tolerates: Iterable[str]
    shrink: bool


@dataclass(frozen=True)
class Suite:
    """One marked test: its scenario and where its plans come from."""

    scenario: Scenario
    wishes: Wishes
    plans: tuple[FaultPlan, ...] | None
    """None when they are drawn."""
    count: int
    asked_for: int
    """Without the option ``--bench-plans``."""
    reaches: tuple[str, ...]
    tolerates: tuple[str, ...]
    shrink: bool

    def plan(self, number: int, base_seed: int, test: str) -> FaultPlan:
        """Plan ``number`` of the test of this name."""
        if self.plans is not None:
            return self.plans[number]
        return draw_wished(f"{base_seed} {test} plan {number}", self.scenario, self.wishes)


@dataclass(frozen=True)
class Options:
    """What the command line and the ini file say about all suites."""

    plans: int | None = None
    replay: Path | None = None
    changes: tuple[str, ...] = ()


def read_suite(
    positional: tuple[Any, ...],
    named: Mapping[str, Any],
    places: Sequence[Path],
    options: Options,
    own_options: Callable[..., SuiteArguments] = fault_plans,
) -> Suite:
    """The suite of a marker; raises BadInput for whatever is wrong with it.

    Arguments
    ---------
    positional, named: the marker's arguments.
    places: directories to look for the scenario in.
    """
    try:
        given = own_options(*positional, **named)
    except TypeError as error:
        text = str(error).replace("fault_plans() ", "").replace("fault_plans()", "the marker")
        raise BadInput(text, remedy=_EXAMPLE) from error
    scenario = _scenario(given, places, options)
    suite = Suite(
        scenario=scenario,
        wishes=_wishes(given, scenario),
        plans=_own_plans(given.plans, scenario, places),
        count=0,
        asked_for=0,
        reaches=_texts("reaches", given.reaches),
        tolerates=_texts("tolerates", given.tolerates),
        shrink=bool(given.shrink),
    )
    _known_verdicts(suite.tolerates)
    count = len(suite.plans) if suite.plans is not None else _count(given.plans)
    suite = replace(suite, count=count, asked_for=count)
    if options.replay is not None:
        plan = _read_plan(options.replay, scenario)
        return replace(suite, plans=(plan,), count=1)
    if suite.plans is None:
        if options.plans is not None:
            suite = replace(suite, count=options.plans)
        suite.plan(0, 1, "is there any plan at all?")
    return suite


_EXAMPLE: Final = (
    'Write for instance @pytest.mark.fault_plans("wan.toml", plans=20, kinds=["link_reset"]); '
    "docs/suites.md has all arguments."
)


def _count(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_PLANS:
        raise BadInput(
            f"plans: {given!r} is no number of plans",
            remedy=f"Write a whole number from 1 to {MOST_PLANS}, or a list of plans.",
        )
    return given


def _texts(name: str, given: object) -> tuple[str, ...]:
    """A list of texts; one text alone would be taken for its letters."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BadInput(f"{name}: {given!r} is no list", remedy=f"Write {name}=[{given!r}].")
    found = tuple(given)
    for each in found:
        if not isinstance(each, str):
            raise BadInput(f"{name}: {each!r} is no text", remedy="Write it in quotes.")
    return found


def _known_verdicts(given: tuple[str, ...]) -> None:
    known = [each.value for each in Verdict if each is not Verdict.PASS]
    for verdict in given:
        if verdict not in known:
            raise BadInput(
                f"tolerates: there is no verdict {verdict!r}",
                remedy=f"Name some of: {', '.join(known)}.",
            )


# -- scenario and plans ----------------------------------------------------------------------


def find_file(given: str | Path, places: Sequence[Path]) -> Path:
    """The file of that name in the first place that has it, else in the first place."""
    path = Path(given)
    if path.is_absolute():
        return path
    tried = [place / path for place in places]
    return next((each for each in tried if each.is_file()), tried[0])


def _scenario(given: SuiteArguments, places: Sequence[Path], options: Options) -> Scenario:
    changes = [*_texts("changes", given.changes), *options.changes]
    if isinstance(given.scenario, Scenario):
        if changes:
            raise BadInput(
                "changes: this scenario is none of a file, so nothing can be set in it",
                remedy="Give the scenario's file name, or change the scenario before.",
            )
        scenario = given.scenario
    elif isinstance(given.scenario, str | Path):
        path = find_file(given.scenario, places)
        if not path.is_file():
            looked = ", ".join(dict.fromkeys(str(place) for place in places))
            raise BadInput(
                f"there is no scenario {str(given.scenario)!r} in {looked}",
                remedy="Write the file's name as seen from the test's own directory, or set "
                "bench_scenarios in the ini file.",
            )
        scenario = load_scenario(path, changes)
    else:
        raise BadInput(f"{given.scenario!r} is no scenario", remedy=_EXAMPLE)
    return scenario.model_copy(update={"faults": (), "recorded": None})


def _own_plans(
    given: object, scenario: Scenario, places: Sequence[Path]
) -> tuple[FaultPlan, ...] | None:
    if isinstance(given, int):
        return None
    if isinstance(given, str | Path | FaultPlan) or not isinstance(given, Iterable):
        raise BadInput(
            f"plans: {given!r} is neither a number nor a list", remedy="Write plans=[...]."
        )
    plans: list[FaultPlan] = []
    for each in given:
        if isinstance(each, FaultPlan):
            remarks = wrong_with(each, scenario)
            if remarks:
                raise BadInput(
                    f"plans: {each.name}: {remarks[0].message}", remedy=remarks[0].remedy
                )
            plans.append(each)
        elif isinstance(each, str | Path):
            plans.append(_read_plan(find_file(each, places), scenario))
        else:
            raise BadInput(
                f"plans: {each!r} is no plan", remedy="Name plan files, or give FaultPlan objects."
            )
    if not plans:
        raise BadInput("plans: the list is empty", remedy="Name at least one plan.")
    return tuple(plans)


def _read_plan(path: Path, scenario: Scenario) -> FaultPlan:
    """A file of faults alone, or of a whole scenario, whose world is not used."""
    try:
        return load_plan(path, scenario)
    except BadInput as no_plan:
        try:
            saved = load_scenario(path)
        except BadInput as no_scenario:
            told = no_scenario if _looks_like_a_scenario(path) else no_plan
            raise told from None
    if saved.recorded is None and saved.fault_seed is None and not saved.faults:
        raise BadInput(
            "this scenario has no faults, and nothing is recorded in it: it holds no plan",
            path=str(path),
            remedy="Name a fault plan, or a failure that a suite or a campaign has saved.",
        )
    plan = plan_of(saved)
    remarks = wrong_with(plan, scenario)
    if remarks:
        raise BadInput(remarks[0].message, path=str(path), remedy=remarks[0].remedy)
    return plan


def _looks_like_a_scenario(path: Path) -> bool:
    try:
        return "[stream]" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


# -- what is drawn from ----------------------------------------------------------------------


def _wishes(given: SuiteArguments, scenario: Scenario) -> Wishes:
    fewest, most = _range(given.faults)
    begin_ns, end_ns = _window(given.begin, scenario)
    always = tuple(dict(each) for each in _tables("always", given.always))
    if always:
        plan_from(always, scenario, name="always")
    return Wishes(
        kinds=tuple(_kind(each) for each in _kinds(given.kinds)),
        always=always,
        fewest=fewest,
        most=most,
        begin_ns=begin_ns,
        end_ns=end_ns,
    )


def _kinds(given: object) -> list[object]:
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise BadInput(f"kinds: {given!r} is no list", remedy=f"Write kinds=[{given!r}].")
    return list(given)


def _tables(name: str, given: object) -> list[Mapping[str, Any]]:
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise BadInput(f"{name}: {given!r} is no list", remedy=f"Write {name}=[...].")
    tables = list(given)
    for each in tables:
        if not isinstance(each, Mapping):
            raise BadInput(
                f"{name}: {each!r} is no fault",
                remedy='Write for instance {"kind": "link_outage", "at": "1s", "duration": "2s"}.',
            )
    return tables


def _kind(given: object) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        if "kind" not in given:
            raise BadInput(f"kinds: {dict(given)!r} has no kind", remedy='Write {"kind": ...}.')
        return {**given, "kind": known_kind(given["kind"])}
    return {"kind": known_kind(given)}


def _range(given: object) -> tuple[int, int]:
    match given:
        case (int() as fewest, int() as most) if 0 <= fewest <= most <= 1000 and most:
            return fewest, most
    raise BadInput(
        f"faults: {given!r} is no pair of the fewest and the most faults",
        remedy="Write for instance faults=(1, 3).",
    )


def _window(given: object, scenario: Scenario) -> tuple[int, int | None]:
    if given is None:
        return 0, None
    match given:
        case (str() as begin, str() as end):
            try:
                begin_ns, end_ns = units.parse_duration_ns(begin), units.parse_duration_ns(end)
            except units.UnitError as error:
                raise BadInput(f"begin: {error}", remedy='Write begin=("0s", "800ms").') from error
            if begin_ns < end_ns <= scenario.duration_ns:
                return begin_ns, end_ns
            last = units.spell_duration(scenario.duration_ns)
            raise BadInput(
                f"begin: from {begin} to {end} is no time within the scenario ({last})",
                remedy=f"Let the first be less than the second, and that no more than {last}.",
            )
    raise BadInput(f"begin: {given!r} is no pair of times", remedy='Write begin=("0s", "800ms").')
