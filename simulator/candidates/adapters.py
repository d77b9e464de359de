"""From a scenario's ``[candidate]`` to what runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.candidates.command import CommandCopier, CommandOptions
from simulator.candidates.loading import check_class, check_function
from simulator.candidates.port_class import PortClass
from simulator.candidates.program import Program
from simulator.candidates.site import Site
from simulator.scenario_candidate import CommandCandidate, PortCandidate, ProgramCandidate
from simulator.systems.byte_level import REPLICA_ADDRESS
from simulator.systems.candidate import Adapter, CandidateSystem


def adapter_of(candidate: PortCandidate | ProgramCandidate | CommandCandidate) -> Adapter:
    """The adapter of a candidate that has been checked."""
    from_start = candidate.judged_from == "start"
    if isinstance(candidate, CommandCandidate):
        options = CommandOptions(
            candidate.command,
            candidate.every_ns,
            candidate.timeout_ns,
            candidate.exit_codes,
            candidate.fsync,
            candidate.reads,
            candidate.read_bytes_per_second,
        )
        return CommandCopier(options, from_start)
    site_of = _site(candidate.options)
    if isinstance(candidate, PortCandidate):
        return PortClass(check_class(candidate.class_), site_of, from_start)
    recover = None if candidate.recover is None else check_function(candidate.recover)
    ends = check_function(candidate.source), check_function(candidate.replica)
    return Program(*ends, recover, site_of, from_start)


def _site(options: Mapping[str, Any]) -> Callable[[CandidateSystem], Site]:
    def site(system: CandidateSystem) -> Site:
        return Site(
            system.workload.root,
            system.home.root,
            REPLICA_ADDRESS,
            options,
            lambda: system.counted.newest,
        )

    return site
