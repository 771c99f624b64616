"""Training side by side: as the article writes it, as the notebook does it, in PyTorch."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

HERE = Path(__file__).parent
ROUNDS = 5  # after one to warm up
CONTENDERS = {"as_written": "as written", "project": "this project", "uncapped": "uncapped", "pytorch": "PyTorch"}
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
    """Seconds per epoch at that rate: forward and, by weights and by inputs, back; and the validation."""
    forward = sum(LAYERS[network])
    training = 3 * forward - LAYERS[network][0]  # nobody needs the gradient by the image
    return (60_000 * training + 10_000 * forward) / rate


def measure(network: str, archive: str, pytorch: str) -> dict[str, list[dict[str, float]]]:
    """Epochs of all contenders, in turn, the first to warm up; a process each."""
    processes = {
        name: subprocess.Popen(
            [pytorch if name == "pytorch" else sys.executable, HERE / "contenders.py", name, network, archive],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | ({"MNIST_COMPUTE": "native"} if name == "uncapped" else {}),
        )
        for name in CONTENDERS
    }  # fmt: skip
    epochs = {name: [] for name in CONTENDERS}
    for name, process in processes.items():
        assert process.stdout.readline() == "ready\n", f"{name} did not start"
    for number in range(ROUNDS + 1):
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            epochs[name].append(json.loads(process.stdout.readline()))
            process.stdout.readline()  # it waits for its next turn, or to be let go
            print(network, f"round {number}", name, f"{epochs[name][-1]['seconds']:.2f} s", flush=True)
    for process in processes.values():
        process.communicate()
    return epochs


def median(epochs: list[dict[str, float]]) -> float:
    """Seconds of the epochs after the first."""
    return statistics.median(epoch["seconds"] for epoch in epochs[1:])


def table(measured: dict[str, dict[str, list[dict[str, float]]]], rate: float) -> list[str]:
    """The results and their ratios as Markdown."""
    lines = [
        "| network | contender | s per epoch, median | from | to | peak memory, MB | accuracy after 5 epochs, % |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for network, contenders in measured.items():
        for name, epochs in contenders.items():
            seconds = [epoch["seconds"] for epoch in epochs[1:]]
            lines.append(
                f"| {network} | {CONTENDERS[name]} | {median(epochs):.2f} | {min(seconds):.2f} | {max(seconds):.2f} "
                f"| {epochs[-1]['megabytes']:.0f} | {100 * epochs[4]['accuracy']:.2f} |"
            )
        lines.append(f"| {network} | limit | {limit(network, rate):.2f} | | | | |")
    lines += [
        "",
        "| this project / ... | as written | PyTorch | uncapped | limit | memory, as written |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for network, contenders in measured.items():
        ours = median(contenders["project"])
        memory = contenders["project"][-1]["megabytes"] / contenders["as_written"][-1]["megabytes"]
        lines.append(
            f"| {network} | {ours / median(contenders['as_written']):.2f} | {ours / median(contenders['pytorch']):.2f} "
            f"| {ours / median(contenders['uncapped']):.2f} | {ours / limit(network, rate):.2f} | {memory:.2f} |"
        )
    return lines


def chart(measured: dict[str, dict[str, list[dict[str, float]]]], rate: float) -> Figure:
    """Seconds per epoch: a bar for the median, a dot a round, a line for the limit."""
    figure = Figure(figsize=(8, 3.4), dpi=120, facecolor="white", layout="constrained")
    for axis, (network, contenders) in zip(
        figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True
    ):
        names = [CONTENDERS[name] for name in contenders]
        axis.bar(names, [median(epochs) for epochs in contenders.values()], color="#3f90da", alpha=0.5)
        for place, epochs in enumerate(contenders.values()):
            axis.plot([place] * ROUNDS, [epoch["seconds"] for epoch in epochs[1:]], "k.", alpha=0.6)
        axis.axhline(limit(network, rate), color="#bd1f01", linestyle="--")
        axis.annotate(
            "limit",
            (1, limit(network, rate)),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="#bd1f01",
        )
        axis.set(title=network, ylabel="seconds per epoch", ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    return figure
