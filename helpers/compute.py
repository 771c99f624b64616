"""Start TensorFlow so that it gives the same bits everywhere, and say where that is not so.

If `start_tensorflow` is the first to import TensorFlow, and the user has asked for nothing else, a
training gives the same weights, to the last bit, on every x86-64 Linux machine with AVX2, however
many cores it has. Such arithmetic is called portable. The environment variable `MNIST_COMPUTE` may
ask for another arithmetic:

- ``portable`` is the default;
- ``native`` lets TensorFlow choose instructions and threads, on the CPU;
- ``gpu`` lets it choose as well, and compute on a visible GPU.
"""

import hashlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.errors import InputError

# TensorFlow reads these when it is imported. They make it use the library oneDNN for every operation
# that oneDNN has, and oneDNN use AVX2 but no newer instructions. A user's own value is respected.
PORTABLE = {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# Keras reads its settings from keras.json in this folder instead of the home folder. At its first
# start it writes its defaults there. A user's own value is overwritten.
KERAS = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": str(Path(__file__).parent.parent / "build" / "keras"),
}
# Dozens of variables that begin so change what is computed: how many epochs Keras trains, whether
# XLA compiles, how precisely oneDNN multiplies. All of them are shut out, except those known to be
# harmless, which say what is logged and how the memory of a GPU is used.
PREFIXES = ("TF_", "KERAS_", "XLA_", "ONEDNN_", "DNNL_")
HARMLESS = re.compile(r"TF_CPP_\w+|TF_GPU_\w+|TF_FORCE_GPU_ALLOW_GROWTH")
# With one thread or two, oneDNN adds up in the same order. With more it splits sums differently,
# which changes the last bits. Two are faster than one.
THREADS = 2
DIGITS_MAY_DIFFER = "last digits may differ from those of other machines"


def start_tensorflow(threads: int = 0) -> None:
    """Import TensorFlow without its start-up messages, and make it deterministic.

    Call this before anything else imports TensorFlow. If this call imports it, it first removes
    environment variables that may change what TensorFlow computes (`PREFIXES`) from this process.

    Parameters
    ----------
    threads
        How many threads TensorFlow may use. If this call imports TensorFlow, 0 stands for `THREADS`
        where the arithmetic is to be portable, and for TensorFlow's own choice elsewhere. Otherwise
        0 leaves the number as it is.

    Raises
    ------
    InputError
        If `MNIST_COMPUTE` is none of its values, or Keras already runs on another backend.
    RuntimeError
        If TensorFlow has already computed with another number of threads.
    """
    mode = _mode()
    imports_it = "tensorflow" not in sys.modules
    if imports_it:
        for name in _unknown_variables():
            del os.environ[name]
    os.environ |= KERAS
    if mode == "portable" and imports_it:
        for name, value in PORTABLE.items():
            os.environ.setdefault(name, value)
        threads = threads or THREADS
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import keras
        import tensorflow as tf
    if (backend := keras.backend.backend()) != "tensorflow":
        found = f"Keras was imported with the backend {backend} before the project could prepare it"
        raise InputError(f"{found}. Restart the kernel, and run this first.")
    # If something else imported Keras before, Keras may have read variables that limit each `fit`
    # and each `predict`.
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    # TensorFlow would announce each model that is stored, with its path, and warn that each training
    # is traced.
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_op_determinism()
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    # Only where this call imports TensorFlow: once it has looked for devices, this would raise.
    if mode != "gpu" and imports_it:
        tf.config.set_visible_devices([], "GPU")
    if imports_it and not _is_x86():
        # On arm64, oneDNN reads /sys when it is first used, and complains if that isn't mounted.
        with _silent_stderr():
            tf.linalg.matmul(tf.ones((8, 8)), tf.ones((8, 8)))


def deviations() -> list[str]:
    """List the reasons why bits may differ from those of other machines, one sentence each.

    Call this after `start_tensorflow`. The list is empty where the same bits are promised.
    """
    import tensorflow as tf

    found = []
    mode = _mode()
    # `start_tensorflow` sets these variables if it is the first to import TensorFlow.
    is_prepared = PORTABLE.keys() <= os.environ.keys()
    if mode != "portable":
        found.append(f"MNIST_COMPUTE={mode} was set for this run")
    elif not is_prepared:
        found.append("TensorFlow was imported before the project could prepare it")
    for name, value in PORTABLE.items():
        set_to = os.environ.get(name, value)
        if set_to != value:
            found.append(f"{name} is {set_to} instead of {value} in this run")
    if mode == "portable" and is_prepared:
        threads = tf.config.threading.get_intra_op_parallelism_threads()
        if not 1 <= threads <= THREADS:
            found.append(f"TensorFlow has {threads or 'its own choice of'} threads, not {THREADS}")
    if mode == "portable" and tf.config.get_visible_devices("GPU"):
        found.append("A GPU takes part in this run")
    # `start_tensorflow` has removed these, unless something else imported TensorFlow before.
    found += [f"{name} is set in this run" for name in _unknown_variables()]
    if not _is_portable_machine():
        found.append("This is not Linux on an x86-64 processor with AVX2")
    return [f"{each}: {DIGITS_MAY_DIFFER}." for each in found]


def notices() -> list[str]:
    """Say what a reader must know first about this process, once TensorFlow is started.

    That is each of `deviations`, and whether a GPU is left idle.
    """
    import tensorflow as tf

    found = deviations()
    is_there = tf.config.list_physical_devices("GPU")
    if is_there and not tf.config.get_visible_devices("GPU"):
        idle = "There is a GPU, which this run left idle"
        found.append(f"{idle}. MNIST_COMPUTE=gpu lets it be used; then {DIGITS_MAY_DIFFER}.")
    return found


def require_portable(what: str) -> None:
    """Raise an InputError if bits may differ from those of other machines.

    Call this after `start_tensorflow`.

    Parameters
    ----------
    what
        The subject of the error's sentence, such as "What stands in models/".
    """
    if found := deviations():
        advice = "Unset what is named here, or do it on an x86-64 Linux machine with AVX2."
        raise InputError(f"{what} must be computed portably. {' '.join(found)} {advice}")


def arithmetic_unless_portable() -> dict[str, dict[str, str]]:
    """Return the part of a training's identity that says how TensorFlow computes.

    Returns
    -------
    An empty dict if the arithmetic is portable, because bits are the same everywhere then.
    Otherwise `arithmetic`, under that name, because a training elsewhere may give other bits.
    """
    return {"arithmetic": arithmetic()} if deviations() else {}


def arithmetic() -> dict[str, str]:
    """Return what decides, besides versions, the last bits that TensorFlow computes here."""
    import numpy as np
    import tensorflow as tf

    # If nothing is set, TensorFlow decides by itself whether to use oneDNN.
    option = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "auto")
    # Only on x86-64 does this limit have a meaning.
    instructions = os.environ.get("ONEDNN_MAX_CPU_ISA", "all") if _is_x86() else "all"
    if option != "1":
        instructions = f"TF_ENABLE_ONEDNN_OPTS={option}, {instructions}"
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    # Digests instead of values, because those of other programs, such as Terraform, may be secrets.
    unknown = {name: _digest(os.environ[name]) for name in _unknown_variables()}
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "AVX2": "yes" if _is_portable_machine() else "no" if _cpuinfo() else "unknown",
        "oneDNN": instructions,
        "NumPy SIMD": (simd.get("found") or simd["baseline"])[-1],
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "device": "GPU" if tf.config.get_visible_devices("GPU") else "CPU",
        **unknown,
    }


def processor() -> str:
    """Return the processor's maker, family and model, not its name, which may be invented."""
    found = _cpuinfo()
    if {"vendor_id", "cpu family", "model"} <= found.keys():
        return f"{found['vendor_id']} family {found['cpu family']} model {found['model']}"
    return platform.processor() or platform.machine()


def _mode() -> str:
    """Return what `MNIST_COMPUTE` asks for, or raise an InputError."""
    mode = os.environ.get("MNIST_COMPUTE") or "portable"
    if mode not in ("portable", "native", "gpu"):
        expected = "expected portable, native or gpu"
        raise InputError(f"MNIST_COMPUTE is {mode!r}; {expected}. Set it to one, or unset it.")
    return mode


def _unknown_variables() -> list[str]:
    """Return the names of variables that may change what is computed and aren't the project's."""
    ours = PORTABLE.keys() | KERAS.keys()
    return sorted(
        name
        for name in os.environ.keys() - ours
        if name.startswith(PREFIXES) and not HARMLESS.fullmatch(name)
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _is_x86() -> bool:
    return platform.machine() in ("x86_64", "AMD64")


def _is_portable_machine() -> bool:
    """Whether this is Linux on an x86-64 processor with AVX2."""
    return platform.machine() == "x86_64" and "avx2" in _cpuinfo().get("flags", "").split()


def _cpuinfo() -> dict[str, str]:
    """Return what Linux tells of the first processor, by name; nothing on other systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().partition("\n\n")[0].splitlines() if path.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; show it only if the block raises."""
    # TensorFlow 2.21 writes two lines there before it looks at TF_CPP_MIN_LOG_LEVEL, and a Jupyter
    # kernel would store them, with their clock times, in the notebook.
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured, os.fdopen(os.dup(2), "wb") as original:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:  # an interrupt is no reason to show it
            captured.seek(0)
            original.write(captured.read())
            raise
        finally:
            os.dup2(original.fileno(), 2)
