"""How time and memory grow with the images, the epochs, and the points of the embedding.

``python benchmarks/growth.py KIND IMAGES EPOCHS`` is one measurement in a process of its own, so that
each has its own peak of memory; KIND is dense, conv or embedding.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from scipy.optimize import curve_fit

sys.path.insert(0, str(Path(__file__).parent.parent))

IMAGES = (1000, 2000, 5000, 10_000, 20_000, 40_000, 60_000)
EPOCHS = (1, 2, 5, 10, 20)
EPOCHS_IMAGES = 10_000  # for the growth with the epochs
POINTS = (1000, 2000, 5000, 10_000, 20_000, 40_000, 70_000)
SERIES = {
    "training images": [(kind, images, 4) for kind in ("dense", "conv") for images in IMAGES],
    "epochs": [(kind, EPOCHS_IMAGES, epochs) for kind in ("dense", "conv") for epochs in EPOCHS],
    "images embedded": [("embedding", points, 1) for points in POINTS],
}
Point = dict[str, float | str]


def measure_all(series: dict[str, list[tuple[str, int, int]]] = SERIES) -> dict[str, list[Point]]:
    """All measurements, each in a process of its own; the short ones three times, and of these the median."""
    measured = {}
    for name, points in series.items():
        measured[name] = []
        for kind, images, epochs in points:
            command = [sys.executable, __file__, kind, str(images), str(epochs)]
            times = 3 if kind != "conv" and images * epochs <= 40_000 else 1
            runs = [
                json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(times)
            ]
            point = {"kind": kind, "images": images, "epochs": epochs} | {
                key: statistics.median(run[key] for run in runs) for key in runs[0]
            }
            measured[name].append(point)
            print(name, point, flush=True)
    return measured


def measure_one(kind: str, images: int, epochs: int) -> Point:
    """Seconds and peak memory of one training or one embedding, after importing."""
    from helpers.data import Digits, load_mnist

    digits = load_mnist()
    if kind == "embedding":
        from helpers.embedding import neighbour_graph, spectral_embedding

        pixels = np.concatenate([digits.test_images, digits.train_images])[:images]
        start = time.perf_counter()
        spectral_embedding(neighbour_graph(pixels))
        return {"seconds": time.perf_counter() - start, "megabytes": peak()}
    from helpers.startup import start_tensorflow

    start_tensorflow()
    import keras

    from helpers import models, training

    marks = []

    class Marks(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            marks.append(time.perf_counter())

        def on_epoch_end(self, epoch, logs=None):
            marks.append(time.perf_counter())

    training._ShowProgress = lambda *arguments: Marks()  # no bar, but times
    part = Digits(digits.train_images[:images], digits.train_labels[:images],
                  digits.test_images[: images // 6], digits.test_labels[: images // 6], True, "")  # fmt: skip
    start = time.perf_counter()
    training.train(models.DENSE if kind == "dense" else models.CONV, part, training.Settings(epochs=epochs))
    seconds = time.perf_counter() - start
    later = [end - begin for begin, end in zip(marks[2::2], marks[3::2], strict=True)]
    epoch = {"epoch": statistics.median(later)} if later else {"epoch": float("nan")}
    return {"seconds": seconds, "megabytes": peak(), **epoch}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def fitted(x: list[float], y: list[float], start: bool = True) -> tuple[float, float, float, float]:
    """The constant, factor and exponent of y = constant + factor x**exponent, by relative least squares.

    Without a start the constant is 0. Last comes the exponent's standard error.
    """

    def logarithm(x, factor, exponent, constant=-np.inf):
        return np.log(np.exp(constant) + np.exp(factor) * x**exponent)

    guess = [np.log(y[-1] / x[-1]), 1.0] + [np.log(y[0] / 2)] * start
    best, covariance = curve_fit(logarithm, np.asarray(x, float), np.log(y), guess, maxfev=20_000)
    constant = np.exp(best[2]) if start else 0.0
    return float(constant), float(np.exp(best[0])), float(best[1]), float(np.sqrt(covariance[1, 1]))


def curves(measured: dict[str, list[Point]]) -> list[tuple[str, str, list[float], list[float], list[float]]]:
    """Of each series and kind: what grows, the kind, and its x, seconds and megabytes.

    Training time is that of an epoch where the images grow, and that of the whole training
    where the epochs do.
    """
    found = []
    for name, points in measured.items():
        x_key = "epochs" if name == "epochs" else "images"
        y_key = "epoch" if name == "training images" else "seconds"
        for kind in dict.fromkeys(point["kind"] for point in points):
            own = [point for point in points if point["kind"] == kind]
            found.append((name, kind, *([point[key] for point in own] for key in (x_key, y_key, "megabytes"))))
    return found


def table(measured: dict[str, list[Point]]) -> list[str]:
    """Smallest and largest measurement of each curve with the fitted growth, as Markdown."""
    lines = [
        "| what grows | of | from | to | seconds | seconds, fitted | exponent | peak memory, MB |",
        "|---|---|---:|---:|---|---|---:|---|",
    ]
    for name, kind, x, seconds, megabytes in curves(measured):
        constant, factor, exponent, error = fitted(x, seconds, start=kind != "embedding")
        lines.append(
            f"| {name} | {kind} | {x[0]:,} | {x[-1]:,} | {seconds[0]:.2f} to {seconds[-1]:.2f} "
            f"| {constant:.3f} + {factor:.2g} x^{exponent:.2f} | {exponent:.2f} ± {error:.2f} "
            f"| {megabytes[0]:.0f} to {megabytes[-1]:.0f} |"
        )
    return lines


def chart(measured: dict[str, list[Point]]) -> Figure:
    """Time above, memory below; both axes logarithmic, the fitted growth as a line."""
    colors = {"dense": "#3f90da", "conv": "#bd1f01", "embedding": "#832db6"}
    figure = Figure(figsize=(10, 6), dpi=120, facecolor="white", layout="constrained")
    axes = figure.subplots(2, len(measured), sharex="col", sharey="row")
    for column, name in enumerate(measured):
        for series, kind, x, seconds, megabytes in curves(measured):
            if series != name:
                continue
            constant, factor, exponent, _ = fitted(x, seconds, start=kind != "embedding")
            dense = np.geomspace(x[0], x[-1], 100)
            axes[0, column].plot(dense, constant + factor * dense**exponent, color=colors[kind], linewidth=1)
            axes[0, column].plot(x, seconds, "o", color=colors[kind], label=f"{kind}: exponent {exponent:.2f}")
            axes[1, column].plot(x, megabytes, "o-", color=colors[kind], linewidth=1, label=kind)
        axes[0, column].set(xscale="log", yscale="log", title=f"More {name}")
        axes[1, column].set(xscale="log", yscale="log", xlabel=name)
        for axis in axes[:, column]:
            axis.legend(frameon=False, fontsize=8)
            axis.spines[["top", "right"]].set_visible(False)
            axis.xaxis.set_major_formatter("{x:,.0f}")
            axis.xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, MB")
    axes[1, 0].set(ylim=(200, 3000), yticks=(300, 1000, 3000))
    for axis in axes[:, 0]:
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    return figure


if __name__ == "__main__":
    kind, images, epochs = sys.argv[1:]
    print(json.dumps(measure_one(kind, int(images), int(epochs))))
