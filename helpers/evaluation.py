"""How good the trained networks are, and how far the figures can be trusted."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest


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


def epoch_accuracies(history: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Training and validation accuracy of one model, in percent, a row an epoch.

    Parameters
    ----------
    history
        `accuracy` and `val_accuracy`, a share between 0 and 1 an epoch.
    """
    accuracies = {"training %": history["accuracy"], "validation %": history["val_accuracy"]}
    epochs = pd.RangeIndex(1, len(history["accuracy"]) + 1, name="epoch")
    return 100 * pd.DataFrame(accuracies, index=epochs)


def final_accuracies(histories: Mapping[str, Mapping[str, Sequence[float]]], images: int) -> pd.DataFrame:
    """Accuracies after the last epoch, and the sum by which the article chooses.

    Parameters
    ----------
    histories
        Of each model, by its name: `accuracy` and `val_accuracy`, a share an epoch.
    images
        How many images the validation accuracy is the share of.

    Returns
    -------
    DataFrame
        A row a model; the columns `training %`, `validation %`, `low %` and `high %` (the
        Wilson 95 % interval of the validation accuracy) and `sum %`.
    """
    rows = {}
    for name, history in histories.items():
        training, validation = epoch_accuracies(history).iloc[-1]
        low, high = wilson_interval(round(validation / 100 * images), images)
        rows[name] = {
            "training %": training, "validation %": validation, "low %": 100 * low, "high %": 100 * high,
            "sum %": training + validation,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


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
