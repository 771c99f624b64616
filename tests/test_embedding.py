import numpy as np

from helpers import embedding


def test_embedding_of_real_digits(sample):
    points = embedding.spectral_embedding(sample.test_images)
    assert points.shape == (1_000, 2)
    assert np.array_equal(points, embedding.spectral_embedding(sample.test_images))


def test_multigrid_finds_the_same_map(sample, monkeypatch):
    """As for graphs too large for Arpack; digit by digit the same each time, and nothing else is seeded by it."""
    exact = embedding.spectral_embedding(sample.test_images)
    monkeypatch.setattr(embedding, "ARPACK_UP_TO", 0)
    np.random.seed(1)
    points = embedding.spectral_embedding(sample.test_images)
    after = np.random.rand()
    assert np.array_equal(points, embedding.spectral_embedding(sample.test_images))
    np.random.seed(1)
    assert after == np.random.rand()
    assert not np.array_equal(points, exact)
    assert all(abs(np.corrcoef(points[:, axis], exact[:, axis])[0, 1]) > 0.999 for axis in (0, 1))


def test_zeros_and_ones_lie_apart(sample):
    """An image of a 0 or a 1 lies nearer to the middle of its own digit than to that of the other."""
    points, labels = embedding.spectral_embedding(sample.test_images), sample.test_labels
    centres = embedding.label_centres(points, labels)
    for own, other in ((0, 1), (1, 0)):
        mine = points[labels == own]
        nearer = np.linalg.norm(mine - centres[own], axis=1) < np.linalg.norm(mine - centres[other], axis=1)
        assert nearer.mean() > 0.9


def test_more_neighbours_give_another_map(sample):
    few, many = (embedding.spectral_embedding(sample.test_images, n_neighbors=n) for n in (5, 10))
    assert not np.allclose(few, many)


def test_label_centres():
    labels = np.arange(10).repeat(3)
    points = np.stack([labels + np.tile([-1.0, 0.0, 100.0], 10), -labels], axis=1)
    assert embedding.label_centres(points, labels).tolist() == [[digit, -digit] for digit in range(10)]


def test_spread_out():
    points = np.array([[0.0, 0], [1, 0], [10, 0], [10, 1], [4, 0]])
    assert embedding.spread_out(points, 3, avoid=np.array([[0.0, 0]])).tolist() == [3, 4, 1]
