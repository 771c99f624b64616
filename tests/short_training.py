"""A training of a few steps, with batches of all the sizes that a whole one has: prints digests of its outcome.

`tests/tensorflow/test_portable.py` has it run on emulated processors, where a step takes seconds. After a change of
networks, training or versions the digests in `tests/portable.json` are made anew, from the project's folder::

    .venv/bin/python -m tests.short_training 2 > tests/portable.json
"""

import hashlib
import json
import sys
from typing import Any

from helpers.compute import start_tensorflow

# To train with, in batches of 64, the last of 32, and to test with, in batches of 256, the last of 16, as in MNIST.
# An emulated processor does some 50 million operations per second, so the convolutional network makes do with fewer.
IMAGES = {"dense": (160, 272), "conv": (96, 16)}


def noise(random: Any, count: int) -> tuple[Any, Any]:
    """Images as dark as digits are, and labels: integers, drawn alike everywhere. Reading MNIST would take a minute."""
    images = random.integers(0, 256, (count, 28, 28)) * (random.integers(0, 5, (count, 28, 28)) == 0)
    return images.astype("uint8"), (random.permutation(count) % 10).astype("uint8")


def main(threads: int) -> None:
    start_tensorflow(threads)
    import numpy as np

    from helpers import loading, models, training
    from helpers.data import Digits

    digests = {}
    for name, counts in IMAGES.items():
        random = np.random.default_rng(1)
        digits = Digits(*noise(random, counts[0]), *noise(random, counts[1]), is_full=False, digest="")
        candidate = {each.name: each for each in models.CANDIDATES}[name]
        network, history = training.train(candidate, digits, training.Settings(epochs=1))
        probabilities = training.TrainedModel(candidate, network, history, "").predict(digits.test_images)
        contents = {
            "weights": b"".join(weight.numpy().tobytes() for weight in network.weights),
            "history": json.dumps(history).encode(),
            "probabilities": probabilities.tobytes(),
        }
        digests |= {f"{name}, {what}": hashlib.sha256(content).hexdigest()[:16] for what, content in contents.items()}
    print(json.dumps({"environment": loading.describe_environment(), "digests": digests}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]))
