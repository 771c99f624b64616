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
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(DataError, match="trained on the complete data set"):
        commands.retrain()
