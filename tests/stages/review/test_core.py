"""How rows are chosen: an even draw that knows nothing, and the rest by score, spread out."""

from typing import Any, get_args

import numpy as np
import pytest

from stages.review.config import Method, ReviewConfig
from stages.review.core import pick, score, spread
from stages.review.pool import disagreement_of, places_in_pool

METHODS = get_args(Method)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_picks_different_rows_and_the_same_ones_again(make_pool: Any, method: Method) -> None:
    pool, config = make_pool(), ReviewConfig(method=method, rows=20)
    before = pool.wrong.copy()
    one, two = pick(pool, config), pick(pool, config)
    assert np.array_equal(one.places, two.places)
    assert len(set(one.places.tolist())) == 20
    assert one.drawn.sum() == (20 if method == "random" else 5)
    assert np.array_equal(pool.wrong, before)
    assert not np.array_equal(one.places, pick(pool, config.model_copy(update={"seed": 1})).places)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_smaller_than_the_wish_is_shown_whole(make_pool: Any, method: Method) -> None:
    picked = pick(make_pool(7), ReviewConfig(method=method, rows=50))
    assert sorted(picked.places.tolist()) == list(range(7))


@pytest.mark.parametrize("method", ["expected_gain", "uncertainty", "disagreement"])
def test_methods_find_more_wrong_labels_than_chance(make_pool: Any, method: Method) -> None:
    rng = np.random.default_rng(1)
    bad = rng.random(400) < 0.2
    pool = make_pool(
        400, wrong=np.where(bad, 0.7, 0.2) + 0.1 * rng.random(400),
        disagreement=np.where(bad, 0.6, 0.1), near=np.full((400, 1), -1),
    )  # fmt: skip
    picked = pick(pool, ReviewConfig(method=method, rows=40, random_share=0.0))
    assert bad[picked.places].mean() > 0.6


def test_the_even_draw_is_even_whatever_the_scores(make_pool: Any) -> None:
    pool = make_pool(40)
    counts = np.zeros(40)
    for seed in range(400):
        picked = pick(pool, ReviewConfig(rows=16, seed=seed))
        counts[picked.places[picked.drawn == 1]] += 1
    assert counts.sum() == 400 * 4
    assert counts.min() > 15  # 40 expected, standard deviation 6
    assert counts.max() < 70


def test_the_order_tells_nobody_which_rows_were_drawn(make_pool: Any) -> None:
    ranks = [np.flatnonzero(pick(make_pool(), ReviewConfig(rows=20, seed=s)).drawn).mean() for s in range(60)]
    assert abs(np.mean(ranks) - 9.5) < 1.5


def test_like_neighbours_of_a_picked_row_come_last(make_pool: Any) -> None:
    pool = make_pool(6, suggested=np.array([0, 0, 1, 0, 0, 0]))
    assert spread(pool, np.arange(6), 4).tolist() == [0, 2, 3, 5]
    assert spread(pool, np.arange(6), 6).tolist() == [0, 2, 3, 5, 1, 4]


def test_a_class_without_trusted_rows_counts_more(make_pool: Any) -> None:
    ones = np.full(3, 0.5)
    pool = make_pool(3, wrong=ones, disagreement=ones, density=ones, suggested=np.array([0, 1, 2]))
    scores = score(pool, "expected_gain", RNG)
    assert scores[2] > 3 * scores[0]
    assert np.isclose(scores[0], scores[1])


def test_cover_takes_classes_in_turn_the_densest_first(make_pool: Any) -> None:
    given = np.array([0, 0, 0, 0, 1, 2, -1])
    density = np.array([0.1, 0.9, 0.5, 0.3, 0.2, 0.2, 0.2])
    pool = make_pool(7, given=given, density=density, near=np.full((7, 1), -1))
    scores = score(pool, "cover", RNG)
    assert set(np.argsort(-scores, kind="stable")[:4].tolist()) == {1, 4, 5, 6}
    assert scores[1] > scores[2] > scores[3] > scores[0]


def test_disagreement_is_the_share_of_answers_that_differ_from_the_most_frequent() -> None:
    answers = np.array([[0, 0, 0, 0], [0, 0, 1, 2], [0, 1, 2, 3], [-1, 1, 1, 2], [-1, -1, -1, -1]])
    assert np.allclose(disagreement_of(answers), [0, 0.5, 0.75, 1 / 3, 0])


def test_neighbours_outside_the_pool_are_none() -> None:
    found = places_in_pool(np.array([[1, 4], [-1, 2]]), np.array([1, 2]), 5)
    assert found.tolist() == [[0, -1], [-1, 1]]
