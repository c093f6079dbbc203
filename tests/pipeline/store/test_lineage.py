from pathlib import Path

import pytest

from pipeline.artifacts import Ref
from pipeline.errors import MissingArtifactError
from pipeline.store import open_store
from pipeline.store.lineage import downstream, lineage


@pytest.fixture
def chain(tmp_path: Path, put):
    """images → features → labels ← annotations, and a model of the labels."""
    store = open_store(str(tmp_path))
    images, notes = put(store, "images", "i"), put(store, "annotations", "a")
    features = put(store, "features", "f", inputs={"images": images.ref})
    labels = put(store, "labels", "l", inputs={"features": features.ref, "annotations": notes.ref})
    put(store, "models", "m", inputs={"labels": labels.ref, "features": features.ref})
    put(store, "images", "unrelated")
    return store


def test_lineage_is_a_tree_down_to_the_sources(chain) -> None:
    top = lineage(chain, Ref(kind="models", key="m"))
    assert set(top.inputs) == {"labels", "features"}
    assert set(top.inputs["labels"].inputs) == {"features", "annotations"}
    assert top.inputs["labels"].inputs["features"] is top.inputs["features"]
    source = top.inputs["features"].inputs["images"]
    assert source.inputs == {}
    assert source.manifest is not None
    assert str(source.ref) == "images/i"


def test_downstream_is_all_that_was_made_of_it(chain) -> None:
    def names(kind: str, key: str) -> set[str]:
        return {str(ref) for ref in downstream(chain, Ref(kind=kind, key=key))}

    assert names("images", "i") == {"features/f", "labels/l", "models/m"}
    assert names("annotations", "a") == {"labels/l", "models/m"}
    assert names("models", "m") == names("images", "unrelated") == set()


def test_an_input_that_is_gone_is_still_named(chain) -> None:
    chain.remove("images/i")
    gone = lineage(chain, Ref(kind="features", key="f")).inputs["images"]
    assert gone.manifest is None
    assert str(gone.ref) == "images/i"
    assert {str(r) for r in downstream(chain, Ref(kind="images", key="i"))} == {"features/f", "labels/l", "models/m"}


def test_the_lineage_of_nothing_is_a_clear_error(chain) -> None:
    with pytest.raises(MissingArtifactError, match="artifact labels/none is not in store"):
        lineage(chain, Ref(kind="labels", key="none"))
