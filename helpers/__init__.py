"""The machinery behind ``mnist_digits.ipynb``: one subject per module.

Words that mean the same everywhere:

candidate
    What a network is to be: its name, its layers, and the form in which it takes images.
network
    A Keras model; in tables, a candidate's name.
training, run
    A candidate's weights being found from one seed; a run is such a training in a study.
inputs, environment
    What a training is asked for (data, layers, settings), and what else decides its last bits
    (versions, arithmetic).
fingerprint, digest
    A few digits that stand for inputs; the SHA-256 of data or of a file.
portable
    Of arithmetic: it gives the same bits on all x86-64 Linux machines with AVX2.
"""
