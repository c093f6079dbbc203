"""Kernel regressions of the given labels, weighed and corrected together with T, round after round (ours).

Blocks: folded ridge regressions of a target Q on Gaussian-kernel features, at several penalties, and the neighbours'
mean Q. The stack turns them into p = P(true | x) and learns T with it by the likelihood of the given labels. Bayes'
rule gives Q ← P(true | x, given), and so on, until few beliefs move. Trusted rows are judges, not teachers: they say
what T is before labels are read, and nothing else; so each view learns T anew and shares the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.errors import DataError
from stages.purify.config import FusionOptions
from stages.purify.evidence import Scored, gather_evidence
from stages.purify.prior import class_shares
from stages.purify.sample import Sample, Views, few_rows
from stages.purify.scores import Scores
from stages.purify.stack import FREE_CLASSES, Prior, Search, Stack, fit_matrix, fit_stack
from stages.purify.stiffness import Choice, choose_ridge
from stages.purify.transition import Learned, Transition, one_hot, symmetric_matrix

MOST_STACKED = 100_000  # rows that the stack is fitted to
NUMBERS = 50_000_000  # numbers those rows may hold
FEWEST = 2  # rows with a given label
FEW = 20_000  # rows that choose the stiffness, and that T of each view is learned from
MOST_BELIEFS = 400_000_000  # rows × classes that are kept from round to round
FIRST_STEPS, STEPS, MATRIX_STEPS, FEW_STEPS = 40, 15, 30, 5
STRONGEST = 1000.0  # rows that the symmetric part of the prior of T may be worth


@dataclass(frozen=True)
class Fusion:
    """The scores and the stack of the last round, and T of every view."""

    scored: Scored
    stack: Stack
    transitions: Sequence[Learned]

    def beliefs(self, rows: Tensor, view: int) -> Tensor:
        """Return log-probabilities [n, K]."""
        return self.stack.log_beliefs(self.scored.blocks(rows))


def fit(scores: Scores, views: Views, options: FusionOptions) -> Fusion:
    """Go through the rounds once, and learn T in every view."""
    sample = scores.sample
    check(sample)
    taught = torch.where(sample.teaches & (sample.given >= 0))[0]
    counts = torch.bincount(sample.given[taught], minlength=sample.classes).double()
    priors = [prior_of(transition, counts, options) for transition in views.transitions]
    last = go_round(Rounds(scores, taught, priors[0], options))
    log_beliefs, given = last.stack.log_beliefs(last.blocks[:, last.few]), sample.given[last.rows[last.few]]
    share = len(given) / max(len(last.rows), 1)
    scaled = [replace(prior, pairs=share * prior.pairs) for prior in priors]
    steps = MATRIX_STEPS if sample.classes <= FREE_CLASSES else FEW_STEPS
    learned = [Learned(fit_matrix(log_beliefs, given, prior, steps)) for prior in scaled]
    return Fusion(last.scored, last.stack, learned)


@dataclass(frozen=True)
class Rounds:
    """What the rounds are about."""

    scores: Scores
    taught: Tensor  # rows with a given label that teach
    prior: Prior
    options: FusionOptions


@dataclass(frozen=True)
class Round:
    """What a round found."""

    scored: Scored
    stack: Stack
    rows: Tensor  # [n] that the stack is fitted to
    blocks: Tensor  # [M, n, K] of these
    few: Tensor  # places among these rows of those of the lowest draws


def go_round(rounds: Rounds) -> Round:
    """Let beliefs become targets until few of them move, and return the last round."""
    sample, options, taught = rounds.scores.sample, rounds.options, rounds.taught
    evidence = gather_evidence(sample, rounds.scores.ridge.rows, taught, options)
    numbers = (2 * len(options.strengths) + 1) * sample.classes
    rows = evidence.stored(taught[few_rows(sample.draw[taught], numbers, MOST_STACKED, NUMBERS)])
    choosing = few_rows(sample.draw[rows], 1, FEW)
    targets = sample.features.new_zeros(len(sample), sample.classes, dtype=evidence.bases[0].sums.dtype)
    targets[taught] = one_hot(sample.given[taught], sample.classes, targets.dtype)
    last: Round | None = None
    choice: Choice | None = None
    for _ in range(options.rounds):
        scored = evidence.of(targets)
        blocks = scored.blocks(rows)
        few = (blocks[:, choosing], sample.given[rows[choosing]])
        choice = choose_ridge(few, rounds.prior, options.stiffness, choice)
        search = Search(choice.ridge, STEPS if last else FIRST_STEPS, last.stack if last else None)
        last = Round(scored, fit_stack(blocks, sample.given[rows], rounds.prior, search), rows, blocks, choosing)
        found = posterior(last, sample.given, taught)
        moved = float((found - targets).abs().sum()) / (2 * max(len(taught), 1))
        if moved < options.settled:
            break
        targets = found
    assert last is not None  # rounds ≥ 1
    return last


def check(sample: Sample) -> None:
    """Refuse what has no labels to regress, or would not fit the memory."""
    labelled = int((sample.teaches & (sample.given >= 0)).sum())
    if labelled < FEWEST:
        raise DataError(
            f"{labelled} of {len(sample)} rows are train rows with features and a given label; fusion needs at least "
            f"{FEWEST}.",
            "Give labels to correct, or choose purify.method 'trusted_only', which learns from trusted rows alone.",
        )
    if len(sample) * sample.classes > MOST_BELIEFS:
        raise DataError(
            f"fusion keeps a belief for each of {len(sample)} rows and {sample.classes} classes, "
            f"more than {MOST_BELIEFS} numbers.",
            "Choose purify.method 'linear_probe', which keeps none, or purify the data in parts.",
        )


def posterior(last: Round, given: Tensor, rows: Tensor) -> Tensor:
    """Return the belief about each row once its given label is seen [N, K]; 0 for rows that do not teach."""
    result = torch.zeros_like(last.scored.targets)
    seen = last.stack.posterior(last.stack.log_beliefs(last.blocks), given[last.rows])
    result[last.rows] = seen.to(result.dtype)
    asked = torch.zeros_like(given, dtype=torch.bool).index_fill_(0, rows, True).index_fill_(0, last.rows, False)
    for part in torch.split(torch.where(asked)[0], max(4_000_000 // result.shape[1], 64)):
        log_beliefs = last.stack.log_beliefs(last.scored.blocks(part))
        result[part] = last.stack.posterior(log_beliefs, given[part]).to(result.dtype)
    return result


def prior_of(transition: Transition, counts: Tensor, options: FusionOptions) -> Prior:
    """Say what trusted pairs tell of T: counts, and the symmetric noise that they were shrunk to.

    Symmetric noise makes α large, and the prior holds T; anything else makes it small, and the labels decide.
    """
    base = symmetric_matrix(transition.classes, transition.rate, counts.device)
    pairs, matrix = base * STRONGEST, base
    if not transition.symmetric:
        strength = min(options.trust * transition.strength, STRONGEST)
        pairs, matrix = strength * base + options.trust * transition.counts, transition.matrix
    return Prior(pairs, matrix, class_shares(counts, transition).log(), transition.symmetric)
