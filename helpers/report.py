"""What a run found: for the notebook's first screen, for a terminal, and as a file for the tests."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.evaluation import wilson_interval

RESULTS = Path(__file__).parent.parent / "build" / "results.json"


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


PENDING = Headline(
    ("Nothing found yet: the last cell fills this in. Run all cells, in JupyterLab by Run > Run All Cells.",)
)
NO_STUDY = Headline(
    ("Left out: only a run on all of MNIST, with the study's epochs, batches and layers, compares with the study.",)
)


def number(value: float) -> str:
    """A number for a table: two decimals, or one significant digit below 0.01, or that it is smaller still."""
    if 0 < abs(value) < 0.0001:
        return "< 0.0001" if value > 0 else "> -0.0001"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.1g}"


def headline(
    notices: Sequence[str], accuracies: pd.DataFrame, articles: pd.DataFrame, correct: np.ndarray, scores: pd.DataFrame
) -> Headline:
    """Sum a run up.

    Parameters
    ----------
    notices
        What a reader must know about the run first.
    accuracies, articles
        As `evaluation.final_accuracies` returns them: of the article's two networks and the reader's
        own, and of the article's two and the convolutional one on normalised pixels.
    correct
        Whether the best of the former reads each test image correctly, bool, shape (n,).
    scores
        As `article.scorecard` returns it, or empty.
    """
    sums, all_sums = (table["sum %"].sort_values(ascending=False) for table in (accuracies, articles))
    contenders = "better of its two networks" if len(sums) == 2 else f"best of these {len(sums)} networks"
    read, images = int(correct.sum()), len(correct)
    low, high = wilson_interval(read, images)
    sentences = [
        f"By the article's rule, the larger sum of final training and validation accuracy, the {contenders} "
        f"is {sums.index[0]}, {sums.iloc[0]:.2f} against {sums.iloc[1]:.2f}; it reads {read:,} of {images:,} "
        f"test images correctly, {100 * read / images:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %).",
        "The article's code gave the convolutional network pixels from 0 to 255 and the dense one pixels from 0 to 1. "
        "With both on pixels from 0 to 1 (conv is called conv-normalised then), the same rule picks "
        f"{all_sums.index[0]}, with {all_sums.iloc[0]:.2f}.",
    ]
    verdicts = "the article's claim, over many trainings"
    table = accuracies.map(number) if scores.empty else scores[["verdict"]].rename_axis(verdicts)
    return Headline((*notices, *sentences), table)


def write_results(names: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Write what a run found to a file, against which the text is checked; print a line if it cannot be written.

    Of all that has a name, numbers, tables, arrays of up to 1000 numbers, and mappings of these are
    taken, but for IPython's own names.
    """
    results = {}
    for name, value in names.items():
        with suppress(Exception):  # a reader may have given a name to anything: lists of unequal lists, dates
            if not name.startswith("_") and name not in ("In", "Out") and _is_result(value):
                results[name] = json.loads(json.dumps(_plain(value)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        print(f"{path.parent.name}/{path.name}, for the tests, could not be written: {error.strerror}.")


def _is_result(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(map(_is_result, value.values()))
    if isinstance(value, (np.ndarray, list)):
        return 0 < np.size(value) <= 1000 and np.issubdtype(np.asarray(value).dtype, np.number)
    return isinstance(value, (pd.DataFrame, pd.Series, int, float, np.number)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """As JSON has it; a table as its rows by name, each with its columns by name."""
    if isinstance(value, pd.DataFrame):
        value = dict(zip(value.index, value.to_dict("records"), strict=True))
    if isinstance(value, (Mapping, pd.Series)):
        return {_name(key): _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _name(key: Any) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)
