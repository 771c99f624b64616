"""Errors that are sentences, and files that are read up to a size."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np


class ReadableError(Exception):
    """An error whose message is all that its reader needs: a notebook shows no traceback of it."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"{type(self).__name__}: {self}"]


class InputError(ReadableError, ValueError):
    """An input is not what is expected; the message names it, what was expected, what was found."""


def read_at_most(path: Path, limit: int) -> bytes:
    """Read a file that holds no more than `limit` bytes.

    Raises
    ------
    ValueError
        If it holds more.
    OSError
        If it cannot be read, or is not a regular file: reading a pipe might wait for ever.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return content


# Keras and TensorFlow put lines that begin like this around what is wrong.
_NOISE = (
    "\t",
    "<stack",
    "Graph execution error",
    "Detected at node",
    "Exception encountered",
    "Arguments received",
)


def reason(error: BaseException) -> str:
    """Return the first paragraph of an error's message, in one line that ends with a full stop.

    Without a message, it is the name of the error's type. What Keras and TensorFlow put around
    their messages does not count.
    """
    message = re.sub(r"\x1b\[\d*m", "", str(error))  # without a terminal's colours
    lines = [line for line in message.splitlines() if not line.startswith(_NOISE)]
    # Indented lines before the first paragraph belong to a traceback.
    rest = itertools.dropwhile(lambda line: not line or line[0].isspace(), lines)
    paragraph = itertools.takewhile(str.strip, rest)
    text = " ".join(line.strip() for line in paragraph) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def describe(value: Any) -> str:
    """Say what was found, for an error message: an array's dtype and shape, or else a type."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"a {type(value).__name__}"
