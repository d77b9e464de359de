"""The planner's notebooks: they run, are committed without results, and hold no figure in words."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from simulator.plan.site_files import load_site
from simulator.report import ink
from tests.notebooks.running import NOTEBOOKS, ROOT, complaints, isolate, results, run
from tests.notebooks.site_week import week_text

SITE_WEEK = ROOT / "notebooks" / "data" / "site-week.csv"
MEASURED = re.compile(
    r"\d[\d.,]*\s*(?:[kMGT]i?B|bytes|[kMG]?bit/s|ms|s|min|h|d|hours?|minutes?|seconds?|days?)\b"
)
"""A figure with a unit: it would be stale with the next organisation."""
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def leftovers(notebook: NotebookNode) -> list[int]:
    """Cells that were committed with what they gave, or with their turn."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and (cell["outputs"] or cell["execution_count"] is not None)
    ]


def figures_in_words(notebook: NotebookNode) -> list[str]:
    """Figures with units in the text; commands to be typed are none of it."""
    texts = [
        re.sub(r"`[^`]*`", "", cell["source"])
        for cell in notebook.cells
        if cell.cell_type == "markdown"
    ]
    return [found.group(0) for text in texts for found in MEASURED.finditer(text)]


def written(directory: Path, *cells: str) -> Path:
    """A notebook with these cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    path = directory / "made.ipynb"
    nbformat.write(notebook, path)
    return path


def test_there_are_six_and_the_page_names_each() -> None:
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(([\w-]+\.ipynb)\)", page) == [path.name for path in NOTEBOOKS]
    assert len(NOTEBOOKS) == 6


@by_name
def test_it_runs_warns_of_nothing_and_shows_pictures(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolate(monkeypatch, tmp_path / "world")
    beside = sorted(path.parent.rglob("*"))
    done = run(path)
    assert complaints(done) == []
    shown = [data for _source, data in results(done)]
    pictures = [data["image/svg+xml"] for data in shown if "image/svg+xml" in data]
    assert pictures
    for svg in pictures:
        assert svg.startswith("<svg")
        assert not any(role.stand_in in svg or f"--{role.name})" in svg for role in ink.ROLES)
    assert any("<table>" in data.get("text/html", "") for data in shown)
    assert sorted(path.parent.rglob("*")) == beside, "a notebook leaves nothing behind"


@by_name
def test_it_is_committed_without_what_it_gave(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert leftovers(notebook) == []
    assert figures_in_words(notebook) == []
    # The next cell is told of before it is run.
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert "code code code" not in " ".join(kinds)


def test_what_is_left_over_is_found() -> None:
    clean, ran = nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("1", execution_count=3)
    output = nbformat.v4.new_output("stream", text="1")
    gave = nbformat.v4.new_code_cell("1", outputs=[output])
    assert leftovers(nbformat.v4.new_notebook(cells=[clean, ran, gave])) == [1, 2]


@pytest.mark.parametrize("text", ["buy 62.8 GB", "within 15 minutes", "a line of 24 Mbit/s"])
def test_a_figure_in_words_is_found(text: str) -> None:
    cell = nbformat.v4.new_markdown_cell(text)
    assert len(figures_in_words(nbformat.v4.new_notebook(cells=[cell]))) == 1


def test_an_error_fails_with_its_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    isolate(monkeypatch, tmp_path / "world")
    path = written(tmp_path, "a = 1", "a / 0")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(path)


def test_a_warning_is_told_and_nothing_lies_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = tmp_path / "world"
    isolate(monkeypatch, world)
    places = (
        "import tempfile, pathlib, jupyter_core.paths as p\n"
        "[p.jupyter_runtime_dir(), p.jupyter_data_dir(), p.jupyter_config_dir(),\n"
        " get_ipython().ipython_dir, tempfile.gettempdir(), str(pathlib.Path.home())]"
    )
    warns = "import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)"
    checkout = "import simulator\nsimulator.__file__"
    done = run(written(tmp_path, places, warns, checkout))
    assert [("DeprecationWarning" in each) for each in complaints(done)] == [True]
    found, origin = (eval(data["text/plain"]) for _source, data in results(done))
    assert len(found) == 6
    assert all(Path(each).is_relative_to(world) for each in found), found
    assert Path(origin) == ROOT / "simulator" / "__init__.py"


def test_the_made_up_week_is_what_its_maker_makes() -> None:
    assert SITE_WEEK.read_text(encoding="utf-8") == week_text()


def test_the_made_up_week_has_what_the_notebook_says_of_it() -> None:
    site = load_site(SITE_WEEK)
    assert site.days == 7
    by_hour = site.log_bytes.reshape(7 * 24, 60).sum(axis=1)
    assert divmod(int(by_hour.argmax()), 24) == (2, 13), "the noon of Wednesday is the highest"
    told = "\n".join(site.remarks)
    assert "no samples" in told
    assert "blank" in told
    assert "bytes of pages for one of log" in told
