"""The stages that a recipe can name: their configuration, the kind they make, their method versions."""

from dataclasses import dataclass

from pipeline.config import StageConfig
from stages.embed import config as embed
from stages.ingest import config as ingest
from stages.purify import config as purify
from stages.report import config as report
from stages.represent import config as represent
from stages.retrain import config as retrain
from stages.review import config as review


@dataclass(frozen=True)
class StageProgram:
    """What a flow knows of a stage without importing its code."""

    name: str
    kind: str
    versions: dict[str, int]
    config_type: type[StageConfig]
    shared: bool = False  # whether several processes can be one stage, by torchrun
    alone: tuple[str, ...] = ()  # methods of such a stage that run as one process all the same
    deployed: bool = True  # whether it is a deployment of its own: a review waits for a person

    def version(self, config: StageConfig) -> int:
        """Return the version of the method that the configuration chooses."""
        return self.versions[config.chosen_method()]

    def processes(self, method: str, wanted: int) -> int:
        """Return how many of the wanted processes can share the stage."""
        return wanted if self.shared and method not in self.alone else 1


STAGES: dict[str, StageProgram] = {
    program.name: program
    for program in (
        StageProgram(ingest.STAGE, ingest.KIND, ingest.VERSIONS, ingest.DatasetConfig),
        StageProgram(represent.STAGE, represent.KIND, represent.VERSIONS, represent.RepresentConfig, shared=True),
        StageProgram(embed.STAGE, embed.KIND, embed.VERSIONS, embed.EmbedConfig),
        StageProgram(purify.STAGE, purify.KIND, purify.VERSIONS, purify.PurifyConfig),
        StageProgram(
            retrain.STAGE, retrain.KIND, retrain.VERSIONS, retrain.RetrainConfig, shared=True,
            alone=(*retrain.LOOKING_AHEAD, "outside"),
        ),
        StageProgram(report.STAGE, report.KIND, report.VERSIONS, report.ReportConfig),
        StageProgram(review.STAGE, review.KIND, review.VERSIONS, review.ReviewConfig, deployed=False),
    )
}  # fmt: skip
