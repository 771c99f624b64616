"""What figures show in cases that the stored pictures do not: test_pictures.py compares with these."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from helpers import article, evaluation, plots

pytestmark = pytest.mark.thorough

HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.94, 0.96]}
BLANKS = np.zeros((10, 28, 28), np.uint8)


def test_digit_grid():
    """Captions of two lines do not touch; one too few is an error."""
    figure = plots.digit_grid(BLANKS, ["true 4, predicted 9\nprobability 0.87"] * 10, "Samples")
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    with pytest.raises(ValueError, match="shorter"):
        plots.digit_grid(BLANKS, ["true 4"] * 9, "Samples")


def test_history_curves():
    figure = plots.history_curves({"one": HISTORY, "other": {**HISTORY, "accuracy": [0.5, 0.6]}}, "Curves")
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] < 0.5
    curves = {line.get_label(): line.get_ydata().tolist() for line in left.lines}
    assert curves == {"training": [0.9, 0.95], "validation": [0.94, 0.96]}
    three = plots.history_curves(dict.fromkeys(["one", "other", "third"], HISTORY), "Curves")
    assert [axis.axison for axis in three.axes] == [True, True, True, False]
    assert three.get_size_inches()[0] <= plots.WIDTH
    (axis,) = plots.history_curves({"one": {"accuracy": [0.9], "val_accuracy": [0.94]}}, "Curves").axes
    assert [tick for tick in axis.get_xticks() if tick % 1] == []


def test_label_accuracy():
    """The axis begins lower where an accuracy is low."""
    true, predicted = (np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10)))
    table = evaluation.label_accuracy(true, predicted)
    (axis,) = plots.label_accuracy(table, "Accuracy").axes
    assert [bar.get_height() for bar in axis.patches] == pytest.approx(table["accuracy %"].tolist())
    assert axis.get_ylim() == (90, 100) and axis.get_xticklabels()[1].get_text() == "1\n(1,135)"
    lower = table.assign(**{column: table[column] - 40 for column in ("accuracy %", "low %")})
    assert plots.label_accuracy(lower, "Accuracy").axes[0].get_ylim() == (50, 100)


def finals(*names):
    index = pd.MultiIndex.from_product([names, [1, 2, 3]], names=["candidate", "seed"])
    training = np.linspace(98.6, 97.7, len(index))
    return pd.DataFrame({"training %": training, "validation %": 196.4 - training}, index=index)


def test_runs():
    table = finals("dense", "conv")
    (axis,) = plots.runs(table, {"dense": (98.5, 98.01)}, "Trainings").axes
    dense, star, conv = axis.collections
    assert np.array_equal(dense.get_offsets(), table.loc["dense"])
    assert np.array_equal(conv.get_offsets(), table.loc["conv"])
    assert star.get_offsets().tolist() == [[98.5, 98.01]]
    names = {f"network {number}" for number in range(23)}
    assert names <= {text.get_text() for text in plots.runs(finals(*names), {}, "Trainings").axes[0].texts}
    # Lines of equal sums are labelled where they end.
    labels = {float(text.get_text().split()[-1]): text.xy for text in axis.texts if text.get_text()[-1].isdigit()}
    assert len(labels) >= 2 and sorted(sum(line.get_xy1()) for line in axis.lines) == pytest.approx(sorted(labels))
    for total, (x, y) in labels.items():
        assert x + y == pytest.approx(total) and (x == axis.get_xlim()[0] or y == axis.get_ylim()[1])


def test_label_of_a_certain_prediction_stays_in_the_figure():
    figure = plots.handwriting(np.zeros((90, 40), np.uint8), BLANKS[0], 1.0001 * np.eye(10)[7], "A seven")
    figure.draw_without_rendering()
    (label,), bar = figure.axes[2].texts, figure.axes[2].patches[7]
    assert (label.get_text(), label.xy) == ("1.00", (1, 7)) and bar.get_alpha() == 1
    box = label.get_window_extent()
    assert box.x0 > bar.get_window_extent().x1 and box.x1 < figure.bbox.x1


def test_embedding():
    labels = np.arange(100) % 10
    points = np.random.default_rng(0).normal(size=(100, 2))
    images = np.repeat(BLANKS, 10, axis=0)
    (axis,) = plots.embedding(points, labels, points[:10], images, np.array([3, 4]), "Map").axes
    drawn = axis.collections[0]
    digits = [labels[np.flatnonzero((points == place).all(axis=1))[0]] for place in drawn.get_offsets().data]
    assert len(set(digits)) == 10 and len(digits) == 100
    assert np.allclose(drawn.get_facecolors()[:, :3], mpl.colors.to_rgba_array(plots.DIGIT_COLORS)[digits, :3])
    assert [text.get_text() for text in axis.texts] == list("0123456789")
    assert [tuple(artist.xy) for artist in axis.artists] == [tuple(place) for place in points[[3, 4]]]
    # Names of digits at one place are pushed apart.
    apart = plots._apart(np.zeros((10, 2)) + np.linspace(0, 0.01, 10)[:, None], 0.05)
    distances = np.linalg.norm(apart[:, None] - apart[None], axis=2) + np.eye(10)
    assert distances.min() > 0.045


def test_users_style_neither_shows_nor_changes():
    with mpl.rc_context({"axes.facecolor": "black", "font.size": 20}):
        before = dict(mpl.rcParams)
        (axis,) = plots.history_curves({"one": HISTORY}, "Curves").axes
        assert dict(mpl.rcParams) == before
    assert axis.get_facecolor() == axis.figure.get_facecolor() == (1, 1, 1, 1)
