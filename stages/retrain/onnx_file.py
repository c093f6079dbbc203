"""A trained network as ONNX: exported by torch, tried by onnxruntime, and refused where the two disagree."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError, StageFailedError
from pipeline.models import ModelDescription

ONNX_FILE = "model.onnx"
DIFFERENCE = 1e-3  # of a probability, between torch and onnxruntime


class WithProbabilities(nn.Module):
    """A network that answers with probabilities too."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and softmax(scores / temperature), [n, K] each."""
        scores = self.network(inputs)
        return scores, torch.softmax(scores / self.temperature, dim=1)


def write_onnx(network: nn.Module, description: ModelDescription, inputs: Tensor, folder: Path) -> dict[str, Any]:
    """Write model.onnx, with any number of rows; return how far its probabilities are from torch's on some inputs."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError as error:
        raise ConfigError(
            f"retrain.onnx needs the package {error.name}.", "Install `puriflow[onnx]`, or set it to false."
        ) from error
    model, path = WithProbabilities(network, description.temperature).eval(), folder / ONNX_FILE
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # torch tells how it goes
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (inputs[:2],), path, input_names=[description.input], output_names=["scores", "probabilities"],
            dynamic_shapes=({0: torch.export.Dim("rows")},), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    with torch.inference_mode():
        expected = model(inputs)[1].numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {description.input: inputs.numpy()})
    difference = float(np.abs(found - expected).max())
    if not difference <= DIFFERENCE:
        raise StageFailedError(
            f"model.onnx says probabilities that are up to {difference:.2g} from torch's.",
            "Set retrain.onnx to false, and please report the backbone.",
        )
    return {"difference": difference, "rows": len(inputs)}
