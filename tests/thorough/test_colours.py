"""Colour-blind readers too can tell the colours apart, and read the text on them.

About one man in twelve has deuteranopia, protanopia or a milder form of these. They are simulated
after G. M. Machado, M. M. Oliveira and L. A. F. Fernandes (2009). Differences are CIEDE2000. The
least that a careful observer notices between large fields side by side is about 1.
"""

import colour
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from helpers import plots, tables

VISIONS = [None, "Deuteranomaly", "Protanomaly"]  # at full strength: deuteranopia, protanopia
# Points of a few pixels, not side by side, need a multiple of the least difference: ten times, and
# more where they mix.
LIMIT, MIXED_LIMIT = 10, 25  # tab10 and jet, seen so, come to less than 5
# Of the pairs that are most often among each other's ten nearest points in the embedding.
OVERLAPPING = [(3, 5), (3, 8), (5, 8), (4, 7), (4, 9), (7, 9)]
MIXED = [*OVERLAPPING, (2, 8), (1, 7), (0, 6), (2, 5), (1, 2), (2, 7), (2, 3), (5, 6)]


def linear_light(colors) -> np.ndarray:
    return colour.models.eotf_sRGB(mpl.colors.to_rgba_array(colors)[:, :3])


def contrast(text, ground) -> float:
    """Compute it as the Web Content Accessibility Guidelines, WCAG 2.2, define it."""
    dark, light = sorted(linear_light([text, ground]) @ (0.2126, 0.7152, 0.0722))
    return (light + 0.05) / (dark + 0.05)


def seen(colors, vision: str | None) -> np.ndarray:
    """Return what colours become: sRGB, shape (n, 3)."""
    linear = linear_light(colors)  # for which the matrix is made
    if vision:
        linear = np.clip(linear @ colour.matrix_cvd_Machado2009(vision, 1.0).T, 0, 1)
    return colour.models.eotf_inverse_sRGB(linear)


def differences(colors, vision: str | None) -> np.ndarray:
    lab = colour.XYZ_to_Lab(colour.sRGB_to_XYZ(seen(colors, vision)))
    return colour.delta_E(lab[:, None], lab[None], method="CIE 2000")


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_of_digits_curves_and_candidates_lie_apart(vision):
    """Training and validation are the first two colours, the three candidates the first three."""
    between = differences(plots.DIGIT_COLORS, vision)
    assert between.shape == (10, 10) and between[np.triu_indices(10, 1)].min() > LIMIT
    assert min(between[pair] for pair in MIXED) > MIXED_LIMIT
    assert [color["color"] for color in plots.STYLE["axes.prop_cycle"]][:3] == plots.PETROFF[:3]
    assert differences(plots.PETROFF[:3], vision)[np.triu_indices(3, 1)].min() > MIXED_LIMIT


COUNTS = np.full((10, 10), 7)
SHARES = np.arange(100.0).reshape(10, 10)
TABLE = tables.from_rows({0: {"accuracy %": {"estimate": 99.0, "low": 98.0, "high": 99.5}}})
MATRIX = plots.digit_by_digit(COUNTS, SHARES, TABLE, pd.DataFrame(), "Shades").axes[0]
CMAP = MATRIX.images[0].get_cmap()


@pytest.mark.parametrize("vision", VISIONS)
def test_shades_of_confusion_darken_evenly(vision):
    shades = seen(CMAP(np.linspace(0, 1, 11)), vision)
    assert (np.diff(colour.XYZ_to_Lab(colour.sRGB_to_XYZ(shades))[:, 0]) < -2).all()


def test_counts_can_be_read_on_every_shade():
    """4.5 to 1 is what WCAG 2.2, criterion 1.4.3, asks for."""
    on = {text.get_position()[::-1]: text.get_color() for text in MATRIX.texts}
    assert len(on) == 100
    for place, ink in on.items():
        on_diagonal = place[0] == place[1]
        shade = MATRIX.patches[0].get_facecolor() if on_diagonal else CMAP(SHARES[place] / 99)
        assert contrast(ink, shade) > 4.5
