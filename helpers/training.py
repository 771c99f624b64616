"""Train or load: the one place that decides between the two."""

import json
import math
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from helpers import cache
from helpers.checks import InputError, ReadableError, check_counts, check_images, check_labels, reason
from helpers.data import Digits
from helpers.models import LEARNING_RATE, LOSS, OPTIMIZER, Candidate, architecture
from helpers.progress import progress_bar
from helpers.startup import arithmetic

MODELS = Path(__file__).parent.parent / "models"
BATCHES_AT_ONCE = 10  # converted in one go; more would only take more memory
# Images that are read at once, to validate and to predict. With some other sizes, 500 for one, the last bits depend on
# the processor's caches: where matrices do not fit, oneDNN cuts them up among its threads, and rows come to lie elsewhere.
ROWS_AT_ONCE = 256
# Guessing reads a tenth of the digits; half as many steps are enough for each of the article's networks to read three in four.
LEARNED, STEPS_TO_LEARN = 0.2, 50


class TrainingError(ReadableError):
    """A network cannot be trained or does not learn; the message says what was seen."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training was interrupted; the message says which, and what to do."""

    _render_traceback_ = ReadableError._render_traceback_


@dataclass(frozen=True)
class Settings:
    """What a training depends on besides the network and the data; by default as in the article.

    Raises
    ------
    InputError
        If any of them is no whole number, or out of range.
    """

    seed: int = 12345
    epochs: int = 5
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("epochs", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, np.integer):  # it would be no number for JSON
                object.__setattr__(self, name, value := int(value))
            if type(value) is not int or not least <= value < 2**32:
                raise InputError(f"{name}: expected a whole number from {least} to {2**32 - 1}; found {value!r}.")

    @property
    def notice(self) -> str:
        """What a reader must know first about a run with other settings; empty for the default ones."""
        changed = [
            f"{key} {value} instead of {default}"
            for (key, value), default in zip(asdict(self).items(), asdict(Settings()).values(), strict=True)
            if value != default
        ]
        return "" if not changed else (
            f"This run used other settings than the article: {', '.join(changed)}. The numbers in the "
            "text between the cells are those of the article's settings, not of this run."
        )


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, and how it came by them.

    Attributes
    ----------
    candidate
        The network's definition.
    network
        Predicts; a loaded one cannot be trained any further.
    history
        `accuracy`, `loss`, `val_accuracy` and `val_loss`, a float an epoch.
    origin
        Whether it was loaded or trained, and why, in one line.
    """

    candidate: Candidate
    network: keras.Sequential
    history: cache.History
    origin: str

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of the ten classes, float32 (n, 10), for uint8 images (n, 28, 28)."""
        return self.network.predict(self.candidate.inputs(images), batch_size=ROWS_AT_ONCE, verbose=0)


def recipe(candidate: Candidate, settings: Settings) -> dict[str, Any]:
    """Everything a candidate is trained with, apart from its layers and the data."""
    fixed = {"optimizer": OPTIMIZER, "learning_rate": LEARNING_RATE, "loss": LOSS}
    return {"pixels": candidate.pixels, **fixed, **asdict(settings)}


def train_or_load(
    candidate: Candidate, digits: Digits, settings: Settings, models: Path = MODELS
) -> TrainedModel:
    """Load the model that this training would give, or train it and store it.

    The models that come with the project stand in ``models/<name>``. Whatever is trained here
    goes to ``models/local``, beside what was trained there before: trying something out
    replaces nothing. A damaged entry is moved there, too, under another name.

    Parameters
    ----------
    candidate
        The network.
    digits
        Trained on the training images; the test images validate each epoch.
    settings
        Seed, epochs and batch size.
    models
        The cache's folder.

    Returns
    -------
    TrainedModel
        Its `origin` says in one line which of the two was done, and why; and, if it could not
        be stored, where and why not.

    Raises
    ------
    InputError
        If the candidate's layers make no network, or cannot be told apart from others.
    TrainingError
        If the network cannot be trained or learns nothing; nothing is stored then.
    TrainingInterrupted
        If the training is interrupted; nothing is stored then.
    """
    made_from = ingredients(candidate, digits, settings)
    with cache.locked(models, must=False) as obstacle:
        found = _look_up(candidate, made_from, models, obstacle)
    if isinstance(found, TrainedModel):
        return found
    network, history = train(candidate, digits, settings)
    origin = f"{candidate.name}: trained here ({found})"
    folder = _own_folder(candidate, made_from, models)
    try:
        with cache.locked(models):
            store(network, history, folder, made_from)
    except Exception as error:  # a full disk, or layers that TensorFlow cannot export: the network is there all the same
        origin += f", but it could not be stored in {_shown(folder, models)} ({_cause(error)})"
    return TrainedModel(candidate, network, history, origin)


def retrain(candidate: Candidate, digits: Digits, settings: Settings, models: Path = MODELS) -> TrainedModel:
    """Train a model that comes with the project anew, and put it in the place of the old one.

    Parameters and other errors are those of `train_or_load`.

    Raises
    ------
    TrainingError
        If it cannot be stored, too; the old one is then still in its place.
    """
    folder, made_from = models / candidate.name, ingredients(candidate, digits, settings)
    with _obstacles_named(folder, models), cache.locked(models):
        pass  # else minutes of training might be for nothing
    network, history = train(candidate, digits, settings)
    with _obstacles_named(folder, models), cache.locked(models):
        store(network, history, folder, made_from)
    return TrainedModel(candidate, network, history, f"{candidate.name}: trained here (asked for)")


@contextmanager
def _obstacles_named(folder: Path, models: Path) -> Iterator[None]:
    """Raise a TrainingError for whatever keeps a network from being stored in this folder."""
    try:
        yield
    except Exception as error:
        raise TrainingError(
            f"{folder.name} could not be stored in {_shown(folder, models)}: {_cause(error)}. "
            "What stood there is as it was. Make room, or let the folder be written to, and train it again."
        ) from error


def train(
    candidate: Candidate, digits: Digits, settings: Settings
) -> tuple[keras.Sequential, cache.History]:
    """Train a candidate from its initial weights, under a progress bar.

    Each training starts from the seed, so it does not matter what was trained before it.

    Returns
    -------
    network, history
        The history holds `accuracy` and `loss`, averaged over the epoch while the weights
        changed and dropout was on, and `val_accuracy` and `val_loss`, of all test images
        after the epoch.

    Raises
    ------
    InputError
        If the candidate's layers make no network, or the digits are none.
    TrainingError
        If Keras or TensorFlow cannot train the network; as soon as the loss is not finite; or if after
        an epoch, and STEPS_TO_LEARN steps at least, fewer than a fifth of both the training and the test
        images are read correctly, or of the test images alone after the last one.
    TrainingInterrupted
        If it is interrupted.
    """
    keras.utils.set_random_seed(settings.seed)
    network = candidate.build()
    steps = math.ceil(len(digits.train_labels) / settings.batch_size)  # of an epoch
    try:
        with progress_bar(settings.epochs * steps, f"training {candidate.name}", unit="step") as bar:
            fitted = network.fit(
                batches(candidate, digits.train_images, digits.train_labels, settings.batch_size, settings.seed),
                validation_data=batches(candidate, digits.test_images, digits.test_labels, batch_size=ROWS_AT_ONCE),
                epochs=settings.epochs,
                shuffle=False,  # `batches` has done it
                verbose=0,
                callbacks=[_ShowProgress(bar, steps), _StopIfItDoesNotLearn(candidate.name, settings.epochs, steps)],
            )
    except KeyboardInterrupt:
        said = f"training {candidate.name} was stopped, and nothing was stored. Run the cell again to train it."
        raise TrainingInterrupted(said) from None
    except ReadableError:
        raise
    except Exception as error:  # of whatever kind, from deep inside of Keras or from a layer of one's own
        raise TrainingError(f"{candidate.name} cannot be trained: {reason(error)} Nothing was stored. {_ADVICE}") from error
    return network, {key: [float(value) for value in fitted.history[key]] for key in sorted(fitted.history)}


def batches(
    candidate: Candidate, images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int | None = None
) -> tf.data.Dataset:
    """Batches of inputs and one-hot labels, in a new random order each epoch if there is a seed.

    The images stay as they are, a byte a pixel, until their batch is due. That takes a quarter
    of the memory of float32 inputs, and converting a batch takes next to no time.

    Parameters
    ----------
    candidate
        Whose inputs they are.
    images, labels
        uint8, shapes (n, 28, 28) and (n,).
    batch_size
        The last batch of an epoch may be smaller.
    seed
        Shuffle the images, each epoch anew; without one they stay in their order.

    Raises
    ------
    InputError
        If images or labels have another form, or differ in number.
    """
    check_images(images=images)
    check_labels(labels=labels)
    check_counts(images=images, labels=labels)
    images, labels = tf.constant(images), tf.constant(labels)

    def inputs_and_one_hots(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(tf.gather(images, indices), tf.float32)
        if candidate.pixels == "normalised":
            pixels /= 255
        inputs = tf.reshape(pixels, (-1, *candidate.input_shape))
        return inputs, tf.one_hot(tf.gather(labels, indices), 10)

    order = tf.data.Dataset.from_tensors(tf.range(len(images)))
    if seed is not None:
        # One random number an epoch, and from it the whole order at once: with a shuffle that
        # hands over image by image the dense network's training takes a twentieth longer.
        order = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1).map(
            lambda epoch: tf.random.experimental.stateless_shuffle(tf.range(len(images)), (seed, epoch))
        )
    several = order.rebatch(BATCHES_AT_ONCE * batch_size).map(inputs_and_one_hots)
    # Autotuning has nothing to tune here, and its thread keeps a finished epoch waiting
    # until it next wakes up: for seconds, since it sleeps twice as long each time.
    options = tf.data.Options()
    options.autotune.enabled = False
    count = tf.data.experimental.assert_cardinality(math.ceil(len(images) / batch_size))
    return several.rebatch(batch_size).apply(count).prefetch(4).with_options(options)


def store(
    network: keras.Sequential, history: cache.History, folder: Path, made_from: dict[str, Any]
) -> None:
    """Store a trained network as an entry of the cache, with what it was made with; while that is `cache.locked`.

    Parameters
    ----------
    network, history
        As `train` returns them.
    folder
        The entry's; what stands there is replaced.
    made_from
        As `ingredients` returns it.

    Raises
    ------
    OSError, tensorflow.errors.OpError, ValueError
        If something cannot be written, or TensorFlow cannot export a layer. `folder` is then as it was.
    """

    def write_model(path: Path) -> None:
        # `network.export` would write every weight twice: Keras tracks them in two places.
        module = tf.Module()
        module.weights = [weight.value for weight in network.weights]
        module.serve = tf.function(
            lambda inputs: network(inputs, training=False),
            input_signature=[tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)],
        )
        tf.saved_model.save(module, str(path))

    cache.store(folder, write_model, history, made_from, made_with())


def ingredients(candidate: Candidate, digits: Digits, settings: Settings) -> dict[str, Any]:
    """All that decides what comes out of a training, fit for JSON.

    Raises
    ------
    InputError
        If the candidate's layers make no network, or cannot be told apart from others.
    """
    description = {
        "name": candidate.name,
        **recipe(candidate, settings),
        "layers": architecture(candidate.build()),
        "input_shape": candidate.input_shape,
        "data": digits.digest,
    }
    try:
        return json.loads(json.dumps(description))  # tuples as lists, as a manifest gives them back
    except (TypeError, ValueError) as error:
        raise InputError(f"{candidate.name}: expected layers with numbers and texts as settings; found others: {reason(error)}") from error


def made_with() -> dict[str, str]:
    """Versions, and what else decides the last digits of a training."""
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__, "NumPy": np.__version__, "Python": platform.python_version()}
    return versions | arithmetic()


class _ShowProgress(keras.callbacks.Callback):
    """Advances a progress bar to the steps done, and shows each epoch's validation accuracy."""

    def __init__(self, bar: tqdm, steps_per_epoch: int):
        super().__init__()
        self.bar = bar
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        # Keras counts on to the next multiple of `STEPS_PER_CALL`, even where an epoch ends before.
        self.bar.update(self.epoch * self.steps_per_epoch + min(batch + 1, self.steps_per_epoch) - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch + 1
        self.bar.set_postfix(epoch=epoch + 1, val_accuracy=f"{(logs or {})['val_accuracy']:.4f}")


class _StopIfItDoesNotLearn(keras.callbacks.Callback):
    """Raises a TrainingError once it makes no sense to go on."""

    def __init__(self, name: str, epochs: int, steps_per_epoch: int):
        super().__init__()
        self.name = name
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        step = min(batch + 1, self.steps_per_epoch)
        self._check_finite("training loss", float(logs["loss"]), f"in epoch {self.epoch + 1}, after step {step}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch = epoch + 1
        self._check_finite("validation loss", logs["val_loss"], f"after epoch {self.epoch}")
        has_had_time = self.epoch * self.steps_per_epoch >= STEPS_TO_LEARN
        # What is lost again counts until the end: batch normalisation, for one, reads test images late.
        best = logs["val_accuracy"] if self.epoch == self.epochs else max(logs["accuracy"], logs["val_accuracy"])
        if has_had_time and best < LEARNED:
            raise TrainingError(
                f"{self.name} does not learn to read digits: in epoch {self.epoch} it read {100 * logs['accuracy']:.1f} % of the "
                f"training images correctly, and then {100 * logs['val_accuracy']:.1f} % of the test images; "
                f"guessing reads 10 %. Nothing was stored. {_ADVICE}"
            )

    def _check_finite(self, what: str, loss: float, when: str) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.name} cannot go on learning: its {what} was {loss} {when}. Nothing was stored. {_ADVICE}"
            )


_ADVICE = "Look at the layers, at the form of the pixels they are given, and at LEARNING_RATE in helpers/models.py."


def _look_up(candidate: Candidate, made_from: dict[str, Any], models: Path, obstacle: OSError | None) -> TrainedModel | str:
    """The model from the cache; or why there is none, once damaged entries are set aside, if nothing is in the way of that."""
    shipped, own = models / candidate.name, _own_folder(candidate, made_from, models)
    damages: list[str] = []
    for folder in (shipped, own):
        try:
            model = _load(candidate, folder, made_from)
            return replace(model, origin="; the one that comes with the project is ".join([model.origin, *damages]))
        except cache.NoEntry:
            continue
        except cache.CacheError as error:
            if folder == shipped and isinstance(error, cache.OtherEntry):
                continue
            try:
                if obstacle:
                    raise obstacle
                where = f"set aside as {_shown(cache.set_aside(folder, to=own.parent), models)}"
            except OSError as hindrance:
                where = f"it could not be set aside: {_cause(hindrance)}"
            damages.append(f"{error}; {where}")
    others = [shipped, *sorted(own.parent.glob(f"{candidate.name}-????????"))]
    return "; ".join(damages) or _nearest_changes(others, made_from)


def _load(candidate: Candidate, folder: Path, made_from: dict[str, Any]) -> TrainedModel:
    entry = cache.load(folder, made_from)
    try:
        versions = "TensorFlow {TensorFlow} on {processor}".format_map(entry.made_with)
        layer = keras.layers.TFSMLayer(str(entry.saved_model), call_endpoint="serve")
        network = keras.Sequential([keras.Input(candidate.input_shape), layer], name=candidate.name)
    except Exception as error:  # it is what was stored, so by another version or program: training anew helps
        raise cache.CacheError(f"TensorFlow {tf.__version__} cannot read it: {_cause(error)}") from None
    origin = f"{candidate.name}: loaded from the cache; trained with {versions}"
    return TrainedModel(candidate, network, entry.history, origin)


def _own_folder(candidate: Candidate, made_from: dict[str, Any], models: Path) -> Path:
    return models / "local" / f"{candidate.name}-{cache.fingerprint(made_from)}"


def _shown(folder: Path, models: Path) -> str:
    """A folder of the cache as a reader finds it, from the folder that holds the cache."""
    return folder.relative_to(models.parent).as_posix()


def _cause(error: Exception) -> str:
    """The first line of an error's message, without folders of this machine, and without what TensorFlow wraps it in."""
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    if isinstance(error, tf.errors.OpError):
        text = text.rpartition("; ")[2].partition(" [Op:")[0]
    without_folders = re.sub(r"(?<![\w.])([A-Za-z]:)?[/\\][^\s:;,'\"]*[/\\]", "", text)
    return (without_folders.strip().splitlines() or [type(error).__name__])[0]


def _nearest_changes(folders: list[Path], made_from: dict[str, Any]) -> str:
    """What has changed since the most similar of these entries, in words; or that there is none."""
    changed = []
    for folder in folders:
        try:
            changed.append(cache.changes(folder, made_from))
        except cache.CacheError:
            continue  # whoever asks for that one will hear of its damage
    fewest: list[str] = min(changed, key=len, default=["no cached model"])
    return ", ".join(fewest)
