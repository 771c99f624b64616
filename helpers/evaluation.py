"""How well trained networks read one test set, and how far such figures can be trusted.

The functions take, and name, the following.

- Labels: digits 0 to 9, shape (n,).
- Probabilities: floats of shape (n, 10), one column per digit.
- Confusion counts: shape (10, 10), a row per true digit, a column per predicted digit.
- A history: `accuracy` and `val_accuracy`, each one share between 0 and 1 per epoch.
- `correct`: for each network, by its name, whether it reads each image correctly, bool (n,).

Columns with ``%`` are in percent, those with ``points`` in percentage points. Intervals run from
`low` to `high` and are of 95 %.
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
    E. B. Wilson, J. Am. Stat. Assoc. 22, 1927. Unlike the normal approximation it holds for shares
    near 0 and 1, such as a good network's accuracy.
    """
    low, high = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(low), float(high)


def wilson_columns(successes: pd.Series, trials: pd.Series | int) -> pd.DataFrame:
    """Compute Wilson intervals of counts.

    Returns
    -------
    One row per count: `low %` and `high %`, which are not a number where there are no trials.
    """
    trials = pd.Series(trials, successes.index)
    bounds = [
        wilson_interval(k, n) if n else (np.nan, np.nan)
        for k, n in zip(successes.astype(int).tolist(), trials.tolist(), strict=True)
    ]
    return 100 * pd.DataFrame(bounds, index=successes.index, columns=["low %", "high %"])


def epoch_accuracies(history: Mapping[str, Sequence[float]], images: int) -> pd.DataFrame:
    """Tabulate a history.

    Parameters
    ----------
    history : of one training
    images : how many the validation accuracy is a share of

    Returns
    -------
    One row per epoch, from 1: `training %` and `validation %`, and the interval of the latter.
    """
    shares = {"training %": history["accuracy"], "validation %": history["val_accuracy"]}
    epochs = pd.RangeIndex(1, len(history["accuracy"]) + 1, name="epoch")
    table = pd.DataFrame(shares, epochs)
    correct = (table["validation %"] * images).round()
    return (100 * table).join(wilson_columns(correct, images))


def final_accuracies(
    histories: Mapping[str, Mapping[str, Sequence[float]]], images: int
) -> pd.DataFrame:
    """Tabulate the accuracies after the last epoch.

    Returns
    -------
    One row per network: the last row of its `epoch_accuracies`, and `sum %`, the sum of both
    accuracies, by which the article chooses.
    """
    rows = {name: epoch_accuracies(each, images).iloc[-1] for name, each in histories.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
    table["sum %"] = table["training %"] + table["validation %"]
    return table


def error_rates(correct: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """Count the images that each network misreads.

    Returns
    -------
    One row per network: `errors`, `error %` with its interval, and `change %`, by how much that
    rate differs from the reference network's, in percent of the latter.
    """
    wrong = ~pd.DataFrame(correct)
    table = pd.DataFrame({"errors": wrong.sum()}).rename_axis("network")
    table["error %"] = 100 * table["errors"] / len(wrong)
    table = table.join(wilson_columns(table["errors"], len(wrong)))
    table["change %"] = 100 * (table["error %"] / table.loc[reference, "error %"] - 1)
    return table


def paired_tests(correct: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare networks two by two on the images that one of them misreads and the other does not.

    Returns
    -------
    One row per two networks. `read by the first only` and `by the second only` count images;
    `difference, points` is that of the accuracies, with its interval; `p` is of McNemar's exact
    test, two-sided.

    Notes
    -----
    McNemar's exact test (Q. McNemar, Psychometrika 12, 1947) is the binomial test of whether the
    first network's share in those images is one half. The interval is that share's exact one
    (Clopper-Pearson). Like the test, it takes the number of images on which the two differ as
    given; so it leaves out a difference of 0 when p is below 0.05.
    """
    rows = {}
    for (first, one), (second, other) in itertools.combinations(correct.items(), 2):
        only_first = int((one & ~other).sum())
        only_second = int((other & ~one).sum())
        differ = only_first + only_second
        if differ:
            test = binomtest(only_first, differ)
            p = float(test.pvalue)
            # A share s of the first is one of 1 - s of the second: a difference of 2 s - 1.
            low, high = (2 * bound - 1 for bound in test.proportion_ci())
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


def selection_bias(correct: np.ndarray, splits: int = 1000, seed: int = 12345) -> pd.Series:
    """Estimate how much too good the best of several networks looks on the images it was chosen by.

    Parameters
    ----------
    correct : whether each network reads each image correctly, bool (networks, n)
    splits : how often the images are split into halves
    seed : of the splits

    Returns
    -------
    Means over the splits: `on the half it won, %`, `on the other half, %`, and their difference,
    `advantage, points`.

    Notes
    -----
    The images are split at random into halves. The network with the highest accuracy on the one
    half, the first of equals, is evaluated on the other. A choice by all images has less bias,
    since an accuracy varies less over more images.
    """
    images = correct.shape[1]
    in_first_half = np.tile(np.arange(images) < images // 2, (splits, 1))
    here = np.random.default_rng(seed).permuted(in_first_half, axis=1)
    # Matrix products count for all networks and splits at once. In float32 they are fast, and
    # exact, since counts stay below 2**24.
    read = correct.astype(np.float32)
    accuracies_here = read @ here.T / (images // 2)
    accuracies_there = read @ ~here.T / (images - images // 2)
    winners = accuracies_here.argmax(axis=0)
    each = np.arange(splits)
    won = 100 * float(accuracies_here[winners, each].mean(dtype=float))
    other = 100 * float(accuracies_there[winners, each].mean(dtype=float))
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
    One row per digit: `images` that show it, `correct` of them, and `accuracy %` with its interval,
    not a number where no image shows the digit.
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
    Shape (10, 10), like the confusion counts, with zeros on the diagonal.
    """
    images = confusion.sum(axis=1, keepdims=True)
    errors = confusion - np.diag(np.diag(confusion))
    return 100 * errors / np.maximum(images, 1)  # a digit that no image shows has no errors


def confused_pairs(confusion: np.ndarray) -> pd.Series:
    """Count how often the two digits of a pair are taken for each other, either way.

    Returns
    -------
    45 counts, the highest first, by the names of the pairs ("4/9").
    """
    first, second = np.triu_indices(10, k=1)
    pairs = pd.Index([f"{i}/{j}" for i, j in zip(first, second, strict=True)], name="pair")
    both_ways = confusion + confusion.T
    counts = pd.Series(both_ways[first, second], pairs, name="errors")
    return counts.sort_values(ascending=False, kind="stable")


def top_pairs(confusions: np.ndarray) -> pd.DataFrame:
    """Mark each training's two most confused pairs of digits, and what ties with the second.

    Parameters
    ----------
    confusions : counts of several trainings, shape (trainings, 10, 10)

    Returns
    -------
    bool: one row per training, one column per pair ("4/9").
    """
    counts = pd.DataFrame([confused_pairs(confusion) for confusion in confusions])
    counts = counts.reset_index(drop=True)
    second_highest = counts.apply(lambda row: row.nlargest(2).iloc[-1], axis=1)
    return counts.ge(second_highest, axis=0)


def reliability(probabilities: np.ndarray, true_labels: np.ndarray) -> pd.DataFrame:
    """Compare the probability of predictions with how often they are right.

    A network predicts the most probable digit. Predictions are put in ten bins by that digit's
    probability.

    Returns
    -------
    One row per bin that has images, by its bounds ("0.9 to 1.0"): `images`; `probability %`, the
    mean probability of the predictions; and `accuracy %`, with its interval.
    """
    probability = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == true_labels
    bins = np.minimum((10 * probability).astype(int), 9)  # 1.0 belongs to the last
    numbers, images = np.unique(bins, return_counts=True)
    bounds = [f"{number / 10:.1f} to {(number + 1) / 10:.1f}" for number in numbers]
    table = pd.DataFrame({"images": images}, pd.Index(bounds, name="probability"))
    read = pd.Series([correct[bins == number].sum() for number in numbers], table.index)
    table["probability %"] = [100 * probability[bins == number].mean() for number in numbers]
    table["accuracy %"] = 100 * read / images
    return table.join(wilson_columns(read, table["images"]))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return the mean gap between probability and accuracy in a `reliability` table, in points.

    Notes
    -----
    Bins count by their images (M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015).
    """
    gaps = (table["accuracy %"] - table["probability %"]).abs()
    return float((table["images"] * gaps).sum() / table["images"].sum())
