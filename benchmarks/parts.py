"""What a training step of the dense network is made of, each part measured on its own.

Run as a process of its own; prints milliseconds a step, as JSON.
"""

import itertools
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.startup import start_tensorflow

start_tensorflow()
import keras  # noqa: E402  TensorFlow must be started first
import tensorflow as tf  # noqa: E402

from helpers import models, training  # noqa: E402
from helpers.data import load_mnist  # noqa: E402

BATCH_SIZE = 64
UNITS = (784, 512, 512, 10)


def in_a_loop(step, times: int = 500) -> float:
    """Milliseconds of a step that TensorFlow repeats without returning to Python, the median of five."""

    @tf.function
    def loop():
        for _ in tf.range(times):
            step()

    loop()
    return statistics.median(seconds(loop) for _ in range(5)) / times * 1e3


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def products() -> float:
    """The matrix products of a step: forward, by the weights, and by the inputs but for the first layer."""
    total = 0.0
    for layer, (entering, leaving) in enumerate(itertools.pairwise(UNITS)):
        x, y, w = (
            tf.Variable(tf.random.normal(shape))
            for shape in ((BATCH_SIZE, entering), (BATCH_SIZE, leaving), (entering, leaving))
        )
        total += in_a_loop(lambda x=x, y=y, w=w: y.assign(tf.matmul(x, w)))
        total += in_a_loop(lambda x=x, y=y, w=w: w.assign(tf.matmul(x, y, transpose_a=True)))
        if layer:
            total += in_a_loop(lambda x=x, y=y, w=w: x.assign(tf.matmul(y, w, transpose_b=True)))
    return total


def updates() -> float:
    """Adam's updates of all weights and biases."""
    network = models.DENSE.build()
    gradients = [tf.Variable(tf.zeros(weight.shape)) for weight in network.trainable_variables]
    network.optimizer.build(network.trainable_variables)
    return in_a_loop(lambda: network.optimizer.apply(gradients))


def dropouts() -> float:
    """Dropout of both hidden layers, forward."""
    dropout = keras.layers.Dropout(0.15)
    hidden = tf.Variable(tf.random.normal((BATCH_SIZE, 512)))
    return 2 * in_a_loop(lambda: hidden.assign(dropout(hidden, training=True)))


def main() -> None:
    keras.utils.set_random_seed(1)
    digits = load_mnist()
    batches = training.batches(models.DENSE, digits.train_images, digits.train_labels, BATCH_SIZE, seed=1)
    steps = len(batches)
    measured = {"matrix products": products(), "Adam": updates(), "dropout": dropouts()}
    drain = tf.function(lambda: batches.reduce(0, lambda count, batch: count + 1))
    drain()
    measured["inputs, on a thread beside it"] = statistics.median(seconds(drain) for _ in range(5)) / steps * 1e3
    network = models.DENSE.build()
    fit = lambda: network.fit(batches, verbose=0, shuffle=False)  # noqa: E731
    fit()
    measured["the whole step"] = statistics.median(seconds(fit) for _ in range(5)) / steps * 1e3
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
