"""The page of a kill matrix, from the records of ``simulator killmatrix --json``.

::

    .venv/bin/simulator killmatrix scenarios/campaign.toml --json out/kill-matrix.json
    .venv/bin/python -m simulator.report.kill_matrix out/kill-matrix.json > docs/kill-matrix.md

A matrix that was made in pieces (``--mutant``) comes from several records; they are of one
campaign.  Where rules of Exchange's engine or of log shipping are tried, the page also names what
finds those of them that drawn plans hardly meet (:data:`simulator.mutants.ENGINE_ENUMERATED`,
:data:`simulator.mutants.LOG_SHIPPING_ENUMERATED`).  The small store has a page of its own,
``docs/kill-matrix-small.md``, from ``tests/campaign/small.toml``, and so has log shipping,
``docs/kill-matrix-log-shipping.md``, from ``scenarios/campaign_log_shipping.toml``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from replicator.command_line import print_error
from replicator.errors import BadInput
from simulator.campaign.killmatrix import KILL_MATRIX_SCHEMA
from simulator.mutants import ALL_MUTANTS, ENGINE_ENUMERATED, LOG_SHIPPING_ENUMERATED, Enumerated

_PAGE = """\
# Kill matrix{{ title }}

Is the bench blind? Each line takes one rule away from {{ tested }}
(`simulator/mutants/`), and runs the plans of one campaign, in their order, until one breaks a
promise. That plan is shrunk: the marks say which kinds of faults are left in it, so which it takes
to notice. A rule that is missed under *no fault* is broken in plain sight.

{{ killed }} of {{ mutants | length }} mutants were found; the slowest took \
{{ slowest.plans }} plan{{ 's' if slowest.plans != 1 }} (`{{ slowest.name }}`).
{%- if undecided %}
Of {{ undecided | length }} nothing is known, since runs of it prove nothing:
{% for each in undecided %}
- `{{ each.name }}`: {{ each.error }}
{%- endfor %}
{% endif %}
Made from the record of `simulator killmatrix {{ file }}{{ only }}` \
(seed {{ seed }}, default weights, at most {{ most }} plans each).

| rule taken away | plans | \
{% for kind in kinds %}{{ kind | replace('_', ' ') }} | {% endfor %}verdict |
|---|---:|{% for kind in kinds %}:---:|{% endfor %}---|
{% for mutant in mutants -%}
| `{{ mutant.name }}`: {{ mutant.meaning }} | {{ mutant.plans }} | \
{% for kind in kinds %}{{ 'x' if kind in marks[mutant.name] else '' }} | {% endfor %}\
{{ mutant.verdict if mutant.killed else '**not known**' if mutant in undecided else \
'**alive**' }} |
{% endfor %}
{%- if enumerated %}
## Rules that drawn plans hardly meet

Each is taken away in a test that makes the instant, and that fails when nothing is found.

| rule taken away | why a plan hardly finds it | test that does |
|---|---|---|
{% for each in enumerated -%}
| `{{ each.mutant.name }}`: {{ each.mutant.meaning }} | {{ each.why }} | \
`{{ each.test | replace('::', '` `') }}` |
{% endfor %}
{%- endif %}
To renew this page:

```sh
.venv/bin/simulator killmatrix {{ file }}{{ only }} --json out/{{ page }}.json
.venv/bin/python -m simulator.report.kill_matrix out/{{ page }}.json > docs/{{ page }}.md
```
"""

NO_FAULT = "no fault"
_SMALL: Final = "small"
"""The name of the scenario with the small store."""
_ENUMERATED: Final = (*ENGINE_ENUMERATED, *LOG_SHIPPING_ENUMERATED)


@dataclass(frozen=True, slots=True)
class _Part:
    """Whose rules a page is of.

    Arguments
    ---------
    title: behind "Kill matrix".
    tested: what a rule is taken away from.
    page: name of the file, without its ending.
    only: what follows the scenario on the command line.
    """

    title: str
    tested: str
    page: str
    only: str = ""


_ALONE: Final = {
    "engine_": _Part(
        " of the engine of Exchange",
        "the engine of the emulated store",
        "kill-matrix",
        " --mutant 'engine_*'",
    ),
    "logship_": _Part(" of log shipping", "log shipping", "kill-matrix-log-shipping"),
}
"""Where all of a page's rules begin with the same word."""
_BOTH: Final = "the replicator or from the emulated store"


def _part_of(names: Sequence[str], scenario: str) -> _Part:
    for prefix, part in _ALONE.items():
        if all(name.startswith(prefix) for name in names):
            return part
    if scenario == _SMALL:
        return _Part(" over the small store", _BOTH, "kill-matrix-small")
    return _Part("", _BOTH, "kill-matrix")


def merged(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of several, each with some of the mutants.

    Raises BadInput when they are of different campaigns, or one mutant is in two of them.
    """
    first, *others = documents
    for each in others:
        for key in ("schema", "scenario", "seed", "most_plans"):
            if each[key] != first[key]:
                raise BadInput(
                    f"the records differ in {key}: {first[key]} and {each[key]}",
                    remedy="Give records of one campaign.",
                )
    mutants = [mutant for each in documents for mutant in each["mutants"]]
    names = [mutant["name"] for mutant in mutants]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(
                f"mutant {name} is in two of the records",
                remedy="Give records that share no mutant.",
            )
    order = {mutant.name: place for place, mutant in enumerate(ALL_MUTANTS)}
    return first | {"mutants": sorted(mutants, key=lambda mutant: order.get(mutant["name"], -1))}


def kill_matrix_page(
    document: dict[str, Any], enumerated: Sequence[Enumerated] = _ENUMERATED
) -> str:
    """The page, as Markdown.

    Arguments
    ---------
    document: as ``simulator killmatrix --json`` writes it.
    enumerated: what finds the other rules; shown where the record has some of the same part.
    """
    mutants = document["mutants"]
    names = [mutant["name"] for mutant in mutants]
    parts = tuple(part for part in _ALONE if any(name.startswith(part) for name in names))
    part = _part_of(names, document["scenario"])
    marks = {m["name"]: m["kinds"] or ([NO_FAULT] if m["killed"] else []) for m in mutants}
    kinds = sorted({kind for each in marks.values() for kind in each} - {NO_FAULT})
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.from_string(_PAGE).render(
        mutants=mutants,
        enumerated=[
            each
            for each in enumerated
            if each.mutant.name.startswith(parts) and each.mutant.name not in names
        ],
        marks=marks,
        kinds=[NO_FAULT, *kinds],
        killed=sum(mutant["killed"] for mutant in mutants),
        undecided=[each for each in mutants if each.get("errors") and not each["killed"]],
        slowest=max(mutants, key=lambda mutant: mutant["plans"]),
        file="tests/campaign/small.toml"
        if document["scenario"] == _SMALL
        else f"scenarios/{document['scenario'].replace(' ', '_')}.toml",
        title=part.title,
        tested=part.tested,
        only=part.only,
        page=part.page,
        seed=document["seed"],
        most=document["most_plans"],
    )


def main(paths: Sequence[str]) -> int:
    """Print the page of some records; returns the exit code."""
    try:
        if not paths:
            raise BadInput("no record is named", remedy="Name what killmatrix --json has written.")
        page = kill_matrix_page(merged([_record(Path(each)) for each in paths]))
    except BadInput as error:
        print_error(error)
        return error.exit_code
    sys.stdout.write(page)
    return 0


def _record(path: Path) -> dict[str, Any]:
    """One record; raises BadInput for a file that is none."""
    remedy = "Name what simulator killmatrix --json has written."
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"it cannot be read: {error}", path=str(path), remedy=remedy) from error
    if not isinstance(found, dict) or found.get("schema") != KILL_MATRIX_SCHEMA:
        raise BadInput("it is no record of a kill matrix", path=str(path), remedy=remedy)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
