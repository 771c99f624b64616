import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers import startup

ROOT = Path(__file__).parent.parent


@pytest.mark.tensorflow
def test_tensorflow_starts_silently_deterministic_and_with_these_threads():
    """In a process of its own, since TensorFlow speaks when it is first imported, and keeps its threads."""
    program = (
        "import sys; sys.ps1 = '>>> '  # as in a notebook, where TensorFlow says more\n"
        "from helpers.startup import start_tensorflow; start_tensorflow(threads=1); start_tensorflow(threads=1)\n"
        "from tensorflow.python.framework.config import is_op_determinism_enabled\n"
        "import tempfile, tensorflow as tf; tf.saved_model.save(tf.Module(), tempfile.mkdtemp())\n"
        "print(is_op_determinism_enabled(), tf.config.threading.get_intra_op_parallelism_threads())\n"
        "start_tensorflow(); start_tensorflow(threads=1)\n"
        "try: start_tensorflow(threads=2)\n"
        "except RuntimeError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True 1\nrefused\n", "")


def test_what_is_held_back_is_shown_if_something_fails(capfd):
    with startup._silent_stderr():
        os.write(2, b"chatter")
    with pytest.raises(ImportError), startup._silent_stderr():
        os.write(2, b"the reason")
        raise ImportError
    assert capfd.readouterr().err == "the reason"


@pytest.mark.tensorflow
def test_only_the_modules_about_networks_import_tensorflow():
    modules = {path.stem for path in (ROOT / "helpers").glob("[a-z]*.py")} - {"models", "training"}
    program = (
        f"import sys, {', '.join(f'helpers.{module}' for module in sorted(modules))}\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.tensorflow
def test_errors_reach_a_notebook_in_a_sentence():
    """Those that the project foresees, and an interruption; any other keeps its traceback. Each is an error to who runs the cells."""
    cells = {
        "from helpers.startup import start_notebook\nstart_notebook()": None,
        "from helpers import models, training\ntraining.Settings(epochs=0)": "InputError: epochs: expected a whole number from 1 to 429",
        "models.Candidate('flat', models.conv_layers, (784,)).build()": "InputError: flat: Keras cannot make a network of these layers",
        "raise KeyboardInterrupt": "KeyboardInterrupt",
        "1 / 0": "ZeroDivisionError",
    }
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
    client = NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    with client.setup_kernel():
        client.execute_cell(book.cells[0], 0)
        for place, cell in list(enumerate(book.cells))[1:]:
            with pytest.raises(CellExecutionError):
                client.execute_cell(cell, place)
    errors = [[output for output in cell.outputs if output.output_type == "error"] for cell in book.cells]
    assert errors[0] == [] and all(len(found) == 1 for found in errors[1:])
    for (error,), expected in zip(errors[1:-1], list(cells.values())[1:-1], strict=True):
        (line,) = error.traceback
        assert line.startswith(expected) and line == ": ".join(filter(None, (error.ename, error.evalue))) and len(line) < 400
    ((unforeseen,),) = errors[-1:]
    assert len("".join(unforeseen.traceback).splitlines()) >= 3


def test_processor_is_named():
    assert startup.processor()
