"""The process and the machine: start TensorFlow, name the processor."""

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    tf.get_logger().setLevel("WARNING")  # else each model that is stored is announced with its path
    tf.config.experimental.enable_op_determinism()
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


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
