"""A progress bar for a terminal and for a notebook, which leaves nothing behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def progress_bar(total: int, description: str, **options: Any) -> Iterator[tqdm]:
    """A bar of `total` steps while the block runs; `bar.update(n)` takes n. Options are those of `tqdm.tqdm`."""
    ipython: Any = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    stream = sys.stdout if in_notebook else sys.stderr
    # A log file is not a screen: there, one line every ten seconds is enough.
    interval = 0.2 if in_notebook or stream.isatty() else 10
    bar = tqdm(total=total, desc=description, file=stream, leave=False, mininterval=interval, ncols=100, **options)
    try:
        yield bar
    finally:
        bar.close()
        if in_notebook:  # nor are clock times stored: a cell prints its result after the bar is gone
            ipython.display.clear_output()
