"""What a person sees of a flow while it works: one page that is kept up to date, and a log that can be read."""

import time
from collections.abc import Callable
from uuid import UUID

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.tasks import task

from flows.headlines import headline
from flows.quantities import duration
from flows.recipe import StageOutcome
from flows.service.curves import Curves
from flows.service.naming import artifact_name
from flows.service.showing import Shown, bar, run_link, show_picture, table
from flows.terminal import describe_outcome, describe_progress
from pipeline.progress import ProgressLine

SHOW_SECONDS = 5.0
LOG_SECONDS = 30.0

Clock = Callable[[], float]


class StageView:
    """Watch one stage: its bar, what it measures, and at the end the curves of it."""

    def __init__(self, stage: str, dataset: str, clock: Clock = time.monotonic) -> None:
        self._dataset, self._stage, self._clock = dataset, stage, clock
        self._page = Shown(artifact_name(dataset, stage, "progress"), f"How far {stage} of {dataset} is")
        self._curves = Curves()
        self._began = clock()
        self._shown_at = self._logged_at = float("-inf")

    def started(self, stage: str, total_stages: int) -> None:
        """Say that the stage begins."""
        get_run_logger().info("%s of %s begins", stage, self._dataset)

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Move the bar every few seconds, write a line into the log twice a minute."""
        self._curves.add(line)
        now = self._clock()
        if now - self._shown_at >= SHOW_SECONDS:
            self._shown_at = now
            self._page.show(progress_page(stage, line, now - self._began))
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            get_run_logger().info("%s: %s", stage, describe_progress(line))

    def finished(self, outcome: StageOutcome) -> None:
        """Say what came out, and show its curves."""
        said = describe_outcome(outcome)
        get_run_logger().info("%s: %s (%s)", outcome.stage, said, outcome.artifact.ref)
        self._page.show(f"## {outcome.stage}\n\n{bar(1)}\n\n{said}\n\n`{outcome.artifact.ref}`\n")
        for name, png in self._curves.pictures():
            key = artifact_name(self._dataset, outcome.stage, name)
            show_picture(key, png, f"{name} of {outcome.stage}, {self._dataset}")


def progress_page(stage: str, line: ProgressLine, seconds: float) -> str:
    """Write how far a stage is."""
    drawn = bar(line.step / line.total) if line.total else ""
    measured = [(name, value if isinstance(value, str) else f"{value:.4g}") for name, value in line.metrics.items()]
    figures = table(["measured", "now"], measured) if measured else ""
    parts = [f"## {stage}", drawn, describe_progress(line), f"{duration(seconds)} so far", figures]
    return "\n\n".join(part for part in parts if part) + "\n"


class RecipeView:
    """Watch the recipe: one row a stage, with a link to its run."""

    def __init__(self, dataset: str, stages: list[str]) -> None:
        self._page = Shown(artifact_name(dataset, "overview"), f"The stages of {dataset}")
        self._rows: dict[str, tuple[str, str, str]] = dict.fromkeys(stages, ("waits", "", ""))

    def started(self, stage: str, total_stages: int) -> None:
        """Say that a stage is looked up."""
        self._set(stage, "looks", "")

    def child(self, stage: str, run: UUID) -> None:
        """Say which run works on a stage."""
        get_run_logger().info("%s: waiting for its run", stage)
        self._set(stage, f"**{run_link('runs', run)}**", "")

    def progress(self, stage: str, line: ProgressLine) -> None:
        """Leave this to the run of the stage."""

    def finished(self, outcome: StageOutcome) -> None:
        """Say what a stage brought; one that was there already is a task run with the state Cached."""
        get_run_logger().info("%s: %s (%s)", outcome.stage, describe_outcome(outcome), outcome.artifact.ref)
        state = "cached" if outcome.cached else f"done in {duration(outcome.seconds)}"
        self._set(outcome.stage, state, headline(outcome.artifact), str(outcome.artifact.ref))
        if outcome.cached:
            cached(outcome)

    def _set(self, stage: str, state: str, figures: str, made: str = "") -> None:
        self._rows[stage] = (state, figures, f"`{made}`" if made else "")
        rows = [[f"**{name}**", *cells] for name, cells in self._rows.items()]
        self._page.show(table(["stage", "state", "what came out", "artifact"], rows))


def cached(outcome: StageOutcome) -> None:
    """Leave a task run that wears the badge Cached and names the artifact."""

    @task(name=outcome.stage, task_run_name=outcome.stage, persist_result=False)
    def look_up() -> State[None]:
        return Completed(name="Cached", message=str(outcome.artifact.ref))

    look_up()
