"""What may come in: files up to a size, and errors that say in a sentence what was expected and found."""

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
