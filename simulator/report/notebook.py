"""What a cell of a notebook shows: a picture, a table, sentences.

A notebook shows an object in the richest form that the object offers, and asks for it by the names
of IPython's display protocol (``_repr_svg_``, ``_repr_html_``).  So nothing of Jupyter is imported
here, and in a plain console the same objects are text.

Pictures are drawn in colours that stand for their roles (:mod:`.ink`).  Here they get the light
ones: a proposal is printed on white.  :meth:`ShownPicture.save` writes a picture for a document,
as SVG, or as PNG where the document takes no SVG.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text

from replicator.errors import BadInput
from simulator.plan.plan_answer import Topic, answer_topics
from simulator.plan.planner import Plan
from simulator.report import ink
from simulator.report.output import write_atomically
from simulator.report.plan_figures import PICTURES
from simulator.report.plan_table import PlanTable
from simulator.report.plan_tables import plan_tables

PNG_DOTS_PER_INCH: Final = 200
"""Sharp on paper at the width of a page."""
_COLOURS: Final = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
"""What an artist of matplotlib calls its colours."""
_CELL: Final = "text-align: left; vertical-align: top; white-space: normal"
_NUMBER_CELL: Final = "text-align: right; vertical-align: top; white-space: nowrap"


@dataclass(frozen=True)
class ShownPicture:
    """A picture.

    Attributes
    ----------
    label: what it shows, for whoever cannot see it.
    draw: makes it, each time anew.
    """

    label: str
    draw: Callable[[], Figure]

    def svg(self) -> str:
        """As an SVG document in light colours, its letters as text."""
        with ink.drawing():
            return ink.to_svg_file(self.draw(), html.escape(self.label))

    def png(self) -> bytes:
        """As a PNG picture in light colours."""
        with ink.drawing():
            figure = self.draw()
            figure.draw_without_rendering()  # ticks are made only now
            _in_light_colours(figure)
            made = io.BytesIO()
            figure.savefig(
                made, format="png", dpi=PNG_DOTS_PER_INCH, facecolor=ink.PANEL.light, metadata={}
            )
            return made.getvalue()

    def save(self, path: str | Path) -> None:
        """Write it for a document: SVG, or PNG where the name ends so.

        Raises BadInput for another ending, and when the volume refuses.
        """
        path = Path(path)
        if path.suffix == ".svg":
            write_atomically(path, self.svg(), "save")
        elif path.suffix == ".png":
            try:
                path.write_bytes(self.png())
            except OSError as cause:
                raise BadInput(
                    f"the picture cannot be written: {cause.strerror or cause}",
                    path=str(path),
                    remedy="Name a file in a directory that is there and has room.",
                ) from cause
        else:
            raise BadInput(
                f"a picture is saved as .svg or .png, not as {path.suffix or 'a name without end'}",
                path=str(path),
                remedy="Give the file one of these endings.",
            )

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"picture: {self.label}"


@dataclass(frozen=True)
class ShownTable:
    """A table in words, as the reports have it.

    Attributes
    ----------
    title, note: above it and below it; may be empty.
    header: names of the columns.
    rows: a text for each column.
    numbers: which columns hold figures.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[bool, ...]
    note: str = ""

    def _repr_html_(self) -> str:
        styles = [_NUMBER_CELL if number else _CELL for number in self.numbers]
        parts = [f"<p><b>{html.escape(self.title)}</b></p>" if self.title else "", "<table>"]
        for tag, cells in (("th", self.header), *(("td", row) for row in self.rows)):
            line = "".join(
                f'<{tag} style="{style}">{html.escape(text)}</{tag}>'
                for style, text in zip(styles, cells, strict=True)
            )
            parts.append(f"<tr>{line}</tr>")
        parts.append("</table>")
        parts.append(f"<p>{html.escape(self.note)}</p>" if self.note else "")
        return "".join(parts)

    def __repr__(self) -> str:
        frame = pd.DataFrame(list(self.rows), columns=list(self.header))
        lines = (self.title, frame.to_string(index=False), self.note)
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class ShownWords:
    """Sentences, one below the other."""

    sentences: tuple[str, ...]

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(each)}</li>" for each in self.sentences)
        return f"<ul>{items}</ul>"

    def __repr__(self) -> str:
        return "\n".join(f"- {each}" for each in self.sentences)


@dataclass(frozen=True)
class ShownAnswer:
    """The answer of a plan, by topic."""

    topics: tuple[Topic, ...]

    def _repr_html_(self) -> str:
        return "".join(
            f"<p><b>{html.escape(topic.name)}</b></p>{ShownWords(topic.sentences)._repr_html_()}"
            for topic in self.topics
        )

    def __repr__(self) -> str:
        return "\n".join(f"{each.name}\n{ShownWords(each.sentences)!r}" for each in self.topics)


def answer(plan: Plan) -> ShownAnswer:
    """The answer of a plan, to be shown."""
    return ShownAnswer(tuple(answer_topics(plan)))


def words(sentences: Iterable[str]) -> ShownWords:
    """Sentences to be shown."""
    return ShownWords(tuple(sentences))


def picture(label: str, draw: Callable[..., Figure], *arguments: Any) -> ShownPicture:
    """A picture of its own: ``draw(*arguments)`` makes it.

    Arguments
    ---------
    label: what it shows, for whoever cannot see it.
    """
    return ShownPicture(label, lambda: draw(*arguments))


def plan_picture(plan: Plan, key: str) -> ShownPicture:
    """One of the pictures of a plan's report.

    Arguments
    ---------
    key: as in :data:`~simulator.report.plan_figures.PICTURES`.

    Raises BadInput for a key that is none of these.
    """
    by_key = {each.key: each for each in PICTURES}
    chosen = by_key[_known(key, by_key, "picture")]
    return ShownPicture(chosen.label, lambda: chosen.draw(plan))


def plan_table(plan: Plan, key: str) -> ShownTable:
    """One of the tables of a plan's report (:mod:`simulator.report.plan_tables`).

    Raises BadInput for a key that is none of this plan's: tables without a row are left out.
    """
    by_key = {each.key: each for each in plan_tables(plan)}
    return shown_table(by_key[_known(key, by_key, "table of this plan")])


def shown_table(table: PlanTable) -> ShownTable:
    """A table of figures, spelled."""
    return ShownTable(
        table.title,
        tuple(column.name for column in table.columns),
        tuple(tuple(row) for row in table.spelled()),
        tuple(column.is_number for column in table.columns),
        table.note,
    )


def _known(key: str, keys: Iterable[str], what: str) -> str:
    found = list(keys)
    if key not in found:
        raise BadInput(
            f"there is no {what} {key!r}", remedy=f"Choose one of {', '.join(sorted(found))}."
        )
    return key


# -- PNG ---------------------------------------------------------------------------------------


def _in_light_colours(figure: Figure) -> None:
    """Gives each artist the light colour of its role, transparent as it was."""
    light = {_rgb(role.stand_in): _rgb(role.light) for role in ink.ROLES}
    artists = figure.findobj()
    boxes = [each.get_bbox_patch() for each in artists if isinstance(each, Text)]
    for artist in (*artists, *(box for box in boxes if box is not None)):
        for name in _COLOURS:
            get = getattr(artist, f"get_{name}", None)
            put = getattr(artist, f"set_{name}", None)
            if get is None or put is None:
                continue
            found = get()
            if isinstance(found, str) and not re.fullmatch(r"#[0-9a-f]{6}", found):
                continue  # a word: "none", "inherit"
            changed = _exchanged(to_rgba_array(found), light)
            if changed is not None:
                put(changed if len(changed) > 1 else tuple(changed[0]))


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def _exchanged(
    colours: np.ndarray, by_colour: dict[tuple[int, ...], tuple[int, ...]]
) -> np.ndarray | None:
    """Rows of red, green, blue, opacity with other colours; None where none is one of them."""
    made, any_found = colours.copy(), False
    for row, colour in zip(made, np.rint(255 * colours[:, :3]).astype(int), strict=True):
        found: Sequence[int] | None = by_colour.get(tuple(int(each) for each in colour))
        if found is not None:
            row[:3] = np.array(found) / 255
            any_found = True
    return made if any_found else None
