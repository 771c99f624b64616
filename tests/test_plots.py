import io
import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers import article, evaluation, plots

pytestmark = pytest.mark.thorough

HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.94, 0.96]}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def drawn(figure: Figure) -> Figure:
    """The figure, once it has been through the renderer; its corner must be opaque white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba")
    assert buffer.getvalue()[:4] == b"\xff\xff\xff\xff"
    return figure


def test_digit_grid():
    images = np.zeros((10, 28, 28), dtype=np.uint8)
    images[3, 5, 7] = 255
    figure = drawn(plots.digit_grid(images, [f"digit {n}" for n in range(10)], "Samples"))
    assert {"Samples", *(f"digit {n}" for n in range(10))} <= set(texts(figure))
    assert np.array_equal(figure.axes[3].images[0].get_array(), images[3])
    assert not any(axis.axison for axis in figure.axes)


def test_captions_of_a_digit_grid_do_not_touch():
    figure = plots.digit_grid(
        np.zeros((10, 28, 28), np.uint8), ["true 4, predicted 9\nprobability 0.87"] * 10, "Incorrect predictions"
    )
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))


def test_history_curves_share_their_axis():
    figure = drawn(plots.history_curves({"one": HISTORY, "other": {**HISTORY, "accuracy": [0.5, 0.6]}}, "Curves"))
    left, right = figure.axes
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] < 0.5
    assert [line.get_label() for line in left.lines] == ["training", "validation"]
    assert left.lines[1].get_ydata().tolist() == [0.94, 0.96]
    assert {"Curves", "one", "other", "epoch", "accuracy", "training", "validation"} <= set(texts(figure))


def test_history_curves_of_three_networks_and_of_a_single_epoch():
    three = drawn(plots.history_curves(dict.fromkeys(["one", "other", "third"], HISTORY), "Curves"))
    assert [axis.axison for axis in three.axes] == [True, True, True, False]
    assert three.get_size_inches()[0] <= plots.WIDTH and [axis.get_ylabel() for axis in three.axes[:3]] == ["accuracy", "", "accuracy"]
    (axis,) = drawn(plots.history_curves({"one": {key: values[:1] for key, values in HISTORY.items()}}, "Curves")).axes
    assert [tick for tick in axis.get_xticks() if tick % 1] == []


@pytest.fixture
def table():
    true, predicted = (np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10)))
    return evaluation.label_accuracy(true, predicted)


def test_label_accuracy(table):
    figure = drawn(plots.label_accuracy(table, "Accuracy"))
    (axis,) = figure.axes
    assert [bar.get_height() for bar in axis.patches] == pytest.approx(table["accuracy %"].tolist())
    assert axis.get_ylim() == (90, 100)
    assert "1\n(1,135)" in texts(figure)


def test_label_accuracy_shows_low_accuracies_too(table):
    figure = plots.label_accuracy(table.assign(**{"accuracy %": table["accuracy %"] - 40, "low %": table["low %"] - 40}), "Accuracy")
    assert figure.axes[0].get_ylim() == (50, 100)


def test_confusion_matrices():
    figure = drawn(plots.confusion_matrices(article.CONFUSION, evaluation.errors_only(article.CONFUSION), "Confusion"))
    left, right = figure.axes[:2]
    cells = {(text.get_position(), text.get_text()) for text in left.texts}
    assert ((1, 1), "1121") in cells and ((4, 9), "15") in cells
    assert {text.get_text() for text in right.texts}.isdisjoint({"1121", "973"})
    assert ((4, 9), "15") in {(text.get_position(), text.get_text()) for text in right.texts}
    assert left.get_ylabel() == right.get_ylabel() == "true digit" and right.get_xlabel() == "predicted digit"


@pytest.fixture
def finals():
    index = pd.MultiIndex.from_product([["dense", "conv"], [1, 2, 3]], names=["candidate", "seed"])
    columns = {"training %": [98.4, 98.5, 98.6, 97.7, 97.8, 97.9], "validation %": [98.0, 97.9, 98.1, 98.1, 98.2, 98.3]}
    return pd.DataFrame(columns, index=index)


def test_runs(finals):
    figure = drawn(plots.runs(finals, {"dense": (98.5, 98.01)}, "Trainings"))
    (axis,) = figure.axes
    dense, star, conv = axis.collections
    assert np.array_equal(dense.get_offsets(), finals.loc["dense"]) and np.array_equal(conv.get_offsets(), finals.loc["conv"])
    assert star.get_offsets().tolist() == [[98.5, 98.01]]
    assert {"Trainings", "dense", "conv", "article", "sum 196.5"} <= set(texts(figure))
    assert "training" in axis.get_xlabel() and "validation" in axis.get_ylabel()


def test_runs_of_however_many_candidates():
    index = pd.MultiIndex.from_product([[f"network {number}" for number in range(23)], [1]], names=["candidate", "seed"])
    many = pd.DataFrame({"training %": np.linspace(97, 99, 23), "validation %": 98.0}, index=index)
    assert {f"network {number}" for number in range(23)} <= set(texts(plots.runs(many, {}, "Trainings")))


def test_lines_of_equal_sums_are_labelled_rightly(finals):
    """Each label stands at an edge of the axes, where its line ends."""
    figure = plots.runs(finals, {}, "Trainings")
    (axis,) = figure.axes
    labels = {text.get_text(): text.xy for text in axis.texts if text.get_text()[-1].isdigit()}
    assert len(labels) >= 2
    assert sorted(sum(line.get_xy1()) for line in axis.lines) == pytest.approx(sorted(float(name.split()[-1]) for name in labels))
    for label, place in labels.items():
        assert sum(place) == pytest.approx(float(label.removeprefix("sum ")))
        assert axis.get_xlim()[0] <= place[0] <= axis.get_xlim()[1] and axis.get_ylim()[0] <= place[1] <= axis.get_ylim()[1]


def test_reliability():
    probabilities = np.zeros((30, 10))
    probabilities[:, 0] = np.repeat([0.55, 0.95], [10, 20])
    table = evaluation.reliability(probabilities, np.repeat([0, 1, 0], [4, 6, 20]))
    upper, lower = drawn(plots.reliability(table, "Reliability")).axes
    points = upper.containers[0].lines[0]
    assert points.get_xdata().tolist() == pytest.approx([55, 95]) and points.get_ydata().tolist() == [40, 100]
    assert [bar.get_height() for bar in lower.patches] == [10, 20]
    assert [bar.get_x() + bar.get_width() / 2 for bar in lower.patches] == pytest.approx([55, 95])
    assert {text.get_text() for text in lower.texts} == {"10", "20"}
    assert lower.get_yscale() == "log" and "probability" in lower.get_xlabel() and "correctly" in upper.get_ylabel()


def test_foresight():
    links = np.zeros((10, 10), dtype=int)
    links[4, 9] = links[9, 4] = 300
    links[3, 5] = links[5, 3] = 200
    figure = drawn(plots.foresight(links, article.CONFUSION, 2, "Foresight"))
    (axis,) = figure.axes
    points = [tuple(point) for point in axis.collections[0].get_offsets()]
    assert len(points) == 45 and (300, 24) in points and (200, 11) in points and (0, 18) in points
    assert {text.get_text(): text.xy for text in axis.texts} == {"4/9": (300, 24), "3/5": (200, 11), "2/7": (0, 18)}


def test_handwriting():
    picture, image = np.full((40, 60), 200, np.uint8), np.zeros((28, 28), np.uint8)
    image[5, 7] = 255
    probabilities = np.array([0.04] * 7 + [0.6] + [0.06] * 2)
    figure = drawn(plots.handwriting(picture, image, probabilities, "A seven"))
    left, middle, right = figure.axes
    assert np.array_equal(left.images[0].get_array(), picture) and np.array_equal(middle.images[0].get_array(), image)
    assert left.images[0].cmap(1.0) == middle.images[0].cmap(0.0) == (1, 1, 1, 1)  # paper is white in both
    assert [bar.get_width() for bar in right.patches] == pytest.approx(probabilities.tolist())
    assert [bar.get_alpha() == 1 for bar in right.patches] == [digit == 7 for digit in range(10)]
    (label,) = right.texts
    assert (label.get_text(), label.xy) == ("0.60", (0.6, 7))
    assert {"A seven", "probability", "digit"} <= set(texts(figure))


def test_label_of_a_certain_prediction_stays_in_the_figure():
    figure = plots.handwriting(np.zeros((90, 40), np.uint8), np.zeros((28, 28), np.uint8), 1.0001 * np.eye(10)[7], "A seven")
    figure.draw_without_rendering()
    assert figure.axes[2].texts[0].xy == (1, 7)
    box = figure.axes[2].texts[0].get_window_extent()
    assert box.x0 > figure.axes[2].patches[7].get_window_extent().x1 and box.x1 < figure.bbox.x1


def test_embedding():
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 10
    points = np.stack([labels // 5, labels % 5], axis=1) + rng.normal(scale=0.1, size=(100, 2))
    centres = np.stack([points[labels == digit].mean(axis=0) for digit in range(10)])
    images = np.zeros((100, 28, 28), dtype=np.uint8)
    figure = drawn(plots.embedding(points, labels, centres, images, np.array([3, 4]), "Map"))
    (axis,) = figure.axes
    assert {text.get_text() for text in axis.texts} == set("0123456789")
    colors = {tuple(color) for color in axis.collections[0].get_facecolors()}
    assert len(axis.collections[0].get_offsets()) == 100 and len(colors) == 10
    assert len([artist for artist in axis.artists if artist.xy in points[[3, 4]]]) == 2


def test_digits_at_one_place_are_pushed_apart():
    places = np.zeros((10, 2)) + np.linspace(0, 0.01, 10)[:, None]
    apart = plots._apart(places, 0.05)
    distances = np.linalg.norm(apart[:, None] - apart[None], axis=2) + np.eye(10)
    assert distances.min() > 0.045


def test_style_is_not_left_behind():
    before = dict(mpl.rcParams)
    plots.history_curves({"one": HISTORY}, "Curves")
    assert dict(mpl.rcParams) == before
