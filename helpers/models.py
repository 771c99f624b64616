"""The networks, and what each is trained with."""

import inspect
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

from helpers.checks import InputError, reason
from helpers.data import normalise

OPTIMIZER, LEARNING_RATE = "adam", 0.001  # the article leaves the rate at Keras's default, which this is
LOSS = "categorical_crossentropy"
Pixels = Literal["normalised", "raw"]
STEPS_PER_CALL = 134  # training steps between two returns to Python: a seventh of an epoch in batches of 64


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with each variable's update as one TensorFlow operation instead of a dozen.

    The same arithmetic, but for the last bits (D. P. Kingma, J. Ba, "Adam", 2015, the formulation before section 2.1).
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update one variable and its two moments in place."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=self._momentums[index].value.handle, v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step, beta2_power=self.beta_2**step, lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, grad=gradient,
        )  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A network that takes part in the comparison; an InputError if name, shape or pixels are of another form."""

    name: str  # in tables and in the cache: letters, digits, - and _
    make_layers: Callable[[], list[keras.Layer]]  # new ones at each call, from the first after the input to the softmax
    input_shape: tuple[int, ...] = (28, 28, 1)  # of one image as the first layer takes it
    pixels: Pixels = "normalised"  # from 0 to 1; or raw, from 0 to 255

    def __post_init__(self) -> None:
        is_name = isinstance(self.name, str) and re.fullmatch(r"[A-Za-z0-9][\w-]{0,99}", self.name, re.ASCII)
        if not is_name or self.name.lower() == "local":  # the folder for all but the project's own models
            expected = "letters, digits, - and _, and not 'local'"
            raise InputError(f"A candidate's name: expected {expected}; found {self.name!r}.")
        sides = self.input_shape if isinstance(self.input_shape, tuple) else ()
        if not all(isinstance(side, int) for side in sides) or math.prod(sides) != 28 * 28:
            expected = "an input_shape for the 784 pixels of an image, such as (784,) or (28, 28, 1)"
            raise InputError(f"{self.name}: expected {expected}; found {self.input_shape!r}.")
        if self.pixels not in get_args(Pixels):
            raise InputError(f"{self.name}: expected pixels to be 'normalised' or 'raw'; found {self.pixels!r}.")

    @property
    def layers(self) -> list[keras.Layer]:
        """New layers, not yet part of a network; an InputError if they cannot be made."""
        try:
            made = list(self.make_layers())
            if others := [each for each in made if not isinstance(each, keras.Layer)]:
                raise TypeError(f"expected layers, such as layers.Flatten(); found {others[0]!r}.")
            return made
        except Exception as error:  # of whatever kind: the function may be a reader's own
            raise InputError(f"{self.name}: make_layers cannot make layers: {reason(error)} Correct it.") from error

    def build(self) -> keras.Sequential:
        """A new, untrained network, ready for `fit`; an InputError if Keras cannot make it, or if layers are reused."""
        made = self.layers
        # Used layers would go on from the weights of an earlier training. Layers that are told their
        # input have weights from the start, too, but are others each time.
        if any(layer.weights for layer in made) and (used := set(made).intersection(self.layers)):
            found = f"found {', '.join(sorted(layer.name for layer in used))} used again"
            advice = "Write the layers inside the function, as in lambda: [layers.Dense(10)]."
            raise InputError(f"{self.name}: expected new layers whenever they are made; {found}. {advice}")
        try:
            network = keras.Sequential([keras.Input(self.input_shape), *made], name=self.name)
        except Exception as error:  # of whatever kind: a layer may be a reader's own
            said = f"Keras cannot make a network of these layers for images of shape {self.input_shape}"
            raise InputError(f"{self.name}: {said}: {reason(error)} Correct its layers or its input_shape.") from error
        optimizer = FusedAdam(LEARNING_RATE, name=OPTIMIZER)
        network.compile(optimizer, loss=LOSS, metrics=["accuracy"], steps_per_execution=STEPS_PER_CALL)
        return network

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Images, uint8 of shape (n, 28, 28), as this network takes them: float32, (n, *input_shape)."""
        pixels = normalise(images) if self.pixels == "normalised" else images.astype(np.float32)
        return pixels.reshape(len(images), *self.input_shape)


def dense_layers() -> list[keras.Layer]:
    """The article's first network."""
    return [
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.15),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.15),
        layers.Dense(10, activation="softmax"),
    ]


def conv_layers() -> list[keras.Layer]:
    """The article's second network. Its first layer has no activation there, so it has none here."""
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
    """See that these are candidates with names of their own; an InputError says which are not."""
    if not isinstance(own, (list, tuple)) or not all(isinstance(candidate, Candidate) for candidate in own):
        raise InputError(f"own: expected a list of candidates, such as [models.Candidate(...)]; found {own!r}.")
    names = [candidate.name for candidate in (*CANDIDATES, *own)]
    if taken := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"own: expected another name for each; found {', '.join(taken)} more than once. Rename one.")


def notice(own: Sequence[Candidate]) -> str:
    """What a reader must know first about a run with networks of one's own; empty without any."""
    names = ", ".join(candidate.name for candidate in own)
    return names and f"Networks of your own take part in this run: {names}. The notebook's text does not know them."


def changed(networks: Sequence[Candidate]) -> list[str]:
    """What of these, the notebook's in the order of `CANDIDATES`, is not as there: "the layers of dense"."""
    found = []
    for ours, theirs in zip(networks, CANDIDATES, strict=False):
        same = {
            "layers": architecture(ours) == architecture(theirs),
            "input shape": ours.input_shape == theirs.input_shape,
            "pixels": ours.pixels == theirs.pixels,
        }
        found += [f"the {part} of {theirs.name}" for part, is_same in same.items() if not is_same]
    return found


def architecture(network: Candidate | keras.Sequential) -> list[dict[str, Any]]:
    """Each layer's class and the settings that make it what it is, as JSON has them; no network needs to be built.

    Left out are names, which differ at each build, and settings that are not set or Keras's defaults: newer versions
    add such, and mean the same layer. An InputError if a layer cannot tell its settings, or not as JSON, or one is a
    lambda: nothing tells whether that is still the same.
    """
    described = []
    for layer in network.layers:
        try:
            settings = _plain(layer.get_config())
            settings.pop("name", None)
            if type(layer).__module__.startswith("keras."):  # the defaults of a reader's own layer may change
                kinds = reversed(type(layer).__mro__)  # a layer hands on to its base class what it does not take itself
                inits = [inspect.signature(kind.__init__) for kind in kinds]  # type: ignore[misc]
                parameters = [each for init in inits for each in init.parameters.values()]
                defaults = {each.name: each.default for each in parameters if each.default != each.empty}
                settings = {key: value for key, value in settings.items() if value != _plain(defaults.get(key))}
        except Exception as error:  # of whatever kind: a layer may be a reader's own, or none
            name = getattr(layer, "name", layer)
            raise InputError(f"{network.name}: the layer {name} cannot tell its settings: {reason(error)}") from error
        described.append({"layer": type(layer).__name__, **settings})
    return described


def _plain(setting: Any) -> Any:
    """A setting as JSON has it, without what is not set, and with objects in it (layers, functions) by class."""

    def number(found: Any) -> Any:
        if isinstance(found, np.generic):
            return found.item()
        raise ValueError(f"expected numbers and texts; found a {type(found).__name__}.")

    def described(found: dict[str, Any]) -> dict[str, Any]:
        # Keras writes a lambda in two ways: as an object, and where a layer takes an activation.
        if found.get("class_name") == "__lambda__" or (found.keys() == {"value"} and isinstance(found["value"], list)):
            raise ValueError("expected functions with a name, or layers of your own; found a lambda. Give it a name.")
        if not found.keys() >= {"class_name", "config"}:
            return {key: value for key, value in found.items() if value is not None}
        # Of a function it is the name.
        config = found["config"] if isinstance(found["config"], dict) else {"config": found["config"]}
        if config.keys() & {"trainable", "batch_shape"}:  # a layer, or an input
            config.pop("name", None)
        return {"class": found["class_name"], **config}

    return json.loads(json.dumps(setting, default=number), object_hook=described)


def summary(network: keras.Sequential) -> pd.DataFrame:
    """One row per layer, in the order of the data's way: class, output shape, parameters."""
    rows = [
        (type(layer).__name__, " x ".join(map(str, layer.output.shape[1:])), f"{layer.count_params():,}")
        for layer in network.layers
    ]
    rows.append(("total", "", f"{network.count_params():,}"))
    return pd.DataFrame(rows, [*range(1, len(rows)), ""], ["layer", "output shape", "parameters"])
