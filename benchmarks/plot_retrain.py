"""Draw benchmarks/results/retrain-*.json side by side: `python benchmarks/plot_retrain.py --to docs/retraining.png`."""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from flows.compare import Line
from flows.comparison import draw_on

NAMES = {
    "digits": "digits, pictures", "features": "CIFAR-10N, features", "words": "Twitter words, features",
    "images": "CIFAR-10N, 4,000 pictures",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("docs/retraining.png"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    held = {name: options.results / f"retrain-{name}.json" for name in NAMES}
    found = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in held.items() if path.exists()}
    lines = {name: [Line(**line) for line in record["lines"]] for name, record in found.items()}
    most = max(len(some) for some in lines.values()) // 2
    picture = Figure(figsize=(5.2 * len(lines), 1.4 + 0.4 * most), layout="constrained")
    for number, (name, some) in enumerate(lines.items(), start=1):
        draw_on(picture.add_subplot(1, len(lines), number), some, f"{NAMES[name]}: test accuracy")
    picture.savefig(options.to, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
