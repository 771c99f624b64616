"""A trained model on disk: written whole or not at all, verified before it is read.

An entry is a folder::

    saved_model/       a TensorFlow SavedModel
    history.pickle     the training's history: accuracy and loss, epoch by epoch
    manifest.json      what the model was made from and with, and the SHA-256 of every file

It is written to a temporary folder, ``.<name>.writing``, and renamed when it is whole. The digests prove that an
entry is what was once written, nothing more: a SavedModel from a stranger is a stranger's program.
"""

import hashlib
import itertools
import json
import math
import pickle
import pickletools
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from helpers.checks import ReadableError, read_at_most

SAVED_MODEL, HISTORY, MANIFEST = "saved_model", "history.pickle", "manifest.json"
MAX_HISTORY_BYTES, MAX_MANIFEST_BYTES = 64 * 1024, 1_000_000
LOCK_SECONDS = 60  # storing a model takes less than one
PROTOCOL = 4
# All that pickle writes for a dict of lists of floats. None of these can name code, or ask for much memory.
OPCODES = set(
    "PROTO FRAME STOP MARK MEMOIZE EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS "
    "SHORT_BINUNICODE BINUNICODE BINFLOAT".split()
)
# Other files in an entry, such as a file manager leaves there, do no harm.
READ_BY_TENSORFLOW = re.compile(
    rf"{SAVED_MODEL}/(saved_model\..*|fingerprint\.pb|keras_metadata\.pb|variables/variables\..*|assets.*/.*)"
)
History = dict[str, list[float]]
MadeFrom = Mapping[str, Any]


class CacheError(ReadableError):
    """An entry cannot be used; the message says why, in a few words."""


class EntryNotFound(CacheError):
    """There is nothing where the entry would be."""


class EntryMismatch(CacheError):
    """There is an entry, but it was made from something else; the message says what has changed."""


@dataclass(frozen=True)
class Entry:
    """A verified entry: the folder of its SavedModel, and the rest as `store` was told it."""

    saved_model: Path
    history: History
    made_with: dict[str, str]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other processes out of a cache, and clear away what killed ones left; an OSError if that cannot be done."""
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock", timeout=LOCK_SECONDS):
        for temporary in [*root.glob(".*.writing"), *root.glob("*/.*.writing")]:
            if not (temporary.parent / MANIFEST).exists():  # inside an entry, such a folder is somebody else's
                _clear(temporary)
        yield


def store(
    folder: Path, write_model: Callable[[Path], None], history: History, made_from: MadeFrom, made_with: dict[str, str]
) -> None:
    """Write an entry, in place of any that is there; call this while the cache is `locked`.

    `write_model` writes the SavedModel to the folder it is given; `made_from`, fit for JSON, is what `load` compares.
    If something cannot be written, or `history` could not be read again (a CacheError), `folder` is as it was.
    """
    temporary = folder.with_name(f".{folder.name}.writing")
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir(parents=True)
        write_model(new / SAVED_MODEL)
        (new / HISTORY).write_bytes(pickle.dumps(history, PROTOCOL))
        read_history(new / HISTORY)
        digests = {name: _digest(new / name) for name in _files(new)}
        (new / MANIFEST).write_bytes(_sealed({"made_from": made_from, "made_with": made_with, "sha256": digests}))
        # No single step replaces a full folder. Whoever is killed between these two leaves `old` for `_clear`.
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        _clear(temporary)


def _clear(temporary: Path) -> None:
    """Remove a temporary folder. If no new entry has replaced the old one yet, the old one goes back."""
    folder = temporary.with_name(temporary.name.removeprefix(".").removesuffix(".writing"))
    if (temporary / "old").exists() and not folder.exists():
        (temporary / "old").rename(folder)
    shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path, made_from: MadeFrom) -> Entry:
    """Verify every file of an entry and read it; a CacheError if there is none, it is of something else, or damaged."""
    if changed := changes(folder, made_from):
        raise EntryMismatch(", ".join(changed))
    manifest = _read_manifest(folder)
    found, expected = _files(folder), manifest["sha256"]
    for name in sorted({*found, *expected}):
        if name not in found:
            raise CacheError(f"damaged: {name} is missing")
        if name not in expected and READ_BY_TENSORFLOW.fullmatch(name):
            raise CacheError(f"damaged: {name} does not belong to it")
        if name in expected and _digest(folder / name) != expected[name]:
            raise CacheError(f"damaged: {name} has changed")
    return Entry(folder / SAVED_MODEL, read_history(folder / HISTORY), manifest["made_with"])


def changes(folder: Path, made_from: MadeFrom) -> list[str]:
    """What differs from what an entry's manifest says, as in 'epochs changed from 5 to 3'; CacheErrors as in `load`."""
    before, after = _read_manifest(folder)["made_from"], made_from
    pairs = {key: (str(before.get(key)), str(after.get(key))) for key in {**after, **before}}
    return [
        f"{key} changed from {old} to {new}" if max(len(old), len(new)) <= 20 else f"{key} changed"
        for key, (old, new) in pairs.items()
        if before.get(key) != after.get(key)
    ]


def set_aside(folder: Path, to: Path) -> Path:
    """Move an entry that cannot be used into another folder, and return its new path; call this while `locked`."""
    to.mkdir(parents=True, exist_ok=True)
    targets = (to / f"{folder.name}.damaged-{number}" for number in itertools.count(1))
    return folder.rename(next(target for target in targets if not target.exists()))


def fingerprint(made_from: MadeFrom) -> str:
    """Eight hexadecimal digits that differ, in all likelihood, when anything in `made_from` does."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:8]


def read_history(path: Path) -> History:
    """Read a pickled history without running anything; a CacheError if it is none, or not as `store` writes it."""
    try:
        content = read_at_most(path, MAX_HISTORY_BYTES)
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name not in OPCODES:
                raise ValueError(f"opcode {opcode.name}")
        history = pickle.loads(content)
        kinds, lengths = {*map(type, history.values())}, {*map(len, history.values())}
        is_history = {*map(type, history)} == {str} and kinds == {list} and len(lengths) == 1 and 0 not in lengths
        # There are other pickles of a history, such as one with more after its end, but `store` writes none of them.
        if not is_history or pickle.dumps(history, PROTOCOL) != content:
            raise ValueError("expected a dict of text keys, each with an equally long list of finite floats")
        if not all(map(math.isfinite, itertools.chain(*history.values()))):  # an error, if it is no number
            raise ValueError("a value is not finite")
    except Exception as error:  # an unpickler may raise any
        what = getattr(error, "strerror", None) or error  # not the whole path
        raise CacheError(f"damaged: {path.name} is no training history ({what})") from None
    return history


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not (folder.exists() or folder.is_symlink()):
        raise EntryNotFound("no cached model")
    try:
        content = read_at_most(folder / MANIFEST, MAX_MANIFEST_BYTES)
        manifest = json.loads(content)
        del manifest["seal"]
        if not all(isinstance(manifest[key], dict) for key in ("made_from", "made_with", "sha256")):
            raise ValueError
        if _sealed(manifest) != content or (folder / MANIFEST).is_symlink():
            raise CacheError(f"damaged: {MANIFEST} has changed")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else "is no manifest"
        raise CacheError(f"damaged: {MANIFEST} {what}") from None
    return manifest


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest's file: with its own SHA-256 at the end, so that no byte of it can change unnoticed."""
    seal = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return json.dumps({**manifest, "seal": seal}, indent=2).encode() + b"\n"


def _files(folder: Path) -> list[str]:
    """Paths, relative to an entry, of everything in it but folders and the manifest."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)


def _digest(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "no regular file"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CacheError(f"damaged: {path.name} cannot be read ({error.strerror})") from None
