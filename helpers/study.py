"""The same training over many seeds, on one machine or a cluster.

A study is a file of JSON lines, one a finished run::

    candidate, seed    what was trained, and what all chance in it follows from
    history            accuracies and losses, a float an epoch
    confusion          counts of the test images, 10 x 10: rows true, columns predicted
    misread, taken_for indices of the test images that are read wrongly, and the digits read there
    seconds            how long the training took
    made_from, data    fingerprint of all that decides what comes out, and the data's SHA-256
    made_with          versions and processor

Every run has a process with one thread to itself, so what comes out does not depend on how
many run at once, nor where. A process of its own, because Keras draws the seeds of a new
network's layers from Python's global generator: in a Dask worker other threads draw from it
too, and the same seed gives another network.
"""

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config
from scipy.stats import mannwhitneyu
from sklearn.metrics import confusion_matrix

from helpers.data import Digits, load_mnist
from helpers.progress import progress_bar

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "study" / "runs.jsonl"
KEYS = {
    "candidate", "seed", "history", "confusion", "misread", "taken_for", "seconds", "made_from", "data", "made_with",
}  # fmt: skip

Run = dict[str, Any]


class StudyError(Exception):
    """A study cannot be read or continued; the message says why."""


def run_study(
    seeds: Iterable[int], path: Path = RUNS, jobs: int = -1, scheduler: str | None = None, epochs: int = 5
) -> int:
    """Train every candidate with every seed, but for what is done already, and append each run as it ends.

    May be killed at any moment and started again: a run is in the file whole or not at all.

    Parameters
    ----------
    seeds
        Seed after seed, with each all candidates are trained.
    path
        The study's file; made if there is none.
    jobs
        How many runs at once on this machine; -1 for one a core.
    scheduler
        Address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``, whose workers do the
        runs instead. They need the project, its environment and the same data.
    epochs
        As in the article by default.

    Returns
    -------
    int
        How many runs were done.

    Raises
    ------
    StudyError
        If another process writes to the file, if it holds anything but runs of this kind,
        or if a run fails. The runs that ended before stay in the file.
    """
    from helpers.startup import start_tensorflow

    start_tensorflow()
    digits = load_mnist()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _drop_half_a_line(path)
        done = _done(path, digits, epochs)
        missing = [run for run in dict.fromkeys((name, seed) for seed in seeds for name in _candidates()) if run not in done]
        runs = (delayed(train_apart)(name, seed, epochs, digits.digest) for name, seed in missing)
        with (
            _where(jobs, scheduler) as parallel,
            path.open("ab") as file,
            progress_bar(len(missing), "study", unit="run", smoothing=0) as bar,
        ):
            for run in parallel(runs):
                file.write(json.dumps(run).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                bar.update()
    return len(missing)


def train_apart(name: str, seed: int, epochs: int, data: str) -> Run:
    """One run, as `train_here` does it, in a new process that ends with this one.

    Raises
    ------
    StudyError
        If the run fails.
    """
    command = [sys.executable, "-m", "helpers", "train-here", name, str(seed), str(epochs), data]
    with tempfile.TemporaryFile("w+") as errors:
        # Nothing is ever written to its standard input: it ends when that is closed.
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            output = process.stdout.read()
        if process.returncode:
            errors.seek(0)
            reason = (errors.read().splitlines() or [f"exit code {process.returncode}"])[-1]
            raise StudyError(f"Training {name} with seed {seed} failed: {reason}")
    return json.loads(output)


def train_here(name: str, seed: int, epochs: int, data: str) -> Run:
    """One run: train a candidate in this process, in which nothing else should be done, with one thread.

    Parameters
    ----------
    name
        Of one of `models.CANDIDATES`.
    seed, epochs
        As in `training.Settings`.
    data
        SHA-256 of the data set that it must be trained on.

    Raises
    ------
    StudyError
        If the data at hand is not that data set.
    """
    from helpers.startup import start_tensorflow

    start_tensorflow(threads=1)
    from helpers import training
    from helpers.cache import fingerprint

    digits = load_mnist()
    if digits.digest != data:
        raise StudyError(
            f"{platform.node()} has other data than the study: {digits.name}, SHA-256 {digits.digest[:8]}... instead "
            f"of {data[:8]}... Let MNIST_NPZ name the same mnist.npz on every machine."
        )
    candidate, settings = _candidates()[name], training.Settings(seed=seed, epochs=epochs)
    start = time.perf_counter()
    network, history = training.train(candidate, digits, settings)
    seconds = time.perf_counter() - start
    predicted = network.predict(candidate.inputs(digits.test_images), batch_size=500, verbose=0).argmax(axis=1)
    misread = np.flatnonzero(predicted != digits.test_labels)
    return {
        "candidate": name, "seed": seed, "history": history,
        "confusion": confusion_matrix(digits.test_labels, predicted, labels=range(10)).tolist(),
        "misread": misread.tolist(), "taken_for": predicted[misread].tolist(), "seconds": round(seconds, 2),
        "made_from": fingerprint(training.ingredients(candidate, digits, settings)), "data": data,
        "made_with": training.made_with(),
    }  # fmt: skip


def load_runs(path: Path = RUNS) -> list[Run]:
    """The runs of a study, in the order in which they ended.

    Raises
    ------
    StudyError
        If there is no such file, or a line of it is no run. Half a line at its end, which a
        killed study leaves, is passed over.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise StudyError(f"{path}: no study can be read ({error.strerror}). `make study` makes one.") from None
    runs = []
    for number, line in enumerate(lines, start=1):
        try:
            run = json.loads(line)
            if run.keys() != KEYS or np.shape(run["confusion"]) != (10, 10):
                raise ValueError
        except (ValueError, AttributeError):
            raise StudyError(
                f"{path}, line {number}: expected a run with {', '.join(sorted(KEYS))}; found {line[:40]!r}... "
                "Restore the file, or move it away and run `make study`."
            ) from None
        runs.append(run)
    return runs


def finals(runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """Accuracies after the last epoch, in percent: a row a run, ordered by seed.

    Parameters
    ----------
    runs
        As `load_runs` returns them.
    names
        The candidates to take in, in the order in which they are to appear.

    Returns
    -------
    DataFrame
        Indexed by `candidate` and `seed`; the columns `training %`, `validation %` and `sum %`.
    """
    rows = {
        (run["candidate"], run["seed"]): [100 * run["history"][key][-1] for key in ("accuracy", "val_accuracy")]
        for name in names
        for run in sorted(runs, key=lambda run: run["seed"])
        if run["candidate"] == name
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["training %", "validation %"])
    table.index = pd.MultiIndex.from_tuples(rows, names=["candidate", "seed"])
    return table.assign(**{"sum %": table["training %"] + table["validation %"]})


def spread(finals: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the runs of each candidate, from what `finals` returns."""
    groups = finals.groupby("candidate", sort=False)
    means, deviations = groups.mean(), groups.std()
    columns = {"runs": groups.size()}
    for column in finals.columns:
        columns |= {column: means[column], f"{column} sd": deviations[column]}
    return pd.DataFrame(columns)


def wins(finals: pd.DataFrame) -> pd.DataFrame:
    """In what share of seed pairs, any seed of the one with any of the other, a candidate beats another.

    Parameters
    ----------
    finals
        As the function of that name returns it.

    Returns
    -------
    DataFrame
        A row a pair of candidates, `by validation %` and `by sum %`. A tie counts half: this
        is the Mann-Whitney statistic over the number of pairs, which SciPy computes (X. Bouthillier et
        al., "Accounting for variance in machine learning benchmarks", 2021, section 4).
    """
    rows = {}
    for first, second in itertools.combinations(finals.index.unique("candidate"), 2):
        one, other = finals.loc[first], finals.loc[second]
        rows[f"{first} beats {second}"] = {
            f"by {column}": 100 * mannwhitneyu(one[column], other[column]).statistic / (len(one) * len(other))
            for column in ("validation %", "sum %")
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("% of seed pairs")


def read_correctly(runs: Sequence[Run], name: str, images: int) -> np.ndarray:
    """Whether each run of a candidate reads each test image correctly, bool, shape (runs, images)."""
    chosen = [run for run in runs if run["candidate"] == name]
    correct = np.ones((len(chosen), images), dtype=bool)
    for row, run in zip(correct, chosen, strict=True):
        row[run["misread"]] = False
    return correct


def confusion(runs: Sequence[Run], name: str) -> np.ndarray:
    """Confusion counts of all runs of a candidate together, shape (10, 10): rows true, columns predicted."""
    return np.sum([run["confusion"] for run in runs if run["candidate"] == name], axis=0)


def _candidates() -> dict[str, Any]:
    from helpers import models

    return {candidate.name: candidate for candidate in models.CANDIDATES}


def _done(path: Path, digits: Digits, epochs: int) -> set[tuple[str, int]]:
    """Candidate and seed of each finished run; a StudyError if one was made from anything else."""
    from helpers import training
    from helpers.cache import fingerprint

    made_from = {
        name: training.ingredients(candidate, digits, training.Settings(epochs=epochs))
        for name, candidate in _candidates().items()
    }
    done = set()
    for number, run in enumerate(load_runs(path) if path.exists() else [], start=1):
        name, seed = run["candidate"], run["seed"]
        if name not in made_from or run["made_from"] != fingerprint(made_from[name] | {"seed": seed}):
            raise StudyError(
                f"{path}, line {number}: {name} with seed {seed} was made from other layers, settings or data than "
                "this study. Two studies do not mix: move the file away, or name another."
            )
        done.add((name, seed))
    return done


def _drop_half_a_line(path: Path) -> None:
    """Cut off what a killed study has left of a line."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise StudyError(f"{path}: another process is writing to it. Wait for it to end, or stop it.") from None


@contextmanager
def _where(jobs: int, scheduler: str | None) -> Iterator[Parallel]:
    """Where the runs take place; results come in the order in which they end."""
    options = {"return_as": "generator_unordered", "batch_size": 1}
    if scheduler is None:
        yield Parallel(n_jobs=jobs, prefer="threads", **options)  # each thread waits for a process
        return
    from distributed import Client

    with Client(scheduler), parallel_config("dask"):
        yield Parallel(**options)
