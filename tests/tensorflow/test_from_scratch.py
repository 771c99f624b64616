"""Trainings on the complete data set, from scratch. They take minutes: `make test-full`."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.compute import start_tensorflow

start_tensorflow()
import tensorflow as tf  # noqa: E402  once it is started

from helpers import __main__ as commands  # noqa: E402  TensorFlow must be started first
from helpers import cache, loading, models, training  # noqa: E402
from helpers.training import Settings  # noqa: E402
from tests.same_bits import skip_unless_promised  # noqa: E402
from tests.test_prose import table  # noqa: E402

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# How far a final accuracy may be from the committed training's on another processor: in the study
# they vary by a standard deviation of 0.0017 at most.
TOLERANCE = 0.005


@pytest.fixture(scope="module", params=models.CANDIDATES, ids=lambda candidate: candidate.name)
def trained(mnist, request):
    """Each network, trained from scratch."""
    network, history = training.train(request.param, mnist, Settings())
    print(request.param.name, {key: round(values[-1], 4) for key, values in history.items()})
    return training.TrainedModel(request.param, network, history, "")


def test_accuracies_of_a_training_from_scratch(trained, mnist):
    """They are close to the committed training's, whatever the processor."""
    committed = loading.train_or_load(trained.candidate, mnist, Settings())
    assert "loaded from the cache" in committed.origin
    for key in ("accuracy", "val_accuracy"):
        near = pytest.approx(committed.history[key][-1], abs=TOLERANCE)
        assert trained.history[key][-1] == near, key


def test_bits_of_a_training_from_scratch(trained, mnist):
    """History, weights and probabilities are the committed model's, where that is promised."""
    skip_unless_promised(loading.describe_environment())
    committed = loading.train_or_load(trained.candidate, mnist, Settings())
    assert trained.history == committed.history
    saved_model = loading.MODELS / trained.candidate.name / cache.SAVED_MODEL
    stored = tf.saved_model.load(str(saved_model)).weights
    network = trained.network
    assert [weight.numpy().tobytes() for weight in network.weights] == [weight.numpy().tobytes() for weight in stored]
    images = mnist.test_images
    assert trained.predict(images).tobytes() == committed.predict(images).tobytes()


def test_other_parameters_on_the_sample(tmp_path, monkeypatch, capsys):
    """The notebook runs with parameters from outside, and says at its beginning what it ran on."""
    monkeypatch.setenv("MNIST_DATA", "sample")
    commands.run([("epochs", "1"), ("seed", "7")], tmp_path)
    printed = capsys.readouterr().out
    assert printed.startswith("\nThis run used a sample instead of MNIST")
    assert "seed 7 instead of 12345, epochs 1 instead of 5" in printed and "of 1,000 test images" in printed
    cells = json.loads((tmp_path / "mnist_digits.ipynb").read_text())["cells"]
    tables = [json.dumps(cell["outputs"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any(", article" in table for table in tables)
    assert sum("is left out: this run used a sample instead of MNIST." in table for table in tables) >= 6


def copied(folder: Path) -> Path:
    """The project in another folder, where what is trained goes too."""
    ignored = shutil.ignore_patterns(".*", "build", "local", "__pycache__")
    return Path(shutil.copytree(ROOT, folder / "copy", ignore=ignored))


def execute(book, folder: Path) -> None:
    NotebookClient(book, kernel_name="python3", timeout=None, resources={"metadata": {"path": str(folder)}}).execute()


def tables(book, made: str) -> list[dict[str, dict[str, str]]]:
    """What the cell shows that begins a line so: of each table its rows by name, each with its columns by name."""
    (cell,) = [cell for cell in book.cells if cell.cell_type == "code" and f"\n{made}" in f"\n{cell.source}"]
    found = [table(output.data["text/html"]) for output in cell.outputs if "text/html" in output.get("data", {})]
    return [{row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows} for header, *rows in found]


def figure(book, call: str) -> str:
    """What stands for the figure under the cell with this call, where only text can be shown."""
    cells = [cell for cell in book.cells if cell.cell_type == "code" and call in cell.source]
    (text,) = [out.data["text/plain"] for cell in cells for out in cell.outputs if "image/png" in out.get("data", {})]
    return text


def test_layers_that_are_not_the_articles(mnist, tmp_path):
    """They are named first; nothing stands beside the article's figures; where it stood, the reason does."""
    copy = copied(tmp_path)
    book = nbformat.read(copy / "mnist_digits.ipynb", as_version=4)
    (cell,) = [cell for cell in book.cells if cell.source.startswith("def dense_layers()")]
    cell.source = cell.source.replace("512", "256", 1)
    execute(book, copy)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.get("text") or output.data["text/plain"] for output in outputs]
    first_screen = shown[1]
    assert first_screen.startswith("In this run the layers of dense are not those that the notebook's text speaks of.")
    assert "the better of these two networks is" in first_screen and "verdict" not in first_screen
    assert any("337,674" in each for each in shown)
    reason = "is left out: in this run the layers of dense are not the article's."
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    tables_that_compare = re.findall(r"^(?:display\()?readable\(.*, no_(?:article|study)\)", code, re.MULTILINE)
    assert sum(reason in each for each in shown) == len(tables_that_compare) > 0
    described = [output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})]
    assert sum(alt.endswith(reason) for alt in described) == code.count("no_study or ") > 0
    assert not any(", article" in each or "holds" in each for each in shown)


def solutions() -> list[str]:
    """The code of the notebook's exercises, in their order."""
    last = json.loads((ROOT / "mnist_digits.ipynb").read_text(encoding="utf-8"))["cells"][-1]
    return re.findall(r"^```python\n(.*?)^```$", "".join(last["source"]), re.MULTILINE | re.DOTALL)


def test_a_network_of_ones_own_and_the_exercises(mnist, tmp_path):
    """In a copy, README's lines in place of the notebook's two: the network is trained, and in all tables.

    The exercises' solutions come after the last cell, but for the second, which is such a network.
    """
    copy = copied(tmp_path)
    (lines,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(lines.splitlines()) == 4
    book = nbformat.read(copy / "mnist_digits.ipynb", as_version=4)
    (cell,) = [cell for cell in book.cells if cell.source == "own = []\nmodels.check_own(own)"]
    seed_1, linear, turned, worst, luckiest = solutions()
    cell.source = lines + linear.replace("own = [", "own += [")
    count = len(book.cells)
    book.cells += [nbformat.v4.new_code_cell(code) for code in (seed_1, turned, worst, luckiest)]
    execute(book, copy)

    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type in ("error", "stream") and output.name != "stdout"]
    shown = "\n".join(output.get("text") or output.data["text/plain"] for output in outputs)
    assert "wide: trained here (no cached model)" in shown and "take part in this run: wide, linear." in shown
    for made in ("accuracies =", "all_accuracies =", "error_rates =", "calibration =", "in_short ="):
        assert {"wide", "linear"} <= tables(book, made)[0].keys(), made
    assert {"dense, wide", "conv, wide", "wide, conv-normalised"} <= tables(book, "paired_tests =")[0].keys()
    assert "wide, all trainings" in tables(book, "correlations =")[0]
    assert tables(book, "in_short =")[0]["wide"]["trainings"] == "1"
    assert "wide" not in tables(book, "changes =")[0]
    assert "with 6 Axes" in figure(book, "plots.history_curves(")  # five panels and an empty one
    # A picture, its pixels, and how five networks read it
    assert "with 7 Axes" in figure(book, 'plots.readings({"the picture"')
    sums = {name: float(row["sum %"]) for name, row in tables(book, "accuracies =")[0].items() if name != "network"}
    assert f"the best of these 4 networks is {max(sums, key=sums.get)}," in shown and sums["wide"] > sums["conv"]
    assert {path.name.split("-")[0] for path in (copy / "models" / "local").iterdir()} == {"wide", "linear"}

    # What the solutions say of their outputs
    accuracy = tables(book, "accuracies =")[0]["linear"]["validation % (95 % interval)"]
    assert 90 < float(accuracy.split()[0]) < 95
    seed_1, turned, worst, luckiest = (cell.outputs[0].data["text/plain"] for cell in book.cells[count:])
    assert len(seed_1.splitlines()) == 5 and turned.count(" %") == 5
    worst = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in worst.splitlines()[1:]}
    dense, conv, *_, conv_normalised = (max(worst, key=lambda digit: worst[digit][place]) for place in range(5))
    assert conv == conv_normalised == "9" != dense
    advantages = {line.split()[0]: float(line.split()[-1]) for line in luckiest.splitlines()[1:]}
    assert 0.2 < advantages["dense"] < 0.3 and advantages["conv-normalised"] < 0.1
