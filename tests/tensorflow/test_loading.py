"""Load, or train and store: whatever happens to the files."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from helpers.compute import deviations, start_tensorflow

start_tensorflow()
from keras import layers  # noqa: E402  TensorFlow must be started first

from helpers import cache, loading, models, training  # noqa: E402
from helpers.loading import train_or_load  # noqa: E402
from helpers.training import Settings  # noqa: E402
from tests.small_networks import CONV, FLAT, SETTINGS, flat_after  # noqa: E402

FLAT_AND_CONV = pytest.mark.parametrize("candidate", [FLAT, CONV], ids=["flat", "conv"])
LEFT = {"local", ".lock"}  # of a cache, once all is done
UNTRAINED = "flat: trained here (no cached model)"


def the_entry(models):
    (entry,) = (models / "local").iterdir()
    return entry


@FLAT_AND_CONV
def test_loaded_model_predicts_bit_for_bit(run, few, candidate):
    trained, loaded = run(candidate), run(candidate)
    assert trained.origin == f"{candidate.name}: trained here (no cached model)"
    assert loaded.origin.startswith(f"{candidate.name}: loaded from the cache; trained with TensorFlow ")
    assert loaded.history == trained.history
    probabilities = loaded.predict(few.test_images)
    assert np.array_equal(probabilities, trained.predict(few.test_images))
    assert probabilities.shape == (100, 10) and probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)


@FLAT_AND_CONV
def test_one_batch_is_predicted_as_several_are(run, few, candidate):
    model = run(candidate)
    for count in (1, 256, 257):
        images = np.resize(few.test_images, (count, 28, 28))
        usual = model.network.predict(candidate.prepare(images), batch_size=256, verbose=0)
        assert np.array_equal(model.predict(images), usual) and isinstance(model.predict(images), np.ndarray)


def test_what_is_changed_is_named_and_trained_beside_the_others(run, few, tmp_path):
    changes = {
        "epochs changed from 1 to 2": {"settings": replace(SETTINGS, epochs=2)},
        "data changed from of a few digits to of other digits": {"digits": replace(few, digest="of other digits")},
        "layers changed": {"candidate": flat_after(lambda: layers.Dense(12))},
    }
    run()
    for change, changed in changes.items():
        assert run(**changed).origin == f"flat: trained here ({change})"
        assert "loaded" in run(**changed).origin and "loaded" in run().origin
    assert len(list((tmp_path / "local").iterdir())) == 4


@pytest.mark.thorough
@pytest.mark.skipif(bool(deviations()), reason="no bits are portable on this machine")
def test_what_is_trained_here_is_loaded_only_in_the_same_arithmetic(run, the_projects, monkeypatch):
    """But the project's own models are loaded in any."""
    other = {"settings": replace(SETTINGS, seed=2)}
    the_projects()
    run(**other)
    with monkeypatch.context() as patch:
        patch.setenv("MNIST_COMPUTE", "native")
        assert "flat: loaded from the cache" in run().origin
        assert run(**other).origin == "flat: trained here (arithmetic changed)"
        assert "flat: loaded from the cache" in run(**other).origin
    assert "flat: loaded from the cache" in run(**other).origin


@pytest.mark.thorough
def test_model_with_a_history_of_other_length_is_trained_again(run, inputs, tmp_path):
    history = run().history
    entry = the_entry(tmp_path)
    longer = {key: values * 2 for key, values in history.items()}
    cache.store(entry, lambda folder: folder.mkdir(), longer, inputs, loading.describe_environment())
    assert "(damaged: its history has 2 epochs instead of 1; set aside as" in run().origin
    assert "loaded" in run().origin


def test_models_of_the_project_are_loaded_and_left_alone(run, the_projects, inputs, tmp_path):
    before = the_projects()
    assert "loaded" in run().origin
    assert run(settings=replace(SETTINGS, seed=2)).origin == "flat: trained here (seed changed from 1 to 2)"
    assert cache.load(tmp_path / "flat", inputs) == before
    assert the_entry(tmp_path).name.startswith("flat-")


def not_read(patch):
    """TensorFlow can read no model now: what is damaged must be found before it comes to that."""
    patch.setattr(loading.keras.layers, "TFSMLayer", None)


@pytest.mark.thorough
def test_damaged_model_of_the_project(run, the_projects, tmp_path, monkeypatch):
    """One byte is: it is noticed before TensorFlow reads it, named, set aside, and the model trained again."""
    the_projects()
    name = "saved_model/variables/variables.data-00000-of-00001"
    content = bytearray((tmp_path / "flat" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flat" / name).write_bytes(content)
    what, aside = f"damaged: {name} has changed; set aside as", f"{tmp_path.name}/local/flat.damaged-"
    with monkeypatch.context() as patch:
        not_read(patch)
        assert run().origin == f"flat: trained here ({what} {aside}1)"
    assert (tmp_path / "local" / "flat.damaged-1" / name).read_bytes() == content
    # Brought back, and damaged again: the one trained meanwhile is loaded, and the damage named all the same.
    the_projects()
    (tmp_path / "flat" / name).write_bytes(content)
    loaded = "flat: loaded from the cache; trained with TensorFlow {TensorFlow} on {processor}"
    loaded = loaded.format_map(loading.describe_environment())
    assert run().origin == f"{loaded}; the one that comes with the project: {what} {aside}2"
    assert run().origin == loaded


@pytest.mark.thorough
def test_model_of_the_project_that_cannot_be_stored(few, the_projects, inputs, tmp_path, monkeypatch):
    """It is said before minutes are spent on its training, where that can be known; the old one is left."""
    before = the_projects()

    def said(*failures):
        with monkeypatch.context() as patch, pytest.raises(training.TrainingError) as error:
            for owner, name, failure in failures:
                patch.setattr(owner, name, Mock(side_effect=failure))
            loading.retrain(FLAT, few, replace(SETTINGS, seed=2), models=tmp_path)
        return str(error.value).partition(". What stood there is as it was.")[0]

    in_training = (loading, "train", training.TrainingError("flat learns nothing"))
    named = f"flat could not be stored in {tmp_path.name}/flat"
    assert said((cache, "FileLock", OSError(errno.EROFS, "Read-only")), in_training) == f"{named}: Read-only"
    assert said((loading.tf.saved_model, "save", OSError(errno.ENOSPC, "Full"))) == f"{named}: Full"
    assert said(in_training) == "flat learns nothing"
    assert cache.load(tmp_path / "flat", inputs) == before


@pytest.mark.thorough
def test_entry_that_is_another_models_or_that_tensorflow_cannot_read(run, inputs, tmp_path, monkeypatch):
    history = run().history
    entry, environment = the_entry(tmp_path), loading.describe_environment()
    cache.store(entry, lambda folder: folder.mkdir(), history, inputs | {"name": "conv"}, environment)
    with monkeypatch.context() as patch:
        not_read(patch)
        origin = run().origin
    assert origin.startswith("flat: trained here (name changed from conv to flat; set aside as ")
    cache.store(entry, lambda folder: folder.mkdir(), history, inputs, environment)  # by another program
    origin = run().origin
    assert f"TensorFlow {loading.tf.__version__} cannot read it: " in origin and "set aside as" in origin
    assert str(tmp_path) not in origin and "loaded" in run().origin


TRAIN = """
import json, sys
from pathlib import Path
from helpers import cache, loading, training
from helpers.data import load_mnist
from tests.killing import Trace
from tests.small_networks import FLAT, SETTINGS
digits, trace = load_mnist(), Trace({cache.__file__, loading.__file__, training.__file__}, int(sys.argv[2]))
model = loading.train_or_load(FLAT, digits, SETTINGS, models=Path(sys.argv[1]))
outcome = model.history, model.predict(digits.test_images).sum(axis=0).tolist()
print(json.dumps([model.origin, outcome, trace.lines]))
"""


def start(models, fatal=0):
    """Train or load in a new process, which is killed before this line of the project's, if it is one."""
    command, environment = [sys.executable, "-c", TRAIN, models, str(fatal)], os.environ | {"MNIST_DATA": "sample"}
    return subprocess.Popen(command, cwd=loading.MODELS.parent, env=environment, stdout=subprocess.PIPE)


def end(process):
    """Its origin, its outcome, and how many lines it has run."""
    return json.loads(process.communicate(timeout=120)[0])


@pytest.mark.slow
def test_killed_at_moments_of_training_and_storing(tmp_path):
    """The next run loads a whole model or trains it again, to the same last bit; nothing else is left."""
    _, outcome, lines = end(start(tmp_path / "first"))
    moments = {tmp_path / str(part): 1 + lines * part // 10 for part in range(10)}
    for two in zip(*[iter(moments)] * 2, strict=True):  # at once, for two cores
        killed = [start(folder, fatal=moments[folder]) for folder in two]
        assert [process.wait() for process in killed] == [-signal.SIGKILL] * 2
        for folder, process in [(folder, start(folder)) for folder in two]:
            assert end(process)[1] == outcome
            assert the_entry(folder).name.startswith("flat-") and {path.name for path in folder.iterdir()} <= LEFT


@pytest.mark.slow
def test_processes_that_train_the_same_model(tmp_path):
    """Four at once: all succeed, with the same outcome, and one whole model is left."""
    running = [start(tmp_path / "models") for _ in range(4)]
    origins, outcomes, _ = zip(*map(end, running), strict=True)
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert all(origin == UNTRAINED or "loaded" in origin for origin in origins)
    assert {path.name for path in (tmp_path / "models").iterdir()} <= LEFT
    assert (the_entry(tmp_path / "models") / "manifest.json").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("limit", [0, 200, 20_000])
def test_disk_full_while_storing(run, few, inputs, tmp_path, limit, monkeypatch):
    """No file can grow beyond this, the weights at the latest: the run goes on, and says what was not stored."""
    resource = pytest.importorskip("resource")
    store, before = cache.store, resource.getrlimit(resource.RLIMIT_FSIZE)

    def store_within_the_limit(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            store(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "store", store_within_the_limit)
        trained = run()
    folder = f"{tmp_path.name}/local/flat-{cache.fingerprint(inputs)}"
    assert trained.origin.startswith(f"{UNTRAINED}, but it could not be stored in {folder} (")
    assert trained.origin.endswith(" (File too large)") and "\n" not in trained.origin
    assert trained.predict(few.test_images).shape == (100, 10) and not list((tmp_path / "local").iterdir())
    assert run().origin == UNTRAINED and "loaded" in run().origin


def read_only(monkeypatch):
    """What the system says of each attempt to write; root may write anywhere, so the calls are replaced."""
    refuse = Mock(side_effect=OSError(errno.EROFS, "Read-only file system", "/somewhere/on/this/machine"))
    for name in ("mkdir", "rename", "write_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    monkeypatch.setattr(cache, "FileLock", refuse)


def test_folder_read_only(run, inputs, tmp_path, monkeypatch):
    """What was trained is there all the same; a whole model is loaded; a damaged one is named, and left."""
    folder = f"{tmp_path.name}/local/flat-{cache.fingerprint(inputs)}"
    not_stored = f"but it could not be stored in {folder} (Read-only file system)"
    with monkeypatch.context() as patch:
        read_only(patch)
        assert run().origin == f"{UNTRAINED}, {not_stored}"
    assert list(tmp_path.iterdir()) == []
    run()
    history = the_entry(tmp_path) / "history.pickle"
    with monkeypatch.context() as patch:
        read_only(patch)
        assert "flat: loaded from the cache" in run().origin
    history.write_bytes(b"")
    read_only(monkeypatch)
    what = "damaged: history.pickle has changed; it could not be set aside: Read-only file system"
    assert run().origin == f"flat: trained here ({what}), {not_stored}" and history.exists()


@pytest.mark.parametrize("candidate", models.CANDIDATES, ids=lambda candidate: candidate.name)
def test_committed_model_is_what_a_first_run_loads(mnist, candidate):
    """It is small, too: four bytes a weight, and little else."""
    model = train_or_load(candidate, mnist, Settings())
    assert "loaded from the cache" in model.origin
    assert len(model.history["accuracy"]) == 5
    accuracy = (model.predict(mnist.test_images).argmax(axis=1) == mnist.test_labels).mean()
    assert accuracy == pytest.approx(model.history["val_accuracy"][-1])
    size = sum(path.stat().st_size for path in (loading.MODELS / candidate.name).rglob("*") if path.is_file())
    assert 1 <= size / (4 * candidate.build().count_params()) <= 1.2
