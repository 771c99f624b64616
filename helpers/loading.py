"""Load a trained network, or train it and store it: the one place that decides between the two."""

import platform
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from helpers import cache
from helpers.compute import arithmetic, arithmetic_unless_portable
from helpers.data import Digits
from helpers.errors import InputError
from helpers.models import LEARNING_RATE, LOSS, OPTIMIZER, Candidate, architecture
from helpers.training import Settings, TrainedModel, TrainingError, train

MODELS = Path(__file__).parent.parent / "models"


def train_or_load(
    candidate: Candidate, digits: Digits, settings: Settings, models: Path = MODELS
) -> TrainedModel:
    """Load a model that was trained from the same inputs, or train it and store it.

    Raises
    ------
    InputError
        If the layers cannot be described, or make no network.
    TrainingError
        If it cannot be trained, or does not learn; nothing is stored then.

    Notes
    -----
    The models that come with the project are in ``models/<name>``. They were computed portably,
    and are loaded whatever the arithmetic of this process is. What is trained here goes to
    ``models/local``, beside what was trained there before, and is loaded again only by a process
    of the same arithmetic. A damaged entry is moved to ``models/local``, too. If the new model
    could not be stored, its origin says why.
    """
    inputs = describe_inputs(candidate, digits, settings)
    shipped = _Place(models / candidate.name, inputs)
    # What is trained here belongs to the arithmetic that it was trained with.
    identity = inputs | arithmetic_unless_portable()
    name = f"{candidate.name}-{cache.fingerprint(identity)}"
    local = _Place(models / "local" / name, identity)
    try:
        with _locked_if_possible(models) as obstacle:
            return _look_up(candidate, shipped, local, obstacle)
    except cache.CacheError as error:
        origin = f"{candidate.name}: trained here ({error})"
    network, history = train(candidate, digits, settings)
    try:
        with cache.locked(models):
            store(network, history, local.folder, identity)
    except Exception as error:  # such as a full disk, or layers that TensorFlow cannot export
        folder = local.folder.relative_to(models.parent)
        origin += f", but it could not be stored in {folder} ({_cause(error)})"
    return TrainedModel(candidate, network, history, origin)


def retrain(
    candidate: Candidate, digits: Digits, settings: Settings, models: Path = MODELS
) -> TrainedModel:
    """Train a model that comes with the project again, in its place.

    Call `compute.require_portable` before, since such models have the same bits everywhere.

    Raises
    ------
    InputError, TrainingError
        As in `train_or_load`, and if it cannot be stored. The old model is kept then.
    """
    folder = models / candidate.name
    inputs = describe_inputs(candidate, digits, settings)
    try:
        with cache.locked(models):
            pass  # if nothing can be stored there, this fails before minutes of training
        network, history = train(candidate, digits, settings)
        with cache.locked(models):
            store(network, history, folder, inputs)
    except (InputError, TrainingError):
        raise
    except Exception as error:
        found = f"could not be stored in {folder.relative_to(models.parent)}: {_cause(error)}"
        remedy = (
            "What stood there is as it was. Make room or check the folder's permissions, "
            "and train it again."
        )
        raise TrainingError(f"{folder.name} {found}. {remedy}") from error
    return TrainedModel(candidate, network, history, f"{candidate.name}: trained here (asked for)")


def describe_inputs(candidate: Candidate, digits: Digits, settings: Settings) -> dict[str, Any]:
    """Describe what a training is asked for, in values that JSON can hold.

    With the same code, versions and arithmetic, equal descriptions give equal bits. Nothing here
    says whether the code of `training`, of `models.FusedAdam`, or of a layer of one's own has
    changed.

    Raises
    ------
    InputError
        If the layers cannot be described.
    """
    return {
        "name": candidate.name,
        "pixels": candidate.pixels,
        "optimizer": OPTIMIZER,
        "learning_rate": LEARNING_RATE,
        "loss": LOSS,
        **asdict(settings),
        "layers": architecture(candidate),
        "input_shape": [int(side) for side in candidate.input_shape],
        "data": digits.digest,
    }


def describe_environment() -> dict[str, str]:
    """Describe the versions and the arithmetic, which also decide the last digits of a training."""
    return {
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        **arithmetic(),
    }


def store(
    network: keras.Sequential, history: cache.History, folder: Path, inputs: dict[str, Any]
) -> None:
    """Store what `train` returned, while the cache is `cache.locked`.

    If that fails, the folder is unchanged.
    """

    def write_model(path: Path) -> None:
        # `network.export` would write every weight twice: Keras tracks them in two places.
        module = tf.Module()
        module.weights = [weight.value for weight in network.weights]
        signature = [tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)]
        module.serve = tf.function(
            lambda prepared: network(prepared, training=False), input_signature=signature
        )
        tf.saved_model.save(module, str(path))

    cache.store(folder, write_model, history, inputs, describe_environment())


class _Place(NamedTuple):
    """A folder where a model may be, and the inputs that a model there must have."""

    folder: Path
    inputs: dict[str, Any]


@contextmanager
def _locked_if_possible(models: Path) -> Iterator[OSError | None]:
    """Lock the cache, and yield None; or yield the error that keeps it from being locked.

    Intact models can be loaded without the lock, too, but nothing may be moved then.
    """
    with ExitStack() as stack:
        obstacle = None
        try:
            stack.enter_context(cache.locked(models))
        except OSError as error:
            obstacle = error
        yield obstacle


def _look_up(
    candidate: Candidate, shipped: _Place, local: _Place, obstacle: OSError | None
) -> TrainedModel:
    """Load the project's own model, or else the local one; set damaged ones aside.

    Parameters
    ----------
    obstacle
        The error that kept the cache from being locked, if any. Nothing is moved then.

    Raises
    ------
    CacheError
        If neither can be loaded; the message says what is missing, changed or damaged.
    """
    damages: list[str] = []
    for place in (shipped, local):
        try:
            model = _load(candidate, *place)
            # A local model that is found after damage says so, too.
            said = [f"the one that comes with the project: {damage}" for damage in damages]
            return replace(model, origin="; ".join([model.origin, *said]))
        except cache.EntryNotFound:
            continue
        except cache.CacheError as error:
            # A local folder's name is the fingerprint of its inputs, so other inputs mean damage
            # there. The project's own model may well have other inputs.
            if isinstance(error, cache.EntryMismatch) and place == shipped:
                continue
            aside = _set_aside(place.folder, local.folder.parent, obstacle)
            damages.append(f"{error}; {aside}")
    raise cache.CacheError("; ".join(damages) or _fewest_changes(candidate, shipped, local))


def _set_aside(folder: Path, to: Path, obstacle: OSError | None) -> str:
    """Move a damaged entry to another folder, unless there is an obstacle; say what came of it."""
    if not obstacle:
        try:
            moved = cache.set_aside(folder, to)
            return f"set aside as {moved.relative_to(to.parent.parent)}"
        except OSError as error:
            obstacle = error
    return f"it could not be set aside: {_cause(obstacle)}"


def _fewest_changes(candidate: Candidate, shipped: _Place, local: _Place) -> str:
    """Say what has changed since the stored model that is most like the one asked for."""
    folders = sorted(local.folder.parent.glob(f"{candidate.name}-????????"))
    places = [*(_Place(folder, local.inputs) for folder in folders), shipped]
    fewest: list[str] | None = None
    for place in places:
        with suppress(cache.CacheError):  # a damaged one is reported when it is asked for
            changes = cache.changes(*place)
            if fewest is None or len(changes) < len(fewest):
                fewest = changes
    return ", ".join(fewest or ["no cached model"])


def _load(candidate: Candidate, folder: Path, inputs: dict[str, Any]) -> TrainedModel:
    """Load a model, or raise a CacheError that says why it cannot be used."""
    entry = cache.load(folder, inputs)
    epochs = len(next(iter(entry.history.values())))  # all lists of a history are equally long
    if epochs != inputs["epochs"]:
        found = f"its history has {epochs} epochs instead of {inputs['epochs']}"
        raise cache.CacheError(f"damaged: {found}")
    try:
        versions = "TensorFlow {TensorFlow} on {processor}".format_map(entry.environment)
        layer = keras.layers.TFSMLayer(str(entry.saved_model), call_endpoint="serve")
        layers = [keras.Input(candidate.input_shape), layer]
        network = keras.Sequential(layers, name=candidate.name)
    except Exception as error:
        # Its files are intact, so another version or program wrote them, and training it helps.
        found = f"TensorFlow {tf.__version__} cannot read it: {_cause(error)}"
        raise cache.CacheError(found) from None
    origin = f"{candidate.name}: loaded from the cache; trained with {versions}"
    return TrainedModel(candidate, network, entry.history, origin)


def _cause(error: Exception) -> str:
    """Return the first line of an error's message, without folders and without a full stop.

    `errors.reason` keeps folders, and more than a line, for errors that a reader has made.
    """
    text = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    if isinstance(error, tf.errors.OpError):
        # As in "{{function_node ...}} ...; No space left on device [Op:WriteFile]".
        text = text.rpartition("; ")[2].partition(" [Op:")[0]
    # Such as /home/me/mnist/ in "/home/me/mnist/models: no space left".
    folders = r"(?<![\w.])([A-Za-z]:)?[/\\][^\s:;,'\"]*[/\\]"
    lines = re.sub(folders, "", text).strip().splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__
