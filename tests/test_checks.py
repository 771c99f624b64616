"""What is said of images, labels and files that are not what is expected."""

from functools import partial

import numpy as np
import pytest

from helpers import checks, data

IMAGES = np.zeros((20, 28, 28), dtype=np.uint8)
LABELS = np.arange(20) % 10


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES / 255, LABELS, "_images: expected uint8 of shape (n, 28, 28); found float64 of shape (20, 28, 28)."),
        (IMAGES.reshape(20, 784), LABELS, "found uint8 of shape (20, 784)."),
        ([1], LABELS, "_images: expected uint8 of shape (n, 28, 28); found a list."),
        (IMAGES[:0], LABELS[:0], "whole numbers of shape (0,), each from 0 to 9 at least once; found none."),
        (IMAGES, np.where(LABELS == 3, -1, LABELS), "0 to 9 at least once; found -1, 0, 1, 2, 4, 5, 6, 7, 8, 9."),
        (IMAGES, np.arange(20), "; found 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10."),
        (IMAGES, LABELS.astype(float), "; found float64 of shape (20,)."),
        (IMAGES, LABELS[:10], "; found int64 of shape (10,)."),
        (IMAGES, [1], "; found a list."),
    ],
)
@pytest.mark.parametrize("which", ["train", "test"])
def test_digits_of_another_form_are_named_where_they_come_in(which, images, labels, said):
    fine = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    make = partial(data.Digits, **fine, is_full=False, digest="of zeros")
    make()
    with pytest.raises(checks.InputError) as error:
        make(**{f"{which}_images": images, f"{which}_labels": labels})
    assert str(error.value).startswith(f"{which}_") and str(error.value).endswith(said)


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
