import numpy as np
import pandas as pd
import pytest

from helpers import article, evaluation

DENSE = {"accuracy": [0.95, 0.985], "val_accuracy": [0.97, 0.9801]}
CONV = {"accuracy": [0.94, 0.9783], "val_accuracy": [0.975, 0.9816]}


def test_wilson_interval_of_a_known_case():
    low, high = evaluation.wilson_interval(9_842, 10_000)
    assert (round(100 * low, 2), round(100 * high, 2)) == (98.16, 98.65)


def test_wilson_interval_stays_within_bounds():
    assert evaluation.wilson_interval(10, 10)[1] == 1
    assert evaluation.wilson_interval(0, 10)[0] == 0


def test_wilson_interval_narrows_with_less_confidence():
    wide, narrow = evaluation.wilson_interval(90, 100), evaluation.wilson_interval(90, 100, confidence=0.5)
    assert wide[0] < narrow[0] < 0.9 < narrow[1] < wide[1]


def test_epoch_accuracies_in_percent():
    table = evaluation.epoch_accuracies(DENSE)
    assert table.index.tolist() == [1, 2]
    assert table["training %"].tolist() == pytest.approx([95, 98.5])
    assert table["validation %"].tolist() == pytest.approx([97, 98.01])


def test_article_selection_rule_on_the_article():
    """0.985 + 0.9801 is more than 0.9783 + 0.9816: the article's choice."""
    table = evaluation.final_accuracies({"dense": DENSE, "conv": CONV}, images=10_000)
    assert table["sum %"].tolist() == pytest.approx([196.51, 195.99])
    assert table["sum %"].idxmax() == article.BEST
    assert table["validation %"].idxmax() == "conv"
    low, high = evaluation.wilson_interval(9_816, 10_000)
    assert table.loc["conv", ["low %", "high %"]].tolist() == pytest.approx([100 * low, 100 * high])


def test_label_accuracy_of_the_article():
    """Its confusion matrix gives its ten percentages."""
    true, predicted = (np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10)))
    table = evaluation.label_accuracy(true, predicted)
    assert table["accuracy %"].round(2).tolist() == article.LABEL_ACCURACY.tolist()
    assert table["correct"].sum() == 9_801 and table["images"].sum() == 10_000
    assert (table["low %"] < table["accuracy %"]).all() and (table["accuracy %"] < table["high %"]).all()


def test_label_accuracy_by_hand():
    table = evaluation.label_accuracy(np.array([0, 0, 0, 0, 9]), np.array([0, 0, 0, 1, 0]))
    assert table.loc[0, ["images", "correct", "accuracy %"]].tolist() == [4, 3, 75]
    assert table.loc[9, ["images", "correct", "accuracy %"]].tolist() == [1, 0, 0]
    assert table.loc[5, ["images", "correct"]].tolist() == [0, 0] and np.isnan(table.loc[5, "accuracy %"])


def test_errors_only():
    confusion = np.zeros((10, 10), dtype=int)
    confusion[4, 4], confusion[4, 9], confusion[9, 4] = 3, 1, 2
    errors = evaluation.errors_only(confusion)
    assert errors[4, 9] == 25 and errors[9, 4] == 100
    assert errors.sum() == 125 and not np.diag(errors).any()


def test_confused_pairs_of_the_article():
    """4 and 9: 9 + 15, 2 and 7: 8 + 10; together 42 of the 199 errors."""
    pairs = evaluation.confused_pairs(article.CONFUSION)
    assert pairs.index[:2].tolist() == ["4/9", "2/7"]
    assert pairs.loc["4/9"].tolist() == [24, 9, 15, pytest.approx(100 * 24 / 199)]
    assert pairs.loc["2/7", "errors"] == 18
    assert len(pairs) == 45 and pairs["errors"].sum() == 199


def test_confused_pairs_without_errors():
    pairs = evaluation.confused_pairs(np.diag(np.arange(10)))
    assert isinstance(pairs, pd.DataFrame) and not pairs["share %"].any()
