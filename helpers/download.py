"""Download MNIST: from the first source that gives it, within limits of time and size, to a cache.

pooch verifies the files and keeps the cache. This module decides where they come from and when to
give up, and says why each source failed.
"""

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from helpers.progress import progress_bar

T = TypeVar("T")

# Folders on the web that hold the complete data set: first the one that keras.datasets.mnist
# downloads from, then torchvision's mirror. Each has one .npz file, or four IDX files in the order
# of `data.NAMES`. The digests are in the form that pooch expects.
SOURCES = {
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/": {
        "mnist.npz": "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    },
    "https://ossci-datasets.s3.amazonaws.com/mnist/": {
        "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
}
MAX_BYTES = 64_000_000  # of a file; the largest, mnist.npz, has 11 MB
SILENCE_SECONDS = 5  # until a server answers, and between its answers
DOWNLOAD_SECONDS = 180  # for a file


class UnavailableError(Exception):
    """All sources have failed. The message says how each did."""


class _SourceError(Exception):
    """One source has failed. The message follows the source's name, such as "answered 404"."""


@contextmanager
def downloaded_files() -> Iterator[tuple[str, list[str]]]:
    """Give the files of one source, from the download cache or the web, while the block runs.

    If the cache cannot be used, the files are downloaded into a temporary folder.

    Yields
    ------
    url, paths
        Which of SOURCES they come from, and where each of its files is now.

    Raises
    ------
    UnavailableError
        If all sources fail: the network is to blame, or they are.
    OSError, RuntimeError
        If this machine is to blame. Python raises a RuntimeError if no thread can be started, or if
        a user has no home.
    """
    import pooch  # it takes a moment, and a file that MNIST_NPZ names does not need it

    with ExitStack() as stack:
        try:
            found = _fetch(Path(pooch.os_cache("mnist-digits")))
        # Often the cache is to blame: there is no home, or a disk is full or read-only. If not, as
        # when no thread can be started, the second try raises the error again.
        except (OSError, RuntimeError):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            found = _fetch(Path(folder))
        yield found


def _fetch(cache: Path) -> tuple[str, list[str]]:
    """Return a source and the paths of its files in a folder.

    What is missing there or damaged is downloaded into it.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it would announce each download on stderr
    _remove_leftovers(cache)

    def is_cached(url: str) -> bool:
        return all(os.path.isfile(cache / name) for name in SOURCES[url])

    failures = []
    cached_first = sorted(SOURCES, key=is_cached, reverse=True)
    for url in cached_first:
        fetcher = pooch.create(cache, url, registry=SOURCES[url])
        try:
            # pooch verifies a file before it puts it there, and again whenever it finds it there.
            return url, [fetcher.fetch(name, downloader=_receive) for name in SOURCES[url]]
        except _SourceError as error:
            failures.append(f"{urlsplit(url).hostname} {error}")
        except ValueError:  # pooch raises this if a digest is wrong
            failures.append(f"{urlsplit(url).hostname} sent something else")
    raise UnavailableError(
        "the complete data set is not in the cache and could not be downloaded "
        f"({'; '.join(failures)})"
    )


def _remove_leftovers(cache: Path) -> None:
    """Remove what downloads that were killed have left.

    pooch downloads into a temporary file in the cache, which `tempfile` names tmp and some letters.
    """
    with suppress(OSError):
        for path in cache.glob("tmp*"):
            # A younger file may belong to a download that goes on in another process.
            if time.time() - path.stat().st_mtime > DOWNLOAD_SECONDS:
                path.unlink()


def _receive(url: str, output_file: str, _fetcher: Any) -> None:
    """Download a file under a progress bar. pooch calls this."""
    chunks = _chunks(url)
    first = next(chunks, b"")  # wait for the first bytes before showing a bar
    name = url.rsplit("/", 1)[-1]
    bar = progress_bar(0, name, unit="B", unit_scale=True)
    with open(output_file, "wb") as file, bar as progress:
        for chunk in itertools.chain([first], chunks):
            progress.update(file.write(chunk))


def _chunks(url: str) -> Iterator[bytes]:
    """Yield what a URL sends, within limits of time and size.

    Raises
    ------
    _SourceError
        If the network or the source failed. Whatever else goes wrong keeps its own exception.
    """
    import requests
    import urllib3

    def request() -> requests.Response:
        return requests.get(
            url,
            stream=True,
            timeout=SILENCE_SECONDS,  # to connect, and for each next byte
            headers={"Accept-Encoding": "identity"},  # `read1` below does not decompress
            # Without this, requests would send a password in ~/.netrc, which servers refuse.
            auth=lambda prepared: prepared,
        )

    received = 0
    until = time.monotonic() + DOWNLOAD_SECONDS
    try:
        with _in_time(request, SILENCE_SECONDS) as response:
            response.raise_for_status()
            # Not `iter_content`: it waits for full chunks, which a slow server may never send.
            while chunk := response.raw.read1(2**16):
                yield chunk
                received += len(chunk)
                if received > MAX_BYTES:
                    raise _SourceError("sent too much")
                if time.monotonic() > until:
                    raise TimeoutError
    except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise _SourceError(_in_words(error)) from error


def _in_time(call: Callable[[], T], seconds: float) -> T:
    """Return what a call returns. If it takes too long, raise a TimeoutError and let it go on.

    `requests` limits the wait for each next byte. It limits neither the system's search for a
    host's address, nor the wait for all headers.
    """
    answer = Future[T]()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    # Why not an executor: the process would wait for its threads at the end, as it does not for a
    # daemon. Why not multiprocessing: its semaphores need /dev/shm, which may be read-only.
    threading.Thread(target=work, daemon=True).start()
    return answer.result(seconds)


def _in_words(error: Exception) -> str:
    """Say what went wrong with a source, in a few words that are the same on every machine."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"answered {response.status_code}"
    if "Timeout" in type(error).__name__:  # of Python, requests or urllib3
        return "took too long"
    return f"failed with {type(error).__name__}"
