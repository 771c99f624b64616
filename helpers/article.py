"""The figures of the article, and its claims, judged by many trainings.

The article is M. Pewsey, "MNIST handwritten digit classification", 28 September 2021.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from helpers.embedding import share_of_other_digits
from helpers.evaluation import top_pairs, with_wilson_interval
from helpers.study import Run, runs_of
from helpers.tables import from_columns
from helpers.variation import accuracies_of_runs, probability_of_superiority

SEED, EPOCHS, BATCH_SIZE = 12345, 5, 64
# Accuracies after the last epoch, in percent.
TRAINING = {"dense": 98.5, "conv": 97.83}
VALIDATION = {"dense": 98.01, "conv": 98.16}
BEST = "dense"
# A statement counts as true of a network if it is true of this percentage of its trainings, or of
# pairs of trainings. For pairs, X. Bouthillier et al., "Accounting for variance in machine learning
# benchmarks", 2021, recommend it for calling one model better than another.
OFTEN = 75
# Of the best model: the accuracy on each digit's test images, in percent; and how many of them are
# read as which, one row per true digit, one column per predicted digit.
LABEL_ACCURACY = np.array([99.29, 98.77, 97.58, 97.62, 98.17, 98.09, 98.64, 97.37, 96.92, 97.62])
CONFUSION = np.array([
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
])  # fmt: skip


def why_left_out(
    is_full: bool,
    epochs: int,
    batch_size: int,
    changed: Sequence[str] = (),
    has_study: bool = True,
) -> str:
    """Say that a run leaves something out, and the first reason that applies.

    Parameters
    ----------
    is_full
        Whether the run has all of MNIST.
    epochs, batch_size
        The run's settings.
    changed
        What of the networks is not the article's, from `models.changed`.
    has_study
        Whether there are runs of a study of these networks.

    Returns
    -------
    reason
        A text for readers, empty if the run leaves out nothing.
    """
    if not is_full:
        reason = "this run used a sample instead of MNIST"
    elif (epochs, batch_size) != (EPOCHS, BATCH_SIZE):
        settings = f"{EPOCHS} epochs in batches of {BATCH_SIZE}"
        here = f"this run for {epochs} in batches of {batch_size}"
        reason = f"the article trained for {settings}, {here}"
    elif changed:
        reason = f"in this run {' and '.join(changed)} are not the article's"
    elif not has_study:
        trainings = "two trainings or more of each network as it is trained here"
        reason = f"there is no study with {trainings}"
    else:
        return ""
    return f"What compares with the article or the study is left out: {reason}."


def published(images: int = 10_000) -> pd.DataFrame:
    """Tabulate the article's final accuracies.

    Returns
    -------
    table
        One row per network: `training %`, and `validation %` with its Wilson interval.
    """
    validation = with_wilson_interval(pd.Series(VALIDATION), images)
    return from_columns({"training %": pd.Series(TRAINING), "validation %": validation})


def published_by_digit(network: str = BEST, left_out: str = "") -> pd.DataFrame:
    """Tabulate the article's accuracy on each digit's test images.

    Parameters
    ----------
    network
        Which network it is compared with. The article has these accuracies of its best one alone.
    left_out
        What `why_left_out` has said.

    Returns
    -------
    table
        One row per digit: `accuracy %` with its Wilson interval. Empty for another network, or if
        something is left out.
    """
    if network != BEST or left_out:
        return pd.DataFrame()
    images = pd.Series(CONFUSION.sum(axis=1))
    return from_columns({"accuracy %": with_wilson_interval(pd.Series(LABEL_ACCURACY), images)})


def with_published(ours: pd.DataFrame, left_out: str = "") -> pd.DataFrame:
    """Put the article's final accuracies beside ours, unless `why_left_out` has said something.

    Parameters
    ----------
    ours
        What `evaluation.final_accuracies` returns.
    """
    if left_out:
        return ours
    return ours.join(published().rename(columns=lambda what: f"{what}, article", level=0))


@dataclass(frozen=True)
class Finding:
    """What has come of one of the article's claims.

    Parameters
    ----------
    there
        What the article says.
    here
        What is found over all runs of the study.
    statements
        What the claim consists of: by its name, whether each statement is true.
    """

    there: str
    here: str
    statements: Mapping[str, bool]

    @property
    def verdict(self) -> str:
        """Whether the claim holds, and how many of its statements do."""
        count, true = len(self.statements), sum(self.statements.values())
        in_part = "holds in part" if true else "does not hold"
        return f"{'holds' if true == count else in_part}, {true} of {count}"

    @property
    def false(self) -> str:
        """The statements that do not hold."""
        return "; ".join(name for name, is_true in self.statements.items() if not is_true)


def scorecard(
    runs: Sequence[Run], links: np.ndarray, nearby: np.ndarray, labels: np.ndarray
) -> pd.DataFrame:
    """Judge the article's claims by all runs of a study.

    Each claim consists of statements that are true or false. A published figure must lie where one
    more training's could be expected. What is said of single trainings must be true of `OFTEN`
    percent of them, or of their pairs. The rest is judged by averages.

    Parameters
    ----------
    runs
        Runs of the module `study`, at least two of each of the article's networks, or none.
    links
        How many joined images show any two digits, shape (10, 10), from `embedding.edge_counts`.
    nearby
        Which digits the images show that each test image is joined to, bool, shape (n, 10), from
        `embedding.digits_nearby`.
    labels
        Of the test images, shape (n,).

    Returns
    -------
    table
        One row per claim, all of it text: what the `article` says, what is found `here`, the
        `verdict`, and what of the claim `does not hold`. Empty without runs.
    """
    if not runs:
        return pd.DataFrame()
    accuracies = accuracies_of_runs(runs, list(TRAINING))
    best = runs_of(BEST, runs)
    claims = {
        "Final accuracies": _accuracies(accuracies),
        "No overfitting, accuracies rise": _learning(runs),
        "Dense has the larger sum, conv validates better": _choice(accuracies),
        "Even accuracies, 0 best and 8 worst": _evenness(best),
        "Only 4/9 and 2/7 stand out as confused": _confusions(best),
        "Neighbours agree with the accuracies": _map(best, links),
        "The errors can often be understood": _errors(best, nearby, labels),
    }
    rows = {
        name: (claim.there, claim.here, claim.verdict, claim.false)
        for name, claim in claims.items()
    }
    columns = ["article", "here", "verdict", "does not hold"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("claim")


def _accuracies(accuracies: pd.DataFrame) -> Finding:
    """Could each published accuracy be that of a further training?"""
    statements: dict[str, bool] = {}
    there, here = [], []
    for name in TRAINING:
        training = accuracies.loc[name, "training %"]
        validation = accuracies.loc[name, "validation %"]
        statements |= {
            f"training accuracy of {name}": _in_prediction_interval(TRAINING[name], training),
            f"validation accuracy of {name}": _in_prediction_interval(VALIDATION[name], validation),
        }
        there.append(f"{name} {TRAINING[name]:.2f} and {VALIDATION[name]:.2f} %")
        here.append(f"{name} {_mean(training)} and {_mean(validation)} %")
    return Finding("; ".join(there), "; ".join(here), statements)


def _learning(runs: Sequence[Run]) -> Finding:
    """On average, do accuracies rise with each epoch, and is the loss lowest after the last?"""
    statements: dict[str, bool] = {}
    here = []
    for name in TRAINING:
        histories = [pd.DataFrame(run["history"]) for run in runs_of(name, runs)]
        mean = pd.concat(histories).groupby(level=0).mean()  # one row per epoch, from 0
        rises = mean[["accuracy", "val_accuracy"]].diff()[1:] > 0
        is_rising = bool(rises.all(axis=None))
        lowest = mean["val_loss"].idxmin()
        statements |= {
            f"accuracies of {name} rise": is_rising,
            f"loss of {name} is lowest at the end": bool(lowest == mean.index[-1]),
        }
        rise = f"mean accuracies {'rise' if is_rising else 'do not rise'} with each epoch"
        here.append(f"{name}: {rise}, mean validation loss lowest after epoch {lowest + 1}")
    return Finding("no overfitting; both accuracies generally rise", "; ".join(here), statements)


def _choice(accuracies: pd.DataFrame) -> Finding:
    """In most pairs of trainings, has dense the larger sum, and conv the better validation?"""
    dense, conv = accuracies.loc["dense"], accuracies.loc["conv"]
    larger = float(probability_of_superiority(dense["sum %"], conv["sum %"]))
    lower = 100 - float(probability_of_superiority(dense["validation %"], conv["validation %"]))
    return Finding(
        "larger sum, lower validation accuracy",
        f"larger sum in {larger:.0f} % of seed pairs, lower validation accuracy in {lower:.0f} %",
        {"larger sum": larger >= OFTEN, "lower validation accuracy": lower >= OFTEN},
    )


def _evenness(runs: Sequence[Run]) -> Finding:
    """Could the gap from best to worst digit be a further training's? Are they the same digits?"""
    accuracies = _label_accuracies(runs)
    gaps = np.ptp(accuracies, axis=1)
    published_gap = np.ptp(LABEL_ACCURACY)
    best, worst = LABEL_ACCURACY.argmax(), LABEL_ACCURACY.argmin()
    is_best = _percent(accuracies.argmax(axis=1) == best)
    is_worst = _percent(accuracies.argmin(axis=1) == worst)
    often = f"{best} is read best in {is_best:.0f} % of trainings"
    return Finding(
        f"{published_gap:.2f} points from {best}, read best, to {worst}, read worst",
        f"{_mean(gaps)} points; {often}, {worst} worst in {is_worst:.0f} %",
        {
            "the gap between best and worst": _in_prediction_interval(published_gap, gaps),
            f"{best} is read best": is_best >= OFTEN,
            f"{worst} is read worst": is_worst >= OFTEN,
        },
    )


def _confusions(runs: Sequence[Run]) -> Finding:
    """Are the two pairs that the article names the two most confused, and they alone?"""
    top = top_pairs(np.array([run["confusion"] for run in runs]))
    alone = top["4/9"] & top["2/7"] & (top.sum(axis=1) == 2)
    first, second, only = _percent(top["4/9"]), _percent(top["2/7"]), _percent(alone)
    shares = f"in {first:.0f} % and {second:.0f} % of trainings"
    return Finding(
        "the only two pairs",
        f"in the top two {shares}, they alone in {only:.0f} %",
        {"4/9": first >= OFTEN, "2/7": second >= OFTEN, "no other pair": only >= OFTEN},
    )


def _map(runs: Sequence[Run], links: np.ndarray) -> Finding:
    """Do these digits mix, by their links, and are 0 and 1 alone, and read best on average?"""
    apart = share_of_other_digits(links)  # those with the fewest links to others come first
    groups = {4, 7, 9}, {3, 5, 8}
    mix = all(apart.loc[digit, "most often to"] in group for group in groups for digit in group)
    alone = sorted(apart.index[:2])
    best = sorted(np.argsort(-_label_accuracies(runs).mean(axis=0))[:2].tolist())
    here = (
        f"both groups {'mix' if mix else 'do not mix'}; "
        f"{alone[0]} and {alone[1]} have the fewest neighbours of other digits; "
        f"{best[0]} and {best[1]} are read best on average"
    )
    return Finding(
        "4, 7, 9 and 3, 5, 8 mix; 0 and 1 stand apart, and are read best",
        here,
        {
            "the groups mix": mix,
            "0 and 1 linked least to others": alone == [0, 1],
            "0 and 1 best": best == [0, 1],
        },
    )


def _errors(runs: Sequence[Run], nearby: np.ndarray, labels: np.ndarray) -> Finding:
    """In most errors, is the digit read near the image, and more often than with other errors?"""
    misread = np.concatenate([run["misread"] for run in runs])
    taken_for = np.concatenate([run["taken_for"] for run in runs])
    found = 100 * float(nearby[misread, taken_for].mean())
    # Some digits look alike, and a misread image is often unlike its own digit. So the digit read
    # may be near without being what one sees in this very image. How often that is so, any misread
    # image of the same digit tells: `shares` has a row for each such digit, and in it how many of
    # its misread images are near each digit.
    errors = np.unique(misread)
    shares = np.zeros((10, 10))
    for digit in np.unique(labels[errors]):
        shares[digit] = nearby[errors[labels[errors] == digit]].mean(axis=0)
    anyway = 100 * float(shares[labels[misread], taken_for].mean())
    here = (
        f"judged by pixels: in {found:.0f} % of errors, "
        "the digit read is among the most similar images; "
        f"around a random misread image of the same digit, in {anyway:.0f} %"
    )
    return Finding(
        "one can often see the digit that was read",
        here,
        {"in most errors": found > 50, "more than in other errors": found > anyway},
    )


def _label_accuracies(runs: Sequence[Run]) -> np.ndarray:
    """Compute what percentage of each digit's images each run reads correctly, shape (runs, 10)."""
    counts = np.array([run["confusion"] for run in runs])
    return 100 * counts.diagonal(axis1=1, axis2=2) / counts.sum(axis=2)


def _in_prediction_interval(value: float, values: Sequence[float]) -> bool:
    """Say whether a value lies in the 95 % prediction interval for one more of these values.

    Notes
    -----
    The values are taken for draws from a normal distribution (G. J. Hahn, W. Q. Meeker,
    "Statistical intervals", 1991, chapter 4). The more they scatter, the wider is the interval.
    """
    count = len(values)
    margin = t.ppf(0.975, count - 1) * np.std(values, ddof=1) * np.sqrt(1 + 1 / count)
    return bool(abs(value - np.mean(values)) <= margin)


def _mean(values: Sequence[float]) -> str:
    """Write mean and standard deviation."""
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def _percent(true: np.ndarray) -> float:
    """Compute how many of these are true, in percent."""
    return 100 * float(np.mean(true))
