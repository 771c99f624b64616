"""These functions measure how accurate networks are on a test set, and how certain that is.

They share these terms.

labels
    Digits 0 to 9, shape (n,).
probabilities
    Floats, shape (n, 10), one column per digit.
confusion
    Counts, shape (10, 10), one row per true digit, one column per predicted digit.
history
    Lists `accuracy` and `val_accuracy`, in which each epoch has a share from 0 to 1.
correct
    For each network, by its name: whether its prediction for each image is correct, bool,
    shape (n,).

Columns with ``%`` are in percent, columns with ``points`` in percentage points. Where a column has
an interval, of 95 %, it has the parts `estimate`, `low` and `high`: the module `tables` says how.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from helpers import tables


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the Wilson score interval of a share: two bounds between 0 and 1.

    Notes
    -----
    Unlike the normal approximation, it holds for shares near 0 and 1, such as a good network's
    accuracy (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).
    """
    low, high = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(low), float(high)


def with_wilson_interval(percentages: pd.Series, trials: pd.Series | int) -> pd.DataFrame:
    """Put Wilson intervals beside shares of counts.

    Parameters
    ----------
    percentages
        The shares, in percent. They may be rounded, if only the count can be told from them.
    trials
        One number for all shares, or one for each, with the same index.

    Returns
    -------
    table
        One row per share, in percent: `estimate`, `low` and `high`, NaN if there are no trials.
    """
    trials = pd.Series(trials, percentages.index)  # repeats a single number
    successes = (percentages / 100 * trials).round()
    bounds = [
        wilson_interval(int(k), n) if n else (np.nan, np.nan)
        for k, n in zip(successes.tolist(), trials.tolist(), strict=True)
    ]
    table = 100 * pd.DataFrame(bounds, index=percentages.index, columns=["low", "high"])
    table.insert(0, "estimate", percentages)
    return table


def epoch_accuracies(history: Mapping[str, Sequence[float]], images: int) -> pd.DataFrame:
    """Tabulate a history.

    Parameters
    ----------
    history
        The history of one training.
    images
        The number of test images.

    Returns
    -------
    table
        One row per epoch, from 1: `training %`, and `validation %` with its interval.
    """
    epochs = pd.RangeIndex(1, len(history["accuracy"]) + 1, name="epoch")
    training = 100 * pd.Series(history["accuracy"], epochs)
    validation = 100 * pd.Series(history["val_accuracy"], epochs)
    return tables.from_columns(
        {"training %": training, "validation %": with_wilson_interval(validation, images)}
    )


def final_accuracies(
    histories: Mapping[str, Mapping[str, Sequence[float]]], images: int
) -> pd.DataFrame:
    """Tabulate the accuracies after the last epoch.

    Parameters
    ----------
    histories
        The history of each network, by its name.
    images
        The number of test images.

    Returns
    -------
    table
        One row per network: the last row of its `epoch_accuracies`, and `sum %`, the sum of both
        accuracies. The article chooses the network with the highest sum.
    """
    last_rows = {name: epoch_accuracies(each, images).tail(1) for name, each in histories.items()}
    table = pd.concat(last_rows, names=["network"]).droplevel("epoch")
    table["sum %", ""] = table["training %"] + table["validation %", "estimate"]
    return table


def error_rates(correct: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """Count the images that each network classifies wrongly.

    Returns
    -------
    table
        One row per network: `errors`, `error %` with its interval, and `change %`, which compares
        the error rate with that of the network `reference`. A rate half as high is a change of
        -50 %. If the reference makes no errors, changes are infinite or NaN.
    """
    wrong = ~pd.DataFrame(correct)
    errors = wrong.sum().rename_axis("network")
    rates = 100 * errors / len(wrong)
    return tables.from_columns(
        {
            "errors": errors,
            "error %": with_wilson_interval(rates, len(wrong)),
            "change %": 100 * (rates / rates[reference] - 1),
        }
    )


def paired_tests(correct: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare networks two by two on the images that only one of them classifies correctly.

    Returns
    -------
    table
        One row per two networks. `read by the first only` and `by the second only` count images.
        `difference, points` is the first accuracy minus the second, with its interval. `p` is the
        two-sided p-value of McNemar's exact test.

    Notes
    -----
    Let d be the number of images that only one of two networks classifies correctly, and s the
    first network's share of them. McNemar's exact test (Q. McNemar, Psychometrika 12, 1947) is the
    binomial test of s = 1/2, with d fixed. The exact (Clopper-Pearson) interval of s becomes the
    difference's interval: of n images, the first network has s d / n to itself, the second
    (1 - s) d / n, and the difference is (2 s - 1) d / n. This interval excludes 0 exactly when
    p < 0.05.
    """
    rows = {}
    for (first, one), (second, other) in itertools.combinations(correct.items(), 2):
        only_first = int((one & ~other).sum())
        only_second = int((other & ~one).sum())
        differ = only_first + only_second
        if differ:
            test = binomtest(only_first, differ)
            p = float(test.pvalue)
            low, high = (2 * bound - 1 for bound in test.proportion_ci())  # see the Notes
        else:
            p, low, high = 1.0, 0.0, 0.0
        rows[f"{first}, {second}"] = {
            "read by the first only": only_first,
            "by the second only": only_second,
            "difference, points": {
                "estimate": 100 * (only_first - only_second) / len(one),
                "low": 100 * differ / len(one) * low,
                "high": 100 * differ / len(one) * high,
            },
            "p": p,
        }
    return tables.from_rows(rows).rename_axis("first, second")


def label_accuracy(true_labels: np.ndarray, predicted_labels: np.ndarray) -> pd.DataFrame:
    """Compute the accuracy by digit.

    Returns
    -------
    table
        One row per digit: `images`, the number of images that show it; `correct`, how many of them
        are classified correctly; and `accuracy %` with its interval, NaN if no image shows it.
    """
    digits = pd.RangeIndex(10, name="digit")
    images = pd.Series(np.bincount(true_labels, minlength=10), digits)
    read_correctly = true_labels[true_labels == predicted_labels]
    correct = pd.Series(np.bincount(read_correctly, minlength=10), digits)
    accuracy = with_wilson_interval(100 * (correct / images), images)
    return tables.from_columns({"images": images, "correct": correct, "accuracy %": accuracy})


def errors_only(confusion: np.ndarray) -> np.ndarray:
    """Express errors in percent of the images of their true digit.

    Returns
    -------
    percentages
        Shape (10, 10), like `confusion`, with zeros on the diagonal.
    """
    images = confusion.sum(axis=1, keepdims=True)
    errors = confusion - np.diag(np.diag(confusion))
    return 100 * errors / np.maximum(images, 1)  # 0 %, if no image shows a digit


def confused_pairs(confusion: np.ndarray) -> pd.Series:
    """Count how often the two digits of a pair are taken for each other, either way.

    Returns
    -------
    errors
        One count for each of the 45 pairs, by its name ("4/9"), the highest first.
    """
    first, second = np.triu_indices(10, k=1)
    pairs = pd.Index([f"{i}/{j}" for i, j in zip(first, second, strict=True)], name="pair")
    both_ways = confusion + confusion.T
    counts = pd.Series(both_ways[first, second], pairs, name="errors")
    return counts.sort_values(ascending=False, kind="stable")


def top_pairs(confusions: np.ndarray) -> pd.DataFrame:
    """Mark the two pairs of digits that each training confuses most.

    Pairs with as many errors as the second are marked, too.

    Parameters
    ----------
    confusions
        The confusion counts of several trainings, shape (trainings, 10, 10).

    Returns
    -------
    table
        bool, one row per training, one column per pair ("4/9").
    """
    counts = pd.DataFrame([confused_pairs(confusion) for confusion in confusions])
    counts = counts.reset_index(drop=True)  # all rows were named "errors"
    second_highest = counts.apply(lambda row: row.nlargest(2).iloc[-1], axis=1)
    return counts.ge(second_highest, axis=0)


def reliability(probabilities: np.ndarray, true_labels: np.ndarray) -> pd.DataFrame:
    """Compare the probabilities of predictions with how often these are correct.

    A network predicts the most probable digit. Predictions are put in ten bins by that digit's
    probability.

    Returns
    -------
    table
        One row per bin that has images, by its bounds ("0.9 to 1.0"): `images`; `probability %`,
        the mean probability of the predictions; and `accuracy %`, with its interval.
    """
    probability = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == true_labels
    bins = np.minimum((10 * probability).astype(int), 9)  # 1.0 belongs to the last
    members = {
        f"{each / 10:.1f} to {(each + 1) / 10:.1f}": bins == each for each in np.unique(bins)
    }
    # By bin: how many images it has, and what their means are.
    index = pd.Index(members, name="probability")
    images = pd.Series([here.sum() for here in members.values()], index)
    expected = pd.Series([100 * probability[here].mean() for here in members.values()], index)
    accuracy = pd.Series([100 * correct[here].mean() for here in members.values()], index)
    return tables.from_columns(
        {
            "images": images,
            "probability %": expected,
            "accuracy %": with_wilson_interval(accuracy, images),
        }
    )


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return the mean gap between probability and accuracy in a `reliability` table, in points.

    Notes
    -----
    Each bin is weighted by its images (M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015).
    """
    gaps = (table["accuracy %", "estimate"] - table["probability %"]).abs()
    return float((table["images"] * gaps).sum() / table["images"].sum())
