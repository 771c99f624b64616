import ast
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.compute import start_tensorflow

start_tensorflow()
import keras  # noqa: E402  TensorFlow must be started first
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

from helpers import models  # noqa: E402
from helpers.errors import InputError  # noqa: E402

ROOT = Path(__file__).parents[2]


def candidate(*made, **more):
    """A candidate with these layers, each given by what makes it."""
    return models.Candidate("x", lambda: [make() for make in made], (784,), **more)


def test_networks_are_the_articles():
    dense, conv = (models.architecture(each) for each in (models.DENSE, models.CONV))
    hidden = [{"units": 512, "activation": "relu"}, {"rate": 0.15}]
    expected = [*hidden, *hidden, {"units": 10, "activation": "softmax"}]
    assert len(dense) == 5 and all(layer.items() >= want.items() for layer, want in zip(dense, expected, strict=True))
    filters = [{"filters": 32, "kernel_size": [3, 3], "activation": activation} for activation in ("linear", "relu")]
    expected = [*filters, {"strides": [2, 2]}, {"rate": 0.2}, {}, {"units": 128, "activation": "relu"}, {"rate": 0.2}]
    expected.append({"units": 10, "activation": "softmax"})
    assert all(layer.items() >= want.items() for layer, want in zip(conv, expected, strict=True))
    dense, conv = (models.summary(each.build()) for each in (models.DENSE, models.CONV))
    assert dense["parameters"].tolist() == ["401,920", "0", "262,656", "0", "5,130", "669,706"]
    kinds = ["Conv2D", "Conv2D", "MaxPooling2D", "Dropout", "Flatten", "Dense", "Dropout", "Dense", "total"]
    assert conv["layer"].tolist() == kinds and conv["parameters"].iloc[-1] == "600,810"
    shapes = ["26 x 26 x 32", "24 x 24 x 32", "12 x 12 x 32", "12 x 12 x 32", "4608"]
    assert conv["output shape"].tolist()[:5] == shapes


def test_networks_in_the_notebook_are_these():
    """So that a study trains what can be read there: layers, form of the input, and the arguments of `compile`."""
    cells = json.loads((ROOT / "mnist_digits.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {"layers": layers, "models": models, "keras": keras, "seed": 1}
    code = ast.parse("\n".join(source for source in sources if not source.startswith(("#", "%"))))
    for statement in code.body:
        written = ast.unparse(statement)
        if isinstance(statement, ast.FunctionDef) or "models.Candidate(" in written:
            exec(written, names)
    (training,) = (source for source in sources if "network.fit(" in source)
    exec(training.partition("network.fit(")[0], names)
    ours = [value for value in names.values() if isinstance(value, models.Candidate)]
    assert [each.name for each in ours] == [each.name for each in models.CANDIDATES]
    if changed := models.changed(ours):
        found = f"in mnist_digits.ipynb {' and '.join(changed)} are not those of helpers/models.py"
        advice = "change them there as well, then `make retrain`, `make study` and `make refresh`; or change them back"
        pytest.fail(f"{found}, which `make retrain` and `make study` train: {advice}.", pytrace=False)
    shown, built = names["network"], models.DENSE.build()
    assert shown.get_compile_config()["metrics"] == built.get_compile_config()["metrics"] == ["accuracy"]
    assert shown.loss == built.loss == "categorical_crossentropy" and isinstance(built.optimizer, type(shown.optimizer))
    settings, ours = built.optimizer.get_config(), shown.optimizer.get_config()
    assert {key for key in ours if ours[key] != settings[key]} <= {"name"}
    assert float(built.optimizer.learning_rate) == pytest.approx(0.001)  # Keras's default, as in the article


def test_what_of_the_networks_is_changed_is_named():
    """Their layers, their inputs or their pixels; the first two of the three may be compared alone."""
    assert models.changed(models.CANDIDATES) == models.changed(models.CANDIDATES[:2]) == []
    smaller = dataclasses.replace(models.DENSE, make_layers=lambda: [layers.Dense(10, activation="softmax")])
    normalised = dataclasses.replace(models.CONV, pixels="normalised")
    flat = dataclasses.replace(models.CONV_NORMALISED, input_shape=(784,))
    expected = ["the layers of dense", "the pixels of conv", "the input shape of conv-normalised"]
    assert models.changed([smaller, normalised, flat]) == expected


def test_prepared_images():
    images = np.full((2, 28, 28), 255, dtype=np.uint8)
    dense, conv = models.DENSE.prepare(images), models.CONV.prepare(images)
    assert dense.shape == (2, 784) and dense.dtype == np.float32 and dense.max() == 1
    assert conv.shape == (2, 28, 28, 1) and conv.dtype == np.float32 and conv.max() == 255


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_adam_is_keras_adam(dtype):
    """Both take the same gradients through the same ten steps."""
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(30, 20)), rng.normal(size=(10, 30, 20))
    ends = []
    for optimizer in (keras.optimizers.Adam(), models.FusedAdam()):
        weights = keras.Variable(start, dtype=dtype)
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, dtype)], [weights])
        ends.append(weights.numpy())
    assert not np.allclose(ends[0], start)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-5, atol=1e-6)


def wrong(*arguments, **more):
    with pytest.raises(InputError) as error:
        models.Candidate(*arguments, **more).build()
    return str(error.value)


def test_candidate_that_cannot_be_is_named():
    expected = "A candidate's name: expected letters, digits, - and _, and not 'local'; found"
    for name in ("a/b", "", "..", "local", ".hidden", "-x", "é", None, 3, "Local", 101 * "x"):
        assert wrong(name, models.dense_layers) == f"{expected} {name!r}."
    expected = "x: expected an input_shape for the 784 pixels of an image, such as (784,) or (28, 28, 1); found"
    for shape in ((28,), 784, [784], ("a", "b"), (-28, -28)):
        assert wrong("x", models.dense_layers, shape) == f"{expected} {shape!r}."
    expected = "x: expected pixels to be 'normalised' or 'raw'; found 'normalized'."
    assert wrong("x", models.dense_layers, pixels="normalized") == expected


def test_layers_that_cannot_be_used_are_refused_in_a_sentence():
    message = wrong("x", models.conv_layers, (784,))
    assert message.startswith("x: Keras cannot make a network of these layers for images of shape (784,): ")
    assert message.endswith(" Correct its layers or its input_shape.") and "\n" not in message
    assert wrong("x", lambda: [1 / 0]) == "x: make_layers cannot make layers: division by zero. Correct it."
    assert wrong("x", [1]) == "x: make_layers cannot make layers: 'list' object is not callable. Correct it."
    for other in (layers.Flatten, [layers.Dense(10)], "relu"):
        message = wrong("x", lambda other=other: [other])
        assert "expected layers, such as layers.Flatten(); found " in message and message.endswith(". Correct it.")
    made = [layers.Dense(10, name="d")]  # a training would go on from the weights of the one before
    models.Candidate("x", lambda: made, (784,)).build()
    message = wrong("x", lambda: made, (784,))
    assert message.startswith("x: expected new layers whenever they are made; found d used again. Write the layers")
    born_with_weights = candidate(lambda: keras.Sequential([keras.Input((784,)), layers.Dense(10)]))
    assert born_with_weights.build().count_params() == 7850


def test_networks_of_ones_own():
    own = [models.Candidate(name, models.dense_layers, (784,)) for name in ("wide", "deep")]
    models.check_own(own)
    assert models.notice([]) == "" and "take part in this run: wide, deep." in models.notice(own)
    for name in ("dense", "conv-normalised", "wide"):
        with pytest.raises(InputError, match=f"found {name} more than once. Rename one."):
            models.check_own([*own, models.Candidate(name, models.dense_layers)])
    for no_list in (own[0], ["wide"], None):
        with pytest.raises(InputError, match=r"^own: expected a list of candidates, such as .*; found"):
            models.check_own(no_list)


def test_architecture_is_that_of_the_stored_models():
    """Were it another, models and study would count as those of other networks."""
    for each in models.CANDIDATES:
        stored = json.loads((ROOT / "models" / each.name / "manifest.json").read_text())["inputs"]["layers"]
        assert models.architecture(each) == stored


def named(inputs):
    return inputs * 2


class Wrapped(layers.Wrapper):
    """A layer of one's own with the settings of Keras's TimeDistributed, which are another layer."""


class Dense(layers.Dense):
    """A layer of one's own with the name and the settings of Keras's."""


def test_architecture_is_the_same_each_time_and_holds_what_makes_a_layer():
    def functional():
        """As a layer it refers to its own layers by the names that Keras has numbered."""
        inputs = keras.Input((784,))
        return keras.Model(inputs, layers.Dense(10)(layers.Dense(5)(inputs)))

    makes = [
        functional,
        lambda: layers.TimeDistributed(layers.Dense(3)),
        lambda: Wrapped(layers.Dense(3)),
        lambda: Dense(10),
        lambda: layers.Activation("relu"),  # which Keras calls activation, and then activation_1
        *(lambda name=name: layers.Dense(10, activation=name, name=name) for name in ("relu", "tanh")),
        lambda: keras.Sequential([keras.Input((784,)), layers.Dense(5), layers.Dense(10)]),
        lambda: layers.Dense(10, kernel_regularizer=keras.regularizers.L2(0.1)),
        lambda: layers.Dense(10, bias_initializer=keras.initializers.Constant(0.1)),
        lambda: layers.Dense(10, activation=named),
        lambda: layers.Dropout(np.float32(0.5)),
        *(lambda slope=slope: layers.Dense(10, activation=layers.LeakyReLU(slope)) for slope in (0.1, 0.2)),
    ]
    changes = [{}, {"use_bias": False}, {"kernel_initializer": "zeros"}, {"dtype": "float64"}, {"trainable": False}]
    makes += [lambda change=change: layers.Dense(10, **change) for change in changes] + [lambda: layers.Dense(9)]
    one, other = ([models.architecture(candidate(make)) for make in makes] for _ in range(2))
    assert one == other and json.loads(json.dumps(one)) == one
    assert len(set(map(json.dumps, one))) == len(makes)


class Scaled(layers.Layer):
    """A layer of one's own."""

    def __init__(self, factor=2, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self):
        return super().get_config() | {"factor": self.factor, "inverse": 1 / self.factor}


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_layers_that_cannot_tell_their_settings():
    assert models.architecture(candidate(Scaled))[0]["factor"] == 2
    a_lambda = "expected functions with a name, .*; found a lambda. Give it"
    for make, said in (
        (lambda: layers.Dense(10, activation=lambda x: x, name="l"), a_lambda),
        (lambda: layers.Lambda(lambda x: x[:, :10], name="l"), a_lambda),
        (lambda: layers.Dense(10, kernel_regularizer=lambda weights: 0.0, name="l"), a_lambda),
        (lambda: Scaled(0, name="l"), "division by zero."),
        (lambda: Scaled(np.ones(2), name="l"), r"expected numbers and texts; found a ndarray\."),
    ):
        with pytest.raises(InputError, match=rf"^x: the layer l cannot tell its settings: {said}"):
            models.architecture(candidate(make))
