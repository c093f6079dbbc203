"""What stands on the pages of the UI."""

import pytest

pytestmark = pytest.mark.slow  # Prefect's import takes seconds


def test_bars_say_how_far_something_is() -> None:
    from flows.service.showing import bar

    assert bar(0.5) == f"`{'█' * 12}{'░' * 12}` 50 %"
    assert bar(7).endswith("100 %")


def test_a_page_of_progress_has_the_bar_the_remaining_time_and_the_figures() -> None:
    from flows.service.watching import progress_page
    from pipeline.progress import ProgressLine

    line = ProgressLine(
        time=0, phase="train", step=50, total=200, unit="steps", rate=2, metrics={"loss": 0.25, "of": "a|b"}
    )
    page = progress_page("represent", line, 30)
    assert "25 %" in page
    assert "1 min 15 s left" in page
    assert "| loss | 0.25 |" in page
    assert "a\\|b" in page


def test_curves_are_drawn_of_what_has_enough_points() -> None:
    from flows.service.curves import Curves
    from pipeline.progress import ProgressLine

    curves = Curves()
    for step in range(5):
        curves.add(
            ProgressLine(time=0, phase="train", step=step, total=5, metrics={"loss": 1.0 / (step + 1), "epoch": 1})
        )
    curves.add(ProgressLine(time=0, phase="test", step=1, total=1, metrics={"accuracy": 1.0}))
    drawn = dict(curves.pictures())
    assert list(drawn) == ["train loss"]
    assert drawn["train loss"].startswith(b"\x89PNG")


def test_names_of_what_is_shown_are_those_that_prefect_takes() -> None:
    from flows.service.naming import artifact_name, dataset_in

    assert artifact_name("Shop_Photos.v2", "train loss") == "shop-photos-v2-train-loss"
    assert dataset_in({"dataset": {"name": "photos"}}) == "photos"
    assert dataset_in({"dataset": "nonsense"}) == dataset_in({}) == ""
