"""Which colour and dash each line of a figure gets: by its name, the same in every panel and back end."""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Figure, Line

# Told apart with the common kinds of colour blindness, and readable on white as on near-black:
# the six hues of Okabe and Ito (jfly.uni-koeln.de/color, 2008) without their yellow and black, a violet and a grey.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8b6bb1", "#7f7f7f")
GLYPHS = "•×+o*#@%"  # one a colour, for back ends without colour
DASHES = ("solid", "dashed", "dotted")
FEW_POINTS = 6  # a line of so few shows them
SHADE = "#7f7f7f"  # spans and marks


@dataclass(frozen=True)
class Ink:
    """How one line is drawn.

    Args:
        color: "#rrggbb".
        glyph: one character, for text.
        dash: "solid", "dashed" or "dotted".
    """

    color: str
    glyph: str
    dash: str


def index_of_names(figure: Figure) -> dict[str, int]:
    """Palette index of every line name: the line's own `color`, else the next index that none has taken.

    The first line of a name decides for all of its name. Indices grow past the palette's length; see `ink`.
    """
    lines = [line for panel in figure.panels for line in panel.lines]
    indices: dict[str, int] = {}
    for line in lines:
        if line.color is not None:
            indices.setdefault(line.name, line.color)
    taken = set(indices.values())
    free = (index for index in range(len(lines) + len(taken) + 1) if index not in taken)
    for line in lines:
        if line.name not in indices:
            indices[line.name] = next(free)
    return indices


def ink(line: Line, indices: dict[str, int]) -> Ink:
    """The ink of one line; past the last colour the colours start again with the next dash.

    A line's own dashed or dotted style is kept.
    """
    index = line.color if line.color is not None else indices[line.name]
    dash: str = line.style if line.style in DASHES else "solid"
    if dash == "solid":
        dash = DASHES[index // len(COLORS) % len(DASHES)]
    return Ink(COLORS[index % len(COLORS)], GLYPHS[index % len(GLYPHS)], dash)


def rgba(color: str, alpha: float) -> str:
    """`#rrggbb` with an opacity, as CSS writes it."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"
