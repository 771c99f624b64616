"""A terminal or a notebook shows this progress bar while work goes on, and nothing afterwards.

In a log file, its lines remain.

`tqdm.auto` and `tqdm.notebook` would leave something: a notebook keeps the text of their first bar,
0 %, and a widget's state. Plain tqdm would leave all of its bars, see `_CellOutput`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class _CellOutput:
    """A file for tqdm. A notebook's cell shows only what was written last.

    In a terminal, tqdm draws a bar over the one before by means of a carriage return. A notebook
    would store all of these bars.
    """

    encoding = "utf-8"  # so that tqdm draws blocks

    def __init__(self, display: Any):
        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        # At the end tqdm writes spaces over the bar. Stripped, they are an empty text: it vanishes.
        self._handle.update({"text/plain": text.strip("\r\n ")}, raw=True)

    def flush(self) -> None:
        """Do nothing: `write` holds nothing back. tqdm calls it."""


@contextmanager
def progress_bar(total: int, description: str, **options: Any) -> Iterator[tqdm]:
    """Show a progress bar while the block runs.

    Parameters
    ----------
    total
        The number of steps, or 0 if it is not known.
    description
        The text before the bar.
    options
        Those of `tqdm.tqdm`.

    Yields
    ------
    bar
        `bar.update(n)` says that n more steps are done.
    """
    # A notebook's kernel has imported IPython. Elsewhere, an import would only take time.
    ipython: Any = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    stream: Any = _CellOutput(ipython.display.display) if in_notebook else sys.stderr
    # What is neither a notebook nor a terminal keeps each line, so there are few of them.
    seconds = 0.2 if in_notebook or stream.isatty() else 10
    bar = tqdm(
        total=total,
        desc=description,
        file=stream,
        leave=False,  # at the end, the bar is removed
        mininterval=seconds,
        # Only a terminal's width can be measured. A longer line would stay there.
        ncols=None if stream is sys.stderr and stream.isatty() else 100,
        **options,
    )
    try:
        yield bar
    finally:
        bar.close()
