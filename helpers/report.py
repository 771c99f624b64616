"""What a run found, in a form for the notebook's first screen and for a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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


PENDING = Headline(("The last cell fills this in.",))


def headline(
    notices: Sequence[str], accuracies: pd.DataFrame, best: str, correct: int, images: int, pairs: pd.DataFrame
) -> Headline:
    """Sum a run up.

    Parameters
    ----------
    notices
        What a reader must know about the run first.
    accuracies
        As `evaluation.final_accuracies` returns it, with or without the article's columns.
    best
        Name of the model that was chosen.
    correct, images
        So many of so many test images it reads correctly.
    pairs
        As `evaluation.confused_pairs` returns it.
    """
    sums = accuracies["sum %"].sort_values(ascending=False)
    low, high = wilson_interval(correct, images)
    worst = pairs.iloc[0]
    sentences = (
        f"By the article's rule, the larger sum of final training and validation accuracy, "
        f"the better network is {best}: {sums.iloc[0]:.2f} against {sums.iloc[1]:.2f}.",
        f"It reads {correct:,} of {images:,} test images correctly, {100 * correct / images:.2f} % "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %); the pair it confuses most is "
        f"{pairs.index[0]}, with {worst['errors']:.0f} of its {images - correct:,} errors.",
    )
    return Headline((*notices, *sentences), accuracies.map("{:.2f}".format))
