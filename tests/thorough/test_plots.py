"""These tests try what figures show in cases of which test_figures.py has no stored picture."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from helpers import article, evaluation, plots

HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.94, 0.96]}
BLANKS = np.zeros((10, 28, 28), np.uint8)


def test_digit_grid():
    """Captions of two lines do not touch; errors are red; one caption too few is an error."""
    captions = ["4, misread 90 times,\nmostly as 9, disputed"] * 10
    figure = plots.digit_grid(BLANKS, captions, "Samples", marked=[3])
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    marked = [axis.title.get_color() == plots.WRONG for axis in figure.axes]
    assert marked == [place == 3 for place in range(10)]
    with pytest.raises(ValueError, match="shorter"):
        plots.digit_grid(BLANKS, ["4"] * 9, "Samples")


def test_what_has_nothing_to_show_says_why():
    """The reason may take two lines, and is all of the alternative text."""
    reason = "Left out, since the article trained for 5 epochs in batches of 64, but this run for "
    reason += "3 in batches of 32, and so on."
    for figure in (plots.digit_grid(BLANKS[:0], [], reason), plots.runs(finals()[:0], {}, reason)):
        assert figure.get_suptitle().replace("\n", " ") == reason == figure.get_label()
        assert figure.get_tightbbox().width < plots.WIDTH


def test_history_curves_of_four_networks_and_of_one_epoch():
    names = ["one", "other", "third", "fourth"]
    four = plots.history_curves(dict.fromkeys(names, HISTORY), "Curves")
    assert [axis.axison for axis in four.axes] == [True] * 4 + [False] * 2
    assert four.get_size_inches()[0] <= plots.WIDTH
    one_epoch = {"accuracy": [0.9], "val_accuracy": [0.94]}
    (axis,) = plots.history_curves({"one": one_epoch}, "Curves").axes
    assert [tick for tick in axis.get_xticks() if tick % 1] == []


def test_digit_by_digit():
    """Each count but zeros is written; without the article's accuracies, ours are drawn alone."""
    counts = article.CONFUSION
    true, predicted = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices((10, 10)))
    table, errors = evaluation.label_accuracy(true, predicted), evaluation.errors_only(counts)
    matrix, dots = plots.digit_by_digit(counts, errors, table, pd.DataFrame(), "Digits").axes
    cells = {text.get_position(): text.get_text() for text in matrix.texts}
    assert cells[1, 1] == "1121" and cells[4, 9] == "15" and (4, 0) not in cells
    assert len(cells) == np.count_nonzero(counts) and len(dots.containers) == 1


def finals(*names):
    index = pd.MultiIndex.from_product([names, [1, 2, 3]], names=["candidate", "seed"])
    training = np.linspace(98.6, 97.7, len(index))
    return pd.DataFrame({"training %": training, "validation %": 196.4 - training}, index=index)


def test_more_networks_than_colours_are_all_drawn():
    names = {f"network {number}" for number in range(23)}
    (axis,) = plots.runs(finals(*names), {}, "Trainings").axes
    assert names <= {text.get_text() for text in axis.texts}


def test_bins_of_few_images_are_not_drawn():
    probabilities = np.zeros((29, 10))
    probabilities[:, 0] = np.repeat([0.55, 0.95], [9, 20])
    table = evaluation.reliability(probabilities, np.repeat([0, 1, 0], [4, 5, 20]))
    (points, *_), *_ = plots.reliability({"one": table}, "Reliability").axes[0].containers
    assert points.get_ydata().tolist() == [100]


def test_names_of_digits_at_one_place_are_pushed_apart():
    apart = plots._push_apart(np.zeros((10, 2)) + np.linspace(0, 0.01, 10)[:, None], 0.05)
    distances = np.linalg.norm(apart[:, None] - apart[None], axis=2) + np.eye(10)
    assert distances.min() > 0.045


def test_users_style_neither_shows_nor_changes():
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 20}):
        before = dict(mpl.rcParams)
        (axis,) = plots.history_curves({"one": HISTORY}, "Curves").axes
        assert dict(mpl.rcParams) == before
    assert axis.get_facecolor() == axis.figure.get_facecolor() == (1, 1, 1, 1)
