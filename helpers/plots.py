"""These functions draw the figures: each takes arrays or a table and returns a matplotlib Figure.

They compute nothing that a reader would want as a number; see `evaluation`, `variation` and
`embedding` for that. They share these terms.

images
    Shape (n, 28, 28), from 0 for paper to 255 for ink.
labels
    Digits 0 to 9, shape (n,).
confusion
    Counts, shape (10, 10), one row per true digit, one column per predicted digit.
title
    The figure's title. The notebook writes there what the figure shows, with its numbers.

Each function that draws a figure is decorated with `_styled`. This draws the figure in the project's style and makes
its alternative text from the title and the first line of the function's docstring: whoever changes
that line changes the stored notebook.
"""

import functools
import io
import itertools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from helpers.tables import percent

# Options of a function of matplotlib's, such as colours and sizes.
Look = dict[str, Any]

# Ten colours that colour-blind readers can tell apart too (M. A. Petroff, 2021).
PETROFF = mpl.color_sequences["petroff10"]
# One colour per digit. Digits that mix in the embedding, above all 3, 5, 8 and 4, 7, 9, have the
# most different ones.
DIGIT_COLORS = [PETROFF[place] for place in (0, 5, 9, 1, 6, 8, 7, 4, 2, 3)]
DIGIT_COLORS[5] = (0, 0, 0.25)  # dark blue, where Petroff has a second grey
WRONG = PETROFF[2]  # red, for what a network has misread
MARKERS = "osD^v<>pPX"  # one per network
STYLE: dict[Any, Any] = {
    "figure.dpi": 108,
    "figure.titlesize": 13,
    "axes.titlesize": 13,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=PETROFF),
    "figure.constrained_layout.use": True,
    "axes.axisbelow": True,
}
WIDTH = 8.0  # of a figure, in inches
COLUMNS = 5  # of a grid of images
LEAST_IMAGES = 10  # that a bin must have to be drawn
PIXELS_PER_PIXEL = 2  # of a stored figure per pixel of the page: dense screens show it crisp
# A logarithmic scale that is linear from 0 to 1, since it has to show 0 too.
LOGARITHMIC: Look = {"value": "symlog", "linthresh": 1, "linscale": 0.3}


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the project's style, whatever the user's is, and describe the figure in its label.

    The label becomes the alternative text, see `as_png`. It consists of the title and of the first
    line of the docstring; a figure without axes shows nothing but its title.
    """

    @functools.wraps(draw)
    def styled(*arguments: Any, **options: Any) -> Figure:
        with mpl.style.context(["default", STYLE]):
            figure = draw(*arguments, **options)
        title = figure.get_suptitle() or figure.axes[0].get_title()
        about = str(draw.__doc__).splitlines()[0] if figure.axes else ""
        figure.set_label(f"{' '.join(title.split()).rstrip('.')}. {about}".strip())
        return figure

    return styled


def as_png(figure: Figure) -> tuple[bytes, dict[str, Any]]:
    """Turn a figure into what a notebook stores.

    Returns
    -------
    png
        A picture of 256 colours, which takes half the space of one with all colours.
    metadata
        The `width` at which a page shows it, in pixels, and `alt`, the alternative text.
    """
    full = io.BytesIO()
    with mpl.style.context(["default", STYLE]):
        # Hardly compressed, since it is read again at once.
        figure.savefig(full, dpi=PIXELS_PER_PIXEL * figure.dpi, pil_kwargs={"compress_level": 1})
    picture = Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, "PNG")
    width = round(picture.width / PIXELS_PER_PIXEL)
    return small.getvalue(), {"width": width, "alt": figure.get_label()}


@_styled
def digit_grid(
    images: np.ndarray, captions: Sequence[str], title: str, marked: Sequence[int] = ()
) -> Figure:
    """Images in a grid, each under its caption; errors are marked in red.

    Parameters
    ----------
    images
        May be empty. Then the figure is only its title, which may say why there are none.
    captions
        One per image.
    marked
        The places of the errors among the images, counted from 0.
    """
    if not len(images):
        return _title_alone(title)
    rows = math.ceil(len(images) / COLUMNS)
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure = Figure(figsize=(WIDTH, rows * (WIDTH / COLUMNS + 0.18 * lines - 0.1) + 0.4))
    figure.suptitle(title)
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axis = figure.add_subplot(rows, COLUMNS, place + 1, xticks=[], yticks=[])
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=10, color=WRONG if place in marked else "black")
        axis.spines[:].set(visible=place in marked, color=WRONG, linewidth=2)
    return figure


@_styled
def history_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Training and validation accuracy epoch by epoch, one panel per network, on one scale.

    Parameters
    ----------
    histories
        By the network's name: `accuracy` and `val_accuracy`, in which each epoch has a share
        from 0 to 1.
    """
    rows = math.ceil(len(histories) / 3)
    columns = min(len(histories), 3)
    # A single panel is wider than one of several, so that the title has room.
    figure = Figure(figsize=(WIDTH * max(columns, 1.6) / 3, 3.0 * rows + 0.3))
    figure.suptitle(title)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axis in panels[len(histories) :]:
        axis.set_axis_off()
    colors = itertools.cycle(PETROFF)
    for axis, (name, history), color in zip(panels, histories.items(), colors, strict=False):
        epochs = np.arange(1, len(history["accuracy"]) + 1)
        axis.plot(epochs, history["accuracy"], marker="o", color="0.6", label="training")
        axis.plot(epochs, history["val_accuracy"], marker="s", color=color, label="validation")
        is_leftmost = axis.get_subplotspec().is_first_col()
        axis.set(title=name, xlabel="epoch", ylabel="accuracy" if is_leftmost else "")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axis.grid(alpha=0.3)
    panels[0].legend(loc="lower right")
    return figure


@_styled
def runs(accuracies: pd.DataFrame, published: Mapping[str, tuple[float, float]], title: str) -> Figure:
    """Each training as a point, by its final training and validation accuracy; stars are the article's.

    Parameters
    ----------
    accuracies
        What `variation.accuracies_of_runs` returns. May be empty. Then the figure is only its title, which may
        say why there are no trainings.
    published
        By the network's name: the article's training and validation accuracy, in percent.
    """
    if accuracies.empty:
        return _title_alone(title)
    figure = Figure(figsize=(WIDTH, 5.4))
    axis = figure.subplots()
    groups = accuracies.groupby("candidate", sort=False)
    looks = zip(itertools.cycle(PETROFF), itertools.cycle(MARKERS), strict=False)
    point: Look = {"s": 34, "alpha": 0.7, "linewidths": 0}
    star: Look = {"s": 280, "marker": "*", "edgecolors": "black", "zorder": 3}
    for (name, group), (color, marker) in zip(groups, looks, strict=False):
        training, validation = group["training %"], group["validation %"]
        axis.scatter(training, validation, color=color, marker=marker, **point)
        top = training.mean(), validation.max()
        _label(axis, name, top, (0, 10), fontsize=12, fontweight="bold")
        if name in published:
            axis.scatter(*published[name], color=color, **star)
            _label(axis, "article", published[name], (0, -19))
    axis.margins(0.12)
    axis.set_title(title, pad=22)
    axis.set(xlabel="final training accuracy, %", ylabel="final validation accuracy, %")
    axis.grid(alpha=0.3)
    _draw_equal_sums(axis)
    return figure


def _draw_equal_sums(axis: Axes) -> None:
    """Draw a dotted line every half a percent, along which the sum of both accuracies is the same.

    Each is labelled where it begins, at the upper or the left edge.
    """
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    line: Look = {"color": "gray", "linewidth": 0.8, "linestyle": ":", "zorder": 0}
    look: Look = {"color": "dimgray", "fontsize": 10, "va": "bottom"}
    look["annotation_clip"] = False  # labels stand outside the axes
    lowest = np.ceil(2 * (left + bottom)) / 2  # the first half percent in the lower left corner
    for total in np.arange(lowest, right + top, 0.5):
        axis.axline((total - bottom, bottom), slope=-1, **line)
        if total - top > left:
            _label(axis, f"sum {total:.1f}", (total - top, top), (0, 2), **look)
        else:
            _label(axis, f"{total:.1f}", (left, total - left), (3, 0), ha="left", **look)
    axis.set(xlim=(left, right), ylim=(bottom, top))  # the lines have widened both


@_styled
def reliability(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """How often predictions are right, by the probability given to them: all of them, and the surest enlarged.

    Parameters
    ----------
    tables
        By the network's name: what `evaluation.reliability` returns. Bins of few images are not
        drawn.
    """
    figure = Figure(figsize=(WIDTH, 4.4))
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    # On the left the networks' points stand side by side, else one network hides the other.
    moves = 1.5 * (np.arange(len(tables)) - (len(tables) - 1) / 2)
    looks = zip(itertools.cycle(MARKERS), moves, strict=False)
    for (name, each), (marker, move) in zip(tables.items(), looks, strict=True):
        table = each[each["images"] >= LEAST_IMAGES]  # of fewer an interval says hardly anything
        accuracy = table["accuracy %"]
        for axis, sideways in ((left, move), (right, 0)):
            ends = accuracy["estimate"] - accuracy["low"], accuracy["high"] - accuracy["estimate"]
            look = {"fmt": marker, "label": name, "alpha": 0.8, "elinewidth": 0.8, "capsize": 4}
            sure = (table["probability %"] + sideways).clip(upper=100)
            axis.errorbar(sure, accuracy["estimate"], yerr=ends, **look)
    # The panel on the right begins a little below the last bins.
    surest = pd.concat([table.iloc[-1:] for table in tables.values()])
    lowest = min(surest["accuracy %", "low"].min(), surest["probability %"].min())
    _compare_with_diagonal(left, start=0)
    _compare_with_diagonal(right, start=lowest - 0.15 * (100 - lowest))
    left.set(title="all predictions", ylabel="predicted correctly, %")
    right.set(title="the surest ones, enlarged")
    right.legend(loc="upper left")
    return figure


def _compare_with_diagonal(axis: Axes, start: float) -> None:
    """Draw the line on which predictions are right as often as they say, from `start` to 100 %."""
    line: Look = {"color": "gray", "linestyle": "--", "zorder": 0}
    axis.axline((100, 100), slope=1, label="right as often as it says", **line)
    axis.set(xlim=(start, 100), ylim=(start, 100), box_aspect=1)
    axis.set_xlabel("probability given to the prediction, %")
    axis.grid(alpha=0.3)


@_styled
def links_and_confusions(
    links: np.ndarray, confusion: np.ndarray, named: int, title: str
) -> Figure:
    """Each pair of digits as a point: how often the two are neighbours, and how often confused, either way.

    Parameters
    ----------
    links
        What `embedding.edge_counts` returns, shape (10, 10).
    named
        How many pairs get their name written beside them: so many of those with most links, and so
        many of those with most confusions.
    """
    first, second = np.triu_indices(10, k=1)  # the 45 pairs
    linked = links[first, second]
    confused = (confusion + confusion.T)[first, second]
    proportion = confused.sum() / max(linked.sum(), 1)
    figure = Figure(figsize=(WIDTH, 5.0))
    axis = figure.subplots()
    look: Look = {"s": 34, "color": PETROFF[0], "alpha": 0.7, "linewidths": 0, "zorder": 3}
    axis.scatter(linked, confused, clip_on=False, **look)
    _scale_logarithmically(axis, linked, confused)
    pairs = np.union1d(_largest(linked, named), _largest(confused, named))
    names = [f"{first[pair]}/{second[pair]}" for pair in pairs]
    places = np.stack([linked[pairs], confused[pairs]], axis=1)
    _name_points(axis, names, places, above=confused[pairs] > proportion * linked[pairs])
    _draw_proportion(axis, proportion, end=2 * max(linked.max(), 1))
    axis.legend(loc="lower right")
    axis.set(title=title, xlabel="pairs of joined images that show the two digits")
    axis.set_ylabel("images confused")
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    return figure


def _scale_logarithmically(axis: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Give both axes logarithmic scales from 0 to twice the largest value.

    Ticks stand at 0, 1, 3, 10, 30 and so on.
    """
    axis.set_xscale(**LOGARITHMIC)
    axis.set_yscale(**LOGARITHMIC)
    for scale, values in (("x", x), ("y", y)):
        end = 2 * max(values.max(), 1)
        candidates = [0] + [step * 10**power for power in range(6) for step in (1, 3)]
        ticks = [tick for tick in candidates if tick < end]
        labels = [f"{tick:,}" for tick in ticks]
        axis.set(**{f"{scale}lim": (0, end), f"{scale}ticks": ticks, f"{scale}ticklabels": labels})


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest values; of equal ones, the first."""
    return np.argsort(-values, kind="stable")[:count]


def _name_points(axis: Axes, names: Sequence[str], places: np.ndarray, above: np.ndarray) -> None:
    """Write names beside points, apart from each other, each with a thin line to its point.

    Parameters
    ----------
    places
        Data coordinates, shape (n, 2).
    above
        Whether each name stands above and left of its point, else below and right; bool, (n,).
    """
    # How far apart names are is measured on paper. So coordinates become shares of the axes' width
    # and height, then pixels, then points (72 to the inch).
    shares = (axis.transScale + axis.transLimits).transform(places)
    points = shares * axis.bbox.size * 72 / axis.figure.dpi
    beside = np.where(above, -1, 1)[:, None] * (24, -20)
    offsets = _push_apart(points + beside, 24) - points
    line = {"arrowstyle": "-", "color": "gray", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
    for name, place, offset in zip(names, places, offsets, strict=True):
        _label(axis, name, place, offset, va="center", fontsize=11, arrowprops=line)


def _draw_proportion(axis: Axes, proportion: float, end: float) -> None:
    """Draw the line on which pairs are confused in proportion to their links, `end` at most."""
    # Below 1 the scales are linear, where the line would be bent. So it begins where both are 1.
    start = max(1, 1 / max(proportion, 1e-9))
    x = np.array([start, end])
    look: Look = {"color": "gray", "linestyle": "--", "zorder": 0}
    axis.plot(x, proportion * x, label="confused in proportion", **look)


@_styled
def digit_by_digit(
    confusion: np.ndarray,
    errors: np.ndarray,
    table: pd.DataFrame,
    published: pd.DataFrame,
    title: str,
) -> Figure:
    """Which digits are taken for which, the more the redder; beside each row, how many are read correctly.

    Parameters
    ----------
    errors
        What `evaluation.errors_only` returns.
    table
        What `evaluation.label_accuracy` returns.
    published
        What `article.published_by_digit` returns. May be empty: then the article's are left out.
    """
    figure = Figure(figsize=(WIDTH, 5.6))
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, width_ratios=[2.4, 1])
    _draw_counts(left, confusion, errors)
    _draw_accuracies(right, table, published)
    return figure


def _draw_counts(axis: Axes, confusion: np.ndarray, errors: np.ndarray) -> None:
    """Write each count into its cell, gray on the diagonal, else the redder the more of its row.

    Zeros beside the diagonal are left out.
    """
    most = max(errors.max(), 0.1)
    axis.imshow(errors, cmap="Reds", vmin=0, vmax=most)
    for (row, column), count in np.ndenumerate(confusion):
        if row == column:
            axis.add_patch(mpl.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, color="0.9"))
            axis.text(column, row, count, ha="center", va="center", color="black", fontsize=10)
        elif count:
            # Black and white stand out alike from the red two thirds of the way up.
            color = "white" if errors[row, column] > 0.674 * most else "black"
            axis.text(column, row, count, ha="center", va="center", color=color, fontsize=13)
    axis.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title("images, the redder the larger their share of the row", fontsize=11)


def _draw_accuracies(right: Axes, table: pd.DataFrame, published: pd.DataFrame) -> None:
    """Draw each digit's accuracy with its interval, ours and, if given, the article's beside it."""
    aside = 0.0 if published.empty else 0.15
    both = (table, -aside, PETROFF[0], "ours"), (published, aside, "0.45", "article's")
    for rows, move, shade, name in both:
        if not rows.empty:
            accuracy = rows["accuracy %"]
            ends = accuracy["estimate"] - accuracy["low"], accuracy["high"] - accuracy["estimate"]
            look: Look = {"fmt": "o", "capsize": 3, "label": name}
            right.errorbar(accuracy["estimate"], rows.index + move, xerr=ends, color=shade, **look)
    right.set(xlabel="read correctly, %", ylim=(9.5, -0.5), yticks=range(10))
    right.set_title("accuracy", fontsize=11)
    right.grid(axis="x", alpha=0.3)
    right.legend(loc="upper left")


@_styled
def readings(
    images: Mapping[str, np.ndarray], probabilities: Mapping[str, np.ndarray], title: str
) -> Figure:
    """Images of one digit, and beside them the probabilities that networks give to the ten digits.

    Parameters
    ----------
    images
        By what each is called: shape (height, width), from 0 for black to 255 for white, as in a
        photograph.
    probabilities
        By the network's name: shape (10,).
    """
    count = len(images) + len(probabilities)
    figure = Figure(figsize=(WIDTH, 2.4 + 1.6 / count * (WIDTH / 4)))  # the fewer, the larger
    figure.suptitle(title)
    axes = figure.subplots(1, count, width_ratios=[1.25] * len(images) + [1] * len(probabilities))
    axes_of_images, axes_of_networks = axes[: len(images)], axes[len(images) :]
    for axis, (name, image) in zip(axes_of_images, images.items(), strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=11)
        axis.spines[:].set(visible=True, color="lightgray")
    for axis, (name, each) in zip(axes_of_networks, probabilities.items(), strict=True):
        _draw_probabilities(axis, name, each)
    axes_of_networks[0].set_ylabel("digit")
    return figure


def _draw_probabilities(axis: Axes, name: str, probabilities: np.ndarray) -> None:
    """Draw a bar per digit; the largest has the full colour and stands in the title."""
    bars = axis.barh(range(10), probabilities, color=PETROFF[0], alpha=0.35)
    largest = int(probabilities.argmax())
    bars[largest].set_alpha(1)
    axis.set(xlabel="probability", xlim=(0, 1), yticks=range(10))
    axis.set_xticks((0, 0.5, 1), labels=("0", "0.5", "1"))
    axis.set_title(f"{name}\n{largest}, {percent(probabilities[largest])}", fontsize=11)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)


@_styled
def embedding(
    points: np.ndarray,
    labels: np.ndarray,
    centres: np.ndarray,
    images: np.ndarray,
    shown: np.ndarray,
    title: str,
) -> Figure:
    """A map on which each image is a point in its digit's colour; 3, 5 and 8, which overlap, are shown again, alone.

    Parameters
    ----------
    points
        Where each image lies, shape (n, 2).
    centres
        Where each digit is written, shape (10, 2).
    shown
        The indices of those images that are shown at their points.
    """
    figure = Figure(figsize=(WIDTH, 7))
    axis = figure.subplots()
    colors = np.array(DIGIT_COLORS)[labels]
    # The points are drawn in random order, else the last digit would hide the others.
    order = np.random.default_rng(0).permutation(len(points))
    axis.scatter(points[order, 0], points[order, 1], c=colors[order], s=6, alpha=0.7, linewidths=0)
    for index in shown:
        thumbnail = OffsetImage(images[index], zoom=0.75, cmap="gray_r")
        frame = {"edgecolor": DIGIT_COLORS[labels[index]], "linewidth": 1.5}
        axis.add_artist(AnnotationBbox(thumbnail, points[index], pad=0.05, bboxprops=frame))
    # The coordinates have no unit: what is too close is measured in shares of the map's extent.
    extent = np.ptp(points, axis=0)
    places = _push_apart(centres / extent, 0.05) * extent
    for digit in range(10):
        _write_in_circle(axis, digit, places[digit], size=13)
    axis.set(title=title, xlabel="first coordinate", ylabel="second coordinate")
    axis.set(xticks=[], yticks=[])
    some = order[np.isin(labels[order], (3, 5, 8))]
    inset = _enlarge(axis, points[some], colors[some])
    for digit in (3, 5, 8):
        _write_in_circle(inset, digit, centres[digit], size=12)
    inset.set_title("3, 5 and 8 alone, enlarged", fontsize=11)
    return figure


def _enlarge(axis: Axes, points: np.ndarray, colors: np.ndarray) -> Axes:
    """Draw some points again, in a frame of their own at the upper right, without the outermost."""
    inset = axis.inset_axes((0.56, 0.66, 0.44, 0.29), xticks=[], yticks=[])
    x, y = points.T
    inset.scatter(x, y, c=colors, s=4, alpha=0.6, linewidths=0)
    inset.set(xlim=np.quantile(x, (0.02, 0.98)), ylim=np.quantile(y, (0.02, 0.98)))
    inset.spines[:].set(visible=True, color="lightgray")
    return inset


def _write_in_circle(axis: Axes, digit: int, place: np.ndarray, size: int) -> None:
    """Write a digit in a white circle whose edge has the digit's colour."""
    axis.text(
        x=place[0],
        y=place[1],
        s=str(digit),
        fontsize=size,
        fontweight="bold",
        ha="center",
        va="center",
        zorder=5,  # above the points and the images
        bbox={
            "boxstyle": "circle,pad=0.2",
            "facecolor": "white",
            "edgecolor": DIGIT_COLORS[digit],
            "linewidth": 2.5,
        },
    )


def _push_apart(places: np.ndarray, distance: float) -> np.ndarray:
    """Push places away from each other until all pairs are about `distance` apart.

    Parameters
    ----------
    places
        Shape (n, 2). Two at the very same place stay together: they have no direction to go.

    Notes
    -----
    adjustText moves labels too. It starts from the boxes that they fill when drawn, so the places
    depend on fonts. These few lines depend on nothing but the places given, need no further
    package, and draw the same figure on every machine.
    """
    places = places.copy()
    for _ in range(200):  # in a crowd the distances grow less and less, and remain a little short
        gaps = places[:, None] - places[None]  # between any two, shape (n, n, 2)
        lengths = np.linalg.norm(gaps, axis=2)
        np.fill_diagonal(lengths, np.inf)  # no place is too close to itself
        missing = np.clip(distance - lengths, 0, None)
        if not missing.any():
            break
        # Of two that are too close, each goes half of what is missing, away from the other.
        directions = gaps / np.maximum(lengths, 1e-9)[..., None]
        places += (directions * missing[..., None]).sum(axis=1) / 2
    return places


def _title_alone(title: str) -> Figure:
    """Make a figure that says why there is nothing to show."""
    figure = Figure(figsize=(WIDTH, 0.6))
    figure.suptitle(textwrap.fill(title, 110), fontsize=10)
    return figure


def _label(
    axis: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **look: Any
) -> None:
    """Write a text beside a place; what it covers fades around it.

    Parameters
    ----------
    place
        In data coordinates.
    offset
        From the place to the text, in points: 72 to the inch.
    """
    halo = [withStroke(linewidth=3, foreground="white")]
    look = {"ha": "center", "path_effects": halo, **look}
    axis.annotate(text, place, offset, textcoords="offset points", **look)
