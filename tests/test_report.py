import json

import numpy as np
import pandas as pd

from helpers import evaluation, report

COLUMNS = ["training %", "validation %", "low %", "sum %"]
ACCURACIES = pd.DataFrame([[98.5, 98.01, 97.72, 196.51], [97.83, 98.16, 97.88, 195.99]], ["dense", "conv"], COLUMNS)
ALL = pd.concat([ACCURACIES, ACCURACIES.iloc[:1].rename({"dense": "third"}) + 0.4])
CORRECT = np.repeat([True, False], [9_801, 199])
SCORES = pd.DataFrame({"here": ["so it is"], "verdict": ["holds"]}, index=["All digits are read"])


def headline(scores):
    return report.headline(["Mind this."], ACCURACIES, ALL, CORRECT, scores)


def test_headline_says_what_was_found():
    notice, choice, slip = headline(SCORES).sentences
    assert notice == "Mind this."
    assert "the better of its two networks is dense, 196.51 against 195.99" in choice
    low, high = (f"{100 * bound:.2f}" for bound in evaluation.wilson_interval(9_801, 10_000))
    assert f"9,801 of 10,000 test images correctly, 98.01 % (95 % interval {low} to {high} %)" in choice
    assert "the same rule picks third, with 196.91" in slip


def test_headline_as_text_and_html():
    shown = headline(SCORES)
    for form in (repr(shown), shown._repr_html_()):
        assert all(expected in form for expected in (*shown.sentences, "All digits are read", "holds"))
        assert "so it is" not in form
    assert "<table" in shown._repr_html_()
    assert headline(pd.DataFrame()).table.loc["dense"].tolist() == ["98.50", "98.01", "97.72", "196.51"]
    assert repr(report.PENDING).startswith("Nothing found yet: the last cell fills this in. Run all cells")


def test_numbers_of_any_size_can_be_read():
    shown = {98.456: "98.46", -0.5: "-0.50", 0: "0.00", 0.004: "0.004", -0.0042: "-0.004", 0.0001: "0.0001"}
    shown |= {2.4e-6: "< 0.0001", -2e-5: "> -0.0001"}
    assert {value: report.number(value) for value in shown} == shown


class Fails(dict):
    def __bool__(self):
        raise RuntimeError


def test_results_hold_all_that_has_a_name_but_what_is_no_result(tmp_path):
    """A reader's own: lists of lists of any length, a list in itself, dates, an object that fails when asked."""
    table = pd.DataFrame({"%": [1.5, 2.5]}, index=pd.MultiIndex.from_tuples([("dense", 1), ("conv", 2)]))
    results = {"table": table, "count": np.int64(3), "matrix": np.eye(2, dtype=int)}
    results |= {"of": {"dense": pd.Series({"a": 0.5})}}
    itself = []
    itself.append(itself)
    dates = pd.DataFrame({"day": pd.to_datetime(["2021-01-01"])})
    names = {"_hidden": 1, "Out": {1: 2}, "module": np, "mixed": {"a": np}, "nothing": {}, "flag": True}
    names |= {"images": np.zeros((20, 28, 28)), "flags": np.array([True]), "dates": dates, "itself": itself}
    names |= {"lists": [[1], [1, 2]], "arrays": [np.eye(2), np.eye(3)], "fails": Fails(), "words": {"a": "b"}}
    report.write_results(names | results, path := tmp_path / "new" / "results.json")
    expected = {"table": {"dense, 1": {"%": 1.5}, "conv, 2": {"%": 2.5}}, "count": 3, "matrix": [[1, 0], [0, 1]]}
    assert json.loads(path.read_text()) == expected | {"of": {"dense": {"a": 0.5}}}


def test_results_that_cannot_be_written_end_nothing(tmp_path, capsys):
    (tmp_path / "build").write_text("a file")
    report.write_results({"z": 1}, tmp_path / "build" / "results.json")
    assert capsys.readouterr().out == "build/results.json, for the tests, could not be written: File exists.\n"
