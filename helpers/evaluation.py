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

Columns with ``%`` are in percent, columns with ``points`` in percentage points. Columns `low` and
`high` are the bounds of a 95 % interval.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the Wilson score interval of a share: two bounds between 0 and 1.

    Notes
    -----
    Unlike the normal approximation, it holds for shares near 0 and 1, such as a good network's
    accuracy (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).
    """
    low, high = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(low), float(high)


def wilson_columns(successes: pd.Series, trials: pd.Series | int) -> pd.DataFrame:
    """Compute Wilson intervals of counts.

    Parameters
    ----------
    successes
        The counts.
    trials
        One number for all counts, or one for each, with the same index.

    Returns
    -------
    table
        One row per count: `low %` and `high %`, which are NaN if there are no trials.
    """
    trials = pd.Series(trials, successes.index)  # repeats a single number
    bounds = [
        wilson_interval(k, n) if n else (np.nan, np.nan)
        for k, n in zip(successes.astype(int).tolist(), trials.tolist(), strict=True)
    ]
    return 100 * pd.DataFrame(bounds, index=successes.index, columns=["low %", "high %"])


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
        One row per epoch, from 1: `training %`, `validation %` and the interval of the validation
        accuracy.
    """
    epochs = pd.RangeIndex(1, len(history["accuracy"]) + 1, name="epoch")
    training = pd.Series(history["accuracy"], epochs)
    validation = pd.Series(history["val_accuracy"], epochs)
    table = pd.DataFrame({"training %": 100 * training, "validation %": 100 * validation})
    correct = (validation * images).round()
    return table.join(wilson_columns(correct, images))


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
    rows = {name: epoch_accuracies(each, images).iloc[-1] for name, each in histories.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
    table["sum %"] = table["training %"] + table["validation %"]
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
    table = pd.DataFrame({"errors": wrong.sum()}).rename_axis("network")
    table["error %"] = 100 * table["errors"] / len(wrong)
    table = table.join(wilson_columns(table["errors"], len(wrong)))
    table["change %"] = 100 * (table["error %"] / table.loc[reference, "error %"] - 1)
    return table


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
            "difference, points": 100 * (only_first - only_second) / len(one),
            "low, points": 100 * differ / len(one) * low,
            "high, points": 100 * differ / len(one) * high,
            "p": p,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("first, second")


def selection_bias(correct_rows: np.ndarray, splits: int = 1000, seed: int = 12345) -> pd.Series:
    """Estimate by how much a choice among trained networks flatters the one that is chosen.

    The images are split at random into halves. The network with the highest accuracy on one half
    (the first, if there are several) is evaluated on the other half.

    Parameters
    ----------
    correct_rows
        Whether each network's prediction for each image is correct, bool, shape (networks, n).
    splits
        The number of splits.
    seed
        The seed of the splits.

    Returns
    -------
    means
        Over the splits: `on the half it won, %`, `on the other half, %`, and their difference,
        `advantage, points`.

    Notes
    -----
    A choice by all images is less biased, since accuracies on more images vary less.
    """
    images = correct_rows.shape[1]
    half = images // 2
    # Shape (splits, n): whether an image is in the half by which a network is chosen.
    in_order = np.tile(np.arange(images) < half, (splits, 1))
    here = np.random.default_rng(seed).permuted(in_order, axis=1)
    # Matrix products count correct predictions for all networks and splits at once. float32 is
    # fast, and these counts are exact in it, since they stay below 2**24.
    correct = correct_rows.astype(np.float32)
    accuracies_here = correct @ here.T / half  # shape (networks, splits)
    accuracies_there = correct @ ~here.T / (images - half)
    winners = accuracies_here.argmax(axis=0)  # one per split
    each_split = np.arange(splits)
    won = 100 * float(accuracies_here[winners, each_split].mean(dtype=float))
    other = 100 * float(accuracies_there[winners, each_split].mean(dtype=float))
    return pd.Series(
        {
            "on the half it won, %": won,
            "on the other half, %": other,
            "advantage, points": won - other,
        }
    )


def label_accuracy(true_labels: np.ndarray, predicted_labels: np.ndarray) -> pd.DataFrame:
    """Compute the accuracy by digit.

    Returns
    -------
    table
        One row per digit: `images`, the number of images that show it; `correct`, how many of them
        are classified correctly; and `accuracy %` with its interval, NaN if no image shows it.
    """
    images = np.bincount(true_labels, minlength=10)
    correct = np.bincount(true_labels[true_labels == predicted_labels], minlength=10)
    digits = pd.RangeIndex(10, name="digit")
    table = pd.DataFrame({"images": images, "correct": correct}, digits)
    table["accuracy %"] = 100 * (table["correct"] / table["images"])
    return table.join(wilson_columns(table["correct"], table["images"]))


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
    bins_used, images = np.unique(bins, return_counts=True)
    bounds = [f"{each / 10:.1f} to {(each + 1) / 10:.1f}" for each in bins_used]
    table = pd.DataFrame({"images": images}, pd.Index(bounds, name="probability"))
    correct_counts = pd.Series([correct[bins == each].sum() for each in bins_used], table.index)
    table["probability %"] = [100 * probability[bins == each].mean() for each in bins_used]
    table["accuracy %"] = 100 * correct_counts / images
    return table.join(wilson_columns(correct_counts, table["images"]))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return the mean gap between probability and accuracy in a `reliability` table, in points.

    Notes
    -----
    Each bin is weighted by its images (M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015).
    """
    gaps = (table["accuracy %"] - table["probability %"]).abs()
    return float((table["images"] * gaps).sum() / table["images"].sum())
