import numpy as np
import pandas as pd

from helpers import article, evaluation


def test_published_figures_agree_with_each_other():
    """Rows add up to the number of test images of each digit; the diagonal to the validation accuracy."""
    assert article.CONFUSION.sum(axis=1).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.trace(article.CONFUSION) == 9_801 == round(100 * article.VALIDATION[article.BEST])


def test_only_like_is_compared_with_like():
    assert article.is_comparable(True, 5, 64)
    assert not article.is_comparable(False, 5, 64)
    assert not article.is_comparable(True, 3, 64)
    assert not article.is_comparable(True, 5, 32)


def test_beside():
    ours = pd.DataFrame({"training %": [98.0, 99.0]}, index=["conv", "dense"])
    table = article.beside(ours, True, {"training %": article.TRAINING})
    assert table.columns.tolist() == ["training %", "training %, article"]
    assert table["training %, article"].tolist() == [97.83, 98.5]
    assert article.beside(ours, False, {"training %": article.TRAINING}) is ours


def test_in_short():
    by_digit = evaluation.label_accuracy(np.array([1, 1, 2, 2, *range(10)]), np.array([1, 1, 2, 3, *range(10)]))
    pairs = evaluation.confused_pairs(np.eye(10, dtype=int) + np.eye(10, k=1, dtype=int))
    table = article.in_short("conv", by_digit, pairs, comparable=True)
    assert table["here"].tolist()[:2] == ["conv", "9"]
    assert table.loc["digit read worst", "here"] == "2 (66.67 %)"
    assert table["article"].tolist() == [
        "dense", "199", "0 (99.29 %)", "8 (96.92 %)", "4/9 (24), 2/7 (18), 2/8 (13)",
    ]  # fmt: skip
    assert article.in_short("conv", by_digit, pairs, comparable=False).columns.tolist() == ["here"]
