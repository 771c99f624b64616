"""How good the trained networks are, and how far the figures can be trusted.

Labels are digits 0 to 9, shape (n,); probabilities floats of shape (n, 10), one column per digit; confusion counts
of shape (10, 10), rows true, columns predicted. A history holds `accuracy` and `val_accuracy`, one share between 0
and 1 per epoch; `correct` says, for each network by its name, whether it reads each image correctly, bool (n,).
Intervals run from `low` to `high` and are of 95 %.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from mlxtend.evaluate import mcnemar, mcnemar_table
from scipy.stats import binomtest


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927): two bounds between 0 and 1."""
    low, high = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(low), float(high)


def wilson_columns(successes: pd.Series, trials: pd.Series | int) -> pd.DataFrame:
    """Wilson 95 % intervals in percent, `low %` and `high %`; not a number where there are no trials."""
    counts = zip(successes.astype(int).tolist(), pd.Series(trials, successes.index).tolist(), strict=True)
    bounds = [wilson_interval(k, n) if n else (np.nan, np.nan) for k, n in counts]
    return 100 * pd.DataFrame(bounds, index=successes.index, columns=["low %", "high %"])


def epoch_accuracies(history: Mapping[str, Sequence[float]], images: int) -> pd.DataFrame:
    """`training %` and `validation %`, one row per epoch; the latter, a share of so many images, with its interval."""
    shares = pd.DataFrame({"training %": history["accuracy"], "validation %": history["val_accuracy"]})
    shares.index = pd.RangeIndex(1, len(shares) + 1, name="epoch")
    return (100 * shares).join(wilson_columns((shares["validation %"] * images).round(), images))


def final_accuracies(histories: Mapping[str, Mapping[str, Sequence[float]]], images: int) -> pd.DataFrame:
    """Last row of `epoch_accuracies` of each network, by its name, and `sum %`, by which the article chooses."""
    rows = {name: epoch_accuracies(history, images).iloc[-1] for name, history in histories.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
    return table.assign(**{"sum %": table["training %"] + table["validation %"]})


def error_rates(correct: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """Images each network misreads: `errors`, `error %` with its interval, and `change %` from the reference's rate."""
    wrong = ~pd.DataFrame(correct)
    table = pd.DataFrame({"errors": wrong.sum()}).rename_axis("network")
    table["error %"] = 100 * table["errors"] / len(wrong)
    table = table.join(wilson_columns(table["errors"], len(wrong)))
    table["change %"] = 100 * (table["error %"] / table.loc[reference, "error %"] - 1)
    return table


def paired_tests(correct: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare networks two by two on the images that one of them reads correctly and the other does not.

    How many images are `read by the first only` and `by the second only`, the `difference, points` of the accuracies
    with its interval, and the two-sided `p` of the exact McNemar test (Q. McNemar, Psychometrika 12, 1947), by mlxtend.
    """
    rows = {}
    for (first, one), (second, other) in itertools.combinations(correct.items(), 2):
        table = mcnemar_table(np.ones(len(one), int), one.astype(int), other.astype(int))
        only_first, only_second = int(table[0, 1]), int(table[1, 0])
        differ = only_first + only_second
        # Like the test, the interval takes the number of images on which the two differ as given: it is the exact
        # (Clopper-Pearson) interval of the first model's share in them, so it leaves out 0 when p is below 0.05.
        share = binomtest(only_first, differ).proportion_ci() if differ else None
        low, high = (2 * share.low - 1, 2 * share.high - 1) if share else (0.0, 0.0)
        rows[f"{first}, {second}"] = {
            "read by the first only": only_first, "by the second only": only_second,
            "difference, points": 100 * (only_first - only_second) / len(one),
            "low, points": 100 * differ / len(one) * low, "high, points": 100 * differ / len(one) * high,
            "p": mcnemar(table, exact=True)[1],
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("first, second")


def selection_bias(correct: np.ndarray, splits: int = 1000, seed: int = 12345) -> pd.Series:
    """How much better the best of several networks looks on the images that it was chosen by than on others.

    Over and over, the images are split into halves at random. On one the network with the highest accuracy is chosen
    (of equals the first), on the other it is evaluated again. A choice by all images has less bias, since an accuracy
    varies less over them. Takes whether each network reads each image correctly, bool (networks, n); returns
    means: `on the half it won, %`, `on the other half, %`, and `advantage, points`.
    """
    images = correct.shape[1]
    halves = np.random.default_rng(seed).permuted(np.tile(np.arange(images) < images // 2, (splits, 1)), axis=1)
    read = correct.astype(np.float32)  # exact: counts stay below 2**24
    here, there = read @ halves.T / (images // 2), read @ ~halves.T / (images - images // 2)
    winners, each = here.argmax(axis=0), np.arange(splits)
    won, other = (100 * float(half[winners, each].mean(dtype=float)) for half in (here, there))
    return pd.Series({"on the half it won, %": won, "on the other half, %": other, "advantage, points": won - other})


def label_accuracy(true_labels: np.ndarray, predicted_labels: np.ndarray) -> pd.DataFrame:
    """Of each digit `images`, how many are `correct`, and `accuracy %`, with its interval; none without images."""
    images = np.bincount(true_labels, minlength=10)
    correct = np.bincount(true_labels[true_labels == predicted_labels], minlength=10)
    table = pd.DataFrame({"images": images, "correct": correct}, index=pd.RangeIndex(10, name="digit"))
    table["accuracy %"] = 100 * (table["correct"] / table["images"])
    return table.join(wilson_columns(table["correct"], table["images"]))


def errors_only(confusion: np.ndarray) -> np.ndarray:
    """Errors in percent of the images that show the digit, with zeros on the diagonal, shape (10, 10)."""
    images = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return 100 * (confusion - np.diag(np.diag(confusion))) / images


def confused_pairs(confusion: np.ndarray) -> pd.Series:
    """How often the digits of each pair ("4/9") are taken for each other, either way: 45 counts, the highest first."""
    first, second = np.triu_indices(10, k=1)
    pairs = pd.Index([f"{i}/{j}" for i, j in zip(first, second, strict=True)], name="pair")
    counts = pd.Series((confusion + confusion.T)[first, second], pairs, name="errors")
    return counts.sort_values(ascending=False, kind="stable")


def top_pairs(confusions: np.ndarray) -> pd.DataFrame:
    """Whether each pair ("4/9") is among a training's two most confused, ties too; counts are (trainings, 10, 10)."""
    counts = pd.DataFrame([confused_pairs(confusion) for confusion in confusions]).reset_index(drop=True)
    return counts.ge(counts.apply(lambda row: row.nlargest(2).iloc[-1], axis=1), axis=0)


def reliability(probabilities: np.ndarray, true_labels: np.ndarray) -> pd.DataFrame:
    """How often predictions, the most probable digits, are right that were made with a given probability.

    One row per bin that has images, a tenth wide and indexed by its bounds ("0.9 to 1.0"): `images`, `probability %`,
    the mean probability given to the prediction, and `accuracy %`, with its Wilson interval.
    """
    probability = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == true_labels
    bins = np.minimum((10 * probability).astype(int), 9)
    numbers, images = np.unique(bins, return_counts=True)
    names = pd.Index([f"{number / 10:.1f} to {(number + 1) / 10:.1f}" for number in numbers], name="probability")
    read = pd.Series([correct[bins == number].sum() for number in numbers], names)
    means = [100 * probability[bins == number].mean() for number in numbers]
    table = pd.DataFrame({"images": images, "probability %": means, "accuracy %": 100 * read / images}, names)
    return table.join(wilson_columns(read, table["images"]))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Mean gap of probability and accuracy in a `reliability` table, in points (M. P. Naeini et al., AAAI 2015)."""
    gaps = (table["accuracy %"] - table["probability %"]).abs()
    return float((table["images"] * gaps).sum() / table["images"].sum())
