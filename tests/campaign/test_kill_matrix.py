"""The kill matrices: their pages are of the mutants that there are, and none of them is alive."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.console import Console

from replicator.command_line import finish
from replicator.errors import BadInput, ExitCode
from replicator.ese.header_copies import HeaderSafeguards
from replicator.ese.log_directory import LogSafeguards
from replicator.ese.log_options import LogStreamOptions
from replicator.ese.recovered_database import RecoverySafeguards
from replicator.logship_options import LogShipSafeguards
from replicator.toml_writer import toml_text
from simulator.campaign import job
from simulator.campaign.job import BatchJob, PlanOutcome, run_batch
from simulator.campaign.killmatrix import Fate, Trial, kill_matrix_document, try_mutant
from simulator.cli import app
from simulator.cli_killmatrix import exit_code_of
from simulator.exchange.ese.instance_options import EngineSafeguards
from simulator.mutants import (
    ALL_MUTANTS,
    ENGINE_ENUMERATED,
    ENGINE_MUTANTS,
    LOG_SHIPPING_ENUMERATED,
    LOG_SHIPPING_MUTANTS,
    MUTANTS,
    STREAMING_MUTANTS,
    Enumerated,
    Mutant,
    chosen_mutants,
    mutant_named,
    mutants_for,
)
from simulator.plans.draw import space_of
from simulator.plans.plan import FaultPlan
from simulator.prepared import PreparedScenario
from simulator.report.campaign import print_kill_matrix
from simulator.report.kill_matrix import kill_matrix_page, main, merged
from simulator.scenario import load_scenario
from simulator.systems.log_shipping import LogShippingOptions

ROOT = Path(__file__).resolve().parents[2]
EXCHANGE = ROOT / "scenarios/campaign.toml"
SHIPPED = ROOT / "scenarios/campaign_log_shipping.toml"
SMALL = Path(__file__).with_name("small.toml")
SWITCHES: dict[str, Any] = {
    "engine_": EngineSafeguards(),
    "engine_log_": LogSafeguards(),
    "engine_header_": HeaderSafeguards(),
    "engine_recovery_": RecoverySafeguards(),
    "logship_": LogShipSafeguards(),
}
ENUMERATED = (*ENGINE_ENUMERATED, *LOG_SHIPPING_ENUMERATED)
LATER = "## Rules that drawn plans hardly meet"
FATES = [
    Fate("one", "a rule", True, 3, "safety", "broken", ("power_loss", "sync_failure")),
    Fate("two", "in plain sight", True, 1, "safety", "broken", ()),
    Fate("three", "a line behind another", False, 50, "", "", ()),
]


def test_the_page_says_what_was_found_and_what_was_not() -> None:
    page = kill_matrix_page(kill_matrix_document(FATES, "campaign", 7, 50))
    assert "2 of 3 mutants were found; the slowest took 50 plans (`three`)." in page
    assert "(seed 7, default weights, at most 50 plans each)" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows[0].split("|")[3:6] == [" no fault ", " power loss ", " sync failure "]
    assert rows[2:] == [
        "| `one`: a rule | 3 |  | x | x | safety |",
        "| `two`: in plain sight | 1 | x |  |  | safety |",
        "| `three`: a line behind another | 50 |  |  |  | **alive** |",
    ]


def documented(name: str) -> tuple[list[str], str, str]:
    """Of a page: the mutants of its first table, that it was made for, and what comes after it.

    Each has to be killed; ``--mutant`` in the page's own command says which there have to be.
    """
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    drawn, _, enumerated = page.partition(LATER)
    names = re.findall(r"^\| `(\w+)`", drawn, re.MULTILINE)
    assert "alive" not in drawn.partition("|")[2]
    plans = [int(n) for n in re.findall(r"^\| `\w+`[^|]*\| (\d+) \|", drawn, re.MULTILINE)]
    assert len(plans) == len(names) and max(plans) <= 2_000
    command = re.search(r"^\.venv/bin/simulator killmatrix (\S+)(.*) --json", page, re.MULTILINE)
    assert command is not None
    scenario = load_scenario(ROOT / command[1])
    patterns = re.findall(r"--mutant '([^']+)'", command[2])
    assert names == [mutant.name for mutant in chosen_mutants(scenario, patterns)]
    return names, command[1], enumerated


def test_the_documented_matrices_are_of_all_mutants_and_none_is_alive() -> None:
    small, scenario, enumerated = documented("kill-matrix-small")
    assert small == [mutant.name for mutant in MUTANTS]
    assert (ROOT / scenario, enumerated) == (SMALL, "")
    exchange, scenario, _enumerated = documented("kill-matrix")
    assert ROOT / scenario == EXCHANGE
    assert exchange == [mutant.name for mutant in mutants_for(load_scenario(EXCHANGE))]
    shipped, scenario, _enumerated = documented("kill-matrix-log-shipping")
    assert ROOT / scenario == SHIPPED
    assert shipped == [mutant.name for mutant in LOG_SHIPPING_MUTANTS]


# -- which mutants a scenario has ------------------------------------------------------


def stores_of(mutants: tuple[Mutant, ...]) -> set[str]:
    """Of which stores there are rules among some mutants."""
    kinds = (each.name.partition("_")[0] for each in mutants)
    return {kind for kind in kinds if kind in ("store", "engine")}


@pytest.mark.parametrize(
    ("scenario", "stores"),
    [
        (SMALL, {"store"}),
        (EXCHANGE, {"engine"}),
        (ROOT / "scenarios/production-trace.toml", set()),
    ],
    ids=lambda each: each.stem if isinstance(each, Path) else "",
)
def test_only_rules_of_the_store_that_runs_are_taken_away(scenario: Path, stores: set[str]) -> None:
    mutants = mutants_for(load_scenario(scenario))
    assert stores_of(mutants) == stores
    assert mutant_named("sequence_check") in mutants


def test_the_streaming_file_has_rules_where_there_is_one() -> None:
    assert not set(STREAMING_MUTANTS) & set(mutants_for(load_scenario(EXCHANGE)))
    of_2003 = load_scenario(EXCHANGE, ["stream.format=exchange 2003"])
    assert set(STREAMING_MUTANTS) < set(mutants_for(of_2003))


def test_where_logs_are_shipped_its_rules_are_taken_away_and_no_others() -> None:
    assert mutants_for(load_scenario(SHIPPED)) == LOG_SHIPPING_MUTANTS
    for other in (SMALL, EXCHANGE):
        assert not set(LOG_SHIPPING_MUTANTS) & set(mutants_for(load_scenario(other)))


def test_some_can_be_chosen_and_no_other_is_tried() -> None:
    scenario = load_scenario(EXCHANGE)
    assert chosen_mutants(scenario, ["engine_*"]) == ENGINE_MUTANTS
    two = chosen_mutants(scenario, ["engine_waypoint", "engine_flush_at_commit"])
    assert [each.name for each in two] == ["engine_flush_at_commit", "engine_waypoint"]
    assert chosen_mutants(scenario, []) == mutants_for(scenario)
    for name in ("store_page_checksums", "engine_before_images", "nonsense"):
        with pytest.raises(BadInput, match=name):
            chosen_mutants(scenario, ["engine_*", name])


def test_every_switch_of_engine_and_log_shipping_is_a_mutant_once() -> None:
    found = [each.name for each in (*ENGINE_MUTANTS, *LOG_SHIPPING_MUTANTS)]
    found += [each.mutant.name for each in ENUMERATED]
    switches = [prefix + each.name for prefix, of in SWITCHES.items() for each in fields(of)]
    assert set(switches) < set(found)
    assert len(found) == len(set(found))
    assert set(found) <= {each.name for each in ALL_MUTANTS}


@pytest.mark.parametrize(
    ("prefix", "name"),
    [(prefix, each.name) for prefix, of in SWITCHES.items() for each in fields(of)],
)
def test_a_mutant_switches_off_what_it_is_called_after(prefix: str, name: str) -> None:
    """And nothing else."""
    [(_owner, _function, other)] = mutant_named(prefix + name).patches
    given: list[tuple[Any, ...]] = []
    init = other(lambda _self, *arguments, **named: given.append((*arguments, *named.values())))
    arguments = {
        "engine_": (None, "/store"),
        "engine_log_": (None, "/store", None, None, None, None, LogStreamOptions()),
        "engine_header_": (None, None),
        "engine_recovery_": (None, None),
        "logship_": (None, None, None, LogShippingOptions(), 0),
    }[prefix]
    init(object(), *arguments)
    last = given[0][3 if prefix == "logship_" else -1]
    of_options = isinstance(last, LogStreamOptions | LogShippingOptions)
    switched = last.safeguards if of_options else last
    assert switched == replace(SWITCHES[prefix], **{name: False})


@pytest.mark.parametrize(
    ("path", "changes", "name", "reason"),
    [
        (EXCHANGE, [], "engine_flush_at_commit", "must be"),
        (SHIPPED, ["duration=1s"], "logship_sync_before_inspected", "prefix is broken"),
    ],
    ids=["engine", "log shipping"],
)
def test_the_first_plan_of_a_campaign_finds_a_rule(
    path: Path, changes: list[str], name: str, reason: str
) -> None:
    scenario = load_scenario(path, changes)
    trial = Trial(toml_text(scenario), 1, space_of(scenario), name, 1)
    fate = try_mutant(trial)
    assert fate.killed and fate.plans == 1 and not fate.kinds
    assert reason in fate.reason


@pytest.mark.full
@pytest.mark.parametrize("name", ["short_writes_noticed", "outcomes_noted"])
def test_a_full_volume_cuts_writes_of_a_store_of_exchange_short(name: str) -> None:
    """While spool and store shared a disk, 2,000 plans found neither: the spool was full first."""
    scenario = load_scenario(EXCHANGE)
    fate = try_mutant(Trial(toml_text(scenario), 1, space_of(scenario), name, 400))
    assert fate.killed and "disk_full" in fate.kinds, fate


# -- runs that the bench itself does not bring to an end -----------------------------------


class Broken(Exception):
    """A defect of the bench."""


def broken_in(plans: set[int]) -> Mutant:
    """Runs with these numbers end by an error of the bench; the others are as without it."""

    def other(run: Callable[..., PlanOutcome]) -> Callable[..., PlanOutcome]:
        def run_or_break(scenario: PreparedScenario, plan: FaultPlan, number: int, *rest: Any):
            if number not in plans:
                return run(scenario, plan, number, *rest)

            def broken(*_arguments: object) -> None:
                raise Broken("a [figure] is missing")

            with patch.object(PreparedScenario, "run", broken):
                return run(scenario, plan, number, *rest)

        return run_or_break

    return Mutant("broken_bench", "the bench breaks", ((job, "run_plan", other),))


def trial_of(monkeypatch: pytest.MonkeyPatch, mutant: Mutant, plans: int, errors: int) -> Fate:
    monkeypatch.setattr("simulator.mutants.ALL_MUTANTS", (*ALL_MUTANTS, mutant))
    scenario = load_scenario(ROOT / "scenarios/campaign.toml")
    return try_mutant(Trial(toml_text(scenario), 1, space_of(scenario), mutant.name, plans, errors))


def test_a_mutant_whose_runs_end_by_an_error_is_neither_killed_nor_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fate = trial_of(monkeypatch, broken_in({1, 2}), plans=3, errors=5)
    assert (fate.is_undecided, fate.is_alive, fate.killed) == (True, False, False)
    assert (fate.plans, fate.errors) == (3, 2)
    assert fate.error == "plan 1: the run ended by an error: Broken('a [figure] is missing')"


def test_a_mutant_is_given_up_after_some_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    fate = trial_of(monkeypatch, broken_in(set(range(100))), plans=100, errors=2)
    assert (fate.is_undecided, fate.plans, fate.errors) == (True, 2, 2)


def test_a_mutant_whose_runs_all_end_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    fate = trial_of(monkeypatch, broken_in(set()), plans=1, errors=5)
    assert (fate.is_alive, fate.plans, fate.errors, fate.error) == (True, 1, 0, "")


def test_a_plan_behind_an_error_still_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, sequence = broken_in({0}), mutant_named("sequence_check")
    both = replace(sequence, name="both", patches=(*broken.patches, *sequence.patches))
    fate = trial_of(monkeypatch, both, plans=3, errors=5)
    assert fate.killed and not fate.is_undecided and not fate.is_alive
    assert (fate.plans, fate.errors) == (2, 1)


@pytest.mark.parametrize("compares", [True, False])
def test_a_plan_that_fails_without_the_mutant_finds_none(
    compares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can meet an objective each mutant would be found by it."""
    if not compares:

        def mutants_alone(batch: BatchJob) -> list[PlanOutcome]:
            outcomes = run_batch(batch)
            return outcomes if batch.mutant else [replace(each, plan="") for each in outcomes]

        monkeypatch.setattr("simulator.campaign.killmatrix.run_batch", mutants_alone)
    scenario = load_scenario(SMALL, ["objectives.rpo=1ns", "objectives.spool_peak=1B"])
    trial = Trial(toml_text(scenario), 1, space_of(scenario), "damage_told", 9, 2)
    fate = try_mutant(trial)
    if not compares:
        assert (fate.killed, fate.verdict) == (True, "objective")
        return
    assert (fate.is_undecided, fate.plans, fate.errors) == (True, 2, 2)
    assert fate.error.startswith("plan 0 fails without it, too: ")


@pytest.mark.parametrize("name", ["rsync.toml", "own_replicator.toml"])
def test_a_candidate_has_no_rule_that_could_be_taken_away(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = ROOT / "scenarios/candidates" / name
    assert mutants_for(load_scenario(scenario)) == ()
    for arguments in (["killmatrix"], ["campaign", "--plans", "1", "--mutant", "damage_told"]):
        command, *options = arguments
        assert finish(app, "simulator", [command, str(scenario), *options]) == ExitCode.USAGE
        assert "a candidate runs in this scenario" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


ERROR = Fate("four", "broken", False, 2, "", "", (), 2, "plan 0: the run ended by an error: X")


@pytest.mark.parametrize(
    ("fates", "code"),
    [
        (FATES[:2], ExitCode.PASS),
        ([*FATES[:2], ERROR], ExitCode.INCONCLUSIVE),
        ([*FATES, ERROR], ExitCode.BROKEN),
        ([replace(FATES[0], errors=1, error="plan 0: X")], ExitCode.PASS),
    ],
)
def test_the_exit_code_tells_what_is_not_known(fates: list[Fate], code: ExitCode) -> None:
    assert exit_code_of(fates) is code


def test_an_error_is_told_with_its_words() -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    print_kill_matrix(console, [*FATES, ERROR])
    told = console.export_text()
    assert re.search(r"four +\S +2 \S NOT KNOWN ", told)
    assert told.count("ALIVE") == 1
    assert "four: 2 runs prove nothing; plan 0: the run ended by an error: X" in told
    assert "would have found is not known." in told
    page = kill_matrix_page(kill_matrix_document([*FATES, ERROR], "campaign", 7, 50))
    assert "Of 1 nothing is known, since runs of it prove nothing" in page
    assert "\n- `four`: plan 0: the run ended by an error: X\n" in page
    assert "| `four`: broken | 2 |  |  |  | **not known** |" in page
    assert page.count("**alive**") == 1


def test_the_command_ends_with_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutant, target = broken_in({0}), tmp_path / "matrix.json"
    monkeypatch.setattr("simulator.mutants.ALL_MUTANTS", (*ALL_MUTANTS, mutant))
    monkeypatch.setattr("simulator.mutants.REPLICATOR_MUTANTS", (mutant,))
    monkeypatch.setattr("simulator.mutants.MUTANTS", (mutant,))
    monkeypatch.setattr(
        "simulator.campaign.executors.process_pool", lambda _: ThreadPoolExecutor(1)
    )
    arguments = ["killmatrix", str(ROOT / "tests/campaign/small.toml"), "--plans", "1"]
    code = finish(app, "simulator", [*arguments, "--json", str(target)])
    assert code == ExitCode.INCONCLUSIVE
    assert "Broken('a [figure] is missing')" in capsys.readouterr().out
    [told] = json.loads(target.read_text())["mutants"]
    assert (told["killed"], told["errors"]) == (False, 1)
    assert told["error"] == "plan 0: the run ended by an error: Broken('a [figure] is missing')"


# -- the pages of the engine and of log shipping --------------------------------------------


@pytest.mark.parametrize(
    ("page", "campaign", "others"),
    [
        ("kill-matrix", "campaign", ENGINE_ENUMERATED),
        ("kill-matrix-log-shipping", "campaign log shipping", LOG_SHIPPING_ENUMERATED),
    ],
    ids=["engine", "log shipping"],
)
def test_the_documented_matrix_names_what_finds_the_other_rules(
    page: str, campaign: str, others: tuple[Enumerated, ...]
) -> None:
    names, _scenario, enumerated = documented(page)
    fates = [engine_fate(name) for name in names]
    made = kill_matrix_page(kill_matrix_document(fates, campaign, 1, 2_000))
    assert made.partition(LATER)[2] == enumerated
    assert re.findall(r"^\| `(\w+)`", enumerated, re.MULTILINE) == [
        each.mutant.name for each in others
    ]


def engine_fate(name: str = "engine_waypoint") -> Fate:
    return Fate(name, "a rule", True, 3, "safety", "broken", ("power_loss",))


@pytest.mark.parametrize("test", sorted({each.test for each in ENUMERATED}))
def test_what_finds_the_others_is_there(test: str) -> None:
    path, _, function = test.partition("::")
    assert f"\ndef {function}(" in (ROOT / path).read_text(encoding="utf-8")
    assert all(each.why for each in ENUMERATED)


def test_the_page_of_pieces_is_that_of_the_whole() -> None:
    fates = [engine_fate(each.name) for each in ENGINE_MUTANTS]
    whole, one, two = (
        kill_matrix_document(part, "campaign", 1, 2_000)
        for part in (fates, fates[1::2], fates[::2])
    )
    assert kill_matrix_page(merged([one, two])) == kill_matrix_page(whole)
    assert "killmatrix scenarios/campaign.toml --mutant 'engine_*'" in kill_matrix_page(whole)
    with pytest.raises(BadInput, match="is in two of the records"):
        merged([whole, two])
    with pytest.raises(BadInput, match="differ in seed: 1 and 7"):
        merged([one, two | {"seed": 7}])


def test_rules_of_replicator_and_engine_share_a_page_and_the_small_store_has_its_own() -> None:
    both = [*FATES, engine_fate()]
    page = kill_matrix_page(kill_matrix_document(both, "campaign", 1, 50))
    assert page.startswith("# Kill matrix\n") and "--mutant" not in page and LATER in page
    assert "killmatrix scenarios/campaign.toml --json out/kill-matrix.json" in page
    small = kill_matrix_page(kill_matrix_document(FATES, "small", 1, 50))
    assert small.startswith("# Kill matrix over the small store\n") and LATER not in small
    assert "killmatrix tests/campaign/small.toml --json out/kill-matrix-small.json" in small


def test_log_shipping_has_a_page_of_its_own_and_names_its_own_others() -> None:
    fates = [engine_fate(each.name) for each in LOG_SHIPPING_MUTANTS]
    page = kill_matrix_page(kill_matrix_document(fates, "campaign log shipping", 1, 50))
    assert page.startswith("# Kill matrix of log shipping\n") and "engine_" not in page
    assert "one rule away from log shipping\n" in page
    record = "out/kill-matrix-log-shipping.json"
    assert f"killmatrix scenarios/campaign_log_shipping.toml --json {record}" in page
    assert f"{record} > docs/kill-matrix-log-shipping.md" in page
    for each in LOG_SHIPPING_ENUMERATED:
        assert f"| `{each.mutant.name}`: {each.mutant.meaning} | {each.why} |" in page


@pytest.mark.parametrize("content", ['["no record"]', "no JSON", None])
def test_what_is_no_record_is_refused(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.json"
    if content is not None:
        wrong.write_text(content, encoding="utf-8")
    assert main([str(wrong)]) == main([]) == 64
    told = capsys.readouterr()
    assert not told.out
    assert told.err.count("error: ") == told.err.count("what to do: ") == 2


def test_the_page_of_a_record_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = kill_matrix_document([engine_fate()], "campaign", 1, 2_000)
    record = tmp_path / "record.json"
    record.write_text(json.dumps(document), encoding="utf-8")
    assert main([str(record)]) == 0
    assert capsys.readouterr().out == kill_matrix_page(document)
