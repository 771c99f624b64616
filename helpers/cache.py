"""A trained model on disk: written whole or not at all, verified before it is read.

An entry is a folder::

    saved_model/       a TensorFlow SavedModel
    history.pickle     the training's history: accuracy and loss, epoch by epoch
    manifest.json      what the model was made from and with, and the SHA-256 of every file

It is written in a folder of its own, ``.<name>.writing``, and moved into its place when it is
whole. Whoever reads or writes does so while the cache is `locked`, so a folder of that kind
that the next one finds is what a killed process has left.

The digests prove that an entry is what was once written, nothing more: a SavedModel
from a stranger is a stranger's program, whatever its manifest says.
"""

import hashlib
import io
import itertools
import json
import math
import os
import pickle
import pickletools
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from helpers.checks import ReadableError, read_at_most

SAVED_MODEL, HISTORY, MANIFEST = "saved_model", "history.pickle", "manifest.json"
MAX_BYTES = 1_000_000  # of a history, and of a manifest
LOCK_SECONDS = 60  # storing a model takes less than one

History = dict[str, list[float]]


class CacheError(ReadableError):
    """An entry cannot be used; the message says why, in a few words."""


class NoEntry(CacheError):
    """There is nothing where the entry would be."""


class OtherEntry(CacheError):
    """There is an entry, but it was made from something else; the message says what has changed."""


@dataclass(frozen=True)
class Entry:
    """A verified entry.

    Attributes
    ----------
    saved_model
        The folder of the SavedModel.
    history
        Accuracies and losses, a float an epoch.
    made_with
        Versions and arithmetic, as `store` was told.
    """

    saved_model: Path
    history: History
    made_with: dict[str, str]


@contextmanager
def locked(root: Path, must: bool = True) -> Iterator[OSError | None]:
    """Keep all other processes from a cache, once what killed ones have left there is cleared away.

    Yields what was in the way; nothing, as a rule.

    Parameters
    ----------
    root
        The folder with all entries, which stand in it or in a folder of it. A file named ``.lock`` may stay in it.
    must
        Whether it is an error if the folder cannot be locked, because it is read-only or another
        process holds it for too long; otherwise the block is run all the same. Whole entries can
        be loaded then, but nothing may be moved.

    Raises
    ------
    OSError
        If the folder cannot be written to, or another process does not let go of it.
    """
    obstacle = None
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(root / ".lock", timeout=LOCK_SECONDS))
            for writing in [*root.glob(".*.writing"), *root.glob("*/.*.writing")]:
                if not (writing.parent / MANIFEST).exists():  # in an entry it is damage, for whoever loads that one
                    _clear(writing)
        except OSError as error:
            if must:
                raise
            obstacle = error
        yield obstacle


def store(
    folder: Path,
    write_model: Callable[[Path], None],
    history: Mapping[str, list[float]],
    made_from: Mapping[str, Any],
    made_with: Mapping[str, str],
) -> None:
    """Write an entry aside, and put it in its place when it is whole; to be called while `locked`.

    Parameters
    ----------
    folder
        Where the entry is to stand; what stands there is replaced.
    write_model
        Writes the SavedModel to the folder it is given.
    history
        Accuracies and losses, a float an epoch.
    made_from
        All that decides what comes out of the training, fit for JSON; `load` compares it.
    made_with
        Versions and arithmetic: recorded, not compared.

    Raises
    ------
    OSError
        If something cannot be written. `folder` is then as it was.
    CacheError
        If `history` is none that could be read again, likewise.
    """
    writing = folder.with_name(f".{folder.name}.writing")
    new, old = writing / "new", writing / "old"
    try:
        new.mkdir(parents=True)
        write_model(new / SAVED_MODEL)
        (new / HISTORY).write_bytes(pickle.dumps(dict(history)))
        read_history(new / HISTORY)
        manifest = {"made_from": made_from, "made_with": made_with, "sha256": _digests(new)}
        (new / MANIFEST).write_bytes(_sealed(manifest))
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        _clear(writing)


def _clear(writing: Path) -> None:
    """Remove what is left of storing an entry. If it ended before the new one was in place, the old one goes back."""
    folder = writing.with_name(writing.name.removeprefix(".").removesuffix(".writing"))
    if (writing / "old").exists() and not folder.exists():
        (writing / "old").rename(folder)
    shutil.rmtree(writing, ignore_errors=True)


def load(folder: Path, made_from: Mapping[str, Any]) -> Entry:
    """Verify every file of an entry, then read its history.

    Parameters
    ----------
    folder
        The entry's folder.
    made_from
        What the model must have been made from.

    Raises
    ------
    NoEntry, OtherEntry
        If there is no entry, or it was made from something else.
    CacheError
        If any of its files is missing, changed, or not one of its own.
    """
    manifest = _read_manifest(folder)
    if changed := changes(folder, made_from):
        raise OtherEntry(", ".join(changed))
    try:
        _verify(folder, manifest["sha256"])
    except OSError as error:
        raise CacheError(f"damaged: {Path(error.filename or folder).name} cannot be read ({error.strerror})") from None
    return Entry(folder / SAVED_MODEL, read_history(folder / HISTORY), manifest["made_with"])


# Of other files in an entry, such as a file manager leaves there, nothing comes.
_READ_BY_TENSORFLOW = re.compile(rf"{SAVED_MODEL}/(saved_model\..*|fingerprint\.pb|keras_metadata\.pb|variables/variables\..*|assets.*/.*)")


def _verify(folder: Path, expected: Mapping[str, str]) -> None:
    found = _files(folder)
    for name in sorted(expected.keys() | set(found)):
        if name not in found:
            raise CacheError(f"damaged: {name} is missing")
        if name not in expected and _READ_BY_TENSORFLOW.fullmatch(name):
            raise CacheError(f"damaged: {name} does not belong to it")
    for name in expected:
        if _digest(folder / name) != expected[name]:
            raise CacheError(f"damaged: {name} has changed")


def changes(folder: Path, made_from: Mapping[str, Any]) -> list[str]:
    """What has changed since an entry was made, each as in 'epochs changed from 5 to 3'.

    Only the manifest is looked at, so an empty list does not promise that `load` succeeds.

    Raises
    ------
    CacheError
        If there is no entry, or its manifest cannot be read.
    """
    then = _read_manifest(folder)["made_from"]
    return [
        _in_words(key, then.get(key), made_from.get(key))
        for key in [*made_from, *(key for key in then if key not in made_from)]
        if then.get(key) != made_from.get(key)
    ]


def set_aside(folder: Path, to: Path) -> Path:
    """Move an entry that cannot be used into another folder, and return its new path there; while `locked`.

    Raises
    ------
    OSError
        If it cannot be moved; it is then still in its place.
    """
    to.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1)
    while (target := to / f"{folder.name}.damaged-{next(numbers)}").exists():
        pass
    return folder.rename(target)


def fingerprint(made_from: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that differ, in all likelihood, when anything in `made_from` does."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:8]


def read_history(path: Path) -> History:
    """Read a pickled history without running anything that the pickle says.

    Parameters
    ----------
    path
        A pickle, of any protocol, of a dict with text keys, each holding an equally long,
        non-empty list of finite floats.

    Raises
    ------
    CacheError
        If the file holds anything else, or is larger than a megabyte.
    """
    try:
        content = read_at_most(path, MAX_BYTES)
        _check_opcodes(content)
        history = _HistoryUnpickler(io.BytesIO(content)).load()
        _check_history(history)
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError,
            IndexError, KeyError, OverflowError, MemoryError, RecursionError) as error:  # fmt: skip
        what = getattr(error, "strerror", None) or error  # the system's errors name the whole path
        raise CacheError(f"damaged: {path.name} is no training history ({what})") from None
    return history


# All that pickle, in any protocol, needs for dicts, lists, strings and floats.
_MAKE_CONTAINER = frozenset("EMPTY_DICT DICT EMPTY_LIST LIST".split())
_MAKE_FLOAT = frozenset("FLOAT BINFLOAT".split())
_REMEMBER = frozenset("PUT BINPUT LONG_BINPUT".split())
_OTHERS = frozenset(
    "PROTO FRAME STOP MARK APPEND APPENDS SETITEM SETITEMS UNICODE SHORT_BINUNICODE BINUNICODE "
    "MEMOIZE GET BINGET LONG_BINGET".split()
)


def _check_opcodes(content: bytes) -> None:
    """Refuse a pickle with opcodes that no history needs, with more after its end, or that would take much more memory than its bytes.

    What comes after its end is looked for here, since an unpickler reads a frame, of whatever length, as a whole.
    Ten bytes can ask for a memo of gigabytes; a megabyte of empty lists would take sixty. In a
    history the memo's places are numbered one by one, and each list holds a float at least.
    """
    counts: Counter[str] = Counter()
    last = None
    for opcode, argument, place in pickletools.genops(content):
        if opcode.name not in _MAKE_CONTAINER | _MAKE_FLOAT | _REMEMBER | _OTHERS:
            raise ValueError(f"opcode {opcode.name}")
        if opcode.name in _REMEMBER and argument is not None and not 0 <= argument < len(content):
            raise ValueError(f"opcode {opcode.name} with place {argument}")
        counts[opcode.name] += 1
        last = place
    if last != len(content) - 1:
        raise ValueError("more bytes after its end")
    if sum(counts[name] for name in _MAKE_CONTAINER) > 1 + sum(counts[name] for name in _MAKE_FLOAT):
        raise ValueError("more dicts and lists than floats to fill them")


class _HistoryUnpickler(pickle.Unpickler):
    """Refuses everything that could name code, whichever opcode asks for it."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for a persistent object")


def _check_history(history: Any) -> None:
    if type(history) is not dict or not history:
        raise ValueError("expected a dict with at least one key")
    for key, values in history.items():
        if type(key) is not str or type(values) is not list or not values:
            raise ValueError("expected text keys, each with a list of floats")
        if not all(type(value) is float and math.isfinite(value) for value in values):
            raise ValueError(f"expected finite floats for {key!r}")
    if len({len(values) for values in history.values()}) > 1:
        raise ValueError("expected lists of one length")


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not os.path.lexists(folder):
        raise NoEntry("no cached model")
    try:
        content = read_at_most(folder / MANIFEST, MAX_BYTES)
        manifest = json.loads(content)
        del manifest["seal"]
        if not all(isinstance(manifest[key], dict) for key in ("made_from", "made_with", "sha256")):
            raise ValueError
        intact = _sealed(manifest) == content and not (folder / MANIFEST).is_symlink()
    except FileNotFoundError:
        raise CacheError(f"damaged: {MANIFEST} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise CacheError(f"damaged: {MANIFEST} is no manifest") from None
    if not intact:
        raise CacheError(f"damaged: {MANIFEST} has changed")
    return manifest


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it stands in its file, with its own SHA-256 at its end: no byte of it can change unnoticed."""
    seal = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return json.dumps({**manifest, "seal": seal}, indent=2).encode() + b"\n"


def _files(folder: Path) -> list[str]:
    """Paths, in an entry, of all that is in it but folders and the manifest."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in an entry but the manifest, by its path in the entry."""
    return {name: _digest(folder / name) for name in _files(folder)}


def _digest(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "no regular file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_words(key: str, before: Any, after: Any) -> str:
    brief = all(len(str(value)) <= 20 for value in (before, after))
    return f"{key} changed from {before} to {after}" if brief else f"{key} changed"
