"""The commands behind the Makefile."""

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
