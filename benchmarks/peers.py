"""What others make of the same features and labels: cleanlab and the plain ways of scikit-learn.

cleanlab and scikit-learn are asked as their documentation shows: probabilities of a logistic regression on standardised
features, cross-validated five-fold where it learns from the given labels. The extra `bench` brings cleanlab.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """What a peer is told: nothing about rows outside the trusted ones."""

    features: NDArray[np.floating]  # [N, d]
    neighbours: NDArray[np.int32]  # [N, k]
    given: Labels  # [N]
    trusted: Labels  # [v] rows
    truth: Labels  # [v] their labels
    classes: int

    @cached_property
    def taught(self) -> Labels:
        """Put the trusted labels in their place."""
        labels = self.given.copy()
        labels[self.trusted] = self.truth
        return labels

    @cached_property
    def cross_validated(self) -> tuple[NDArray[np.floating], float]:
        """Return out-of-sample probabilities [N, K] and their CPU seconds: both cleanlab rules use them."""
        began = time.process_time()
        found = cross_val_predict(
            classifier(), self.features.astype(np.float32), self.taught, cv=5, method="predict_proba"
        )
        probabilities = np.zeros((len(found), self.classes))
        probabilities[:, np.unique(self.taught)] = found
        return probabilities, time.process_time() - began


def classifier() -> object:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))


def trusted_logistic(case: Case) -> Labels:
    model = classifier().fit(case.features[case.trusted].astype(np.float32), case.truth)
    return model.predict(case.features.astype(np.float32))


def all_logistic(case: Case) -> Labels:
    return case.cross_validated[0].argmax(1)


def neighbour_vote(case: Case) -> Labels:
    counts = np.zeros((len(case.given), case.classes), np.int32)
    for column in case.neighbours.T:
        counts[np.arange(len(counts)), case.taught[column]] += 1
    return counts.argmax(1)


def cleanlab_prune(case: Case) -> Labels:
    return cleanlab_by(case, "prune_by_noise_rate")


def cleanlab_both(case: Case) -> Labels:
    return cleanlab_by(case, "both")


def cleanlab_by(case: Case, rule: str) -> Labels:
    from cleanlab.filter import find_label_issues

    probabilities = case.cross_validated[0]
    wrong = find_label_issues(case.taught, probabilities, filter_by=rule, n_jobs=1)
    return np.where(wrong, probabilities.argmax(1), case.taught)


PEERS: dict[str, Callable[[Case], Labels]] = {
    "LR on trusted": trusted_logistic, "LR on all": all_logistic, "k-NN vote": neighbour_vote,
    "cleanlab prune": cleanlab_prune, "cleanlab both": cleanlab_both,
}  # fmt: skip
SHARED = {"LR on all", "cleanlab prune", "cleanlab both"}  # these need the cross-validated probabilities


def ask(name: str, case: Case) -> tuple[Labels, float]:
    """Return a peer's labels and its CPU seconds, the shared probabilities counted for each."""
    shared = case.cross_validated[1] if name in SHARED else 0.0
    began = time.process_time()
    return PEERS[name](case), time.process_time() - began + shared
