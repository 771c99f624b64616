"""What a study of many seeds costs: how well its runs share cores, and a Dask cluster's workers."""

import itertools
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from measuring import Figures, in_turn, medians, seconds, table

from helpers import study

WAYS = ("one run at a time", "one run per core", "one run per core, by Dask")
NETWORK = "conv"  # one only, so that no core waits for the last run; most of a study goes into such
ROUNDS = 3


def measure() -> dict[str, Any]:
    """Seconds a run of one epoch, median and all; overhead; the committed runs' seconds."""
    from distributed import LocalCluster

    cores = os.cpu_count() or 1
    workers = {"n_workers": cores, "threads_per_worker": 1, "dashboard_address": None}
    with tempfile.TemporaryDirectory() as folder, LocalCluster(**workers) as cluster:
        paths = (Path(folder) / f"{number}.jsonl" for number in itertools.count())

        def runs(count: int, **where: Any) -> Figures:
            path = next(paths)
            taken = seconds(
                lambda: study.run_study(range(count), path, epochs=1, names=[NETWORK], **where)
            )
            trained = sum(run["seconds"] for run in study.load_runs(path))
            return {"seconds a run": taken / count, "overhead a run": (taken - trained) / count}

        runs(cores, jobs=cores)  # to warm up
        ways = {
            WAYS[0]: lambda: runs(1, jobs=1),
            WAYS[1]: lambda: runs(cores, jobs=cores),
            WAYS[2]: lambda: runs(cores, scheduler=cluster.scheduler_address),
        }
        found = in_turn(ways, ROUNDS)
    committed = study.load_runs()
    rounds = {way: [each["seconds a run"] for each in figures] for way, figures in found.items()}
    return {
        "cores": cores,
        "seconds a run": {way: statistics.median(each) for way, each in rounds.items()},
        "rounds": rounds,
        "overhead a run": medians(found)[WAYS[0]]["overhead a run"],
        "runs": {
            name: statistics.median(run["seconds"] for run in committed if run["candidate"] == name)
            for name in dict.fromkeys(run["candidate"] for run in committed)
        },
    }


def efficiency(measured: dict[str, Any], way: str) -> float:
    """How much of the cores' time goes into runs, compared with one run at a time."""
    each = measured["seconds a run"]
    return each[WAYS[0]] / (each[way] * measured["cores"])


def hours(measured: dict[str, Any], seeds: int, machines: int = 1) -> float:
    """What a study costs on machines like this one, by the committed runs' times.

    These were measured with one run per core, so on one machine that is what it takes; several
    take as much longer for their share as Dask took longer here.
    """
    runs, overhead = measured["runs"].values(), measured["overhead a run"]
    a_seed = sum(run + overhead for run in runs) / measured["cores"]
    dask = efficiency(measured, WAYS[1]) / efficiency(measured, WAYS[2]) if machines > 1 else 1
    return seeds * a_seed * dask / machines / 3600


def report(measured: dict[str, Any]) -> list[str]:
    """How the ways compare, and what a large study takes."""
    rows = []
    for way, rounds in measured["rounds"].items():
        figures = (measured["seconds a run"][way], min(rounds), max(rounds))
        shared = "" if way == WAYS[0] else f"{efficiency(measured, way):.2f}"
        rows.append((way, *(f"{each:.1f}" for each in figures), shared))
    times = ", ".join(f"{name} {value:.0f} s" for name, value in measured["runs"].items())
    one, hundred = hours(measured, 1000), hours(measured, 1000, machines=100)
    return [
        f"Runs of {NETWORK} for one epoch, one thread a run; {ROUNDS} rounds after a warm-up.",
        "",
        *table("| way | s a run, median | from | to | parallel efficiency |", *rows),
        "A committed run, five epochs with one run per core and often with other work beside it,",
        f"took in the median: {times}.",
        f"Its process needs {measured['overhead a run']:.1f} s more, to start and to predict.",
        f"So a study of 1,000 seeds takes {one:.0f} hours on this machine, and {hundred:.1f} on",
        "100 such machines, if Dask costs there what it costs here: runs need nothing from each",
        "other.",
        "",
    ]
