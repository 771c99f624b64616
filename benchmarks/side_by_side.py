"""Training side by side: as the article writes it, as the notebook does it, in PyTorch."""

import json
import os
import statistics
import subprocess
import sys
from typing import Any

import numpy as np
from measuring import HERE, Figures, in_turn, seconds, table

ROUNDS = 5  # after one to warm up
CONTENDERS = {
    "as_written": "as written",
    "project": "this project",
    "uncapped": "uncapped",
    "pytorch": "PyTorch",
}
# Multiply-adds of each layer with weights, one image forward.
LAYERS = {
    "dense": (784 * 512, 512 * 512, 512 * 10),
    "conv": (26 * 26 * 9 * 32, 24 * 24 * 9 * 32 * 32, 4608 * 128, 128 * 10),
}


def matrix_product_rate(size: int = 2048) -> float:
    """Multiply-adds a second of 32-bit matrix products, the best of ten: a limit, so no median."""
    a = np.ones((size, size), np.float32)
    return size**3 / min(seconds(lambda: a @ a) for _ in range(10))


def limit(network: str, rate: float) -> float:
    """Seconds per epoch at that rate: forward, back by weights and by inputs; and validation."""
    forward = sum(LAYERS[network])
    training = 3 * forward - LAYERS[network][0]  # nobody needs the gradient by the image
    return (60_000 * training + 10_000 * forward) / rate


def measure(archive: str, pytorch: str) -> dict[str, Any]:
    """Epochs of all contenders of each network, in turn, the first to warm up."""
    networks = {network: contest(network, archive, pytorch) for network in LAYERS}
    return {"rate": matrix_product_rate(), "networks": networks}


def contest(network: str, archive: str, pytorch: str) -> dict[str, list[Figures]]:
    """A process for each contender; they do an epoch each, in turn."""
    processes = {
        name: subprocess.Popen(
            [python, HERE / "contenders.py", name, network, archive, str(ROUNDS + 1)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | ({"MNIST_COMPUTE": "native"} if name == "uncapped" else {}),
        )
        for name, python in zip(CONTENDERS, 3 * [sys.executable] + [pytorch], strict=True)
    }  # fmt: skip

    def epoch(process: subprocess.Popen) -> Figures:
        print("go", file=process.stdin, flush=True)
        found = json.loads(process.stdout.readline())
        process.stdout.readline()  # it waits for its next turn, or to be let go
        return found

    for name, process in processes.items():
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{name} did not start; benchmarks/contenders.py alone says why")
    ways = {name: lambda process=process: epoch(process) for name, process in processes.items()}
    epochs = in_turn(ways, ROUNDS + 1)
    for process in processes.values():
        process.communicate()
    return epochs


def median(epochs: list[Figures]) -> float:
    """Seconds of the epochs after the first."""
    return statistics.median(epoch["seconds"] for epoch in epochs[1:])


def report(measured: dict[str, Any]) -> list[str]:
    """What was measured, and the ratios."""
    rows, ratios = [], []
    for network, contenders in measured["networks"].items():
        for name, epochs in contenders.items():
            times = [epoch["seconds"] for epoch in epochs[1:]]
            figures = (median(epochs), min(times), max(times))
            memory, accuracy = epochs[-1]["megabytes"], 100 * epochs[4]["accuracy"]
            times = [f"{each:.2f}" for each in figures]
            rows.append((network, CONTENDERS[name], *times, f"{memory:.0f}", f"{accuracy:.2f}"))
        least = limit(network, measured["rate"])
        rows.append((network, "limit", f"{least:.2f}", "", "", "", ""))
        ours = median(contenders["project"])
        others = [median(contenders[name]) for name in ("as_written", "pytorch", "uncapped")]
        memory = [contenders[name][-1]["megabytes"] for name in ("project", "as_written")]
        compared = [ours / other for other in (*others, least)] + [memory[0] / memory[1]]
        ratios.append((network, *(f"{each:.2f}" for each in compared)))
    return [
        f"Each contender trains in a process of its own; they take turns, one epoch each, {ROUNDS}",
        "rounds after one to warm up. An epoch is 60,000 images in batches of 64 and the",
        "validation on 10,000.",
        "",
        "- *as written*: the article's steps in today's Keras, float64 pixels, `compile` and `fit`",
        "  with their defaults",
        "- *this project*: as the notebook trains, the same bits on every x86-64 processor with",
        "  AVX2",
        "- *uncapped*: the same with `MNIST_COMPUTE=native`, so with all the processor's",
        "  instructions",
        "- *PyTorch*: the same networks, tensors in memory, batches by index, Adam with",
        "  `fused=True`",
        "- *limit*: the multiply-adds at the rate of a large matrix product of 32-bit numbers,",
        f"  {2 * measured['rate'] / 1e9:.0f} GFLOP/s",
        "",
        *table(
            "| network | contender | s per epoch, median | from | to | peak memory, MB "
            "| accuracy after 5 epochs, % |",
            *rows,
        ),
        *table(
            "| this project / ... | as written | PyTorch | uncapped | limit "
            "| memory, as written |",
            *ratios,
        ),
        "Where *as written* takes many seconds longer in one round than in another, the autotuning",
        "of tf.data kept a finished epoch waiting; `batches` in `helpers/training.py` does without",
        "it.",
        "",
    ]
