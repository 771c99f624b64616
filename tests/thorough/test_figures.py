"""These tests compare each figure, drawn of made-up data, with a stored picture of it.

If you have changed a figure on purpose, draw the pictures anew, and look at them before you commit:

    .venv/bin/pytest tests/thorough/test_figures.py -k as_stored \\
        --mpl-generate-path=tests/thorough/baseline

Do the same after a change of matplotlib's version, which may set lines a little differently.

The pictures are small and blurred. So it hardly counts that letters have other edges on another
machine. The root mean square of the differences, in grey levels of 255, is 0.6 to 1.3 for letters
with other edges or of another font, and 2.0 or more for a missing label or a wrong number.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageFilter

from helpers import article, evaluation, plots

BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 1.6
DPI = 25


def bars(count: int) -> np.ndarray:
    """Draw images of a slanting bar, each at another place."""
    images = np.zeros((count, 28, 28), dtype=np.uint8)
    for n, image in enumerate(images):
        for row in range(4, 24):
            left = 2 + n % 8 + row // 3
            image[row, left : left + 4] = 255 - 4 * row
    return images


NAMES = ["dense", "conv", "conv-normalised"]
RNG = np.random.default_rng(0)
LABELS = np.arange(600) % 10
PLACES = np.stack([2 * (LABELS // 5), LABELS % 5], axis=1)
POINTS = PLACES + RNG.normal(scale=0.3, size=(600, 2))
SHOWN = np.arange(0, 600, 61)
LINKS = np.add.outer(np.arange(10), np.arange(10)) ** 2
FINALS = pd.DataFrame(
    RNG.normal(np.repeat([[98.5, 98.0], [97.8, 98.2], [99.1, 98.9]], 10, axis=0), 0.08),
    pd.MultiIndex.from_product([NAMES, range(10)], names=["candidate", "seed"]),
    ["training %", "validation %"],
)
HISTORY = {"accuracy": [0.90, 0.95, 0.97, 0.98], "val_accuracy": [0.93, 0.94, 0.96, 0.955]}
OTHER_HISTORY = {"val_accuracy": [0.95, 0.97, 0.975, 0.98]}
TRUE, PREDICTED = (
    np.repeat(axis.ravel(), article.CONFUSION.ravel()) for axis in np.indices((10, 10))
)
CERTAIN = np.linspace(0.35, 1, 400)
PROBABILITIES = np.column_stack([CERTAIN, np.repeat(((1 - CERTAIN) / 9)[:, None], 9, axis=1)])

# Each figure's arguments but its title. A new figure is one more case here.
CASES = {
    "digit_grid": {
        "images": bars(10),
        "captions": ["4 read as 9, 99 %\nlabel disputed"] * 10,
        "marked": range(5, 10),
    },
    "history_curves": {
        "histories": {"dense": HISTORY, "conv": HISTORY, "conv-normalised": HISTORY | OTHER_HISTORY}
    },
    "runs": {"accuracies": FINALS, "published": {"dense": (98.5, 98.0), "conv": (97.8, 98.2)}},
    "reliability": {
        "tables": {
            name: evaluation.reliability(PROBABILITIES, np.int_(RNG.random(400) > CERTAIN**power))
            for name, power in zip(NAMES, (2, 1, 0.5), strict=True)
        }
    },
    "digit_by_digit": {
        "confusion": article.CONFUSION,
        "errors": evaluation.errors_only(article.CONFUSION),
        "table": evaluation.label_accuracy(TRUE, np.where(np.arange(10_000) % 50, PREDICTED, 0)),
        "published": article.published_by_digit(),
    },
    "embedding": {
        "points": POINTS,
        "labels": LABELS,
        "centres": PLACES[:10],
        "images": bars(600),
        "shown": SHOWN,
    },
    "links_and_confusions": {"links": LINKS, "confusion": article.CONFUSION, "named": 4},
    "readings": {
        "images": {
            "the picture": 255 - np.kron(bars(1)[0], np.ones((4, 6), np.uint8)),
            "what they get": bars(1)[0],
        },
        "probabilities": {name: 0.04 + 0.6 * np.eye(10)[1] for name in NAMES},
    },
}


def draw(name: str) -> Figure:
    return getattr(plots, name)(**CASES[name], title="What the figure shows")


def picture(figure: Figure) -> np.ndarray:
    """Show a figure as it looks from afar: drawn at 150 dots an inch, reduced to 25, blurred."""
    figure.set_dpi(6 * DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return np.asarray(image.reduce(6).filter(ImageFilter.GaussianBlur(1)))


@pytest.fixture(autouse=True)
def _crisp():
    with mpl.style.context({"text.hinting": "none", "path.snap": False}, after_reset=True):
        yield


COMPARED = {"tolerance": TOLERANCE, "style": "default", "deterministic": True}
COMPARED["savefig_kwargs"] = {"dpi": 1}


def compared(name: str):
    """Make a parameter whose figure pytest-mpl compares with the picture of this name."""
    mark = pytest.mark.mpl_image_compare(filename=f"{name}.png", **COMPARED)
    return pytest.param(name, marks=mark)


@pytest.mark.parametrize("name", [compared(name) for name in CASES])
def test_figure_is_as_stored(name):
    image = picture(draw(name))
    height, width, _ = image.shape
    shown = Figure(figsize=(width, height), dpi=1)  # in pixels
    shown.figimage(image)
    return shown


@pytest.mark.parametrize("name", CASES)
def test_letters_can_be_read_on_github(name):
    """GitHub shows a notebook 880 pixels wide. An e is three strokes and two gaps: five pixels."""
    figure = draw(name)
    figure.draw_without_rendering()
    stored = (figure.get_tightbbox().width + 2 * mpl.rcParams["savefig.pad_inches"]) * figure.dpi
    x_height = 0.547  # of DejaVu, in shares of its size
    pixels = x_height * figure.dpi / 72 * min(1, 880 / stored)  # of a letter of one point
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    smallest = min(shown, key=points)
    assert pixels * points(smallest) >= 5, smallest.get_text()


def points(text: Text) -> float:
    """Return the size of its smallest letters; exponents are set in 0.7 of the text's."""
    return text.get_fontsize() * (0.7 if "$" in text.get_text() else 1)
