"""Train or load: the one place that decides between the two."""

import math
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from helpers import cache
from helpers.checks import InputError, ReadableError, reason
from helpers.data import Digits
from helpers.models import LEARNING_RATE, LOSS, OPTIMIZER, Candidate, architecture
from helpers.progress import progress_bar
from helpers.startup import arithmetic, other_arithmetic

MODELS = Path(__file__).parent.parent / "models"
BATCHES_AT_ONCE = 10  # converted in one go; more would only take more memory
# Images read at once, to validate and to predict. With some other sizes, 500 for one, the last bits depend on the
# processor's caches: where matrices do not fit, oneDNN cuts them up among its threads in another way.
ROWS_AT_ONCE = 256
# Guessing reads a tenth of the digits; half as many steps teach each of the article's networks to read three in four.
LEARNED, STEPS_TO_LEARN = 0.2, 50
ADVICE = "Look at the layers, at the form of the pixels they are given, and at LEARNING_RATE in helpers/models.py."


class TrainingError(ReadableError):
    """A network cannot be trained, does not learn or cannot be stored; the message says what was seen."""


@dataclass(frozen=True)
class Settings:
    """What a training depends on besides the network and the data: whole numbers, or it is an InputError."""

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
        own, defaults = asdict(self), asdict(Settings())
        changed = ", ".join(f"{key} {own[key]} instead of {defaults[key]}" for key in own if own[key] != defaults[key])
        return changed and (
            f"This run used other settings than the article: {changed}. The numbers in the text "
            "between the cells are those of the article's settings, not of this run."
        )


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, and how it came by them."""

    candidate: Candidate
    network: keras.Sequential  # one that was loaded cannot be trained any further
    history: cache.History  # `accuracy`, `loss`, `val_accuracy` and `val_loss`, one float per epoch
    origin: str  # one line: whether it was loaded or trained, and why

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of the ten classes, float32 (n, 10), for uint8 images (n, 28, 28)."""
        inputs = self.candidate.inputs(images)
        if len(images) <= ROWS_AT_ONCE:  # the same bits, in 1 millisecond instead of the 50 that many batches need
            return self.network.predict_on_batch(inputs)
        return self.network.predict(inputs, batch_size=ROWS_AT_ONCE, verbose=0)


def made_from(candidate: Candidate, digits: Digits, settings: Settings) -> dict[str, Any]:
    """Describe what a training is asked for, as JSON has it.

    With the same versions and the same arithmetic, equal descriptions give equal bits.

    Raises
    ------
    InputError
        If the layers cannot be described.
    """
    fixed = {"optimizer": OPTIMIZER, "learning_rate": LEARNING_RATE, "loss": LOSS}
    description = {"name": candidate.name, "pixels": candidate.pixels, **fixed, **asdict(settings)}
    shape = [int(side) for side in candidate.input_shape]
    return description | {"layers": architecture(candidate), "input_shape": shape, "data": digits.digest}


def made_with() -> dict[str, str]:
    """Versions, and what else decides the last digits of a training."""
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__, "NumPy": np.__version__}
    return versions | {"Python": platform.python_version()} | arithmetic()


def train_or_load(candidate: Candidate, digits: Digits, settings: Settings, models: Path = MODELS) -> TrainedModel:
    """Load the model that this training would give, or train it and store it.

    Notes
    -----
    The models that come with the project stand in ``models/<name>``. They were computed portably,
    and are loaded whatever the arithmetic of this process is. What is trained here goes to
    ``models/local``, beside what was trained there before; a damaged entry is moved there, too.
    It is loaded again only by a process of the same arithmetic. If the model could not be stored,
    its origin says where and why not. Errors are those of `made_from` and `train`; nothing is
    stored then.
    """
    wanted = made_from(candidate, digits, settings)
    identity = wanted | other_arithmetic()
    local = models / "local" / f"{candidate.name}-{cache.fingerprint(identity)}"
    places = {models / candidate.name: wanted, local: identity}
    try:
        try:
            with cache.locked(models):
                return _look_up(candidate, places)
        except OSError as obstacle:  # whole models can be loaded without the lock, too, but nothing may be moved
            return _look_up(candidate, places, obstacle)
    except cache.CacheError as error:
        origin = f"{candidate.name}: trained here ({error})"
    network, history = train(candidate, digits, settings)
    try:
        with cache.locked(models):
            store(network, history, local, identity)
    except Exception as error:  # such as a full disk, or layers that TensorFlow cannot export
        origin += f", but it could not be stored in {local.relative_to(models.parent)} ({_cause(error)})"
    return TrainedModel(candidate, network, history, origin)


def retrain(candidate: Candidate, digits: Digits, settings: Settings, models: Path = MODELS) -> TrainedModel:
    """Train a model that comes with the project again, in its place; a TrainingError, too, if it cannot be stored."""
    folder, wanted = models / candidate.name, made_from(candidate, digits, settings)
    try:
        with cache.locked(models):
            pass  # otherwise minutes of training might be for nothing
        network, history = train(candidate, digits, settings)
        with cache.locked(models):
            store(network, history, folder, wanted)
    except (InputError, TrainingError):
        raise
    except Exception as error:
        found = f"could not be stored in {folder.relative_to(models.parent)}: {_cause(error)}"
        remedy = "What stood there is as it was. Make room or check the folder's permissions, and train it again."
        raise TrainingError(f"{folder.name} {found}. {remedy}") from error
    return TrainedModel(candidate, network, history, f"{candidate.name}: trained here (asked for)")


def train(candidate: Candidate, digits: Digits, settings: Settings) -> tuple[keras.Sequential, cache.History]:
    """Train a candidate from its initial weights, under a progress bar; the seed decides the outcome.

    In the history, `accuracy` and `loss` are averages over an epoch, while the weights changed and dropout was on;
    `val_accuracy` and `val_loss` are those of all test images after it. An InputError if the layers make no network; a
    TrainingError if it fails or is interrupted, if a loss is not finite, or nothing is learned.
    """
    keras.utils.set_random_seed(settings.seed)
    network = candidate.build()
    shuffled = batches(candidate, digits.train_images, digits.train_labels, settings.batch_size, settings.seed)
    try:
        with progress_bar(settings.epochs * len(shuffled), f"training {candidate.name}", unit="step") as bar:
            fitted = network.fit(
                shuffled,
                validation_data=batches(candidate, digits.test_images, digits.test_labels, ROWS_AT_ONCE),
                epochs=settings.epochs,
                shuffle=False,  # `batches` has done it
                verbose=0,
                callbacks=[_ShowProgress(bar), keras.callbacks.TerminateOnNaN(), _StopIfItDoesNotLearn()],
            )
    except KeyboardInterrupt:
        said = f"training {candidate.name} was stopped, and nothing was stored. Start it again to train it."
        raise TrainingError(said) from None
    except ReadableError:
        raise
    except Exception as error:  # of whatever kind, from deep inside of Keras or from a layer of one's own
        said = f"{candidate.name} cannot be trained: {reason(error)} Nothing was stored. {ADVICE}"
        raise TrainingError(said) from error
    # Keras itself can be told to shorten each training (`keras.config.set_max_epochs`).
    steps, expected = int(network.optimizer.iterations), settings.epochs * len(shuffled)
    if steps != expected or len(fitted.history["loss"]) != settings.epochs:
        seen = f"{steps:,} training steps instead of {expected:,}, so something has shortened it"
        advice = "Undo what has changed Keras's own settings, or restart the kernel."
        raise TrainingError(f"{candidate.name} was given {seen}. Nothing was stored. {advice}")
    return network, {key: [float(value) for value in fitted.history[key]] for key in sorted(fitted.history)}


def batches(
    candidate: Candidate, images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int | None = None
) -> tf.data.Dataset:
    """Batches of inputs and one-hot labels, of uint8 (n, 28, 28) and (n,); with a seed, in a new order each epoch."""
    # Pixels stay bytes until their batch is due: a quarter of the memory of float32, and converted in next to no time.
    images, labels = tf.constant(images), tf.constant(labels)

    def inputs_and_one_hots(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(tf.gather(images, indices), tf.float32)
        if candidate.pixels == "normalised":
            pixels /= 255
        inputs = tf.reshape(pixels, (-1, *candidate.input_shape))
        return inputs, tf.one_hot(tf.gather(labels, indices), 10)

    order = tf.data.Dataset.from_tensors(tf.range(len(images)))
    if seed is not None:
        # One random number per epoch, and from it the whole order at once: with a shuffle that
        # hands over image by image the dense network's training takes a twentieth longer.
        epochs = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
        shuffle = tf.random.experimental.stateless_shuffle
        order = epochs.map(lambda epoch: shuffle(tf.range(len(images)), (seed, epoch)))
    several = order.rebatch(BATCHES_AT_ONCE * batch_size).map(inputs_and_one_hots)
    # Autotuning has nothing to tune here, and its thread keeps a finished epoch waiting
    # until it next wakes up: for seconds, since it sleeps twice as long each time.
    options = tf.data.Options()
    options.autotune.enabled = False
    count = tf.data.experimental.assert_cardinality(math.ceil(len(images) / batch_size))
    return several.rebatch(batch_size).apply(count).prefetch(4).with_options(options)


def store(network: keras.Sequential, history: cache.History, folder: Path, made_from: dict[str, Any]) -> None:
    """Store what `train` returned, while the cache is `cache.locked`; if that fails, `folder` is as it was."""

    def write_model(path: Path) -> None:
        # `network.export` would write every weight twice: Keras tracks them in two places.
        module = tf.Module()
        module.weights = [weight.value for weight in network.weights]
        signature = [tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)]
        module.serve = tf.function(lambda inputs: network(inputs, training=False), input_signature=signature)
        tf.saved_model.save(module, str(path))

    cache.store(folder, write_model, history, made_from, made_with())


class _ShowProgress(keras.callbacks.Callback):
    """Advances a progress bar to the steps done, and shows each epoch's validation accuracy."""

    def __init__(self, bar: tqdm):
        super().__init__()
        self.bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        steps = self.params["steps"]
        # Keras counts on to the next multiple of `STEPS_PER_CALL`, even where an epoch ends before.
        self.bar.update(min(batch + 1, steps) - self.bar.n % steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.bar.set_postfix(epoch=epoch + 1, val_accuracy=f"{logs['val_accuracy']:.4f}")


class _StopIfItDoesNotLearn(keras.callbacks.Callback):
    """Raises a TrainingError after an epoch whose losses are not finite, or by which it ought to have learned."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        name, number = self.model.name, epoch + 1
        for what, loss, when in (("training", logs["loss"], "in"), ("validation", logs["val_loss"], "after")):
            if not math.isfinite(loss):
                seen = f"its {what} loss was {loss} {when} epoch {number}"
                raise TrainingError(f"{name} cannot go on learning: {seen}. Nothing was stored. {ADVICE}")
        # What is lost again counts until the end: batch normalisation, for one, reads test images late.
        best = logs["val_accuracy"] if number == self.params["epochs"] else max(logs["accuracy"], logs["val_accuracy"])
        if number * self.params["steps"] >= STEPS_TO_LEARN and best < LEARNED:
            training, validation = (f"{100 * logs[key]:.1f} % of the" for key in ("accuracy", "val_accuracy"))
            seen = f"in epoch {number} it read {training} training images correctly, and then {validation} test images"
            raise TrainingError(f"{name} does not learn to read digits: {seen}. Nothing was stored. {ADVICE}")


def _look_up(
    candidate: Candidate, places: Mapping[Path, dict[str, Any]], obstacle: OSError | None = None
) -> TrainedModel:
    """Load the model from the first of two folders that has it, and set damaged ones aside.

    Parameters
    ----------
    places
        The folder of the project's own model and that of a local one, each with what a model there
        must have been made from.
    obstacle
        Why nothing may be moved, if so.

    Raises
    ------
    CacheError
        If neither folder has it; the message says what is missing, changed or damaged.
    """
    shipped, local = places
    damages: list[str] = []
    # Settings of one's own make the project's model a mismatch; what is in a local folder belongs to its name.
    harmless = {shipped: (cache.EntryNotFound, cache.EntryMismatch), local: (cache.EntryNotFound,)}
    for folder, expected in places.items():
        try:
            model = _load(candidate, folder, expected)
            return replace(model, origin="; the one that comes with the project is ".join([model.origin, *damages]))
        except harmless[folder]:
            continue
        except cache.CacheError as error:
            try:
                if obstacle:
                    raise obstacle
                where = f"set aside as {cache.set_aside(folder, to=local.parent).relative_to(shipped.parent.parent)}"
            except OSError as hindrance:
                where = f"it could not be set aside: {_cause(hindrance)}"
            damages.append(f"{error}; {where}")
    changed: list[list[str]] = []
    entries = [*sorted(local.parent.glob(f"{candidate.name}-????????")), shipped]
    for folder in entries:
        with suppress(cache.CacheError):  # whoever asks for that one will hear of its damage
            changed.append(cache.changes(folder, places.get(folder, places[local])))
    fewest = min(changed, key=len, default=["no cached model"])
    raise cache.CacheError("; ".join(damages) or ", ".join(fewest))


def _load(candidate: Candidate, folder: Path, made_from: dict[str, Any]) -> TrainedModel:
    """Load a model, or raise a CacheError that says why it cannot be used."""
    entry = cache.load(folder, made_from)
    epochs = {len(values) for values in entry.history.values()}
    if epochs != {made_from["epochs"]}:
        raise cache.CacheError(f"damaged: its history has {max(epochs)} epochs instead of {made_from['epochs']}")
    try:
        versions = "TensorFlow {TensorFlow} on {processor}".format_map(entry.made_with)
        layer = keras.layers.TFSMLayer(str(entry.saved_model), call_endpoint="serve")
        network = keras.Sequential([keras.Input(candidate.input_shape), layer], name=candidate.name)
    except Exception as error:  # it is what was stored, so by another version or program: training it again helps
        raise cache.CacheError(f"TensorFlow {tf.__version__} cannot read it: {_cause(error)}") from None
    origin = f"{candidate.name}: loaded from the cache; trained with {versions}"
    return TrainedModel(candidate, network, entry.history, origin)


def _cause(error: Exception) -> str:
    """The first line of an error's message, without this machine's folders and what TensorFlow wraps it in."""
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    if isinstance(error, tf.errors.OpError):
        text = text.rpartition("; ")[2].partition(" [Op:")[0]
    without_folders = re.sub(r"(?<![\w.])([A-Za-z]:)?[/\\][^\s:;,'\"]*[/\\]", "", text)
    return (without_folders.strip().splitlines() or [type(error).__name__])[0]
