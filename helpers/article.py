"""The published figures, and ours beside them.

Source: M. Pewsey, "MNIST handwritten digit classification", 28 September 2021.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from helpers.evaluation import confused_pairs

SEED, EPOCHS, BATCH_SIZE = 12345, 5, 64
# percent, after the last epoch
TRAINING = {"dense": 98.5, "conv": 97.83}
VALIDATION = {"dense": 98.01, "conv": 98.16}
BEST = "dense"
# percent of each digit's test images, and counts with true digits in rows; both of the best model
LABEL_ACCURACY = np.array([99.29, 98.77, 97.58, 97.62, 98.17, 98.09, 98.64, 97.37, 96.92, 97.62])
CONFUSION = np.array(
    [
        [973, 1, 1, 1, 0, 0, 1, 0, 2, 1],
        [0, 1121, 2, 1, 0, 1, 2, 0, 8, 0],
        [3, 0, 1007, 1, 2, 0, 2, 8, 9, 0],
        [0, 0, 4, 986, 0, 6, 0, 5, 1, 8],
        [2, 0, 1, 0, 964, 0, 5, 1, 0, 9],
        [2, 0, 0, 5, 2, 875, 2, 1, 4, 1],
        [3, 2, 0, 1, 3, 1, 945, 0, 3, 0],
        [1, 2, 10, 1, 3, 0, 0, 1001, 2, 8],
        [4, 0, 4, 4, 4, 2, 2, 3, 944, 7],
        [1, 2, 0, 2, 15, 1, 0, 2, 1, 985],
    ]
)


def is_comparable(is_full: bool, epochs: int, batch_size: int) -> bool:
    """Whether a run may stand beside the article: on the complete data, in as many epochs, with batches as large."""
    return is_full and (epochs, batch_size) == (EPOCHS, BATCH_SIZE)


def beside(ours: pd.DataFrame, comparable: bool, published: Mapping[str, Any]) -> pd.DataFrame:
    """Our table with the article's figures in further columns, or as it is if they do not compare.

    Parameters
    ----------
    ours
        Indexed as the published figures are: by model or by digit.
    comparable
        As `is_comparable` says.
    published
        Columns to add, by the name of the column of `ours` that each belongs to.
    """
    if not comparable:
        return ours
    columns = {f"{name}, article": pd.Series(values) for name, values in published.items()}
    return ours.join(pd.DataFrame(columns))


def in_short(best: str, label_accuracy: pd.DataFrame, pairs: pd.DataFrame, comparable: bool) -> pd.DataFrame:
    """What the article reads off its best model, and what we read off ours.

    Parameters
    ----------
    best
        Name of our best model.
    label_accuracy
        As `evaluation.label_accuracy` returns it.
    pairs
        As `evaluation.confused_pairs` returns it.
    comparable
        As `is_comparable` says; if not, our column stands alone.
    """

    def column(best: str, accuracy: pd.Series, pairs: pd.DataFrame) -> dict[str, str]:
        worst, top = accuracy.idxmin(), accuracy.idxmax()
        misread = pairs["errors"].sum()
        return {
            "better network": best,
            "test images misread": f"{misread:,}",
            "digit read best": f"{top} ({accuracy[top]:.2f} %)",
            "digit read worst": f"{worst} ({accuracy[worst]:.2f} %)",
            "pairs confused most": ", ".join(f"{pair} ({n})" for pair, n in pairs["errors"].head(3).items()),
        }

    here = column(best, label_accuracy["accuracy %"], pairs)
    if not comparable:
        return pd.DataFrame({"here": here})
    there = column(BEST, pd.Series(LABEL_ACCURACY), confused_pairs(CONFUSION))
    return pd.DataFrame({"article": there, "here": here})
