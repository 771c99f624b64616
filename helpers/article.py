"""The published figures (M. Pewsey, "MNIST handwritten digit classification", 28 September 2021), and ours beside."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from helpers.embedding import share_of_other_digits
from helpers.evaluation import top_pairs, wilson_columns
from helpers.study import Run
from helpers.variation import probability_of_superiority

SEED, EPOCHS, BATCH_SIZE = 12345, 5, 64
# percent, after the last epoch
TRAINING = {"dense": 98.5, "conv": 97.83}
VALIDATION = {"dense": 98.01, "conv": 98.16}
BEST = "dense"
# A statement counts as true of a network if it is true of this percentage of its trainings, or of pairs of
# trainings. For pairs it is what X. Bouthillier et al., "Accounting for variance in machine learning
# benchmarks", 2021, recommend for calling one model better than another; the rest follows suit.
OFTEN = 75
# of the best model: percent of each digit's test images, and counts with true digits in rows
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
    """Say what a run leaves out, and the first reason that applies; nothing if it leaves out nothing.

    Parameters
    ----------
    is_full : whether the run has all of MNIST
    changed : what of the networks is not the article's, from `models.changed`
    has_study : whether there are trainings of a study that belong to this run
    """
    if not is_full:
        reason = "this run used a sample instead of MNIST"
    elif (epochs, batch_size) != (EPOCHS, BATCH_SIZE):
        settings = f"{EPOCHS} epochs in batches of {BATCH_SIZE}"
        reason = f"the article trained for {settings}, this run for {epochs} in batches of {batch_size}"
    elif changed:
        reason = f"in this run {' and '.join(changed)} are not the article's"
    elif not has_study:
        reason = "there is no study with two trainings or more of each network as it is trained here"
    else:
        return ""
    return f"What compares with the article or the study is left out: {reason}."


def published(images: int = 10_000) -> pd.DataFrame:
    """The article's final accuracies, `training %` and `validation %`, the latter with its Wilson 95 % interval."""
    table = pd.DataFrame({"training %": TRAINING, "validation %": VALIDATION})
    return table.join(wilson_columns((table["validation %"] / 100 * images).round(), images))


def published_by_digit(network: str = BEST, left_out: str = "") -> pd.DataFrame:
    """The article's accuracy on each digit's test images, `accuracy %`, with its Wilson 95 % interval.

    Empty for another network than the one it is of, or if `why_left_out` has said something.
    """
    if network != BEST or left_out:
        return pd.DataFrame()
    table = pd.DataFrame({"accuracy %": LABEL_ACCURACY})
    images = pd.Series(CONFUSION.sum(axis=1))
    return table.join(wilson_columns((table["accuracy %"] / 100 * images).round(), images))


def with_published(ours: pd.DataFrame, left_out: str = "") -> pd.DataFrame:
    """Our final accuracies with the article's beside; ours alone if `why_left_out` has said something."""
    return ours if left_out else ours.join(published().add_suffix(", article"))


def scorecard(
    runs: Sequence[Run], finals: pd.DataFrame, links: np.ndarray, nearby: np.ndarray, labels: np.ndarray
) -> pd.DataFrame:
    """The article's seven claims, what is found over all runs of a study, and whether they hold; none without runs.

    Each claim consists of statements that are true or false. A published figure must lie where one more training's
    could be expected; what is said of single trainings must be true of three out of four of them, or of their pairs
    (`OFTEN`); the rest is judged by averages. Columns: `article`, `here`, `verdict` and what of it `does not hold`.
    """
    if not runs:
        return pd.DataFrame()
    chosen = [run for run in runs if run["candidate"] == BEST]
    rows = {
        "Final accuracies": _accuracies(finals),
        "No overfitting, accuracies rise": _learning(runs),
        "Dense has the larger sum, conv validates better": _choice(finals),
        "Even accuracies, 0 best and 8 worst": _evenness(chosen),
        "Only 4/9 and 2/7 stand out as confused": _confusions(chosen),
        "Neighbours agree with the accuracies": _map(chosen, links),
        "The errors can often be understood": _errors(chosen, nearby, labels),
    }
    verdicts = {claim: (there, here, *verdict(statements)) for claim, (there, here, statements) in rows.items()}
    columns = ["article", "here", "verdict", "does not hold"]
    return pd.DataFrame.from_dict(verdicts, orient="index", columns=columns).rename_axis("claim")


def verdict(statements: Mapping[str, bool]) -> tuple[str, str]:
    """Whether a claim that consists of these statements holds, and how many of them do; and those that do not."""
    false = [statement for statement, is_true in statements.items() if not is_true]
    count = len(statements) - len(false)
    word = "does not hold" if not count else "holds in part" if false else "holds"
    return f"{word}, {count} of {len(statements)}", "; ".join(false)


# Each of the following returns what the article says, what is found here, and which statements are true.
Finding = tuple[str, str, dict[str, bool]]


def _accuracies(finals: pd.DataFrame) -> Finding:
    """Is each published accuracy one that a further training could well have had?"""
    statements, there, here = {}, [], []
    for name in TRAINING:
        training, validation = finals.loc[name, "training %"], finals.loc[name, "validation %"]
        statements[f"training accuracy of {name}"] = _in_prediction_interval(TRAINING[name], training)
        statements[f"validation accuracy of {name}"] = _in_prediction_interval(VALIDATION[name], validation)
        there.append(f"{name} {TRAINING[name]:.2f} and {VALIDATION[name]:.2f} %")
        here.append(f"{name} {_mean(training)} and {_mean(validation)} %")
    return "; ".join(there), "; ".join(here), statements


def _learning(runs: Sequence[Run]) -> Finding:
    """Averaged over the runs, do both accuracies rise with each epoch, and is the loss lowest after the last?"""
    statements, here = {}, []
    for name in TRAINING:
        histories = [pd.DataFrame(run["history"]) for run in runs if run["candidate"] == name]
        mean = pd.concat(histories).groupby(level=0).mean()
        rising = bool((mean[["accuracy", "val_accuracy"]].diff()[1:] > 0).all(axis=None))
        lowest = mean["val_loss"].idxmin()
        statements[f"accuracies of {name} rise"] = rising
        statements[f"loss of {name} is lowest at the end"] = bool(lowest == mean.index[-1])
        rise = f"mean accuracies {'rise' if rising else 'do not rise'} with each epoch"
        here.append(f"{name}: {rise}, mean validation loss lowest after epoch {lowest + 1}")
    return "no overfitting; both accuracies generally rise", "; ".join(here), statements


def _choice(finals: pd.DataFrame) -> Finding:
    dense, conv = finals.loc["dense"], finals.loc["conv"]
    by_sum, by_validation = (float(probability_of_superiority(dense[by], conv[by])) for by in ("sum %", "validation %"))
    here = f"larger sum in {by_sum:.0f} % of seed pairs, lower validation accuracy in {100 - by_validation:.0f} %"
    statements = {"larger sum": by_sum >= OFTEN, "lower validation accuracy": 100 - by_validation >= OFTEN}
    return "larger sum, lower validation accuracy", here, statements


def _evenness(runs: Sequence[Run]) -> Finding:
    """Could the gap between best and worst digit be a further training's, and are they the same digits?"""
    accuracies = _label_accuracies(runs)
    best, worst = LABEL_ACCURACY.argmax(), LABEL_ACCURACY.argmin()
    gap, gaps = np.ptp(LABEL_ACCURACY), np.ptp(accuracies, axis=1)
    is_best, is_worst = _percent(accuracies.argmax(axis=1) == best), _percent(accuracies.argmin(axis=1) == worst)
    there = f"{gap:.2f} points from {best}, read best, to {worst}, read worst"
    often = f"{best} is read best in {is_best:.0f} % of trainings, {worst} worst in {is_worst:.0f} %"
    statements = {"the gap between best and worst": _in_prediction_interval(gap, gaps)}
    statements |= {f"{best} is read best": is_best >= OFTEN, f"{worst} is read worst": is_worst >= OFTEN}
    return there, f"{_mean(gaps)} points; {often}", statements


def _confusions(runs: Sequence[Run]) -> Finding:
    """Are the two pairs that the article names the two most confused, and they alone?"""
    top = top_pairs(np.array([run["confusion"] for run in runs]))
    named = {"4/9": top["4/9"], "2/7": top["2/7"], "no other pair": top["4/9"] & top["2/7"] & (top.sum(axis=1) == 2)}
    shares = {name: _percent(is_so) for name, is_so in named.items()}
    first, second, only = shares.values()
    here = f"in the top two in {first:.0f} % and {second:.0f} % of trainings, they alone in {only:.0f} %"
    return "the only two pairs", here, {name: share >= OFTEN for name, share in shares.items()}


def _map(runs: Sequence[Run], links: np.ndarray) -> Finding:
    """By the links that the map is drawn from: do these digits mix, and are 0 and 1 alone, and read best on average?"""
    apart = share_of_other_digits(links)
    mix = all(apart.loc[digit, "most often to"] in group for group in ({4, 7, 9}, {3, 5, 8}) for digit in group)
    alone = sorted(apart.index[:2])
    best = sorted(np.argsort(-_label_accuracies(runs).mean(axis=0))[:2].tolist())
    here = (
        f"both groups {'mix' if mix else 'do not mix'}; {alone[0]} and {alone[1]} have the fewest neighbours of other "
        f"digits; {best[0]} and {best[1]} are read best on average"
    )
    there = "4, 7, 9 and 3, 5, 8 mix; 0 and 1 stand apart, and are read best"
    statements = {"the groups mix": mix, "0 and 1 linked least to others": alone == [0, 1]}
    return there, here, statements | {"0 and 1 best": best == [0, 1]}


def _errors(runs: Sequence[Run], nearby: np.ndarray, labels: np.ndarray) -> Finding:
    """In most errors, is the digit read among the most similar images, and more often than with other errors?"""
    misread = np.concatenate([run["misread"] for run in runs])
    taken_for = np.concatenate([run["taken_for"] for run in runs])
    found = 100 * float(nearby[misread, taken_for].mean())
    # Some digits look alike, and a misread image is often unlike its own digit: so the digit read may be near without
    # being what one sees in this very image. Any misread image of the same digit tells how often.
    errors = np.unique(misread)
    shares = np.zeros((10, 10))
    for digit in np.unique(labels[errors]):
        shares[digit] = nearby[errors[labels[errors] == digit]].mean(axis=0)
    anyway = 100 * float(shares[labels[misread], taken_for].mean())
    here = (
        f"judged by pixels: in {found:.0f} % of errors, the digit read is among the most similar images; "
        f"among those of any misread image of the same digit, in {anyway:.0f} %"
    )
    statements = {"in most errors": found > 50, "more than in other errors": found > anyway}
    return "one can often see the digit that was read", here, statements


def _label_accuracies(runs: Sequence[Run]) -> np.ndarray:
    """Percent of each digit's test images that each run reads correctly, shape (runs, 10)."""
    counts = np.array([run["confusion"] for run in runs])
    return 100 * counts.diagonal(axis1=1, axis2=2) / counts.sum(axis=2)


def _in_prediction_interval(value: float, values: Sequence[float]) -> bool:
    """Whether a value lies in the 95 % prediction interval of one more draw from a normal distribution."""
    # G. J. Hahn, W. Q. Meeker, "Statistical intervals", 1991, chapter 4. It is the wider, the more the values scatter.
    margin = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) * np.sqrt(1 + 1 / len(values))
    return bool(abs(value - np.mean(values)) <= margin)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def _percent(true: np.ndarray) -> float:
    return 100 * float(np.mean(true))
