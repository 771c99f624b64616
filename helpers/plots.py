"""One function per figure: arrays or a table in, Figure out.

Images are of shape (n, 28, 28), from 0 for paper to 255 for ink; labels are digits from 0 to 9, shape (n,);
confusion counts are of shape (10, 10): rows true, columns predicted. A history holds `accuracy` and `val_accuracy`, one
float per epoch. Tables are what the function of the same subject returns in `evaluation`, `study` or `article`; a name
before each says which network it is of. The first line of a docstring is part of the figure's alternative text.
"""

import functools
import io
import itertools
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

# Ten colours that colour-blind readers can tell apart too (M. A. Petroff, 2021), one per digit, in an order
# that gives the most different ones to digits that mix in the embedding: 3, 5, 8 and 4, 7, 9 above all.
PETROFF = mpl.color_sequences["petroff10"]
DIGIT_COLORS = [PETROFF[place] for place in (0, 5, 9, 1, 6, 8, 7, 4, 2, 3)]
DIGIT_COLORS[5] = (0, 0, 0.25)  # dark blue, where Petroff has a second grey
WRONG = PETROFF[2]
MARKERS = "osD^v<>pPX"
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
WIDTH = 8.0  # inches
COLUMNS = 5  # of a grid of images
LEAST_IMAGES = 10  # that a bin must have to be drawn
PIXELS_PER_PIXEL = 2  # of a stored figure and of a page, so that dense screens show it crisp


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the project's style, whatever the user's is; the figure's label says in words what it shows."""

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
    """A figure as a notebook stores it: a PNG of 256 colours, and how wide to show it, with its alternative text."""
    buffer = io.BytesIO()
    with mpl.style.context(["default", STYLE]):
        # Hardly compressed, since it is read again at once.
        figure.savefig(buffer, dpi=PIXELS_PER_PIXEL * figure.dpi, pil_kwargs={"compress_level": 1})
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(small := io.BytesIO(), "PNG")
    return small.getvalue(), {"width": round(picture.width / PIXELS_PER_PIXEL), "alt": figure.get_label()}


@_styled
def digit_grid(images: np.ndarray, captions: Sequence[str], title: str, marked: Sequence[int] = ()) -> Figure:
    """Images in a grid, each under its caption; errors are marked in red.

    Without images it is only its title, which may say why there are none.
    """
    if not len(images):
        return _only(title)
    rows, lines = -(-len(images) // COLUMNS), max(caption.count("\n") + 1 for caption in captions)
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
    """Training and validation accuracy epoch by epoch, one panel per network, on one scale."""
    rows, columns = -(-len(histories) // 3), min(len(histories), 3)
    figure = Figure(figsize=(WIDTH * max(columns, 1.6) / 3, 3.0 * rows + 0.3))
    figure.suptitle(title)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axis in panels[len(histories) :]:
        axis.set_axis_off()
    for axis, (name, history), color in zip(panels, histories.items(), itertools.cycle(PETROFF), strict=False):
        epochs = np.arange(1, len(history["accuracy"]) + 1)
        axis.plot(epochs, history["accuracy"], marker="o", color="0.6", label="training")
        axis.plot(epochs, history["val_accuracy"], marker="s", color=color, label="validation")
        axis.set(title=name, xlabel="epoch", ylabel="accuracy" if axis.get_subplotspec().is_first_col() else "")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axis.grid(alpha=0.3)
    panels[0].legend(loc="lower right")
    return figure


@_styled
def runs(finals: pd.DataFrame, published: Mapping[str, tuple[float, float]], title: str) -> Figure:
    """Each training as a point, by its final training and validation accuracy; stars are the article's.

    Takes `study.finals`, and by name the article's training and validation accuracies in percent. Without trainings
    it is only its title, which may say why there are none.
    """
    if finals.empty:
        return _only(title)
    axis = (figure := Figure(figsize=(WIDTH, 5.4))).subplots()
    groups = finals.groupby("candidate", sort=False)
    for (name, group), color, marker in zip(groups, itertools.cycle(PETROFF), itertools.cycle(MARKERS), strict=False):
        training, validation = group["training %"], group["validation %"]
        axis.scatter(training, validation, s=34, color=color, marker=marker, alpha=0.7, linewidths=0)
        _label(axis, name, (training.mean(), validation.max()), (0, 10), fontsize=12, fontweight="bold")
        if name in published:
            axis.scatter(*published[name], s=280, color=color, marker="*", edgecolors="black", zorder=3)
            _label(axis, "article", published[name], (0, -19))
    axis.margins(0.12)
    axis.set_title(title, pad=22)
    axis.set(xlabel="final training accuracy, %", ylabel="final validation accuracy, %")
    axis.grid(alpha=0.3)
    _lines_of_equal_sums(axis)
    return figure


def _lines_of_equal_sums(axis: Axes) -> None:
    """Draw dotted lines, one every half a percent, each labelled where it ends, at the upper or the right edge."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    look: dict[str, Any] = {"color": "dimgray", "fontsize": 10, "va": "bottom", "annotation_clip": False}
    for total in np.arange(np.ceil(2 * (left + bottom)) / 2, right + top, 0.5):
        axis.axline((total - bottom, bottom), slope=-1, color="gray", linewidth=0.8, linestyle=":", zorder=0)
        if total - top > left:
            _label(axis, f"sum {total:.1f}", (total - top, top), (0, 2), **look)
        else:
            _label(axis, f"{total:.1f}", (left, total - left), (3, 0), ha="left", **look)
    axis.set(xlim=(left, right), ylim=(bottom, top))


@_styled
def reliability(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """How often predictions are right, by the probability given to them: all of them, and the surest enlarged."""
    figure = Figure(figsize=(WIDTH, 4.4))
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    moves = 1.5 * (np.arange(len(tables)) - (len(tables) - 1) / 2)  # else one network hides the other
    for (name, each), marker, move in zip(tables.items(), itertools.cycle(MARKERS), moves, strict=False):
        table = each[each["images"] >= LEAST_IMAGES]  # of fewer an interval says hardly anything
        accuracy = table["accuracy %"]
        for axis, sideways in ((left, move), (right, 0)):
            ends = accuracy["estimate"] - accuracy["low"], accuracy["high"] - accuracy["estimate"]
            look = {"fmt": marker, "label": name, "alpha": 0.8, "elinewidth": 0.8, "capsize": 4}
            axis.errorbar((table["probability %"] + sideways).clip(upper=100), accuracy["estimate"], yerr=ends, **look)
    surest = pd.concat([table.iloc[-1:] for table in tables.values()])
    lowest = min(surest["accuracy %", "low"].min(), surest["probability %"].min())
    for axis, start in ((left, 0), (right, lowest - 0.15 * (100 - lowest))):
        axis.axline((100, 100), slope=1, color="gray", linestyle="--", zorder=0, label="right as often as it says")
        axis.set(xlim=(start, 100), ylim=(start, 100), xlabel="probability given to the prediction, %", box_aspect=1)
        axis.grid(alpha=0.3)
    left.set(title="all predictions", ylabel="predicted correctly, %")
    right.set(title="the surest ones, enlarged")
    right.legend(loc="upper left")
    return figure


@_styled
def links_and_confusions(links: np.ndarray, confusion: np.ndarray, named: int, title: str) -> Figure:
    """Each pair of digits as a point: how often the two are neighbours, and how often confused, either way."""
    first, second = np.triu_indices(10, k=1)
    linked, confused = links[first, second], (confusion + confusion.T)[first, second]
    axis = (figure := Figure(figsize=(WIDTH, 5.0))).subplots()
    axis.scatter(linked, confused, s=34, color=PETROFF[0], alpha=0.7, linewidths=0, clip_on=False, zorder=3)
    share = confused.sum() / max(linked.sum(), 1)
    axis.set_xscale("symlog", linthresh=1, linscale=0.3)  # a logarithm that has room for 0
    axis.set_yscale("symlog", linthresh=1, linscale=0.3)
    for scale, values in (("x", linked), ("y", confused)):
        most = 2 * max(values.max(), 1)
        ticks = [0, *(tick for power in range(6) for tick in (10**power, 3 * 10**power) if tick < most)]
        labels = [f"{tick:,}" for tick in ticks]
        axis.set(**{f"{scale}lim": (0, most), f"{scale}ticks": ticks, f"{scale}ticklabels": labels})
    # As many pairs with most links are named, and with most confusions: beside the line, apart from each other.
    pairs = sorted({*np.argsort(-linked, kind="stable")[:named], *np.argsort(-confused, kind="stable")[:named]})
    places = np.stack([linked[pairs], confused[pairs]], axis=1)
    points = (axis.transScale + axis.transLimits).transform(places) * axis.bbox.size * 72 / figure.dpi
    aside = np.where(confused[pairs] > share * linked[pairs], -1, 1)[:, None] * (24, -20)
    for pair, place, offset in zip(pairs, places, _apart(points + aside, 24) - points, strict=True):
        line = {"arrowstyle": "-", "color": "gray", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
        _label(axis, f"{first[pair]}/{second[pair]}", place, offset, va="center", fontsize=11, arrowprops=line)
    along = np.array([max(1, 1 / max(share, 1e-9)), 2 * max(linked.max(), 1)])
    axis.plot(along, share * along, color="gray", linestyle="--", zorder=0, label="confused in proportion")
    axis.legend(loc="lower right")
    axis.set(title=title, xlabel="pairs of joined images that show the two digits", ylabel="images confused")
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    return figure


@_styled
def digit_by_digit(
    confusion: np.ndarray, errors: np.ndarray, table: pd.DataFrame, published: pd.DataFrame, title: str
) -> Figure:
    """Which digits are taken for which, the more the redder; beside each row, how many are read correctly.

    Takes `evaluation.errors_only`, `label_accuracy` and `article.published_by_digit`, which may be empty.
    """
    figure = Figure(figsize=(WIDTH, 5.6))
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, width_ratios=[2.4, 1])
    most = max(errors.max(), 0.1)
    left.imshow(errors, cmap="Reds", vmin=0, vmax=most)
    for (row, column), count in np.ndenumerate(confusion):
        if row == column:
            left.add_patch(mpl.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, color="0.9"))
        if count or row == column:
            # Black and white stand out alike from the red two thirds of the way up.
            dark = row != column and errors[row, column] > 0.674 * most
            color, size = "white" if dark else "black", 10 if row == column else 13
            left.text(column, row, count, ha="center", va="center", color=color, fontsize=size)
    left.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    left.set_title("images, the redder the larger their share of the row", fontsize=11)
    aside = 0.0 if published.empty else 0.15
    for rows, move, shade, name in ((table, -aside, PETROFF[0], "ours"), (published, aside, "0.45", "article's")):
        if not rows.empty:
            accuracy = rows["accuracy %"]
            ends = accuracy["estimate"] - accuracy["low"], accuracy["high"] - accuracy["estimate"]
            look = {"fmt": "o", "capsize": 3, "label": name}
            right.errorbar(accuracy["estimate"], rows.index + move, xerr=ends, color=shade, **look)
    right.set(xlabel="read correctly, %", ylim=(9.5, -0.5), yticks=range(10))
    right.set_title("accuracy", fontsize=11)
    right.grid(axis="x", alpha=0.3)
    right.legend(loc="upper left")
    return figure


@_styled
def readings(images: Mapping[str, np.ndarray], probabilities: Mapping[str, np.ndarray], title: str) -> Figure:
    """Images of one digit, and beside them the probabilities that networks give to the ten digits.

    Images, by what each is called, are 0 black to 255 white, shape (height, width); probabilities of shape (10,).
    """
    count = len(images) + len(probabilities)
    figure = Figure(figsize=(WIDTH, 2.4 + 1.6 / count * (WIDTH / 4)))
    figure.suptitle(title)
    axes = figure.subplots(1, count, width_ratios=[1.25] * len(images) + [1] * len(probabilities))
    for axis, (name, image) in zip(axes, images.items(), strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=11)
        axis.spines[:].set(visible=True, color="lightgray")
    for axis, (name, each) in zip(axes[len(images) :], probabilities.items(), strict=True):
        bars = axis.barh(range(10), each, color=PETROFF[0], alpha=0.35)
        largest = int(each.argmax())
        bars[largest].set_alpha(1)
        axis.set(xlabel="probability", xlim=(0, 1), yticks=range(10), xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
        axis.set_title(f"{name}\n{largest}, {percent(each[largest])}", fontsize=11)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
    axes[len(images)].set_ylabel("digit")
    return figure


@_styled
def embedding(
    points: np.ndarray, labels: np.ndarray, centres: np.ndarray, images: np.ndarray, shown: np.ndarray, title: str
) -> Figure:
    """A map on which each image is a point in its digit's colour; 3, 5 and 8, which overlap, are shown again, alone.

    Points have the shape (n, 2); digits are written at the centres, (10, 2); the images with these indices are shown.
    """
    axis = (figure := Figure(figsize=(WIDTH, 7))).subplots()
    order = np.random.default_rng(0).permutation(len(points))  # else the last digit hides the others
    colors = np.array(DIGIT_COLORS)[labels]
    axis.scatter(points[order, 0], points[order, 1], c=colors[order], s=6, alpha=0.7, linewidths=0)
    for index in shown:
        thumbnail = OffsetImage(images[index], zoom=0.75, cmap="gray_r")
        frame = {"edgecolor": DIGIT_COLORS[labels[index]], "linewidth": 1.5}
        axis.add_artist(AnnotationBbox(thumbnail, points[index], pad=0.05, bboxprops=frame))
    extent = np.ptp(points, axis=0)
    look: dict[str, Any] = {"fontsize": 13, "fontweight": "bold", "ha": "center", "va": "center", "zorder": 5}
    for digit, ((x, y), color) in enumerate(zip(_apart(centres / extent, 0.05) * extent, DIGIT_COLORS, strict=True)):
        circle = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": color, "linewidth": 2.5}
        axis.text(x, y, str(digit), bbox=circle, **look)
    axis.set(title=title, xlabel="first coordinate", ylabel="second coordinate", xticks=[], yticks=[])
    inset = axis.inset_axes((0.56, 0.66, 0.44, 0.29), xticks=[], yticks=[])
    some = order[np.isin(labels[order], (3, 5, 8))]
    inset.scatter(points[some, 0], points[some, 1], c=colors[some], s=4, alpha=0.6, linewidths=0)
    inset.set(xlim=np.quantile(points[some, 0], (0.02, 0.98)), ylim=np.quantile(points[some, 1], (0.02, 0.98)))
    for digit in (3, 5, 8):
        look |= {"fontsize": 12, "bbox": {**circle, "edgecolor": DIGIT_COLORS[digit]}}
        inset.text(centres[digit, 0], centres[digit, 1], str(digit), **look)
    inset.set_title("3, 5 and 8 alone, enlarged", fontsize=11)
    inset.spines[:].set(visible=True, color="lightgray")
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


def _only(title: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.6))
    figure.suptitle(textwrap.fill(title, 110), fontsize=10)
    return figure


def _label(axis: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **look: Any) -> None:
    """Write a text at a place in data coordinates, moved by an offset in points; what it covers fades around it."""
    halo = [withStroke(linewidth=3, foreground="white")]
    look = {"ha": "center", "path_effects": halo, **look}
    axis.annotate(text, place, offset, textcoords="offset points", **look)
