import json

import numpy as np
import pytest

from helpers.startup import start_tensorflow

start_tensorflow()
import keras  # noqa: E402  TensorFlow must be started first
import tensorflow as tf  # noqa: E402

from helpers import models  # noqa: E402
from helpers.checks import InputError  # noqa: E402

pytestmark = pytest.mark.tensorflow


def test_parameters_are_the_articles():
    assert models.DENSE.build().count_params() == 669_706
    assert models.CONV.build().count_params() == 600_810


def test_layers_are_the_articles():
    dense = models.summary(models.DENSE.build())
    assert dense["settings"].tolist()[:-1] == [
        "units 512, activation relu", "rate 0.15", "units 512, activation relu", "rate 0.15",
        "units 10, activation softmax",
    ]  # fmt: skip
    assert dense["parameters"].tolist() == ["401,920", "0", "262,656", "0", "5,130", "669,706"]
    conv = models.summary(models.CONV.build())
    assert conv["layer"].tolist() == [
        "Conv2D", "Conv2D", "MaxPooling2D", "Dropout", "Flatten", "Dense", "Dropout", "Dense", "total",
    ]  # fmt: skip
    assert conv["settings"].tolist()[:4] == [
        "filters 32, kernel_size 3 x 3, activation none", "filters 32, kernel_size 3 x 3, activation relu",
        "pool_size 2 x 2", "rate 0.2",
    ]  # fmt: skip
    assert conv["output shape"].tolist()[:5] == ["26 x 26 x 32", "24 x 24 x 32", "12 x 12 x 32", "12 x 12 x 32", "4608"]


def test_compiled_as_in_the_article():
    network = models.DENSE.build()
    assert isinstance(network.optimizer, keras.optimizers.Adam) and network.loss == "categorical_crossentropy"
    assert float(network.optimizer.learning_rate) == pytest.approx(0.001)  # Keras's default, as in the article
    assert network.optimizer.name == models.OPTIMIZER == "adam"


def test_inputs():
    images = np.full((2, 28, 28), 255, dtype=np.uint8)
    dense, conv = models.DENSE.inputs(images), models.CONV.inputs(images)
    assert dense.shape == (2, 784) and dense.dtype == np.float32 and dense.max() == 1
    assert conv.shape == (2, 28, 28, 1) and conv.dtype == np.float32 and conv.max() == 255


def test_architecture_tells_networks_apart_but_not_builds():
    assert models.architecture(models.DENSE.build()) == models.architecture(models.DENSE.build())
    narrower = models.Candidate("dense", lambda: models.dense_layers()[2:], (784,))
    assert models.architecture(models.DENSE.build()) != models.architecture(narrower.build())


def test_architecture_holds_what_makes_a_layer():
    assert {"units": 512, "activation": "relu"}.items() <= models.architecture(models.DENSE.build())[0].items()
    changed = lambda **setting: models.Candidate("x", lambda: [keras.layers.Dense(10, **setting)], (784,)).build()  # noqa: E731
    for setting in ({"use_bias": False}, {"kernel_initializer": "zeros"}, {"dtype": "float64"}, {"trainable": False}):
        assert models.architecture(changed(**setting)) != models.architecture(changed())


def test_fused_adam_is_keras_adam():
    """Both take the same gradients through the same ten steps."""
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(30, 20)), rng.normal(size=(10, 30, 20))
    ends = []
    for optimizer in (keras.optimizers.Adam(), models.FusedAdam()):
        weights = keras.Variable(start, dtype="float32")
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient, tf.float32)], [weights])
        ends.append(weights.numpy())
    assert not np.allclose(ends[0], start)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-5, atol=1e-6)


# --- candidates of one's own


def wrong(*arguments, **more):
    with pytest.raises(InputError) as error:
        models.Candidate(*arguments, **more).build()
    return str(error.value)


def test_candidate_that_cannot_be_is_named():
    assert wrong("a/b", models.dense_layers) == "A candidate's name: expected letters, digits, - and _, and not 'local'; found 'a/b'."
    for name in ("", "..", "local", ".hidden", "-x", "é", None, 3):
        assert wrong(name, models.dense_layers).startswith("A candidate's name: expected")
    assert wrong("x", [1]) == "x: expected a function that makes the layers, such as lambda: [...]; found [1]."
    assert wrong("x", models.dense_layers, (28,)) == (
        "x: expected an input_shape for the 784 pixels of an image, such as (784,) or (28, 28, 1); found (28,)."
    )
    assert wrong("x", models.dense_layers, 784).endswith("(28, 28, 1); found 784.")
    assert wrong("x", models.dense_layers, pixels="normalized") == "x: expected pixels to be one of normalised, raw; found 'normalized'."


def test_layers_that_do_not_fit_are_one_sentence():
    message = wrong("x", models.conv_layers, (784,))
    assert message.startswith("x: Keras cannot make a network of these layers for images of shape (784,): ")
    assert message.endswith(" Correct its layers or its input_shape.") and "\n" not in message
    assert "division by zero" in wrong("x", lambda: [1 / 0])
    assert wrong("x", lambda: [keras.layers.Dense(9)], (784,)) == (
        "x: expected layers that end in ten probabilities; found an output of shape (9,). "
        'Let layers.Dense(10, activation="softmax") be the last.'
    )


def test_contenders():
    own = [models.Candidate("wide", models.dense_layers, (784,)), models.Candidate("deep", models.dense_layers, (784,))]
    assert list(models.contenders()) == ["dense", "conv"]
    assert models.contenders(own) == {"dense": models.DENSE, "conv": models.CONV, "wide": own[0], "deep": own[1]}
    assert models.notice([]) == "" and "take part in this run: wide, deep." in models.notice(own)
    for name in ("dense", "conv-normalised", "wide"):
        with pytest.raises(InputError, match=f"found {name} more than once. Rename one."):
            models.contenders([*own, models.Candidate(name, models.dense_layers)])
    for no_list in (own[0], ["wide"], None):
        with pytest.raises(InputError, match=r"own: expected a list of candidates, such as \[models.Candidate\(...\)\]; found"):
            models.contenders(no_list)


def test_layers_that_are_not_made_anew_are_refused():
    """Else a training would go on from the weights of the one before."""
    made = models.dense_layers()
    candidate = models.Candidate("x", lambda: made, (784,))
    candidate.build()
    message = wrong("x", lambda: made, (784,))
    assert message.startswith("x: expected new layers, without weights, whenever they are made; found weights in dense")


def test_layers_that_are_born_with_weights():
    inner = lambda: keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])  # noqa: E731
    assert models.Candidate("x", lambda: [inner()], (784,)).build().count_params() == 7850


def test_no_layers_and_layers_one_by_one():
    assert "There are none." in wrong("x", list, (784,))
    assert models.Candidate("x", lambda: (keras.layers.Dense(10) for _ in range(1)), (784,)).build().count_params() == 7850


def named(inputs):
    return inputs * 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Dense(10, activation=keras.layers.LeakyReLU(0.2)),
        lambda: keras.Sequential([keras.layers.Dense(5), keras.layers.Dense(10)]),
        lambda: keras.layers.Dense(10, activation=named),
        lambda: keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(0.1)),
        lambda: keras.layers.Dense(10, bias_initializer=keras.initializers.Constant(0.1)),
    ],
    ids=["activation", "nested", "function", "regulariser", "constant"],
)
def test_architecture_is_the_same_in_each_build(make):
    one, other = (models.architecture(models.Candidate("x", lambda: [make()], (784,)).build()) for _ in range(2))
    assert one == other and json.loads(json.dumps(one)) == one


def test_settings_within_settings_count():
    def within(slope):
        inner = lambda: keras.Sequential([keras.layers.Dense(10), keras.layers.LeakyReLU(slope)])  # noqa: E731
        return models.architecture(models.Candidate("x", lambda: [inner()], (784,)).build())

    assert within(0.1) != within(0.2)


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dense(10, activation=lambda x: x, name="l"),
        keras.layers.Lambda(lambda x: x[:, :10], name="l"),
        keras.layers.Dense(10, kernel_regularizer=lambda weights: 0.0, name="l"),
    ],
)
def test_lambdas_are_refused(layer):
    with pytest.raises(InputError, match="x: expected functions with a name, .* found a lambda in the layer l. Give it a name"):
        models.architecture(models.Candidate("x", lambda: [layer], (784,)).build())


def test_layer_that_cannot_tell_its_settings_is_named():
    class Mine(keras.layers.Layer):
        def __init__(self, what):
            super().__init__(name="mine")

        def call(self, inputs):
            return inputs[:, :10]

    with pytest.raises(InputError, match=r"^x: the layer mine cannot tell its settings: .*get_config"):
        models.architecture(models.Candidate("x", lambda: [Mine(object())], (784,)).build())


def test_default_that_a_newer_keras_adds_is_the_same_layer(monkeypatch):
    """Else each new version would lose the stored models, and the study."""
    before = models.architecture(models.DENSE.build())
    plain, made = keras.layers.Dropout.get_config, keras.layers.Dropout.__init__

    def newer(self, rate, noise_shape=None, seed=None, whole_rows=False, **kwargs):
        made(self, rate, noise_shape, seed, **kwargs)
        self.whole_rows = whole_rows

    monkeypatch.setattr(keras.layers.Dropout, "__init__", newer)
    monkeypatch.setattr(keras.layers.Dropout, "get_config", lambda self: plain(self) | {"whole_rows": self.whole_rows})
    assert models.architecture(models.DENSE.build()) == before
    with_rows = models.Candidate("x", lambda: [keras.layers.Dropout(0.1, whole_rows=True), keras.layers.Dense(10)], (784,))
    assert {"whole_rows": True}.items() <= models.architecture(with_rows.build())[0].items()


def test_defaults_of_a_layer_of_ones_own_count():
    """They may be changed where the layer is written."""

    class Scaled(keras.layers.Layer):
        def __init__(self, factor=2, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs):
            return inputs[:, :10] * self.factor

        def get_config(self):
            return super().get_config() | {"factor": self.factor}

    (described,) = models.architecture(models.Candidate("x", lambda: [Scaled()], (784,)).build())
    assert described["factor"] == 2


def test_float64_is_trained():
    keras.utils.set_random_seed(1)
    network = models.Candidate("x", lambda: [keras.layers.Dense(10, activation="softmax", dtype="float64")], (784,)).build()
    network.fit(np.ones((4, 784)), np.eye(10)[:4], verbose=0)
    assert network.weights[0].dtype == "float64" and np.isfinite(network.weights[0].numpy()).all()
