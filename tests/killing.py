"""Real processes that are killed at each line of storing a small entry, and of clearing up after; what is found then.

Each is a fork of one process, which has started nothing: `python -m tests.killing FOLDER`
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

from helpers import cache

ROOT = Path(__file__).parent.parent
OLD, NEW = ({"accuracy": [share]} for share in (0.1, 0.9))
INPUTS = {"name": "small", "seed": 1}


def outcomes(folder):
    """What was found how often."""
    command = [sys.executable, "-m", "tests.killing", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class Trace:
    """Counts the lines that this process runs in some files, and has it killed before one of them."""

    def __init__(self, files, fatal=0):
        self.files, self.fatal, self.lines = files, fatal, 0
        sys.settrace(self)

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in self.files:
            return None
        self.lines += event == "line"
        if self.fatal and self.lines == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return self


def comes_to_its_end(act, fatal):
    """Whether a process that does something with a cache is done before it is killed at this line."""
    if not (pid := os.fork()):
        try:
            Trace({cache.__file__, shutil.__file__}, fatal)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"ended with {code}"
    return code == 0


def killed_at_each_line(act, prepare):
    """Do something again and again, killed one line later each time, until it comes to its end."""
    for line in itertools.count(1):
        prepare()
        if comes_to_its_end(act, line):
            return
        yield


def put(folder, history):
    def write_model(saved_model):
        saved_model.mkdir()
        (saved_model / "weights").write_text(str(history))

    with cache.locked(folder.parent):
        cache.store(folder, write_model, history, INPUTS, {})


def found(folder):
    """Which entry the next one finds. A mixture, or anything else that is left, is an error."""
    with cache.locked(folder.parent):
        remains = [path.name for path in folder.parent.rglob(".*") if path.name != ".lock"]
        assert not remains, remains
        try:
            entry = cache.load(folder, INPUTS)
        except cache.EntryNotFound:
            return "none"
    assert (entry.saved_model / "weights").read_text() == str(entry.history)
    return {str(OLD): "old", str(NEW): "new"}[str(entry.history)]


def stored(root):
    folder = root / "cache" / "small"

    def start_with_none():
        shutil.rmtree(folder, ignore_errors=True)

    def clear():
        with cache.locked(folder.parent):
            pass

    for before, prepare in {"none": start_with_none, "old": lambda: put(folder, OLD)}.items():
        for number, _ in enumerate(killed_at_each_line(lambda: put(folder, NEW), prepare)):
            was_cleared = comes_to_its_end(clear, 1 + 7 * number % 101)  # fewer lines than that clear up
            outcome = found(folder)
            put(folder, NEW)
            assert found(folder) == "new"
            yield f"{outcome}, {before} before, {'cleared' if was_cleared else 'killed again'}"


if __name__ == "__main__":
    print(json.dumps(Counter(stored(Path(sys.argv[1])))))
