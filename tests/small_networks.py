"""Networks that are trained in a moment. TensorFlow must be started first."""

from dataclasses import replace

from keras import layers

from helpers import models
from helpers.training import Settings

SETTINGS = Settings(seed=1, epochs=1, batch_size=50)
FLAT = models.Candidate("flat", lambda: [layers.Dropout(0.1), layers.Dense(10, activation="softmax")], (784,))
CONV = models.Candidate(
    "conv", lambda: [layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(10, activation="softmax")], pixels="raw"
)


def flat_after(make_layer):
    """The flat network with a layer before its own."""
    return replace(FLAT, make_layers=lambda: [make_layer(), *FLAT.make_layers()])


def times_in_test(factor):
    """The flat network with its inputs multiplied, but not while it is trained."""

    class TimesInTest(layers.Layer):
        def call(self, inputs, training=False):
            return inputs if training else inputs * factor

    return flat_after(TimesInTest)
