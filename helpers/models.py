"""The networks, and what each is trained with."""

import inspect
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

from helpers.checks import InputError, check_images, reason
from helpers.data import normalise

OPTIMIZER, LEARNING_RATE = "adam", 0.001  # the article leaves the rate at Keras's default, which this is
LOSS = "categorical_crossentropy"
Pixels = Literal["normalised", "raw"]
STEPS_PER_CALL = 134  # training steps between two returns to Python: a seventh of an epoch in batches of 64


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with each variable's update as one TensorFlow operation instead of a dozen.

    The arithmetic is the same (D. P. Kingma, J. Ba, "Adam: a method for stochastic
    optimization", 2015, the formulation before section 2.1); results differ in the last bits.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update one variable and its two moments in place."""
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
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


@dataclass(frozen=True)
class Candidate:
    """A network that takes part in the comparison.

    Attributes
    ----------
    name
        What it is called, in tables and in the cache: letters, digits, - and _.
    make_layers
        Makes its layers anew, from the first after the input to the softmax.
    input_shape
        Shape of one image as the first layer takes it.
    pixels
        Whether it is given pixels from 0 to 1 or as they are, from 0 to 255.

    Raises
    ------
    InputError
        If one of these is anything else.
    """

    name: str
    make_layers: Callable[[], list[keras.Layer]]
    input_shape: tuple[int, ...] = (28, 28, 1)
    pixels: Pixels = "normalised"

    def __post_init__(self) -> None:
        is_name = isinstance(self.name, str) and re.fullmatch(r"[A-Za-z0-9][\w-]*", self.name, re.ASCII)
        if not is_name or self.name == "local":  # a folder has that name
            raise InputError(f"A candidate's name: expected letters, digits, - and _, and not 'local'; found {self.name!r}.")
        if not callable(self.make_layers):
            raise InputError(f"{self.name}: expected a function that makes the layers, such as lambda: [...]; found {self.make_layers!r}.")
        is_shape = isinstance(self.input_shape, tuple) and all(type(side) is int for side in self.input_shape)
        if not is_shape or math.prod(self.input_shape) != 28 * 28:
            expected = "an input_shape for the 784 pixels of an image, such as (784,) or (28, 28, 1)"
            raise InputError(f"{self.name}: expected {expected}; found {self.input_shape!r}.")
        if self.pixels not in get_args(Pixels):
            raise InputError(f"{self.name}: expected pixels to be one of {', '.join(get_args(Pixels))}; found {self.pixels!r}.")

    def build(self) -> keras.Sequential:
        """A new, untrained network, ready for `fit`; its weights follow from Keras's random seed.

        Raises
        ------
        InputError
            If Keras cannot make a network of the layers, if they have been used before, or if the network
            does not answer with ten numbers.
        """
        try:
            made = list(self.make_layers())
            if not made:
                raise ValueError("There are none.")
            used = [layer.name for layer in made if layer.weights]
            if used:  # layers are born with weights, too, if they are told their input; but they are not the same twice
                again = list(self.make_layers())
                used = [layer.name for layer in made if layer.weights and any(layer is other for other in again)]
            network = keras.Sequential([keras.Input(self.input_shape), *made], name=self.name)
        except Exception as error:  # of whatever kind, from the layers or from what makes them
            raise InputError(
                f"{self.name}: Keras cannot make a network of these layers for images of shape {self.input_shape}: "
                f"{reason(error)} Correct its layers or its input_shape."
            ) from error
        if used:  # they would go on from the weights that an earlier training left in them
            raise InputError(
                f"{self.name}: expected new layers, without weights, whenever they are made; found weights in {', '.join(used)}. "
                "Write the layers inside of the function, as in lambda: [layers.Dense(10)]."
            )
        if network.output_shape != (None, 10):
            raise InputError(
                f"{self.name}: expected layers that end in ten probabilities; found an output of shape {network.output_shape[1:]}. "
                'Let layers.Dense(10, activation="softmax") be the last.'
            )
        network.compile(
            optimizer=FusedAdam(LEARNING_RATE, name=OPTIMIZER),
            loss=LOSS,
            metrics=["accuracy"],
            steps_per_execution=STEPS_PER_CALL,
        )
        return network

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Images, uint8 of shape (n, 28, 28), as this network takes them: float32, (n, *input_shape).

        Raises
        ------
        InputError
            If they are anything else.
        """
        check_images(images=images)
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


DENSE = Candidate("dense", dense_layers, input_shape=(784,), pixels="normalised")
CONV = Candidate("conv", conv_layers, input_shape=(28, 28, 1), pixels="raw")
CONV_NORMALISED = Candidate("conv-normalised", conv_layers, input_shape=(28, 28, 1), pixels="normalised")
CANDIDATES = (DENSE, CONV, CONV_NORMALISED)


def contenders(own: Sequence[Candidate] = ()) -> dict[str, Candidate]:
    """The article's two networks, and one's own beside them, by their names.

    Parameters
    ----------
    own
        Any number of candidates, with names of their own.

    Raises
    ------
    InputError
        If they are anything else, or a name is taken.
    """
    if not isinstance(own, (list, tuple)) or not all(isinstance(candidate, Candidate) for candidate in own):
        raise InputError(f"own: expected a list of candidates, such as [models.Candidate(...)]; found {own!r}.")
    names = [candidate.name for candidate in (*CANDIDATES, *own)]
    if taken := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(f"own: expected a name of its own for each candidate; found {' and '.join(taken)} more than once. Rename one.")
    return {candidate.name: candidate for candidate in (DENSE, CONV, *own)}


def notice(own: Sequence[Candidate]) -> str:
    """What a reader must know first about a run with networks of one's own; empty without any."""
    names = ", ".join(candidate.name for candidate in own)
    return names and f"Networks of your own take part in this run: {names}. The text between the cells knows nothing of them."


def architecture(network: keras.Sequential) -> list[dict[str, Any]]:
    """Each layer's class and the settings that make it what it is, fit for JSON.

    Left out are the names of layers, which differ from one build to the next, and settings that are not set
    or are what Keras takes by default: newer versions of Keras add such, and mean the same layer.

    Raises
    ------
    InputError
        If a layer cannot tell its settings, or one is a lambda, of which nothing tells whether it is still the same.
    """
    described = []
    for layer in network.layers:
        try:
            settings = _without_defaults(layer, _plain(_unnamed(layer.get_config())))
        except _FoundLambda:
            raise InputError(
                f"{network.name}: expected functions with a name, or layers of your own; found a lambda in the layer {layer.name}. "
                "Give it a name."
            ) from None
        except Exception as error:  # of whatever kind, from a layer of one's own
            raise InputError(f"{network.name}: the layer {layer.name} cannot tell its settings: {reason(error)}") from error
        described.append({"layer": type(layer).__name__, **settings})
    return described


def _without_defaults(layer: keras.Layer, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of one of Keras's layers that differ from those it has if nothing is said; all of a layer of one's own."""
    if not type(layer).__module__.startswith("keras."):
        return settings
    parameters = inspect.signature(type(layer).__init__).parameters
    defaults = {name: _plain(parameter.default) for name, parameter in parameters.items()} | {"trainable": True}
    return {
        key: value
        for key, value in settings.items()
        if key not in defaults or type(value) is not type(defaults[key]) or value != defaults[key]
    }


class _FoundLambda(Exception):
    """A lambda among the settings of a layer."""


def _plain(setting: Any) -> Any:
    """A setting without what is not set, and with objects in it (initialisers, layers, functions) by class and settings."""
    if isinstance(setting, (list, tuple)):
        return [_plain(each) for each in setting]
    if isinstance(setting, np.generic):
        return setting.item()
    if not isinstance(setting, dict):
        return setting
    # As Keras writes lambdas: where it takes objects, and as activations.
    as_activation = setting.keys() == {"value"} and isinstance(setting["value"], tuple)
    if setting.get("class_name") == "__lambda__" or as_activation:
        raise _FoundLambda
    if setting.keys() >= {"class_name", "config"}:
        config = setting["config"]
        return {"class": setting["class_name"], **(_plain(_unnamed(config)) if isinstance(config, dict) else {"config": config})}
    return {key: _plain(value) for key, value in setting.items() if value is not None}


def _unnamed(config: dict[str, Any]) -> dict[str, Any]:
    """A layer's configuration without its name; any other object's, such as the type `float32`, as it is."""
    is_layer = config.keys() & {"trainable", "batch_shape"}  # the latter of an input
    return {key: value for key, value in config.items() if key != "name"} if is_layer else config


def summary(network: keras.Sequential) -> pd.DataFrame:
    """A row a layer, in the order of the data's way: class, settings, output shape, parameters."""
    shown = ("units", "filters", "kernel_size", "pool_size", "activation", "rate")
    rows = [
        {
            "layer": type(layer).__name__,
            "settings": ", ".join(f"{key} {_in_words(settings[key])}" for key in shown if key in settings),
            "output shape": " x ".join(map(str, layer.output.shape[1:])),
            "parameters": layer.count_params(),
        }
        for layer in network.layers
        for settings in [layer.get_config()]
    ]
    total = {"layer": "total", "settings": "", "output shape": "", "parameters": network.count_params()}
    table = pd.DataFrame([*rows, total], index=[*range(1, len(rows) + 1), ""])
    table["parameters"] = table["parameters"].map("{:,}".format)
    return table


def _in_words(setting: Any) -> str:
    """A layer's setting as a reader would write it: 3 x 3, none, relu."""
    if isinstance(setting, (tuple, list)):
        return " x ".join(map(str, setting))
    return "none" if setting == "linear" else str(setting)
