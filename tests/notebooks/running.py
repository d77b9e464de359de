"""Running a notebook as nbmake does, in a world of its own: nothing is written outside of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL_SECONDS = 300
"""After which a cell is given up: a machine may be slow, an endless loop is no slow machine."""
DIRECTORIES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "IPYTHONDIR",
    "HOME",
    "TMPDIR",
)
"""Where Jupyter, IPython and a notebook write."""


def isolate(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Settings for a kernel that finds this checkout and writes nowhere but into ``directory``."""
    # The list of fonts takes long to make, and belongs to the user, not to a notebook.
    import matplotlib

    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
    for name in DIRECTORIES:
        place = directory / name.lower()
        place.mkdir(parents=True)
        monkeypatch.setenv(name, str(place))
    found = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{found}" if found else str(ROOT))
    # Warnings are told on the cell's standard error, where a test finds them.
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    # Else a kernel has as many threads for its sums as there are processors, beside the others.
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")


def run(path: Path) -> NotebookNode:
    """Execute a notebook in its directory; an assertion fails with the cell and its error."""
    from nbmake.nb_run import NotebookRun

    done = NotebookRun(path, LONGEST_CELL_SECONDS).execute()
    assert done.error is None, f"{path.name}: {done.error.trace}"
    return done.nb


def complaints(notebook: NotebookNode) -> list[str]:
    """What cells wrote to standard error: warnings, most of all."""
    return [
        output["text"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stderr"
    ]


def results(notebook: NotebookNode) -> list[tuple[str, dict[str, str]]]:
    """Source of each cell that shows something, and what by its type."""
    return [
        (cell["source"], output["data"])
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell["outputs"]
        if output["output_type"] == "execute_result"
    ]
