"""One training of some epochs, in a process of its own, which waits for its turn before each.

``python benchmarks/contenders.py CONTENDER NETWORK ARCHIVE EPOCHS`` reads a line from standard
input before each epoch, and writes one after it: seconds, validation accuracy, peak memory. It
waits for one more line before it ends, so that its end takes nothing from those whose turn it is.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from measuring import peak_megabytes

BATCH_SIZE, SEED = 64, 12345


class Turns:
    """Waits for the turn, takes the time, reports."""

    def begin(self) -> None:
        """Say that all is ready, wait for the turn, and start the clock."""
        print("ready", flush=True)
        sys.stdin.readline()
        self.start = time.perf_counter()

    def end(self, accuracy: float) -> None:
        """Print the seconds since then, the accuracy, and the peak of memory."""
        taken = time.perf_counter() - self.start
        found = {"seconds": taken, "accuracy": accuracy, "megabytes": peak_megabytes()}
        print(json.dumps(found), flush=True)


def keras_callback(turns: Turns):
    import keras

    class Callback(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            turns.begin()

        def on_epoch_end(self, epoch, logs=None):
            turns.end(logs["val_accuracy"])

    return Callback()


def as_written(network: str, data: dict[str, np.ndarray], epochs: int, turns: Turns) -> None:
    """The article's steps in today's Keras: float64 pixels, `compile` and `fit` with defaults."""
    import keras

    from helpers import models

    candidate = getattr(models, network.upper())
    divisor = 255.0 if candidate.pixels == "normalised" else 1.0
    shape = (-1, *candidate.input_shape)
    train, test = ((data[name] / divisor).reshape(shape) for name in ("x_train", "x_test"))
    train_labels, test_labels = map(keras.utils.to_categorical, (data["y_train"], data["y_test"]))
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential([keras.Input(candidate.input_shape), *candidate.make_layers()])
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        train, train_labels, validation_data=(test, test_labels), batch_size=BATCH_SIZE,
        epochs=epochs, verbose=0, callbacks=[keras_callback(turns)],
    )  # fmt: skip


def project(network: str, data: dict[str, np.ndarray], epochs: int, turns: Turns) -> None:
    """As the notebook trains."""
    from helpers.compute import start_tensorflow

    start_tensorflow()
    from helpers import models, training
    from helpers.data import Digits

    training._ShowProgress = lambda *arguments: keras_callback(turns)  # no bar, but turns
    digits = Digits(data["x_train"], data["y_train"], data["x_test"], data["y_test"], True, "")
    settings = training.Settings(SEED, epochs, BATCH_SIZE)
    training.train(getattr(models, network.upper()), digits, settings)


def pytorch(network: str, data: dict[str, np.ndarray], epochs: int, turns: Turns) -> None:
    """The same networks in PyTorch: tensors in memory, batches by index, fused Adam."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    if network == "dense":
        model = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.15),
            nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.15),
            nn.Linear(512, 10),
        )  # fmt: skip
        shape, divisor = (-1, 784), 255
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(4608, 128), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(128, 10),
        )  # fmt: skip
        shape, divisor = (-1, 1, 28, 28), 1
    for layer in model:  # Keras's initial weights, so that accuracies compare
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    train, test = (
        torch.from_numpy(data[name].astype(np.float32).reshape(shape) / divisor)
        for name in ("x_train", "x_test")
    )
    train_labels, test_labels = (
        torch.from_numpy(data[name].astype(np.int64)) for name in ("y_train", "y_test")
    )
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7, fused=True)
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        turns.begin()
        model.train()
        for batch in torch.randperm(len(train)).split(BATCH_SIZE):
            optimizer.zero_grad(set_to_none=True)
            loss(model(train[batch]), train_labels[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            predicted = torch.cat([model(part).argmax(dim=1) for part in test.split(500)])
        turns.end((predicted == test_labels).float().mean().item())


if __name__ == "__main__":
    contender, network, archive, epochs = sys.argv[1:]
    with np.load(archive, allow_pickle=False) as arrays:
        turns = Turns()
        others = {"as_written": as_written, "pytorch": pytorch}
        others.get(contender, project)(network, dict(arrays), int(epochs), turns)
        turns.begin()
