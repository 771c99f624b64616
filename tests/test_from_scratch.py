"""Trainings on the complete data set, from scratch. They take minutes: `make test-full`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.startup import start_tensorflow

start_tensorflow()
from helpers import cache, models, training  # noqa: E402  TensorFlow must be started first
from helpers.training import Settings  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
ROOT = Path(__file__).parent.parent

# Final accuracies must lie between these.
BOUNDS = {
    "dense": {"accuracy": (0.983, 0.988), "val_accuracy": (0.973, 0.983)},
    "conv": {"accuracy": (0.974, 0.982), "val_accuracy": (0.975, 0.987)},
    "conv-normalised": {"accuracy": (0.988, 0.994), "val_accuracy": (0.985, 0.993)},
}


@pytest.mark.parametrize("seed", [12345, 1, 2])
@pytest.mark.parametrize("candidate", [models.DENSE, models.CONV], ids=lambda candidate: candidate.name)
def test_training_from_scratch(mnist, candidate, seed):
    _, history = training.train(candidate, mnist, Settings(seed=seed))
    print(candidate.name, seed, {key: round(values[-1], 4) for key, values in history.items()})
    for key, (low, high) in BOUNDS[candidate.name].items():
        assert low <= history[key][-1] <= high, key
    if seed == Settings().seed:
        assert_like_the_committed(candidate, history)


def test_slip_put_right_from_scratch(mnist):
    """Its two other seeds are left to the study."""
    test_training_from_scratch(mnist, models.CONV_NORMALISED, Settings().seed)


def assert_like_the_committed(candidate, history):
    """To the last bit with the same versions and processor, else within 0.4 points."""
    folder = training.MODELS / candidate.name
    committed = cache.read_history(folder / cache.HISTORY)
    if json.loads((folder / cache.MANIFEST).read_text())["made_with"] == training.made_with():
        assert history == committed
    else:
        assert history["val_accuracy"][-1] == pytest.approx(committed["val_accuracy"][-1], abs=0.004)


def test_other_parameters_on_the_sample(tmp_path, monkeypatch):
    """The notebook runs with parameters from outside, and says at its beginning what it ran on."""
    monkeypatch.setenv("MNIST_DATA", "sample")
    monkeypatch.delenv("MNIST_NPZ", raising=False)
    output = tmp_path / "other.ipynb"
    command = [sys.executable, "-m", "papermill", "mnist_digits.ipynb", str(output), "-p", "epochs", "1", "-p", "seed", "7"]
    subprocess.run(command, cwd=ROOT, check=True)
    cells = json.loads(output.read_text())["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    opening = "".join(first["outputs"][0]["data"]["text/plain"])
    assert opening.startswith("This run used a sample instead of MNIST")
    assert "seed 7 instead of 12345, epochs 1 instead of 5" in opening
    assert "of 1,000 test images" in opening
    tables = [json.dumps(cell["outputs"]) for cell in cells if cell["cell_type"] == "code"]
    assert not any(", article" in table for table in tables)

