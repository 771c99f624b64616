"""How everything here is measured: in turn, in several rounds, of which the medians count."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent
Figures = dict[str, float]


def in_turn(ways: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Measure each way once a round: what slows the machine for a while slows all of them."""
    found: dict[str, list[Figures]] = {name: [] for name in ways}
    for number in range(1, rounds + 1):
        for name, measure in ways.items():
            found[name].append(measure())
            print(f"round {number}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


def medians(found: Mapping[str, list[Figures]]) -> dict[str, Figures]:
    """Of each way, each figure's median over the rounds."""
    return {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def timed(*command: object, where: Path = PROJECT, **environment: str) -> float:
    """Seconds of a command, which must succeed; what it prints is thrown away."""
    options = {"cwd": where, "env": os.environ | environment, "check": True}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return seconds(lambda: subprocess.run(command, **options, **quiet))


def in_a_process(script: str, *arguments: object) -> Figures:
    """The figures that a script here prints as JSON: a process has its own peak of memory."""
    command = [sys.executable, HERE / script, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def peak_megabytes() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def table(columns: str, *rows: tuple[object, ...]) -> list[str]:
    """A table in Markdown, its first column to the left; columns are named as it names them."""
    alignment = "|---|" + "---:|" * (columns.count("|") - 2)
    return [columns, alignment, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]
