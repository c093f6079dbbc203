from pathlib import Path

from flows.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_reference_says_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_stage_and_method_has_its_section() -> None:
    page = reference()
    for name in ("dataset.trusted", "represent.simclr", "purify.knn", "retrain.cross_entropy", "report", "publish"):
        assert f"## `{name}`" in page


def test_no_type_stays_unnamed() -> None:
    assert "any" not in [word for line in reference().splitlines() for word in line.split(" | ")[2:3]]
