import functools
import gzip
import http.server
import io
import threading
import zipfile

import numpy as np
import pytest

from helpers import data


@pytest.fixture
def arrays(sample):
    """The sample's arrays by the names they have in an mnist.npz."""
    return {
        "x_train": sample.train_images, "y_train": sample.train_labels,
        "x_test": sample.test_images, "y_test": sample.test_labels,
    }  # fmt: skip


@pytest.fixture
def sample_as_mnist(monkeypatch):
    """Let the sample's checksums stand for those of the complete data set."""
    monkeypatch.setattr(data, "MNIST_MD5", dict(data.SAMPLE_MD5))  # equal, yet told apart
    monkeypatch.delenv("MNIST_DATA", raising=False)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty download cache, and sources that nobody serves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MNIST_NPZ", raising=False)
    monkeypatch.setattr(data, "RETRIES", 0)
    monkeypatch.setattr(data, "SOURCES", [data.Source("http://127.0.0.1:9/", {"mnist.npz": "0"}, data._read_npz)])


@pytest.fixture
def server(tmp_path):
    """A real HTTP server on loopback: its address, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()


def npz(path, arrays):
    np.savez_compressed(path, **arrays)
    return path


def load_npz(monkeypatch, path):
    monkeypatch.setenv("MNIST_NPZ", str(path))
    return data.load_mnist()


# --- what is loaded


def test_complete_data_set(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.train_labels.shape == (60_000,) and mnist.test_labels.shape == (10_000,)
    assert {a.dtype for a in (mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels)} == {
        np.dtype(np.uint8)
    }
    assert mnist.train_labels[:9].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1]
    assert mnist.name == "MNIST" and mnist.notice == ""


def test_sample_has_every_digit_equally_often(sample):
    assert np.bincount(sample.train_labels).tolist() == [400] * 10
    assert np.bincount(sample.test_labels).tolist() == [100] * 10
    assert sample.train_images.shape == (4_000, 28, 28) and sample.train_images.dtype == np.uint8
    assert sample.train_labels[:12].tolist() == [*range(10), 0, 1]


def test_sample_consists_of_training_images(sample, mnist):
    known = {image.tobytes() for image in mnist.train_images}
    assert all(image.tobytes() in known for image in sample.train_images)
    assert all(image.tobytes() in known for image in sample.test_images)


def test_sample_never_passes_for_the_real_thing(sample):
    assert not sample.is_full
    assert "sample" in sample.name and "sample" in sample.notice and "sample" in str(sample)


# --- where it is looked for


def test_file_named_by_environment_comes_first(monkeypatch, tmp_path, arrays, sample_as_mnist, no_network):
    digits = load_npz(monkeypatch, npz(tmp_path / "mnist.npz", arrays))
    assert digits.is_full
    assert np.array_equal(digits.train_images, arrays["x_train"])


def test_falls_back_to_the_sample(no_network, monkeypatch, sample):
    monkeypatch.delenv("MNIST_DATA", raising=False)
    digits = data.load_mnist()
    assert not digits.is_full and digits.digest == sample.digest


def test_complete_data_set_can_be_demanded(no_network, monkeypatch):
    monkeypatch.setenv("MNIST_DATA", "full")
    with pytest.raises(data.DataError, match="MNIST_DATA=full.*127.0.0.1.*MNIST_NPZ"):
        data.load_mnist()


def test_unknown_demand_is_an_error(monkeypatch):
    monkeypatch.setenv("MNIST_DATA", "ful")
    with pytest.raises(data.DataError, match="'ful'; expected 'auto', 'full' or 'sample'"):
        data.load_mnist()


def test_download_then_cache(no_network, sample_as_mnist, server, arrays, monkeypatch):
    url, folder = server
    digest = data.hashlib.sha256(npz(folder / "mnist.npz", arrays).read_bytes()).hexdigest()
    monkeypatch.setattr(data, "SOURCES", [data.Source(url, {"mnist.npz": digest}, data._read_npz)])
    assert data.load_mnist().is_full
    (folder / "mnist.npz").unlink()
    assert data.load_mnist().is_full  # from the cache


def test_second_source_where_the_first_serves_something_else(
    no_network, sample_as_mnist, server, arrays, monkeypatch, tmp_path
):
    url, folder = server
    (folder / "mnist.npz").write_text("<html>Please log in</html>")
    files = {}
    for name in data.MNIST_MD5:
        content = gzip.compress(data._idx_header(arrays[name]) + arrays[name].tobytes(), compresslevel=1, mtime=0)
        (folder / f"{name}.gz").write_bytes(content)
        files[f"{name}.gz"] = "md5:" + data.hashlib.md5(content).hexdigest()
    sources = [data.Source(url, {"mnist.npz": "0" * 64}, data._read_npz), data.Source(url, files, data._read_idx)]
    monkeypatch.setattr(data, "SOURCES", sources)
    digits = data.load_mnist()
    assert digits.is_full and np.array_equal(digits.test_images, arrays["x_test"])
    assert not list((tmp_path / "cache").rglob("mnist.npz"))


# --- wrong files


def test_no_such_file(monkeypatch, tmp_path):
    with pytest.raises(data.DataError, match="gone.npz: no such file, though MNIST_NPZ names it"):
        load_npz(monkeypatch, tmp_path / "gone.npz")


def test_published_digits_are_told_from_others(monkeypatch, tmp_path, arrays):
    with pytest.raises(data.DataError, match="mnist.npz: expected x_train with the MD5 6bbc9.*found 29a8f.*Replace"):
        load_npz(monkeypatch, npz(tmp_path / "mnist.npz", arrays))


@pytest.mark.parametrize("name", data.SAMPLE_MD5)
def test_one_changed_pixel_or_label(monkeypatch, tmp_path, arrays, sample_as_mnist, name):
    changed = arrays | {name: arrays[name].copy()}
    changed[name].flat[-1] += 1
    with pytest.raises(data.DataError, match=f"expected {name} with the MD5 {data.SAMPLE_MD5[name]}, found"):
        load_npz(monkeypatch, npz(tmp_path / "mnist.npz", changed))


def test_missing_array(monkeypatch, tmp_path, arrays):
    del arrays["y_test"]
    with pytest.raises(data.DataError, match="expected the arrays x_train.*y_test, found no y_test"):
        load_npz(monkeypatch, npz(tmp_path / "mnist.npz", arrays))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("x_train", lambda a: a.reshape(-1, 784), r"x_train as uint8 of shape \(n, 28, 28\), found .* \(4000, 784\)"),
        ("x_test", lambda a: a / 255, r"x_test as uint8 of shape \(n, 28, 28\), found float64"),
        ("y_train", lambda a: a.astype(np.int64), r"y_train as uint8 of shape \(n,\), found int64"),
        ("y_test", lambda a: a[:, None], r"y_test as uint8 of shape \(n,\), found uint8 of shape \(1000, 1\)"),
        ("x_train", lambda a: np.uint8(3), r"x_train as uint8 of shape \(n, 28, 28\), found uint8 of shape \(\)"),
    ],
)
def test_wrong_shape_or_dtype(monkeypatch, tmp_path, arrays, sample_as_mnist, name, change, message):
    with pytest.raises(data.DataError, match=message):
        load_npz(monkeypatch, npz(tmp_path / "mnist.npz", arrays | {name: change(arrays[name])}))


def truncated(arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()[:-5_000]


def cut_inside_an_array(arrays):
    """An archive whose directory is intact, but not the data behind it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    content = bytearray(buffer.getvalue())
    content[10_000:20_000] = bytes(10_000)
    return bytes(content)


def pickled(arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays | {"x_train": np.array([{"a": 1}], dtype=object)})
    return buffer.getvalue()


def single_array(arrays):
    buffer = io.BytesIO()
    np.save(buffer, arrays["x_test"])
    return buffer.getvalue()


def other_archive(arrays):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x_train.npy", "not an array")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [truncated, cut_inside_an_array, pickled, single_array, other_archive, lambda _: b"5,0,4,1\n", lambda _: b""],
    ids=["truncated", "cut", "pickled", "single array", "other archive", "text file", "empty"],
)  # fmt: skip
def test_damaged_file(monkeypatch, tmp_path, arrays, sample_as_mnist, content):
    path = tmp_path / "wrong.npz"
    path.write_bytes(content(arrays))
    with pytest.raises(data.DataError, match="wrong.npz: expected .*found .*Replace it"):
        load_npz(monkeypatch, path)


# --- the networks' form


def test_normalise():
    images = np.array([[[0, 51], [102, 255]]], dtype=np.uint8)
    pixels = data.normalise(images)
    assert pixels.dtype == np.float32
    assert pixels.ravel().tolist() == pytest.approx([0, 0.2, 0.4, 1]) and pixels.shape == (1, 2, 2)


def test_one_hot():
    rows = data.one_hot(np.array([5, 0, 9], dtype=np.uint8))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0] * 5 + [1] + [0] * 4, [1] + [0] * 9, [0] * 9 + [1]]


def test_first_of_each():
    labels = np.array([3, 3, 9, 8, 7, 6, 5, 4, 2, 1, 0, 0, 9])
    assert data.first_of_each(labels).tolist() == [10, 9, 8, 0, 7, 6, 5, 4, 3, 2]
