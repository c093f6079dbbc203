"""The state of a training between two steps: tensors in safetensors, numbers in JSON, so that a killed run goes on."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ContractError
from stages.networks.weights import load_tensors, save_tensors

TENSORS_FILE = "state.safetensors"
NUMBERS_FILE = "state.json"


@dataclass
class TrainingState:
    """What changes while a network is trained; the order of rows and all random choices follow from the step."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    batch: int = 0  # rows of a step; 0: not known yet
    loss_sum: float = 0.0  # over the steps of the epoch so far
    curve: list[dict[str, float]] = field(default_factory=list)  # one record for each finished epoch

    def not_finite(self) -> str:
        """Name a tensor that holds NaN or infinity ('' where all are numbers)."""
        for name, tensor in self._tensors().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                return name
        return ""

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for number, entries in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{n}": t for n, t in entries.items() if isinstance(t, Tensor)}
        return tensors

    def save(self, folder: Path) -> None:
        """Write the state into an empty folder."""
        save_tensors(self._tensors(), folder / TENSORS_FILE)
        numbers = {"step": self.step, "batch": self.batch, "loss_sum": self.loss_sum, "curve": self.curve}
        (folder / NUMBERS_FILE).write_text(json.dumps(numbers), encoding="utf-8")

    def load(self, tensors_file: Path, numbers_file: Path) -> None:
        """Go on from what `save` wrote."""
        network: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in load_tensors(tensors_file).items():
            part, rest = name.split(".", 1)
            if part == "network":
                network[rest] = tensor
            else:
                number, entry = rest.split(".", 1)
                moments.setdefault(int(number), {})[entry] = tensor
        try:
            self.network.load_state_dict(network)
        except RuntimeError as error:
            raise ContractError(f"a checkpoint does not fit its network: {error}", "Remove the checkpoint.") from error
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        numbers = json.loads(numbers_file.read_text(encoding="utf-8"))
        self.step, self.loss_sum, self.curve = numbers["step"], numbers["loss_sum"], numbers["curve"]
        self.batch = numbers.get("batch", 0)
