"""The same training over many seeds, on one machine or a cluster.

A study is a file of JSON lines, one per finished run::

    candidate, seed    what was trained, and the seed of all its randomness
    history            accuracies and losses, one float per epoch
    confusion          counts of the test images, 10 x 10: rows true, columns predicted
    misread, taken_for indices of the test images that are read wrongly, and the digits read there
    seconds            how long the training took
    made_from, data    fingerprint of what was asked for, with the arithmetic where that is not the
                       portable one, and the data's SHA-256
    made_with          versions and arithmetic

Every run has a process with one thread to itself, so what comes out does not depend on how many run at once, nor
where: Keras draws seeds from Python's global generator, and in a Dask worker other threads would draw from it too.
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
import pandas as pd
from filelock import FileLock, Timeout
from joblib import Parallel, delayed, parallel_config
from scipy.stats import bootstrap, ttest_1samp
from sklearn.metrics import confusion_matrix

from helpers.cache import fingerprint
from helpers.checks import ReadableError
from helpers.data import Digits, load_mnist
from helpers.progress import progress_bar

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "study" / "runs.jsonl"
KEYS = {*"candidate seed history confusion misread taken_for seconds made_from data made_with".split()}

WHAT_COUNTS = "other layers, settings, data or arithmetic"

Run = dict[str, Any]
MadeFrom = Mapping[str, dict[str, Any]]  # of each candidate, what is asked for, but for the seed


class StudyError(ReadableError):
    """A study cannot be read or continued; the message says why."""


def run_study(
    seeds: Iterable[int], path: Path = RUNS, jobs: int = -1, scheduler: str | None = None, epochs: int = 5,
    names: Collection[str] | None = None,
) -> int:  # fmt: skip
    """Train every candidate, or those of these names, with every seed that is not in the file yet; return how many.

    May be killed at any moment and started again: a run is in the file whole or not at all. So many jobs run at once on
    this machine, -1 for one per core; or workers of a Dask scheduler (``tcp://10.0.0.1:8786``) do them; they need
    the project, its environment and the same data. A StudyError if another process writes to the file, if it holds
    anything else, if scheduler or project are not there, or a run fails; the runs that ended before stay.
    """
    made_from = _made_from(load_mnist(), epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0).acquire()
    except Timeout:
        raise StudyError(f"{path}: another process is writing to it. Wait for it to end, or stop it.") from None
    with lock:
        done = load_runs(path) if path.exists() else []
        if others := _others(done, made_from):
            found = f"{{candidate}} with seed {{seed}} was made from {WHAT_COUNTS} than this study"
            remedy = "Two studies do not mix: move the file away, or name another."
            raise StudyError(f"{path}: {found.format_map(others[0])}. {remedy}")
        there = {(run["candidate"], run["seed"]) for run in done}
        wanted = itertools.product(seeds, [name for name in made_from if names is None or name in names])
        missing = [(name, seed) for seed, name in dict.fromkeys(wanted) if (name, seed) not in there]
        runs = (delayed(train_apart)(*run, epochs, _fingerprint(made_from, *run)) for run in missing)
        bar = progress_bar(len(missing), "study", unit="run", smoothing=0)
        lines = _lines(path) if path.exists() else []
        with _workers(jobs, scheduler) as parallel, path.open("ab") as file, bar as shown:
            file.truncate(len(b"\n".join(lines)))
            file.write(b"\n" if lines else b"")
            for run in parallel(runs):
                file.write(json.dumps(run).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                shown.update()
    return len(missing)


def train_apart(name: str, seed: int, epochs: int, made_from: str) -> Run:
    """One run, as `train_here` does it, in a new process that ends with this one; a StudyError if it fails."""
    command = [sys.executable, "-c", f"from helpers.study import train_here; train_here{name, seed, epochs, made_from}"]
    # Nothing is ever written to its standard input: it gives up when that is closed.
    standard_input, open_end = os.pipe()
    with open(standard_input), open(open_end, "w"):
        done = subprocess.run(command, cwd=ROOT, stdin=standard_input, capture_output=True, text=True, errors="replace")
    if done.returncode:
        last = re.sub(r"^helpers\.\w+\.\w+: ", "", done.stderr.strip().rpartition("\n")[2])
        raise StudyError(f"Training {name} with seed {seed} failed, exit code {done.returncode}: {last}")
    return json.loads(done.stdout)


def train_here(name: str, seed: int, epochs: int, made_from: str) -> None:
    """Do a run, with one thread, in a process of its own, and print it; a StudyError if its fingerprint is another."""

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    from helpers.startup import start_tensorflow

    start_tensorflow(threads=1)
    from helpers import models, training

    digits = load_mnist()
    if _fingerprint(_made_from(digits, epochs), name, seed) != made_from:
        machine = f"{platform.node()}, whose data is {digits.name}, SHA-256 {digits.digest[:8]}...,"
        remedy = "Use the same commit, mnist.npz and MNIST_COMPUTE on every machine."
        raise StudyError(f"{machine} would train {name} from {WHAT_COUNTS} than the study. {remedy}")
    (candidate,) = (candidate for candidate in models.CANDIDATES if candidate.name == name)
    start = time.perf_counter()
    network, history = training.train(candidate, digits, training.Settings(seed=seed, epochs=epochs))
    seconds = round(time.perf_counter() - start, 2)
    model = training.TrainedModel(candidate, network, history, "trained for a study")
    predicted = model.predict(digits.test_images).argmax(axis=1)
    origin = {"made_from": made_from, "data": digits.digest, "made_with": training.made_with()}
    print(json.dumps(outcome(name, seed, history, digits.test_labels, predicted) | {"seconds": seconds} | origin))


def outcome(
    name: str, seed: int, history: Mapping[str, list[float]], true_labels: np.ndarray, predicted_labels: np.ndarray
) -> Run:
    """The first entries of a run, those that are compared; the labels are of the test images, shape (n,)."""
    misread = np.flatnonzero(predicted_labels != true_labels)
    return {
        "candidate": name, "seed": seed, "history": dict(history),
        "confusion": confusion_matrix(true_labels, predicted_labels, labels=range(10)).tolist(),
        "misread": misread.tolist(), "taken_for": predicted_labels[misread].tolist(),
    }  # fmt: skip


def load_runs(path: Path = RUNS) -> list[Run]:
    """The runs in a file, by candidate and seed, but for half a line at its end; a StudyError if it is no study."""
    try:
        lines = _lines(path)
    except OSError as error:
        raise StudyError(f"{path}: no study can be read ({error.strerror}). `make study` makes one.") from None
    runs: dict[tuple[str, int], Run] = {}
    for number, line in enumerate(lines, start=1):
        try:
            run = json.loads(line)
            key = run["candidate"], run["seed"]
            kinds = [type(each) for each in (*key, run["history"])]
            if run.keys() != KEYS or np.shape(run["confusion"]) != (10, 10) or kinds != [str, int, dict]:
                raise ValueError
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            found = f"expected a run with {', '.join(sorted(KEYS))}; found {line[:40]!r}"
            raise StudyError(f"{path}, line {number}: {found}... Restore the file, or move it away.") from None
        if runs.setdefault(key, run) is not run:
            twice = "{} with seed {} is there already".format(*key)
            raise StudyError(f"{path}, line {number}: {twice}. Delete one of the two lines.")
    return [runs[key] for key in sorted(runs)]


def _lines(path: Path) -> list[bytes]:
    """The lines of a study's file, but for the beginning of a run at its end, which a killed study leaves there."""
    *lines, last = path.read_bytes().split(b"\n")
    is_beginning = b'{"candidate"'.startswith(last[:12]) and not last.endswith(b"}}")
    return lines if is_beginning else [*lines, last]


def matching_runs(candidates: Sequence[Any], digits: Digits, settings: Any, path: Path = RUNS) -> list[Run]:
    """Return the runs of a study if each is of one of these networks, trained so on these digits.

    Whatever their seed, and with the portable arithmetic or that of this process. The list is also
    empty if a network has fewer than two runs: these tell nothing of what seeds change.
    """
    from helpers.training import made_from

    runs = load_runs(path)
    is_small = any(len(_of(each.name, runs)) < 2 for each in candidates)
    portable = {each.name: made_from(each, digits, settings) for each in candidates}
    others = _others(_others(runs, portable), _with_own_arithmetic(portable))
    return [] if is_small or others else runs


def _made_from(digits: Digits, epochs: int) -> MadeFrom:
    from helpers.startup import start_tensorflow

    start_tensorflow()
    from helpers import models, training

    settings = training.Settings(epochs=epochs)
    asked = {each.name: training.made_from(each, digits, settings) for each in models.CANDIDATES}
    return _with_own_arithmetic(asked)


def _with_own_arithmetic(made_from: MadeFrom) -> MadeFrom:
    """Add to what is asked for the arithmetic of this process, unless that is the portable one."""
    from helpers.startup import other_arithmetic

    own = other_arithmetic()
    if own:  # it is asked of a process that only directs the runs, too, and each run has one thread
        own["arithmetic"] |= {"threads": "1"}
    return {name: asked | own for name, asked in made_from.items()}


def _fingerprint(made_from: MadeFrom, name: str, seed: int) -> str:
    """Of what a run is asked for; of a candidate that is no longer there, one that no run has."""
    return fingerprint(made_from.get(name, {}) | {"seed": seed})


def _others(runs: list[Run], made_from: MadeFrom) -> list[Run]:
    """The runs that were made from anything else."""
    return [run for run in runs if run["made_from"] != _fingerprint(made_from, run["candidate"], run["seed"])]


@contextmanager
def _workers(jobs: int, scheduler: str | None) -> Iterator[Parallel]:
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
        remedy = "Start one, `dask scheduler`, and give the address that it prints, such as tcp://192.168.0.1:8786."
        raise StudyError(f"{scheduler}: no Dask scheduler answers there ({error}). {remedy}") from None
    with client, parallel_config("dask"):
        try:  # joblib would wait forever for a task that cannot even be unpickled
            client.run(eval, "__import__('helpers.study') and None")
        except ImportError as error:
            found = f"A worker of {scheduler} has not got the project ({error})."
            raise StudyError(f"{found} Start workers with `make worker`.") from None
        yield Parallel(pre_dispatch="all", **options)


def finals(runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """`training %`, `validation %` and `sum %` after the last epoch, by `candidate`, in this order, and `seed`."""
    columns, keys = {"training %": "accuracy", "validation %": "val_accuracy"}, ["candidate", "seed"]
    chosen = [run for name in names for run in _of(name, runs)]
    table = pd.DataFrame({column: [100 * run["history"][key][-1] for run in chosen] for column, key in columns.items()})
    table.index = pd.MultiIndex.from_arrays([[run[key] for run in chosen] for key in keys], names=keys)
    return table.assign(**{"sum %": table["training %"] + table["validation %"]})


def spread(finals: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the runs of each candidate, from what `finals` returns."""
    groups = finals.groupby("candidate", sort=False)
    columns = [name for column in finals for name in (column, f"{column} sd")]
    table = groups.mean().join(groups.std().add_suffix(" sd"))[columns]
    table.insert(0, "trainings", groups.size())
    return table.rename_axis("network")


def wins(finals: pd.DataFrame, seed: int = 12345) -> pd.DataFrame:
    """In what share of seed pairs, any seed of the one with any of the other, a candidate beats another.

    One row per pair of candidates with at least two runs each: `by sum, % of pairs` and `by validation, % of pairs`,
    each with a 95 % interval, `low` to `high`, from SciPy's percentile bootstrap over the trainings. A tie counts half:
    the share is the Mann-Whitney statistic over the number of pairs. If all trainings agree, an interval has no
    width, which is not to say that no training ever would.
    """
    columns = [f"by {by}, {what}" for by in ("sum", "validation") for what in ("% of pairs", "low", "high")]
    rows: dict[str, list[float]] = {}
    counts = finals.groupby("candidate", sort=False).size()
    for first, second in itertools.combinations(counts.index[counts > 1], 2):
        row = rows[f"{first} beats {second}"] = []
        for by in ("sum", "validation"):
            samples, rng = (finals.loc[first, f"{by} %"], finals.loc[second, f"{by} %"]), np.random.default_rng(seed)
            interval = bootstrap(samples, share_of_wins, method="percentile", batch=1000, rng=rng).confidence_interval
            row += map(float, (share_of_wins(*samples), *interval))
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def share_of_wins(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    """In percent, along the last axis of both."""
    one, other = np.asarray(one)[..., :, None], np.asarray(other)[..., None, :]
    return 100 * ((one > other).mean(axis=(-2, -1)) + (one == other).mean(axis=(-2, -1)) / 2)


def last_changes(runs: Sequence[Run], names: Sequence[str]) -> pd.DataFrame:
    """What the last epoch does to the validation loss of networks with several runs; it rises when they overfit.

    In thousandths, the means of `loss x 1000` at the end and of its `change x 1000`, with Student's 95 % interval; and
    in how many trainings it `rose`, of how many.
    """
    rows = {}
    for name in names:
        losses = 1000 * np.array([run["history"]["val_loss"] for run in _of(name, runs)])
        if len(losses) > 1:
            change = losses[:, -1] - losses[:, -2]
            low, high = ttest_1samp(change, 0).confidence_interval()
            rows[name] = {"loss x 1000": losses[:, -1].mean(), "change x 1000": change.mean(), "low": low, "high": high}
            rows[name] |= {"rose": int((change > 0).sum()), "trainings": len(losses)}
    return pd.DataFrame.from_dict(rows, orient="index")


def shared_errors(runs: Sequence[Run], labels: np.ndarray, count: int = 10) -> pd.DataFrame:
    """The images misread most: `label`, `mostly read as`, by how many trainings `misread by`, and by network."""
    errors = [(run["candidate"], run["misread"], run["taken_for"]) for run in runs]
    table = pd.DataFrame(errors, columns=["network", "image", "read"]).explode(["image", "read"])
    table = table.astype({"image": int, "read": int})
    most = table["image"].value_counts().sort_index().nlargest(count)
    found = table[table["image"].isin(most.index)].groupby("image")
    columns = {"label": labels[most.index], "mostly read as": found["read"].agg(lambda read: read.mode()[0])}
    columns |= {"misread by": most, **found["network"].value_counts().unstack(fill_value=0)}
    return pd.DataFrame(columns, index=most.index)


def read_correctly(runs: Sequence[Run], name: str, images: int) -> np.ndarray:
    """Whether each run of a candidate reads each test image correctly, bool, shape (runs, images)."""
    return np.array([~np.isin(np.arange(images), run["misread"]) for run in _of(name, runs)])


def confusions(runs: Sequence[Run], name: str) -> np.ndarray:
    """Confusion counts of each run of a candidate, int, shape (runs, 10, 10): rows true, columns predicted."""
    return np.array([run["confusion"] for run in _of(name, runs)], dtype=int).reshape(-1, 10, 10)


def _of(name: str, runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run["candidate"] == name]
