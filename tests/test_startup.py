import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import startup

ROOT = Path(__file__).parent.parent


@pytest.mark.tensorflow
def test_tensorflow_starts_silently_and_deterministic():
    """In a process of its own, since TensorFlow speaks only when it is first imported."""
    program = (
        "import sys; sys.ps1 = '>>> '  # as in a notebook, where TensorFlow says more\n"
        "from helpers.startup import start_tensorflow; start_tensorflow()\n"
        "from tensorflow.python.framework.config import is_op_determinism_enabled\n"
        "print(is_op_determinism_enabled())\n"
        "import tempfile, tensorflow as tf; tf.saved_model.save(tf.Module(), tempfile.mkdtemp())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.tensorflow
def test_threads_are_set_before_tensorflow_computes_and_not_changed_after():
    program = (
        "from helpers.startup import start_tensorflow; start_tensorflow(threads=1); start_tensorflow(threads=1)\n"
        "import tensorflow as tf; tf.zeros(1); print(tf.config.threading.get_intra_op_parallelism_threads())\n"
        "start_tensorflow(threads=1); start_tensorflow(threads=2)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "1\n" and "RuntimeError: Intra op parallelism cannot be modified" in done.stderr


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
    program = f"import sys, {', '.join(f'helpers.{module}' for module in sorted(modules))}\n" + (
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_processor_is_named():
    assert startup.processor()
