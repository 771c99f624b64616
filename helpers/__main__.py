"""The commands behind the Makefile: ``python -m helpers COMMAND``."""

import base64
import json
import os
import sys
import threading
from pathlib import Path

from helpers.data import DataError, load_mnist
from helpers.study import StudyError


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
    count = run_study(range(1, int(seeds) + 1), scheduler=scheduler or None)
    print(f"{count} runs done, appended to {RUNS.relative_to(RUNS.parent.parent)}.")


def train_here(name: str, seed: str, epochs: str, data: str) -> None:
    """Do one run of a study, print it, and give up once nobody waits for it any more."""
    from helpers.study import train_here

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    print(json.dumps(train_here(name, int(seed), int(epochs), data)))


def headline(path: str) -> None:
    """Print what an executed notebook found, and where it and its report are."""
    notebook = Path(path)
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    first_code = next(cell for cell in cells if cell["cell_type"] == "code" and cell["outputs"])
    text = "".join(first_code["outputs"][0]["data"]["text/plain"])
    print(f"\n{text}\n\nNotebook: {notebook}\nReport:   {notebook.with_suffix('.html')}")


def figure(notebook: str, picture: str) -> None:
    """Write a notebook's last figure, the map of the digits, to a file for README."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    figures = [
        output["data"]["image/png"]
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    Path(picture).write_bytes(base64.b64decode(figures[-1]))


if __name__ == "__main__":
    commands = {
        "nbval": nbval, "retrain": retrain, "study": study, "train-here": train_here, "headline": headline,
        "figure": figure,
    }  # fmt: skip
    command, *arguments = sys.argv[1:] or ["?"]
    if command not in commands:
        sys.exit(f"usage: python -m helpers {{{','.join(commands)}}}")
    try:
        commands[command](*arguments)
    except (DataError, StudyError) as error:
        sys.exit(f"error: {error}")
