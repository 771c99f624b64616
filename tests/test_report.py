import json

import pandas as pd
import pytest

from helpers import __main__ as commands
from helpers import evaluation, report

ACCURACIES = pd.DataFrame(
    {"training %": [98.5, 97.83], "validation %": [98.01, 98.16], "low %": [97.72, 97.88], "sum %": [196.51, 195.99]},
    index=["dense", "conv"],
)
PAIRS = pd.DataFrame({"errors": [24, 18]}, index=["4/9", "2/7"])


@pytest.fixture
def headline():
    return report.headline(["Mind this."], ACCURACIES, "dense", 9_801, 10_000, PAIRS)


def test_headline_says_what_was_found(headline):
    notice, choice, quality = headline.sentences
    assert notice == "Mind this."
    assert "the better network is dense: 196.51 against 195.99" in choice
    low, high = (f"{100 * bound:.2f}" for bound in evaluation.wilson_interval(9_801, 10_000))
    assert f"9,801 of 10,000 test images correctly, 98.01 % (95 % interval {low} to {high} %)" in quality
    assert "4/9, with 24 of its 199 errors" in quality


def test_table_has_two_decimals(headline):
    assert headline.table.loc["dense"].tolist() == ["98.50", "98.01", "97.72", "196.51"]


def test_headline_as_text_and_html(headline):
    for form in (repr(headline), headline._repr_html_()):
        assert all(sentence in form for sentence in headline.sentences) and "97.88" in form
    assert "<table" in headline._repr_html_()
    assert repr(report.PENDING) == "The last cell fills this in."


def test_printed_for_a_terminal(tmp_path, capsys):
    output = {"data": {"text/plain": ["dense is better.\n", "Really."]}}
    cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [output]}]
    path = tmp_path / "done.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    commands.headline(str(path))
    printed = capsys.readouterr().out
    assert "dense is better.\nReally." in printed and "done.ipynb" in printed and "done.html" in printed
