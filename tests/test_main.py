"""The commands behind the Makefile."""

import errno
import json
from pathlib import Path

import nbformat
import pytest

from helpers import __main__ as commands
from helpers.checks import InputError
from helpers.data import DataError


def test_on_the_sample_nothing_is_compared_or_replaced(mnist, monkeypatch, capsys):
    commands.nbval()
    assert capsys.readouterr().out == "--nbval\n"
    monkeypatch.setenv("MNIST_DATA", "sample")
    commands.nbval()
    printed = capsys.readouterr()
    assert printed.out == "--nbval-lax\n" and "not compared" in printed.err
    monkeypatch.setattr("helpers.startup.start_tensorflow", lambda: pytest.fail("it went on to train"))
    with pytest.raises(DataError, match="trained on the complete data set"):
        commands.retrain()
    with pytest.raises(DataError, match="study is of the complete data set"):
        commands.study(1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("headline x", "invalid choice: 'headline'"),
        ("study", "the following arguments are required: SEEDS"),  # as after `make study SEEDS=`
        ("study 0", "argument SEEDS: expected a whole number from 1, such as 30; found '0'"),
        ("study 30 a b", "unrecognized arguments: b"),
        ("nbval all", "unrecognized arguments: all"),
        ("run -p epochs", "argument -p: expected 2 arguments"),
    ],
)
def test_command_that_cannot_be_understood(line, said, capsys):
    with pytest.raises(SystemExit) as ended:
        commands.main(line.split())
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_parameter_that_the_notebook_has_not(tmp_path):
    with pytest.raises(InputError, match="^PARAMETERS: the notebook has seed, epochs, batch_size; found epoch. "):
        commands.run([("epoch", "3"), ("seed", "1")], tmp_path)


@pytest.mark.thorough
def test_what_a_run_cannot_do_is_said_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(SystemExit, match="^error: epochs: expected a whole number from 1 to .*; found 'three'.$"):
        commands.run([("epochs", "three")], tmp_path)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (OSError(errno.EROFS, "Read-only", "runs.jsonl.lock"), "^error: runs.jsonl.lock: Read-only. Make room, or"),
        (KeyboardInterrupt(), "^Stopped. What was stored before"),
    ],
)
def test_what_ends_a_command_is_said_in_a_line(monkeypatch, event, said):
    def refresh():
        raise event

    monkeypatch.setattr(commands, "refresh", refresh)
    with pytest.raises(SystemExit, match=said):
        commands.main(["refresh"])


# For refresh: all is stored, or nothing.
PICTURE = r"""
import os, sys
from IPython.display import Image
class plots:
    runs = embedding = lambda: Image(b"\x89PNG", format="png")
"""
DATA = 'os.environ["MNIST_DATA"]'
CLEAN = [PICTURE, "plots.runs()", "plots.embedding()", DATA]
STORED = ("mnist_digits.ipynb", "figures/runs.png", "figures/embedding.png")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a project of another notebook, of these cells; returns the function that reads what is stored."""
    monkeypatch.setenv("MNIST_DATA", "sample")

    def make(*cells):
        for name in STORED:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("as before")
        new = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=new), tmp_path / STORED[0])
        return lambda: [(tmp_path / name).read_bytes() for name in STORED]

    return make


@pytest.mark.thorough
def test_a_clean_run_is_stored_once_all_is_written(project, tmp_path, monkeypatch):
    """Made with the complete data, whatever the environment says; nothing of it is stored when the disk is full."""
    stored = project(*CLEAN)
    commands.refresh(tmp_path)
    notebook, *figures = stored()
    cells = json.loads(notebook)["cells"]
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3, 4] and "execution" not in cells[0]["metadata"]
    assert cells[3]["outputs"][0]["data"]["text/plain"] == ["'full'"]
    assert all(figure.startswith(b"\x89PNG") for figure in figures) and not list((tmp_path / "build").iterdir())

    def write_some(path, content, write=Path.write_bytes):
        if path.name == "embedding.png":
            raise OSError("No space left on device")
        return write(path, content)

    before = project(*CLEAN)()
    monkeypatch.setattr(Path, "write_bytes", write_some)
    with pytest.raises(OSError, match="No space"):
        commands.refresh(tmp_path)
    assert stored() == before and not list((tmp_path / "build").iterdir())


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([*CLEAN, "1 / 0"], "ZeroDivisionError(.|\n)*nothing is stored"),
        ([*CLEAN, "sys.stderr.write('a warning')"], "nothing is stored(.|\n)*a warning"),
        ([*CLEAN[:2], "None  # plots.embedding()"], "no cell shows plots.embedding"),
    ],
    ids=["error", "stderr", "no figure"],
)
@pytest.mark.thorough
def test_another_run_changes_nothing(project, tmp_path, cells, message):
    stored = project(*cells)
    before = stored()
    with pytest.raises(SystemExit, match=message):
        commands.refresh(tmp_path)
    assert stored() == before
