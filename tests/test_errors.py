"""What is said of files that are not what is expected, and of errors of other programs."""

import pytest

from helpers import errors


def test_files_are_read_up_to_a_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert errors.read_at_most(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        errors.read_at_most(path, 4)
    with pytest.raises(FileNotFoundError, match="no such regular file"):
        errors.read_at_most(tmp_path, 5)


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
        ("\x1b[1;31mno such\x1b[0m folder", "no such folder."),
        ("Exception encountered when calling B.\n\n\n\nArguments received by B:\n  x", "ValueError."),
        ("\nIt was made\n    without that.\n\n    Example:", "It was made without that."),
    ],
)
def test_reason_in_what_keras_and_tensorflow_say(said, reason):
    assert errors.reason(ValueError(said)) == reason
