"""Reports of runs: the HTML page, its plots, the JSON record, and words for all of them.

``record`` is the JSON record and its schema, ``words`` and ``units`` turn figures into
sentences, ``series`` thins samples, ``figure``, ``fault_lanes`` and ``ink`` draw, ``page``
fills the template ``report.html.j2``, ``output`` writes files.  ``timeline``, with
``timeline_lanes`` and ``timeline_story``, makes the page on which a run can be followed.  Drawing
libraries are loaded only when a report is drawn.
"""

from __future__ import annotations

from pathlib import Path

from simulator.measures import RunResult


def render_report(result: RunResult, directory: Path, *, command: str | None = None) -> Path:
    """Writes ``report.html`` into ``directory`` and returns its path.

    The page is one file and asks for nothing over the network.  ``command`` is what to run
    to make this run again; by default it is rebuilt from the scenario's name and the seed.
    """
    from simulator.report.page import render

    return render(result, directory, command=command)
