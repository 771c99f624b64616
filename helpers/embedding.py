"""Place images in a plane, similar ones close together, and count which digits are neighbours.

The method is called spectral embedding. It starts from a graph, in which each image is a node and
an edge joins it to each of its nearest neighbours. These functions share these terms.

labels
    Digits 0 to 9, shape (n,).
points
    Shape (n, 2).
graph
    What `neighbour_graph` returns, a sparse matrix of shape (n, n).
links
    How many edges join any two digits, shape (10, 10): what `edge_counts` returns.
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

# Up to so many images, scikit-learn computes the map, as in the article, and factorises the
# Laplacian. Beyond, that takes too long: for 30,000 images 40 seconds and 0.9 GB.
FACTORISED_UP_TO = 20_000  # images


def neighbour_graph(images: np.ndarray, n_neighbors: int = 5) -> csr_matrix:
    """Join each image to its nearest neighbours, by the Euclidean distance between their pixels.

    Parameters
    ----------
    images
        uint8, shape (n, 28, 28).
    n_neighbors
        How many neighbours each image has. It counts as one of them itself.

    Returns
    -------
    graph
        Sparse and symmetric, shape (n, n): 1 if each of two is among the other's neighbours, 0.5 if
        only one is. This is the graph that scikit-learn's `SpectralEmbedding` makes too.
    """
    pixels = normalise(images).reshape(len(images), -1)
    joined = kneighbors_graph(pixels, n_neighbors, include_self=True)
    return csr_matrix(0.5 * (joined + joined.T))


def spectral_embedding(graph: csr_matrix, seed: int = 12345) -> np.ndarray:
    """Place the images in the plane, those that are joined close together.

    Parameters
    ----------
    graph
        Of any number of images.
    seed
        Of the random vector from which the eigenvectors are approached.

    Returns
    -------
    points
        As columns, two eigenvectors of the graph's Laplacian: those with the smallest eigenvalues
        but for the constant one. Only the ratios within a column mean anything.

    Notes
    -----
    These are the columns, apart from their scale, that make the squared distances between joined
    images smallest (M. Belkin, P. Niyogi, "Laplacian eigenmaps for dimensionality reduction and
    data representation", 2003).
    """
    if graph.shape[0] > FACTORISED_UP_TO:
        return _without_factorising(graph, seed)
    method = SpectralEmbedding(2, affinity="precomputed", random_state=seed, eigen_solver="arpack")
    return method.fit_transform(graph)


def _without_factorising(graph: csr_matrix, seed: int) -> np.ndarray:
    """Find the same eigenvectors by products with the Laplacian alone."""
    if connected_components(graph, return_labels=False) > 1:
        message = "The graph is in pieces that no link joins; the map shows little more than these."
        warnings.warn(message, stacklevel=3)  # names the line that called spectral_embedding
    normalised, root_degree = laplacian(graph, normed=True, return_diag=True)
    # Products with a matrix find its largest eigenvalues fast, but the Laplacian's smallest are
    # needed. All of them lie between 0 and 2, so these are the largest of 2 minus the Laplacian.
    flipped = 2 * eye_array(len(root_degree)) - normalised
    start = np.random.default_rng(seed).uniform(-1, 1, len(root_degree))
    values, vectors = eigsh(flipped, k=3, which="LA", v0=start)
    _, second, third = np.argsort(-values)
    # Divided by the roots of the degrees, the first is constant, and the others are the map.
    points = vectors[:, [second, third]] / root_degree[:, None]
    # An eigenvector's sign is free: as in scikit-learn, what lies farthest out is positive.
    farthest = np.abs(points).argmax(axis=0)
    return points * np.sign(points[farthest, [0, 1]])


def label_centres(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find where each digit's points lie.

    Returns
    -------
    centres
        The medians of its points' coordinates, shape (10, 2).
    """
    return np.stack([np.median(points[labels == digit], axis=0) for digit in range(10)])


def farthest_points(
    points: np.ndarray, labels: np.ndarray, avoid: np.ndarray, of_each: int = 2
) -> np.ndarray:
    """Choose some points of each digit that lie far from each other, by farthest-point sampling.

    Parameters
    ----------
    avoid
        Places from which the points shall be far too, shape (m, 2).
    of_each
        How many points of each digit.

    Returns
    -------
    indices
        Of the points, in the order in which they were chosen.

    Notes
    -----
    The next point is always the one that is farthest from the nearest of those chosen before, and
    of the places to avoid (T. F. Gonzalez, "Clustering to minimize the maximum intercluster
    distance", 1985).
    """
    # From each point to the nearest place that is taken; 0 for points that are out of the question.
    distance = np.linalg.norm(points[:, None] - avoid[None], axis=2).min(axis=1)
    chosen: list[int] = []
    while (distance > 0).any():
        newest = int(distance.argmax())
        chosen.append(newest)
        distance = np.minimum(distance, np.linalg.norm(points - points[newest], axis=1))
        same_digit = labels == labels[newest]
        if same_digit[chosen].sum() == of_each:
            distance[same_digit] = 0
    return np.array(chosen)


def edge_counts(graph: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Count, for any two digits, the edges between an image of the one and an image of the other.

    Returns
    -------
    links
        Symmetric, shape (10, 10). Each edge counts once, and none from an image to itself.
    """
    edges = triu(graph, k=1).tocoo()  # above the diagonal each edge stands once
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (labels[edges.row], labels[edges.col]), 1)
    # 3 to 5 and 5 to 3 are the same pair of digits; 3 to 3, on the diagonal, is not added twice.
    return counts + counts.T - np.diag(np.diag(counts))


def digits_nearby(graph: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Say which digits the other images show to which an image is joined.

    Returns
    -------
    nearby
        bool, shape (n, 10), one row per image, one column per digit.
    """
    without_itself = graph - diags_array(graph.diagonal())
    one_hots = np.eye(10)[labels]
    return without_itself @ one_hots > 0


def share_of_other_digits(links: np.ndarray) -> pd.DataFrame:
    """Compute what share of each digit's links lead to other digits.

    Returns
    -------
    table
        One row per digit, the smallest share first: the share, `links to others %`, and to which
        digit most of these links lead, `most often to`.

    Notes
    -----
    What is counted are ends of links: a link between two 3s gives the 3 two ends, and a link from a
    3 to a 5 gives one to each.
    """
    same = np.diag(links)
    others = links - np.diag(same)
    ends = 2 * same + others.sum(axis=1)
    shares = 100 * others.sum(axis=1) / np.maximum(ends, 1)
    columns = {"links to others %": shares, "most often to": others.argmax(axis=1)}
    table = pd.DataFrame(columns, pd.RangeIndex(10, name="digit"))
    return table.sort_values("links to others %", kind="stable")


def link_confusion_correlation(
    links: np.ndarray, confusion: np.ndarray, permutations: int = 9999, seed: int = 12345
) -> tuple[float, float]:
    """Correlate how often two digits are joined with how often they are confused.

    Parameters
    ----------
    confusion
        Counts, shape (10, 10), one row per true digit, one column per predicted digit. A pair's
        confusions are those in either direction.
    permutations
        How many random orders of the digits the test tries.

    Returns
    -------
    correlation
        Spearman's rank correlation over the 45 pairs of digits.
    p
        How often it would be as high or higher by chance.

    Notes
    -----
    The test is Mantel's. It permutes the digits of one matrix, its rows and columns alike, and
    counts how often the correlation is then as high or higher. It does not permute the 45 pairs,
    since pairs that share a digit are not independent (N. Mantel, Cancer Research 27, 1967).
    """
    pairs = np.triu_indices(10, k=1)
    linked = np.zeros((10, 10))
    linked[pairs] = _centred_ranks(links[pairs])
    linked += linked.T  # symmetric, since a permutation may bring any pair above the diagonal
    confused = _centred_ranks((confusion + confusion.T)[pairs])

    def correlation(order: np.ndarray) -> float:
        permuted = linked[np.ix_(order, order)]
        return float(permuted[pairs] @ confused)

    # Pairings of one sample are its permutations.
    test = permutation_test(
        (np.arange(10),),
        correlation,
        permutation_type="pairings",
        n_resamples=permutations,
        vectorized=False,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return test.statistic, float(test.pvalue)


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks, less their mean and scaled to length 1.

    The product of two such vectors is Pearson's correlation of the ranks, which is Spearman's.
    """
    ranks = rankdata(values) - (len(values) + 1) / 2
    return ranks / max(np.linalg.norm(ranks), 1e-12)  # if all values are equal, 0
