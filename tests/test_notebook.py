"""The stored notebook: one clean run, within the limits of the house, with all that the analysis shows."""

import base64
import io
import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from helpers import article, plots
from tests.thorough.test_figures import BASELINE, CASES

PATH = Path(__file__).parent.parent / "mnist_digits.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
CELLS = NOTEBOOK["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
MARKDOWN = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown"]


def source(cell) -> str:
    return "".join(cell["source"])


def outputs(cell) -> list:
    """What a code cell shows, as it is stored."""
    assert cell.get("execution_count"), f"`make refresh` is needed: this cell was not executed yet.\n{source(cell)}"
    return cell["outputs"]


def text(output) -> str:
    """What an output says, without its markup; nothing for a picture."""
    shown = output.get("text") or output["data"].get("text/html") or output["data"]["text/plain"]
    return re.sub(r"<[^>]+>", " ", "".join(shown))


def is_figure(output) -> bool:
    return "image/png" in output.get("data", {})


def section(number: int) -> str:
    """The text of all outputs under a heading '## <number>.', without pictures."""
    found, current = [], 0
    for cell in CELLS:
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^## (\d+)\.", source(cell), re.MULTILINE)
            current = int(headings[-1]) if headings else current
        elif current == number:
            found += [text(output) for output in outputs(cell) if not is_figure(output)]
    return "\n".join(found)


FIRST_SCREEN = "".join(
    text(output) for cell in CODE if 'display_id="first-screen"' in source(cell) for output in cell.get("outputs", [])
)

# --- one clean run


def test_executed_once_from_top_to_bottom_without_error_or_warning():
    counts = [cell.get("execution_count") for cell in CODE]
    assert counts == list(range(1, len(CODE) + 1)), "`make refresh` executes all cells, once and in their order"
    kinds = {output.get("name", output["output_type"]) for cell in CODE for output in outputs(cell)}
    assert kinds <= {"stdout", "display_data", "execute_result"}


def test_stored_outputs_name_no_place_and_no_time():
    shown = "\n".join(text(output) for cell in CODE for output in outputs(cell))
    assert not re.search(r"/home/|/work/|/root/|/tmp/|/Users/|[A-Z]:\\", shown)
    assert not re.search(r"\d\d:\d\d|\bms\b|\d s\b|it/s|step/s", shown)
    assert "execution" not in {key for cell in CODE for key in cell["metadata"]}
    assert NOTEBOOK["metadata"].keys() == {"kernelspec", "language_info"}  # no widgets, nothing of papermill's


# --- the limits of the house


def test_few_and_short_cells_with_prose_between_them():
    lines = [sum(bool(line.strip()) for line in source(cell).splitlines()) for cell in CODE]
    assert len(CELLS) <= 70, "at most 70 cells, so that one reads it in half an hour: join some, or leave one out"
    assert statistics.median(lines) <= 4, "half of the code cells have at most 4 lines: move some code to helpers"
    assert max(lines) <= 15, "a code cell has at most 15 lines: move some to helpers"
    kinds = "".join("c" if cell["cell_type"] == "code" else "m" for cell in CELLS)
    assert "ccc" not in kinds, "at most two code cells in a row: a sentence before one says why"
    assert kinds[0] == kinds[-1] == "m"
    assert PATH.stat().st_size < 3_000_000, "GitHub shows no larger notebook"


def test_outline_and_contents():
    """One title, numbered sections; the links at the beginning lead to each of them."""
    headings = re.findall(r"^(#+) (.*)$", "\n".join(MARKDOWN), re.MULTILINE)
    assert [level for level, _ in headings].count("#") == 1 and headings[0][0] == "#"
    sections = [title for level, title in headings if level == "##"]
    assert [int(title.split(".")[0]) for title in sections] == list(range(1, len(sections) + 1))
    links = re.findall(r"\[(\d+\. [^]]+)\]\(#([^)]+)\)", "\n".join(MARKDOWN))
    assert links == [(title, title.replace(" ", "-")) for title in sections]


def test_parameters_cell():
    (cell,) = [cell for cell in CODE if "parameters" in cell["metadata"].get("tags", [])]
    values = {}
    exec(source(cell), values)
    published = {"seed": article.SEED, "epochs": article.EPOCHS, "batch_size": article.BATCH_SIZE}
    assert {key: values[key] for key in published} == published


def test_few_cells_are_exempt_and_give_their_reason():
    text = "\n".join(map(source, CODE))
    reasons = re.findall(r"^# NBVAL_IGNORE_OUTPUT\n# because .{20,}$", text, re.MULTILINE)
    assert len(re.findall("nbval", text, re.IGNORECASE)) == len(reasons) <= 3
    assert not any("nbval" in tag for cell in CODE for tag in cell["metadata"].get("tags", []))


# --- all that the article shows


def test_first_nine_labels_and_their_vectors():
    table = [int(number) for number in re.findall(r"\b\d\b", section(2).split("float32", 1)[1])][-99:]
    assert table[::11] == [5, 0, 4, 1, 9, 2, 1, 3, 1]
    for row in range(9):
        label, *vector = table[11 * row : 11 * row + 11]
        assert vector == [int(digit == label) for digit in range(10)]


def test_selection():
    rows = re.findall(r"(dense|conv)\s+([\d.]+)\s+([\d.]+) \([^)]*\)\s+([\d.]+)", section(5))
    assert len(rows) == 2
    assert all(float(total) == pytest.approx(float(one) + float(other), abs=0.011) for _, one, other, total in rows)
    assert max(rows, key=lambda row: float(row[3]))[0] in FIRST_SCREEN
    code = "\n".join(map(source, CODE))  # the rule, and how a prediction becomes a class, can be read there
    assert '["sum %"].idxmax()' in code and "argmax(axis=1)" in code


def test_cells_that_draw_show_figures_and_no_others_do():
    drawn = [len(re.findall(r"^(?:plots\.\w+|pad\.Pad)\(", source(cell), re.MULTILINE)) for cell in CODE]
    assert [sum(map(is_figure, outputs(cell))) for cell in CODE] == drawn and drawn[1]  # samples, on the first screen


def test_what_sections_show():
    shown = {2: "60,000 training and 10,000 test images", 3: "669,706", 4: "600,810", 6: "change %"}
    shown |= {7: "by the second only", 8: "dense beats conv", 10: "in top two", 11: "rank correlation"}
    assert all(what in section(number) for number, what in shown.items())


def test_folded_cells_say_so():
    """JupyterLab and the report fold them; GitHub does not."""
    folded = [cell for cell in CODE if cell["metadata"].get("jupyter", {}).get("source_hidden")]
    said = [cell for cell in CODE if re.match(r"# Folded in JupyterLab: .{20,}\n|# NBVAL", source(cell))]
    assert folded == said


def test_scorecard_and_its_short_form_on_the_first_screen():
    pattern = r"((?:holds in part|holds|does not hold), \d of \d)"
    (cell,) = [cell for cell in CODE if "article.scorecard(" in source(cell)]
    claims = [claim for output in outputs(cell) for claim in re.findall(pattern, text(output))]
    assert claims and re.findall(pattern, FIRST_SCREEN) == claims


def test_figures_are_opaque_crisp_and_described():
    """PNG on white, stored with twice the pixels that they are shown with, and with alternative text."""
    for figure in (output for cell in CODE for output in outputs(cell) if is_figure(output)):
        picture = imread(io.BytesIO(base64.b64decode(figure["data"]["image/png"])))
        assert picture.ndim == 2 or picture.shape[2] == 3 or picture[..., 3].min() == 1
        assert np.all(picture[0, 0] == 1)
        shown = figure["metadata"]["image/png"]
        assert picture.shape[1] == pytest.approx(2 * shown["width"], abs=2) and len(shown["alt"]) > 60


def test_every_function_that_draws_has_a_case_a_picture_and_a_cell():
    """A picture is compared in `make test-full` only; that it is there can be seen at once."""
    drawing = {name for name, value in vars(plots).items() if hasattr(value, "__wrapped__")}
    assert drawing == set(CASES), "a case in tests/thorough/test_figures.py for each function"
    assert drawing == {path.stem for path in BASELINE.glob("*.png")}, "that module says how a picture is stored"
    assert drawing == set(re.findall(r"^plots\.(\w+)\(", "\n".join(map(source, CODE)), re.MULTILINE))


@pytest.mark.parametrize("name", ["runs", "embedding"])
def test_figures_in_readme_are_the_notebooks(name):
    (cell,) = [cell for cell in CODE if f"plots.{name}(" in source(cell)]
    (output,) = outputs(cell)
    assert (PATH.parent / "figures" / f"{name}.png").read_bytes() == base64.b64decode(output["data"]["image/png"])
    assert f"figures/{name}.png" in (PATH.parent / "README.md").read_text()
