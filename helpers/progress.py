"""A progress bar for a terminal and for a notebook, which leaves nothing behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class _Output:
    """A file of one line, for tqdm: an output of the running cell, which each `write` replaces."""

    encoding = "utf-8"  # so that tqdm draws blocks

    def __init__(self, display: Any):
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        self._handle.update({"text/plain": text.strip("\r\n ")}, raw=True)

    def flush(self) -> None:
        """Nothing is held back."""


@contextmanager
def progress_bar(total: int, description: str, **options: Any) -> Iterator[tqdm]:
    """A bar of `total` steps while the block runs; `bar.update(n)` takes n. Options are those of `tqdm.tqdm`."""
    ipython: Any = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    stream: Any = _Output(ipython.display.display) if in_notebook else sys.stderr
    # A log file is not a screen: there, one line every ten seconds is enough.
    interval = 0.2 if in_notebook or stream.isatty() else 10
    bar = tqdm(total=total, desc=description, file=stream, leave=False, mininterval=interval, ncols=100, **options)
    try:
        yield bar
    finally:
        bar.close()
