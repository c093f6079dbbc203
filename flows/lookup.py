"""Store look-ups before any work: is the artifact there, which earlier encoder serves, what may be copied from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.catalogue import STAGES
from pipeline.artifacts import Artifact, Ref
from pipeline.config import StageConfig
from pipeline.datasets.growth import covered
from pipeline.datasets.sources import fingerprint
from pipeline.errors import MissingArtifactError
from pipeline.keys import artifact_key
from pipeline.requests import StageRequest
from pipeline.store import Store
from pipeline.weights import checked_weights
from stages.ingest.config import DatasetConfig
from stages.represent.config import RepresentConfig
from stages.retrain.config import RetrainConfig


def sealed(config: StageConfig) -> StageConfig:
    """Write into a configuration what the files that it names hold, so that it says what will be computed."""
    if isinstance(config, RepresentConfig) and config.method == "weights":
        section = "represent"
    elif isinstance(config, RetrainConfig) and config.start_from == "weights":
        section = "retrain"
    else:
        return config
    _, checksum = checked_weights(config.weights.path, config.weights.sha256, section)
    return config.model_copy(update={"weights": config.weights.model_copy(update={"sha256": checksum})})


@dataclass(frozen=True)
class Lookup:
    """Answer for each stage: the artifact that is there, or the key under which it would be made."""

    store: Store
    earlier: Mapping[str, Ref] = field(default_factory=dict)  # stage → artifact of the dataset's last completed run

    def key_of(self, stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> str:
        """Compute the key of a stage's artifact."""
        program, config = STAGES[stage], sealed(config)
        keys = {name: ref.key for name, ref in inputs.items()}
        if isinstance(config, DatasetConfig):
            keys["source"] = fingerprint(config, self.store)
        return artifact_key(stage, program.version(config), config.identity(), keys)

    def inputs_of(self, config: StageConfig, inputs: Mapping[str, Ref]) -> dict[str, Ref]:
        """Complete the inputs of a stage: an encoder may be trained on from an earlier one."""
        start = self.earlier.get("represent")
        if not isinstance(config, RepresentConfig) or config.start == "" or (config.start == "latest" and not start):
            return dict(inputs)
        return {**inputs, "start": self.named_encoder(config.start).ref}

    def request(
        self, stage: str, key: str, config: StageConfig, inputs: Mapping[str, Ref], data: Ref | None = None
    ) -> StageRequest:
        """Write down what a stage program is told, but for the place to work and what it may spend."""
        return StageRequest(
            stage=stage, kind=STAGES[stage].kind, key=key, config=sealed(config).model_dump(mode="json"),
            inputs=dict(inputs), hints=self.hints(stage, config, data), store=self.store.url, work="",
        )  # fmt: skip

    def find(self, stage: str, config: StageConfig, inputs: Mapping[str, Ref]) -> tuple[str, Artifact | None]:
        """Look up what a stage would make; an encoder may also be an earlier one that still serves."""
        if isinstance(config, RepresentConfig) and config.encoder not in ("", "new"):
            named = self.named_encoder(config.encoder)
            return named.key, named
        key = self.key_of(stage, config, inputs)
        found = self.store.find(STAGES[stage].kind, key)
        if found is None and isinstance(config, RepresentConfig) and config.encoder == "":
            return key, self.serving_encoder(config, inputs["images"])
        return key, found

    def named_encoder(self, name: str) -> Artifact:
        """Bring the encoder that the configuration names, or the last one of this dataset."""
        if name != "latest":
            return self.store.get(Ref(kind=STAGES["represent"].kind, key=name))
        if "represent" not in self.earlier:
            raise MissingArtifactError(
                "represent.encoder is 'latest', but no completed run of this dataset has an encoder in this store.",
                "Leave represent.encoder empty to train one.",
            )
        return self.store.get(self.earlier["represent"])

    def serving_encoder(self, config: RepresentConfig, images: Ref) -> Artifact | None:
        """Find the last run's encoder where its configuration is equal and it knows enough of today's images."""
        ref = self.earlier.get("represent")
        encoder = self.store.find(ref.kind, ref.key) if ref else None
        if encoder is None or self.key_of("represent", config, encoder.manifest.inputs) != encoder.key:
            return None
        began = encoder.manifest.inputs.get("start")
        if config.start != "latest" and (began.key if began else "") != config.start:
            return None
        if config.method == "weights":  # it knows these images as well as any
            return encoder
        known = pq.read_table(encoder.path("rows.parquet"), columns=["sha256"])["sha256"]
        today = pq.read_table(self.store.get(images).path("rows.parquet"), columns=["sha256", "status"])
        share = covered(known, today.filter(pc.equal(today["status"], "ok"))["sha256"])
        return encoder if share >= 1 - config.refresh_when_grown else None

    def hints(self, stage: str, config: StageConfig, data: Ref | None = None) -> dict[str, Ref]:
        """Name the earlier artifact that a stage may copy from, and labels for what is only shown."""
        if isinstance(config, RepresentConfig) and config.probe and data is not None:
            return {"annotations": self.store.get(data).manifest.inputs["annotations"]}
        ref = self.earlier.get(stage)
        return {"previous": ref} if ref and stage in ("ingest", "embed") else {}
