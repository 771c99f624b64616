"""A progress bar for a terminal and for a notebook, which leaves nothing behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class _Output:
    """The output of a notebook's cell as a file for tqdm, in which each `write` replaces the last.

    A carriage return, with which tqdm draws its bar anew in a terminal, would be stored with the
    notebook, and so would each state of the bar.
    """

    encoding = "utf-8"  # so that tqdm draws blocks

    def __init__(self, display: Any):
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        self._handle.update({"text/plain": text.strip("\r\n ")}, raw=True)

    def flush(self) -> None:
        """Do nothing: `write` holds nothing back. tqdm calls it."""


@contextmanager
def progress_bar(total: int, description: str, **options: Any) -> Iterator[tqdm]:
    """Show a progress bar while the block runs.

    Parameters
    ----------
    total : number of steps; 0 if it is not known
    description : what stands before the bar
    options : of `tqdm.tqdm`

    Yields
    ------
    The bar: `bar.update(n)` says that n more steps are done.
    """
    # Where IPython has not been imported, this is no notebook, and importing it takes a moment.
    ipython: Any = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    stream: Any = _Output(ipython.display.display) if in_notebook else sys.stderr
    # A log file is not a screen: there, one line every ten seconds is enough.
    seconds = 0.2 if in_notebook or stream.isatty() else 10
    bar = tqdm(
        total=total,
        desc=description,
        file=stream,
        leave=False,
        mininterval=seconds,
        ncols=100,
        **options,
    )
    try:
        yield bar
    finally:
        bar.close()
