"""DivideMix: tell right from wrong labels by their losses, and treat the rows with wrong ones as if they had none.

After a warm-up a mixture of two Gaussians on each network's losses says after every epoch how likely each label is
right, w, to the *other* network. Rows with w > τ are labelled, y ← sharpen(w y + (1 − w) p); the others are guessed
from both networks, all over two views; then MixMatch: rows are blended, λ ≥ ½, and
loss = mean CE(labelled) + λ_u mean (p − guess)² (others) + Σ_k π log(π / mean p_k), π = 1 / K.
Li, Socher and Hoi, "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", 2020; from an encoder that was
learned without labels: Zheltonozhskii et al., "Contrast to Divide", 2022.
"""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from stages.retrain.learner import Batch, Learner, Setting, Survey
from stages.retrain.losses import cross_entropies, noise_rate, weighted_mean
from stages.retrain.mixing import mixup
from stages.retrain.options import DivideMixOptions

LITTLE_NOISE, MUCH_NOISE = 0.2, 0.5  # up to the one rows without labels weigh nothing, from the other on in full


class DivideMix(Learner):
    """Two networks that sort each other's labels."""

    views = 2
    surveyed = ("right",)
    right: Tensor

    def __init__(self, setting: Setting, options: DivideMixOptions) -> None:
        super().__init__([setting.build(0), setting.build(1)])
        self.options = options
        rate = noise_rate(options.noise_rate, setting.noise_rate)
        self.unlabelled = options.unlabelled * min(max((rate - LITTLE_NOISE) / (MUCH_NOISE - LITTLE_NOISE), 0.0), 1.0)
        self.register_buffer("right", torch.ones(2, setting.rows))  # by each network's own losses

    def forward(self, batch: Batch) -> Tensor:
        """Learn all labels at first, then what the other network makes of them."""
        if batch.done < self.options.warmup:
            return torch.stack([self.warm(network, batch) for network in self.networks]).sum()
        said = [guess(network, batch.views) for network in self.networks]
        return self.loss_of(0, 1, batch, said) + self.loss_of(1, 0, batch, said)

    def after_epoch(self, survey: Survey) -> None:
        """Sort the labels anew by both networks' losses."""
        for number, network in enumerate(self.networks):
            likely = probably_right(survey.losses(network).double().cpu().numpy())
            self.right[number, survey.rows] = torch.from_numpy(likely).float().to(self.right.device)

    def warm(self, network: nn.Module, batch: Batch) -> Tensor:
        """Learn the labels as they are; a penalty on being sure keeps asymmetric noise from being learned fast."""
        scores = network(batch.views[0]).float()
        sure = (torch.softmax(scores, dim=1) * torch.log_softmax(scores, dim=1)).sum(dim=1)
        each = cross_entropies(scores, batch.targets) + self.options.penalty * sure
        return weighted_mean(each, batch.weights)

    def loss_of(self, own: int, other: int, batch: Batch, said: list[Tensor]) -> Tensor:
        """Train one network on labels that the other sorted."""
        right = self.right[other, batch.rows][:, None]
        labelled = (right > self.options.threshold).float()
        refined = sharpen(right * batch.targets + (1.0 - right) * said[own], self.options.sharpness)
        guessed = sharpen((said[own] + said[other]) / 2, self.options.sharpness)
        targets = (labelled * refined + (1.0 - labelled) * guessed).repeat(2, 1)
        mixing = mixup(len(targets), self.options.mixup, batch.generator(), own=True)
        scores = self.networks[own](mixing.inputs(torch.cat(batch.views[:2]))).float()
        probs, mixed = torch.softmax(scores, dim=1), mixing.values(targets)
        weights, has = batch.weights.repeat(2), labelled.flatten().repeat(2)
        known = weighted_mean(cross_entropies(scores, mixed), weights * has)
        unknown = weighted_mean((probs - mixed).square().mean(dim=1), weights * (1.0 - has))
        rising = min((batch.done - self.options.warmup) / self.options.ramp, 1.0)
        return known + rising * self.unlabelled * unknown + self.options.prior * spread_penalty(probs)


@torch.no_grad()
def guess(network: nn.Module, views: tuple[Tensor, ...]) -> Tensor:
    """Average what a network makes of two views, [n, K], leaving its batch norm alone."""
    network.eval()
    said = torch.stack([torch.softmax(network(view).float(), dim=1) for view in views[:2]]).mean(dim=0)
    network.train()
    return said


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """Make probabilities [n, K] surer: p^(1/T), normalised."""
    return torch.softmax(probs.clamp(min=1e-12).log() / temperature, dim=1)


def spread_penalty(probs: Tensor) -> Tensor:
    """Ask for all classes alike, Σ_k π log(π / mean p_k): 0 where they are."""
    mean = probs.mean(dim=0).clamp(min=1e-12)
    penalty: Tensor = -(mean.log() + np.log(len(mean))).mean()
    return penalty


def probably_right(losses: np.ndarray) -> np.ndarray:
    """Tell from losses [n] how likely each belongs to the lower of two Gaussians, [n]."""
    low, high = losses.min(initial=np.inf), losses.max(initial=-np.inf)
    if len(losses) < 2 or not high > low:
        return np.ones(len(losses))
    scaled = ((losses - low) / (high - low))[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)  # ten steps, as in the paper's code
        shares: np.ndarray = mixture.fit(scaled).predict_proba(scaled)
    return shares[:, mixture.means_.argmin()]
