"""Meta loss correction on features: a noise matrix learns from what it does to trusted rows (MLC).

For a batch, f = softmax(x θ) and L = −mean log Σ_k f_k T[k, given], T a softmax in each row: T moves against the
gradient of the trusted rows' loss at θ − α ∇L, then θ learns from L at the new T. Rows are told by heads that did not
learn from them. Wang, Hu and Hu, "Training Noise-Robust Deep Neural Networks via Meta-Learning", CVPR 2020.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from stages.purify.options import MlcOptions
from stages.purify.sample import Sample
from stages.purify.targets import Targets
from stages.training.meta import noise_matrix
from stages.training.meta.look_ahead import LookAhead, Params

Loss = Callable[[Tensor, Tensor], Tensor]
MOST_CLASSES = 100  # up to which T is told
MOST_LEARNED = 1000  # classes above which T stays as it is at first


@dataclass(frozen=True)
class Mlc:
    """Heads that learned through noise matrices."""

    bundle: Bundle
    matrices: Tensor  # [H, K, K]: T of each fit, averaged over the halves

    @property
    def learned(self) -> dict[str, Any]:
        """Tell the noise matrix of the fit that knows every trusted row, up to a hundred classes."""
        matrix = self.matrices[0]
        return {"transition": matrix.tolist()} if len(matrix) <= MOST_CLASSES else {}

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.bundle.log_probabilities(rows, view)


def fit(sample: Sample, targets: Sequence[Targets], options: MlcOptions) -> Mlc:
    """Train the heads of every fit on either half of the rows."""
    table = design(sample.features, sample.neighbours, sample.ok, options.neighbours)
    rows, fits = (
        open_rows(table, sample, sample.teaches & (sample.given >= 0), options.most_rows),
        plan_fits(sample, targets),
    )
    judges, params, matrices = judges_of(rows, fits), [], []
    for half in range(HALVES):
        learners = rows.learners(half)
        found, logits = learn(rows.take(learners), sample.given[learners], judges, options, sample.classes)
        params.append(found)
        matrices.append(torch.softmax(logits, dim=-1))
    return Mlc(Bundle(rows, fits, tuple(params)), torch.stack(matrices).mean(0))


def learn(
    inputs: Tensor, given: Tensor, judges: Judges, options: MlcOptions, classes: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Train one head and one matrix for each fit on rows [n, d] with given labels [n]."""
    first = first_params(inputs.shape[1], options.hidden, classes, inputs)
    first = warm_up(first, inputs, given, options)
    learner = Learner(copies(first, len(judges.known)), options.learning_rate, options.weight_decay)
    start = noise_matrix.first_logits(classes, options.kept, inputs.device).to(inputs)
    fixed = classes > MOST_LEARNED  # nothing to learn K × K numbers from, and one matrix serves all fits
    start = start.repeat(1 if fixed else len(judges.known), 1, 1)
    matrix = Learner({"logits": start}, options.matrix_rate * classes)
    generator = torch.Generator().manual_seed(0)
    for done, batch in batches(len(inputs), options.batch_size, options.steps):
        index = batch.to(inputs.device)
        scores, loss = partial(score, inputs=inputs[index]), partial(noise_matrix.corrected_loss, given=given[index])
        panel = judges.some(options.batch_size, generator)
        anew = options.memory == "reset"
        if anew:
            matrix = Learner({"logits": start}, options.matrix_rate * classes)
        if not fixed:
            ahead = LookAhead(scores, loss, panel.loss, options.look_ahead)
            matrix.step({"logits": ahead.gradient(learner.params, matrix.params["logits"])}, 0.0 if anew else done)
        learner.step(grad(partial(_loss, scores, loss, matrix.params["logits"]))(learner.params), done)
    return learner.params, matrix.params["logits"].detach()


def _loss(scores: Callable[[Params], Tensor], loss: Loss, logits: Tensor, params: Params) -> Tensor:
    return loss(scores(params), logits)
