"""Downloads: from real servers on loopback, in new processes where the machine itself is changed."""

import contextlib
import functools
import gzip
import hashlib
import http.server
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

from helpers import data, download

ROOT = Path(__file__).parent.parent


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


def test_download_then_cache(cache, sample_as_mnist, served, monkeypatch):
    url, files, _ = served
    monkeypatch.setattr(download, "SOURCES", {url: files})
    assert data.load_mnist().is_full
    monkeypatch.setattr(download, "SOURCES", {"http://127.0.0.1:9/": files})
    assert data.load_mnist().is_full  # from the cache
    (cache / "mnist.npz").write_text("damaged")
    assert not data.load_mnist().is_full


def test_what_a_killed_download_has_left_is_cleared_away(cache):
    """Not what another process may still be writing to."""
    cache.mkdir()
    for name, age in (("tmpkilled", 2 * download.DOWNLOAD_SECONDS), ("tmpgoing_on", 1)):
        (cache / name).write_bytes(b"half")
        os.utime(cache / name, (time.time() - age,) * 2)
    with pytest.raises(download.UnavailableError), download.downloaded_files():
        pass
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
    monkeypatch.setattr(download, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 30 if fault == "endless" else 2)
    monkeypatch.setattr(download, "SOURCES", {bad: files})
    start = time.monotonic()
    assert f"{FAULTS[fault][0]})" in data.load_mnist().notice
    assert time.monotonic() - start < 10 and list(cache.iterdir()) == []
    monkeypatch.setattr(download, "SOURCES", {bad: files, url: files})
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
    monkeypatch.setattr(download, "SOURCES", {f"{url}wrong/": {"mnist.npz": "0" * 64}, url: files})
    digits = data.load_mnist()
    assert digits.is_full and np.array_equal(digits.test_images, arrays["x_test"])
    assert sorted(path.name for path in cache.iterdir()) == sorted(files)
    monkeypatch.setattr(download, "_receive", lambda *arguments: pytest.fail("downloaded again"))
    assert data.load_mnist().is_full  # what is in the cache comes first


# --- what a download does not need, and what is not a fault of the network

DOWNLOAD = """
from helpers import data, download
data.MNIST_MD5 = data.SAMPLE_MD5
download.SOURCES = {sources}
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
    monkeypatch.setattr(download, "SOURCES", {url: files})
    cache.write_text("a file where a folder should be")
    assert data.load_mnist().is_full


def test_download_sends_no_password(cache, sample_as_mnist, served, monkeypatch, tmp_path):
    """One for all hosts, in ~/.netrc, would be refused."""
    url, files, _ = served
    monkeypatch.setattr(download, "SOURCES", {url: files})
    (tmp_path / "netrc").write_text("default login me password mine")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert data.load_mnist().is_full


@pytest.mark.parametrize("missing", ["certificates", "any folder to write to", "a thread"])
def test_what_is_not_a_fault_of_the_network_is_said(missing, cache, sample_as_mnist, served, monkeypatch, tmp_path):
    url, files, _ = served
    monkeypatch.setattr(download, "SOURCES", {url: files})
    if missing == "certificates":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
        monkeypatch.setattr(download, "SOURCES", {url.replace("http:", "https:"): files})
    elif missing == "any folder to write to":
        cache.write_text("a file where a folder should be")
        monkeypatch.setattr(download.tempfile, "tempdir", str(tmp_path / "none"))
    else:  # as where a container has as many as it may have; the server, in this process, has those it needs

        def start(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(download.threading, "Thread", type("Thread", (threading.Thread,), {"start": start}))
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
    assert said.startswith("5,000-digit sample") and time.monotonic() - start < download.SILENCE_SECONDS + 10


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


@pytest.mark.parametrize("missing", [{"y_test"}, set()], ids=["an array is missing", "an array is wrong"])
def test_no_variable_is_blamed_for_a_file_that_was_downloaded(missing, cache, served, arrays, monkeypatch):
    url, _, folder = served
    np.savez(folder / "mnist.npz", **{name: array for name, array in arrays.items() if name not in missing})
    digest = hashlib.sha256((folder / "mnist.npz").read_bytes()).hexdigest()
    monkeypatch.setattr(download, "SOURCES", {url: {"mnist.npz": digest}})
    monkeypatch.delenv("MNIST_DATA", raising=False)
    with pytest.raises(data.DataError, match=r"expected .*\. Try again\.$") as caught:
        data.load_mnist()
    assert "MNIST_NPZ" not in str(caught.value)
