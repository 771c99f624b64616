"""How good the trained networks are, and how far the figures can be trusted."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from mlxtend.evaluate import mcnemar, mcnemar_table
from scipy.stats import binomtest


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, such as an accuracy: two bounds between 0 and 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", 1927, as implemented by SciPy.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def wilson_columns(successes: pd.Series, trials: pd.Series | int) -> pd.DataFrame:
    """Wilson 95 % intervals in percent, `low %` and `high %`; not a number where there are no trials."""
    counts = zip(successes.astype(int).tolist(), pd.Series(trials, successes.index).tolist(), strict=True)
    bounds = [wilson_interval(k, n) if n else (np.nan, np.nan) for k, n in counts]
    return 100 * pd.DataFrame(bounds, index=successes.index, columns=["low %", "high %"])


def epoch_accuracies(history: Mapping[str, Sequence[float]], images: int) -> pd.DataFrame:
    """Training and validation accuracy of one model, in percent, one row per epoch.

    Parameters
    ----------
    history
        `accuracy` and `val_accuracy`, one share between 0 and 1 per epoch.
    images
        How many images the validation accuracy is the share of.

    Returns
    -------
    DataFrame
        The columns `training %`, `validation %`, and `low %` and `high %`, the Wilson 95 %
        interval of the validation accuracy. The training accuracy has none: it is not the share
        of one network, but an average over a network that changes all the time.
    """
    shares = pd.DataFrame({"training %": history["accuracy"], "validation %": history["val_accuracy"]})
    shares.index = pd.RangeIndex(1, len(shares) + 1, name="epoch")
    return (100 * shares).join(wilson_columns((shares["validation %"] * images).round(), images))


def final_accuracies(histories: Mapping[str, Mapping[str, Sequence[float]]], images: int) -> pd.DataFrame:
    """Accuracies after the last epoch, and the sum by which the article chooses.

    Parameters
    ----------
    histories, images
        As `epoch_accuracies` takes them; one history per model, by the model's name.

    Returns
    -------
    DataFrame
        One row per model; the columns of `epoch_accuracies`, and `sum %`.
    """
    rows = {name: epoch_accuracies(history, images).iloc[-1] for name, history in histories.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    return table.assign(**{"sum %": table["training %"] + table["validation %"]})


def error_rates(correct: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """Share of the images that each model misreads, and its relative change from one of the models.

    Parameters
    ----------
    correct
        For each model, by its name: whether it reads each image correctly, bool, shape (n,).
    reference
        The model that the others are compared with.

    Returns
    -------
    DataFrame
        One row per model: `errors`, `error %`, its Wilson 95 % interval from `low %` to `high %`, and
        `change %`, by how much the error rate is higher than the reference's; not a finite number
        if the reference makes no errors.
    """
    wrong = ~pd.DataFrame(correct)
    table = pd.DataFrame({"errors": wrong.sum()}).rename_axis("model")
    table["error %"] = 100 * table["errors"] / len(wrong)
    table = table.join(wilson_columns(table["errors"], len(wrong)))
    table["change %"] = 100 * (table["error %"] / table.loc[reference, "error %"] - 1)
    return table


def paired_tests(correct: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare models two by two on the images that one of them reads correctly and the other does not.

    Parameters
    ----------
    correct
        As `error_rates` takes it.

    Returns
    -------
    DataFrame
        One row per pair of models: how many images `only first` and `only second` reads correctly, the
        `difference, points` of their accuracies, its 95 % interval from `low, points` to `high, points`,
        and the two-sided `p` of the exact McNemar test (Q. McNemar, "Note on the sampling error of
        the difference between correlated proportions or percentages", 1947, as implemented by mlxtend).
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
            "only first": only_first, "only second": only_second,
            "difference, points": 100 * (only_first - only_second) / len(one),
            "low, points": 100 * differ / len(one) * low, "high, points": 100 * differ / len(one) * high,
            "p": mcnemar(table, exact=True)[1],
        }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("first, second")
    return table.astype({"only first": int, "only second": int})


def selection_bias(correct: np.ndarray, splits: int = 1000, seed: int = 12345) -> pd.Series:
    """How much better the best of several models looks on the images that it was chosen by than on others.

    The images are split at random into two halves, over and over. On one half the model with
    the highest accuracy is chosen (of equals the first), on the other half it is evaluated again.
    A choice by all images has less bias, since an accuracy varies less over all of them than over half.

    Parameters
    ----------
    correct
        Whether each model reads each image correctly, bool, shape (models, n), n at least 2.

    Returns
    -------
    Series
        Means over the splits: the winner's accuracy `where chosen, %`, on the half that chose it, and
        `elsewhere, %`, on the other; and `advantage, points`, the difference.
    """
    images = correct.shape[1]
    halves = np.random.default_rng(seed).permuted(np.tile(np.arange(images) < images // 2, (splits, 1)), axis=1)
    read = correct.astype(np.float32)  # exact: counts stay below 2**24
    here, there = read @ halves.T / (images // 2), read @ ~halves.T / (images - images // 2)
    winners, each = here.argmax(axis=0), np.arange(splits)
    chosen, elsewhere = (100 * float(half[winners, each].mean(dtype=float)) for half in (here, there))
    return pd.Series({"where chosen, %": chosen, "elsewhere, %": elsewhere, "advantage, points": chosen - elsewhere})


def label_accuracy(true_labels: np.ndarray, predicted_labels: np.ndarray) -> pd.DataFrame:
    """Share of each digit's images predicted correctly, with its Wilson 95 % interval.

    Parameters
    ----------
    true_labels, predicted_labels
        Digits 0 to 9, shape (n,).

    Returns
    -------
    DataFrame
        Ten rows, indexed by `digit`; the columns `images` and `correct` are counts, and
        `low %` and `high %` bound `accuracy %`. A digit that no image shows has no accuracy.
    """
    images = np.bincount(true_labels, minlength=10)
    correct = np.bincount(true_labels[true_labels == predicted_labels], minlength=10)
    table = pd.DataFrame({"images": images, "correct": correct}, index=pd.RangeIndex(10, name="digit"))
    table["accuracy %"] = 100 * (table["correct"] / table["images"])
    return table.join(wilson_columns(table["correct"], table["images"]))


def errors_only(confusion: np.ndarray) -> np.ndarray:
    """Errors in percent of the images that show the digit, with zeros on the diagonal, shape (10, 10).

    Parameters
    ----------
    confusion
        Counts, shape (10, 10): rows true, columns predicted.
    """
    images = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return 100 * (confusion - np.diag(np.diag(confusion))) / images


def confused_pairs(confusion: np.ndarray) -> pd.DataFrame:
    """How often the two digits of each pair are taken for each other, the worst pair first.

    Parameters
    ----------
    confusion
        Counts, shape (10, 10): rows true, columns predicted.

    Returns
    -------
    DataFrame
        45 rows, indexed by `pair` ("4/9"): `errors` in both directions, `first taken for
        second` and `second taken for first`, and `share %` of all errors.
    """
    first, second = np.triu_indices(10, k=1)
    there, back = confusion[first, second], confusion[second, first]
    table = pd.DataFrame(
        {"errors": there + back, "first taken for second": there, "second taken for first": back},
        index=pd.Index([f"{i}/{j}" for i, j in zip(first, second, strict=True)], name="pair"),
    )
    table["share %"] = 100 * table["errors"] / max(table["errors"].sum(), 1)
    return table.sort_values("errors", ascending=False, kind="stable")


def reliability(probabilities: np.ndarray, true_labels: np.ndarray) -> pd.DataFrame:
    """How often predictions are right that were made with a given probability.

    Parameters
    ----------
    probabilities
        Of the ten classes, floats from 0 to 1, shape (n, 10); the prediction is the most probable class.
    true_labels
        Digits 0 to 9, shape (n,).

    Returns
    -------
    DataFrame
        One row per bin that has images, a tenth wide and indexed by its bounds ("0.9 to 1.0"): `images`,
        `probability %`, the mean probability given to the prediction, and `accuracy %`, with its
        Wilson 95 % interval from `low %` to `high %`.
    """
    probability = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == true_labels
    bins = np.minimum((10 * probability).astype(int), 9)
    rows = {
        f"{number / 10:.1f} to {(number + 1) / 10:.1f}": {
            "images": (bins == number).sum(),
            "probability %": 100 * probability[bins == number].mean(),
            "correct": correct[bins == number].sum(),
        }
        for number in np.unique(bins)
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("probability").astype({"images": int})
    correct_images = table.pop("correct")
    table["accuracy %"] = 100 * correct_images / table["images"]
    return table.join(wilson_columns(correct_images, table["images"]))


def expected_calibration_error(table: pd.DataFrame) -> float:
    """By how many points probabilities and accuracies differ, averaged over the images.

    Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities
    using Bayesian binning", 2015.

    Parameters
    ----------
    table
        As `reliability` returns it.
    """
    gaps = (table["accuracy %"] - table["probability %"]).abs()
    return float((table["images"] * gaps).sum() / table["images"].sum())


def most_certain_errors(probabilities: np.ndarray, true_labels: np.ndarray) -> np.ndarray:
    """Indices of the images that are read wrongly, the one with the highest probability first.

    Parameters
    ----------
    probabilities, true_labels
        As `reliability` takes them.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != true_labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def trust(probabilities: np.ndarray) -> np.ndarray:
    """How far each reading can be trusted: the probability of the digit read, from 0 to 1, shape (n,).

    Of eight measures tried on pictures of people's own digits none told right from wrong readings better.
    """
    return probabilities.max(axis=1).astype(float)
