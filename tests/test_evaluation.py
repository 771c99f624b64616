import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from helpers import article, evaluation

DENSE = {"accuracy": [0.95, 0.985], "val_accuracy": [0.97, 0.9801]}
CONV = {"accuracy": [0.94, 0.9783], "val_accuracy": [0.975, 0.9816]}


def percent_interval(successes, trials):
    return pytest.approx([100 * bound for bound in evaluation.wilson_interval(successes, trials)])


def interval(table, row, what):
    return table.loc[row, [(what, "low"), (what, "high")]].tolist()


def answers(right, wrong):
    return np.repeat([True, False], [right, wrong])


def test_wilson_interval_of_a_known_case():
    low, high = evaluation.wilson_interval(9_842, 10_000)
    assert (round(100 * low, 2), round(100 * high, 2)) == (98.16, 98.65)
    assert evaluation.wilson_interval(0, 10)[0] == 0 and evaluation.wilson_interval(10, 10)[1] == 1


def test_accuracies_and_the_articles_rule_on_the_article():
    """0.985 + 0.9801 is more than 0.9783 + 0.9816."""
    table = evaluation.epoch_accuracies(DENSE, images=10_000)
    assert table.index.tolist() == [1, 2]
    assert table["training %"].tolist() == pytest.approx([95, 98.5])
    assert table["validation %", "estimate"].tolist() == pytest.approx([97, 98.01])
    assert interval(table, 2, "validation %") == percent_interval(9_801, 10_000)
    table = evaluation.final_accuracies({"dense": DENSE, "conv": CONV}, images=10_000)
    assert table["sum %"].tolist() == pytest.approx([196.51, 195.99])
    assert table["sum %"].idxmax() == article.BEST
    assert table["validation %", "estimate"].idxmax() == "conv"
    assert interval(table, "conv", "validation %") == percent_interval(9_816, 10_000)


def test_error_rates_by_hand():
    table = evaluation.error_rates({"one": answers(98, 2), "other": answers(97, 3)}, reference="one")
    assert table["errors"].tolist() == [2, 3] and table["error %", "estimate"].tolist() == [2, 3]
    assert table["change %"].tolist() == pytest.approx([0, 50])
    assert interval(table, "other", "error %") == percent_interval(3, 100)


# Two models that both read 101 images, only the first 121, only the second 59, neither 33.
ONE, OTHER = (np.repeat(read, [101, 121, 59, 33]) for read in ([True, True, False, False], [True, False, True, False]))


def test_mcnemar_of_a_known_case():
    """Its p, and an interval that is about that of a bootstrap."""
    table = evaluation.paired_tests({"one": ONE, "other": OTHER, "same": ONE})
    assert table.index.tolist() == ["one, other", "one, same", "other, same"]
    row = table.loc["one, other"]
    assert row[[("read by the first only", ""), ("by the second only", "")]].tolist() == [121, 59]
    assert row["p", ""] == pytest.approx(4.4344e-06, abs=5e-11)
    assert row["difference, points", "estimate"] == pytest.approx(100 * (121 - 59) / 314)
    difference = 100 * (ONE.astype(float) - OTHER)
    found = bootstrap((difference,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    assert interval(table, "one, other", "difference, points") == pytest.approx([*found], abs=1)
    assert table.loc["one, same"].tolist() == [0, 0, 0, 0, 0, 1]


def test_p_is_that_of_tossed_coins_and_the_interval_leaves_out_zero_when_it_is_small():
    for second in range(1, 30):
        table = evaluation.paired_tests({"one": answers(20, second), "other": ~answers(20, second)})
        tosses, fewer = 20 + second, min(20, second)
        ways = sum(math.comb(tosses, heads) for heads in range(fewer + 1))
        p = table["p"].item()
        assert p == pytest.approx(min(2 * ways / 2**tosses, 1), rel=1e-12)
        low, high = interval(table, "one, other", "difference, points")
        assert (low > 0 or high < 0) == (p < 0.05)


PROBABILITIES = np.full((5, 10), 0.0)
PROBABILITIES[np.arange(5), [3, 3, 4, 5, 6]] = [0.95, 0.85, 1.0, 0.81, 0.25]
TRUE = np.array([3, 7, 4, 5, 0])


def test_reliability_by_hand():
    table = evaluation.reliability(PROBABILITIES, TRUE)
    assert table.index.tolist() == ["0.2 to 0.3", "0.8 to 0.9", "0.9 to 1.0"]
    assert table["images"].tolist() == [1, 2, 2]
    assert table["probability %"].tolist() == pytest.approx([25, 83, 97.5])
    assert table["accuracy %", "estimate"].tolist() == [0, 50, 100]
    assert evaluation.expected_calibration_error(table) == pytest.approx((25 + 2 * 33 + 2 * 2.5) / 5)


def test_label_accuracy_of_the_article_and_by_hand():
    true, predicted = (np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10)))
    table = evaluation.label_accuracy(true, predicted)
    accuracy = table["accuracy %"]
    assert accuracy["estimate"].round(2).tolist() == article.LABEL_ACCURACY.tolist()
    assert table["correct"].sum() == 9_801 and table["images"].sum() == 10_000
    assert (accuracy["low"] < accuracy["estimate"]).all()
    assert (accuracy["estimate"] < accuracy["high"]).all()

    table = evaluation.label_accuracy(np.array([0, 0, 0, 0, 9]), np.array([0, 0, 0, 1, 0]))
    numbers = [("images", ""), ("correct", ""), ("accuracy %", "estimate")]
    assert table.loc[0, numbers].tolist() == [4, 3, 75]
    assert table.loc[9, numbers].tolist() == [1, 0, 0]
    assert table.loc[5, numbers[:2]].tolist() == [0, 0]
    assert table.loc[5, "accuracy %"].isna().all()


def test_errors_and_confused_pairs():
    confusion = np.zeros((10, 10), dtype=int)
    confusion[4, 4], confusion[4, 9], confusion[9, 4] = 3, 1, 2
    errors = evaluation.errors_only(confusion)
    assert errors[4, 9] == 25 and errors[9, 4] == 100
    assert errors.sum() == 125 and not np.diag(errors).any()

    # 4 and 9: 9 + 15, 2 and 7: 8 + 10; together 42 of the 199 errors.
    pairs = evaluation.confused_pairs(article.CONFUSION)
    assert pairs.index[:2].tolist() == ["4/9", "2/7"]
    assert pairs[:2].tolist() == [24, 18] and len(pairs) == 45 and pairs.sum() == 199


def test_what_ties_with_the_second_pair_is_among_the_top_two():
    tied = article.CONFUSION.copy()
    tied[2, 8] += 5  # 2/8, with 13, now has as many as 2/7, with 18
    top = evaluation.top_pairs(np.array([article.CONFUSION, tied]))
    assert top.shape == (2, 45) and top.sum(axis=1).tolist() == [2, 3]
    assert top["4/9"].all() and top["2/7"].all() and top["2/8"].tolist() == [False, True]
