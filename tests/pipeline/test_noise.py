import numpy as np
import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.noise import KINDS, inject

LABELS = np.arange(1000) % 5


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("rate", [0.0, 0.123, 0.4, 1.0])
def test_the_share_of_wrong_labels_is_exact(kind: str, rate: float) -> None:
    assert np.count_nonzero(inject(LABELS, kind, rate, 5, 0) != LABELS) == round(1000 * rate)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_the_input_stays(kind: str) -> None:
    before = LABELS.copy()
    first, second, other = (inject(LABELS, kind, 0.4, 5, seed) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert np.array_equal(LABELS, before)
    assert first.dtype == LABELS.dtype


def test_symmetric_noise_draws_every_other_class_alike() -> None:
    noisy = inject(np.zeros(10_000, dtype=int), "symmetric", 1.0, 5, 0)
    counts = np.bincount(noisy, minlength=5)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 2500).max() < 200


def test_uniform_noise_may_draw_the_right_class() -> None:
    counts = np.bincount(inject(np.zeros(10_000, dtype=int), "uniform", 1.0, 5, 0), minlength=5)
    assert np.abs(counts - 2000).max() < 200


def test_asymmetric_noise_goes_to_the_next_class_or_by_the_map() -> None:
    assert np.array_equal(inject(LABELS, "asymmetric", 1.0, 5, 0), (LABELS + 1) % 5)
    mapped = inject(LABELS, "asymmetric", 0.5, 5, 0, mapping={4: 0})
    assert np.count_nonzero(mapped != LABELS) == 100
    assert set(LABELS[mapped != LABELS]) == {4}


def test_pairs_change_places_and_the_last_of_an_odd_number_stays() -> None:
    assert inject(np.arange(5), "pair", 1.0, 5, 0).tolist() == [1, 0, 3, 2, 4]


def test_missing_labels_stay_missing() -> None:
    labels = np.where(LABELS == 2, -1, LABELS)
    assert np.array_equal(inject(labels, "symmetric", 1.0, 5, 0) < 0, labels < 0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="needs at least 2 classes; there is 1"):
        inject(LABELS, "symmetric", 0.1, 1, 0)
    with pytest.raises(ConfigError, match=r"rate 40 is not within 0 and 1"):
        inject(LABELS, "symmetric", 40, 5, 0)
    with pytest.raises(ConfigError, match=r"maps class 7; classes are 0\.\.4"):
        inject(LABELS, "asymmetric", 0.1, 5, 0, mapping={1: 7})
