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

from helpers.startup import deviations, start_tensorflow

start_tensorflow()
import keras  # noqa: E402  TensorFlow must be started first
from keras import layers  # noqa: E402

from helpers import cache, models, training  # noqa: E402
from helpers.checks import InputError  # noqa: E402
from helpers.data import Digits, one_hot  # noqa: E402
from helpers.training import Settings, train_or_load  # noqa: E402

SETTINGS = Settings(seed=1, epochs=1, batch_size=50)
FLAT = models.Candidate("flat", lambda: [layers.Dropout(0.1), layers.Dense(10, activation="softmax")], (784,))
CONV = models.Candidate(
    "conv", lambda: [layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(10, activation="softmax")], pixels="raw"
)
FLAT_AND_CONV = pytest.mark.parametrize("candidate", [FLAT, CONV], ids=["flat", "conv"])
LEFT = {"local", ".lock"}  # of a cache, once all is done
UNTRAINED = "flat: trained here (no cached model)"


def flat_after(make_layer):
    """The flat network with a layer before its own."""
    return replace(FLAT, make_layers=lambda: [make_layer(), *FLAT.make_layers()])


def times_in_test(factor):
    """The flat network with its inputs multiplied, but not while it is trained."""

    class TimesInTest(layers.Layer):
        def call(self, inputs, training=False):
            return inputs if training else inputs * factor

    return flat_after(TimesInTest)


@pytest.fixture(scope="session")
def few(sample):
    train, test = (
        (sample.train_images[:200], sample.train_labels[:200]),
        (sample.test_images[:100], sample.test_labels[:100]),
    )
    return Digits(*train, *test, is_full=False, digest="of a few digits")


@pytest.fixture(scope="session")
def inputs(few):
    return training.describe_inputs(FLAT, few, SETTINGS)


@pytest.fixture
def the_projects(few, inputs, tmp_path):
    """The flat network comes with the project: makes it, and returns what is in the cache for it."""

    def make():
        training.retrain(FLAT, few, SETTINGS, models=tmp_path)
        return cache.load(tmp_path / "flat", inputs)

    return make


@pytest.fixture
def run(few, tmp_path):
    """Train or load in a cache of its own."""
    return lambda candidate=FLAT, digits=few, settings=SETTINGS: train_or_load(candidate, digits, settings, tmp_path)


def the_entry(models):
    (entry,) = (models / "local").iterdir()
    return entry


def test_same_seed_same_weights_whatever_is_trained_in_between(few):
    first, other, second = (training.train(CONV, few, replace(SETTINGS, seed=seed)) for seed in (1, 2, 1))
    assert first[1] == second[1] != other[1]
    assert all(map(np.array_equal, first[0].get_weights(), second[0].get_weights()))


def is_wiped_off(bar):
    return bar.rstrip("\r").rpartition("\r")[2].strip() == ""


def test_it_learns_and_keeps_one_float_per_epoch(few, capfd):
    _, history = training.train(FLAT, few, replace(SETTINGS, epochs=10))
    assert sorted(history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 10 and all(type(value) is float for value in values) for values in history.values())
    assert history["val_accuracy"][-1] > 0.5 > 0.3 > history["accuracy"][0]
    shown = capfd.readouterr().err
    assert "training flat" in shown and "40/40" in shown and "epoch=10" in shown and is_wiped_off(shown)


@FLAT_AND_CONV
def test_batches_hold_every_image_once_in_the_networks_form_and_another_order_each_epoch(few, candidate):
    in_order, shuffled, again = (
        training.batches(candidate, few.test_images, few.test_labels, 30, seed) for seed in (None, 1, 1)
    )
    inputs, labels = map(np.concatenate, zip(*in_order, strict=True))
    assert np.array_equal(inputs, candidate.inputs(few.test_images))
    assert np.array_equal(labels, one_hot(few.test_labels))
    first, second, first_again = (np.concatenate([each for each, _ in epoch]) for epoch in (shuffled, shuffled, again))
    assert np.array_equal(first, first_again) and not np.array_equal(first, second)
    assert np.array_equal(np.sort(first, axis=0), np.sort(inputs, axis=0))


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
        usual = model.network.predict(candidate.inputs(images), batch_size=256, verbose=0)
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


@pytest.mark.filterwarnings("ignore:Limiting")
@pytest.mark.parametrize(
    ("limit", "steps"), [(keras.config.set_max_epochs, 4), (keras.config.set_max_steps_per_epoch, 2)]
)
def test_shortened_training_is_an_error_and_never_stored(run, tmp_path, monkeypatch, limit, steps):
    """Two epochs of four steps are cut down to one epoch, or to one step each."""
    monkeypatch.setattr(models, "STEPS_PER_CALL", 1)
    limit(1)
    try:
        with pytest.raises(training.TrainingError, match=f"^flat was given {steps} training steps instead of 8, so"):
            run(settings=replace(SETTINGS, epochs=2))
    finally:
        limit(None)
    assert not (tmp_path / "local").exists()


def test_model_with_a_history_of_other_length_is_trained_again(run, inputs, tmp_path):
    history = run().history
    entry = the_entry(tmp_path)
    longer = {key: values * 2 for key, values in history.items()}
    cache.store(entry, lambda folder: folder.mkdir(), longer, inputs, training.describe_environment())
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
    patch.setattr(training.keras.layers, "TFSMLayer", None)


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
    loaded = loaded.format_map(training.describe_environment())
    assert run().origin == f"{loaded}; the one that comes with the project is {what} {aside}2"
    assert run().origin == loaded


@pytest.mark.thorough
def test_model_of_the_project_that_cannot_be_stored(few, the_projects, inputs, tmp_path, monkeypatch):
    """It is said before minutes are spent on its training, where that can be known; the old one is left."""
    before = the_projects()

    def said(*failures):
        with monkeypatch.context() as patch, pytest.raises(training.TrainingError) as error:
            for owner, name, failure in failures:
                patch.setattr(owner, name, Mock(side_effect=failure))
            training.retrain(FLAT, few, replace(SETTINGS, seed=2), models=tmp_path)
        return str(error.value).partition(". What stood there is as it was.")[0]

    in_training = (training, "train", training.TrainingError("flat learns nothing"))
    named = f"flat could not be stored in {tmp_path.name}/flat"
    assert said((cache, "FileLock", OSError(errno.EROFS, "Read-only")), in_training) == f"{named}: Read-only"
    assert said((training.tf.saved_model, "save", OSError(errno.ENOSPC, "Full"))) == f"{named}: Full"
    assert said(in_training) == "flat learns nothing"
    assert cache.load(tmp_path / "flat", inputs) == before


@pytest.mark.thorough
def test_entry_that_is_another_models_or_that_tensorflow_cannot_read(run, inputs, tmp_path, monkeypatch):
    history = run().history
    entry, environment = the_entry(tmp_path), training.describe_environment()
    cache.store(entry, lambda folder: folder.mkdir(), history, inputs | {"name": "conv"}, environment)
    with monkeypatch.context() as patch:
        not_read(patch)
        origin = run().origin
    assert origin.startswith("flat: trained here (name changed from conv to flat; set aside as ")
    cache.store(entry, lambda folder: folder.mkdir(), history, inputs, environment)  # by another program
    origin = run().origin
    assert f"TensorFlow {training.tf.__version__} cannot read it: " in origin and "set aside as" in origin
    assert str(tmp_path) not in origin and "loaded" in run().origin


TRAIN = """
import json, sys
from pathlib import Path
from helpers import cache, training
from helpers.data import load_mnist
from tests.killing import Trace
from tests.tensorflow.test_training import FLAT, SETTINGS
digits, trace = load_mnist(), Trace({cache.__file__, training.__file__}, int(sys.argv[2]))
model = training.train_or_load(FLAT, digits, SETTINGS, models=Path(sys.argv[1]))
outcome = model.history, model.predict(digits.test_images).sum(axis=0).tolist()
print(json.dumps([model.origin, outcome, trace.lines]))
"""


def start(models, fatal=0):
    """Train or load in a new process, which is killed before this line of the project's, if it is one."""
    command, environment = [sys.executable, "-c", TRAIN, models, str(fatal)], os.environ | {"MNIST_DATA": "sample"}
    return subprocess.Popen(command, cwd=training.MODELS.parent, env=environment, stdout=subprocess.PIPE)


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


def never_stored(run, candidate, tmp_path, **changed):
    with pytest.raises(training.TrainingError) as error:
        run(candidate, settings=replace(SETTINGS, **changed))
    assert not (tmp_path / "local").exists() and "Nothing was stored. Look at the layers" in str(error.value)
    return str(error.value)


def test_interrupted_training(run, tmp_path, monkeypatch, capfd):
    """Its message says what to do; nothing is left of it, and the next run trains."""
    with monkeypatch.context() as patch:
        patch.setattr(training._ShowProgress, "on_epoch_end", Mock(side_effect=KeyboardInterrupt))
        said = "training flat was stopped, and nothing was stored. Start it again"
        with pytest.raises(training.TrainingError, match=said) as error:
            run()
    shown = capfd.readouterr().err
    assert "training flat" in shown and is_wiped_off(shown)
    assert error.value.__suppress_context__ and not (tmp_path / "local").exists()
    assert run().origin == UNTRAINED


def test_network_that_cannot_be_trained(run, tmp_path):
    """What TensorFlow says of it in forty lines is one sentence."""
    tf = training.tf

    class Broken(layers.Layer):
        def call(self, inputs):
            with tf.control_dependencies([tf.debugging.assert_less(inputs, -1.0, message="pixels are not negative")]):
                return tf.identity(inputs)

    message = never_stored(run, flat_after(Broken), tmp_path)
    assert message.startswith("flat cannot be trained: assertion failed: [pixels are not") and "\n" not in message


def test_nan_loss(run, tmp_path, capfd):
    """Training stops before the first of fifty epochs is over, with what was seen."""
    exploding = replace(
        FLAT, make_layers=lambda: [layers.Rescaling(1e38), layers.Dense(10), layers.Rescaling(1e38), layers.Softmax()]
    )
    message = never_stored(run, exploding, tmp_path, epochs=50, batch_size=1)
    assert message.startswith("flat cannot go on learning: its training loss was nan in epoch 1. Nothing was stored.")
    assert f"{models.STEPS_PER_CALL}/10000" in capfd.readouterr().err
    # In validation alone, as when the last step of an epoch is one too many:
    assert "its validation loss was nan after epoch 1." in never_stored(run, times_in_test(float("nan")), tmp_path)


@pytest.mark.thorough
def test_network_that_learns_nothing_or_loses_all_in_the_end(run, tmp_path):
    """After fifty steps, not before: small data sets take some epochs. What it read before the last counts no more."""
    zeros = {"kernel_initializer": "zeros", "activation": "softmax", "trainable": False}
    dead = replace(FLAT, make_layers=lambda: [layers.Dense(10, **zeros)])
    message = never_stored(run, dead, tmp_path, epochs=30)
    assert "in epoch 13 it read 10.0 % of the training images correctly, and then 10.0 %" in message
    message = never_stored(run, times_in_test(0), tmp_path, epochs=20)
    assert "flat does not learn to read digits: in epoch 20 it read" in message


def test_settings_of_the_article_need_no_notice_and_wrong_ones_are_named():
    assert Settings() == Settings(seed=12345, epochs=5, batch_size=64) and Settings().notice == ""
    assert type(Settings(seed=np.int64(3)).seed) is int
    assert "epochs 3 instead of 5, batch_size 32 instead of 64" in Settings(epochs=3, batch_size=32).notice
    for name, value in (("seed", -1), ("epochs", 0), ("batch_size", 0), ("epochs", 2.5), ("seed", "1")):
        said = f"{name}: expected a whole number from . to 4294967295; found {value!r}"
        with pytest.raises(InputError, match=said):
            Settings(**{name: value})


@pytest.mark.parametrize("candidate", models.CANDIDATES, ids=lambda candidate: candidate.name)
def test_committed_model_is_what_a_first_run_loads(mnist, candidate):
    """It is small, too: four bytes a weight, and little else."""
    model = train_or_load(candidate, mnist, Settings())
    assert "loaded from the cache" in model.origin
    assert len(model.history["accuracy"]) == 5
    accuracy = (model.predict(mnist.test_images).argmax(axis=1) == mnist.test_labels).mean()
    assert accuracy == pytest.approx(model.history["val_accuracy"][-1])
    size = sum(path.stat().st_size for path in (training.MODELS / candidate.name).rglob("*") if path.is_file())
    assert 1 <= size / (4 * candidate.build().count_params()) <= 1.2
