"""The machinery behind ``mnist_digits.ipynb``: one subject per module.

Words of this project:

candidate
    What a network is to be: its name, its layers, and the form in which it takes images.
network
    A Keras model; loosely, its candidate, or what was trained from it.
training
    A candidate's weights are found, starting from one seed.
run
    In a study: one training, and what came out. Of the notebook: one execution of all cells.
inputs
    What a training is asked for: data, layers, settings.
environment
    What else decides a training's last bits: versions and arithmetic.
fingerprint
    A few digits that stand for the inputs of a training.
digest
    The SHA-256 of the data, or of a file.
portable
    Of arithmetic: it gives the same bits on all x86-64 Linux machines with AVX2.
"""
