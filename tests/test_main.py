"""The commands behind the Makefile."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers import __main__ as commands
from helpers.data import DataError
from helpers.errors import InputError
from tests.test_notebook import CODE, source

ROOT = Path(__file__).parent.parent


def test_on_the_sample_nothing_is_compared_or_replaced(mnist, monkeypatch, capsys):
    commands.nbval()
    assert capsys.readouterr().out == "--nbval\n"
    monkeypatch.setenv("MNIST_DATA", "sample")
    commands.nbval()
    printed = capsys.readouterr()
    assert printed.out == "--nbval-lax\n" and "not compared" in printed.err
    monkeypatch.setattr("helpers.compute.start_tensorflow", lambda: pytest.fail("it went on to train"))
    with pytest.raises(DataError, match="trained on the complete data set"):
        commands.retrain()
    with pytest.raises(DataError, match="study is of the complete data set"):
        commands.study(1)


@pytest.mark.tensorflow
def test_what_is_committed_is_computed_portably_or_not_at_all(mnist, tmp_path, monkeypatch):
    from helpers import compute

    compute.start_tensorflow()
    from helpers import loading

    monkeypatch.setenv("MNIST_COMPUTE", "native")
    monkeypatch.setattr(loading, "retrain", lambda *_: pytest.fail("it went on to train"))
    for command in (commands.retrain, lambda: commands.refresh(tmp_path)):
        with pytest.raises(InputError, match="must be computed portably. MNIST_COMPUTE=native was set for this run: "):
            command()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("headline x", "invalid choice: 'headline'"),
        ("study", "the following arguments are required: SEEDS"),  # as after `make study SEEDS=`
        ("study 0", "argument SEEDS: expected a whole number from 1 to 4294967295, such as 30; found '0'"),
        ("study 5000000000", "from 1 to 4294967295, such as 30; found '5000000000'"),
        (f"study {'9' * 5_000}", "from 1 to 4294967295, such as 30; found '999"),
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
    said = "^PARAMETERS: unknown parameter epoch; the notebook has seed, epochs, batch_size.$"
    with pytest.raises(InputError, match=said):
        commands.run([("epoch", "3"), ("seed", "1")], tmp_path)


@pytest.mark.thorough
def test_what_a_run_cannot_do_is_said_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(SystemExit, match="^error: epochs: expected a whole number from 1 to .*; found 'three'.$"):
        commands.run([("epochs", "three")], tmp_path)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (OSError(errno.EROFS, "Read-only", "runs.lock"), "^error: runs.lock: Read-only. Check permissions, and"),
        (OSError(errno.ENOSPC, "No space left"), "^error: No space left. Make room, and start it again.$"),
        (FileNotFoundError(errno.ENOENT, "Not there", "x.py"), "^error: x.py: Not there. `git status` tells"),
        (FileExistsError(errno.EEXIST, "File exists", "build"), "^error: build: File exists. Move away"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "^error: Connection timed out.$"),
        (TimeoutError(), "^error: TimeoutError.$"),
        (MemoryError(), "^error: memory ran out. Close other programs, or allow more memory, and start"),
        (ModuleNotFoundError("No module named 'papermill'"), "^error: No module named 'papermill'. .* use `make`"),
        (KeyboardInterrupt(), "^Stopped. What was stored before"),
    ],
)
def test_what_ends_a_command_is_said_in_a_line(monkeypatch, event, said):
    def refresh():
        raise event

    monkeypatch.setattr(commands, "refresh", refresh)
    with pytest.raises(SystemExit, match=said):
        commands.main(["refresh"])


def test_another_python_is_told_which_one_to_use():
    alone = subprocess.run([sys.executable, "-S", "-m", "helpers", "run"], cwd=ROOT, capture_output=True, text=True)
    assert alone.stderr.startswith("error: No module named 'numpy'. The packages are in the project's environment: ")
    assert alone.returncode == 1 and alone.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<<<<<<< HEAD\n{}", "not appear to be JSON: .<<<<<<< HEAD"),
        (b"\xff\xfe", "can't decode"),
        (b"[1]", "'list' object"),
        (b'{"nbformat": 9, "metadata": {}, "cells": []}', "Unsupported nbformat version 9"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}', "missing an expected key"),
    ],
    ids=["marks of a merge", "no text", "no table", "of the future", "no cell"],
)
def test_what_is_no_notebook(tmp_path, monkeypatch, content, said):
    (path := tmp_path / "mnist_digits.ipynb").write_bytes(content)
    monkeypatch.setattr(commands, "NOTEBOOK", path)
    remedy = "Resolve it if it has marks of a merge, <<<<<<<; or take the stored one: git checkout mnist_digits.ipynb."
    for command in (commands.run, commands.html, commands.nbval, lambda: commands.refresh(tmp_path)):
        with pytest.raises(InputError, match=rf"^{path}: expected a Jupyter notebook; .*\(.*{said}.*\). {remedy}$"):
            command()


# For what a user's machine brings in, or takes away: commands in a copy of the project with another notebook.
FIRST_SCREEN = 'import os, sys\nfirst = display("what was found", display_id="first-screen")'
SHOWN = "print('this Python:', sys.executable)"


@pytest.fixture
def copy(tmp_path):
    """Copy the project to a folder whose name has braces; returns it, and what does a command there."""
    folder = tmp_path / "{digits}"
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    cells = [nbformat.v4.new_code_cell(cell) for cell in (FIRST_SCREEN, SHOWN)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "mnist_digits.ipynb")

    def call(command, **options):
        line = [sys.executable, "-m", "helpers", command]
        return subprocess.run(line, cwd=folder, text=True, stderr=subprocess.PIPE, **options)

    return folder, call


HOSTILE = {
    "jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "x", "language": "python"}',
    "jupyter/nbconvert/templates/lab/index.html.j2": "{% extends 'base/null.j2' %}",
    "jupyter_nbconvert_config.json": '{"TemplateExporter": {"exclude_input": true}}',
    "ipython/profile_default/startup/mine.py": "print('mine')",
}
NAMELESS = "import pwd\ndef getpwuid(uid): raise KeyError(uid)\npwd.getpwuid = getpwuid\n"


def _write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.mark.parametrize("kind", ["hostile", "nameless"])
@pytest.mark.thorough
def test_the_notebook_is_executed_by_this_python_whatever_the_user_has_or_has_not(copy, tmp_path, kind):
    """One has a kernel, a template and settings of their own; another has neither a home folder nor a name."""
    folder, call = copy
    home = tmp_path / "home"
    _write(home, HOSTILE if kind == "hostile" else {"sitecustomize.py": NAMELESS})
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "IPYTHON"))}
    del environment["HOME"]
    if kind == "nameless":
        environment["PYTHONPATH"] = str(home)
    else:
        environment |= {"HOME": str(home), "JUPYTER_PREFER_ENV_PATH": "no", "IPYTHONDIR": str(home / "ipython")}
        environment |= dict.fromkeys(["JUPYTER_DATA_DIR", "JUPYTER_PATH"], str(home / "jupyter"))
        environment |= dict.fromkeys(["JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH"], str(home))
    for command in ("run", "html"):
        done = call(command, env=environment, stdout=subprocess.PIPE)
        assert not done.returncode, done.stderr
        assert "mine" not in done.stderr and "Warning" not in done.stderr
    executed = nbformat.read(folder / "build" / "mnist_digits.ipynb", as_version=4)
    assert [[each.get("text") for each in cell.outputs] for cell in executed.cells] == [
        [None], [f"this Python: {sys.executable}\n"]
    ]  # fmt: skip
    assert "first-screen" in (folder / "build" / "mnist_digits.html").read_text(encoding="utf-8")


WIDGET = {"model_id": "5f2", "version_major": 2, "version_minor": 0}
OF_COLAB = {"application/vnd.jupyter.widget-state+json": {"5f2": {"model_name": "HTMLModel"}}}


@pytest.mark.thorough
def test_a_notebook_that_colab_or_its_reader_has_changed(copy):
    """Colab leaves the state of widgets in a form of its own; somebody has removed the first screen."""
    folder, call = copy
    book = nbformat.read(path := folder / "mnist_digits.ipynb", as_version=4)
    book.cells[0].source = "import sys"
    shown = {"application/vnd.jupyter.widget-view+json": WIDGET, "text/plain": "a bar at 100 %"}
    book.cells[1].outputs = [nbformat.v4.new_output("display_data", shown)]
    book.metadata |= {"widgets": OF_COLAB, "kernelspec": {"name": "colab", "display_name": "", "language": "python"}}
    nbformat.write(book, path)
    for command, expected in (("html", "a bar at 100 %"), ("run", "this Python: ")):
        assert not (done := call(command)).returncode, done.stderr
        assert expected in (folder / "build" / "mnist_digits.html").read_text(encoding="utf-8")
    assert "widgets" not in nbformat.read(folder / "build" / "mnist_digits.ipynb", as_version=4).metadata


@pytest.mark.thorough
def test_a_kernel_that_does_not_start(copy, tmp_path):
    """As where something that the user has installed ends the process."""
    _, call = copy
    ends = "import os, sys\nif 'ipykernel_launcher' in sys.orig_argv: os._exit(1)\n"
    _write(tmp_path / "home", {"sitecustomize.py": ends})
    done = call("run", env=os.environ | {"PYTHONPATH": str(tmp_path / "home")})
    assert done.stderr.splitlines()[-1].startswith("error: Kernel died before replying to kernel_info: the process")
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_another_error_is_not_blamed_on_the_kernel():
    with pytest.raises(RuntimeError, match="^can't start new thread$"), commands._kernel_of_this_python():
        raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("command", ["run", "refresh"])
@pytest.mark.thorough
def test_a_kernel_that_is_killed(copy, command):
    folder, call = copy
    book = nbformat.read(path := folder / "mnist_digits.ipynb", as_version=4)
    book.cells[1].source = "os.kill(os.getpid(), 9)"
    nbformat.write(book, path)
    before = path.read_bytes()
    done = call(command)
    said = "the process that executes the notebook does not answer, as when memory runs out. Close other programs"
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(f"error: Kernel died: {said}")
    assert "Traceback" not in done.stderr and path.read_bytes() == before


@pytest.mark.thorough
def test_a_kernel_that_is_killed_while_outputs_are_compared(copy):
    """Within seconds, not after the 20 minutes that a cell may take."""
    folder, _ = copy
    cell = nbformat.v4.new_code_cell("import os\nos.kill(os.getpid(), 9)", execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path := folder / "mnist_digits.ipynb")
    (command,) = re.findall(r"pytest (\$\(NOTEBOOK\)[^\\\n]*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    options = command.replace("$(NOTEBOOK)", f"'{path}'").replace("$$mode", "--nbval") + " -p no:cacheprovider"
    line = [sys.executable, "-m", "pytest", *shlex.split(options)]
    done = subprocess.run(line, cwd=ROOT, text=True, capture_output=True, timeout=200)
    assert "the kernel, which executes the notebook, has died, as when memory runs out. Close" in done.stdout
    assert done.returncode == 1


@pytest.mark.thorough
def test_the_notebook_alone_in_a_folder(tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source(CODE[0]))])
    place = {"metadata": {"path": str(tmp_path)}}
    with pytest.raises(CellExecutionError, match="No module named 'helpers'"):
        NotebookClient(book, kernel_name="python3", resources=place).execute()
    (error,) = book.cells[0].outputs
    assert "Open this in a clone of the project: make lab" in "\n".join(error.traceback)


@pytest.mark.thorough
def test_a_reader_of_the_output_that_has_ended(copy):
    """As in `make html | true`."""
    _, call = copy
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as output:
        done = call("html", stdout=output)
    said = "Stopped: what read the output of this command has ended. What was stored is kept.\n"
    assert (done.stderr, done.returncode) == (said, 1)


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
    # These notebooks compute nothing.
    for name in ("start_tensorflow", "require_portable"):
        monkeypatch.setattr(f"helpers.compute.{name}", lambda *_: None)
    _write(tmp_path, {name: content for name, content in HOSTILE.items() if "kernel" in name})
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

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
