"""Meta soft label generation on features: labels of single rows learn from what they do to trusted rows (MSLG).

Each row i has logits ỹ_i, at first κ onehot(given). For a batch, f = softmax(x θ) and L = KL(f‖softmax ỹ): ỹ moves
against the gradient of the trusted rows' loss at θ − α ∇L, then θ learns from L + γ H(f) at the new ỹ. Rows are told
by heads that did not learn from them. Algan and Ulusoy, "Meta Soft Label Generation for Noisy Labels", ICPR 2020.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.func import grad

from stages.linear.design import design
from stages.purify.bundle import (
    HALVES,
    Bundle,
    Judges,
    Learner,
    batches,
    copies,
    first_params,
    judges_of,
    open_rows,
    score,
    warm_up,
)
from stages.purify.fits import plan_fits
from stages.purify.options import MslgOptions
from stages.purify.sample import Sample
from stages.purify.targets import Targets
from stages.training.meta import soft_labels
from stages.training.meta.look_ahead import LookAhead, Params


@dataclass(frozen=True)
class Mslg:
    """Heads that learned from soft labels."""

    bundle: Bundle

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.bundle.log_probabilities(rows, view)


def fit(sample: Sample, targets: Sequence[Targets], options: MslgOptions) -> Mslg:
    """Train the heads of every fit on either half of the rows."""
    table = design(sample.features, sample.neighbours, sample.ok, options.neighbours)
    rows, fits = (
        open_rows(table, sample, sample.teaches & (sample.given >= 0), options.most_rows),
        plan_fits(sample, targets),
    )
    judges, params = judges_of(rows, fits), []
    for half in range(HALVES):
        learners = rows.learners(half)
        params.append(learn(rows.take(learners), sample.given[learners], judges, options, sample.classes))
    return Mslg(Bundle(rows, fits, tuple(params)))


def learn(inputs: Tensor, given: Tensor, judges: Judges, options: MslgOptions, classes: int) -> dict[str, Tensor]:
    """Train one head for each fit on rows [n, d] with given labels [n]."""
    first = first_params(inputs.shape[1], options.hidden, classes, inputs)
    first = warm_up(first, inputs, given, options)
    learner = Learner(copies(first, len(judges.known)), options.learning_rate, options.weight_decay)
    start = soft_labels.first_logits(given, classes, options.sharpness, inputs.dtype)
    logits, generator = start.repeat(len(judges.known), 1, 1), torch.Generator().manual_seed(0)
    for done, batch in batches(len(inputs), options.batch_size, options.steps):
        index = batch.to(inputs.device)
        scores, panel = partial(score, inputs=inputs[index]), judges.some(options.batch_size, generator)
        ahead = LookAhead(scores, soft_labels.divergence, panel.loss, options.look_ahead)
        better = soft_labels.improve(ahead, learner.params, logits[:, index], options.label_rate)
        logits[:, index] = better
        learner.step(grad(partial(_loss, scores, better, options.entropy))(learner.params), done)
    return learner.params


def _loss(scores: Callable[[Params], Tensor], logits: Tensor, entropy: float, params: Params) -> Tensor:
    return soft_labels.network_loss(scores(params), logits, entropy)
