import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.startup import start_tensorflow

start_tensorflow()
from keras import layers  # noqa: E402  TensorFlow must be started first

from helpers import cache, models, training  # noqa: E402
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
    inputs, labels = map(np.concatenate, zip(*training.batches(candidate, few.test_images, few.test_labels, 30)))
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


def test_other_settings_are_trained_beside(run, tmp_path):
    run()
    changed = replace(SETTINGS, epochs=2)
    assert run(settings=changed).origin == "flat: trained here (epochs changed from 1 to 2)"
    assert "loaded" in run(settings=changed).origin and "loaded" in run().origin
    assert len(entries(tmp_path)) == 2


def test_other_data_is_trained_beside(run, few, tmp_path):
    run()
    other = replace(few, digest="of other digits")
    assert run(digits=other).origin == "flat: trained here (data changed from of a few digits to of other digits)"
    assert len(entries(tmp_path)) == 2


def test_other_layers_are_trained_beside(run, tmp_path):
    run()
    wider = replace(FLAT, make_layers=lambda: [layers.Dense(12), *FLAT.make_layers()])
    assert run(wider).origin == "flat: trained here (layers changed)"
    assert len(entries(tmp_path)) == 2


def test_models_of_the_project_are_loaded_and_left_alone(run, few, tmp_path):
    training.retrain(FLAT, few, SETTINGS, models=tmp_path)
    before = cache.load(tmp_path / "flat", training.ingredients(FLAT, few, SETTINGS))
    assert "loaded" in run().origin
    assert run(settings=replace(SETTINGS, seed=2)).origin == "flat: trained here (seed changed from 1 to 2)"
    assert cache.load(tmp_path / "flat", training.ingredients(FLAT, few, SETTINGS)) == before
    assert entries(tmp_path) == [path for path in entries(tmp_path) if path.startswith("flat-")]


# --- caches that cannot be used


def the_entry(models):
    (name,) = entries(models)
    return models / "local" / name


@pytest.mark.parametrize(
    "name", ["history.pickle", "saved_model/saved_model.pb", "saved_model/variables/variables.data-00000-of-00001"]
)
def test_damaged_cache_is_noticed_and_trained_over(run, tmp_path, name):
    history = run().history
    entry = the_entry(tmp_path)
    content = bytearray((entry / name).read_bytes())
    content[len(content) // 2] ^= 1
    (entry / name).write_bytes(content)
    again = run()
    assert again.origin == f"flat: trained here (damaged: {name} has changed)"
    assert again.history == history and "loaded" in run().origin
    assert (tmp_path / "local" / f"{entry.name}.damaged-1" / name).read_bytes() == content


def test_damaged_model_of_the_project(run, few, tmp_path):
    training.retrain(FLAT, few, SETTINGS, models=tmp_path)
    (tmp_path / "flat" / "history.pickle").unlink()
    assert run().origin == "flat: trained here (damaged: history.pickle is missing)"
    assert "loaded" in run().origin and (tmp_path / "flat" / "history.pickle").exists()


def test_foreign_cache_is_noticed_and_trained_over(run, tmp_path):
    """Another model's files under this model's manifest."""
    run()
    mine = the_entry(tmp_path)
    run(CONV)
    (foreign,) = (tmp_path / "local").glob("conv-*")
    shutil.rmtree(mine / "saved_model")
    shutil.copytree(foreign / "saved_model", mine / "saved_model")
    assert run().origin.startswith("flat: trained here (damaged: saved_model/")
    assert "loaded" in run().origin


def test_foreign_entry_is_noticed_and_trained_over(run, tmp_path):
    """Another model's whole entry in this model's place."""
    run()
    mine = the_entry(tmp_path)
    run(CONV)
    (foreign,) = (tmp_path / "local").glob("conv-*")
    shutil.rmtree(mine)
    shutil.copytree(foreign, mine)
    assert run().origin.startswith("flat: trained here (name changed from conv to flat")
    assert "loaded" in run().origin


@pytest.mark.parametrize("missing", ["manifest.json", "history.pickle", "saved_model/saved_model.pb"])
def test_half_written_cache_is_noticed_and_trained_over(run, tmp_path, missing):
    run()
    (the_entry(tmp_path) / missing).unlink()
    assert run().origin == f"flat: trained here (damaged: {missing} is missing)"
    assert "loaded" in run().origin


def test_model_that_cannot_be_stored_is_used_all_the_same(run, few, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "store", full)
    trained = run()
    assert "not stored" in trained.origin and "No space left on device" in trained.origin
    assert trained.predict(few.test_images).shape == (100, 10)


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
    with pytest.raises(ValueError, match=f"{name}: expected a whole number from . to 4294967295, found {value!r}"):
        Settings(**wrong)
