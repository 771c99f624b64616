"""Real processes that are killed while they store or train a model, and what the next one finds.

Each is a fork of one process, which has imported what takes long to import, and started nothing:

    python -m tests.killing stored FOLDER     a small entry, killed at each line of storing it, and then of clearing up
    python -m tests.killing trained FOLDER    a network, killed at lines and times of training and storing it
"""

import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import cache

ROOT = Path(__file__).parent.parent
OLD, NEW = ({"accuracy": [share]} for share in (0.1, 0.9))
MADE_FROM = {"name": "small", "seed": 1}
NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start as copies of another")


def outcomes(scenario, folder):
    """What was found how often, of one of the scenarios above."""
    command = [sys.executable, "-m", "tests.killing", scenario, folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def fork(act):
    """The number of a new process that does this."""
    if pid := os.fork():
        return pid
    try:
        act()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def ended(pid):
    """Whether a process came to its end rather than being killed; an error is neither."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), f"ended with {code}"
    return code == 0


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
    return ended(fork(lambda: (Trace({cache.__file__, shutil.__file__}, fatal), act())))


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
        cache.store(folder, write_model, history, MADE_FROM, {})


def found(folder):
    """Which entry the next one finds. A mixture, or anything else that is left, is an error."""
    with cache.locked(folder.parent):
        remains = [path.name for path in folder.parent.rglob(".*") if path.name != ".lock"]
        assert not remains, remains
        try:
            entry = cache.load(folder, MADE_FROM)
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


def trained(root):
    from helpers.startup import start_tensorflow

    start_tensorflow()
    from keras import layers

    from helpers import models, training
    from helpers.data import load_mnist

    digits = load_mnist()
    few = {"train_images": 2_000, "train_labels": 2_000, "test_images": 500, "test_labels": 500}
    digits = replace(digits, **{name: getattr(digits, name)[:count] for name, count in few.items()})
    flat = models.Candidate("flat", lambda: [layers.Dropout(0.1), layers.Dense(10, activation="softmax")], (784,))
    settings = training.Settings(seed=1, epochs=2, batch_size=50)
    folder, result = root / "models", root / "result.json"
    files = {cache.__file__, training.__file__}

    def run(fatal=0):
        """What every user does."""
        trace, start = Trace(files, fatal), time.monotonic()
        model = training.train_or_load(flat, digits, settings, models=folder)
        made_from = cache.fingerprint(training.made_from(flat, digits, settings))
        outcome = [made_from, model.history, hashlib.sha256(model.predict(digits.test_images)).hexdigest()]
        result.write_text(json.dumps([model.origin, outcome, trace.lines, time.monotonic() - start]))

    def replace_old(fatal):
        """What `make retrain` does."""
        Trace(files, fatal)
        training.retrain(flat, digits, settings, models=folder)

    def after():
        assert ended(fork(run))
        return json.loads(result.read_text())

    _, reference, lines, seconds = after()
    moments = [(lines * part // 42, 0.0) for part in range(1, 43)] + [(0, seconds * part / 20) for part in range(16)]
    for number, (line, wait) in enumerate(moments):
        shutil.rmtree(folder)
        act = run
        if number % 3 == 2:
            act = replace_old
            ended(fork(lambda: training.retrain(flat, digits, replace(settings, seed=2), models=folder)))
        pid = fork(lambda: act(line))  # noqa: B023  it is called at once
        if not line:
            time.sleep(wait)
            os.kill(pid, signal.SIGKILL)
        was_killed = not ended(pid)
        origin, outcome, _, _ = after()
        assert outcome == reference, (outcome, reference)
        entries = {path.name for path in (*folder.glob("*"), *folder.glob("local/*"))} - {".lock", "local"}
        assert entries <= {"flat", f"flat-{reference[0]}"}, entries
        assert "loaded from the cache" in after()[0]
        what = "loaded" if "loaded from the cache" in origin else "trained again"
        yield f"{what}, {'killed' if was_killed else 'not killed'}"


if __name__ == "__main__":
    scenario = {"stored": stored, "trained": trained}[sys.argv[1]]
    print(json.dumps(Counter(scenario(Path(sys.argv[2])))))
