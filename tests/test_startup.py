import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers import startup
from helpers.checks import InputError

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


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_errors_reach_a_notebook_in_a_sentence():
    """Those that the project foresees, and its own interruptions; others keep their traceback. Each is an error to who runs the cells."""
    cells = {
        "from helpers.startup import start_notebook\nstart_notebook()": None,
        "from helpers import models, training\ntraining.Settings(epochs=0)": "InputError: epochs: expected a whole number from 1 to 429",
        "models.Candidate('flat', models.conv_layers, (784,)).build()": "InputError: flat: Keras cannot make a network of these layers",
        "raise training.TrainingInterrupted('It was stopped.')": "TrainingInterrupted: It was stopped.",
        "1 / 0": None,
        "raise KeyboardInterrupt": None,
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
    for (error,), expected in zip(errors[1:-2], list(cells.values())[1:-2], strict=True):
        (line,) = error.traceback
        assert line.startswith(expected) and line == ": ".join(filter(None, (error.ename, error.evalue))) and len(line) < 400
    for (unforeseen,) in errors[-2:]:
        assert len("".join(unforeseen.traceback).splitlines()) >= 3


@pytest.mark.thorough
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("environment", "settings"),
    [({"KERAS_BACKEND": "jax"}, {}), ({}, {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"})],
    ids=["a variable", "a file in the home folder"],
)
def test_what_the_user_has_set_for_keras_stays_out(tmp_path, environment, settings):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    program = (
        "from helpers.startup import start_tensorflow; start_tensorflow(); import keras\n"
        "print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format())"
    )
    environment = os.environ | {"HOME": str(tmp_path)} | environment
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "tensorflow float32 channels_last\n"


# --- portable arithmetic

STARTED = """
import json, os, sys
%s
from helpers import startup
from helpers.checks import InputError
startup.start_tensorflow()
print(json.dumps([{name: os.environ.get(name) for name in startup.PORTABLE}, startup.arithmetic(), startup.notices()]))
"""


def started(before="", **environment):
    """Variables, arithmetic and notices of a new process that starts TensorFlow."""
    clean = {name: value for name, value in os.environ.items() if name not in {*startup.PORTABLE, "MNIST_COMPUTE"}}
    done = subprocess.run(
        [sys.executable, "-c", STARTED % before], cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


on_avx2 = pytest.mark.skipif(not startup._has_avx2(), reason="needs an x86-64 processor with AVX2, under Linux")


@on_avx2
@pytest.mark.tensorflow
def test_arithmetic_is_portable_unless_told_otherwise():
    variables, arithmetic, notices = started()
    assert variables == startup.PORTABLE and notices == []
    assert startup.is_portable(arithmetic) and (arithmetic["threads"], arithmetic["device"]) == ("2", "CPU")


@pytest.mark.thorough
@on_avx2
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [
        ("", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, "ONEDNN_MAX_CPU_ISA is SSE41 instead of AVX2 in this run: last digits may differ"),
        ("", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "TF_ENABLE_ONEDNN_OPTS is 0 instead of 1 in this run: last digits may differ"),
        ("", {"MNIST_COMPUTE": "native"}, "MNIST_COMPUTE=native was set for this run: last digits may differ"),
        ("import tensorflow", {}, "TensorFlow was imported before the project could prepare it: last digits may differ"),
        ("from helpers import startup; startup._has_avx2 = lambda: False", {}, "This machine is no x86-64 processor with AVX2"),
    ],
    ids=["instructions", "oneDNN", "native", "imported before", "no AVX2"],
)
def test_what_keeps_the_bits_from_being_the_same_is_respected_and_said_in_a_line(before, environment, said):
    variables, arithmetic, notices = started(before, **environment)
    assert len(notices) == 1 and notices[0].startswith(said)
    assert environment.items() <= (variables | {"MNIST_COMPUTE": environment.get("MNIST_COMPUTE")}).items()
    assert not startup.is_portable(arithmetic)


@pytest.mark.thorough
@pytest.mark.tensorflow
@pytest.mark.parametrize(("compute", "said", "hidden"), [("portable", "left idle", True), ("gpu", "MNIST_COMPUTE=gpu", False)])
def test_a_visible_gpu_is_left_idle_unless_asked_for(compute, said, hidden):
    """No machine of the tests' has one: TensorFlow is told that there is one, and what it is told to leave idle is looked at."""
    before = (
        "import tensorflow as tf\nfrom helpers import startup\nos.environ.update(startup.PORTABLE)\n"
        "del sys.modules['tensorflow']\nsys.modules['tensorflow'] = tf\n"
        "tf.config.list_physical_devices = lambda kind=None: ['a GPU']\n"
    )
    _, _, notices = started(before, MNIST_COMPUTE=compute)
    assert any(said in notice for notice in notices)
    assert hidden == ("MNIST_COMPUTE=gpu lets it be used" in notices[0])


def test_another_way_to_compute_is_an_error(monkeypatch):
    monkeypatch.setenv("MNIST_COMPUTE", "fast")
    with pytest.raises(InputError, match="^MNIST_COMPUTE is 'fast'; expected portable, native or gpu. Set it to one of these, or unset it"):
        startup.start_tensorflow()


MADE_WITH = {"TensorFlow": "2", "Keras": "3", "Python": "3.11", "processor": "one", "NumPy SIMD": "X86_V3"} | {
    "system": "Linux x86_64", "AVX2": "yes", "oneDNN": "AVX2", "threads": "2", "device": "CPU",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "promised"),
    [
        ({}, True), ({"processor": "another"}, True), ({"NumPy SIMD": "X86_V4", "Python": "3.13", "threads": "1"}, True),
        ({"threads": "4"}, False), ({"TensorFlow": "3"}, False), ({"Keras": "4"}, False), ({"device": "GPU"}, False),
        ({"oneDNN": "all"}, False), ({"AVX2": "no"}, False), ({"system": "Linux aarch64"}, False),
    ],
)  # fmt: skip
def test_bits_are_promised_where_the_arithmetic_is_portable(change, promised):
    assert startup.same_bits(MADE_WITH, MADE_WITH | change) == promised


def test_bits_are_promised_where_all_is_the_same():
    native = MADE_WITH | {"oneDNN": "all"}
    assert startup.same_bits(native, dict(native)) and not startup.same_bits(native, native | {"processor": "another"})


def test_processor_is_named_by_family_and_model():
    """A virtual machine may give any name."""
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("only Linux tells them")
    assert re.fullmatch(r"\w+ family \d+ model \d+", startup.processor())


def test_startup_imports_no_large_library():
    program = "import sys, helpers.startup; print(len(sys.modules), [name for name in %r if name in sys.modules])"
    large = ("pandas", "scipy", "sklearn", "matplotlib", "mlxtend", "tensorflow")
    done = subprocess.run([sys.executable, "-c", program % (large,)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" []\n"), done.stdout
