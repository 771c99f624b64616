"""The same training over many seeds, on one machine or a cluster.

A study is a file of JSON lines, one a finished run::

    candidate, seed    what was trained, and what all chance in it follows from
    history            accuracies and losses, a float an epoch
    confusion          counts of the test images, 10 x 10: rows true, columns predicted
    misread, taken_for indices of the test images that are read wrongly, and the digits read there
    seconds            how long the training took
    made_from, data    fingerprint of all that decides what comes out, and the data's SHA-256
    made_with          versions and arithmetic

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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config
from scipy.stats import bootstrap
from sklearn.metrics import confusion_matrix

from helpers.checks import ReadableError, check_counts, check_labels
from helpers.data import Digits, load_mnist
from helpers.progress import progress_bar

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "study" / "runs.jsonl"
KEYS = {
    "candidate", "seed", "history", "confusion", "misread", "taken_for", "seconds", "made_from", "data", "made_with",
}  # fmt: skip

Run = dict[str, Any]


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
    names
        Of the candidates to train; all by default.

    Returns
    -------
    int
        How many runs were done.

    Raises
    ------
    StudyError
        If another process writes to the file, if it holds anything but runs of this kind,
        if the scheduler cannot be reached or a worker has not got the project, or if a run
        fails. The runs that ended before stay in the file.
    """
    expected = _expected(load_mnist(), epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _drop_half_a_line(path)
        done = _done(path, expected)
        wanted = [(name, seed) for seed in seeds for name in expected if names is None or name in names]
        missing = [run for run in dict.fromkeys(wanted) if run not in done]
        runs = (delayed(train_apart)(name, seed, epochs, expected[name](seed)) for name, seed in missing)
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


def train_apart(name: str, seed: int, epochs: int, made_from: str) -> Run:
    """One run, as `train_here` does it, in a new process that ends with this one.

    Raises
    ------
    StudyError
        If the run fails.
    """
    command = [sys.executable, "-m", "helpers", "train-here", name, str(seed), str(epochs), made_from]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        # Nothing is ever written to its standard input: it gives up when that is closed.
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None
            output = process.stdout.read()
        if process.returncode:
            errors.seek(0)
            last = (errors.read().splitlines() or [""])[-1]
            raise StudyError(f"Training {name} with seed {seed} failed, exit code {process.returncode}: {last}")
    return json.loads(output)


def train_here(name: str, seed: int, epochs: int, made_from: str) -> Run:
    """One run: train a candidate in this process, in which nothing else should be done, with one thread.

    Parameters
    ----------
    name
        Of one of `models.CANDIDATES`.
    seed, epochs
        As in `training.Settings`.
    made_from
        Fingerprint of what it must be made from; a study on many machines does not mix.

    Raises
    ------
    StudyError
        If it would be made from anything else.
    """
    from helpers.startup import start_tensorflow

    start_tensorflow(threads=1)
    from helpers import training

    digits = load_mnist()
    if (found := _expected(digits, epochs)[name](seed)) != made_from:
        raise StudyError(
            f"{platform.node()} would train {name} from other layers, settings or data than the study. Its data is "
            f"{digits.name}, SHA-256 {digits.digest[:8]}... Use the same commit and the same mnist.npz on every machine."
        )
    candidate, settings = _candidates()[name], training.Settings(seed=seed, epochs=epochs)
    start = time.perf_counter()
    network, history = training.train(candidate, digits, settings)
    seconds = time.perf_counter() - start
    predicted = network.predict(candidate.inputs(digits.test_images), batch_size=training.ROWS_AT_ONCE, verbose=0).argmax(axis=1)
    return outcome(name, seed, history, digits.test_labels, predicted) | {
        "seconds": round(seconds, 2), "made_from": found, "data": digits.digest, "made_with": training.made_with(),
    }  # fmt: skip


def outcome(name: str, seed: int, history: Mapping[str, list[float]], true_labels: np.ndarray, predicted_labels: np.ndarray) -> Run:
    """What a training gives, as far as it is compared with others: the first entries of a run.

    Parameters
    ----------
    name, seed
        What was trained, and what all chance in it followed from.
    history
        Accuracies and losses, a float an epoch.
    true_labels, predicted_labels
        Of the test images, digits 0 to 9, shape (n,).

    Raises
    ------
    InputError
        If the labels are anything else, or differ in number.
    """
    check_labels(true_labels=true_labels, predicted_labels=predicted_labels)
    check_counts(true_labels=true_labels, predicted_labels=predicted_labels)
    misread = np.flatnonzero(predicted_labels != true_labels)
    return {
        "candidate": name, "seed": seed, "history": dict(history),
        "confusion": confusion_matrix(true_labels, predicted_labels, labels=range(10)).tolist(),
        "misread": misread.tolist(), "taken_for": predicted_labels[misread].tolist(),
    }  # fmt: skip


def load_runs(path: Path = RUNS) -> list[Run]:
    """The runs of a study, by candidate and seed, whatever order they ended in.

    Raises
    ------
    StudyError
        If there is no such file, if a line of it is no run, or if a run is in it twice. Half a
        line at its end, which a killed study leaves, is passed over.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise StudyError(f"{path}: no study can be read ({error.strerror}). `make study` makes one.") from None
    runs: dict[tuple[str, int], Run] = {}
    for number, line in enumerate(lines, start=1):
        try:
            run = json.loads(line)
            is_named = isinstance(run["candidate"], str) and type(run["seed"]) is int and isinstance(run["history"], dict)
            if run.keys() != KEYS or np.shape(run["confusion"]) != (10, 10) or not is_named:
                raise ValueError
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise StudyError(
                f"{path}, line {number}: expected a run with {', '.join(sorted(KEYS))}; found {line[:40]!r}... "
                "Restore the file, or move it away and run `make study`."
            ) from None
        if (key := (run["candidate"], run["seed"])) in runs:
            raise StudyError(f"{path}, line {number}: {key[0]} with seed {key[1]} is there already. Delete one of the two lines.")
        runs[key] = run
    return [runs[key] for key in sorted(runs)]


def runs_of_these_networks(digits: Digits, epochs: int, path: Path = RUNS) -> list[Run]:
    """The runs of a study if all are of the candidates as they are now, and of these digits; else none."""
    runs, expected = load_runs(path), _expected(digits, epochs)
    return runs if all(_is_expected(run, expected) for run in runs) else []


def finals(runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """Accuracies after the last epoch, in percent: a row a run.

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
        for run in runs
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


def wins(finals: pd.DataFrame, seed: int = 12345) -> pd.DataFrame:
    """In what share of seed pairs, any seed of the one with any of the other, a candidate beats another.

    Parameters
    ----------
    finals
        As the function of that name returns it.
    seed
        Of the bootstrap.

    Returns
    -------
    DataFrame
        A row a pair of candidates with two runs each, at least: `by validation %` and `by sum %`, each with `low %` and
        `high %`, the bounds of a 95 % interval from SciPy's percentile bootstrap over the trainings.
        A tie counts half, so the share is the Mann-Whitney statistic over the number of pairs. An
        interval of no width says only that no training at hand contradicts the others.
    """
    rows: dict[str, dict[str, float]] = {}
    counts = finals.groupby("candidate", sort=False).size()
    for first, second in itertools.combinations(counts.index[counts > 1], 2):
        row = rows[f"{first} beats {second}"] = {}
        for by in ("validation", "sum"):
            samples = finals.loc[first, f"{by} %"], finals.loc[second, f"{by} %"]
            row[f"by {by} %"] = float(_share_of_wins(*samples))
            interval = bootstrap(
                samples, _share_of_wins, method="percentile", batch=1000, rng=np.random.default_rng(seed)
            ).confidence_interval
            row |= {f"by {by}, low %": float(interval.low), f"by {by}, high %": float(interval.high)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("% of seed pairs")


def _share_of_wins(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """In percent, along the last axis of both."""
    one, other = np.asarray(one)[..., :, None], np.asarray(other)[..., None, :]
    return 100 * ((one > other).mean(axis=(-2, -1)) + (one == other).mean(axis=(-2, -1)) / 2)


def mean_history(runs: Sequence[Run], name: str) -> pd.DataFrame:
    """Accuracies and losses averaged over the runs of a candidate: a row an epoch, columns as in a history."""
    histories = [pd.DataFrame(run["history"]) for run in runs if run["candidate"] == name]
    mean = sum(histories[1:], histories[0]) / len(histories)
    return mean.set_axis(pd.RangeIndex(1, len(mean) + 1, name="epoch"))


def late_rises(runs: Sequence[Run], name: str) -> int:
    """In how many runs of a candidate the validation loss is higher after the last epoch than after the one before."""
    losses = [run["history"]["val_loss"] for run in runs if run["candidate"] == name]
    return sum(loss[-1] > loss[-2] for loss in losses if len(loss) > 1)


def read_correctly(runs: Sequence[Run], name: str, images: int) -> np.ndarray:
    """Whether each run of a candidate reads each test image correctly, bool, shape (runs, images)."""
    chosen = [run for run in runs if run["candidate"] == name]
    correct = np.ones((len(chosen), images), dtype=bool)
    for row, run in zip(correct, chosen, strict=True):
        row[run["misread"]] = False
    return correct


def confusions(runs: Sequence[Run], name: str) -> np.ndarray:
    """Confusion counts of each run of a candidate, shape (runs, 10, 10): rows true, columns predicted."""
    return np.array([run["confusion"] for run in runs if run["candidate"] == name], dtype=int).reshape(-1, 10, 10)


def _candidates() -> dict[str, Any]:
    from helpers import models

    return {candidate.name: candidate for candidate in models.CANDIDATES}


def _expected(digits: Digits, epochs: int) -> dict[str, Callable[[int], str]]:
    """Of each candidate, the fingerprint of what its run with a seed must be made from."""
    from helpers.startup import start_tensorflow

    start_tensorflow()
    from helpers import training
    from helpers.cache import fingerprint

    def by_seed(candidate: Any) -> Callable[[int], str]:
        made_from = training.ingredients(candidate, digits, training.Settings(epochs=epochs))
        return lambda seed: fingerprint(made_from | {"seed": seed})

    return {name: by_seed(candidate) for name, candidate in _candidates().items()}


def _is_expected(run: Run, expected: Mapping[str, Callable[[int], str]]) -> bool:
    return run["candidate"] in expected and run["made_from"] == expected[run["candidate"]](run["seed"])


def _done(path: Path, expected: Mapping[str, Callable[[int], str]]) -> set[tuple[str, int]]:
    """Candidate and seed of each finished run; a StudyError if one was made from anything else."""
    runs = load_runs(path) if path.exists() else []
    for run in runs:
        if not _is_expected(run, expected):
            raise StudyError(
                f"{path}: {run['candidate']} with seed {run['seed']} was made from other layers, settings or data than "
                "this study. Two studies do not mix: move the file away, or name another."
            )
    return {(run["candidate"], run["seed"]) for run in runs}


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
    from distributed.comm.addressing import get_address_host_port

    try:
        get_address_host_port(scheduler, strict=True)  # a client that has failed at that may block the next one
        client = Client(scheduler)
    except (OSError, ValueError) as error:  # the latter for what is no address
        raise StudyError(
            f"{scheduler}: no Dask scheduler answers there ({error}). Start one, `dask scheduler`, and give the address that it "
            "prints, such as tcp://192.168.0.1:8786."
        ) from None
    with client, parallel_config("dask"):
        try:  # joblib would wait for a task that cannot even be unpickled, for ever
            client.run(eval, "__import__('helpers.study') and None")
        except ImportError as error:
            raise StudyError(f"A worker of {scheduler} has not got the project ({error}). Start workers with `make worker`.") from None
        yield Parallel(pre_dispatch="all", **options)
