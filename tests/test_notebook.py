"""The stored notebook: one clean run, within the limits of the house, with all that the analysis shows."""

import base64
import io
import json
import re
import statistics
from pathlib import Path

import pytest
from matplotlib.image import imread

from helpers import article

PATH = Path(__file__).parent.parent / "mnist_digits.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
CELLS = NOTEBOOK["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
MARKDOWN = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown"]


def source(cell) -> str:
    return "".join(cell["source"])


def lines(cell) -> int:
    return sum(bool(line.strip()) for line in source(cell).splitlines())


def text(output) -> str:
    """What an output says, without its markup; nothing for a picture."""
    shown = output.get("text") or output["data"].get("text/html") or output["data"]["text/plain"]
    return re.sub(r"<[^>]+>", " ", "".join(shown))


def is_figure(output) -> bool:
    return "image/png" in output.get("data", {})


def section(number: int) -> str:
    """The text of all outputs under a heading '## <number>.', with 'FIGURE' for each picture."""
    found, current = [], 0
    for cell in CELLS:
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^## (\d+)\.", source(cell), re.MULTILINE)
            current = int(headings[-1]) if headings else current
        elif current == number:
            found += ["FIGURE" if is_figure(output) else text(output) for output in cell["outputs"]]
    return "\n".join(found)


# --- one clean run


def test_executed_once_from_top_to_bottom():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))


def test_no_error_and_nothing_on_stderr():
    kinds = {output.get("name", output["output_type"]) for cell in CODE for output in cell["outputs"]}
    assert kinds <= {"stdout", "display_data", "execute_result"}


def test_stored_outputs_name_no_place_and_no_time():
    outputs = "\n".join(text(output) for cell in CODE for output in cell["outputs"])
    assert not re.search(r"/home/|/work/|/root/|/tmp/|/Users/|[A-Z]:\\", outputs)
    assert not re.search(r"\d\d:\d\d|\bms\b|\d s\b|it/s|step/s", outputs)
    assert "execution" not in {key for cell in CODE for key in cell["metadata"]}
    assert NOTEBOOK["metadata"].keys() == {"kernelspec", "language_info"}  # no widgets, nothing of papermill's


def test_small_enough_for_github():
    assert PATH.stat().st_size < 3_000_000


# --- the limits of the house


def test_cells_are_short():
    assert len(CELLS) <= 82
    assert statistics.median(map(lines, CODE)) <= 4
    assert max(map(lines, CODE)) <= 15


def test_prose_between_code():
    kinds = "".join("c" if cell["cell_type"] == "code" else "m" for cell in CELLS)
    assert "ccc" not in kinds
    assert kinds[0] == kinds[-1] == "m"


def test_outline():
    headings = re.findall(r"^(#+) (.*)$", "\n".join(MARKDOWN), re.MULTILINE)
    assert [level for level, _ in headings] == ["#"] + ["##"] * 16
    assert [int(title.split(".")[0]) for _, title in headings[1:]] == list(range(1, 17))


def test_parameters_cell():
    (cell,) = [cell for cell in CODE if "parameters" in cell["metadata"].get("tags", [])]
    values = {}
    exec(source(cell), values)
    published = {"seed": article.SEED, "epochs": article.EPOCHS, "batch_size": article.BATCH_SIZE}
    assert {key: values[key] for key in published} == published


def test_exempt_cells_give_their_reason():
    text = "\n".join(map(source, CODE))
    assert len(re.findall("nbval", text, re.IGNORECASE)) <= 3
    assert len(re.findall("nbval", text, re.IGNORECASE)) == len(
        re.findall(r"^# NBVAL_IGNORE_OUTPUT\n# because .{20,}$", text, re.MULTILINE)
    )
    assert not any("nbval" in tag for cell in CODE for tag in cell["metadata"].get("tags", []))


# --- all that the article shows


def test_samples_and_preprocessing():
    assert section(1).count("FIGURE") == 1 and "60,000 training and 10,000 test images" in section(1)
    assert "float32, from 0 to 1" in section(2)
    rows = [line.split() for line in section(2).splitlines() if len(line.split()) == 1]
    assert [row[0] for row in rows][10:] and section(2).count("FIGURE") == 0


def test_first_nine_labels_and_their_vectors():
    numbers = [int(number) for number in re.findall(r"\b\d\b", section(2).split("float32", 1)[1])]
    table = numbers[-99:]
    assert table[::11] == [5, 0, 4, 1, 9, 2, 1, 3, 1]
    for row in range(9):
        label, *vector = table[11 * row : 11 * row + 11]
        assert vector == [int(digit == label) for digit in range(10)]


@pytest.mark.parametrize(("number", "parameters"), [(3, "669,706"), (4, "600,810")])
def test_networks(number, parameters):
    assert parameters in section(number) and "FIGURE" in section(number)
    assert "loaded from the cache" in section(number)


def test_raw_pixels_are_pointed_out():
    assert "raw" in section(3)
    assert any("raw" in prose and "article" in prose.lower() for prose in MARKDOWN)


def test_selection():
    rows = re.findall(r"(dense|conv)((?:\s+\d+\.\d\d)+)", section(5))
    sums = {name: float(values.split()[4]) for name, values in rows}
    trained, validated = ({name: float(values.split()[i]) for name, values in rows} for i in (0, 1))
    assert all(sums[name] == pytest.approx(trained[name] + validated[name], abs=0.011) for name in sums)
    assert max(sums, key=sums.get) in section(9)


def test_slip_paired_tests_and_selection():
    assert "conv-normalised: loaded from the cache" in section(6) and "change %" in section(6)
    assert {"conv, conv-normalised", "only second", "p"} <= set(re.split(r"\s{2,}|\n", section(7)))
    assert "where chosen" in section(7) and "advantage" in section(7)


def test_many_trainings():
    assert section(8).count("FIGURE") == 1
    assert {"runs", "dense beats conv", "by sum %", "luckiest dense"} <= set(re.split(r"\s{2,}|\n", section(8)))


def test_predictions_calibration_accuracy_confusion_and_embedding():
    assert section(9).count("FIGURE") == 3 and "disputed" in section(9)
    assert section(10).count("FIGURE") == 1 and "expected calibration error" in section(10)
    assert section(11).count("FIGURE") == 1 and {"images", "correct", "low %", "high %"} <= set(
        re.split(r"\s{2,}|\n", section(11))
    )
    assert section(12).count("FIGURE") == 1 and "they alone, % of trainings" in section(12)
    assert section(13).count("FIGURE") == 1
    assert section(14).count("FIGURE") == 1 and "rank correlation" in section(14)


def test_a_digit_of_ones_own():
    rows = re.findall(r"^ +(\S+) *\n +(\d) *\n +([\d.]+) *$", section(15), re.MULTILINE)
    assert section(15).count("FIGURE") == 2 and rows == [
        (name, "7", "1.00") for name in ("dense", "conv", "conv-normalised")
    ]


def test_folded_cells_say_that_they_may_be_skipped():
    """JupyterLab folds them; GitHub does not."""
    folded = [cell for cell in CODE if cell["metadata"].get("jupyter", {}).get("source_hidden")]
    assert folded == [cell for cell in CODE if re.match(r"# May be skipped: .{20,}\n", source(cell))]
    assert 0 < len(folded) < 6


def test_scorecard_and_its_short_form_on_the_first_screen():
    scores = section(16)
    claims = re.findall(r"(holds in part|holds|does not hold)", scores)
    assert len(claims) == 7
    first = text(CODE[0]["outputs"][0])
    assert re.findall(r"(holds in part|holds|does not hold)", first) == claims


def test_ten_accuracies_with_their_intervals():
    rows = re.findall(r"^\s*(\d)\s+(\d+)\s+(\d+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", section(11), re.MULTILINE)
    assert [row[0] for row in rows] == list("0123456789")
    assert sum(int(row[1]) for row in rows) == 10_000
    for _, images, correct, accuracy, low, high in rows:
        assert float(accuracy) == pytest.approx(100 * int(correct) / int(images), abs=0.006)
        assert float(low) < float(accuracy) < float(high)


def test_figures_are_opaque():
    """PNG on white: the alpha channel is absent or full."""
    figures = [output["data"]["image/png"] for cell in CODE for output in cell["outputs"] if is_figure(output)]
    assert len(figures) == 14
    for figure in figures:
        picture = imread(io.BytesIO(base64.b64decode(figure)))
        assert picture.shape[2] == 3 or picture[..., 3].min() == 1
        assert picture[0, 0, :3].tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["runs", "embedding"])
def test_figures_in_readme_are_the_notebooks(name):
    (cell,) = [cell for cell in CODE if f"plots.{name}(" in source(cell)]
    (output,) = cell["outputs"]
    assert (PATH.parent / "figures" / f"{name}.png").read_bytes() == base64.b64decode(output["data"]["image/png"])
    assert f"figures/{name}.png" in (PATH.parent / "README.md").read_text()
