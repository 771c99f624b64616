import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import compute
from helpers.errors import InputError
from tests.same_bits import is_portable

ROOT = Path(__file__).parent.parent


def python(program, **environment):
    """What a new process prints, and then what it says on stderr."""
    command, ours = [sys.executable, "-c", program], (*compute.PREFIXES, "MNIST_COMPUTE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment = clean | environment
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.tensorflow
def test_tensorflow_starts_silently_deterministic_and_with_these_threads():
    """In a process of its own, since TensorFlow speaks when it is first imported, and keeps its threads."""
    said = python(
        "import sys; sys.ps1 = '>>> '  # as in a notebook, where TensorFlow says more\n"
        "from helpers.compute import start_tensorflow; start_tensorflow(threads=1); start_tensorflow(threads=1)\n"
        "from tensorflow.python.framework.config import is_op_determinism_enabled\n"
        "import tempfile, tensorflow as tf; tf.saved_model.save(tf.Module(), tempfile.mkdtemp())\n"
        "print(is_op_determinism_enabled(), tf.config.threading.get_intra_op_parallelism_threads())\n"
        "start_tensorflow(); start_tensorflow(threads=1)\n"
        "try: start_tensorflow(threads=2)\n"
        "except RuntimeError: print('refused')"
    )
    assert said == "True 1\nrefused\n"


def test_what_is_held_back_is_shown_if_something_fails(capfd):
    with compute._silent_stderr():
        os.write(2, b"chatter")
    with pytest.raises(ImportError), compute._silent_stderr():
        os.write(2, b"the reason")
        raise ImportError
    assert capfd.readouterr().err == "the reason"


@pytest.mark.tensorflow
def test_only_the_modules_about_networks_import_tensorflow():
    """And `compute` imports no large library."""
    others = {path.stem for path in (ROOT / "helpers").glob("[a-z]*.py")} - {"models", "training", "loading", "compute"}
    said = python(
        "import sys, helpers.compute\n"
        "print(*{'pandas', 'scipy', 'sklearn', 'matplotlib', 'mlxtend'} & set(sys.modules))\n"
        f"import {', '.join(f'helpers.{module}' for module in sorted(others))}\n"
        "print(*{'tensorflow', 'keras'} & set(sys.modules))"
    )
    assert said == "\n\n"


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_errors_reach_a_notebook_in_a_sentence():
    """Those that the project foresees; others keep their traceback."""
    start = "from helpers.compute import start_tensorflow\nstart_tensorflow()\nfrom helpers import models, training"
    foreseen = {
        "training.Settings(epochs=0)": "InputError: epochs: expected a whole number from 1 to 429",
        "models.Candidate('flat', models.conv_layers, (784,)).build()": "InputError: flat: Keras cannot make a network",
        "raise training.TrainingError('It was stopped.')": "TrainingError: It was stopped.",
    }
    codes = [start, *foreseen, "1 / 0", "raise KeyboardInterrupt"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    options = {"kernel_name": "python3", "resources": {"metadata": {"path": str(ROOT)}}, "allow_errors": True}
    NotebookClient(book, **options).execute()
    first, *errors = ([output for output in cell.outputs if output.output_type == "error"] for cell in book.cells)
    assert first == []
    for (error,), expected in zip(errors[: len(foreseen)], foreseen.values(), strict=True):
        (line,) = error.traceback
        assert line.startswith(expected) and line == f"{error.ename}: {error.evalue}" and len(line) < 400
    assert all(len("".join(error.traceback).splitlines()) >= 3 for (error,) in errors[len(foreseen) :])


def started(before="", after="", **environment):
    """Variables, arithmetic and notices of a new process that starts TensorFlow."""
    said = python(
        f"import json, os, sys\n{before}\nfrom helpers import compute\ncompute.start_tensorflow()\n"
        "shown = compute.arithmetic(), compute.notices()\n"
        f"{after}\n"
        "variables = {name: os.environ.get(name) for name in (*compute.PORTABLE, 'MNIST_COMPUTE')}\n"
        "print(json.dumps([variables, *shown]))",
        **environment,
    )
    return json.loads(said.splitlines()[0])


WHY = "needs Linux on an x86-64 processor with AVX2"
on_avx2 = pytest.mark.skipif(not compute._is_portable_machine(), reason=WHY)


@on_avx2
@pytest.mark.tensorflow
def test_arithmetic_is_portable_unless_told_otherwise():
    variables, arithmetic, notices = started()
    assert variables == compute.PORTABLE | {"MNIST_COMPUTE": None} and notices == []
    assert is_portable(arithmetic) and (arithmetic["threads"], arithmetic["device"]) == ("2", "CPU")
    assert re.fullmatch(r"\w+ family \d+ model \d+", arithmetic["processor"])  # a virtual machine may give any name


# Of each kind one that changes what is computed, and one that no version knows yet.
HOSTILE = {
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1",
    "TF_OF_TOMORROW": "1",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "5",
    "KERAS_OF_TOMORROW": "1",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    "XLA_OF_TOMORROW": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_OF_TOMORROW": "1",
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_OF_TOMORROW": "1",
}


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_variables_that_may_change_what_is_computed_are_shut_out():
    """By their kind. `tests/tensorflow/test_portable.py` trains with them."""
    _, plain, notices = started()
    before = "os.environ['TF_CPP_MAX_VLOG_LEVEL'] = '0'  # known to be harmless"
    left = f"assert not {{*{[*HOSTILE]}}} & os.environ.keys() and 'TF_CPP_MAX_VLOG_LEVEL' in os.environ"
    limits = "import keras; assert keras.config.max_epochs() is keras.config.max_steps_per_epoch() is None"
    assert started(before, f"{left}; {limits}", **HOSTILE)[1:] == [plain, notices]


@pytest.mark.thorough
@on_avx2
@pytest.mark.tensorflow
def test_what_came_before_the_project_is_undone_or_said():
    """Limits to each training are lifted; a flag that TensorFlow may have read is named, and part of the arithmetic."""
    hostile = {name: HOSTILE[name] for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "TF_XLA_FLAGS")}
    limits = "import keras; assert keras.config.max_epochs() is keras.config.max_steps_per_epoch() is None"
    _, arithmetic, notices = started("import keras", limits, **hostile)
    assert hostile.keys() <= arithmetic.keys() and "jit" not in str(arithmetic)
    assert [notice.partition(":")[0] for notice in notices] == [
        "TensorFlow was imported before the project could prepare it",
        *(f"{name} is set in this run" for name in hostile),
    ]


@pytest.mark.thorough
@on_avx2
@pytest.mark.tensorflow
def test_instructions_of_ones_own_count_where_tensorflow_chooses_too():
    """In the notices, and in what is loaded again."""
    (_, free, _), (_, limited, notices) = (
        started(MNIST_COMPUTE="native", **limit) for limit in ({}, {"ONEDNN_MAX_CPU_ISA": "SSE41"})
    )
    assert len(notices) == 2 and notices[1].startswith("ONEDNN_MAX_CPU_ISA is SSE41 instead of AVX2")
    assert free["oneDNN"] != limited["oneDNN"]


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_arithmetic_names_no_instructions_that_a_processor_has_not():
    """Told that it is an arm64 processor, for which oneDNN knows no such limit."""
    _, arithmetic, notices = started("import platform; platform.machine = lambda: 'aarch64'")
    assert arithmetic["oneDNN"] == "all" and arithmetic["AVX2"] == "no" and len(notices) == 1


NO_AVX2 = "from helpers import compute; compute._is_portable_machine = lambda: False"


@pytest.mark.thorough
@on_avx2
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [
        ("", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, "ONEDNN_MAX_CPU_ISA is SSE41 instead of AVX2 in this run: last digits"),
        ("", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "TF_ENABLE_ONEDNN_OPTS is 0 instead of 1 in this run: last digits"),
        ("", {"MNIST_COMPUTE": "native"}, "MNIST_COMPUTE=native was set for this run: last digits may differ"),
        ("import tensorflow", {}, "TensorFlow was imported before the project could prepare it: last digits"),
        (NO_AVX2, {}, "This is not Linux on an x86-64 processor with AVX2: last digits may differ"),
    ],
    ids=["instructions", "oneDNN", "native", "imported before", "no AVX2"],
)
def test_what_keeps_the_bits_from_being_the_same_is_respected_and_said_in_a_line(before, environment, said):
    variables, arithmetic, (notice,) = started(before, **environment)
    assert notice.startswith(said) and environment.items() <= variables.items()
    assert not is_portable(arithmetic)


@pytest.mark.thorough
@pytest.mark.tensorflow
@pytest.mark.parametrize(("compute", "said"), [("portable", "left idle"), ("gpu", "MNIST_COMPUTE=gpu was set")])
def test_a_visible_gpu_is_left_idle_unless_asked_for(compute, said):
    """No machine of the tests' has one: TensorFlow is told that there is one, and what it is told is recorded."""
    before = (
        "import tensorflow as tf\ntf.config.list_physical_devices = lambda kind=None: ['a GPU']\n"
        "tf.config.set_visible_devices = lambda *told: os.environ.update(ONEDNN_MAX_CPU_ISA=str(told))\n"
        "del sys.modules['tensorflow']  # to be imported again\n"
    )
    variables, _, notices = started(before, MNIST_COMPUTE=compute)
    assert said in " ".join(notices)
    assert (variables["ONEDNN_MAX_CPU_ISA"] == "([], 'GPU')") == (compute == "portable")


def test_another_way_to_compute_is_an_error(monkeypatch):
    monkeypatch.setenv("MNIST_COMPUTE", "fast")
    with pytest.raises(InputError, match="^MNIST_COMPUTE is 'fast'; expected portable, native or gpu. Set it"):
        compute.start_tensorflow()
