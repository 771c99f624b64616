"""The networks: how each is built, and how it is described."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

from helpers.data import normalise
from helpers.errors import InputError, reason

OPTIMIZER = "adam"  # a key of OPTIMIZERS
LEARNING_RATE = 0.001  # Keras's default, at which the article leaves it
LOSS = "categorical_crossentropy"
Pixels = Literal["normalised", "raw"]
# Training steps between two returns to Python. The more, the faster, but a progress bar needs some
# returns. An epoch in batches of 64 has 938 steps, seven times as many, so that no call is cut short.
STEPS_PER_CALL = 134


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with each variable's update as one TensorFlow operation instead of a dozen.

    Notes
    -----
    The arithmetic is the same but for the last bits: D. P. Kingma, J. Ba, "Adam", 2015, in the more
    efficient form at the end of section 2, as in Keras. On the dense network a step's update took 1.2 to 1.4
    milliseconds instead of 1.8 to 2.4, on two cores. That is why Keras's private attributes
    (`_get_variable_index`, `_momentums`, `_velocities`) are used here.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update one variable and its two moments in place."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)  # counted from 1
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


OPTIMIZERS = {"adam": FusedAdam}


@dataclass(frozen=True)
class Candidate:
    """A network that takes part in the comparison, and the form of its input.

    Attributes
    ----------
    name
        What tables and the cache call it: at most 100 letters, digits, - and _, the first one a
        letter or a digit.
    make_layers
        A function that returns new layers at each call: all after the input, up to and including
        the softmax.
    input_shape
        The shape in which the first layer takes one image.
    pixels
        ``"normalised"`` for pixels from 0 to 1, ``"raw"`` for pixels from 0 to 255.

    Raises
    ------
    InputError
        If name, shape or pixels have another form.
    """

    name: str
    make_layers: Callable[[], list[keras.Layer]]
    input_shape: tuple[int, ...] = (28, 28, 1)
    pixels: Pixels = "normalised"

    def __post_init__(self) -> None:
        pattern = r"[A-Za-z0-9][\w-]{0,99}"
        is_name = isinstance(self.name, str) and re.fullmatch(pattern, self.name, re.ASCII)
        # models/local is the folder of what is trained here.
        if not is_name or self.name.lower() == "local":
            expected = "letters, digits, - and _, and not 'local'"
            raise InputError(f"A candidate's name: expected {expected}; found {self.name!r}.")
        sides = self.input_shape if isinstance(self.input_shape, tuple) else ()
        is_shape = all(isinstance(side, int) and side > 0 for side in sides)
        if not is_shape or math.prod(sides) != 28 * 28:
            expected = "an input_shape for the 784 pixels of an image, such as (784,) or (28, 28, 1)"
            raise InputError(f"{self.name}: expected {expected}; found {self.input_shape!r}.")
        if self.pixels not in get_args(Pixels):
            expected = "pixels to be 'normalised' or 'raw'"
            raise InputError(f"{self.name}: expected {expected}; found {self.pixels!r}.")

    def new_layers(self) -> list[keras.Layer]:
        """Call `make_layers`, and raise an InputError unless it returns layers."""
        try:
            made = list(self.make_layers())
            others = [each for each in made if not isinstance(each, keras.Layer)]
            if others:
                raise TypeError(f"expected layers, such as layers.Flatten(); found {others[0]!r}.")
            return made
        except Exception as error:  # of whatever kind: the function may be a reader's own
            said = f"make_layers cannot make layers: {reason(error)} Correct it."
            raise InputError(f"{self.name}: {said}") from error

    def build(self) -> keras.Sequential:
        """Make an untrained network, ready for `fit`.

        Raises
        ------
        InputError
            If Keras cannot make it, or if layers of an earlier network are used again.
        """
        made = self.new_layers()
        self._check_not_used(made)
        try:
            network = keras.Sequential([keras.Input(self.input_shape), *made], name=self.name)
        except Exception as error:  # of whatever kind: a layer may be a reader's own
            images = f"images of shape {self.input_shape}"
            said = f"Keras cannot make a network of these layers for {images}: {reason(error)}"
            raise InputError(f"{self.name}: {said} Correct its layers or its input_shape.") from error
        network.compile(
            OPTIMIZERS[OPTIMIZER](LEARNING_RATE, name=OPTIMIZER),
            loss=LOSS,
            metrics=["accuracy"],
            steps_per_execution=STEPS_PER_CALL,
        )
        return network

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """Bring images into the form that this network takes; `training.batches` does the same.

        Parameters
        ----------
        images
            Pixels from 0 to 255, uint8, shape (n, 28, 28).

        Returns
        -------
        float32, shape (n, *input_shape).
        """
        is_normalised = self.pixels == "normalised"
        pixels = normalise(images) if is_normalised else images.astype(np.float32)
        return pixels.reshape(len(images), *self.input_shape)

    def _check_not_used(self, made: list[keras.Layer]) -> None:
        """Raise an InputError if `make_layers` returns the same layers at each call.

        They would go on from the weights of an earlier training. A layer that was used has weights,
        but so has a new model that is used as a layer. So layers are made once more: what comes
        again was used before.
        """
        if any(layer.weights for layer in made):
            used = sorted(layer.name for layer in set(made).intersection(self.new_layers()))
            if used:
                expected = "expected new layers whenever they are made"
                found = f"found {', '.join(used)} used again"
                advice = "Write the layers inside the function, as in lambda: [layers.Dense(10)]."
                raise InputError(f"{self.name}: {expected}; {found}. {advice}")


def dense_layers() -> list[keras.Layer]:
    """Make the layers of the article's first network."""
    return [
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.15),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.15),
        layers.Dense(10, activation="softmax"),
    ]


def conv_layers() -> list[keras.Layer]:
    """Make the layers of the article's second network.

    In the article, too, the first layer has no activation.
    """
    return [
        layers.Conv2D(32, 3),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ]


DENSE = Candidate("dense", dense_layers, input_shape=(784,))
CONV = Candidate("conv", conv_layers, pixels="raw")
CONV_NORMALISED = Candidate("conv-normalised", conv_layers)
CANDIDATES = (DENSE, CONV, CONV_NORMALISED)


def check_own(own: Sequence[Candidate]) -> None:
    """Raise an InputError unless these are candidates, each with a name that no other one has."""
    is_list = isinstance(own, (list, tuple))
    if not is_list or not all(isinstance(candidate, Candidate) for candidate in own):
        expected = "a list of candidates, such as [models.Candidate(...)]"
        raise InputError(f"own: expected {expected}; found {own!r}.")
    names = [candidate.name for candidate in (*CANDIDATES, *own)]
    taken = sorted({name for name in names if names.count(name) > 1})
    if taken:
        found = f"found {', '.join(taken)} more than once"
        raise InputError(f"own: expected another name for each; {found}. Rename one.")


def notice(own: Sequence[Candidate]) -> str:
    """What a reader must know first about a run with networks of one's own; empty without any."""
    if not own:
        return ""
    names = ", ".join(candidate.name for candidate in own)
    return f"Networks of your own take part in this run: {names}. The notebook's text does not know them."


def changed(networks: Sequence[Candidate]) -> list[str]:
    """List what differs between the notebook's networks and `CANDIDATES`, as in "the layers of dense".

    Parameters
    ----------
    networks
        The notebook's, in the order of `CANDIDATES`.
    """
    found = []
    for current, original in zip(networks, CANDIDATES, strict=False):
        same = {
            "layers": architecture(current) == architecture(original),
            "input shape": current.input_shape == original.input_shape,
            "pixels": current.pixels == original.pixels,
        }
        found += [f"the {part} of {original.name}" for part, is_same in same.items() if not is_same]
    return found


def architecture(candidate: Candidate) -> list[dict[str, Any]]:
    """Describe each layer of a network by its class and its settings, in values that JSON can hold.

    No network is built. Names of layers are left out, because Keras numbers them anew at each
    build. What comes out is part of each manifest and each fingerprint: if its form changes, stored
    models and studies no longer fit.

    Raises
    ------
    InputError
        If a layer cannot tell its settings, or one of them is a lambda.
    """
    described = []
    for layer in candidate.new_layers():
        try:
            text = json.dumps(layer.get_config(), default=_plain_number)
            settings = json.loads(text, object_hook=_comparable)
            numbers = {name: f"layer {number}" for number, name in enumerate(_names(layer))}
            settings = _numbered(settings, numbers)
        except Exception as error:  # of whatever kind: a layer may be a reader's own
            said = f"the layer {layer.name} cannot tell its settings: {reason(error)}"
            raise InputError(f"{candidate.name}: {said}") from error
        described.append({"class": _class_of(layer), **settings})
    return described


def _class_of(layer: keras.Layer) -> str:
    """Return a layer's class, with its module if that is not Keras's."""
    kind = type(layer)
    # Keras's modules are its own business, and may change.
    module = "keras" if kind.__module__.startswith("keras.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _names(layer: keras.Layer) -> list[str]:
    """List the names of a layer and of the layers in it, in their order."""
    inner = [name for each in getattr(layer, "layers", []) for name in _names(each)]
    return [layer.name, *inner]


def _numbered(settings: Any, numbers: dict[str, str], is_reference: bool = False) -> Any:
    """Replace names by which a model that is used as a layer refers to its own layers."""
    if isinstance(settings, dict):
        references = {"input_layers", "output_layers", "keras_history"}
        if "inbound_nodes" in settings:  # an entry of the model's list of layers
            references.add("name")
        return {key: _numbered(each, numbers, key in references) for key, each in settings.items()}
    if isinstance(settings, list):
        return [_numbered(each, numbers, is_reference) for each in settings]
    is_name = is_reference and isinstance(settings, str)
    return numbers.get(settings, settings) if is_name else settings


def _plain_number(setting: Any) -> Any:
    """Return a NumPy number as one of Python's, which JSON can hold; refuse anything else."""
    if isinstance(setting, np.generic):
        return setting.item()
    raise ValueError(f"expected numbers and texts; found a {type(setting).__name__}.")


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Drop the name of a layer or an input, and refuse a lambda.

    A lambda is refused because nothing tells whether it is still the same. JSON's decoder calls
    this for each object, the inner ones first.
    """
    # Keras writes a lambda as {"class_name": "__lambda__", "config": {"value": [its code, ...]}},
    # or, where a layer takes an activation, as {"value": [its code, ...]}.
    is_bare_lambda = settings.keys() == {"value"} and isinstance(settings["value"], list)
    if settings.get("class_name") == "__lambda__" or is_bare_lambda:
        expected = "expected functions with a name, or layers of your own"
        raise ValueError(f"{expected}; found a lambda. Give it a name.")
    is_layer, is_input = "trainable" in settings, "batch_shape" in settings
    if is_layer or is_input:
        settings.pop("name", None)
    return settings


def summary(network: keras.Sequential) -> pd.DataFrame:
    """List the layers of a network: one row each, with class, output shape and parameters."""
    rows = []
    for layer in network.layers:
        shape = " x ".join(map(str, layer.output.shape[1:]))
        rows.append((type(layer).__name__, shape, f"{layer.count_params():,}"))
    rows.append(("total", "", f"{network.count_params():,}"))
    return pd.DataFrame(rows, [*range(1, len(rows)), ""], ["layer", "output shape", "parameters"])
