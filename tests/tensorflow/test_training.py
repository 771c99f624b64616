"""Train: the same each time, and not what cannot learn."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from helpers.compute import start_tensorflow

start_tensorflow()
import keras  # noqa: E402  TensorFlow must be started first
from keras import layers  # noqa: E402

from helpers import models, training  # noqa: E402
from helpers.data import one_hot  # noqa: E402
from helpers.errors import InputError  # noqa: E402
from helpers.training import Settings  # noqa: E402
from tests.small_networks import CONV, FLAT, SETTINGS, flat_after, times_in_test  # noqa: E402

FLAT_AND_CONV = pytest.mark.parametrize("candidate", [FLAT, CONV], ids=["flat", "conv"])


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
    assert np.array_equal(inputs, candidate.prepare(few.test_images))
    assert np.array_equal(labels, one_hot(few.test_labels))
    first, second, first_again = (np.concatenate([each for each, _ in epoch]) for epoch in (shuffled, shuffled, again))
    assert np.array_equal(first, first_again) and not np.array_equal(first, second)
    assert np.array_equal(np.sort(first, axis=0), np.sort(inputs, axis=0))


@pytest.mark.thorough
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
    assert run().origin == "flat: trained here (no cached model)"


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
