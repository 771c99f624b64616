import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, tables

COLUMNS = ["training %", "validation %", "low %", "sum %"]
ACCURACIES = pd.DataFrame([[98.5, 98.01, 97.72, 196.51], [97.83, 98.16, 97.88, 195.99]], ["dense", "conv"], COLUMNS)
ALL = pd.concat([ACCURACIES, ACCURACIES.iloc[:1].rename({"dense": "third"}) + 0.4])
CORRECT = np.repeat([True, False], [9_801, 199])
SCORES = pd.DataFrame({"here": "so it is", "verdict": "holds, 1 of 1", "does not hold": ""}, ["All digits are read"])


def headline(scores, **more):
    return tables.headline(["Mind this."], ACCURACIES, ALL, CORRECT, scores, **more)


def test_headline_says_what_was_found():
    notice, choice, slip = headline(SCORES).sentences
    assert notice == "Mind this."
    assert "the better of its two networks is dense, 196.51 against 195.99" in choice
    low, high = (f"{100 * bound:.2f}" for bound in evaluation.wilson_interval(9_801, 10_000))
    assert f"9,801 of 10,000 test images correctly: 98.01 % (95 % interval {low} to {high} %)" in choice
    assert "the same rule picks third, with 196.91" in slip


def test_headline_of_networks_that_are_not_the_articles():
    """It names them first, and calls neither network the article's."""
    changed, notice, choice = headline(pd.DataFrame(), changed=["the layers of dense"]).sentences
    assert changed.startswith("In this run the layers of dense are not those that the notebook's text speaks of.")
    assert notice == "Mind this." and "the better of these two networks is dense, 196.51 against 195.99" in choice


def test_headline_as_text_and_html():
    shown = headline(SCORES)
    for form in (repr(shown), shown._repr_html_()):
        assert all(expected in form for expected in (*shown.sentences, "All digits are read", "holds"))
        assert "so it is" not in form
    assert "<table" in shown._repr_html_()
    assert repr(tables.PENDING).startswith("Nothing here yet: the last cell fills this in.")
    without_scores = headline(pd.DataFrame()).table
    assert without_scores.loc["dense"].tolist() == ["98.50", "98.01", "97.72", "196.51"]


def test_numbers_of_any_size_can_be_read():
    shown = {98.456: "98.46", -0.5: "-0.50", 0: "0.00", 0.004: "0.004", -0.0042: "-0.004", 0.0001: "0.0001"}
    shown |= {2.4e-6: "< 0.0001", -2e-5: "> -0.0001"}
    assert {value: tables.number(value) for value in shown} == shown


def test_captions():
    probabilities = np.eye(10)[[4, 9]] * 0.92
    assert tables.captions(np.array([4, 4]), probabilities) == ["4, 92 %", "4 read as 9, 92 %"]


def test_bounds_and_deviations_stand_beside_their_value():
    columns = ["a %", "low %", "high %", "n", "sum", "sum sd"]
    rows = [[97.8, 97.49, 98.07, 3, 1.5, 0.25], [97.8, np.nan, np.nan, 3, 1.5, np.nan]]
    table = pd.DataFrame(rows, ["dense", "none"], columns)
    shown = tables.readable(table)
    assert shown.columns.tolist() == ["a % (95 % interval)", "n", "sum, mean ± sd"]
    assert shown.loc["dense"].tolist() == ["97.80 (97.49 to 98.07)", 3, "1.50 ± 0.25"]
    assert shown.loc["none"].tolist() == ["97.80", 3, "1.50"]
    assert repr(tables.readable(pd.DataFrame(columns=["a %", "low %", "high %"]), "Left out.")) == "Left out."
    assert repr(tables.readable(table, "Left out.")).startswith("Left out.\n\n") and "97.80" in repr(shown)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, "50 %"), (0.991, "99 %"), (0.9954, "99.5 %"), (0.9998, "99.98 %"), (1.0, "> 99.99 %"), (0.0, "0 %")],
)
def test_percent_tells_almost_certain_from_certain(share, expected):
    assert tables.percent(share) == expected
