"""Charts as SVG inside a page: with title and description, in colours all can tell apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette: told apart by people with any kind of colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH_IN = 7.5
ROW_IN = 0.3

_REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True)
class Point:
    """A value of one series.  low, high: ends of its interval.  label: as text beside it."""

    value: float
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Series:
    """Points of one name, one for each row; None where there is nothing."""

    name: str
    points: Sequence[Point | None]


def dots(
    key: str, title: str, description: str, axis: str, rows: Sequence[str], series: Sequence[Series]
) -> str:
    """Values with their intervals, a row for each name, every series with a sign of its own.

    key: makes the ids of this chart unique in a page.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "font.size": 9}):
        height = 1.1 + ROW_IN * len(rows) * max(1.0, 0.6 * len(series))
        figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
        axes = figure.add_subplot()
        for number, one in enumerate(series):
            _draw(axes, one, number, len(series))
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(axis)
        axes.margins(x=0.12)
        axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_axisbelow(True)
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=min(4, len(series)), frameon=False)
        return _inline(figure, key, title, description)


def _draw(axes: Any, series: Series, number: int, of: int) -> None:
    step = 0.8 / of
    colour = COLOURS[number % len(COLOURS)]
    there = [(row, point) for row, point in enumerate(series.points) if point is not None]
    heights = [row + (number - (of - 1) / 2) * step for row, _ in there]
    values = [point.value for _, point in there]
    ends = [
        [max(0.0, point.value - point.low) for _, point in there],
        [max(0.0, point.high - point.value) for _, point in there],
    ]
    marker = MARKERS[number % len(MARKERS)]
    style = {"fmt": marker, "color": colour, "capsize": 2, "markersize": 5, "linewidth": 1}
    axes.errorbar(values, heights, xerr=ends, label=series.name, **style)
    for height, (_, point) in zip(heights, there, strict=True):
        axes.annotate(
            point.label,
            (max(point.high, point.value), height),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color="#333333",
        )


def _inline(figure: Any, key: str, title: str, description: str) -> str:
    written = StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(written.getvalue())  # noqa: S314  (matplotlib's own output)
    _strip(root)
    _rename(root, key)
    _describe(root, key, title, description)
    return ElementTree.tostring(root, encoding="unicode")


def _strip(root: ElementTree.Element) -> None:
    """Metadata name addresses elsewhere, and a style sheet would hold for the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")


def _rename(root: ElementTree.Element, key: str) -> None:
    """Ids are of a whole page, and matplotlib gives every chart the same."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{key}-{value}")
            elif name == XLINK:
                element.set(name, f"#{key}-{value.removeprefix('#')}")
            else:
                element.set(name, _REFERENCE.sub(rf"url(#{key}-\1)", value))


def _describe(root: ElementTree.Element, key: str, title: str, description: str) -> None:
    named = {"title": title, "desc": description}
    for place, (tag, text) in enumerate(named.items()):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{key}-{tag}"})
        element.text = text
        root.insert(place, element)
    root.set("role", "img")
    root.set("aria-labelledby", f"{key}-title")
    root.set("aria-describedby", f"{key}-desc")
    for name in ("width", "height"):
        root.attrib.pop(name, None)  # the page's width; the view box keeps the shape
