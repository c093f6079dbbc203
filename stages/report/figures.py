"""The plots: inline SVG that follows the page's colours, and small PNGs for the Prefect UI."""

import io
import re
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages.report.core import Reliability
from stages.report.words import one_line, percent

INK = "#123456"  # stands for the page's own ink, see `svg`
RIGHT, WRONG = "#2c6e7f", "#b8481f"
FULL_CONFUSION = 0.25  # a confusion this frequent, or more frequent, has the full colour
MOST_IN_HEAT_MAP = 30

Draw = Callable[[], Figure]
Errors = npt.NDArray[np.float64]


def svg(draw: Draw, label: str) -> str:
    """Draw an SVG to stand inside a page: text stays text, the ink is the page's, no metadata, no ids."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": label}), _missing_glyphs_allowed():
        draw().savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight", transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' id="(figure|axes|patch|text|matplotlib|xtick|ytick|line2d)[\w.]*"', "", text)
    return text.replace(INK, "currentColor").replace("<svg ", '<svg role="img" ', 1)


def png(draw: Draw) -> bytes:
    """Draw a PNG on white."""
    buffer = io.BytesIO()
    with _missing_glyphs_allowed():
        draw().savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def heat_map(transition: npt.NDArray[np.float64], names: Sequence[str], errors: Errors | None = None) -> Figure:
    """Draw P(given | true), what should be in one colour, confusions in another; `errors` are written behind ±."""
    count = len(names)
    size = 1.6 + min(0.42 * count, 7)
    figure = Figure(figsize=(size + 0.8, size))
    axes = figure.add_subplot()
    axes.set(xlim=(0, count), ylim=(count, 0), aspect="equal")
    worst = max(float((transition - np.diag(np.diag(transition))).max(initial=0)), FULL_CONFUSION)
    for true, given in np.argwhere(transition >= 0.004):
        error = float(errors[true, given]) if errors is not None else None
        _cell(axes, (int(true), int(given)), (float(transition[true, given]), error), worst, count <= 12)
    _names(axes, names)
    axes.set_xlabel("given label", color=INK)
    axes.set_ylabel("true class (estimated)", color=INK)
    axes.xaxis.set_label_position("top")
    return figure


def _cell(axes: Axes, place: tuple[int, int], said: tuple[float, float | None], worst: float, written: bool) -> None:
    true, given = place
    value, error = said
    same = true == given
    strength = value if same else min(value / worst, 1)
    colour = RIGHT if same else WRONG
    axes.add_patch(Rectangle((given, true), 1, 1, facecolor=colour, alpha=0.06 + 0.94 * strength, linewidth=0))
    if written:
        ink = "white" if strength > 0.55 else INK
        middle = 0.5 if error is None else 0.38
        axes.text(given + 0.5, true + middle, f"{100 * value:.0f}", ha="center", va="center", fontsize=8.5, color=ink)
        if error is not None:
            axes.text(given + 0.5, true + 0.76, f"±{100 * error:.0f}", ha="center", va="center", fontsize=6, color=ink)


def _names(axes: Axes, names: Sequence[str]) -> None:
    ticks = np.arange(len(names)) + 0.5
    small = 9 if len(names) <= 15 else 7
    texts = [one_line(name, 16) for name in names]
    axes.xaxis.tick_top()
    labels = axes.set_xticks(ticks, texts, fontsize=small, parse_math=False)
    if max(map(len, texts)) > 2:
        for tick in labels:
            tick.label2.set(rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(ticks, texts, fontsize=small, parse_math=False)
    _plain(axes)


def bars(shares: Sequence[float], names: Sequence[str], title: str, colour: str = WRONG) -> Figure:
    """Draw one bar a name, in order."""
    figure = Figure(figsize=(6.4, 0.8 + 0.24 * len(names)))
    axes = figure.add_subplot()
    places = np.arange(len(names))
    axes.barh(places, shares, color=colour, height=0.7, alpha=0.85)
    for place, share in enumerate(shares):
        axes.text(share, place, f" {percent(share, 0)}", va="center", fontsize=8, color=INK)
    axes.set_yticks(places, [one_line(name, 24) for name in names], fontsize=8.5, parse_math=False)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_title(title, fontsize=9.5, color=INK, loc="left")
    _plain(axes)
    return figure


def calibration(points: Sequence[Reliability]) -> Figure:
    """Draw the share that was right against the confidence that was promised."""
    figure = Figure(figsize=(3.6, 3.6))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.35, linewidth=1, linestyle=(0, (4, 4)))
    axes.plot([p.promised for p in points], [p.found for p in points], color=RIGHT, linewidth=1.6)
    largest = max((p.count for p in points), default=1)
    sizes = [16 + 70 * p.count / largest for p in points]
    axes.scatter([p.promised for p in points], [p.found for p in points], s=sizes, color=RIGHT, zorder=3)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    axes.set_xticks(ticks, [f"{t:.0%}" for t in ticks], fontsize=8)
    axes.set_yticks(ticks, [f"{t:.0%}" for t in ticks], fontsize=8)
    axes.set_xlabel("promised", color=INK, fontsize=9)
    axes.set_ylabel("found right", color=INK, fontsize=9)
    _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    """Leave out what is not data."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=INK, labelcolor=INK)


class _missing_glyphs_allowed(warnings.catch_warnings):  # noqa: N801 (used like a function)
    """Let names hold letters that matplotlib's own font lacks: in an SVG the reader's fonts show them."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message=".*Glyph.*")
        warnings.filterwarnings("ignore", message=".*Matplotlib currently does not support.*")
