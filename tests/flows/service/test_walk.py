"""One stage alone: it finds what earlier stages made, or says which of them to run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from flows.document import load_document
from flows.inline import run_clean
from flows.recipe import StageOutcome
from flows.run import RecordedStages, Wanted, lookup_for
from flows.service.surroundings import Surroundings
from flows.service.walk import asked, named_run, run_one
from flows.terminal import QuietView
from pipeline.artifacts import Artifact
from pipeline.errors import ConfigError, MissingArtifactError
from pipeline.requests import Resources
from pipeline.store import FileStore, open_store
from pipeline.store.runs import begin_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    made = open_store(str(tmp_path_factory.mktemp("walk") / "store"))
    assert isinstance(made, FileStore)
    return made


def stages(store: FileStore, made: list[Wanted]) -> RecordedStages:
    """Make stages whose maker notes what it was asked for, and makes nothing."""

    def make(wanted: Wanted) -> Artifact:
        made.append(wanted)
        raise ConfigError("made nothing", "")

    return RecordedStages(lookup_for(store, "points"), begin_run(store, "points"), make, QuietView(), 1)


def test_a_stage_without_its_inputs_says_which_stage_to_run(features: Path, store: FileStore) -> None:
    empty = open_store(str(store.root.parent / "empty"))
    assert isinstance(empty, FileStore)
    with pytest.raises(MissingArtifactError, match=r"purify needs what ingest makes .*Run ingest on this document"):
        run_one("purify", load_document(features), stages(empty, []), None)


def test_a_stage_that_is_there_is_found_and_its_run_notes_all_it_used(features: Path, store: FileStore) -> None:
    request = load_document(features)
    run_clean(request, store, QuietView(), Resources(workers=1))
    made: list[Wanted] = []
    one = stages(store, made)
    outcome = run_one("purify", request, one, None)
    assert (outcome.stage, outcome.cached, made) == ("purify", True, [])
    assert set(one.record.artifacts) == {"ingest", "embed", "purify"}


def test_another_configuration_is_made_from_the_inputs_that_are_there(features: Path, store: FileStore) -> None:
    request = load_document(features, ["purify.method=keep"])
    made: list[Wanted] = []
    with pytest.raises(ConfigError, match="made nothing"):
        run_one("purify", request, stages(store, made), None)
    assert [wanted.stage for wanted in made] == ["purify"]
    assert set(made[0].inputs) == {"annotations", "features", "neighbours"}


def test_retrain_alone_trains_although_the_document_stops_before_it(features: Path, store: FileStore) -> None:
    made: list[Wanted] = []
    with pytest.raises(ConfigError, match="made nothing"):
        run_one("retrain", load_document(features), stages(store, made), None)
    assert made[0].stage == "retrain"


def test_a_dataset_of_features_has_no_encoder_to_learn(features: Path, store: FileStore) -> None:
    with pytest.raises(ConfigError, match="a dataset of kind features has no stage represent"):
        run_one("represent", load_document(features), stages(store, []), None)


def test_a_stage_takes_the_artifacts_of_the_run_that_is_named(features: Path, store: FileStore) -> None:
    request = load_document(features)
    first = run_clean(request, store, QuietView(), Resources(workers=1))
    record = named_run(store, first.run)
    assert record is not None
    asked_for: list[Mapping[str, str]] = []
    one = stages(store, [])
    target = replace(one.lookup)

    class Refusing(type(target)):  # type: ignore[misc]
        def find(self, stage: str, *rest: object) -> tuple[str, Artifact | None]:
            asked_for.append({"stage": stage})
            return target.find(stage, *rest)  # type: ignore[arg-type]

    one.lookup = Refusing(store, target.earlier)
    outcome: StageOutcome = run_one("purify", request, one, record)
    assert outcome.cached
    assert asked_for == [{"stage": "purify"}]  # the earlier ones were not looked for


def test_a_run_that_is_not_there_is_said(store: FileStore) -> None:
    with pytest.raises(ConfigError, match=r"has no run 'nobody'\. Take its id from the summary"):
        named_run(store, "nobody")


def test_a_form_is_checked_whole_and_every_fault_has_its_line(tmp_path: Path) -> None:
    surroundings = Surroundings("/store", tmp_path, (tmp_path,), Resources())
    form = {"dataset": {"name": "Photos!", "kind": "image_folder"}, "purify": {"gate": "ajar"}}
    with pytest.raises(ConfigError, match=r"(?s)the form does not fit:.*dataset.*purify\.gate = 'ajar'"):
        asked(form, surroundings)
