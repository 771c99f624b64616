"""What may come in: images, labels and files as the helpers expect them, or one error that says what was found."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np


class ReadableError(Exception):
    """An error whose message is all that its reader needs; a notebook shows nothing else of it."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"{type(self).__name__}: {self}"]


class InputError(ReadableError, ValueError):
    """An input is not what is expected; the message names it, what was expected and what was found."""


def check_images(**arrays: Any) -> None:
    """See that each array, given under the name that its user knows, is uint8 of shape (n, 28, 28), n at least 1."""
    expected = "images as uint8 of shape (n, 28, 28), n at least 1"
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != "uint8" or array.shape[1:] != (28, 28) or not len(array):
            raise InputError(f"{name}: expected {expected}; found {describe(array)}.")


def check_labels(**arrays: Any) -> None:
    """See that each holds whole numbers from 0 to 9, shape (n,), n at least 1."""
    expected = "whole numbers from 0 to 9"
    for name, labels in arrays.items():
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels):
            raise InputError(f"{name}: expected {expected} of shape (n,), n at least 1; found {describe(labels)}.")
        if len(wrong := np.flatnonzero((labels < 0) | (labels > 9))):
            raise InputError(f"{name}: expected {expected}; found {labels[wrong[0]]}, at index {wrong[0]}.")


def check_every_digit(**arrays: Any) -> None:
    """See that each holds labels, with every digit among them."""
    check_labels(**arrays)
    for name, labels in arrays.items():
        if missing := [f"no {digit}" for digit in range(10) if digit not in labels]:
            raise InputError(f"{name}: expected each digit from 0 to 9 at least once; found {', '.join(missing)}.")


def check_counts(**arrays: Any) -> None:
    """See that all are equally long."""
    counts = [f"{len(array):,}" for array in arrays.values()]
    if len(set(counts)) > 1:
        raise InputError(f"Expected {' and '.join(arrays)} in equal numbers; found {' and '.join(counts)}.")


def read_at_most(path: Path, limit: int) -> bytes:
    """Content of a regular file. ValueError, if it holds more than `limit` bytes; an OSError, if it cannot be read."""
    if not path.is_file():  # a pipe would be waited for
        raise FileNotFoundError("no such file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return content


# Lines that Keras and TensorFlow put around what is wrong begin like this.
_NOISE = ("\t", "<stack", "Graph execution error", "Detected at node", "Exception encountered", "Arguments received")


def reason(error: BaseException) -> str:
    """What an error's message says is wrong, its first paragraph, or else the error's type; with a full stop."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if not line.startswith(_NOISE)]
    said = itertools.takewhile(str.strip, itertools.dropwhile(lambda line: not line or line[0].isspace(), lines))
    text = " ".join(line.strip() for line in said) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def describe(value: Any) -> str:
    """What was found, for an error: an array's dtype and shape, or the type of anything else."""
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
