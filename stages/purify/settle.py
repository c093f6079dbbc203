"""Settle each row: suggested and purified label, action, and the probabilities behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from stages.purify.actions import NONE, REVIEW, TRUSTED, decide
from stages.purify.config import BASELINES, Method, PurifyConfig
from stages.purify.crossfit import MOST_BELIEFS, Calibrated, chunks
from stages.purify.sample import Answering, Fitted
from stages.purify.transition import one_hot

TOP = 10


@dataclass(frozen=True)
class Rows:
    """One value for each row."""

    suggested: Tensor  # [N] long
    purified: Tensor  # [N] long
    action: Tensor  # [N] long, position in pipeline.labels.ACTIONS
    confidence: Tensor  # [N]
    given_confidence: Tensor  # [N], NaN where no label was given
    top_labels: Tensor  # [N, min(K, 10)] long
    top_probs: Tensor  # [N, min(K, 10)]
    beliefs: Tensor  # [N, K] float16, or [N, 0] where there are too many classes
    candidates: Tensor  # [N, baselines] long


@dataclass(frozen=True)
class Settler:
    """What is known when rows are settled."""

    method: Calibrated
    fitted: Mapping[Method, Fitted]
    config: PurifyConfig
    is_open: bool
    trusted: Tensor  # [N] long, -1 where unknown or held out
    fallback: int  # the most frequent given label

    @property
    def baselines(self) -> list[Method]:
        """Name the baselines that could be fitted."""
        return [name for name in BASELINES if name in self.fitted]

    def settle(self, rows: Tensor) -> Rows:
        """Settle some rows [n]."""
        sample, method = self.method.sample, self.method
        log_beliefs = {name: one.beliefs(rows, 0) for name, one in self.fitted.items()}
        candidates = torch.stack([plain(self.fitted[n], rows, log_beliefs[n]) for n in self.baselines], dim=1)
        probabilities = method.fuse(rows, log_beliefs[self.config.method], 0)
        suggested = self._suggested(rows, method.suggest(rows, probabilities))
        purified, action = self._decide(rows, suggested, probabilities)
        known = (self.trusted[rows] >= 0) & sample.train[rows]
        certain = one_hot(torch.where(known, self.trusted[rows], -1), sample.classes, probabilities.dtype)
        top = (probabilities + certain).topk(min(TOP, sample.classes), dim=1).indices
        probabilities = torch.where(known[:, None], certain, probabilities)
        sure = self.trusted[rows] >= 0
        given, right = sample.given[rows], (sample.given[rows] == self.trusted[rows]).to(probabilities.dtype)
        doubt = torch.where(sure, right, _probability(probabilities, given))
        kept = probabilities if sample.classes <= MOST_BELIEFS else probabilities[:, :0]
        return Rows(
            suggested, purified, action,
            torch.where(sure, 1.0, _probability(probabilities, purified)),
            torch.where(given >= 0, doubt, torch.nan),
            top, probabilities.gather(1, top), kept.half(), candidates,
        )  # fmt: skip

    def _suggested(self, rows: Tensor, best: Tensor) -> Tensor:
        """Take the machine's answer; without features there is none, and a trusted train row needs none."""
        sample, given, trusted = self.method.sample, self.method.sample.given[rows], self.trusted[rows]
        plainly = torch.where(given >= 0, given, self.fallback)
        known = (trusted >= 0) & (sample.train[rows] | ~sample.ok[rows])
        return torch.where(known, trusted, torch.where(sample.ok[rows], best, plainly))

    def _decide(self, rows: Tensor, suggested: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        sample, given, trusted = self.method.sample, self.method.sample.given[rows], self.trusted[rows]
        chances = torch.stack([_probability(probabilities, given), _probability(probabilities, suggested)], dim=1)
        decided = decide(self.config, self.is_open, given, suggested, chances)
        train, known = sample.train[rows], trusted >= 0
        action = torch.where(sample.ok[rows], decided.action, REVIEW)
        action = torch.where(train, torch.where(known, TRUSTED, action), NONE)
        purified = torch.where(train, decided.purified, torch.where(given >= 0, given, suggested))
        return torch.where(known, trusted, purified), action


def settle_rows(settler: Settler) -> Rows:
    """Settle every row, a chunk at a time."""
    sample = settler.method.sample
    everyone = torch.arange(len(sample), device=sample.given.device)
    parts = [settler.settle(rows) for rows in chunks(everyone, sample.classes)]
    return Rows(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Rows)))


def plain(fitted: Fitted, rows: Tensor, log_beliefs: Tensor) -> Tensor:
    """Return what a baseline says by itself: the likeliest class, unless it has a rule of its own."""
    return fitted.answer(rows, log_beliefs) if isinstance(fitted, Answering) else log_beliefs.argmax(1)


def _probability(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.gather(1, labels.clamp_min(0)[:, None])[:, 0]
