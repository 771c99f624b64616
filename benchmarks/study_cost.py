"""What a study of many seeds costs: how well its runs share a machine's cores, and a Dask cluster's workers."""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import study

WAYS = ("one run at a time", "one run per core", "one run per core, by Dask")
NETWORK = "conv"  # one only, so that no core waits for the last run; nine tenths of a study go into such runs
ROUNDS = 3


def measure() -> dict[str, Any]:
    """Seconds a run of one epoch, median and all; overhead; the committed runs' seconds."""
    from distributed import LocalCluster

    cores = os.cpu_count()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    overheads = []
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=cores, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        options = ({"jobs": 1}, {"jobs": cores}, {"scheduler": cluster.scheduler_address})
        study.run_study([0], Path(folder) / "warm-up.jsonl", jobs=cores, epochs=1, names=[NETWORK])
        for turn in range(ROUNDS):
            for way, where in zip(WAYS, options, strict=True):
                seeds = range(1) if way == WAYS[0] else range(cores)
                path = Path(folder) / f"{way}-{turn}.jsonl"
                start = time.perf_counter()
                study.run_study(seeds, path, epochs=1, names=[NETWORK], **where)
                seconds[way].append((time.perf_counter() - start) / len(seeds))
                print(f"study, round {turn + 1}, {way}: {seconds[way][-1]:.1f} s a run", flush=True)
                if way == WAYS[0]:
                    runs = study.load_runs(path)
                    overheads.append((seconds[way][-1] - sum(run["seconds"] for run in runs)) / len(runs))
    committed = study.load_runs()
    return {
        "cores": cores,
        "seconds a run": {way: statistics.median(each) for way, each in seconds.items()},
        "rounds": seconds,
        "overhead a run": statistics.median(overheads),
        "runs": {
            name: statistics.median(run["seconds"] for run in committed if run["candidate"] == name)
            for name in ("dense", "conv", "conv-normalised")
        },
    }


def efficiency(measured: dict[str, Any], way: str) -> float:
    """How much of the cores' time goes into runs, compared with one run at a time."""
    seconds = measured["seconds a run"]
    return seconds[WAYS[0]] / (seconds[way] * measured["cores"])


def hours(measured: dict[str, Any], seeds: int, machines: int = 1) -> float:
    """What a study costs on so many machines like this one, one run per core, by the committed runs' times.

    These were measured with one run per core, so on one machine that is what it takes; several
    machines take as much longer for their share as Dask took longer here.
    """
    a_seed = sum(seconds + measured["overhead a run"] for seconds in measured["runs"].values()) / measured["cores"]
    overhead = efficiency(measured, WAYS[1]) / efficiency(measured, WAYS[2]) if machines > 1 else 1
    return seeds * a_seed * overhead / machines / 3600


def report(measured: dict[str, Any]) -> list[str]:
    """The section on the study, as lines of Markdown."""
    seconds = measured["seconds a run"]
    times = ", ".join(f"{name} {value:.0f} s" for name, value in measured["runs"].items())
    return [
        f"Runs of {NETWORK} for one epoch, one thread a run; the ways take turns, {ROUNDS} rounds after a warm-up.",
        "",
        "| way | s a run, median | from | to | parallel efficiency |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {way} | {seconds[way]:.1f} | {min(measured['rounds'][way]):.1f} | {max(measured['rounds'][way]):.1f} | "
            + ("|" if way == WAYS[0] else f"{efficiency(measured, way):.2f} |")
            for way in WAYS
        ),
        "",
        "A committed run, five epochs with one run per core and often with other work beside it, took in the median: "
        f"{times}; its process needs "
        f"{measured['overhead a run']:.1f} s more, to start and to predict.",
        f"So a study of 1,000 seeds takes {hours(measured, 1000):.0f} hours on this machine, "
        f"and {hours(measured, 1000, 100):.1f} on "
        "100 such machines, if Dask costs there what it costs here: runs need nothing from each other.",
    ]
