"""What each figure shows, and cases that the stored pictures do not: test_pictures.py compares with these."""

import io
import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import article, evaluation, plots

pytestmark = pytest.mark.thorough

HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.94, 0.96]}
BLANKS = np.zeros((10, 28, 28), np.uint8)


def test_digit_grid():
    """Captions of two lines do not touch; errors are red; one caption too few is an error."""
    figure = plots.digit_grid(BLANKS, ["4 read as 9, 99.996 %\nlabel disputed"] * 10, "Samples", marked=[3])
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    assert [axis.title.get_color() == plots.WRONG for axis in figure.axes] == [place == 3 for place in range(10)]
    with pytest.raises(ValueError, match="shorter"):
        plots.digit_grid(BLANKS, ["4"] * 9, "Samples")


def test_what_has_nothing_to_show_says_why():
    for figure in (plots.digit_grid(BLANKS[:0], [], "Samples"), plots.runs(finals()[:0], {}, "Trainings")):
        assert figure.get_suptitle() == plots.LEFT_OUT


def test_figure_as_png():
    """For dense screens, on white, with alternative text."""
    content, metadata = plots.as_png(plots.digit_grid(BLANKS, list("0123456789"), "Ten digits"))
    picture = Image.open(io.BytesIO(content))
    assert picture.width == pytest.approx(2 * metadata["width"], abs=2) and 800 < metadata["width"] < 900
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert metadata["alt"].startswith("Ten digits. Images in a grid, each under its caption")


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, "50 %"), (0.991, "99 %"), (0.9954, "99.5 %"), (0.99996, "99.996 %"), (1.0, "100 %"), (0.0, "0 %")],
)
def test_percent_tells_almost_certain_from_certain(share, expected):
    assert plots.percent(share) == expected


def test_history_curves():
    figure = plots.history_curves({"one": HISTORY, "other": {**HISTORY, "accuracy": [0.5, 0.6]}}, "Curves")
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] < 0.5
    curves = {line.get_label(): line.get_ydata().tolist() for line in left.lines}
    assert curves == {"training": [0.9, 0.95], "validation": [0.94, 0.96]}
    four = plots.history_curves(dict.fromkeys(["one", "other", "third", "fourth"], HISTORY), "Curves")
    assert [axis.axison for axis in four.axes] == [True] * 4 + [False] * 2
    assert four.get_size_inches()[0] <= plots.WIDTH
    (axis,) = plots.history_curves({"one": {"accuracy": [0.9], "val_accuracy": [0.94]}}, "Curves").axes
    assert [tick for tick in axis.get_xticks() if tick % 1] == []


def test_digit_by_digit():
    """Every count is there but zeros, what is read correctly on grey; beside it our accuracies and the article's."""
    true, predicted = (np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10)))
    table, errors = evaluation.label_accuracy(true, predicted), evaluation.errors_only(article.CONFUSION)
    matrix, dots = plots.digit_by_digit(article.CONFUSION, errors, table, article.published_by_digit(), "Digits").axes
    cells = {text.get_position(): text.get_text() for text in matrix.texts}
    assert cells[1, 1] == "1121" and cells[4, 9] == "15" and (4, 0) not in cells
    assert len(cells) == np.count_nonzero(article.CONFUSION) and len(matrix.patches) == 10
    ours, theirs = (container.lines[0] for container in dots.containers)
    assert ours.get_xdata().tolist() == pytest.approx(theirs.get_xdata().tolist(), abs=0.01)
    assert (theirs.get_ydata() > ours.get_ydata()).all() and dots.get_ylim()[0] > dots.get_ylim()[1]
    dots = plots.digit_by_digit(article.CONFUSION, errors, table, pd.DataFrame(), "Digits").axes[1]
    assert len(dots.containers) == 1


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


def test_lines_of_equal_sums_are_labelled_where_they_end():
    (axis,) = plots.runs(finals("dense", "conv"), {}, "Trainings").axes
    labels = {float(text.get_text().split()[-1]): text.xy for text in axis.texts if text.get_text()[-1].isdigit()}
    assert len(labels) >= 2 and sorted(sum(line.get_xy1()) for line in axis.lines) == pytest.approx(sorted(labels))
    for total, (x, y) in labels.items():
        assert x + y == pytest.approx(total) and (x == axis.get_xlim()[0] or y == axis.get_ylim()[1])


def test_reliability():
    """Both panels have every network's points; the right one is enlarged around the surest."""
    probabilities = np.zeros((30, 10))
    probabilities[:, 0] = np.repeat([0.55, 0.95], [10, 20])
    table = evaluation.reliability(probabilities, np.repeat([0, 1, 0], [4, 6, 20]))
    left, right = plots.reliability({"one": table, "other": table}, "Reliability").axes
    few = plots.reliability({"one": table.assign(images=[9, 20])}, "Reliability").axes[0]
    assert few.containers[0].lines[0].get_ydata().tolist() == [100]
    for axis in (left, right):
        points = axis.containers[1].lines[0]
        assert points.get_xdata().tolist() == pytest.approx([55, 95]) and points.get_ydata().tolist() == [40, 100]
    assert left.get_xlim() == (0, 100) and table["low %"].iloc[-1] > right.get_xlim()[0] > 55


def test_links_and_confusions():
    links = np.zeros((10, 10), dtype=int)
    links[4, 9] = links[9, 4] = 300
    links[3, 5] = links[5, 3] = 200
    (axis,) = plots.links_and_confusions(links, article.CONFUSION, 2, "Pairs").axes
    assert len(axis.collections[0].get_offsets()) == 45
    assert {text.get_text(): text.xy for text in axis.texts} == {"4/9": (300, 24), "3/5": (200, 11), "2/7": (0, 18)}
    (expected,) = axis.lines
    assert expected.get_ydata() / expected.get_xdata() == pytest.approx(199 / 500)


def test_readings():
    """Each image, then each network's bars, with the digit that it reads."""
    answers = {"dense": 1.0001 * np.eye(10)[7], "conv": 0.5 * np.eye(10)[2]}
    image, dense, conv = plots.readings({"the picture": BLANKS[0]}, answers, "A seven").axes
    assert image.get_title() == "the picture"
    assert (dense.get_title(), conv.get_title()) == ("dense\n7, 100 %", "conv\n2, 50 %")
    assert [bar.get_alpha() for bar in dense.patches].index(1) == 7 and dense.get_xlim() == (0, 1)


def test_embedding():
    labels = np.arange(100) % 10
    points = np.random.default_rng(0).normal(size=(100, 2))
    images = np.repeat(BLANKS, 10, axis=0)
    (axis,) = plots.embedding(points, labels, points[:10], images, np.array([3, 4]), "Map").axes
    drawn, alone = axis.collections[0], axis.child_axes[0].collections[0]
    assert len(alone.get_offsets()) == 30
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
