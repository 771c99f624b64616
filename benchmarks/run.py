"""Measure: ``make bench``. Writes benchmarks/RESULTS.md and its chart.

``python benchmarks/run.py PYTORCH [PART ...]`` measures only some of the parts training, notebook,
growth and study; what was measured of the others, in benchmarks/measured.json, stays.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
import growth
import notebook
import side_by_side
import study_cost
from measuring import HERE

from helpers.compute import processor
from helpers.data import load_mnist

MEASURED, RESULTS = HERE / "measured.json", HERE / "RESULTS.md"
# Each part, its heading in the results, and what writes what stands under it.
PARTS = {
    "training": ("## Training, side by side", side_by_side.report),
    "notebook": ("## The notebook", notebook.report),
    "growth": ("## How cost grows", growth.report),
    "study": ("## A study of many seeds", study_cost.report),
}


def measure(part: str, archive: str, pytorch: str, folder: Path) -> Any:
    """The figures of one part, fit for JSON."""
    match part:
        case "training":
            return side_by_side.measure(archive, pytorch)
        case "notebook":
            return notebook.measure(archive, folder)
        case "growth":
            return growth.measure()
        case "study":
            return study_cost.measure()
    sys.exit(f"error: there is no part {part!r}; expected some of {', '.join(PARTS)}.")


def machine(torch: str, instructions: str) -> str:
    """What the figures depend on besides the project."""
    return (
        f"{processor()}, with {instructions}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, TensorFlow {version('tensorflow')}, "
        f"Keras {version('keras')}, PyTorch {torch}"
    )


def report(measured: dict[str, Any]) -> str:
    """The results as Markdown; of each part, on which machine, and what is no longer so."""
    lines = [
        "# Measured",
        "",
        "Written by `make bench`, with nothing else running: medians of rounds in which all ways",
        "took turns. Ratios differ between processors, so each part says on which it was measured.",
        "",
    ]
    for part, (heading, write) in PARTS.items():
        about = (measured["machine"][part], measured["outdated"].get(part))
        lines += [heading, "", *(f"*{line}*\n" for line in about if line), *write(measured[part])]
    return "\n".join(lines)


def main() -> None:
    pytorch, *chosen = sys.argv[1:]
    digits = load_mnist()
    if not digits.is_full:
        needed = "let MNIST_NPZ name an mnist.npz, or allow a download"
        sys.exit(f"error: the benchmark needs the complete data set; {needed}")
    code = "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"
    torch = subprocess.run([pytorch, "-c", code], capture_output=True, text=True, check=True).stdout
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNIST_NPZ"] = archive = str(Path(folder) / "mnist.npz")
        np.savez(
            archive, x_train=digits.train_images, y_train=digits.train_labels,
            x_test=digits.test_images, y_test=digits.test_labels,
        )  # fmt: skip
        for part in chosen or PARTS:
            measured[part] = measure(part, archive, pytorch, Path(folder))
            measured["machine"][part] = machine(*torch.split())
            measured["outdated"].pop(part, None)
            text = json.dumps(measured, indent=1, allow_nan=False)
            MEASURED.write_text(f"{text}\n", encoding="utf-8")
    RESULTS.write_text(report(measured), encoding="utf-8")
    growth.chart(measured["growth"]).savefig(HERE / "growth.png")
    print(f"Written: {HERE.name}/RESULTS.md, growth.png")


if __name__ == "__main__":
    main()
