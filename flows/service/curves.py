"""What a stage measured while it worked, as small curves."""

import io
from collections import defaultdict
from collections.abc import Iterator

from pipeline.progress import ProgressLine

FEWEST, MOST = 3, 2000  # points of a curve: fewer say nothing, more are thinned out
MOST_CURVES = 4
PLAIN = frozenset({"epoch"})  # says no more than the step


class Curves:
    """Collect what progress lines measure, by phase and name."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def add(self, line: ProgressLine) -> None:
        """Remember the numbers of one line."""
        for name, value in line.metrics.items():
            if isinstance(value, int | float) and name not in PLAIN:
                points = self._points[line.phase, name]
                if not points or points[-1][0] != line.step:
                    points.append((line.step, float(value)))
                if len(points) > MOST:
                    del points[1::2]

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """Draw the curves that say something."""
        told = [(key, points) for key, points in self._points.items() if len(points) >= FEWEST]
        for (phase, name), points in told[:MOST_CURVES]:
            yield f"{phase} {name}".strip(), curve(points, phase, name)


def curve(points: list[tuple[float, float]], phase: str, name: str) -> bytes:
    """Draw one curve as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 2.8), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*points, strict=True), linewidth=1.4, color="#1d6fa5")
    axes.set_xlabel(phase or "step")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
