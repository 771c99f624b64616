"""What readers see of tables and numbers."""

import numpy as np
import pandas as pd
import pytest

from helpers import evaluation, tables

ACCURACIES = evaluation.final_accuracies(
    {
        "dense": {"accuracy": [0.985], "val_accuracy": [0.9801]},
        "conv": {"accuracy": [0.9783], "val_accuracy": [0.9816]},
    },
    images=10_000,
)
ALL = pd.concat([ACCURACIES, ACCURACIES.iloc[:1].rename({"dense": "conv-normalised"}) + 0.4])
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
    assert "the same rule picks conv-normalised, with 196.91" in slip


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
    assert without_scores.equals(tables.readable(ACCURACIES))


def test_numbers_of_any_size_can_be_read():
    shown = {98.456: "98.46", -0.5: "-0.50", 0: "0.00", 0.004: "0.004", -0.0042: "-0.004", 0.0001: "0.0001"}
    shown |= {2.4e-6: "< 0.0001", -2e-5: "> -0.0001"}
    assert {value: tables.number(value) for value in shown} == shown


def test_captions():
    probabilities = np.eye(10)[[4, 9]] * 0.92
    assert tables.captions(np.array([4, 4]), probabilities) == ["4, 92 %", "4 read as 9, 92 %"]


def test_an_interval_or_a_deviation_stands_beside_its_estimate():
    """Where there is none, the estimate stands alone, whichever row comes first."""
    accuracy = {"estimate": 97.8, "low": 97.49, "high": 98.07}
    rows = {
        "none": {"a %": {"estimate": 97.8}, "n": 3, "sum": {"estimate": 1.5}},
        "dense": {"a %": accuracy, "n": 4, "sum": {"estimate": 1.5, "sd": 0.25}},
    }
    table = tables.from_rows(rows)
    shown = tables.readable(table)
    assert shown.columns.tolist() == ["a % (95 % interval)", "n", "sum, mean ± sd"]
    assert shown.loc["dense"].tolist() == ["97.80 (97.49 to 98.07)", 4, "1.50 ± 0.25"]
    assert shown.loc["none"].tolist() == ["97.80", 3, "1.50"]
    alone = tables.readable(tables.from_rows({"none": rows["none"]}))
    assert alone.columns.tolist() == ["a %", "n", "sum"] and alone.loc["none"].tolist() == [97.8, 3, 1.5]


def test_what_is_left_out_is_said_before_a_table_or_instead_of_it():
    table = tables.from_rows({"dense": {"n": 3}})
    assert repr(tables.readable(tables.from_rows({}), "Left out.")) == "Left out."
    assert repr(tables.readable(table, "Left out.")) == f"Left out.\n\n{tables.readable(table)}"


def test_tables_of_columns_and_of_rows_are_alike():
    """A number has a name of its own alone; what has one name per column is shown as it is."""
    parts = pd.DataFrame({"estimate": [1.0], "low": [0.5], "high": [2.0]}, ["dense"])
    numbers = pd.Series([3], ["dense"])
    rows = {"dense": {"n": 3, "a %": {"estimate": 1.0, "low": 0.5, "high": 2.0}}}
    table = tables.from_columns({"n": numbers, "a %": parts})
    assert table.equals(tables.from_rows(rows)) and table["n"].equals(numbers.rename("n"))
    one_name = pd.DataFrame({"low": [1]})
    assert tables.readable(one_name) is one_name


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, "50 %"), (0.991, "99 %"), (0.9954, "99.5 %"), (0.9998, "99.98 %"), (1.0, "> 99.99 %"), (0.0, "0 %")],
)
def test_percent_tells_almost_certain_from_certain(share, expected):
    assert tables.percent(share) == expected
