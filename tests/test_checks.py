"""What is said of images, labels and files that are not what is expected."""

from functools import partial

import numpy as np
import pytest

from helpers import checks, data

IMAGES = np.zeros((20, 28, 28), dtype=np.uint8)
LABELS = np.arange(20) % 10


def message(check, **arrays):
    with pytest.raises(checks.InputError) as error:
        check(**arrays)
    return str(error.value)


OF_SHAPE = "expected images as uint8 of shape (n, 28, 28), n at least 1; found"
WHOLE = "expected whole numbers from 0 to 9"
ONE_AXIS = " of shape (n,), n at least 1; found"
EACH = "expected each digit from 0 to 9 at least once; found"


@pytest.mark.parametrize(
    ("check", "some", "wrong", "said"),
    [
        (checks.check_images, IMAGES, IMAGES / 255, f"{OF_SHAPE} float64 of shape (20, 28, 28)."),
        (checks.check_images, IMAGES, IMAGES.reshape(20, 784), f"{OF_SHAPE} uint8 of shape (20, 784)."),
        (checks.check_images, IMAGES, IMAGES[:0], f"{OF_SHAPE} uint8 of shape (0, 28, 28)."),
        (checks.check_images, IMAGES, IMAGES[0], f"{OF_SHAPE} uint8 of shape (28, 28)."),
        (checks.check_images, IMAGES, [1], f"{OF_SHAPE} a list."),
        (checks.check_labels, LABELS, np.where(LABELS == 3, 11, LABELS), f"{WHOLE}; found 11, at index 3."),
        (checks.check_labels, LABELS, np.where(LABELS == 4, -1, LABELS), f"{WHOLE}; found -1, at index 4."),
        (checks.check_labels, LABELS, LABELS.astype(float), f"{WHOLE}{ONE_AXIS} float64 of shape (20,)."),
        (checks.check_labels, LABELS, LABELS[:, None], f"{WHOLE}{ONE_AXIS} int64 of shape (20, 1)."),
        (checks.check_labels, LABELS, LABELS[:0], f"{WHOLE}{ONE_AXIS} int64 of shape (0,)."),
        (checks.check_labels, LABELS, [1], f"{WHOLE}{ONE_AXIS} a list."),
        (checks.check_every_digit, LABELS, np.where(LABELS == 7, 1, LABELS), f"{EACH} no 7."),
        (checks.check_every_digit, LABELS, LABELS % 8, f"{EACH} no 8, no 9."),
    ],
)
def test_arrays_of_another_form(check, some, wrong, said):
    assert message(check, some=some, others=wrong) == f"others: {said}"


@pytest.mark.parametrize("which", ["train", "test"])
def test_digits_are_checked_where_they_come_in(which):
    images, labels = f"{which}_images", f"{which}_labels"
    fine = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    make = partial(data.Digits, **fine, is_full=False, digest="of zeros")
    make()
    assert message(make, **{images: IMAGES / 255}).startswith(f"{images}: expected images")
    assert message(make, **{labels: LABELS % 9}).endswith("found no 9.")
    expected = f"Expected {images} and {labels} in equal numbers; found 20 and 10."
    assert message(make, **{labels: LABELS[:10]}) == expected


def test_files_are_read_up_to_a_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert checks.read_at_most(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        checks.read_at_most(path, 4)
    with pytest.raises(FileNotFoundError):
        checks.read_at_most(tmp_path, 5)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("too large", "too large."),
        ("", "ValueError."),
        ("Is it?\n\nNo.", "Is it?"),
        (
            "Graph execution error:\n\nDetected at node a defined at (most recent call last):\n"
            "<stack traces unavailable>\nassertion failed: [no]\n\t [[{{node a}}]] [Op:b]",
            "assertion failed: [no].",
        ),
        ('Detected at node a:\n  File "x", line 1, in <module>\n\nout of memory', "out of memory."),
        ("Exception encountered when calling B.\n\n\x1b[1mno such\x1b[0m\n\nArguments received by B:\n  x", "no such."),
        ("Exception encountered when calling B.\n\n\n\nArguments received by B:\n  x", "ValueError."),
        ("\nIt was made\n    without that.\n\n    Example:", "It was made without that."),
    ],
)
def test_reason_in_what_keras_and_tensorflow_say(said, reason):
    assert checks.reason(ValueError(said)) == reason
