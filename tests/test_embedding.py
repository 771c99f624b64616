import numpy as np
import pytest
from scipy.sparse import block_diag, csr_matrix
from scipy.stats import spearmanr
from sklearn.manifold import SpectralEmbedding

from helpers import article, embedding
from helpers.data import normalise


@pytest.fixture(scope="module")
def graph(sample):
    return embedding.neighbour_graph(sample.test_images)


@pytest.mark.thorough
def test_embedding_of_real_digits(sample, graph):
    """The map is the one that scikit-learn makes of the pixels in one step, as in the article."""
    points = embedding.spectral_embedding(graph)
    pixels = normalise(sample.test_images).reshape(1_000, -1)
    neighbours = {"affinity": "nearest_neighbors", "n_neighbors": 5}
    method = SpectralEmbedding(2, **neighbours, random_state=12345, eigen_solver="arpack")
    assert points.shape == (1_000, 2)
    assert np.array_equal(points, method.fit_transform(pixels))
    assert np.array_equal(points, embedding.spectral_embedding(graph))


def test_neighbour_graph(sample, graph):
    """Each image is joined to itself and its four nearest, and to those it is a nearest one of."""
    assert abs(graph - graph.T).nnz == 0
    assert set(graph.data) == {0.5, 1.0} and (graph.diagonal() == 1).all()
    pixels = normalise(sample.test_images).reshape(1_000, -1)
    nearest = np.linalg.norm(pixels - pixels[7], axis=1).argsort()[:5]
    assert (graph[7].toarray()[0, nearest] > 0).all() and graph.sum() == pytest.approx(5_000)
    assert embedding.neighbour_graph(sample.test_images, 10).sum() == pytest.approx(10_000)


def test_large_graphs_have_the_same_map(graph, monkeypatch):
    """It is as exact, points the same way, and is the same to the last bit each time."""
    exact = embedding.spectral_embedding(graph)
    monkeypatch.setattr(embedding, "FACTORISED_UP_TO", 0)
    points = embedding.spectral_embedding(graph)
    assert np.array_equal(points, embedding.spectral_embedding(graph))
    exact, points = (each / np.linalg.norm(each, axis=0) for each in (exact, points))
    assert not np.array_equal(points, exact)  # it is another way
    assert np.abs(points - exact).max() < 1e-9


def test_a_large_graph_in_pieces_is_said_to_be(graph, monkeypatch):
    monkeypatch.setattr(embedding, "FACTORISED_UP_TO", 0)
    with pytest.warns(UserWarning, match="in pieces that no link joins"):
        embedding.spectral_embedding(block_diag([graph, graph], format="csr"))


def test_label_centres():
    labels = np.arange(10).repeat(3)
    points = np.stack([labels + np.tile([-1.0, 0.0, 100.0], 10), -labels], axis=1)
    centres = embedding.label_centres(points, labels)
    assert centres.tolist() == [[digit, -digit] for digit in range(10)]


def test_farthest_points():
    points = np.array([[0.0, 0], [1, 0], [10, 0], [10, 1], [4, 0], [2, 0]])
    labels = np.array([3, 3, 3, 3, 3, 5])
    chosen = embedding.farthest_points(points, labels, avoid=np.array([[0.0, 0]]))
    assert chosen.tolist() == [3, 4, 5]  # of the threes two, the first of them the farthest


# Images 0 and 1 show a 3, 2 a 5, 3 a 7; 0 is joined to all others, 1 to 2
LABELS = np.array([3, 3, 5, 7])
GRAPH = csr_matrix([[1, 1, 0.5, 0.5], [1, 1, 0.5, 0], [0.5, 0.5, 1, 0], [0.5, 0, 0, 1]])


def test_edge_counts_and_digits_nearby_by_hand():
    links = embedding.edge_counts(GRAPH, LABELS)
    nearby = embedding.digits_nearby(GRAPH, LABELS)
    assert links[3, 3] == 1 and links[3, 5] == links[5, 3] == 2 and links[3, 7] == links[7, 3] == 1
    assert links.sum() == 1 + 2 * 2 + 2 * 1
    table = embedding.share_of_other_digits(links)
    assert table.loc[3].tolist() == [pytest.approx(100 * 3 / 5), 5]
    assert table.loc[7].tolist() == [100, 3]
    assert table["links to others %"].is_monotonic_increasing
    assert [np.flatnonzero(row).tolist() for row in nearby] == [[3, 5, 7], [3, 5], [3], [3]]


def test_correlation_is_spearmans():
    links = article.CONFUSION + article.CONFUSION.T
    other = np.random.default_rng(0).permutation(10)
    shuffled = article.CONFUSION[np.ix_(other, other)]
    pairs = np.triu_indices(10, k=1)
    expected = spearmanr(links[pairs], (shuffled + shuffled.T)[pairs]).statistic
    correlation, p = embedding.link_confusion_correlation(links, shuffled, permutations=99)
    assert correlation == pytest.approx(expected) and p > 0.05
    # With themselves: no other of 99 orders of the digits does as well.
    correlation, p = embedding.link_confusion_correlation(links, article.CONFUSION, 99)
    assert correlation == pytest.approx(1) and p == 0.01
