"""Tables of numbers, and how readers see them: on the first screen, in captions, in a terminal.

A table has columns with two names: what is estimated ("validation %"), and the part.

estimate
    The number itself.
low, high
    The bounds of its 95 % interval.
sd
    The standard deviation, if the estimate is a mean.

A number with neither interval nor deviation has one part, with an empty name, and pandas finds it
as ``table["sum %"]``. `from_columns` and `from_rows` make such tables; `readable` shows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


def from_columns(columns: Mapping[str, pd.Series | pd.DataFrame]) -> pd.DataFrame:
    """Put numbers and estimates side by side.

    Parameters
    ----------
    columns
        By what each is: a Series of numbers, or the parts of estimates, a DataFrame with columns
        such as `estimate`, `low` and `high`. All have the same index.
    """
    parts = {
        what: each.to_frame("") if isinstance(each, pd.Series) else each
        for what, each in columns.items()
    }
    return pd.concat(parts, axis=1)


def from_rows(rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Put rows of numbers and estimates below each other, as they come from JSON.

    Parameters
    ----------
    rows
        By its name, each row: by what each is, a number, or the parts of an estimate, a dict such
        as ``{"estimate": 97.8, "low": 97.5, "high": 98.1}``. What a row doesn't have becomes NaN.
    """
    flat: dict[str, dict[tuple[str, str], Any]] = {}
    for name, row in rows.items():
        flat[name] = {}
        for what, value in row.items():
            parts = value if isinstance(value, Mapping) else {"": value}
            flat[name] |= {(what, part): number for part, number in parts.items()}
    return pd.DataFrame.from_dict(flat, orient="index")


@dataclass(frozen=True)
class Headline:
    """A few sentences and a small table; Jupyter shows it as HTML, `print` as text."""

    sentences: tuple[str, ...]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        table = [] if self.table.empty else ["", self.table.to_string()]
        return "\n".join([*self.sentences, *table])

    def _repr_html_(self) -> str:
        table = "" if self.table.empty else self.table.to_html()
        return "".join(f"<p>{sentence}</p>" for sentence in self.sentences) + table


ADVICE = "In JupyterLab, choose Run > Run All Cells."
PENDING = Headline((f"Nothing here yet: the last cell fills this in. {ADVICE}",))


def prepare_display() -> None:
    """Have the notebook show tables and figures alike, whatever the user has set for other work.

    A profile of IPython or a style file of matplotlib may have changed what is shown.
    """
    import matplotlib.style
    from IPython import get_ipython
    from matplotlib.figure import Figure

    from helpers.plots import as_png  # not at the top, since `plots` imports this module

    matplotlib.style.use("default")
    for group in ("display", "mode", "future"):
        pd.reset_option(group)
    pd.set_option("display.float_format", number)
    pd.set_option("display.max_colwidth", None)
    pd.set_option("display.width", 200)
    if shell := get_ipython():  # there is none where a test runs the cell by itself
        shell.ast_node_interactivity = "last_expr"
        for formatter in shell.display_formatter.formatters.values():
            formatter.pop(Figure, None)
        shell.display_formatter.formatters["image/png"].for_type(Figure, as_png)


def number(value: float) -> str:
    """Write a number for a table.

    It has two decimals, or one significant digit if it is below 0.01. What is closer to 0 than
    0.0001 is said to be so; NaN is left empty.
    """
    if np.isnan(value):
        return ""
    if 0 < abs(value) < 0.0001:
        return "< 0.0001" if value > 0 else "> -0.0001"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.1g}"


def percent(share: float) -> str:
    """Write a share, from 0 to 1, in percent.

    Up to two decimals tell it from 100 %. What would still be rounded to 100.00 % is said to be
    above 99.99 %, since only rounding in the network's arithmetic makes a probability of exactly 1.
    """
    for decimals in range(3):
        text = f"{100 * share:.{decimals}f}"
        if float(text) < 100:
            return f"{text} %"
    return "> 99.99 %"


def captions(labels: np.ndarray, probabilities: np.ndarray) -> list[str]:
    """Write a line for each image: its label, as what it is read if that differs, and how surely.

    Parameters
    ----------
    labels
        Digits, shape (n,).
    probabilities
        Of each digit, shape (n, 10). The most probable one is read.
    """
    lines = []
    for label, each in zip(labels, probabilities, strict=True):
        read = each.argmax()
        misread = "" if read == label else f" read as {read}"
        lines.append(f"{label}{misread}, {percent(each.max())}")
    return lines


def shared_captions(shared: pd.DataFrame, disputed: np.ndarray) -> list[str]:
    """Write two lines for each image: its label, and how often and as what it is misread.

    Parameters
    ----------
    shared
        What `variation.shared_errors` returns.
    disputed
        The indices of the test images whose labels are in doubt.
    """
    rows = zip(
        shared.index, shared["label"], shared["mostly read as"], shared["misread by"], strict=True
    )
    lines = []
    for image, label, read, times in rows:
        doubt = ", disputed" if image in disputed else ""
        lines.append(f"{label}, misread {times} times,\nmostly as {read}{doubt}")
    return lines


def readable(table: pd.DataFrame, left_out: str = "") -> pd.DataFrame | Headline:
    """Make a table for readers: an interval or a deviation stands beside its estimate, as one text.

    Parameters
    ----------
    table
        Its columns are as this module's docstring says, or have one name each and are kept.
    left_out
        What `article.why_left_out` has said. It stands before the table; an empty one it replaces.
    """
    if table.empty:
        return Headline((left_out,))
    shown = table if table.columns.nlevels == 1 else _one_column_each(table)
    return Headline((left_out,), shown) if left_out else shown


def _one_column_each(table: pd.DataFrame) -> pd.DataFrame:
    """Join the parts of each estimate into one text, and say in the column's name what they are."""
    shown: dict[str, Any] = {}
    for what in table.columns.unique(0):
        values = table[what]
        if isinstance(values, pd.Series):
            shown[what] = values
        elif "low" in values:
            shown[f"{what} (95 % interval)"] = [
                f"{estimate} ({low} to {high})" if low else estimate
                for estimate, low, high in _texts(values, "estimate", "low", "high")
            ]
        elif "sd" in values:
            shown[f"{what}, mean ± sd"] = [
                f"{mean} ± {sd}" if sd else mean for mean, sd in _texts(values, "estimate", "sd")
            ]
        else:
            shown[what] = values["estimate"]
    return pd.DataFrame(shown, index=table.index)


def _texts(values: pd.DataFrame, *parts: str) -> Any:
    """Write some parts of each estimate, row by row; NaN is an empty text."""
    return values[list(parts)].map(number).itertuples(index=False)


def headline(
    notices: Sequence[str],
    accuracies: pd.DataFrame,
    articles: pd.DataFrame,
    correct: np.ndarray,
    scores: pd.DataFrame,
    changed: Sequence[str] = (),
) -> Headline:
    """Sum up a run: what must be known about it first, what was found, and the verdicts.

    Parameters
    ----------
    notices
        What must be known first, in sentences.
    accuracies
        What `evaluation.final_accuracies` returns for the article's two networks and the reader's
        own.
    articles
        The same for the article's two and conv-normalised.
    correct
        Whether the best network of `accuracies` reads each test image correctly, shape (n,).
    scores
        What `article.scorecard` returns. If it is empty, the accuracies take its place.
    changed
        What of the networks is not the article's, from `models.changed`.
    """
    sentences = list(notices)
    if changed:
        others = f"{' and '.join(changed)} are not those that the notebook's text speaks of"
        left_out = "What compares with the article or the study is left out."
        sentences.insert(0, f"In this run {others}. {left_out}")
    sentences.append(_choice(accuracies, correct, "these" if changed else "its"))
    if not changed:
        sentences.append(_slip(articles["sum %"][["dense", "conv-normalised"]]))
    if scores.empty:
        return Headline(tuple(sentences), _one_column_each(accuracies))
    verdicts = scores[["verdict", "does not hold"]].rename_axis("the article's claim")
    return Headline(tuple(sentences), verdicts)


def _choice(accuracies: pd.DataFrame, correct: np.ndarray, whose: str) -> str:
    """Say which network the article's rule picks, and how well it reads the test images."""
    sums = accuracies["sum %"].sort_values(ascending=False)
    best = sums.index[0]
    two = f"better of {whose} two networks"
    rivals = two if len(sums) == 2 else f"best of these {len(sums)} networks"
    validation = accuracies.loc[best, "validation %"]
    return (
        "By the article's rule, the larger sum of final training and validation accuracy, "
        f"the {rivals} is {best}, {sums.iloc[0]:.2f} against {sums.iloc[1]:.2f}. "
        f"It reads {correct.sum():,} of {len(correct):,} test images correctly: "
        f"{100 * correct.mean():.2f} % "
        f"(95 % interval {validation['low']:.2f} to {validation['high']:.2f} %)."
    )


def _slip(sums: pd.Series) -> str:
    """Say what the article's code did with the pixels, and what its rule picks on equal ones."""
    return (
        "But the article's code gave the convolutional network pixels from 0 to 255, "
        "and the dense one pixels from 0 to 1. With pixels from 0 to 1 for both "
        "(we call it conv-normalised then), the same rule picks "
        f"{sums.idxmax()}, with {sums.max():.2f}."
    )
