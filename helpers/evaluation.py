"""How good the trained networks are, and how far the figures can be trusted."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from mlxtend.evaluate import mcnemar, mcnemar_table
from scipy.stats import binomtest

from helpers.checks import InputError, check_counts, check_flags, check_labels, check_probabilities, describe


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, such as an accuracy.

    Parameters
    ----------
    successes, trials
        So many of so many; at least one trial.
    confidence
        How often, over many data sets, such an interval holds the true share.

    Returns
    -------
    low, high
        Bounds between 0 and 1. Source: E. B. Wilson, "Probable inference, the law of
        succession, and statistical inference", 1927, as implemented by SciPy.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def epoch_accuracies(history: Mapping[str, Sequence[float]], images: int) -> pd.DataFrame:
    """Training and validation accuracy of one model, in percent, a row an epoch.

    Parameters
    ----------
    history
        `accuracy` and `val_accuracy`, a share between 0 and 1 an epoch.
    images
        How many images the validation accuracy is the share of.

    Returns
    -------
    DataFrame
        The columns `training %`, `validation %`, and `low %` and `high %`, the Wilson 95 %
        interval of the validation accuracy. The training accuracy has none: it is no share
        that one network reaches, but an average over a network that changes all the time.
    """
    epochs = pd.RangeIndex(1, len(history["accuracy"]) + 1, name="epoch")
    bounds = [wilson_interval(round(share * images), images) for share in history["val_accuracy"]]
    columns = {"training %": history["accuracy"], "validation %": history["val_accuracy"]}
    columns["low %"], columns["high %"] = zip(*bounds, strict=True)
    return 100 * pd.DataFrame(columns, index=epochs)


def final_accuracies(histories: Mapping[str, Mapping[str, Sequence[float]]], images: int) -> pd.DataFrame:
    """Accuracies after the last epoch, and the sum by which the article chooses.

    Parameters
    ----------
    histories, images
        As `epoch_accuracies` takes them; one history of each model, by its name.

    Returns
    -------
    DataFrame
        A row a model; the columns of `epoch_accuracies`, and `sum %`.
    """
    rows = {name: epoch_accuracies(history, images).iloc[-1] for name, history in histories.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    return table.assign(**{"sum %": table["training %"] + table["validation %"]})


def error_rates(correct: Mapping[str, np.ndarray], reference: str) -> pd.DataFrame:
    """Share of the images that each model misreads, and its relative change from one of the models.

    Parameters
    ----------
    correct
        Of each model, by its name: whether it reads each image correctly, bool, shape (n,).
    reference
        The model that the others are compared with.

    Returns
    -------
    DataFrame
        A row a model: `errors`, `error %`, its Wilson 95 % interval from `low %` to `high %`,
        and `change %`, how much higher the error rate is than the reference's; that is no
        number if the reference makes no errors.

    Raises
    ------
    InputError
        If these are no flags of the same images, or the reference is none of the models.
    """
    check_flags(**correct)
    if reference not in correct:
        raise InputError(f"reference: expected one of {', '.join(correct)}; found {reference!r}.")
    rows = {}
    for name, right in correct.items():
        errors, images = int((~right).sum()), len(right)
        low, high = wilson_interval(errors, images)
        rows[name] = {"errors": errors, "error %": 100 * errors / images, "low %": 100 * low, "high %": 100 * high}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").astype({"errors": int})
    table["change %"] = 100 * (table["error %"] / table.loc[reference, "error %"] - 1)
    return table


def paired_tests(correct: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare models two by two on the images that one of them reads correctly and the other does not.

    Parameters
    ----------
    correct
        Of each model, by its name: whether it reads each image correctly, bool, shape (n,).

    Returns
    -------
    DataFrame
        A row a pair of models: how many images `only first` and `only second` reads
        correctly, the `difference, points` of their accuracies, its 95 % interval from `low, points`
        to `high, points`, and the two-sided `p` of the exact McNemar test (Q. McNemar, "Note on the
        sampling error of the difference between correlated proportions or percentages", 1947,
        as implemented by mlxtend). The interval, like the test, takes the number of
        images on which the two differ as given: it is SciPy's exact (Clopper-Pearson)
        interval of the first model's share in them, so it leaves out 0 when p is below 0.05.

    Raises
    ------
    InputError
        If these are no flags of the same images, or of fewer than two models.
    """
    check_flags(**correct)
    if len(correct) < 2:
        raise InputError(f"correct: expected at least two models, to compare them; found {len(correct)}.")
    rows = {}
    for (first, one), (second, other) in itertools.combinations(correct.items(), 2):
        table = mcnemar_table(np.ones(len(one), int), one.astype(int), other.astype(int))
        only_first, only_second = int(table[0, 1]), int(table[1, 0])
        differ = only_first + only_second
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


def winners_advantage(correct: np.ndarray, splits: int = 1000, seed: int = 12345) -> pd.Series:
    """How much better the best of several models looks on the images that it was chosen by than on others.

    The images are split at random into two halves, over and over. On one half the model with
    the highest accuracy is chosen (of equals the first), on the other half it is looked at again.
    A choice by all images, with half the chance in it, flatters somewhat less.

    Parameters
    ----------
    correct
        Whether each model reads each image correctly, bool, shape (models, n).
    splits
        How often to split.
    seed
        Of the random halves.

    Returns
    -------
    Series
        Means over the splits: the winner's accuracy `where chosen, %`, on the half that chose it, and
        `elsewhere, %`, on the other; and `advantage, points`, the difference.

    Raises
    ------
    InputError
        If `correct` is anything else, or of fewer than two images.
    """
    if not isinstance(correct, np.ndarray) or correct.dtype != bool or correct.ndim != 2 or len(correct) < 1 or correct.shape[1] < 2:
        raise InputError(f"correct: expected bool of shape (models, n), n at least 2; found {describe(correct)}.")
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

    Raises
    ------
    InputError
        If they are no labels, or differ in number.
    """
    check_labels(true_labels=true_labels, predicted_labels=predicted_labels)
    check_counts(true_labels=true_labels, predicted_labels=predicted_labels)
    images = np.bincount(true_labels, minlength=10)
    correct = np.bincount(true_labels[true_labels == predicted_labels], minlength=10)
    rows = []
    for k, n in zip(correct.tolist(), images.tolist(), strict=True):
        low, high = wilson_interval(k, n) if n else (np.nan, np.nan)
        accuracy = k / n if n else np.nan
        rows.append({"images": n, "correct": k, "accuracy %": 100 * accuracy, "low %": 100 * low, "high %": 100 * high})
    return pd.DataFrame(rows, index=pd.RangeIndex(10, name="digit"))


def errors_only(confusion: np.ndarray) -> np.ndarray:
    """Errors in percent of the images that show the digit, with nothing on the diagonal.

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
    table = pd.DataFrame(
        {
            "errors": confusion[first, second] + confusion[second, first],
            "first taken for second": confusion[first, second],
            "second taken for first": confusion[second, first],
        },
        index=pd.Index([f"{i}/{j}" for i, j in zip(first, second, strict=True)], name="pair"),
    )
    table["share %"] = 100 * table["errors"] / max(table["errors"].sum(), 1)
    return table.sort_values("errors", ascending=False, kind="stable")


def reliability(probabilities: np.ndarray, true_labels: np.ndarray) -> pd.DataFrame:
    """How often predictions are right that were made with a given probability.

    Parameters
    ----------
    probabilities
        Of the ten classes, shape (n, 10); the prediction is the most probable one.
    true_labels
        Digits 0 to 9, shape (n,).

    Returns
    -------
    DataFrame
        A row a bin, a tenth wide and indexed by its bounds ("0.9 to 1.0"): `images`, `probability %`, the mean
        probability given to the prediction, and `accuracy %`, with its Wilson 95 % interval
        from `low %` to `high %`. Bins without images are left out.

    Raises
    ------
    InputError
        If they are no probabilities or no labels, or differ in number.
    """
    _check_predictions(probabilities, true_labels)
    probability = probabilities.max(axis=1).astype(float)
    correct = probabilities.argmax(axis=1) == true_labels
    places = np.minimum((10 * probability).astype(int), 9)
    rows = {}
    for place in np.unique(places):
        inside = places == place
        images, right = int(inside.sum()), int(correct[inside].sum())
        low, high = wilson_interval(right, images)
        rows[f"{place / 10:.1f} to {(place + 1) / 10:.1f}"] = {
            "images": images, "probability %": 100 * probability[inside].mean(),
            "accuracy %": 100 * right / images, "low %": 100 * low, "high %": 100 * high,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("probability").astype({"images": int})


def expected_calibration_error(table: pd.DataFrame) -> float:
    """By how many points probabilities and accuracies differ, averaged over the images.

    Parameters
    ----------
    table
        As `reliability` returns it. Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well
        calibrated probabilities using Bayesian binning", 2015.
    """
    gaps = (table["accuracy %"] - table["probability %"]).abs()
    return float((table["images"] * gaps).sum() / table["images"].sum())


def most_certain_errors(probabilities: np.ndarray, true_labels: np.ndarray) -> np.ndarray:
    """Indices of the images that are read wrongly, the one with the highest probability first.

    Parameters
    ----------
    probabilities, true_labels
        As `reliability` takes them.

    Raises
    ------
    InputError
        As `reliability` does.
    """
    _check_predictions(probabilities, true_labels)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != true_labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def _check_predictions(probabilities: np.ndarray, true_labels: np.ndarray) -> None:
    check_probabilities(probabilities=probabilities)
    check_labels(true_labels=true_labels)
    check_counts(probabilities=probabilities, true_labels=true_labels)
