"""How time and memory grow with the number of images, of a training and of the embedding.

``python benchmarks/growth.py KIND IMAGES`` is one measurement, in a process of its own; KIND is
dense, conv or embedding.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

sys.path.insert(0, str(Path(__file__).parent.parent))
from measuring import Figures, in_a_process, in_turn, medians, peak_megabytes, seconds, table

from helpers.embedding import FACTORISED_UP_TO

ROUNDS = 3
IMAGES = {
    "dense": (1000, 2000, 5000, 10_000, 20_000, 40_000, 60_000),
    "conv": (1000, 2000, 5000, 10_000, 20_000, 40_000, 60_000),
    "embedding": (1000, 2000, 5000, 10_000, 20_000, 40_000, 70_000),
}
EPOCHS = 4
COLORS = {"dense": "#3f90da", "conv": "#bd1f01", "embedding": "#832db6"}
Curve = list[Figures]  # images, seconds and megabytes, for more and more images


def measure() -> dict[str, Curve]:
    """Each kind's curve."""
    curves = {}
    for kind, sizes in IMAGES.items():
        ways = {str(n): lambda kind=kind, n=n: in_a_process("growth.py", kind, n) for n in sizes}
        found = medians(in_turn(ways, ROUNDS))
        curves[kind] = [{"images": n} | found[str(n)] for n in sizes]
    return curves


def measure_one(kind: str, images: int) -> Figures:
    """Seconds of a training's median epoch after the first, or of one embedding; and memory."""
    from helpers.data import Digits, load_mnist

    digits = load_mnist()
    if kind == "embedding":
        from helpers.embedding import neighbour_graph, spectral_embedding

        pixels = np.concatenate([digits.test_images, digits.train_images])[:images]
        taken = seconds(lambda: spectral_embedding(neighbour_graph(pixels)))
        return {"seconds": taken, "megabytes": peak_megabytes()}
    from helpers.compute import start_tensorflow

    start_tensorflow()
    import keras

    from helpers import models, training

    times = []

    class Times(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            times.append(time.perf_counter() - self.start)

    training._ShowProgress = lambda *arguments: Times()  # no bar, but times
    tests = images // 6
    part = Digits(
        digits.train_images[:images], digits.train_labels[:images],
        digits.test_images[:tests], digits.test_labels[:tests], True, "",
    )  # fmt: skip
    training.train(getattr(models, kind.upper()), part, training.Settings(epochs=EPOCHS))
    return {"seconds": statistics.median(times[1:]), "megabytes": peak_megabytes()}


def fitted(kind: str, curve: Curve) -> tuple[float, float, float, float]:
    """Fit seconds = constant + factor images**exponent by least squares of the relative errors.

    Returns constant, factor, exponent, and the exponent's standard error. The embedding has no
    constant: it starts at once, where an epoch has to.
    """

    def logarithm(x, factor, exponent, constant=-np.inf):
        return np.log(np.exp(constant) + np.exp(factor) * x**exponent)

    x, y = (np.array([point[key] for point in curve]) for key in ("images", "seconds"))
    guess = [np.log(y[-1] / x[-1]), 1.0] + [np.log(y[0] / 2)] * (kind != "embedding")
    best, covariance = curve_fit(logarithm, x.astype(float), np.log(y), guess, maxfev=20_000)
    constant = np.exp(best[2]) if len(best) == 3 else 0.0
    return float(constant), float(np.exp(best[0])), float(best[1]), float(np.sqrt(covariance[1, 1]))


def report(curves: dict[str, Curve]) -> list[str]:
    """Smallest and largest measurement of each curve with the fitted growth."""
    rows = []
    for kind, curve in curves.items():
        constant, factor, exponent, error = fitted(kind, curve)
        least, most = curve[0], curve[-1]
        rows.append((
            kind, f"{least['images']:,}", f"{most['images']:,}",
            f"{least['seconds']:.2f} to {most['seconds']:.2f}",
            f"{constant:.3f} + {factor:.2g} x^{exponent:.2f}", f"{exponent:.2f} ± {error:.2f}",
            f"{least['megabytes']:.0f} to {most['megabytes']:.0f}",
        ))  # fmt: skip
    return [
        "A process for each measurement: of *dense* and *conv*, seconds of an epoch after the",
        "first, validated on a sixth as many images; of the *embedding*, seconds in all,",
        "neighbours by brute force. Fitted: a constant and a power of the number of images (of the",
        "embedding, no constant), by least squares of the relative errors; the exponent with its",
        "standard error.",
        "",
        *table(
            "| of | images from | to | seconds | seconds, fitted | exponent | peak memory, MB |",
            *rows,
        ),
        f"Of more than {FACTORISED_UP_TO:,} images nothing is factorised: memory drops.",
        "",
        "![Seconds and peak memory, on logarithmic axes](growth.png)",
        "",
    ]


def chart(curves: dict[str, Curve]) -> Figure:
    """Time and memory, on logarithmic axes; the fitted growth as a line."""
    figure = Figure(figsize=(10, 4), dpi=120, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, curve in curves.items():
        x, y, memory = zip(*(point.values() for point in curve), strict=True)
        constant, factor, exponent, _ = fitted(kind, curve)
        grid, color = np.geomspace(x[0], x[-1], 100), COLORS[kind]
        left.plot(grid, constant + factor * grid**exponent, color=color)
        left.plot(x, y, "o", color=color, label=f"{kind}: exponent {exponent:.2f}")
        right.plot(x, memory, "o-", color=color, label=kind)
    left.set(xlabel="images", ylabel="seconds", xscale="log", yscale="log")
    right.set(xlabel="images", ylabel="peak memory, MB", xscale="log", ylim=(0, None))
    for axis in (left, right):
        axis.legend(frameon=False)
    return figure


if __name__ == "__main__":
    print(json.dumps(measure_one(sys.argv[1], int(sys.argv[2]))))
