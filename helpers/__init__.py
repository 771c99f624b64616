"""The machinery behind ``mnist_digits.ipynb``: one subject per module."""
