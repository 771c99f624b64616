"""What the notebook cannot do without, in one plain script.

That is TensorFlow, the embedding, and one network's predictions.
"""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.manifold import SpectralEmbedding

with np.load(os.environ["MNIST_NPZ"]) as arrays:
    images = arrays["x_test"].astype(np.float32).reshape(-1, 784) / 255

method = SpectralEmbedding(affinity="nearest_neighbors", n_neighbors=5, random_state=12345)
points = method.fit_transform(images)
model = tf.saved_model.load(str(Path(__file__).parent.parent / "models" / "dense" / "saved_model"))
parts = np.split(images, 20)
predicted = np.concatenate([model.serve(part).numpy().argmax(axis=1) for part in parts])
print(points.shape, predicted.shape)
