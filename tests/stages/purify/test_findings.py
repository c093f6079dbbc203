import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.purify.noise import describe_noise, overall, rows_to_settle
from stages.purify.prior import Prior
from stages.purify.sample import Views
from stages.purify.transition import Crowd, estimate_transition
from stages.purify.verdict import LEAKS, cautions, features_verdict, find_leaks, groups_of, leaks_record

NAMES = ["ape", "bee", "cat"]


def found(counts: list[list[int]]) -> Views:
    pairs = [(k, c) for k, row in enumerate(counts) for c, n in enumerate(row) for _ in range(n)]
    true, given = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    found = estimate_transition(true, given, torch.ones(len(pairs), dtype=torch.float64), len(counts), 0.4)
    shares = torch.full((len(counts),), 1 / len(counts), dtype=torch.float64)
    prior, nothing = Prior(shares, torch.zeros_like(shares)), torch.zeros(0, dtype=torch.long)
    return Views(nothing, nothing, torch.ones(1, 0, dtype=torch.bool), (found,), (prior,), (Crowd((found,)),))


def test_the_noise_is_described_with_intervals() -> None:
    noise = describe_noise(found([[20, 5, 0], [0, 25, 0], [0, 0, 25]]), NAMES, 0.1)
    assert noise["rate"] == pytest.approx(5.5 / 76)
    assert noise["low"] < noise["rate"] < noise["high"]
    assert noise["per_class"][0] > noise["per_class"][1]
    assert [c["pairs"] for c in noise["classes"]] == [25, 25, 25]
    assert all(c["low"] <= c["rate"] <= c["high"] for c in noise["classes"])
    assert np.allclose(np.sum(noise["transition"], axis=1), 1)
    assert noise["warnings"] == []


@pytest.mark.parametrize(("first", "second", "rows"), [(0.5, 0.5, 10), (0.55, 0.4, 12), (0.4, 0.3, 5)])
def test_the_rows_that_settle_t_are_those_that_do_as_likely_as_not(first: float, second: float, rows: int) -> None:
    more, rng = rows_to_settle(first, second, rows), np.random.default_rng(0)
    posterior = rng.dirichlet(np.array([first, second, 1 - first - second + 1e-9]) * rows, 4000)
    settled = []
    for extra in (more, more // 4):
        counts = np.stack([rng.multinomial(extra, p) for p in posterior]) + rows * np.array([first, second, 0])[None]
        a, b = counts[:, 0] / (rows + extra), counts[:, 1] / (rows + extra)
        settled.append(float(np.mean(np.abs(a - b) > np.sqrt((a + b - (a - b) ** 2) / (rows + extra)))))
    assert 0.4 < settled[0] < 0.65
    assert settled[1] < settled[0]


def test_an_unsettled_row_of_t_asks_for_more_trusted_rows() -> None:
    warnings = describe_noise(found([[10, 0, 0], [0, 10, 0], [0, 5, 5]]), NAMES, 0.1)["warnings"]
    assert len(warnings) == 1
    assert re.fullmatch(r"row 'cat' of T is not settled by 10 trusted rows: check \d+ more 'cat'.", warnings[0])


def test_shares_of_t_have_standard_errors_that_shrink_with_rows() -> None:
    few, many = (
        describe_noise(found([[3 * n, n, 0], [0, 4 * n, 0], [0, 0, 4 * n]]), NAMES, 0.1)["transition_error"]
        for n in (20, 200)
    )
    assert few[0][1] > 2 * many[0][1] > 0
    assert few[0][1] == pytest.approx(np.sqrt(0.25 * 0.75 / 80), rel=0.2)


def test_balanced_trusted_rows_give_the_rate_of_the_data() -> None:
    views = found([[10, 0, 0], [0, 5, 5], [5, 0, 5]])
    shares = torch.tensor([0.9, 0.05, 0.05], dtype=torch.float64)
    moved = replace(views, priors=(Prior(shares, (1 / 3 / shares).log()),))
    fair, transition = describe_noise(moved, NAMES, 0.1), views.transitions[0]
    assert fair["rate"] == pytest.approx(float(shares @ (1 - views.transitions[0].matrix.diagonal())))
    assert overall(transition, views.priors[0]) == (transition.rate, 30)
    assert 10 < overall(transition, moved.priors[0])[1] < 20  # the rows of the large class, and what others lend


def test_every_annotator_has_a_rate() -> None:
    views = found([[9, 1, 0], [0, 9, 1], [1, 0, 9]])
    assert describe_noise(views, NAMES, 0.1)["annotators"] == []
    two = replace(views, crowds=(Crowd((views.transitions[0],) * 2),))
    rates = [a["rate"] for a in describe_noise(two, NAMES, 0.1)["annotators"]]
    assert rates == [views.transitions[0].rate] * 2


def test_a_class_without_trusted_rows_and_no_pairs_at_all_are_named() -> None:
    assert (
        "class 'cat' has no trusted row"
        in describe_noise(found([[5, 0, 0], [0, 5, 0], [0, 0, 0]]), NAMES, 0.1)["warnings"][0]
    )
    nothing = describe_noise(found([[0, 0, 0]] * 3), NAMES, 0.25)
    assert (nothing["rate"], nothing["low"], nothing["high"]) == (0.25, 0.0, 1.0)
    assert "No trusted row has a given label" in nothing["warnings"][0]


@pytest.mark.parametrize(("knn", "linear", "verdict"), [(0.3, 0.28, "useless"), (0.3, 0.5, "weak"), (0.8, 0.1, "good")])
def test_features_are_judged_against_chance(knn: float, linear: float, verdict: str) -> None:
    judged = features_verdict(knn, linear, np.arange(100) % 4)
    assert judged["verdict"] == verdict
    assert judged["chance"] == 0.25
    assert bool(judged["remedy"]) == (verdict != "good")


def test_features_are_judged_against_raw_pixels() -> None:
    labels, better = np.arange(100) % 4, {"rows": 100, "features": 0.5, "pixels": 0.4}
    same = better | {"pixels": 0.5}
    assert features_verdict(0.5, 0.5, labels, better)["verdict"] == "weak"
    useless = features_verdict(0.5, 0.5, labels, same)
    assert useless["verdict"] == "useless"
    assert useless["remedy"].startswith(
        "They are no better than raw pixels (50% right against 50% on 100 trusted rows). Train an encoder"
    )
    assert features_verdict(0.9, 0.9, labels, better)["verdict"] == "good"
    assert features_verdict(0.9, 0.9, labels, same)["verdict"] == "weak"  # the pixels are good too
    assert features_verdict(0.5, 0.5, labels, same | {"rows": 20})["verdict"] == "weak"  # too few to tell


def test_repeated_rows_are_found_where_they_lie() -> None:
    ids = ["a", "b", "c", "d", "e"]
    twins = np.array([None, "a", "a", None, "d"], dtype=object)
    split = np.array(["train", "validation", "test", "train", "train"])
    leaks = find_leaks(ids, twins, split, np.array([1, -1, 1, 0, 2]))
    assert leaks.to_pylist() == [
        {"kind": "trusted_in_rest", "sample_id": "b", "repeats": "a"},
        {"kind": "test_in_train", "sample_id": "c", "repeats": "a"},
        {"kind": "validation_in_train", "sample_id": "b", "repeats": "a"},
        {"kind": "contradictory_trusted", "sample_id": "e", "repeats": "d"},
    ]
    record = leaks_record(leaks, 3)
    assert {k: v for k, v in record.items() if k != "examples"} == {
        "duplicates": 3, "trusted_in_rest": 1, "test_in_train": 1, "validation_in_train": 1, "contradictory_trusted": 1,
    }  # fmt: skip
    assert record["examples"]["contradictory_trusted"] == [["e", "d"]]
    assert groups_of(ids, twins) == ["a", "a", "a", "d", "d"]
    nothing = find_leaks(ids, np.full(5, None), split, np.zeros(5, int))
    assert (nothing.num_rows, leaks_record(nothing, 0)["examples"]) == (0, {})


def test_what_weakens_the_figures_is_said_with_ids() -> None:
    leaks = dict.fromkeys(LEAKS, 0) | {"test_in_train": 1200, "examples": {"test_in_train": [["c", "a"]]}}
    assert cautions({"verdict": "weak", "remedy": "Train on."}, leaks) == [
        "The features are weak. Train on.",
        "Copies across test and other rows: 1,200. Test scores may flatter. (c = a, …; all in leaks.parquet)",
    ]
    assert cautions({"verdict": "good", "remedy": ""}, {"examples": {}}) == []
