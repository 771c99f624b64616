"""Spectral embedding: images as points in a plane, close together if they look alike; and what their neighbours say.

Labels are digits 0 to 9, shape (n,), points of shape (n, 2), counts of pairs of digits of shape (10, 10); a graph is
what `neighbour_graph` returns, and links are what `links` returns.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, diags_array, eye_array, triu
from scipy.sparse.csgraph import connected_components, laplacian
from scipy.sparse.linalg import eigsh
from scipy.stats import permutation_test, rankdata
from sklearn.manifold import SpectralEmbedding
from sklearn.neighbors import kneighbors_graph

from helpers.data import normalise

# Up to here scikit-learn computes the map, as in the article, and factorises the Laplacian.
# For 30,000 images that takes 40 seconds and 0.9 GB, and grows fast.
FACTORISED_UP_TO = 20_000  # images


def neighbour_graph(images: np.ndarray, n_neighbors: int = 5) -> csr_matrix:
    """Join each image, uint8 (n, 28, 28), to its `n_neighbors`, itself among them, by the distance between pixels.

    Shape (n, n): 1 where two are joined from both sides, 0.5 where from one, as in scikit-learn's `SpectralEmbedding`.
    """
    pixels = normalise(images).reshape(len(images), -1)
    joined = kneighbors_graph(pixels, n_neighbors, include_self=True)
    return csr_matrix(0.5 * (joined + joined.T))


def spectral_embedding(graph: csr_matrix, seed: int = 12345) -> np.ndarray:
    """Place the images in the plane, those that are joined close together.

    Parameters
    ----------
    graph : what `neighbour_graph` returns, (n, n)
    seed : of the vector from which the eigenvectors are approached

    Returns
    -------
    (n, 2): the two eigenvectors of the graph's normalised Laplacian after the constant one.
    Only the ratios within a column mean anything.

    Notes
    -----
    M. Belkin, P. Niyogi, "Laplacian eigenmaps for dimensionality reduction and data
    representation", 2003.
    """
    if graph.shape[0] > FACTORISED_UP_TO:
        return _without_factorising(graph, seed)
    method = SpectralEmbedding(2, affinity="precomputed", random_state=seed, eigen_solver="arpack")
    return method.fit_transform(graph)


def _without_factorising(graph: csr_matrix, seed: int) -> np.ndarray:
    """Find the same eigenvectors by products with the Laplacian alone."""
    if connected_components(graph, return_labels=False) > 1:
        said = "The graph is in pieces that no link joins; the map shows little more than these."
        warnings.warn(said, stacklevel=3)
    normalised, root_degree = laplacian(graph, normed=True, return_diag=True)
    # Products find the largest eigenvalues fast. Those of the Laplacian lie between 0 and 2,
    # so its smallest are the largest of what it lacks to 2.
    lacking = 2 * eye_array(len(root_degree)) - normalised
    start = np.random.default_rng(seed).uniform(-1, 1, len(root_degree))
    values, vectors = eigsh(lacking, k=3, which="LA", v0=start)
    _, second, third = np.argsort(-values)  # the first belongs to the constant
    points = vectors[:, [second, third]] / root_degree[:, None]
    # An eigenvector's sign is free: as in scikit-learn, what lies farthest out is positive.
    farthest = np.abs(points).argmax(axis=0)
    return points * np.sign(points[farthest, [0, 1]])


def label_centres(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where each digit's points lie: their median, coordinate by coordinate, shape (10, 2)."""
    return np.stack([np.median(points[labels == digit], axis=0) for digit in range(10)])


def farthest_points(points: np.ndarray, labels: np.ndarray, avoid: np.ndarray, of_each: int = 2) -> np.ndarray:
    """Indices of points of each digit, `of_each` many, far from each other and from the places to avoid, (m, 2).

    Each is farthest of all (T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985).
    """
    distance = np.linalg.norm(points[:, None] - avoid[None], axis=2).min(axis=1)
    chosen: list[int] = []
    while (distance > 0).any():
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        if np.sum(labels[chosen] == labels[chosen[-1]]) == of_each:
            distance[labels == labels[chosen[-1]]] = 0
    return np.array(chosen)


def edge_counts(graph: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Count, for any two digits, the pairs of different joined images that show them: symmetric, each pair once."""
    pairs = triu(graph, k=1).tocoo()
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (labels[pairs.row], labels[pairs.col]), 1)
    return counts + counts.T - np.diag(np.diag(counts))


def digits_nearby(graph: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Which digits are shown by the images that each image is joined to, bool, shape (n, 10)."""
    others = graph - diags_array(graph.diagonal())
    return others @ np.eye(10)[labels] > 0


def share_of_other_digits(links: np.ndarray) -> pd.DataFrame:
    """What share of each digit's links lead to others, `links to others %`, fewest first, and `most often to` which."""
    same = np.diag(links)
    others = links - np.diag(same)
    ends = 2 * same + others.sum(axis=1)  # a link within a digit has both its ends there
    shares = 100 * others.sum(axis=1) / np.maximum(ends, 1)
    columns = {"links to others %": shares, "most often to": others.argmax(axis=1)}
    table = pd.DataFrame(columns, pd.RangeIndex(10, name="digit"))
    return table.sort_values("links to others %", kind="stable")


def link_confusion_correlation(
    links: np.ndarray, confusion: np.ndarray, permutations: int = 9999, seed: int = 12345
) -> tuple[float, float]:
    """Spearman's rank correlation, over the 45 pairs of digits, of links with confusions either way; and its p.

    p is how often the correlation is as high or higher when the digits of one matrix are permuted at random; not the
    pairs, since those that share a digit are not independent (N. Mantel, Cancer Research 27, 1967).
    """
    pairs = np.triu_indices(10, k=1)
    linked = np.zeros((10, 10))
    linked[pairs] = _centred_ranks(links[pairs])
    linked += linked.T
    confused = _centred_ranks((confusion + confusion.T)[pairs])

    def correlation(order: np.ndarray) -> float:
        return float(linked[np.ix_(order, order)][pairs] @ confused)

    test = permutation_test(
        (np.arange(10),), correlation, permutation_type="pairings", n_resamples=permutations, vectorized=False,
        alternative="greater", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return test.statistic, float(test.pvalue)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, centred and scaled so that the product of two such vectors is their correlation."""
    ranks = rankdata(values) - (len(values) + 1) / 2
    return ranks / max(np.linalg.norm(ranks), 1e-12)
