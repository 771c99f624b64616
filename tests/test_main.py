"""The commands behind the Makefile."""

import re

import pytest

from helpers import __main__ as commands
from helpers.data import DataError


def test_outputs_are_compared_on_the_complete_data(mnist, capsys):
    commands.nbval()
    assert capsys.readouterr().out == "--nbval\n"


def test_outputs_are_not_compared_on_the_sample(monkeypatch, capsys):
    monkeypatch.setenv("MNIST_DATA", "sample")
    commands.nbval()
    printed = capsys.readouterr()
    assert printed.out == "--nbval-lax\n" and "not compared" in printed.err


def test_models_of_the_project_are_not_retrained_on_the_sample(monkeypatch):
    def went_on():
        raise AssertionError("it went on to train")

    monkeypatch.setenv("MNIST_DATA", "sample")
    monkeypatch.setattr("helpers.startup.start_tensorflow", went_on)
    with pytest.raises(DataError, match="trained on the complete data set"):
        commands.retrain()


def test_the_study_is_of_the_complete_data(monkeypatch):
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(DataError, match="study is of the complete data set"):
        commands.study("1")


@pytest.mark.parametrize(
    ("value", "other", "alike"),
    [
        (196.54, 196.55, False), (3e-9, 8e-5, False), (0.7906003, 0.7906004, True), (203, 204, False), ("holds", "holds", True),
        ({"a": [1, 2.0]}, {"a": [1, 2.0]}, True), ({"a": 1}, {"b": 1}, False), ([1.0, 2.0], [1.0], False), (1.0, None, False),
    ],
)  # fmt: skip
def test_results_are_compared_but_for_the_last_digits(value, other, alike):
    assert commands._alike(value, other) == alike


def test_commands_are_run_though_a_folder_has_their_name():
    """As `study` has: make takes a target that exists for done, unless it is declared phony."""
    makefile = (commands.CHECKED_RESULTS.parent.parent / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    listed = re.findall(r"^([a-z-]+):.*  ## ", makefile, re.MULTILINE)
    assert sorted(phony) == sorted(listed) and "study" in listed
