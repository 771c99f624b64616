"""Measure the training side by side: ``make bench``. Writes benchmarks/RESULTS.md and a chart."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from helpers.data import load_mnist  # noqa: E402
from helpers.startup import processor  # noqa: E402

ROUNDS = 5
CONTENDERS = {"as_written": "as written", "project": "this project", "pytorch": "PyTorch"}
# Multiply-adds of each layer with weights, one image forward.
LAYERS = {
    "dense": (784 * 512, 512 * 512, 512 * 10),
    "conv": (26 * 26 * 9 * 32, 24 * 24 * 9 * 32 * 32, 4608 * 128, 128 * 10),
}


def matrix_product_rate(size: int = 2048) -> float:
    """Multiply-adds a second of 32-bit matrix products, the best of ten."""
    a = np.ones((size, size), np.float32)
    a @ a
    times = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return size**3 / min(times)


def limit(network: str, rate: float) -> float:
    """Seconds an epoch at that rate: forward and, by weights and by inputs, back; and the validation."""
    forward = sum(LAYERS[network])
    training = 3 * forward - LAYERS[network][0]  # nobody needs the gradient by the image
    return (60_000 * training + 10_000 * forward) / rate


def measure(network: str, archive: str, pytorch: str) -> dict[str, list[dict[str, float]]]:
    """Epochs of all contenders, in turn; a process each."""
    processes = {
        name: subprocess.Popen(
            [pytorch if name == "pytorch" else sys.executable, HERE / "contenders.py", name, network, archive],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for name in CONTENDERS
    }  # fmt: skip
    epochs = {name: [] for name in CONTENDERS}
    for name, process in processes.items():
        assert process.stdout.readline() == "ready\n", f"{name} did not start"
    for number in range(1, ROUNDS + 1):
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            epochs[name].append(json.loads(process.stdout.readline()))
            if number < ROUNDS:
                process.stdout.readline()
            print(network, f"round {number}", name, f"{epochs[name][-1]['seconds']:.2f} s", flush=True)
    for process in processes.values():
        process.communicate()
    return epochs


def median(epochs: list[dict[str, float]]) -> float:
    return statistics.median(epoch["seconds"] for epoch in epochs)


def report(measured: dict[str, dict[str, list[dict[str, float]]]], rate: float, torch: str) -> str:
    """The results as Markdown."""
    lines = [
        "# Training, side by side",
        "",
        "Written by `make bench`. Each contender trains in a process of its own; they take turns, an epoch each,",
        f"{ROUNDS} rounds. An epoch is 60,000 images in batches of 64 and the validation on 10,000.",
        "",
        f"{processor()}, {os.cpu_count()} cores, {2 * rate / 1e9:.0f} GFLOP/s in 32-bit matrix products. Python "
        f"{platform.python_version()}, TensorFlow {version('tensorflow')}, Keras {version('keras')}, PyTorch {torch}.",
        "",
        "- *as written*: the article's steps in today's Keras, float64 pixels, default `compile` and `fit`",
        "- *this project*: as the notebook trains",
        "- *PyTorch*: the same networks, tensors in memory, batches by index, Adam with `fused=True`",
        "- *limit*: the multiply-adds at the rate of a large matrix product",
        "",
        "| network | contender | s an epoch, median | from | to | peak memory, MB | accuracy after 5 epochs, % |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for network, contenders in measured.items():
        for name, epochs in contenders.items():
            seconds = [epoch["seconds"] for epoch in epochs]
            last = epochs[-1]
            lines.append(
                f"| {network} | {CONTENDERS[name]} | {median(epochs):.2f} | {min(seconds):.2f} | {max(seconds):.2f} "
                f"| {last['megabytes']:.0f} | {100 * last['accuracy']:.2f} |"
            )
        lines.append(f"| {network} | limit | {limit(network, rate):.2f} | | | | |")
    lines += ["", "| this project / ... | as written | PyTorch | limit | memory, as written |", "|---|---:|---:|---:|---:|"]
    for network, contenders in measured.items():
        ours = median(contenders["project"])
        memory = contenders["project"][-1]["megabytes"] / contenders["as_written"][-1]["megabytes"]
        lines.append(
            f"| {network} | {ours / median(contenders['as_written']):.2f} | {ours / median(contenders['pytorch']):.2f} "
            f"| {ours / limit(network, rate):.2f} | {memory:.2f} |"
        )
    lines += [
        "",
        "Where *as written* takes many seconds longer in one round than in another, the autotuning of tf.data kept a",
        "finished epoch waiting; `batches` in `helpers/training.py` does without it.",
        "",
        "![Seconds an epoch, each round a dot](epochs.png)",
        "",
    ]
    return "\n".join(lines)


def chart(measured: dict[str, dict[str, list[dict[str, float]]]], rate: float) -> Figure:
    """Seconds an epoch: a bar for the median, a dot a round, a line for the limit."""
    figure = Figure(figsize=(8, 3.4), dpi=120, facecolor="white", layout="constrained")
    for axis, (network, contenders) in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True):
        names = [CONTENDERS[name] for name in contenders]
        axis.bar(names, [median(epochs) for epochs in contenders.values()], color="#3f90da", alpha=0.5)
        for place, epochs in enumerate(contenders.values()):
            axis.plot([place] * len(epochs), [epoch["seconds"] for epoch in epochs], "k.", alpha=0.6)
        axis.axhline(limit(network, rate), color="#bd1f01", linestyle="--")
        axis.annotate("limit", (1, limit(network, rate)), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="#bd1f01")
        axis.set(title=network, ylabel="seconds an epoch", ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    pytorch = sys.argv[1]
    torch = subprocess.run([pytorch, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=True)
    digits = load_mnist()
    if not digits.is_full:
        sys.exit("error: the benchmark needs the complete data set; let MNIST_NPZ name an mnist.npz, or allow a download")
    with tempfile.TemporaryDirectory() as folder:
        archive = str(Path(folder) / "mnist.npz")
        np.savez(archive, x_train=digits.train_images, y_train=digits.train_labels,
                 x_test=digits.test_images, y_test=digits.test_labels)  # fmt: skip
        rate = matrix_product_rate()
        measured = {network: measure(network, archive, pytorch) for network in LAYERS}
    (HERE / "RESULTS.md").write_text(report(measured, rate, torch.stdout.strip()))
    chart(measured, rate).savefig(HERE / "epochs.png")
    print(f"Written: {HERE.name}/RESULTS.md and {HERE.name}/epochs.png")


if __name__ == "__main__":
    main()
