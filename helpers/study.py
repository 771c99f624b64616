"""Train each network with many seeds, on one machine or a cluster, and keep what comes out.

A study is a file of JSON lines, one per finished run::

    candidate     what was trained
    seed          the seed of all its randomness
    history       accuracies and losses, one float per epoch
    confusion     counts of the test images, 10 x 10: rows true, columns predicted
    misread       the indices of the test images that are read wrongly
    taken_for     the digits that are read there
    seconds       how long the training took
    fingerprint   stands for what was asked for; see `loading.describe_inputs`
    data          the SHA-256 of the data
    environment   versions and arithmetic

TensorFlow has a process and one thread for every run. So what comes out does not depend on how many
take place at once, and, if the arithmetic is portable, not on where. Runs that shared a process would
draw from one random generator.

The module `variation` says what the runs amount to. TensorFlow must be started before `models`,
`training` and `loading` are imported, so functions import them.
"""

import itertools
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config
from sklearn.metrics import confusion_matrix

from helpers import cache
from helpers.data import Digits, load_mnist
from helpers.errors import ReadableError
from helpers.progress import progress_bar

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "study" / "runs.jsonl"
KEYS = {
    "candidate",
    "seed",
    "history",
    "confusion",
    "misread",
    "taken_for",
    "seconds",
    "fingerprint",
    "data",
    "environment",
}
WHAT_COUNTS = "other layers, settings, data or arithmetic"

Run = dict[str, Any]
# What a training of each candidate, by its name, is asked for. The seed in it is a placeholder, which
# `_fingerprint` replaces.
InputsByName = Mapping[str, dict[str, Any]]


class StudyError(ReadableError):
    """A study cannot be read or continued; the message says why."""


def run_study(
    seeds: Iterable[int],
    path: Path = RUNS,
    jobs: int = -1,
    scheduler: str | None = None,
    epochs: int = 5,
    names: Collection[str] | None = None,
) -> int:
    """Train each candidate with each seed that is not in the file yet.

    The study may be killed at any moment and started again: a run is in the file whole, or not at
    all.

    Parameters
    ----------
    seeds
        The seeds.
    path
        The study's file.
    jobs
        How many runs take place at once on this machine; -1 for one per core.
    scheduler
        The address of a Dask scheduler whose workers do the runs instead, as in
        ``tcp://10.0.0.1:8786``. They need the project, its environment and the same data.
    epochs
        How long each training is.
    names
        The candidates to train; None for all.

    Returns
    -------
    How many runs were done.

    Raises
    ------
    StudyError
        If another process writes to the file, if it holds anything but runs of this kind, if the
        scheduler or the project is not there, or if a run fails. Runs that ended before stay.
    """
    inputs = _describe_inputs(load_mnist(), epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:  # only to lock may time out here
        lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0).acquire()
    except Timeout:
        advice = "Wait for it to end, or stop it."
        raise StudyError(f"{path}: another process is writing to it. {advice}") from None
    with lock:
        done = load_runs(path) if path.exists() else []
        others = _mismatching(done, inputs)
        if others:
            run = others[0]
            found = f"{run['candidate']} with seed {run['seed']} was made from {WHAT_COUNTS}"
            remedy = "Two studies do not mix: move the file away, or name another."
            raise StudyError(f"{path}: {found} than this study. {remedy}")
        missing = _missing(done, list(inputs) if names is None else names, seeds)
        runs = [
            delayed(train_in_subprocess)(name, seed, epochs, _fingerprint(inputs, name, seed))
            for name, seed in missing
        ]
        bar = progress_bar(len(missing), "study", unit="run", smoothing=0)
        with _workers(jobs, scheduler) as parallel, _appended_to(path) as append, bar as shown:
            for run in parallel(runs):
                append(run)
                shown.update()
    return len(missing)


def train_in_subprocess(name: str, seed: int, epochs: int, fingerprint: str) -> Run:
    """Do one run in a new process, which is ended when this one ends.

    Raises
    ------
    StudyError
        If the run fails.
    """
    # The call is written as text, because the new process shall inherit nothing: no TensorFlow that
    # is already started, and no random state.
    arguments = f"{name!r}, {seed!r}, {epochs!r}, {fingerprint!r}"
    call = f"from helpers.study import run_worker; run_worker({arguments})"
    # A pipe tells the worker when this process ends, however that comes about: nothing is ever
    # written to it, and it closes then.
    read_end, write_end = os.pipe()
    with open(read_end) as never_written, open(write_end, "w"):
        done = subprocess.run(
            [sys.executable, "-c", call],
            cwd=ROOT,
            stdin=never_written,
            capture_output=True,
            text=True,
            errors="replace",
        )
    if done.returncode < 0:
        advice = "Close other programs, or do fewer runs at once."
        killed = f"was killed by the system (signal {-done.returncode}), as when memory runs out"
        raise StudyError(f"Training {name} with seed {seed} {killed}. {advice}")
    if done.returncode:
        last_line = done.stderr.strip().rpartition("\n")[2]
        # Without the error's type, as in "helpers.study.StudyError: ".
        reason = re.sub(r"^helpers\.\w+\.\w+: ", "", last_line)
        found = f"failed, exit code {done.returncode}: {reason}"
        raise StudyError(f"Training {name} with seed {seed} {found}")
    return json.loads(done.stdout)


def run_worker(name: str, seed: int, epochs: int, fingerprint: str) -> None:
    """Do one run with one thread, in a process of its own, and print it.

    Raises
    ------
    StudyError
        If what would be trained here has another fingerprint.
    """

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    from helpers.compute import start_tensorflow

    start_tensorflow(threads=1)  # before `_describe_inputs` starts it with more
    from helpers import loading, models, training

    digits = load_mnist()
    if _fingerprint(_describe_inputs(digits, epochs), name, seed) != fingerprint:
        here = f"{platform.node()}, whose data is {digits.name}, SHA-256 {digits.digest[:8]}...,"
        found = f"{here} would train {name} from {WHAT_COUNTS} than the study"
        remedy = "Use the same commit, mnist.npz and MNIST_COMPUTE on every machine."
        raise StudyError(f"{found}. {remedy}")
    (candidate,) = [each for each in models.CANDIDATES if each.name == name]
    start = time.perf_counter()
    settings = training.Settings(seed=seed, epochs=epochs)
    network, history = training.train(candidate, digits, settings)
    seconds = round(time.perf_counter() - start, 2)
    model = training.TrainedModel(candidate, network, history, "trained for a study")
    predicted = model.predict(digits.test_images).argmax(axis=1)
    # `_lines` relies on the order: first the candidate, last a dict.
    run = outcome(name, seed, history, digits.test_labels, predicted) | {
        "seconds": seconds,
        "fingerprint": fingerprint,
        "data": digits.digest,
        "environment": loading.describe_environment(),
    }
    print(json.dumps(run))


def outcome(
    name: str,
    seed: int,
    history: Mapping[str, list[float]],
    true_labels: np.ndarray,
    predicted_labels: np.ndarray,
) -> Run:
    """Return the part of a run that says what came out.

    Parameters
    ----------
    true_labels, predicted_labels
        Of the test images, shape (n,).
    """
    misread = np.flatnonzero(predicted_labels != true_labels)
    counts = confusion_matrix(true_labels, predicted_labels, labels=range(10))
    return {
        "candidate": name,
        "seed": seed,
        "history": dict(history),
        "confusion": counts.tolist(),
        "misread": misread.tolist(),
        "taken_for": predicted_labels[misread].tolist(),
    }


def load_runs(path: Path = RUNS) -> list[Run]:
    """Read the runs in a file, in the order of candidates and seeds.

    Half a line at its end, as a killed study leaves it, is ignored.

    Raises
    ------
    StudyError
        If there is no such file, or it is no study.
    """
    try:
        lines = _lines(path)
    except OSError as error:
        found = f"no study can be read ({error.strerror})"
        raise StudyError(f"{path}: {found}. `make study` makes one.") from None
    runs: dict[tuple[str, int], Run] = {}
    for number, line in enumerate(lines, start=1):
        run = _parsed(line)
        if run is None:
            expected = f"expected a run with {', '.join(sorted(KEYS))}"
            advice = "Restore the file, or move it away."
            raise StudyError(f"{path}, line {number}: {expected}; found {line[:40]!r}... {advice}")
        key = run["candidate"], run["seed"]
        if key in runs:
            twice = f"{run['candidate']} with seed {run['seed']} is there already"
            raise StudyError(f"{path}, line {number}: {twice}. Delete one of the two lines.")
        runs[key] = run
    return [runs[key] for key in sorted(runs)]


def matching_runs(
    candidates: Sequence[Any], digits: Digits, settings: Any, path: Path = RUNS
) -> list[Run]:
    """Return all runs of a study, or none if one of them was made from other inputs.

    The inputs are these networks, digits and settings, except the seed. The arithmetic may be the
    portable one or that of this process. No run is returned, either, if a network has fewer than
    two: one says nothing about what seeds change.
    """
    from helpers.loading import describe_inputs

    runs = load_runs(path)
    portable = {each.name: describe_inputs(each, digits, settings) for each in candidates}
    not_portable = _mismatching(runs, portable)
    neither = _mismatching(not_portable, _with_own_arithmetic(portable))
    is_small = any(len(runs_of(each.name, runs)) < 2 for each in candidates)
    return [] if is_small or neither else runs


def runs_of(name: str, runs: Iterable[Run]) -> list[Run]:
    """Return the runs of one candidate."""
    return [run for run in runs if run["candidate"] == name]


def _describe_inputs(digits: Digits, epochs: int) -> InputsByName:
    """Start TensorFlow, and describe what a study asks of each candidate."""
    from helpers.compute import start_tensorflow

    start_tensorflow()
    from helpers import loading, models, training

    settings = training.Settings(epochs=epochs)
    return _with_own_arithmetic(
        {each.name: loading.describe_inputs(each, digits, settings) for each in models.CANDIDATES}
    )


def _with_own_arithmetic(inputs: InputsByName) -> InputsByName:
    """Add this process's arithmetic to each description, unless it is the portable one."""
    from helpers.compute import arithmetic_unless_portable

    own = arithmetic_unless_portable()
    if own:  # the runs have one thread, however many this process has
        own["arithmetic"] |= {"threads": "1"}
    return {name: asked | own for name, asked in inputs.items()}


def _fingerprint(inputs: InputsByName, name: str, seed: int) -> str:
    """Return a run's fingerprint. A candidate that no longer exists has one that no run has."""
    return cache.fingerprint(inputs.get(name, {}) | {"seed": seed})


def _mismatching(runs: list[Run], inputs: InputsByName) -> list[Run]:
    """Return the runs that were made from other inputs."""
    return [
        run
        for run in runs
        if run["fingerprint"] != _fingerprint(inputs, run["candidate"], run["seed"])
    ]


def _missing(done: list[Run], names: Iterable[str], seeds: Iterable[int]) -> list[tuple[str, int]]:
    """List the runs that are not done yet, seed by seed, each once."""
    there = {(run["candidate"], run["seed"]) for run in done}
    wanted = dict.fromkeys((name, seed) for seed, name in itertools.product(seeds, names))
    return [run for run in wanted if run not in there]


def _lines(path: Path) -> list[bytes]:
    """Return the lines of a study's file, without a last one that was cut off."""
    *lines, last = path.read_bytes().split(b"\n")
    # A run begins with its candidate, and ends with the brace of its environment and its own. An
    # empty `last`, after a final end of line, counts as the beginning of a run.
    start = b'{"candidate"'
    is_beginning = start.startswith(last[: len(start)]) and not last.endswith(b"}}")
    return lines if is_beginning else [*lines, last]


def _parsed(line: bytes) -> Run | None:
    """Return the run in a line, or None if it is none."""
    try:
        run = json.loads(line)
        kinds = type(run["candidate"]), type(run["seed"]), type(run["history"])
        is_run = run.keys() == KEYS and np.shape(run["confusion"]) == (10, 10)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    return run if is_run and kinds == (str, int, dict) else None


@contextmanager
def _appended_to(path: Path) -> Iterator[Any]:
    """Yield a function that appends a run to a study's file, so that it is there after a crash."""
    lines = _lines(path) if path.exists() else []
    with path.open("ab") as file:

        def append(run: Run) -> None:
            file.write(json.dumps(run).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

        # Cut off half a line, and end a last line that has no end.
        file.truncate(len(b"\n".join(lines)))
        file.write(b"\n" if lines else b"")
        yield append


@contextmanager
def _workers(jobs: int, scheduler: str | None) -> Iterator[Parallel]:
    """Yield what does the runs; their results come in the order in which they end."""
    options = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        # Threads suffice, since each only waits for its subprocess.
        yield Parallel(n_jobs=jobs, prefer="threads", **options)
        return
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port

    try:
        # Check the address first, because a client that fails on a malformed one may block the next
        # client.
        get_address_host_port(scheduler, strict=True)
        client = Client(scheduler)
    except (OSError, ValueError) as error:  # the latter for what is no address
        remedy = (
            "Start one, `python -m dask scheduler`, and give the address that it prints, "
            "such as tcp://192.168.0.1:8786."
        )
        found = f"no Dask scheduler answers there ({error})"
        raise StudyError(f"{scheduler}: {found}. {remedy}") from None
    with client, parallel_config("dask"):
        try:
            # joblib would wait forever for a task that cannot even be unpickled. So each worker
            # imports the module first; what it sends back is None, since it can't send a module.
            client.run(eval, "__import__('helpers.study') and None")
        except ImportError as error:
            found = f"A worker of {scheduler} has not got the project ({error})."
            raise StudyError(f"{found} Start workers with `make worker`.") from None
        yield Parallel(pre_dispatch="all", **options)
