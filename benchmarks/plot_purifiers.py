"""Draw the table of benchmarks/purifiers.py: a panel for each number of trusted rows, a bar for each method."""

import statistics
from pathlib import Path
from typing import Any


def mean_of(rows: list[dict[str, Any]], name: str) -> float:
    return statistics.mean(row[name] for row in rows)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG of the share of right labels by case, mean over seeds, with the labels as given as a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    sets = list(dict.fromkeys((r["features"], r["per_class"]) for r in rows))
    figure, axes = plt.subplots(len(sets), 1, figsize=(11, 3.2 * len(sets)), squeeze=False, layout="constrained")
    methods = list(dict.fromkeys(r["method"] for r in rows))
    colours = plt.get_cmap("tab20")
    for axis, (features, number) in zip(axes[:, 0], sets, strict=True):
        mine = [r for r in rows if (r["features"], r["per_class"]) == (features, number)]
        cases = list(dict.fromkeys(r["case"] for r in mine))
        for m, method in enumerate(methods):
            for c, case in enumerate(cases):
                cell = [r for r in mine if (r["case"], r["method"]) == (case, method)]
                if cell:
                    place = c + (m + 0.5) / (len(methods) + 1.5)
                    label = method if c == 0 else None
                    axis.bar(
                        place,
                        mean_of(cell, "suggested"),
                        0.8 / (len(methods) + 1.5),
                        color=colours(m % 20),
                        label=label,
                    )
        for c, case in enumerate(cases):
            given = mean_of([r for r in mine if r["case"] == case], "given")
            axis.hlines(given, c, c + 0.95, colors="black", linestyles="dashed", label="as given" if c == 0 else None)
        axis.set_xticks([c + 0.45 for c in range(len(cases))], cases)
        axis.set_ylim(0, 1)
        axis.set_ylabel("labels right")
        axis.set_title(f"{features}, {number} trusted rows per class", fontsize=10)
    axes[0, 0].legend(fontsize=7, ncols=2, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
