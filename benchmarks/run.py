"""Measure: ``make bench``. Writes benchmarks/RESULTS.md and its charts.

``python benchmarks/run.py PYTORCH [PART ...]`` measures only some of the parts training, parts, notebook,
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

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import growth  # noqa: E402
import notebook  # noqa: E402
import side_by_side  # noqa: E402
import study_cost  # noqa: E402

from helpers import embedding  # noqa: E402
from helpers.data import load_mnist  # noqa: E402
from helpers.startup import processor  # noqa: E402

MEASURED, RESULTS = HERE / "measured.json", HERE / "RESULTS.md"
PARTS = ("training", "parts", "notebook", "growth", "study")


def machine(pytorch: str) -> str:
    """What the figures depend on besides the project."""
    torch = [pytorch, "-c", "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"]
    torch_version, instructions = subprocess.run(torch, capture_output=True, text=True, check=True).stdout.split()
    return (
        f"{processor()}, with {instructions}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"TensorFlow {version('tensorflow')}, Keras {version('keras')}, PyTorch {torch_version}"
    )


def measure(part: str, archive: str, pytorch: str, folder: Path) -> dict[str, Any]:
    """The figures of one part, fit for JSON."""
    if part == "training":
        rate = side_by_side.matrix_product_rate()
        networks = {network: side_by_side.measure(network, archive, pytorch) for network in side_by_side.LAYERS}
        return {"rate": rate, "networks": networks}
    if part == "parts":
        command = [sys.executable, HERE / "parts.py"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if part == "study":
        return study_cost.measure()
    return notebook.measure(archive, folder) if part == "notebook" else growth.measure_all()


def report(measured: dict[str, Any]) -> str:
    """The results as Markdown."""
    rate, networks = measured["training"]["rate"], measured["training"]["networks"]
    cost, parts, grown = measured["notebook"], measured["parts"], measured["growth"]
    embedded = grown["images embedded"][-1]
    alone = sum(seconds for part, seconds in parts.items() if part != "the whole step")
    lines = [
        "# Measured",
        "",
        "Written by `make bench`, with nothing else running. Ratios differ between processors, so each part says "
        "on which it was measured.",
        "",
        "## Training, side by side",
        "",
        f"*{measured['machine']['training']}; {2 * rate / 1e9:.0f} GFLOP/s in 32-bit matrix products.*",
        "",
        "Each contender trains in a process of its own; they take turns, one epoch each, "
        f"{side_by_side.ROUNDS} rounds after one",
        "to warm up. An epoch is 60,000 images in batches of 64 and the validation on 10,000.",
        "",
        "- *as written*: the article's steps in today's Keras, float64 pixels, default `compile` and `fit`",
        "- *this project*: as the notebook trains, with the same bits on every x86-64 processor with AVX2",
        "- *uncapped*: the same with `MNIST_COMPUTE=native`, so with all instructions that the processor has",
        "- *PyTorch*: the same networks, tensors in memory, batches by index, Adam with `fused=True`",
        "- *limit*: the multiply-adds at the rate of a large matrix product",
        "",
        *side_by_side.table(networks, rate),
        "",
        "Where *as written* takes many seconds longer in one round than in another, the autotuning of tf.data kept a",
        "finished epoch waiting; `batches` in `helpers/training.py` does without it.",
        "",
        "![Seconds per epoch, each round a dot](epochs.png)",
        "",
        "### What a training step of the dense network is made of",
        "",
        f"*{measured['machine']['parts']}.*",
        "",
        "Each part measured alone, repeated within TensorFlow without a return to Python.",
        "",
        "| part | ms a step |",
        "|---|---:|",
        *(f"| {part} | {ms:.2f} |" for part, ms in parts.items() if part != "the whole step"),
        "| *the remainder: all other operations, and waiting of threads for each other* "
        f"| {parts['the whole step'] - alone:.2f} |",
        f"| **the whole step**, without validation | **{parts['the whole step']:.2f}** |",
        "",
        "## The notebook",
        "",
        f"*{measured['machine']['notebook']}.*",
        "",
        "| | seconds |",
        "|---|---:|",
        f"| a plain script that imports TensorFlow, computes the embedding and predicts | {cost['plain']['all']:.1f} |",
        f"| the notebook, models in place (median of {notebook.ROUNDS}, in turn with the script) "
        f"| {cost['cached']['all']:.1f} |",
        f"| **their ratio** | **{cost['cached']['all'] / cost['plain']['all']:.2f}** |",
        f"| the notebook, all networks trained from scratch | {cost['scratch']['all']:.1f} |",
        "",
        "| seconds by section | models in place | from scratch |",
        "|---|---:|---:|",
        *(
            f"| {part} | {seconds:.1f} | {cost['scratch'][part]:.1f} |"
            for part, seconds in cost["cached"].items()
            if part != "all"
        ),
        "",
        "### `make run` from nothing: a fresh clone, no `.venv`, an empty home, the data at hand",
        "",
        "| part | seconds |",
        "|---|---:|",
        *(f"| {part} | {seconds:.1f} |" for part, seconds in cost["nothing"].items() if part != "all"),
        f"| **all** | **{cost['nothing']['all']:.1f}** |",
        "",
        "The packages take longest. Installed once more, in steps, and TensorFlow imported from them:",
        "",
        "| part | seconds |",
        "|---|---:|",
        *(f"| {part} | {seconds:.1f} |" for part, seconds in cost["packages"].items()),
        "",
        "Compiling costs seconds once and saves them in every start, where Python may not write bytecode itself, "
        "and in the",
        "first start everywhere else; so `make run` has uv do it, on all cores.",
        "",
        "## How cost grows",
        "",
        f"*{measured['machine']['growth']}.*",
        "",
        "A process for each measurement. *Training images*: seconds of an epoch after the first, "
        "validated on a sixth as",
        f"many images. *Epochs*: seconds of a whole training on {growth.EPOCHS_IMAGES:,} images, start included. "
        "*Images embedded*:",
        "seconds of the spectral embedding, neighbours by brute force. "
        "Fitted: a constant and a power (of the embedding, no",
        "constant), by least squares of the relative errors; the exponent with its standard error.",
        "",
        *growth.table(grown),
        "",
        f"{embedded['images']:,} images are embedded in {embedded['seconds'] / 60:.1f} minutes, "
        f"in {embedded['megabytes'] / 1000:.2f} GB. "
        "Beyond",
        f"{embedding.ARPACK_UP_TO:,} images the eigenvectors come from multigrid instead of Arpack, "
        "so time is all but that of the",
        "neighbours, and memory drops.",
        "",
        "![Seconds and peak memory, on logarithmic axes](growth.png)",
        "",
        "## A study of many seeds",
        "",
        f"*{measured['machine']['study']}.*",
        "",
        *study_cost.report(measured["study"]),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    pytorch, *parts = sys.argv[1:]
    digits = load_mnist()
    if not digits.is_full:
        sys.exit(
            "error: the benchmark needs the complete data set; let MNIST_NPZ name an mnist.npz, or allow a download"
        )
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        archive = str(Path(folder) / "mnist.npz")
        np.savez(archive, x_train=digits.train_images, y_train=digits.train_labels,
                 x_test=digits.test_images, y_test=digits.test_labels)  # fmt: skip
        os.environ["MNIST_NPZ"] = archive
        for part in parts or PARTS:
            measured[part] = measure(part, archive, pytorch, Path(folder))
            measured.setdefault("machine", {})[part] = machine(pytorch)
            MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
    RESULTS.write_text(report(measured))
    training = measured["training"]
    side_by_side.chart(training["networks"], training["rate"]).savefig(HERE / "epochs.png")
    growth.chart(measured["growth"]).savefig(HERE / "growth.png")
    print(f"Written: {HERE.name}/RESULTS.md, epochs.png, growth.png")


if __name__ == "__main__":
    main()
