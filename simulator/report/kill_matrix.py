"""The page of the kill matrix, from the record of ``simulator killmatrix --json``.

::

    .venv/bin/simulator killmatrix scenarios/campaign.toml --json out/kill-matrix.json
    .venv/bin/python -m simulator.report.kill_matrix out/kill-matrix.json > docs/kill-matrix.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

_PAGE = """\
# Kill matrix

Is the bench blind? Each line takes one rule away from the replicator or from the emulated store
(`simulator/mutants/`), and runs the plans of one campaign, in their order, until one breaks a
promise. That plan is shrunk: the marks say which kinds of faults are left in it, so which it takes
to notice. A rule that is missed under *no fault* is broken in plain sight.

{{ killed }} of {{ mutants | length }} mutants were found; the slowest took \
{{ slowest.plans }} plans (`{{ slowest.name }}`).
Made from the record of `simulator killmatrix {{ file }}` \
(seed {{ seed }}, default weights, at most {{ most }} plans each).

| rule taken away | plans | \
{% for kind in kinds %}{{ kind | replace('_', ' ') }} | {% endfor %}verdict |
|---|---:|{% for kind in kinds %}:---:|{% endfor %}---|
{% for mutant in mutants -%}
| `{{ mutant.name }}`: {{ mutant.meaning }} | {{ mutant.plans }} | \
{% for kind in kinds %}{{ 'x' if kind in marks[mutant.name] else '' }} | {% endfor %}\
{{ mutant.verdict if mutant.killed else '**alive**' }} |
{% endfor %}
To renew this page:

```sh
.venv/bin/simulator killmatrix {{ file }} --json out/kill-matrix.json
.venv/bin/python -m simulator.report.kill_matrix out/kill-matrix.json > docs/kill-matrix.md
```
"""

NO_FAULT = "no fault"


def kill_matrix_page(document: dict[str, Any]) -> str:
    """The page, as Markdown.

    Arguments
    ---------
    document: as ``simulator killmatrix --json`` writes it.
    """
    mutants = document["mutants"]
    marks = {m["name"]: m["kinds"] or ([NO_FAULT] if m["killed"] else []) for m in mutants}
    kinds = sorted({kind for each in marks.values() for kind in each} - {NO_FAULT})
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    return environment.from_string(_PAGE).render(
        mutants=mutants,
        marks=marks,
        kinds=[NO_FAULT, *kinds],
        killed=sum(mutant["killed"] for mutant in mutants),
        slowest=max(mutants, key=lambda mutant: mutant["plans"]),
        file=f"scenarios/{document['scenario']}.toml",
        seed=document["seed"],
        most=document["most_plans"],
    )


if __name__ == "__main__":
    sys.stdout.write(kill_matrix_page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
