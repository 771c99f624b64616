"""Spectral embedding: images as points in a plane, close together if they look alike."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sklearn.manifold import SpectralEmbedding

from helpers.data import normalise

# The eigenvectors of larger graphs come from algebraic multigrid. Arpack, which is exact,
# factorises the Laplacian: that takes minutes and gigabytes where multigrid takes seconds.
ARPACK_UP_TO = 20_000  # images


def spectral_embedding(images: np.ndarray, n_neighbors: int = 5, seed: int = 12345) -> np.ndarray:
    """Embed images in the plane by the graph of their nearest neighbours.

    Parameters
    ----------
    images
        Pixels 0 to 255, uint8, shape (n, 28, 28).
    n_neighbors
        How many neighbours each image is joined to, itself among them.
    seed
        Where the eigenvalue solver starts.

    Returns
    -------
    ndarray
        Coordinates, shape (n, 2): the two eigenvectors of the graph's Laplacian that follow
        the constant one. Only their ratios mean anything.
    """
    pixels = normalise(images).reshape(len(images), -1)
    method = SpectralEmbedding(
        n_components=2, affinity="nearest_neighbors", n_neighbors=n_neighbors, random_state=seed,
        eigen_solver="arpack" if len(images) <= ARPACK_UP_TO else "amg",
    )  # fmt: skip
    with _global_seed(seed):
        return method.fit_transform(pixels)


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, from which multigrid draws, and leave it as it was."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def label_centres(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where each digit's points lie: their median, coordinate by coordinate, shape (10, 2)."""
    return np.stack([np.median(points[labels == digit], axis=0) for digit in range(10)])


def spread_out(points: np.ndarray, count: int, avoid: np.ndarray) -> np.ndarray:
    """Indices, shape (count,), of points that lie far from each other and from some places.

    Parameters
    ----------
    points
        Shape (n, 2).
    count
        How many to choose, at most n.
    avoid
        Places to keep away from, shape (m, 2), at least one. Each point chosen is the one
        farthest from these and from those chosen before it (T. F. Gonzalez, "Clustering
        to minimize the maximum intercluster distance", 1985).
    """
    distance = np.linalg.norm(points[:, None] - avoid[None], axis=2).min(axis=1)
    chosen = []
    for _ in range(count):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
