"""MSLG: learn a soft label for each row from what a step on it does to trusted rows, and the network from these labels.

After a warm-up on the labels as they are, ŷ = softmax(ỹ), ỹ starting at `sharpness` times the label, and in every step:
θ̂(ỹ) = θ − α/K ∇KL(f_θ ‖ ŷ); ỹ ← ỹ − n β ∂CE(f_θ̂, trusted)/∂ỹ, exactly, kept by row; then the optimiser's step on
KL(f ‖ ŷ) + γ H(f): for γ = 1 the reverse cross-entropy −Σ f log ŷ. KL is averaged over rows and summed over classes, so
the paper's α, for an average over both, is divided by K.
Algan and Ulusoy, "Meta Soft Label Generation for Noisy Labels", 2020.
"""

import torch
from torch import Tensor
from torch.nn import functional

from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, weighted_mean
from stages.retrain.options import MslgOptions
from stages.training.meta.look_ahead import LookAhead, as_function
from stages.training.meta.soft_labels import divergence, improve


class Mslg(Learner):
    """A network, and how far the soft label of each row has moved from its label."""

    moved: Tensor

    def __init__(self, setting: Setting, options: MslgOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options
        self.trusted_rows = options.trusted_rows
        self.register_buffer("moved", torch.zeros(setting.rows, setting.classes))

    def forward(self, batch: Batch) -> Tensor:
        """Improve the labels of the batch, and learn them."""
        if batch.done < self.options.warmup:
            return weighted_mean(cross_entropies(self.scores(batch.views[0]), batch.targets), batch.weights)
        with torch.autocast(batch.targets.device.type, enabled=False):
            labels = self.improve_labels(batch)
        log_f = torch.log_softmax(self.scores(batch.views[0]), dim=1)
        wanted = (1.0 - self.options.entropy) * log_f - torch.log_softmax(labels, dim=1)
        return weighted_mean((log_f.exp() * wanted).sum(dim=1), batch.weights)

    def improve_labels(self, batch: Batch) -> Tensor:
        """Take one meta step for the rows of a batch; return their logits [n, K]."""
        model, params = as_function(self.networks[0])
        inputs, labels = batch.trusted
        ahead = LookAhead(
            score=lambda values: model(values, batch.views[0]),
            learn=divergence,
            judge=lambda values: functional.cross_entropy(model(values, inputs), labels),
            rate=self.options.inner_rate / batch.targets.shape[1],
        )
        first = self.options.sharpness * batch.targets
        better = improve(ahead, params, first + self.moved[batch.rows], self.options.label_rate)
        self.moved[batch.rows] = better - first
        return better
