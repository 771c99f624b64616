import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.startup import start_tensorflow

start_tensorflow()
from keras import layers  # noqa: E402  TensorFlow must be started first

from helpers import cache, models, training  # noqa: E402
from helpers.checks import InputError  # noqa: E402
from helpers.data import one_hot  # noqa: E402
from helpers.training import Settings, train_or_load  # noqa: E402

pytestmark = pytest.mark.tensorflow
SETTINGS = Settings(seed=1, epochs=1, batch_size=50)
FLAT = models.Candidate("flat", lambda: [layers.Dropout(0.1), layers.Dense(10, activation="softmax")], (784,))
CONV = models.Candidate(
    "conv", lambda: [layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(10, activation="softmax")], pixels="raw"
)


@pytest.fixture(scope="session")
def few(sample):
    """200 digits to train on, 100 to test."""
    return replace(
        sample,
        train_images=sample.train_images[:200], train_labels=sample.train_labels[:200],
        test_images=sample.test_images[:100], test_labels=sample.test_labels[:100],
        digest="of a few digits",
    )  # fmt: skip


@pytest.fixture
def run(few, tmp_path):
    """Train or load in a cache of its own."""

    def run(candidate=FLAT, digits=few, settings=SETTINGS):
        return train_or_load(candidate, digits, settings, models=tmp_path)

    return run


def entries(models):
    return sorted(path.name for path in (models / "local").iterdir())


# --- training


def test_same_seed_same_weights(few):
    first, second, other = (training.train(CONV, few, replace(SETTINGS, seed=seed)) for seed in (1, 1, 2))
    assert first[1] == second[1] != other[1]
    for one, same in zip(first[0].get_weights(), second[0].get_weights(), strict=True):
        assert np.array_equal(one, same)


@pytest.mark.thorough
def test_what_was_trained_before_does_not_matter(few):
    alone = training.train(FLAT, few, SETTINGS)[1]
    training.train(CONV, few, SETTINGS)
    assert training.train(FLAT, few, SETTINGS)[1] == alone


def test_history_holds_a_float_an_epoch(few):
    _, history = training.train(FLAT, few, replace(SETTINGS, epochs=3))
    assert sorted(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 3 and all(type(value) is float for value in values) for values in history.values())


def test_it_learns(few):
    _, history = training.train(FLAT, few, replace(SETTINGS, epochs=10))
    assert history["val_accuracy"][-1] > 0.5 > 0.3 > history["accuracy"][0]


@pytest.mark.parametrize("candidate", [FLAT, CONV], ids=lambda candidate: candidate.name)
def test_batches_hold_every_image_once_in_the_networks_form(few, candidate):
    inputs, labels = map(np.concatenate, zip(*training.batches(candidate, few.test_images, few.test_labels, 30), strict=True))
    assert np.array_equal(inputs, candidate.inputs(few.test_images))
    assert np.array_equal(labels, one_hot(few.test_labels))


def test_each_epoch_has_its_own_order(few):
    shuffled = training.batches(FLAT, few.test_images, few.test_labels, 30, seed=1)
    first, second = (np.concatenate([inputs for inputs, _ in shuffled]) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first, axis=0), np.sort(FLAT.inputs(few.test_images), axis=0))
    again = training.batches(FLAT, few.test_images, few.test_labels, 30, seed=1)
    assert np.array_equal(first, np.concatenate([inputs for inputs, _ in again]))


def test_progress_is_shown(few, capfd):
    training.train(FLAT, few, SETTINGS)
    assert "training flat" in capfd.readouterr().err


# --- train or load


@pytest.mark.parametrize("candidate", [FLAT, CONV], ids=lambda candidate: candidate.name)
def test_loaded_model_predicts_bit_for_bit(run, few, candidate):
    trained, loaded = run(candidate), run(candidate)
    assert trained.origin == f"{candidate.name}: trained here (no cached model)"
    assert loaded.origin.startswith(f"{candidate.name}: loaded from the cache; trained with TensorFlow ")
    assert loaded.history == trained.history
    assert np.array_equal(loaded.predict(few.test_images), trained.predict(few.test_images))


def test_predictions_are_probabilities(run, few):
    probabilities = run().predict(few.test_images)
    assert probabilities.shape == (100, 10) and probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    accuracy = (probabilities.argmax(axis=1) == few.test_labels).mean()
    assert accuracy == pytest.approx(run().history["val_accuracy"][-1])


def test_settings_changed(run, tmp_path):
    run()
    changed = replace(SETTINGS, epochs=2)
    assert run(settings=changed).origin == "flat: trained here (epochs changed from 1 to 2)"
    assert "loaded" in run(settings=changed).origin and "loaded" in run().origin
    assert len(entries(tmp_path)) == 2


def test_data_changed(run, few, tmp_path):
    run()
    other = replace(few, digest="of other digits")
    assert run(digits=other).origin == "flat: trained here (data changed from of a few digits to of other digits)"
    assert len(entries(tmp_path)) == 2


@pytest.mark.thorough
def test_architecture_changed(run, tmp_path):
    run()
    wider = replace(FLAT, make_layers=lambda: [layers.Dense(12), *FLAT.make_layers()])
    assert run(wider).origin == "flat: trained here (layers changed)"
    assert len(entries(tmp_path)) == 2


def test_models_of_the_project_are_loaded_and_left_alone(run, few, tmp_path):
    training.retrain(FLAT, few, SETTINGS, models=tmp_path)
    before = cache.load(tmp_path / "flat", training.made_from(FLAT, few, SETTINGS))
    assert "loaded" in run().origin
    assert run(settings=replace(SETTINGS, seed=2)).origin == "flat: trained here (seed changed from 1 to 2)"
    assert cache.load(tmp_path / "flat", training.made_from(FLAT, few, SETTINGS)) == before
    assert entries(tmp_path) == [path for path in entries(tmp_path) if path.startswith("flat-")]


# --- damage


def the_entry(models):
    (name,) = entries(models)
    return models / "local" / name


def not_read(monkeypatch):
    """From now on TensorFlow reads no model."""

    def refuse(*args, **kwargs):
        raise AssertionError("TensorFlow was given a damaged model")

    monkeypatch.setattr(training.keras.layers, "TFSMLayer", refuse)


VARIABLES = "saved_model/variables/variables.data-00000-of-00001"


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["history.pickle", "manifest.json", "saved_model/fingerprint.pb", VARIABLES])
def test_any_single_byte_of_a_model_changed(run, tmp_path, name, monkeypatch):
    """Noticed before TensorFlow reads it, named, trained again; the damaged folder is set aside."""
    history = run().history
    entry = the_entry(tmp_path)
    content = bytearray((entry / name).read_bytes())
    content[len(content) // 2] ^= 1
    (entry / name).write_bytes(content)
    with monkeypatch.context() as patch:
        not_read(patch)
        again = run()
    aside = f"{entry.name}.damaged-1"
    what = f"damaged: {name} (has changed|is no manifest); set aside as {tmp_path.name}/local/{aside}"
    assert re.fullmatch(rf"flat: trained here \({what}\)", again.origin)
    assert again.history == history and "loaded" in run().origin
    assert (tmp_path / "local" / aside / name).read_bytes() == content


@pytest.mark.slow
def test_every_single_byte_of_a_model(run, tmp_path, few):
    """All of its files, byte by byte, as `train_or_load` verifies them."""
    run()
    entry, made_from = the_entry(tmp_path), training.made_from(FLAT, few, SETTINGS)
    cache.load(entry, made_from)
    for path in (path for path in entry.rglob("*") if path.is_file()):
        with path.open("r+b", buffering=0) as file:
            for place, byte in enumerate(path.read_bytes()):
                file.seek(place)
                file.write(bytes([byte ^ 1 << place % 8]))
                with pytest.raises(cache.CacheError, match="damaged: "):
                    cache.load(entry, made_from)
                file.seek(place)
                file.write(bytes([byte]))
    cache.load(entry, made_from)


@pytest.mark.thorough
def test_damaged_model_of_the_project(run, few, tmp_path, monkeypatch):
    training.retrain(FLAT, few, SETTINGS, models=tmp_path)
    (tmp_path / "flat" / "history.pickle").unlink()
    with monkeypatch.context() as patch:
        not_read(patch)
        origin = run().origin
    assert origin == f"flat: trained here (damaged: history.pickle is missing; set aside as {tmp_path.name}/local/flat.damaged-1)"
    assert (tmp_path / "local" / "flat.damaged-1" / "manifest.json").exists()
    assert "loaded" in run().origin
    # Brought back, and damaged again: the one trained meanwhile is loaded, and the damage named all the same.
    training.retrain(FLAT, few, SETTINGS, models=tmp_path)
    (tmp_path / "flat" / "history.pickle").unlink()
    assert re.fullmatch(
        "flat: loaded from the cache; trained with .*; the one that comes with the project is damaged: history.pickle is missing; "
        f"set aside as {tmp_path.name}/local/flat.damaged-2",
        run().origin,
    )
    assert run().origin.endswith(training.arithmetic()["processor"])


@pytest.mark.thorough
def test_model_of_the_project_that_cannot_be_stored(few, tmp_path, monkeypatch):
    """It is said before minutes are spent on its training, where that can be known; the old one is left."""
    training.retrain(FLAT, few, SETTINGS, models=tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "flat").rglob("*") if path.is_file()}
    named = rf"flat could not be stored in {tmp_path.name}/flat: .*\. What stood there is as it was"
    with monkeypatch.context() as patch, pytest.raises(training.TrainingError, match=named):
        read_only(patch)
        patch.setattr(training, "train", None)
        training.retrain(FLAT, few, replace(SETTINGS, seed=2), models=tmp_path)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training.tf.saved_model, "save", full)
    with pytest.raises(training.TrainingError, match=named.replace(".*", "No space left on device")):
        training.retrain(FLAT, few, replace(SETTINGS, seed=2), models=tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "flat").rglob("*") if path.is_file()} == before


@pytest.mark.thorough
def test_files_replaced_by_another_models(run, tmp_path, monkeypatch):
    """Another model's files under this model's manifest."""
    run()
    mine = the_entry(tmp_path)
    run(CONV)
    (foreign,) = (tmp_path / "local").glob("conv-*")
    shutil.rmtree(mine / "saved_model")
    shutil.copytree(foreign / "saved_model", mine / "saved_model")
    with monkeypatch.context() as patch:
        not_read(patch)
        assert run().origin.startswith("flat: trained here (damaged: saved_model/")
    assert "loaded" in run().origin


@pytest.mark.thorough
def test_entry_replaced_by_another_models(run, tmp_path, monkeypatch):
    """Another model's whole entry in this model's place."""
    run()
    mine = the_entry(tmp_path)
    run(CONV)
    (foreign,) = (tmp_path / "local").glob("conv-*")
    shutil.rmtree(mine)
    shutil.copytree(foreign, mine)
    with monkeypatch.context() as patch:
        not_read(patch)
        assert run().origin.startswith("flat: trained here (name changed from conv to flat")
    assert "loaded" in run().origin and "loaded" in run(CONV).origin


@pytest.mark.thorough
@pytest.mark.parametrize("missing", ["manifest.json", "history.pickle", "saved_model/saved_model.pb", "saved_model"])
def test_half_copied_model(run, tmp_path, missing):
    run()
    gone = the_entry(tmp_path) / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert "damaged: " in (origin := run().origin) and missing in origin and "is missing; set aside as" in origin
    assert "loaded" in run().origin


@pytest.mark.thorough
def test_history_made_by_a_stranger(run, tmp_path):
    """Even where digests and seal are right, as a stranger can make them."""
    run()
    entry = the_entry(tmp_path)
    manifest = json.loads((entry / "manifest.json").read_text())
    (entry / "history.pickle").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    manifest["sha256"]["history.pickle"] = hashlib.sha256((entry / "history.pickle").read_bytes()).hexdigest()
    del manifest["seal"]
    (entry / "manifest.json").write_bytes(cache._sealed(manifest))
    assert "damaged: history.pickle is no training history (opcode GLOBAL); set aside as" in run().origin
    assert not Path("ran").exists() and "loaded" in run().origin


@pytest.mark.thorough
def test_model_that_tensorflow_cannot_read(run, tmp_path, few):
    """Whole, but made by a program of another kind."""
    run()
    entry, made_from = the_entry(tmp_path), training.made_from(FLAT, few, SETTINGS)
    cache.store(entry, lambda folder: folder.mkdir(), run().history, made_from, training.made_with())
    assert f"TensorFlow {training.tf.__version__} cannot read it: " in (origin := run().origin) and "set aside as" in origin
    assert str(tmp_path) not in origin
    assert "loaded" in run().origin


# --- more processes than one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start as copies of another")
@pytest.mark.slow
def test_killed_at_any_moment_of_training_or_storing(tmp_path):
    """The next run loads a complete model or trains it again, with the same outcome to the last bit; nothing else is left."""
    command = [sys.executable, "-m", "tests.killing", "trained", tmp_path]
    result = subprocess.run(command, cwd=training.MODELS.parent, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr
    count = json.loads(result.stdout)
    print(count)
    assert count["trained again, killed"] + count["loaded, killed"] >= 40


DIGITS = ("train_images", "train_labels", "test_images", "test_labels")
TRAIN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from helpers.startup import start_tensorflow
start_tensorflow()
from keras import layers
from helpers import models, training
from helpers.data import load_mnist
digits = load_mnist()
digits = replace(digits, **{name: getattr(digits, name)[:500] for name in sys.argv[2:]})
flat = models.Candidate("flat", lambda: [layers.Dense(10, activation="softmax")], (784,))
print("ready", flush=True)
sys.stdin.readline()
model = training.train_or_load(flat, digits, training.Settings(epochs=1), models=Path(sys.argv[1]))
print(json.dumps([model.origin, model.history, model.predict(digits.test_images).sum(axis=0).tolist()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_that_train_the_same_model(processes, tmp_path):
    """At once: all succeed, with the same outcome, and one complete model is left."""
    command = [sys.executable, "-c", TRAIN, tmp_path / "models", *DIGITS]
    options = {"cwd": training.MODELS.parent, "env": os.environ | {"MNIST_DATA": "sample"}, "text": True}
    options |= dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    running = [subprocess.Popen(command, **options) for _ in range(processes)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in running]
    origins, *outcomes = zip(*(json.loads(output) for output, errors in outputs), strict=True)
    assert all(all(one == other[0] for one in other) for other in outcomes)
    assert all(origin == "flat: trained here (no cached model)" or origin.startswith("flat: loaded") for origin in origins)
    assert {path.name for path in (tmp_path / "models").iterdir()} - {".lock"} == {"local"} and len(entries(tmp_path / "models")) == 1
    output, _ = subprocess.Popen(command, **options).communicate("\n")
    assert json.loads(output.splitlines()[1])[0].startswith("flat: loaded")


# --- folders that cannot be written to


@pytest.mark.thorough
@pytest.mark.parametrize("limit", [0, 200, 20_000])
def test_disk_full_while_storing(run, few, tmp_path, limit, monkeypatch):
    """No file can grow beyond this, the weights at the latest: the run goes on, and says what could not be stored."""
    resource = pytest.importorskip("resource")
    store = cache.store

    def store_within_the_limit(*args):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            store(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    run(CONV)  # what is stored already stays
    with monkeypatch.context() as patch:
        patch.setattr(cache, "store", store_within_the_limit)
        trained = run()
    folder = f"{tmp_path.name}/local/flat-{cache.fingerprint(training.made_from(FLAT, few, SETTINGS))}"
    assert trained.origin.startswith(f"flat: trained here (no cached model), but it could not be stored in {folder} (")
    assert trained.origin.endswith(" (File too large)") and "\n" not in trained.origin
    assert trained.predict(few.test_images).shape == (100, 10)
    assert [name.split("-")[0] for name in entries(tmp_path)] == ["conv"]
    assert run().origin == "flat: trained here (no cached model)" and "loaded" in run().origin


def test_network_that_cannot_be_exported(run, tmp_path):
    """What it has learned in minutes is used all the same."""

    factor = training.tf.Variable(1.0, trainable=False)

    class Outside(layers.Layer):
        def call(self, inputs):
            return inputs * factor  # which the layer does not hold, and so does not bring along

    trained = run(replace(FLAT, make_layers=lambda: [Outside(), *FLAT.make_layers()]))
    assert ", but it could not be stored in " in trained.origin and "\n" not in trained.origin and str(tmp_path) not in trained.origin


READ_ONLY = OSError(errno.EROFS, "Read-only file system", "/somewhere/on/this/machine")


def read_only(monkeypatch):
    """What the system says of each attempt to write; root may write wherever it likes, so the calls are replaced."""

    def refuse(*args, **kwargs):
        raise READ_ONLY

    for owner, name in ((Path, "mkdir"), (Path, "rename"), (Path, "write_bytes"), (shutil, "rmtree"), (cache, "FileLock")):
        monkeypatch.setattr(owner, name, refuse)


def test_folder_read_only_while_storing(run, few, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        read_only(patch)
        trained = run()
    folder = f"{tmp_path.name}/local/flat-{cache.fingerprint(training.made_from(FLAT, few, SETTINGS))}"
    assert trained.origin.endswith(f"{folder} (Read-only file system)")
    assert trained.predict(few.test_images).shape == (100, 10) and list(tmp_path.iterdir()) == []


def test_folder_read_only_with_a_valid_cache(run, monkeypatch):
    history = run().history
    read_only(monkeypatch)
    assert "flat: loaded from the cache" in run().origin and run().history == history


@pytest.mark.thorough
def test_folder_read_only_with_a_damaged_cache(run, tmp_path, monkeypatch):
    """It is named, trained again, and left where it is."""
    run()
    (the_entry(tmp_path) / "history.pickle").write_bytes(b"")
    read_only(monkeypatch)
    assert "damaged: history.pickle has changed; it could not be set aside: Read-only file system" in (origin := run().origin)
    assert "could not be stored in" in origin and the_entry(tmp_path).exists()


@pytest.mark.thorough
def test_cache_that_another_process_does_not_let_go_of(run, tmp_path, monkeypatch):
    """What stands there is loaded if it is whole; but nothing is moved or stored while somebody else may be writing."""
    run()
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.1)
    with cache.FileLock(tmp_path / ".lock"):
        assert "loaded" in run().origin
        (the_entry(tmp_path) / "history.pickle").write_bytes(b"")
        origin = run().origin
        assert the_entry(tmp_path).name.startswith("flat-")
    what = "The file lock '.lock' could not be acquired."
    assert f"damaged: history.pickle has changed; it could not be set aside: {what})" in origin and origin.endswith(f"({what})")
    assert "set aside as" in run().origin


# --- trainings that come to no end


def test_interrupted_training(run, tmp_path, monkeypatch):
    """Its message says what to do; nothing is left of it, and the next run trains."""

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training._ShowProgress, "on_epoch_end", interrupt)
        said = "training flat was stopped, and nothing was stored. Run the cell again"
        with pytest.raises(training.TrainingInterrupted, match=said) as error:
            run()
    assert error.value.__suppress_context__ and not (tmp_path / "local").exists()
    assert run().origin == "flat: trained here (no cached model)"


def test_network_that_cannot_be_trained(run, tmp_path):
    """What TensorFlow says of it in forty lines is one sentence."""

    class Broken(layers.Layer):
        def call(self, inputs):
            with training.tf.control_dependencies([training.tf.debugging.assert_less(inputs, -1.0, message="pixels are not negative")]):
                return training.tf.identity(inputs)

    message = never_stored(run, replace(FLAT, make_layers=lambda: [Broken(), *FLAT.make_layers()]), tmp_path)
    assert message.startswith("flat cannot be trained: assertion failed: [pixels are not negative]")
    assert "Nothing was stored. Look at the layers" in message and "\n" not in message


# --- networks that do not learn


def never_stored(run, candidate, tmp_path, **changed):
    with pytest.raises(training.TrainingError) as error:
        run(candidate, settings=replace(SETTINGS, **changed))
    assert not (tmp_path / "local").exists()
    return str(error.value)


def test_nan_loss(run, tmp_path):
    """The run stops there, with what was seen and what to look at."""
    exploding = replace(FLAT, make_layers=lambda: [layers.Rescaling(1e38), layers.Dense(10), layers.Rescaling(1e38), layers.Softmax()])
    message = never_stored(run, exploding, tmp_path, epochs=50)
    assert message.startswith("flat cannot go on learning: its training loss was nan in epoch 1. Nothing was stored. Look at")


def test_nan_loss_in_validation_alone(few, run, tmp_path):
    """As when the last step of an epoch is one too many."""

    class NanInTest(layers.Layer):
        def call(self, inputs, training=False):
            return inputs if training else inputs * float("nan")

    message = never_stored(run, replace(FLAT, make_layers=lambda: [*FLAT.make_layers(), NanInTest()]), tmp_path)
    assert "its validation loss was nan after epoch 1." in message


def test_layer_that_fails_in_training(run, tmp_path):
    """With whatever kind of error; what the project says itself keeps its own."""

    class Broken(layers.Layer):
        def call(self, inputs, training=False):
            if training:
                raise RuntimeError("the layer is out of order")
            return inputs

    message = never_stored(run, replace(FLAT, make_layers=lambda: [Broken(), *FLAT.make_layers()]), tmp_path)
    assert message.startswith("flat cannot be trained: the layer is out of order. Nothing was stored.")


def test_settings_of_numpy(run, few):
    numpys = replace(FLAT, make_layers=lambda: [layers.Dropout(np.float64(0.5)), *FLAT.make_layers()])
    assert training.made_from(numpys, few, SETTINGS)["layers"][0]["rate"] == 0.5


def test_settings_that_cannot_be_written_down(few):
    class Mine(layers.Dense):
        def get_config(self):
            return {**super().get_config(), "mine": {1, 2}}

    odd = replace(FLAT, make_layers=lambda: [Mine(10, activation="softmax")])
    with pytest.raises(InputError, match=r"^flat: expected layers with numbers and texts as settings; found others: .*set.*\.$"):
        training.made_from(odd, few, SETTINGS)


@pytest.mark.thorough
def test_network_that_loses_all_in_the_end(run, tmp_path):
    """What it read of the training images before counts no more."""

    class OffInTest(layers.Layer):
        def call(self, inputs, training=False):
            return inputs if training else inputs * 0

    message = never_stored(run, replace(FLAT, make_layers=lambda: [OffInTest(), *FLAT.make_layers()]), tmp_path, epochs=20)
    assert "flat does not learn to read digits: in epoch 20 it read" in message


@pytest.mark.thorough
def test_network_that_learns_nothing(run, tmp_path):
    """After fifty steps, not before: small data sets take some epochs."""
    dead = replace(FLAT, make_layers=lambda: [layers.Dense(10, kernel_initializer="zeros", activation="softmax", trainable=False)])
    message = never_stored(run, dead, tmp_path, epochs=30)
    seen = "in epoch 13 it read 10.0 % of the training images correctly, and then 10.0 %"
    assert message.startswith(f"flat does not learn to read digits: {seen}")
    assert "guessing reads 10 %. Nothing was stored." in message


# --- the models that come with the project


@pytest.mark.parametrize("candidate", models.CANDIDATES, ids=lambda candidate: candidate.name)
def test_committed_model_is_what_a_first_run_loads(mnist, candidate):
    model = train_or_load(candidate, mnist, Settings())
    assert "loaded from the cache" in model.origin
    assert len(model.history["accuracy"]) == 5
    accuracy = (model.predict(mnist.test_images).argmax(axis=1) == mnist.test_labels).mean()
    assert accuracy == pytest.approx(model.history["val_accuracy"][-1])


def test_committed_models_are_small():
    """Four bytes a weight, and little else."""
    for candidate in models.CANDIDATES:
        size = sum(path.stat().st_size for path in (training.MODELS / candidate.name).rglob("*") if path.is_file())
        weights = 4 * candidate.build().count_params()
        assert weights <= size <= 1.2 * weights


def test_settings_of_the_article_need_no_notice():
    assert Settings() == Settings(seed=12345, epochs=5, batch_size=64) and Settings().notice == ""
    assert "epochs 3 instead of 5, batch_size 32 instead of 64" in Settings(epochs=3, batch_size=32).notice


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"epochs": 0}, {"batch_size": 0}, {"epochs": 2.5}, {"seed": "1"}])
def test_wrong_settings_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{name}: expected a whole number from . to 4294967295; found {value!r}"):
        Settings(**wrong)
