"""A progress bar for a terminal and for a notebook, which leaves nothing behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def progress_bar(total: int, description: str, **options: Any) -> Iterator[tqdm]:
    """Show a bar of `total` steps while the block runs, and wipe it off afterwards; `bar.update(n)` takes n steps.

    In a notebook the output of the whole cell is cleared, so that what is stored holds no clock times: a cell prints
    its result after the bar is gone. Further options are those of `tqdm.tqdm`, such as `unit`.
    """
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and hasattr(ipython.get_ipython(), "kernel")
    stream = sys.stdout if in_notebook else sys.stderr
    # A log file is not a screen: there, one line every ten seconds is enough.
    interval = 0.2 if in_notebook or stream.isatty() else 10
    bar = tqdm(total=total, desc=description, file=stream, leave=False, mininterval=interval, ncols=100, **options)
    try:
        yield bar
    finally:
        bar.close()
        if in_notebook:
            from IPython.display import clear_output

            clear_output()
