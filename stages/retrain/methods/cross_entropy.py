"""Plain supervised learning: weighted cross-entropy with hard or soft targets, label smoothing, mixup and CutMix.

loss = −Σᵢ wᵢ Σ_k tᵢₖ log softmax(sᵢ)ₖ / Σᵢ wᵢ, with t ← (1 − ε) t + ε / K for smoothing ε (Szegedy et al., 2016).
"""

from torch import Tensor

from pipeline.errors import ConfigError
from stages.retrain.learner import Batch, Learner, Setting
from stages.retrain.losses import cross_entropies, weighted_mean
from stages.retrain.mixing import Mixing, cutmix, draws, mixup
from stages.retrain.options import CrossEntropyOptions


class CrossEntropy(Learner):
    """One network that learns its targets."""

    def __init__(self, setting: Setting, options: CrossEntropyOptions) -> None:
        super().__init__([setting.build(0)])
        self.options = options

    def forward(self, batch: Batch) -> Tensor:
        """Mix where that is wanted, and compare."""
        inputs, targets, weights = batch.views[0], batch.targets, batch.weights
        mixing = draw_mixing(batch, self.options)
        if mixing:
            inputs = mixing.inputs(inputs)
            targets, weights = mixing.lessons(targets, weights)
        smoothing = self.options.label_smoothing
        smooth = (1.0 - smoothing) * targets + smoothing / targets.shape[1]
        return weighted_mean(cross_entropies(self.scores(inputs), smooth), weights)


def draw_mixing(batch: Batch, options: CrossEntropyOptions) -> Mixing | None:
    """Draw how a batch is mixed; None where it is not."""
    inputs, generator = batch.views[0], batch.generator()
    if options.cutmix and inputs.ndim != 4:
        raise ConfigError(
            "retrain.cross_entropy.cutmix cuts pictures, but this model learns from features.",
            "Set it to 0, or unfreeze the network (retrain.freeze: false).",
        )
    cuts = options.cutmix > 0 and (options.mixup == 0 or draws(generator, purpose=1).random() < 0.5)
    if cuts:
        return cutmix(inputs.shape, options.cutmix, generator)
    return mixup(len(inputs), options.mixup, generator) if options.mixup else None
