"""A plugin for nbval, which would wait until the time-out, 20 minutes, for a kernel that has died."""

import queue
import time
from typing import Any

import pytest
from nbval.kernel import RunningKernel

from helpers.__main__ import MEMORY_ADVICE

STEP = 5  # seconds
get_message = RunningKernel.get_message


def get_message_while_alive(kernel: RunningKernel, stream: str, timeout: float) -> dict[str, Any]:
    """Wait for a message in steps; end the tests if there is nobody to send one."""
    until = time.monotonic() + timeout
    while True:
        try:
            return get_message(kernel, stream, timeout=min(STEP, timeout))
        except queue.Empty:
            if not kernel.is_alive():
                found = "error: the kernel, which executes the notebook, has died"
                pytest.exit(f"{found}, as when memory runs out. {MEMORY_ADVICE}", returncode=1)
            if time.monotonic() > until:
                raise


RunningKernel.get_message = get_message_while_alive
