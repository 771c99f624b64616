"""The process and the machine: start TensorFlow so that it computes alike everywhere, and tell what it computes with.

The environment variable `MNIST_COMPUTE` has a say: ``portable``, the default, gives the same weights to the last
bit on every x86-64 Linux machine with AVX2, however many cores it has; ``native`` lets TensorFlow choose
instructions and threads, on the CPU; ``gpu`` lets it compute on a visible GPU as well.
"""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.checks import InputError

# TensorFlow reads these at its import: oneDNN's kernels everywhere, not only where they gain most, and in
# them no instruction that only some processors have.
PORTABLE = {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# Keras reads its settings from a file in the home folder; where this points it finds, and leaves, only its defaults.
KERAS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": str(Path(__file__).parent.parent / "build" / "keras")}
# With one thread or two, oneDNN adds up in the same order; for more it cuts sums into other parts.
THREADS = 2
DIFFER = "last digits may differ from those of other machines"


def start_tensorflow(threads: int = 0) -> None:
    """Import TensorFlow without its start-up messages, before anything else does, and make it deterministic.

    It has so many threads; 0 for THREADS if portable, else for its own choice. An InputError if MNIST_COMPUTE is none
    of its values, or Keras has another backend; a RuntimeError if TensorFlow has another number of threads already.
    """
    way, is_first = _way(), "tensorflow" not in sys.modules
    os.environ |= KERAS
    if way == "portable" and is_first:
        for name, value in PORTABLE.items():
            os.environ.setdefault(name, value)  # what the user has set stays, and `notices` says so
        threads = threads or THREADS
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras
        import tensorflow as tf
    if (backend := keras.backend.backend()) != "tensorflow":
        found = f"Keras was imported with the backend {backend} before the project could prepare it"
        raise InputError(f"{found}. Restart the kernel, and run this first.")
    # It announces each model that is stored, with its path, and warns that each training is traced again.
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_op_determinism()
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if way != "gpu" and is_first:
        tf.config.set_visible_devices([], "GPU")


def notices() -> list[str]:
    """What keeps this process, once TensorFlow is started, from the results of others, or leaves a GPU idle."""
    import tensorflow as tf

    found = []
    if (way := _way()) != "portable":
        found.append(f"MNIST_COMPUTE={way} was set for this run: {DIFFER}.")
    else:
        if tf.config.list_physical_devices("GPU"):
            found.append(f"There is a GPU, which this run left idle; MNIST_COMPUTE=gpu lets it be used: {DIFFER}.")
        for name, value in PORTABLE.items():
            if (set_to := os.environ.get(name, value)) != value:
                found.append(f"{name} is {set_to} instead of {value} in this run: {DIFFER}.")
        if not PORTABLE.keys() <= os.environ.keys():
            found.append(f"TensorFlow was imported before the project could prepare it: {DIFFER}.")
    if not _has_avx2():
        found.append(f"This machine is no x86-64 processor with AVX2 under Linux: {DIFFER}.")
    return found


def arithmetic() -> dict[str, str]:
    """What decides the last bits of a computation with TensorFlow in this process, besides versions."""
    import numpy as np
    import tensorflow as tf

    option = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "auto")  # TensorFlow decides by itself where nothing is set
    instructions = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "AVX2": "yes" if _has_avx2() else "no",
        "oneDNN": instructions if option == "1" else f"TF_ENABLE_ONEDNN_OPTS={option}",
        "NumPy SIMD": (simd.get("found") or simd["baseline"])[-1],
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "device": "GPU" if tf.config.get_visible_devices("GPU") else "CPU",
    }


def processor() -> str:
    """The processor by maker, family and model, as far as the system tells: virtual machines give it any name."""
    found = _cpuinfo()
    if {"vendor_id", "cpu family", "model"} <= found.keys():
        return f"{found['vendor_id']} family {found['cpu family']} model {found['model']}"
    return platform.processor() or platform.machine()


def _way() -> str:
    way = os.environ.get("MNIST_COMPUTE") or "portable"
    if way not in ("portable", "native", "gpu"):
        raise InputError(f"MNIST_COMPUTE is {way!r}; expected portable, native or gpu. Set it to one, or unset it.")
    return way


def _has_avx2() -> bool:
    return platform.machine() == "x86_64" and "avx2" in _cpuinfo().get("flags", "").split()


def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first processor; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().partition("\n\n")[0].splitlines() if path.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; show it only if the block raises."""
    # TensorFlow 2.21 writes two lines there before it looks at TF_CPP_MIN_LOG_LEVEL, and a Jupyter
    # kernel would store them, with their clock times, in the notebook.
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as kept:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:  # not where somebody has interrupted it
            held.seek(0)
            kept.write(held.read())
            raise
        finally:
            os.dup2(kept.fileno(), 2)
