"""Colours and the SVG file: one drawing that is readable on white, on black and on paper.

Matplotlib writes fixed colours.  The figure is drawn with stand-in colours, one for each
*role* (a curve, the grid, text), and :func:`to_inline_svg` replaces every stand-in by a CSS
variable of the page, which has a value for light and one for dark.  The values are the
colour-blind-safe palette of Okabe and Ito, lightened where it would sink into black; no
meaning rests on colour alone, each line carries its name.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Role:
    """A thing that has a colour: ``name`` of its CSS variable and its two values."""

    name: str
    stand_in: str
    light: str
    dark: str


INK = Role("ink", "#0a0b01", "#1c2430", "#e8ecf1")
MUTED = Role("muted", "#0a0b02", "#5a6675", "#9aa7b6")
GRID = Role("grid", "#0a0b03", "#e1e6ec", "#2b3441")
SPOOL = Role("spool", "#0a0b04", "#0072b2", "#4fb0e8")
JOURNAL = Role("journal", "#0a0b05", "#009e73", "#2fc79c")
LAG = Role("lag", "#0a0b06", "#a8527f", "#e59cc4")
WIRE = Role("wire", "#0a0b07", "#0072b2", "#4fb0e8")
BOUND = Role("bound", "#0a0b08", "#c04a00", "#ff9b57")
"""Limits, objectives and capacities: what a curve must not cross."""
FAULT = Role("fault", "#0a0b09", "#b54708", "#f0b04a")
PANEL = Role("panel", "#0a0b0a", "#ffffff", "#151b23")

STATES = (
    Role("state-1", "#0a0b11", "#86c5ae", "#1f7a5e"),
    Role("state-2", "#0a0b12", "#f0b27a", "#a85a12"),
    Role("state-3", "#0a0b13", "#8fbfe0", "#24628f"),
    Role("state-4", "#0a0b14", "#e3b5cf", "#8a4a6d"),
    Role("state-5", "#0a0b15", "#f0e08a", "#7f7420"),
    Role("state-6", "#0a0b16", "#b9c2cc", "#566270"),
    Role("state-7", "#0a0b17", "#d9998c", "#8f3f30"),
    Role("state-8", "#0a0b18", "#b3a6d9", "#54459a"),
)
"""Fills behind text of the role INK; a ninth state starts again."""

ROLES = (INK, MUTED, GRID, SPOOL, JOURNAL, LAG, WIRE, BOUND, FAULT, PANEL, *STATES)

_BY_STAND_IN = {role.stand_in: role for role in ROLES}
_STAND_IN = re.compile(r"#0a0b[01][0-9a-f]\b")


@contextmanager
def drawing() -> Iterator[None]:
    """The settings under which a figure is drawn and saved; those outside stay as they are."""
    settings = matplotlib.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: small, sharp, searchable, read aloud
            "svg.hashsalt": "simulator-report",  # equal runs give equal bytes
            "font.family": "sans-serif",
            "font.size": 9.0,
            "text.parse_math": False,  # a '$' in a scenario's name is a dollar sign
        }
    )
    with settings, warnings.catch_warnings():
        # The browser has fonts for characters that matplotlib's own lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def css_variables(dark: bool) -> str:
    """The declarations of all roles, for a style sheet."""
    return " ".join(f"--{role.name}: {role.dark if dark else role.light};" for role in ROLES)


def to_inline_svg(figure: Figure, label: str) -> str:
    """The figure as an ``<svg>`` element that scales with the page and follows its colours.

    ``label`` is a fixed text of ours, read aloud in place of the picture.
    """
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    body = _STAND_IN.sub(_as_variable, rest)
    # One font stack for the whole page, so that labels look like the text around them.
    body = re.sub(r"font: ([^;\"]*?px)[^;\"]*(?=[;\"])", r"font: \1 var(--font)", body)
    return f'{head} role="img" aria-label="{label}">{body}'


def to_svg_file(figure: Figure, label: str) -> str:
    """The figure as an SVG document of its own, in light colours on white."""
    svg = to_inline_svg(figure, label)
    for role in ROLES:
        svg = svg.replace(f"var(--{role.name})", role.light)
    svg = svg.replace("var(--font)", "sans-serif")
    head, rest = svg.split(">", 1)
    return f'{head}><rect width="100%" height="100%" fill="{PANEL.light}"/>{rest}'


def _as_variable(match: re.Match[str]) -> str:
    role = _BY_STAND_IN.get(match.group(0))
    return match.group(0) if role is None else f"var(--{role.name})"
