"""Train a network: settings, batches, the training itself, and what it gives."""

import math
from dataclasses import asdict, dataclass

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from helpers.cache import History
from helpers.data import Digits
from helpers.errors import InputError, ReadableError, reason
from helpers.models import Candidate
from helpers.progress import progress_bar

# Batches that are converted in one go; more would only take more memory.
BATCHES_AT_ONCE = 10
# Images that are validated or predicted at once. With some other numbers, such as 500, the last bits
# depend on the processor's caches: if matrices do not fit into them, oneDNN splits them differently.
IMAGES_AT_ONCE = 256
# A network is taken for hopeless if its accuracy is lower than LEAST_ACCURACY at the end of an epoch
# by which it has had STEPS_TO_LEARN steps. Guessing gives 0.1, and the article's networks have 0.75
# after half as many steps.
LEAST_ACCURACY = 0.2
STEPS_TO_LEARN = 50
ADVICE = (
    "Look at the layers, at the form of the pixels they are given, "
    "and at LEARNING_RATE in helpers/models.py."
)


class TrainingError(ReadableError):
    """A network cannot be trained, does not learn or cannot be stored."""


@dataclass(frozen=True)
class Settings:
    """What a training depends on besides the network and the data.

    Raises
    ------
    InputError
        If one of them is no whole number, or out of range.
    """

    seed: int = 12345
    epochs: int = 5
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("epochs", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, np.integer):  # JSON cannot hold it
                value = int(value)
                object.__setattr__(self, name, value)
            if type(value) is not int or not least <= value < 2**32:
                expected = f"a whole number from {least} to {2**32 - 1}"
                raise InputError(f"{name}: expected {expected}; found {value!r}.")

    @property
    def notice(self) -> str:
        """What a reader must know first about a run with other settings; empty for the defaults."""
        own, defaults = asdict(self), asdict(Settings())
        changed = [f"{key} {own[key]} instead of {defaults[key]}" for key in own if own[key] != defaults[key]]
        if not changed:
            return ""
        return (
            f"This run used other settings than the article: {', '.join(changed)}. The numbers in "
            "the text between the cells are those of the article's settings, not of this run."
        )


@dataclass(frozen=True)
class TrainedModel:
    """A network with its weights, and how it came by them.

    Attributes
    ----------
    candidate
        What was trained.
    network
        The network. One that was loaded cannot be trained any further.
    history
        `accuracy`, `loss`, `val_accuracy` and `val_loss`, one float per epoch each.
    origin
        One line that says whether it was loaded or trained, and why.
    """

    candidate: Candidate
    network: keras.Sequential
    history: History
    origin: str

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of the ten classes.

        Parameters
        ----------
        images
            Pixels from 0 to 255, uint8, shape (n, 28, 28).

        Returns
        -------
        float32, shape (n, 10).
        """
        prepared = self.candidate.prepare(images)
        # Keras's `predict` takes 50 milliseconds to set up its batches; `predict_on_batch` gives
        # the same bits in 1 millisecond.
        if len(images) <= IMAGES_AT_ONCE:
            return self.network.predict_on_batch(prepared)
        return self.network.predict(prepared, batch_size=IMAGES_AT_ONCE, verbose=0)


def train(
    candidate: Candidate, digits: Digits, settings: Settings
) -> tuple[keras.Sequential, History]:
    """Train a candidate from its initial weights, and show a progress bar meanwhile.

    Returns
    -------
    The network, and its history: one float per epoch each. `accuracy` and `loss` are averages over
    an epoch, while the weights changed and dropout was on; `val_accuracy` and `val_loss` are those
    of all test images after it.

    Raises
    ------
    InputError
        If the layers make no network.
    TrainingError
        If the training fails, is interrupted or shortened, if a loss is not finite, or if nothing
        is learned.
    """
    keras.utils.set_random_seed(settings.seed)
    network = candidate.build()
    training = batches(
        candidate, digits.train_images, digits.train_labels, settings.batch_size, settings.seed
    )
    validation = batches(candidate, digits.test_images, digits.test_labels, IMAGES_AT_ONCE)
    steps = settings.epochs * len(training)
    try:
        with progress_bar(steps, f"training {candidate.name}", unit="step") as bar:
            fitted = network.fit(
                training,
                validation_data=validation,
                epochs=settings.epochs,
                shuffle=False,  # `batches` does it
                verbose=0,
                callbacks=[
                    _ShowProgress(bar),
                    keras.callbacks.TerminateOnNaN(),  # ends an epoch early
                    _StopIfItDoesNotLearn(),  # says why
                ],
            )
    except KeyboardInterrupt:
        seen = f"training {candidate.name} was stopped, and nothing was stored"
        raise TrainingError(f"{seen}. Start it again to train it.") from None
    except ReadableError:
        raise
    except Exception as error:  # of whatever kind, from inside Keras or a layer of one's own
        seen = f"{candidate.name} cannot be trained: {reason(error)}"
        raise TrainingError(f"{seen} Nothing was stored. {ADVICE}") from error
    # Keras itself can be told to shorten each training (`keras.config.set_max_epochs`).
    done = int(network.optimizer.iterations)
    if done != steps or len(fitted.history["loss"]) != settings.epochs:
        seen = f"{done:,} training steps instead of {steps:,}, so something has shortened it"
        advice = "Undo what has changed Keras's own settings, or restart the kernel."
        raise TrainingError(f"{candidate.name} was given {seen}. Nothing was stored. {advice}")
    history = {key: [float(value) for value in fitted.history[key]] for key in sorted(fitted.history)}
    return network, history


def batches(
    candidate: Candidate,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Make batches of a network's inputs and of one-hot labels.

    Parameters
    ----------
    candidate
        The network, which says in what form it takes its inputs.
    images, labels
        uint8, shapes (n, 28, 28) and (n,).
    batch_size
        How many images a batch has.
    seed
        If given, the images come in a new order in each epoch.

    Notes
    -----
    `Candidate.prepare` does the same to whole arrays; change both or none. Here it is done to a few
    batches at a time: pixels stay bytes until they are needed, which takes a quarter of the memory
    and next to no time.
    """
    images, labels = tf.constant(images), tf.constant(labels)

    def prepare(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(tf.gather(images, indices), tf.float32)
        if candidate.pixels == "normalised":
            pixels /= 255
        prepared = tf.reshape(pixels, (-1, *candidate.input_shape))
        return prepared, tf.one_hot(tf.gather(labels, indices), 10)

    # The steps: indices in order, pieces of several batches, prepared images, single batches.
    # First there is one element, the indices of all images, which `rebatch` cuts into pieces.
    indices = tf.range(len(images))
    order = tf.data.Dataset.from_tensors(indices)
    if seed is not None:
        # One random number, another one in each epoch, decides the whole order at once. With a
        # shuffle that hands over image by image, the dense network's training takes a twentieth
        # longer.
        numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
        stateless_shuffle = tf.random.experimental.stateless_shuffle
        order = numbers.map(lambda number: stateless_shuffle(indices, (seed, number)))
    several = order.rebatch(BATCHES_AT_ONCE * batch_size).map(prepare)
    # Autotuning has nothing to tune here. Its thread sleeps longer and longer, and the end of an
    # epoch waits for it, for seconds.
    options = tf.data.Options()
    options.autotune.enabled = False
    # `rebatch` forgets how many there are, which Keras and the progress bar need.
    with_length = tf.data.experimental.assert_cardinality(math.ceil(len(images) / batch_size))
    return several.rebatch(batch_size).apply(with_length).prefetch(4).with_options(options)


class _ShowProgress(keras.callbacks.Callback):
    """Advances a progress bar to the steps done, and shows each epoch's validation accuracy."""

    def __init__(self, bar: tqdm):
        super().__init__()
        self.bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        steps = self.params["steps"]
        # Keras counts on to the next multiple of `STEPS_PER_CALL`, even where an epoch ends before.
        done = min(batch + 1, steps)
        shown = self.bar.n % steps  # of this epoch; the bar counts over all of them
        self.bar.update(done - shown)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.bar.set_postfix(epoch=epoch + 1, val_accuracy=f"{logs['val_accuracy']:.4f}")


class _StopIfItDoesNotLearn(keras.callbacks.Callback):
    """Raises a TrainingError after an epoch whose losses are not finite, or if nothing is learned."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._check_losses(epoch + 1, logs)
        self._check_learning(epoch + 1, logs)

    def _check_losses(self, epoch: int, logs: dict[str, float]) -> None:
        for name, loss, when in (
            ("training", logs["loss"], "in"),
            ("validation", logs["val_loss"], "after"),
        ):
            if not math.isfinite(loss):
                seen = f"its {name} loss was {loss} {when} epoch {epoch}"
                said = f"{self.model.name} cannot go on learning: {seen}"
                raise TrainingError(f"{said}. Nothing was stored. {ADVICE}")

    def _check_learning(self, epoch: int, logs: dict[str, float]) -> None:
        # Before the last epoch the better of both accuracies counts, because with batch
        # normalisation test images are read well only late. In the last one only validation counts.
        best = logs["val_accuracy"]
        if epoch < self.params["epochs"]:
            best = max(best, logs["accuracy"])
        if epoch * self.params["steps"] >= STEPS_TO_LEARN and best < LEAST_ACCURACY:
            seen = (
                f"in epoch {epoch} it read {100 * logs['accuracy']:.1f} % of the training images "
                f"correctly, and then {100 * logs['val_accuracy']:.1f} % of the test images"
            )
            said = f"{self.model.name} does not learn to read digits: {seen}"
            raise TrainingError(f"{said}. Nothing was stored. {ADVICE}")
