"""MLC: forward loss correction by a noise matrix T that is learned from what a step with it does to trusted rows.

After a warm-up on the labels as they are, in every step: θ̂(T) = θ − α ∇L(f_θ, T), L = −mean log Σ_k f_k T[k, given];
T ← T − β ∂CE(f_θ̂, trusted)/∂T, exactly; then the optimiser's step on L. T is a softmax of logits in each row and
multiplies probabilities; `remember` off: it starts anew in every step.
Wang, Hu and Hu, "Training Noise-Robust Deep Neural Networks via Meta-Learning", 2020.
"""

import torch
from torch import Tensor
from torch.nn import functional

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, weighted_mean
from stages.retrain.options import MlcOptions
from stages.training.meta.look_ahead import LookAhead, as_function
from stages.training.meta.noise_matrix import SMALLEST, corrected_loss, first_logits, improve


class Mlc(Learner):
    """A network and a noise matrix."""

    matrix: Tensor

    def __init__(self, setting: Setting, options: MlcOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options
        self.trusted_rows = options.trusted_rows
        kept = max(1.0 - setting.noise_rate, 1.5 / setting.classes) if setting.classes > 1 else 0.0
        first = first_logits(setting.classes, min(kept, 0.99)) if kept else torch.zeros(1, 1)
        self.register_buffer("matrix", first)  # logits
        self.register_buffer("first", first.clone(), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Improve the matrix, and learn through it."""
        if batch.done < self.options.warmup:
            return weighted_mean(cross_entropies(self.scores(batch.views[0]), batch.targets), batch.weights)
        given = torch.where(batch.weights > 0, batch.targets.argmax(dim=1), -1)
        with torch.autocast(batch.targets.device.type, enabled=False):
            self.improve_matrix(batch, given)
        likely = torch.softmax(self.scores(batch.views[0]), dim=1) @ torch.softmax(self.matrix, dim=1)
        told = likely.gather(1, given.clamp(min=0)[:, None]).flatten()
        return weighted_mean(-told.clamp(min=SMALLEST).log(), batch.weights)

    def improve_matrix(self, batch: Batch, given: Tensor) -> None:
        """Take one meta step."""
        model, params = as_function(self.networks[0])
        inputs, labels = batch.trusted
        ahead = LookAhead(
            score=lambda values: model(values, batch.views[0]),
            learn=lambda scores, matrix: corrected_loss(scores, matrix, given),
            judge=lambda values: functional.cross_entropy(model(values, inputs), labels),
            rate=self.options.inner_rate,
        )
        start = self.matrix if self.options.remember else self.get_buffer("first")
        self.matrix.copy_(improve(ahead, params, start, self.options.matrix_rate))
