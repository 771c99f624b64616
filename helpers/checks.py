"""What may come in: images, labels and files as the helpers expect them, or one clear error.

The functions take arrays as keyword arguments, under the names by which the caller's user
knows them, and raise an InputError that gives the name, what was expected and what was found.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np


class ReadableError(Exception):
    """An error whose message is all that its reader needs; a notebook shows nothing else of it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of the error."""
        return [f"{type(self).__name__}: {self}"]


class InputError(ReadableError, ValueError):
    """What a caller gave is not what is expected; the message names it, what was expected and what was found."""


def check_images(**arrays: Any) -> None:
    """See that each holds images: uint8, shape (n, 28, 28), at least one."""
    for name, images in arrays.items():
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images):
            raise InputError(f"{name}: expected images as uint8 of shape (n, 28, 28), n at least 1; found {describe(images)}.")


def check_labels(**arrays: Any) -> None:
    """See that each holds labels: whole numbers from 0 to 9, shape (n,), at least one."""
    for name, labels in arrays.items():
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels):
            raise InputError(f"{name}: expected whole numbers from 0 to 9 of shape (n,), n at least 1; found {describe(labels)}.")
        if len(wrong := labels[(labels < 0) | (labels > 9)]):
            place = np.flatnonzero(labels == wrong[0])[0]
            raise InputError(f"{name}: expected whole numbers from 0 to 9; found {wrong[0]}, at index {place}.")


def check_every_digit(**arrays: np.ndarray) -> None:
    """See that each holds labels, and every digit at least once."""
    check_labels(**arrays)
    for name, labels in arrays.items():
        if missing := sorted(set(range(10)) - set(labels.tolist())):
            raise InputError(f"{name}: expected each digit from 0 to 9 at least once; found no {', no '.join(map(str, missing))}.")


def check_counts(**arrays: Any) -> None:
    """See that all have the same length, along the first axis."""
    counts = {name: array.shape[0] if hasattr(array, "shape") else len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        found = " and ".join(f"{count:,}" for count in counts.values())
        raise InputError(f"Expected {' and '.join(counts)} in equal numbers; found {found}.")


def check_probabilities(**arrays: Any) -> None:
    """See that each holds probabilities of ten classes: floats from 0 to 1, shape (n, 10), at least one row."""
    for name, rows in arrays.items():
        if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or rows.shape[1:] != (10,) or not len(rows):
            raise InputError(f"{name}: expected floats of shape (n, 10), n at least 1; found {describe(rows)}.")
        if not ((rows >= 0) & (rows <= 1.001)).all():  # a softmax in float32 may exceed 1 by a little
            raise InputError(f"{name}: expected probabilities from 0 to 1; found values from {rows.min()} to {rows.max()}.")


def check_flags(**arrays: Any) -> None:
    """See that each says yes or no of each image, bool, shape (n,), and all of as many images, at least one."""
    for name, flags in arrays.items():
        if not isinstance(flags, np.ndarray) or flags.dtype != bool or flags.ndim != 1 or not len(flags):
            raise InputError(f"{name}: expected bool of shape (n,), n at least 1; found {describe(flags)}.")
    check_counts(**arrays)


def read_at_most(path: Path, limit: int) -> bytes:
    """The content of a file.

    Raises
    ------
    FileNotFoundError
        If there is none; a pipe, which would be waited for, or a device counts for none.
    ValueError
        If it holds more than `limit` bytes; no more are read.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return content


def reason(error: BaseException) -> str:
    """The first sentence or two of an error's message that say what is wrong, or else its kind; with a full stop.

    Keras and TensorFlow begin with where it went wrong, and add what was called with what: that is left out.
    """
    said: list[str] = []
    for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines():
        if said and not line.strip():
            break
        if line.strip() and not line.startswith(_NO_REASON) and (said or not line.startswith(" ")):
            said.append(line.strip())
    text = " ".join(said) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


_NO_REASON = ("\t", "<stack", "Graph execution error", "Detected at node", "Exception encountered when calling", "Arguments received")


def describe(value: Any) -> str:
    """What was found, for an error: an array's dtype and shape, or what else it is."""
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
