"""Numbers as a reader sees them: on the notebook's first screen, in its tables and captions, and in a terminal."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from helpers.evaluation import wilson_interval


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


PENDING = Headline(("Nothing here yet: the last cell fills this in. In JupyterLab, choose Run > Run All Cells.",))


def prepare_display() -> None:
    """Have the notebook show tables and figures alike, whatever a profile of IPython's or a style file has set."""
    import matplotlib.style
    from IPython import get_ipython
    from matplotlib.figure import Figure

    from helpers.plots import as_png  # which writes percentages as is said here

    matplotlib.style.use("default")
    for group in ("display", "mode", "future"):
        pd.reset_option(group)
    pd.set_option("display.float_format", number, "display.max_colwidth", None, "display.width", 200)
    if shell := get_ipython():  # there is none where a test runs the cell by itself
        shell.ast_node_interactivity = "last_expr"
        for formatter in shell.display_formatter.formatters.values():
            formatter.pop(Figure, None)
        shell.display_formatter.formatters["image/png"].for_type(Figure, as_png)


def number(value: float) -> str:
    """A number for a table: two decimals, or one significant digit below 0.01, or that it is smaller; none for NaN."""
    if np.isnan(value):
        return ""
    if 0 < abs(value) < 0.0001:
        return "< 0.0001" if value > 0 else "> -0.0001"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.1g}"


def percent(share: float) -> str:
    """A share in percent, with up to two decimals to tell it from 100 %: what is above 99.99 % is rounding."""
    texts = (f"{100 * share:.{decimals}f}" for decimals in range(3))
    return f"{next((text for text in texts if float(text) < 100), '> 99.99')} %"


def captions(labels: np.ndarray, probabilities: np.ndarray) -> list[str]:
    """A line for each image: what it shows, what it is read as, and with what probability, shape (n, 10)."""
    rows = zip(labels, probabilities.argmax(axis=1), map(percent, probabilities.max(axis=1)), strict=True)
    return [f"{label}{'' if label == read else f' read as {read}'}, {share}" for label, read, share in rows]


def shared_captions(shared: pd.DataFrame, disputed: np.ndarray) -> list[str]:
    """Of each of `study.shared_errors`: label, how often it is misread, mostly as what, and whether it is disputed."""
    rows = zip(shared.index, shared["label"], shared["mostly read as"], shared["misread by"], strict=True)
    return [
        f"{label}, misread {by} times,\nmostly as {read}{', disputed' if image in disputed else ''}"
        for image, label, read, by in rows
    ]


def readable(table: pd.DataFrame, left_out: str = "") -> pd.DataFrame | Headline:
    """A table for readers, bounds or a deviation beside their value as one text.

    What `article.why_left_out` has said stands before it, or instead of it if it is empty.
    """
    if table.empty:
        return Headline((left_out,))
    shown: dict[str, Any] = {}
    for column, second, third in itertools.zip_longest(table, table.columns[1:], table.columns[2:], fillvalue=""):
        if re.search(r"\blow\b", second):
            rows = table[[column, second, third]].map(number).itertuples(index=False)
            shown[f"{column} (95 % interval)"] = [f"{at} ({low} to {high})" if low else at for at, low, high in rows]
        elif second == f"{column} sd":
            rows = table[[column, second]].map(number).itertuples(index=False)
            shown[f"{column}, mean ± sd"] = [f"{mean} ± {sd}" if sd else mean for mean, sd in rows]
        elif not re.search(r"\b(low|high|sd)\b", column):
            shown[column] = table[column]
    readable = pd.DataFrame(shown, index=table.index)
    return Headline((left_out,), readable) if left_out else readable


def headline(
    notices: Sequence[str],
    accuracies: pd.DataFrame,
    articles: pd.DataFrame,
    correct: np.ndarray,
    scores: pd.DataFrame,
    changed: Sequence[str] = (),
) -> Headline:
    """Sum a run up: what a reader must know about it first, what was found, and the verdicts.

    Parameters
    ----------
    accuracies : `evaluation.final_accuracies` of the article's two networks and one's own
    articles : the same of the article's two and conv-normalised
    correct : whether the best of the former reads each test image correctly
    scores : `article.scorecard`, which may be empty
    changed : what of the networks is not the article's, from `models.changed`
    """
    sums, all_sums = (table["sum %"].sort_values(ascending=False) for table in (accuracies, articles))
    rivals = f"better of {'these' if changed else 'its'} two networks"
    if len(sums) > 2:
        rivals = f"best of these {len(sums)} networks"
    read, images = int(correct.sum()), len(correct)
    low, high = wilson_interval(read, images)
    sentences = [
        f"By the article's rule, the larger sum of final training and validation accuracy, the {rivals} "
        f"is {sums.index[0]}, {sums.iloc[0]:.2f} against {sums.iloc[1]:.2f}. It reads {read:,} of {images:,} "
        f"test images correctly: {100 * read / images:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %).",
    ]
    slip = (
        "But the article's code gave the convolutional network pixels from 0 to 255, and the dense one pixels from 0 "
        "to 1. With pixels from 0 to 1 for both (we call it conv-normalised then), the same rule picks "
        f"{all_sums.index[0]}, with {all_sums.iloc[0]:.2f}."
    )
    if changed:
        others = f"In this run {' and '.join(changed)} are not those that the notebook's text speaks of"
        notices = (f"{others}. What compares with the article or the study is left out.", *notices)
    else:
        sentences.append(slip)
    columns = ["verdict", "does not hold"]
    table = accuracies.map(number) if scores.empty else scores[columns].rename_axis("the article's claim")
    return Headline((*notices, *sentences), table)
