"""The commands behind the Makefile: ``python -m helpers COMMAND``."""

import base64
import json
import math
import os
import sys
import threading
from pathlib import Path
from typing import Any

from helpers.data import DataError, load_mnist
from helpers.report import RESULTS
from helpers.study import StudyError

CHECKED_RESULTS = Path(__file__).parent.parent / "tests" / "results.json"


def nbval() -> None:
    """Print how the notebook's stored outputs, made with the complete data, are to be compared."""
    digits = load_mnist()
    if digits.is_full:
        print("--nbval")
    else:
        print(
            "Only a sample of MNIST is at hand: the notebook is executed, its outputs are not compared.",
            file=sys.stderr,
        )
        print("--nbval-lax")


def retrain() -> None:
    """Train the models that come with the project anew."""
    digits = load_mnist()
    if not digits.is_full:
        raise DataError(
            "The models that come with the project are trained on the complete data set, and only a "
            "sample is at hand. Let MNIST_NPZ name an mnist.npz, or allow a download."
        )
    from helpers.startup import start_tensorflow

    start_tensorflow()
    from helpers.models import CANDIDATES
    from helpers.training import Settings, retrain

    for candidate in CANDIDATES:
        history = retrain(candidate, digits, Settings()).history
        print(
            f"{candidate.name}: training accuracy {history['accuracy'][-1]:.4f}, "
            f"validation accuracy {history['val_accuracy'][-1]:.4f}"
        )
    print("Stored in models/. `make refresh` brings the notebook's outputs up to date.")


def study(seeds: str, scheduler: str = "") -> None:
    """Train every candidate with the seeds 1, 2, ..., here or on a Dask cluster; continue what was begun."""
    from helpers.study import RUNS, run_study

    if not load_mnist().is_full:
        raise DataError("The study is of the complete data set. Let MNIST_NPZ name an mnist.npz, or allow a download.")
    try:
        count = run_study(range(1, int(seeds) + 1), scheduler=scheduler or None)
    except KeyboardInterrupt:
        sys.exit("Stopped. What was finished is kept; the same command goes on from there.")
    print(f"{count} runs done, appended to {RUNS.relative_to(RUNS.parent.parent)}.")


def one_run(name: str, seed: str, epochs: str, made_from: str) -> None:
    """Do one run of a study, print it, and give up once nobody waits for it any more."""
    from helpers.study import train_here

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps(train_here(name, int(seed), int(epochs), made_from)))


def headline(path: str) -> None:
    """Print what an executed notebook found, and where it and its report are."""
    notebook = Path(path)
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    first_code = next(cell for cell in cells if cell["cell_type"] == "code" and cell["outputs"])
    text = "".join(first_code["outputs"][0]["data"]["text/plain"])
    print(f"\n{text}\n\nNotebook: {notebook}\nReport:   {notebook.with_suffix('.html')}")


def results() -> None:
    """See that the run before wrote the results that the text is checked against."""
    if not load_mnist().is_full:
        print("Only a sample of MNIST is at hand: the results are not compared.", file=sys.stderr)
        return
    fresh, stored = (json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS, CHECKED_RESULTS))
    if differing := sorted(name for name in fresh | stored if not _alike(fresh.get(name), stored.get(name))):
        sys.exit(
            f"error: {', '.join(differing)} came out otherwise than in {CHECKED_RESULTS.parent.name}/{CHECKED_RESULTS.name}, "
            "against which the text is checked. If that is as intended: make refresh, then correct the text."
        )


def _alike(value: Any, other: Any) -> bool:
    """Whether two results are the same but for the last digits, which another processor may give otherwise."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_alike(value[key], other[key]) for key in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_alike, value, other))
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-5, abs_tol=1e-9)
    return value == other


def figures(notebook: str, folder: str) -> None:
    """Write the figures that README shows, as the notebook's stored outputs have them, to a folder."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    for name in ("runs", "embedding"):
        cell = next(cell for cell in cells if f"plots.{name}(" in "".join(cell["source"]))
        Path(folder, f"{name}.png").write_bytes(base64.b64decode(cell["outputs"][0]["data"]["image/png"]))


if __name__ == "__main__":
    commands = {
        "nbval": nbval, "results": results, "retrain": retrain, "study": study, "train-here": one_run,
        "headline": headline, "figures": figures,
    }  # fmt: skip
    command, *arguments = sys.argv[1:] or ["?"]
    if command not in commands:
        sys.exit(f"usage: python -m helpers {{{','.join(commands)}}}")
    try:
        commands[command](*arguments)
    except (DataError, StudyError) as error:
        sys.exit(f"error: {error}")
