"""The study of pictures that other people have drawn."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_handwriting import PICTURE

from helpers import __main__ as commands
from helpers import pictures
from helpers.errors import InputError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "pictures" / "four.png")
    return tmp_path


ROWS = "file,digit,kind,source,note\nfour.png,4,paint,1,größer\nfour.png,,odd,2,\n"


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        ROWS.replace(",", ";") + ";;;;\n",
        "\ufeff" + ROWS.replace(",", ";").replace("\n", "\r\n"),
        ROWS.replace(",", "\t"),
    ],
    ids=["commas", "semicolons and an empty row", "as Excel saves it", "tabs"],
)
def test_table_may_come_from_a_spreadsheet(folder, text):
    (folder / "table.csv").write_bytes(text.encode())
    table = pictures.read_table(folder)
    assert table["digit"].tolist() == ["4", ""] and table["file"].tolist() == ["four.png"] * 2


COLUMNS = "columns file, digit, kind, source; found no kind, source, only file, digit"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, ".*cannot be read .*No such file.* Name the folder"),
        (b"file,digit\nzw\xf6lf.png,1\n", ".*cannot be read .*utf-8.* export it as CSV UTF-8"),
        (b"", ".*cannot be read"),
        (b"file;digit\nfour.png;4\n", f"the {COLUMNS}. Name the columns"),
        (ROWS.replace(",4", ",four").encode(), ".*the row four.png, four, paint, 1. Complete it"),
        (ROWS.replace("paint", "").encode(), ".*found the row four.png, 4, , 1. Complete it"),
        (ROWS.replace("four", "five").encode(), ".*found no five.png there"),
        (ROWS.replace("paint", "odd").encode(), "pictures of digits; found none. Add"),
        (ROWS.partition("\n")[0].encode(), "pictures of digits; found none. Add"),
    ],
    ids=[
        "no table", "another encoding", "empty", "columns", "no digit", "no kind", "no picture",
        "odd ones only", "no rows",
    ],
)  # fmt: skip
def test_other_tables_are_refused(folder, text, said):
    if text is not None:
        (folder / "table.csv").write_bytes(text)
    with pytest.raises(InputError, match=f"table.csv: expected {said}"):
        pictures.read_table(folder)


@pytest.mark.skipif(os.name == "nt" or not shutil.which("make"), reason="needs make and a shell")
def test_folder_may_have_any_name(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '%s|' \"$@\"\n")
    python.chmod(0o755)
    name = "one's own digits; *"
    make = ["make", "-s", "-o", ".venv/installed", f"BIN={tmp_path}", "handwriting"]
    path = {"PATH": os.environ["PATH"]}
    for variables, given in ([f"HANDWRITING={name}", "TRAININGS=2"], f"{name}|2|"), ([], "|"):
        said = subprocess.run([*make, *variables], cwd=ROOT, env=path, capture_output=True)
        assert said.stdout.decode() == f"-m|helpers|pictures|{given}"


def test_folder_without_a_name_is_asked_for():
    with pytest.raises(InputError, match="Give one: make handwriting HANDWRITING=folder"):
        commands.pictures("")


def test_each_picture_is_compared_with_its_own_digit(folder, sample, monkeypatch):
    """With networks that take everything for a 4, and are not sure of that."""
    Image.new("L", (100, 100), 255).save(folder / "pictures" / "blank.png")
    rows = "blank.png,,odd,1\nfour.png,4,paint,2\nfour.png,5,paint,2\nblank.png,4,scan,3\n"
    (folder / "table.csv").write_text(f"file,digit,kind,source\n{rows}")
    digits = replace(sample, test_images=sample.test_images[:10], test_labels=np.arange(10))
    monkeypatch.setattr(pictures, "load_mnist", lambda: digits)

    def read(_, images, seeds):
        assert list(seeds) == [1, 2]
        four = np.where(np.arange(10) == 4, 0.91, 0.01)
        each = {name: np.tile(four, (2, len(some), 1)) for name, some in images.items()}
        return dict.fromkeys(["conv", "conv-normalised"], each)

    monkeypatch.setattr(pictures, "read", read)
    found = pictures.measure(folder, trainings=2)
    assert found["refused"] == {"odd": 1, "of these": 1, "digits": 1}
    rates = {kind: row["conv %"] for kind, row in found["kinds"].items()}
    third = {"estimate": 33.33}
    assert rates == {"paint": {"estimate": 50}, "scan": {"estimate": 0}, "all": third}
    assert (found["kinds"]["all"]["pictures"], found["kinds"]["all"]["sources"]) == (3, 2)
    of_conv = found["tests"]["conv"]
    assert (of_conv["test images %"], of_conv["drawn and read again %"]) == (10, 10)
    assert of_conv["pictures %"] == pytest.approx({"estimate": 100 / 3, "sd": 0})
    assert found["pairs"]["conv beats conv-normalised"] == {
        "% of pairs": 50, "difference, points": {"estimate": 0},
    }  # fmt: skip
    assert found["sources"]["2"] == {
        "kind": "paint", "pictures": 2, "conv %": 50, "conv-normalised %": 50,
    }  # fmt: skip
    assert found["trust"]["0.9"]["probability %"] == pytest.approx(91)
    assert found["misread"]["readings %"] == pytest.approx(200 / 3)


@pytest.mark.filterwarnings("error")
def test_a_single_picture_leaves_empty_cells():
    """Read by all, with certainty, there is nothing that is misread or not sure."""
    table = pd.DataFrame({"file": ["four.png"], "digit": "4", "kind": "paint", "source": "1"})
    names = [*pictures.RECIPES, "drawn again", "test images"]
    right = {"conv": np.ones((1, 1), bool), "conv-normalised": np.ones((1, 1), bool)}
    found = pictures.summarise(table, dict.fromkeys(names, right), np.ones((1, 1)))
    refused = {"odd": 0, "of these": 0, "digits": 0}
    text = pictures.report({"trainings": 0, **found, "refused": refused})
    assert "| 0.99 | 100.00 | 100.00 | 100.00 |  |" in text and "nan" not in text
    assert "misreads" not in text and "ROC" not in text


def test_report_is_what_was_measured():
    """Nobody has edited it, or forgotten to write it."""
    measured = json.loads(pictures.MEASURED.read_text(encoding="utf-8"))
    assert pictures.REPORT.read_text(encoding="utf-8") == pictures.report(measured)


def test_interval_of_a_share_draws_whole_sources():
    """Fifty pictures: if each source is read or misread as a whole, just five things are drawn."""
    values, alone = np.repeat([1.0, 1.0, 1.0, 0.0, 0.0], 10), pd.Series(range(50))
    apart = pictures.with_interval(values, alone)
    together = pictures.with_interval(values, alone // 10)
    assert together == {"estimate": 60, "low": 20, "high": 100}
    assert apart["estimate"] == 60 and 40 <= apart["low"] < 50 < 70 < apart["high"] <= 80
    assert pictures.with_interval(values, alone // 25) == {"estimate": 60}  # two are too few


def test_pairs_of_trainings_by_hand():
    """Two trainings each read 3 and 1 of 4 pictures, and 2 and 1: one pair is lost, one a tie."""
    right = {
        "one": np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool),
        "other": np.array([[1, 1, 0, 0], [0, 1, 0, 0]], bool),
    }
    row = pictures.in_pairs(pd.DataFrame({"source": list("abcd")}), right)["one beats other"]
    assert row == {"% of pairs": 62.5, "difference, points": {"estimate": 12.5}}
