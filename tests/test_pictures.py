"""Each figure beside a stored picture of it, of made-up data, and proof that the comparison sees what matters.

After a change of a figure that is meant, draw the pictures anew, and look at them before they are committed:

    .venv/bin/pytest tests/test_pictures.py -k as_stored --mpl-generate-path=tests/baseline

The same after a change of matplotlib's version, which may set lines a little differently.

The pictures are small and blurred. On another machine a letter may be a fraction of a pixel off or have other edges; blurred,
that is hardly a difference, while a missing word still is. Root mean squares of the differences, in grey levels of 255, as
measured here: letters with other edges or of another font 0.6 to 1.3, a missing label or a wrong figure from 2.0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.testing.compare import calculate_rms
from matplotlib.text import Text
from PIL import Image, ImageFilter

from helpers import article, evaluation, plots

pytestmark = pytest.mark.thorough

BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 1.6
MARGIN = 1.15  # below and above
DPI = 25


def picture(draw: Callable[[], Figure], **settings: Any) -> np.ndarray:
    """What a figure looks like from afar: drawn at 150 dots an inch, reduced to 25 and blurred."""
    with mpl.style.context({"text.hinting": "none", "path.snap": False, **settings}, after_reset=True):
        figure = draw()
        figure.set_dpi(6 * DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").reduce(6).filter(ImageFilter.GaussianBlur(1)))


def difference(name: str, draw: Callable[[], Figure], **settings: Any) -> float:
    """Between a figure and the stored picture, as pytest-mpl computes it."""
    stored = np.asarray(Image.open(BASELINE / f"{name}.png").convert("RGB"))
    return calculate_rms(stored.astype(int), picture(draw, **settings).astype(int))


def bars(count: int) -> np.ndarray:
    """Images of a slanting bar, each at another place."""
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    for n, image in enumerate(images):
        for row in range(4, 24):
            image[row, (column := 2 + n % 8 + row // 3) : column + 4] = 255 - 4 * row
    return images


RNG = np.random.default_rng(0)
ONE = np.eye(10)[1]
LABELS = np.arange(600) % 10
PLACES = np.stack([2 * (LABELS // 5), LABELS % 5], axis=1)
POINTS = PLACES + RNG.normal(scale=0.3, size=(600, 2))
FINALS = pd.DataFrame(
    RNG.normal(np.repeat([[98.5, 98.0], [97.8, 98.2], [99.1, 98.9]], 10, axis=0), 0.08),
    pd.MultiIndex.from_product([["dense", "conv", "conv-normalised"], range(10)], names=["candidate", "seed"]),
    ["training %", "validation %"],
)
PUBLISHED = {"dense": (98.5, 98.0), "conv": (97.8, 98.2)}
HISTORY = {"accuracy": [0.90, 0.95, 0.97, 0.98], "val_accuracy": [0.93, 0.94, 0.96, 0.955]}
HISTORIES = {"dense": HISTORY, "conv-normalised": {**HISTORY, "val_accuracy": [0.95, 0.97, 0.975, 0.98]}}
TRUE, PREDICTED = (np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10)))
BY_DIGIT = evaluation.label_accuracy(TRUE, PREDICTED)
ERRORS = evaluation.errors_only(article.CONFUSION)
LINKS = np.add.outer(np.arange(10), np.arange(10)) ** 2
CERTAIN = np.linspace(0.35, 1, 400)
PROBABILITIES = np.column_stack([CERTAIN, np.repeat(((1 - CERTAIN) / 9)[:, None], 9, axis=1)])
RELIABILITY = evaluation.reliability(PROBABILITIES, (RNG.random(400) > CERTAIN**2).astype(int))

EXCHANGED = RELIABILITY.rename(columns={"accuracy %": "probability %", "probability %": "accuracy %"}).assign(**{"low %": 0, "high %": 100})


def coloured(cmap: str) -> Callable[[Figure], None]:
    return lambda figure: [axis.images[0].set_cmap(cmap) for axis in figure.axes if axis.images]


def scaled(factor: float) -> Callable[[Figure], None]:
    return lambda figure: [axis.images[0].set_clim(0, factor * axis.images[0].get_clim()[1]) for axis in figure.axes if axis.images]


def recoloured(figure: Figure) -> None:
    """Blue turns orange."""
    for artist in figure.findobj(lambda artist: hasattr(artist, "set_color") and not isinstance(artist, Text)):
        colors = artist.get_facecolor() if hasattr(artist, "get_facecolor") else artist.get_color()
        if np.allclose(mpl.colors.to_rgba_array(colors)[:1, :3], mpl.colors.to_rgb(plots.PETROFF[0])):
            artist.set_color(plots.PETROFF[1])


def without_bars(figure: Figure) -> None:
    for axis in figure.axes:
        for container in axis.containers:
            for part in container.lines[2] if hasattr(container, "lines") else ():
                part.set_visible(False)


@dataclass(frozen=True)
class Case:
    """A figure of made-up data, and ways in which it would be wrong: other arguments, or something done to it."""

    draw: Callable[..., Figure]
    arguments: Mapping[str, Any]
    wrong: Mapping[str, Mapping[str, Any] | Callable[[Figure], Any]]

    def figure(self, how: Mapping[str, Any] | Callable[[Figure], Any] | None = None) -> Figure:
        figure = self.draw(**{**self.arguments, "title": "What the figure shows", **(how if isinstance(how, Mapping) else {})})
        if callable(how):
            how(figure)
        return figure


# A new figure is one more case here.
CASES = {
    "digit_grid": Case(
        plots.digit_grid,
        {"images": bars(10), "captions": ["true 4\npredicted 9"] * 10},
        {
            "transposed": {"images": bars(10).transpose(0, 2, 1)},
            "ink and paper exchanged": coloured("gray"),
            "in another scale": scaled(3),
        },
    ),
    "history_curves": Case(
        plots.history_curves,
        {"histories": HISTORIES},
        {
            "training and validation exchanged": {
                "histories": {name: dict(zip(history, reversed(history.values()), strict=True)) for name, history in HISTORIES.items()}
            },
            "panels exchanged": {"histories": {"dense": HISTORIES["conv-normalised"], "conv-normalised": HISTORIES["dense"]}},
            "recoloured": recoloured,
            "without legend": lambda figure: figure.axes[0].get_legend().remove(),
        },
    ),
    "runs": Case(
        plots.runs,
        {"finals": FINALS, "published": PUBLISHED},
        {
            "axes exchanged": {"finals": FINALS.rename(columns={"training %": "validation %", "validation %": "training %"})},
            "without the article": {"published": {}},
            "recoloured": recoloured,
        },
    ),
    "reliability": Case(
        plots.reliability,
        {"table": RELIABILITY},
        {
            "axes exchanged": {"table": EXCHANGED},
            "without intervals": without_bars,
            "recoloured": recoloured,
            "bars on a linear scale": lambda figure: figure.axes[1].set_yscale("linear"),
        },
    ),
    "label_accuracy": Case(
        plots.label_accuracy,
        {"table": BY_DIGIT},
        {
            "in another order": {"table": BY_DIGIT[::-1].set_axis(BY_DIGIT.index)},
            "without intervals": without_bars,
            "recoloured": recoloured,
            "axis from 0": lambda figure: figure.axes[0].set_ylim(0, 100),
        },
    ),
    "confusion_matrices": Case(
        plots.confusion_matrices,
        {"confusion": article.CONFUSION, "errors": ERRORS},
        {
            "transposed": {"confusion": article.CONFUSION.T, "errors": ERRORS.T},
            "errors not coloured by share": {"errors": ERRORS**2},
            "in other colours": coloured("viridis"),
            "in another scale": scaled(2),
        },
    ),
    "embedding": Case(
        plots.embedding,
        {"points": POINTS, "labels": LABELS, "centres": PLACES[:10], "images": bars(600), "shown": np.arange(0, 600, 61)},
        {
            "axes exchanged": {"points": POINTS[:, ::-1], "centres": PLACES[:10, ::-1]},
            "points and digits not matched": {"labels": (LABELS + 1) % 10},
            "without images": {"shown": np.arange(0)},
        },
    ),
    "foresight": Case(
        plots.foresight,
        {"links": LINKS, "confusion": article.CONFUSION, "named": 4},
        {
            "axes exchanged": {"links": article.CONFUSION + article.CONFUSION.T, "confusion": LINKS // 2},
            "without names": {"named": 0},
            "recoloured": recoloured,
        },
    ),
    "handwriting": Case(
        plots.handwriting,
        {"picture": 255 - np.kron(bars(1)[0], np.ones((4, 6), np.uint8)), "image": bars(1)[0], "probabilities": 0.04 + 0.6 * ONE},
        {
            "images exchanged": {"picture": 255 - bars(1)[0], "image": 255 - bars(1)[0]},
            "transposed": {"image": bars(1)[0].T},
            "another digit": {"probabilities": 0.04 + 0.6 * ONE[::-1]},
            "recoloured": recoloured,
        },
    ),
}
each = pytest.mark.parametrize("name", CASES)
COMPARED = {"tolerance": TOLERANCE, "style": "default", "savefig_kwargs": {"dpi": 1}, "deterministic": True}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.mpl_image_compare(filename=f"{name}.png", **COMPARED)) for name in CASES]
)
def test_figure_is_as_stored(name):
    image = picture(CASES[name].figure)
    height, width, _ = image.shape
    shown = Figure(figsize=(width, height), dpi=1)  # in pixels
    shown.figimage(image)
    return shown


@each
def test_another_machines_fonts_do_not_matter(name):
    assert difference(name, CASES[name].figure, **{"text.hinting": "default"}) < TOLERANCE / MARGIN
    assert difference(name, CASES[name].figure, **{"font.family": "DejaVu Serif"}) < TOLERANCE / MARGIN


@each
def test_missing_label_is_seen(name):
    """Even where all else stays in its place."""
    figure = CASES[name].figure()
    picture(lambda: figure)
    figure.set_layout_engine("none")
    labels = {figure.get_suptitle()}.union(*({axis.get_title(), axis.get_xlabel(), axis.get_ylabel()} for axis in figure.axes)) - {""}
    assert "What the figure shows" in labels and len(labels) >= 2
    for label in labels:
        text = next(text for text in figure.findobj(Text) if text.get_text() == label)
        text.set_text("")
        assert difference(name, lambda: figure) > MARGIN * TOLERANCE, label
        text.set_text(label)
    assert difference(name, lambda: figure) < TOLERANCE / MARGIN


@pytest.mark.parametrize(
    ("name", "how"), [pytest.param(name, how, id=f"{name}, {what}") for name, case in CASES.items() for what, how in case.wrong.items()]
)
def test_wrong_figure_is_seen(name, how):
    assert difference(name, lambda: CASES[name].figure(how)) > MARGIN * TOLERANCE


def pixels_at(figure: Figure, width: int) -> list[tuple[float, str]]:
    """How high the small letters of each text become where a notebook's figure is shown at most so wide."""
    figure.draw_without_rendering()
    stored = (figure.get_tightbbox().width + 2 * mpl.rcParams["savefig.pad_inches"]) * figure.dpi
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    pixels = 0.547 * figure.dpi / 72 * min(1, width / stored)  # of a point; 0.547 is DejaVu's x-height
    return [(pixels * smallest(text), text.get_text()) for text in shown]


def smallest(text: Text) -> float:
    """The size in points; exponents are set in 0.7 of it."""
    return text.get_fontsize() * (0.7 if "$" in text.get_text() else 1)


@each
def test_letters_can_be_read_on_github(name):
    """It shows a notebook about 880 pixels wide. An e is three strokes and two gaps: five pixels."""
    height, text = min(pixels_at(CASES[name].figure(), 880))
    assert height >= 5, text


def test_letters_of_six_points_could_not_be_read():
    figure = CASES["confusion_matrices"].figure(lambda figure: figure.axes[0].xaxis.label.set_fontsize(6))
    height, text = min(pixels_at(figure, 880))
    assert height < 5 and text == "predicted digit"


def test_every_function_that_draws_has_a_case_and_every_picture_too():
    drawing = {name for name, value in vars(plots).items() if hasattr(value, "__wrapped__") and not name.startswith("_")}
    assert drawing == set(CASES) == {path.stem for path in BASELINE.glob("*.png")}
