"""What each helper says of images and labels that are not what it expects."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import eye_array

from helpers import checks, data, embedding, evaluation, plots, study

IMAGES = np.zeros((20, 28, 28), dtype=np.uint8)
LABELS = np.arange(20) % 10
PROBABILITIES = np.full((20, 10), 0.1)
POINTS = np.arange(40.0).reshape(20, 2)
FLAGS = np.ones(20, dtype=bool)
GRAPH = eye_array(20, format="csr")


def replaced(**changed):
    """A call of `Digits`, as when something else makes them."""
    fine = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    return data.Digits(**fine | changed, is_full=False, digest="of zeros")


OF_IMAGES = {
    "images": {
        "normalise": data.normalise, "neighbour_graph": embedding.neighbour_graph,
        "digit_grid": lambda images: plots.digit_grid(images, [""] * len(images), "Zeros"),
        "embedding": lambda images: plots.embedding(POINTS, LABELS, POINTS[:10], images, [], "Zeros"),
    },
    "train_images": {"Digits": lambda images: replaced(train_images=images)},
    "test_images": {"Digits": lambda images: replaced(test_images=images)},
}  # fmt: skip
OF_LABELS = {
    "labels": {
        "one_hot": data.one_hot, "first_of_each": data.first_of_each,
        "label_centres": lambda labels: embedding.label_centres(POINTS, labels),
        "links": lambda labels: embedding.links(GRAPH, labels), "digits_nearby": lambda labels: embedding.digits_nearby(GRAPH, labels),
        "embedding": lambda labels: plots.embedding(POINTS, labels, POINTS[:10], IMAGES, [], "Zeros"),
    },
    "train_labels": {"Digits": lambda labels: replaced(train_labels=labels)},
    "test_labels": {"Digits": lambda labels: replaced(test_labels=labels)},
    "true_labels": {
        "label_accuracy": lambda labels: evaluation.label_accuracy(labels, LABELS),
        "reliability": lambda labels: evaluation.reliability(PROBABILITIES, labels),
        "most_certain_errors": lambda labels: evaluation.most_certain_errors(PROBABILITIES, labels),
        "outcome": lambda labels: study.outcome("dense", 1, {}, labels, LABELS),
    },
    "predicted_labels": {
        "label_accuracy": lambda labels: evaluation.label_accuracy(LABELS, labels),
        "outcome": lambda labels: study.outcome("dense", 1, {}, LABELS, labels),
    },
}  # fmt: skip
OF_FLAGS = {
    "error_rates": lambda flags: evaluation.error_rates({"one": FLAGS, "other": flags}, "one"),
    "paired_tests": lambda flags: evaluation.paired_tests({"one": FLAGS, "other": flags}),
}


def calls(table):
    return [pytest.param(name, call, id=f"{helper}, {name}") for name, helpers in table.items() for helper, call in helpers.items()]


def message(call, *arguments):
    with pytest.raises(ValueError) as error:
        call(*arguments)
    return str(error.value)


@pytest.mark.parametrize(("name", "call"), calls(OF_IMAGES))
def test_images_of_another_form(name, call):
    call(IMAGES)
    expected = f"{name}: expected images as uint8 of shape (n, 28, 28), n at least 1; found "
    assert message(call, IMAGES / 255) == f"{expected}float64 of shape (20, 28, 28)."
    assert message(call, IMAGES.reshape(20, 784)) == f"{expected}uint8 of shape (20, 784)."
    assert message(call, IMAGES[:0]) == f"{expected}uint8 of shape (0, 28, 28)."
    assert message(call, IMAGES[0]) == f"{expected}uint8 of shape (28, 28)."
    assert message(call, [1]) == f"{expected}a list."


@pytest.mark.parametrize(("name", "call"), calls(OF_LABELS))
def test_labels_of_another_form(name, call):
    call(LABELS)
    expected = f"{name}: expected whole numbers from 0 to 9"
    assert message(call, np.where(LABELS == 3, 11, LABELS)) == f"{expected}; found 11, at index 3."
    assert message(call, np.where(LABELS == 4, -1, LABELS)) == f"{expected}; found -1, at index 4."
    assert message(call, LABELS.astype(float)) == f"{expected} of shape (n,), n at least 1; found float64 of shape (20,)."
    assert message(call, LABELS[:, None]) == f"{expected} of shape (n,), n at least 1; found int64 of shape (20, 1)."
    assert message(call, LABELS[:0]) == f"{expected} of shape (n,), n at least 1; found int64 of shape (0,)."


@pytest.mark.parametrize(("name", "call"), [case for case in calls(OF_LABELS) if "one_hot" not in case.id and "first_of" not in case.id])
def test_counts_that_differ(name, call):
    found = message(call, np.arange(10))
    assert found.startswith("Expected ") and name in found and "in equal numbers; found " in found
    assert "20" in found and "10" in found


@pytest.mark.parametrize(
    ("name", "call"),
    [("labels", data.first_of_each), ("labels", lambda labels: embedding.label_centres(POINTS, labels)),
     ("train_labels", lambda labels: replaced(train_labels=labels)), ("test_labels", lambda labels: replaced(test_labels=labels))],
)  # fmt: skip
def test_one_class_missing(name, call):
    expected = f"{name}: expected each digit from 0 to 9 at least once; found no "
    assert message(call, np.where(LABELS == 7, 1, LABELS)) == f"{expected}7."
    assert message(call, LABELS % 8) == f"{expected}8, no 9."


def test_one_class_missing_where_the_others_say_enough():
    """Its accuracy is no number; all else stays as it is."""
    labels = np.where(LABELS == 7, 1, LABELS)
    table = evaluation.label_accuracy(labels, labels)
    assert table["images"].tolist() == [2, 4, 2, 2, 2, 2, 2, 0, 2, 2]
    assert table["accuracy %"].drop(7).tolist() == [100] * 9 and np.isnan(table.loc[7, "accuracy %"])


@pytest.mark.parametrize("call", OF_FLAGS.values(), ids=OF_FLAGS)
def test_answers_of_another_form(call):
    call(FLAGS)
    assert message(call, FLAGS.astype(int)) == "other: expected bool of shape (n,), n at least 1; found int64 of shape (20,)."
    assert message(call, FLAGS[:0]).endswith("found bool of shape (0,).")
    assert message(call, FLAGS[:5]) == "Expected one and other in equal numbers; found 20 and 5."


def test_answers_of_too_few():
    """Models, where they are compared, and images, where these are split."""
    assert message(evaluation.paired_tests, {"one": FLAGS}) == "correct: expected at least two models, to compare them; found 1."
    assert message(evaluation.error_rates, {"one": FLAGS}, "other") == "reference: expected one of one; found 'other'."
    expected = "correct: expected bool of shape (models, n), n at least 2; found "
    found = {"bool of shape (20,)": FLAGS, "bool of shape (1, 1)": FLAGS[None, :1], "int64 of shape (2, 9)": np.full((2, 9), 7)}
    for what, wrong in found.items():
        assert message(evaluation.winners_advantage, wrong) == f"{expected}{what}."


@pytest.mark.parametrize("call", [evaluation.reliability, evaluation.most_certain_errors])
def test_probabilities_of_another_form(call):
    expected = "probabilities: expected "
    floats = "floats of shape (n, 10), n at least 1"
    assert message(call, PROBABILITIES[:, :9], LABELS) == f"{expected}{floats}; found float64 of shape (20, 9)."
    assert message(call, PROBABILITIES > 0, LABELS).endswith("found bool of shape (20, 10).")
    assert message(call, 100 * PROBABILITIES, LABELS) == f"{expected}probabilities from 0 to 1; found values from 10.0 to 10.0."
    assert message(call, np.full((20, 10), np.nan), LABELS) == f"{expected}probabilities from 0 to 1; found values from nan to nan."


def test_numbers_of_neighbours():
    assert message(embedding.neighbour_graph, IMAGES, 21) == "n_neighbors: expected 1 to 20, the number of images; found 21."


def test_more_points_than_there_are():
    found = message(embedding.spread_out, POINTS, 21, POINTS[:1])
    assert found == "count: expected at most the 20 points that there are; found 21."


def test_captions_in_another_number():
    assert message(plots.digit_grid, IMAGES, ["one"], "Zeros") == "Expected images and captions in equal numbers; found 20 and 1."


def test_digits_in_different_numbers(sample):
    expected = "Expected train_images and train_labels in equal numbers; found 20 and 4,000."
    assert message(lambda: replace(sample, train_images=IMAGES)) == expected


def test_files_are_read_up_to_a_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert checks.read_at_most(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        checks.read_at_most(path, 4)
    with pytest.raises(FileNotFoundError):
        checks.read_at_most(tmp_path, 5)


def test_reason_of_an_error():
    """What remains of what Keras and TensorFlow say."""
    for said, expected in {
        "too large": "too large.",
        "": "ValueError.",
        "Is it?\n\nNo.": "Is it?",
        "Graph execution error:\n\nDetected at node a defined at (most recent call last):\n<stack traces unavailable>\n"
        "assertion failed: [no]\n\t [[{{node a}}]] [Op:b]": "assertion failed: [no].",
        "Detected at node a defined at (most recent call last):\n  File \"x\", line 1, in <module>\n\nout of memory": "out of memory.",
        "Exception encountered when calling B.call().\n\n\x1b[1mno such thing\x1b[0m\n\nArguments received by B.call():\n  x":
            "no such thing.",
        "\nIt was made\n    without that.\n\n    Example:": "It was made without that.",
    }.items():
        assert checks.reason(ValueError(said)) == expected
