"""One function per figure: arrays or a table in, Figure out.

Images are of shape (n, 28, 28), from 0 for paper to 255 for ink; labels are digits from 0 to 9, shape (n,);
confusion counts are of shape (10, 10): rows true, columns predicted.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

# Ten colours that colour-blind readers can tell apart too (M. A. Petroff, 2021), one per digit, in an order
# that gives the most different ones to digits that mix in the embedding: 3, 5, 8 and 4, 7, 9 above all.
PETROFF = mpl.color_sequences["petroff10"]
DIGIT_COLORS = [PETROFF[place] for place in (0, 5, 9, 1, 6, 8, 7, 4, 2, 3)]
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "figure.facecolor": "white",  # opaque: a transparent figure cannot be read in dark mode
    "figure.titlesize": 12,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=PETROFF),
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "font.size": 9,
    "figure.constrained_layout.use": True,
    "axes.axisbelow": True,
}
WIDTH = 8.0  # inches


# Draw in the project's style, whatever the user's is, and leave the user's as it was.
_styled = mpl.style.context(["default", STYLE])


@_styled
def digit_grid(images: np.ndarray, captions: Sequence[str], title: str, columns: int = 5) -> Figure:
    """Images in a grid, each under its caption."""
    rows = -(-len(images) // columns)
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    size = WIDTH * 0.92 / columns
    figure = Figure(figsize=(columns * size, rows * (size + 0.16 * lines) + 0.35))
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, caption in zip(axes[: len(images)], images, captions, strict=True):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=9)
    return figure


@_styled
def history_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Training and validation accuracy epoch by epoch, one panel per model, on one scale.

    Parameters
    ----------
    histories
        For each model, by its name: `accuracy` and `val_accuracy`, one float per epoch.
    """
    rows, columns = -(-len(histories) // 2), min(len(histories), 2)
    figure = Figure(figsize=(0.5 * WIDTH * max(columns, 1.25), 3.1 * rows + 0.3))
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    panels = grid.ravel()
    for axis in panels[len(histories) :]:
        axis.set_axis_off()
    for axis, (name, history) in zip(panels, histories.items(), strict=False):
        epochs = np.arange(1, len(history["accuracy"]) + 1)
        axis.plot(epochs, history["accuracy"], marker="o", label="training")
        axis.plot(epochs, history["val_accuracy"], marker="s", label="validation")
        axis.set(title=name, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axis.grid(alpha=0.3)
    for axis in grid[:, 0]:
        axis.set_ylabel("accuracy")
    panels[0].legend(loc="lower right")
    return figure


@_styled
def runs(finals: pd.DataFrame, published: Mapping[str, tuple[float, float]], title: str) -> Figure:
    """Each run as a point, by both accuracies that the article adds, and the article's own among them.

    Parameters
    ----------
    finals
        As `study.finals` returns it.
    published
        The article's training and validation accuracy of some of the candidates, in percent.
    """
    figure = Figure(figsize=(WIDTH, 5.2))
    axis = figure.subplots()
    looks = zip(itertools.cycle(PETROFF), itertools.cycle("osD^v<>pPX"), strict=False)  # for any number of candidates
    for (name, group), (color, marker) in zip(finals.groupby("candidate", sort=False), looks, strict=False):
        training, validation = group["training %"], group["validation %"]
        axis.scatter(training, validation, s=30, color=color, marker=marker, alpha=0.7, linewidths=0)
        _label(axis, name, (training.mean(), validation.max()), (0, 10), fontsize=11, fontweight="bold")
        if name in published:
            axis.scatter(*published[name], s=260, color=color, marker="*", edgecolors="black", zorder=3)
            _label(axis, "article", published[name], (0, -17))
    axis.margins(0.12)
    axis.set_title(title, pad=18)
    axis.set(xlabel="final training accuracy, %", ylabel="final validation accuracy, %")
    axis.grid(alpha=0.3)
    _lines_of_equal_sums(axis)
    return figure


def _lines_of_equal_sums(axis: Axes) -> None:
    """Draw dotted lines, one every half a percent, each labelled where it ends, at the upper or the right edge."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    look: dict[str, Any] = {"color": "dimgray", "fontsize": 8, "va": "bottom", "annotation_clip": False}
    for total in np.arange(np.ceil(2 * (left + bottom)) / 2, right + top, 0.5):
        axis.axline((total - bottom, bottom), slope=-1, color="gray", linewidth=0.7, linestyle=":", zorder=0)
        if total - top > left:
            _label(axis, f"sum {total:.1f}", (total - top, top), (0, 2), **look)
        else:
            _label(axis, f"{total:.1f}", (left, total - left), (2, 0), ha="left", **look)
    axis.set(xlim=(left, right), ylim=(bottom, top))


@_styled
def reliability(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy by the probability given to the prediction, above counts of images, as in `evaluation.reliability`."""
    figure = Figure(figsize=(WIDTH * 0.75, 5.6))
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    upper.plot([0, 100], [0, 100], color="gray", linestyle="--")
    along = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    upper.text(3, 6, "right as often as said", color="dimgray", **along)
    _points_with_intervals(upper, table["probability %"], table, color=PETROFF[0])
    upper.set(ylabel="predicted correctly, %", xlim=(0, 100), ylim=(0, 100))
    middles = [10 * (10 * float(bounds.split()[0]) + 0.5) for bounds in table.index]
    bars = lower.bar(middles, table["images"], width=9, color=PETROFF[0], alpha=0.3)
    lower.bar_label(bars, [f"{count:,}" for count in table["images"]], padding=2)
    lower.set(xlabel="probability given to the prediction, %", ylabel="images", yscale="log")
    lower.set_ylim(0.7, 12 * table["images"].max())
    lower.set_xticks(range(0, 101, 10))
    for axis in (upper, lower):
        axis.grid(alpha=0.3)
    return figure


@_styled
def links_and_confusions(links: np.ndarray, confusion: np.ndarray, named: int, title: str) -> Figure:
    """Each pair of digits as a point: how often the two are neighbours, how often confused.

    Parameters
    ----------
    links
        As `embedding.links` returns it.
    confusion
        Both directions are added.
    named
        How many pairs are labelled: those with most links, and as many with most confusions.
    """
    first, second = np.triu_indices(10, k=1)
    linked, confused = links[first, second], (confusion + confusion.T)[first, second]
    figure = Figure(figsize=(WIDTH, 4.6))
    axis = figure.subplots()
    axis.scatter(linked, confused, s=28, color=PETROFF[0], alpha=0.7, linewidths=0)
    for pair in {*np.argsort(-linked, kind="stable")[:named], *np.argsort(-confused, kind="stable")[:named]}:
        _label(axis, f"{first[pair]}/{second[pair]}", (linked[pair], confused[pair]), (0, 5), fontsize=10)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set(title=title, xlabel="pairs of joined images that show the two digits")
    axis.set_ylabel("images of one taken for the other")
    axis.margins(0.08)  # before the limits, which end all autoscaling
    axis.set_xlim(0, None)
    axis.set_ylim(0, None)
    axis.grid(alpha=0.3)
    axis.set_axisbelow("line")  # over the points, which would hide it
    return figure


@_styled
def label_accuracy(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy of each digit as a bar, with its interval and its count of images, as in `evaluation.label_accuracy`."""
    figure = Figure(figsize=(WIDTH, 3.6))
    axis = figure.subplots()
    axis.bar(table.index, table["accuracy %"], color=PETROFF[0], alpha=0.3, width=0.7)
    _points_with_intervals(axis, table.index, table, color="black", markersize=4)
    axis.set(title=title, xlabel="digit (number of images)")
    axis.set_xticks(table.index, [f"{digit}\n({n:,})" for digit, n in table["images"].items()])
    floor = 10 * int(min(table["low %"].min(), 90) // 10)
    axis.set_ylim(floor, 100)
    axis.set_ylabel(f"predicted correctly (axis from {floor} %)")
    axis.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    axis.grid(axis="y", alpha=0.3)
    return figure


@_styled
def confusion_matrices(confusion: np.ndarray, errors: np.ndarray, title: str) -> Figure:
    """Counts of all predictions, and of the errors alone, coloured by the percentages of `evaluation.errors_only`."""
    figure = Figure(figsize=(WIDTH * 1.15, 5.2))
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    shares = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    off_diagonal = confusion - np.diag(np.diag(confusion))
    _matrix(left, confusion, shares, 100, "Blues", "all predictions")
    _matrix(right, off_diagonal, errors, max(errors.max(), 0.1), "Reds", "errors alone")
    for axis in (left, right):
        figure.colorbar(axis.images[0], ax=axis, location="bottom", shrink=0.8, label="% of the digit's images")
    return figure


def _matrix(axis: Axes, counts: np.ndarray, shades: np.ndarray, darkest: float, cmap: str, title: str) -> None:
    colors = axis.imshow(shades, cmap=cmap, vmin=0, vmax=darkest).to_rgba(shades)[..., :3]
    luminances = colors**2.2 @ (0.2126, 0.7152, 0.0722)  # of sRGB
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = luminances[row, column] < 0.18  # where black and white stand out alike
            axis.text(column, row, count, ha="center", va="center", color="white" if dark else "black", fontsize=8)
    axis.set(title=title, xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


@_styled
def handwriting(
    picture: np.ndarray, image: np.ndarray, probabilities: np.ndarray | Mapping[str, np.ndarray], title: str
) -> Figure:
    """A picture of a digit, what the network is given of it, and what the network says, or each of several.

    Parameters
    ----------
    picture
        0 black to 255 white, shape (height, width).
    image
        Shape (28, 28).
    probabilities
        Of the ten digits, shape (10,); of several networks by their names.
    """
    said = probabilities if isinstance(probabilities, Mapping) else {"what it says": probabilities}
    figure = Figure(figsize=(WIDTH, 3.0 if len(said) == 1 else 2.5))
    figure.suptitle(title)
    left, middle, *right = figure.subplots(1, 2 + len(said), width_ratios=[1.25, 1] + [1.1] * len(said))
    left.imshow(picture, cmap="gray", vmin=0, vmax=255)
    middle.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    for axis, name in ((left, "the picture"), (middle, "what the network gets" if len(said) == 1 else "what they get")):
        axis.set(title=name, xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="lightgray")
    for axis, (name, answer) in zip(right, said.items(), strict=True):
        bars = axis.barh(range(10), answer, color=PETROFF[0], alpha=0.3)
        largest = int(answer.argmax())
        bars[largest].set_alpha(1)
        end = min(answer[largest], 1)  # a softmax may exceed 1 by a little; labels beyond are not drawn
        _label(axis, f"{end:.2f}", (end, largest), (4, 0), ha="left", va="center", fontsize=10)
        axis.set(title=name, xlabel="probability", xlim=(0, 1), yticks=range(10))
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
    right[0].set_ylabel("digit")
    return figure


@_styled
def embedding(
    points: np.ndarray, labels: np.ndarray, centres: np.ndarray, images: np.ndarray, shown: np.ndarray, title: str
) -> Figure:
    """Points coloured by digit, the digit written at its cluster, and a few of the images.

    Parameters
    ----------
    points
        Coordinates, shape (n, 2).
    centres
        Where to write each digit, shape (10, 2).
    shown
        Indices of the images to draw.
    """
    figure = Figure(figsize=(WIDTH, 7))
    axis = figure.subplots()
    order = np.random.default_rng(0).permutation(len(points))  # else the last digit hides the others
    colors = np.array(DIGIT_COLORS)[labels[order]]
    axis.scatter(points[order, 0], points[order, 1], c=colors, s=5, alpha=0.7, linewidths=0)
    for index in shown:
        thumbnail = OffsetImage(images[index], zoom=0.75, cmap="gray_r")
        frame = {"edgecolor": DIGIT_COLORS[labels[index]], "linewidth": 1.5}
        axis.add_artist(AnnotationBbox(thumbnail, points[index], pad=0.05, bboxprops=frame))
    extent = np.ptp(points, axis=0)
    look: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "ha": "center", "va": "center", "zorder": 5}
    for digit, ((x, y), color) in enumerate(zip(_apart(centres / extent, 0.04) * extent, DIGIT_COLORS, strict=True)):
        circle = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": color, "linewidth": 2.5}
        axis.text(x, y, str(digit), bbox=circle, **look)
    axis.set(title=title, xlabel="first coordinate", ylabel="second coordinate", xticks=[], yticks=[])
    return figure


def _apart(places: np.ndarray, distance: float) -> np.ndarray:
    """Push places, shape (n, 2), away from each other in up to 200 rounds, until all pairs are `distance` apart."""
    places = places.copy()
    for _ in range(200):
        gaps = places[:, None] - places[None]
        lengths = np.linalg.norm(gaps, axis=2) + np.eye(len(places))
        short = np.clip(distance - lengths, 0, None)
        if not short.any():
            break
        places += (gaps / np.maximum(lengths, 1e-9)[..., None] * short[..., None]).sum(axis=1) / 2
    return places


def _label(axis: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **look: Any) -> None:
    """Write a text at a place in data coordinates, moved by an offset in points."""
    axis.annotate(text, place, offset, textcoords="offset points", **{"ha": "center", **look})


def _points_with_intervals(axis: Axes, x: Any, table: pd.DataFrame, **look: Any) -> None:
    below, above = table["accuracy %"] - table["low %"], table["high %"] - table["accuracy %"]
    # not clipped, or half of a dot at 100 % would be cut off
    axis.errorbar(x, table["accuracy %"], yerr=[below, above], fmt="o", capsize=4, clip_on=False, **look)
