"""Other modules use these errors and functions to refuse what is wrong, in plain sentences."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np


class ReadableError(Exception):
    """An error whose message says all that its reader needs.

    In a notebook it is shown without a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
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
        If it cannot be read, or is not a regular file. Reading a pipe might never end.
    """
    if not path.is_file():
        raise FileNotFoundError("no such regular file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return content


# How lines begin that Keras and TensorFlow put around what is wrong.
_NOISE = (
    "\t",
    "<stack",
    "Graph execution error",
    "Detected at node",
    "Exception encountered",
    "Arguments received",
)


def reason(error: BaseException) -> str:
    """Say in one line, which ends with a full stop, why an error was raised.

    This is the first paragraph of the error's message, without what Keras and TensorFlow put around
    it. Three rules find it:

    1. Drop lines that begin with one of `_NOISE`.
    2. Skip indented lines, which belong to a traceback, and empty ones.
    3. Take the lines up to an empty one.

    If nothing is left, the name of the error's type is taken.

    Notes
    -----
    Two functions of other modules return a phrase to stand within a sentence, without a full stop:
    `loading._cause` also leaves out folders of this machine, `__main__._first_line` takes no more
    than 100 characters.

    Examples
    --------
    This message of TensorFlow's becomes "assertion failed: [no].":

        Graph execution error:

        Detected at node a defined at (most recent call last):
          File "a.py", line 1, in <module>
        <stack traces unavailable>
        assertion failed: [no]
        <tab> [[{{node a}}]] [Op:b]
    """
    message = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # without a terminal's colours
    lines = [line for line in message.splitlines() if not line.startswith(_NOISE)]
    rest = itertools.dropwhile(lambda line: not line or line[0].isspace(), lines)
    paragraph = itertools.takewhile(str.strip, rest)
    text = " ".join(line.strip() for line in paragraph) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."


def describe(value: Any) -> str:
    """Name the kind of a value in an error message: an array's dtype and shape, else the type."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"a {type(value).__name__}"
