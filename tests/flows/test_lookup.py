"""Look-ups: which earlier encoder serves or is trained on from, and what a stage is told beside its inputs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.lookup import Lookup
from pipeline.artifacts import Artifact, Manifest, Ref, list_files
from pipeline.errors import MissingArtifactError
from pipeline.store import FileStore
from stages.represent.config import RepresentConfig

CONFIG = RepresentConfig()
IMAGES = Ref(kind="images", key="1" * 32)
START = Ref(kind="encoders", key="5" * 32)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def publish(store: FileStore, ref: Ref, table: pa.Table, inputs: dict[str, Ref]) -> Artifact:
    with store.staging(ref.kind, ref.key) as folder:
        pq.write_table(table, folder / "rows.parquet")
        return store.publish(folder, Manifest(kind=ref.kind, key=ref.key, files=list_files(folder), inputs=inputs))


def encoder(store: FileStore, inputs: dict[str, Ref]) -> Ref:
    """Publish an encoder made of some inputs by CONFIG, and the images, which it saw all of."""
    key = Lookup(store).key_of("represent", CONFIG, inputs)
    if store.find(IMAGES.kind, IMAGES.key) is None:
        publish(store, IMAGES, pa.table({"sha256": ["a", "b"], "status": ["ok", "ok"]}), {})
    return publish(store, Ref(kind="encoders", key=key), pa.table({"sha256": ["a", "b"]}), inputs).ref


def test_what_a_training_starts_from_is_an_input_and_part_of_the_key(store: FileStore) -> None:
    last = encoder(store, {"images": IMAGES})
    lookup, on = Lookup(store, {"represent": last}), CONFIG.model_copy(update={"start": "latest"})
    assert lookup.inputs_of(CONFIG, {"images": IMAGES}) == {"images": IMAGES}
    assert lookup.inputs_of(on, {"images": IMAGES}) == {"images": IMAGES, "start": last}
    named = CONFIG.model_copy(update={"start": last.key})
    assert Lookup(store).inputs_of(named, {"images": IMAGES}) == {"images": IMAGES, "start": last}
    keys = {lookup.key_of("represent", c, lookup.inputs_of(c, {"images": IMAGES})) for c in (CONFIG, on, named)}
    assert len(keys) == 2


def test_without_a_last_run_latest_begins_anew_and_a_key_must_exist(store: FileStore) -> None:
    on, named = (CONFIG.model_copy(update={"start": start}) for start in ("latest", START.key))
    assert Lookup(store).inputs_of(on, {"images": IMAGES}) == {"images": IMAGES}
    with pytest.raises(MissingArtifactError, match=START.key):
        Lookup(store).inputs_of(named, {"images": IMAGES})


@pytest.mark.parametrize(
    ("began", "start", "serves"),
    [
        (False, "", True), (False, "latest", True), (True, "latest", True), (True, START.key, True),
        (True, "", False), (False, START.key, False), (True, "7" * 32, False),
    ],
)  # fmt: skip
def test_an_earlier_encoder_serves_where_it_began_as_asked(
    store: FileStore, began: bool, start: str, serves: bool
) -> None:
    last = encoder(store, {"images": IMAGES, "start": START} if began else {"images": IMAGES})
    config = CONFIG.model_copy(update={"start": start})
    found = Lookup(store, {"represent": last}).serving_encoder(config, IMAGES)
    assert (found is not None) == serves


def test_labels_are_a_hint_for_a_probe_only(store: FileStore) -> None:
    labels = Ref(kind="annotations", key="2" * 32)
    data = publish(store, Ref(kind="datasets", key="3" * 32), pa.table({}), {"annotations": labels}).ref
    probing, lookup = CONFIG.model_copy(update={"probe": True}), Lookup(store, {"embed": START, "represent": START})
    assert lookup.hints("represent", probing, data) == {"annotations": labels}
    assert lookup.hints("represent", CONFIG, data) == {}
    assert lookup.hints("embed", CONFIG, data) == {"previous": START}
