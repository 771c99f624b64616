"""Say how much many trainings vary, which network wins, and which errors they share.

Runs are those of the module `study`, and `accuracies` is the table that `accuracies_of_runs`
returns. The module `tables` says what parts the column of an estimate has: `estimate`, and either
the bounds of a 95 % interval, `low` and `high`, or the standard deviation, `sd`.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, ttest_1samp

from helpers import tables
from helpers.study import Run, runs_of


def accuracies_of_runs(runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """Collect the accuracies of each run after the last epoch, and their sum.

    Parameters
    ----------
    names
        The candidates whose runs are collected.

    Returns
    -------
    table
        One row per run: `training %`, `validation %` and `sum %`. The index is `candidate`, in the
        order of `names`, and `seed`.
    """
    chosen = [run for name in names for run in runs_of(name, runs)]
    training = [100 * run["history"]["accuracy"][-1] for run in chosen]
    validation = [100 * run["history"]["val_accuracy"][-1] for run in chosen]
    table = pd.DataFrame({"training %": training, "validation %": validation})
    keys = ["candidate", "seed"]
    values = [[run[key] for run in chosen] for key in keys]
    table.index = pd.MultiIndex.from_arrays(values, names=keys)
    return table.assign(**{"sum %": table["training %"] + table["validation %"]})


def spread(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Compute the mean and the standard deviation of each candidate's runs.

    Returns
    -------
    table
        One row per candidate: how many `trainings` it has, and for each column of `accuracies` the
        mean, `estimate`, and the standard deviation (over n - 1), `sd`.
    """
    groups = accuracies.groupby("candidate", sort=False)
    table = groups.agg(["mean", "std"]).rename(columns={"mean": "estimate", "std": "sd"}, level=1)
    table.insert(0, ("trainings", ""), groups.size())
    return table.rename_axis("network")


def superiority(accuracies: pd.DataFrame, seed: int = 12345) -> pd.DataFrame:
    """Compare the networks two by two over all pairs of their trainings.

    Returns
    -------
    table
        One row per two networks: `by sum, % of pairs` and `by validation, % of pairs`, each with
        its interval. Networks with a single run, such as a reader's own, are left out. Without runs
        it is empty, but has these columns.

    Notes
    -----
    Any training of the one network is paired with any of the other. The interval is SciPy's
    percentile bootstrap: trainings are drawn with replacement 9,999 times. If all trainings agree,
    it has no width, but that proves nothing about further trainings.
    """
    measures = {"by sum, % of pairs": "sum %", "by validation, % of pairs": "validation %"}
    columns = pd.MultiIndex.from_product([measures, ["estimate", "low", "high"]])
    counts = accuracies.groupby("candidate", sort=False).size()
    rows: dict[str, list[float]] = {}
    for first, second in itertools.combinations(counts.index[counts > 1], 2):
        row: list[float] = []
        for measure in measures.values():
            samples = accuracies.loc[first, measure], accuracies.loc[second, measure]
            drawn = bootstrap(
                samples,
                probability_of_superiority,
                method="percentile",
                batch=1000,  # of 9,999 at once, which bounds the memory
                rng=np.random.default_rng(seed),
            )
            row.append(float(probability_of_superiority(*samples)))
            row += [float(bound) for bound in drawn.confidence_interval]
        rows[f"{first} beats {second}"] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def probability_of_superiority(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute in what percentage of all pairs the one has the larger value; a tie counts half.

    Parameters
    ----------
    one, other
        Values along the last axis, shapes (..., n) and (..., m).
    axis
        The last one, -1: SciPy's bootstrap demands such a parameter.

    Returns
    -------
    percentage
        Shape (...).

    Notes
    -----
    This is the Mann-Whitney statistic divided by the number of pairs.
    """
    one, other = np.asarray(one)[..., :, None], np.asarray(other)[..., None, :]
    wins = (one > other).mean(axis=(-2, -1))
    ties = (one == other).mean(axis=(-2, -1))
    return 100 * (wins + ties / 2)


def last_changes(runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """Measure how the last epoch changes the validation loss, which rises if a network overfits.

    Returns
    -------
    table
        One row per network that has several runs of several epochs: the mean `loss x 1000` at the
        end, the mean `change x 1000` in the last epoch with Student's interval, and in how many
        `trainings` it `rose`.
    """
    rows = {}
    for name in names:
        losses = 1000 * np.array([run["history"]["val_loss"] for run in runs_of(name, runs)])
        if len(losses) > 1 and losses.shape[1] > 1:
            change = losses[:, -1] - losses[:, -2]
            low, high = ttest_1samp(change, 0).confidence_interval()
            rows[name] = {
                "loss x 1000": losses[:, -1].mean(),
                "change x 1000": {"estimate": change.mean(), "low": low, "high": high},
                "rose": int((change > 0).sum()),
                "trainings": len(losses),
            }
    return tables.from_rows(rows)


def shared_errors(runs: Sequence[Run], labels: np.ndarray, count: int = 10) -> pd.DataFrame:
    """Find the images that most trainings misread.

    Returns
    -------
    table
        One row per image, the most misread first: its `label`, what it is `mostly read as`, by how
        many trainings it is `misread by`, and by how many of each network.
    """
    errors = [(run["candidate"], run["misread"], run["taken_for"]) for run in runs]
    table = pd.DataFrame(errors, columns=["network", "image", "read"]).explode(["image", "read"])
    table = table.astype({"image": int, "read": int})
    # Sorted by index first, so that of equally many errors the first images are kept.
    most = table["image"].value_counts().sort_index().nlargest(count)
    found = table[table["image"].isin(most.index)].groupby("image")
    columns = {
        "label": labels[most.index],
        "mostly read as": found["read"].agg(lambda read: read.mode()[0]),
        "misread by": most,
        **found["network"].value_counts().unstack(fill_value=0),
    }
    return pd.DataFrame(columns, index=most.index)


def confusions(runs: Sequence[Run], name: str) -> np.ndarray:
    """Collect the confusion counts of each run of a candidate.

    Returns
    -------
    counts
        int, shape (runs, 10, 10), one row per true digit, one column per predicted digit.
    """
    counts = [run["confusion"] for run in runs_of(name, runs)]
    return np.array(counts, dtype=int).reshape(-1, 10, 10)
