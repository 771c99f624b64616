"""The process and the machine: start TensorFlow, name the processor."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.checks import ReadableError
from helpers.report import number


def start_tensorflow(threads: int = 0) -> None:
    """Import TensorFlow without its start-up messages, and make it deterministic.

    Called before anything else imports TensorFlow. From then on the same seed gives the
    same weights, to the last bit, on the same hardware and software.

    Parameters
    ----------
    threads
        How many TensorFlow may compute with; 0 leaves that to TensorFlow. The last digits
        of a convolutional network depend on it.

    Raises
    ------
    RuntimeError
        If TensorFlow already computes with another number of threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_stderr():
        import tensorflow as tf
    # It announces each model that is stored, with its path, and warns that each training is traced anew.
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_op_determinism()
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def start_notebook() -> None:
    """Set the process of a notebook up: start TensorFlow, and choose how tables and errors are shown.

    An error that says all in its message shows just that. One of another kind, which nobody
    foresaw, keeps its traceback.
    """
    start_tensorflow()
    import pandas as pd
    from IPython import get_ipython

    pd.set_option("display.float_format", number, "display.max_colwidth", None, "display.width", 200)

    if shell := get_ipython():  # there is none where a test runs the cell by itself
        shell.set_custom_exc((ReadableError, KeyboardInterrupt), _show_message_alone)


def _show_message_alone(shell: Any, kind: type[BaseException], error: BaseException, traceback: Any, tb_offset: Any = None) -> list[str]:
    """Show an error as a line; for `set_custom_exc` of IPython, which leaves the showing to the function."""
    lines = [f"{kind.__name__}: {error}" if str(error) else kind.__name__]
    shell._showtraceback(kind, error, lines)
    return lines


def processor() -> str:
    """The processor's model, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; show it only if the block raises.

    TensorFlow 2.21 writes two lines there before it looks at TF_CPP_MIN_LOG_LEVEL,
    and a Jupyter kernel would store them, with their clock times, in the notebook.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
