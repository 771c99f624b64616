"""A trained model on disk: written whole or not at all, verified before it is read.

An entry is a folder::

    saved_model/       a TensorFlow SavedModel
    history.pickle     the training's history: accuracy and loss, epoch by epoch, in the format
                       that the article's cache has
    manifest.json      the training's inputs (what was asked for) and environment (versions and
                       arithmetic), and the SHA-256 of every file

It is written to a temporary folder, ``.<name>.writing``, and renamed when it is whole. The digests
prove that an entry is what was once written, nothing more: a SavedModel from a stranger is a
stranger's program.
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

from helpers.errors import ReadableError, read_at_most

SAVED_MODEL = "saved_model"
HISTORY = "history.pickle"
MANIFEST = "manifest.json"
MAX_HISTORY_BYTES = 64 * 1024
MAX_MANIFEST_BYTES = 1_000_000
LOCK_SECONDS = 60  # storing a model takes less than one
PROTOCOL = 4
# All that pickle writes for a dict of lists of floats. None of these can import or call anything,
# or ask for much memory.
OPCODES = set(
    "PROTO FRAME STOP MARK MEMOIZE EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS "
    "SHORT_BINUNICODE BINUNICODE BINFLOAT".split()
)
# What TensorFlow reads of an entry. Other files, such as a file manager leaves there, do no harm.
READ_BY_TENSORFLOW = re.compile(
    rf"{SAVED_MODEL}/(saved_model\..*|fingerprint\.pb|keras_metadata\.pb"
    r"|variables/variables\..*|assets.*/.*)"
)
History = dict[str, list[float]]
Inputs = Mapping[str, Any]


class CacheError(ReadableError):
    """An entry cannot be used; the message says why, in a few words."""


class EntryNotFound(CacheError):
    """There is nothing where the entry would be."""


class EntryMismatch(CacheError):
    """There is an entry of other inputs; the message says what has changed."""


@dataclass(frozen=True)
class Entry:
    """A verified entry: the folder of its SavedModel, and what `store` was given with it."""

    saved_model: Path
    history: History
    environment: dict[str, str]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other processes out of a cache, and clear away what killed processes have left there.

    Raises
    ------
    OSError
        If the folder cannot be made, locked or written to.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock", timeout=LOCK_SECONDS):
        for temporary in [*root.glob(".*.writing"), *root.glob("*/.*.writing")]:
            # Such folders stand in models/ and models/local/. The second pattern also fits those inside
            # an entry such as models/dense/, which aren't ours to remove.
            if not (temporary.parent / MANIFEST).exists():
                _clear(temporary)
        yield


def store(
    folder: Path,
    write_model: Callable[[Path], None],
    history: History,
    inputs: Inputs,
    environment: dict[str, str],
) -> None:
    """Write an entry, in place of any that is there; call this while the cache is `locked`.

    If that fails, the folder is unchanged.

    Parameters
    ----------
    folder
        Where the entry is to be.
    write_model
        Writes the SavedModel to the folder that it is given.
    history
        Lists of floats by name, all of the same length: one float per epoch.
    inputs
        What `load` compares; fit for JSON.
    environment
        Versions and arithmetic; kept, but not compared.

    Raises
    ------
    CacheError
        If the history could not be read again.
    OSError
        If something cannot be written; and whatever `write_model` raises.
    """
    temporary = folder.with_name(f".{folder.name}.writing")
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir(parents=True)
        write_model(new / SAVED_MODEL)
        (new / HISTORY).write_bytes(pickle.dumps(history, PROTOCOL))
        read_history(new / HISTORY)
        digests = {name: _digest(new / name) for name in _files(new)}
        manifest = {"inputs": inputs, "environment": environment, "sha256": digests}
        (new / MANIFEST).write_bytes(_sealed(manifest))
        # No single step replaces a full folder. If this process is killed between these two, the
        # next one that locks the cache finds `old`, and `_clear` puts it back.
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        _clear(temporary)


def load(folder: Path, inputs: Inputs) -> Entry:
    """Verify every file of an entry, and read it.

    Raises
    ------
    EntryNotFound
        If there is none.
    EntryMismatch
        If it was made from other inputs.
    CacheError
        If it is damaged.
    """
    manifest = _read_manifest(folder)
    changed = _differences(manifest["inputs"], inputs)
    if changed:
        raise EntryMismatch(", ".join(changed))
    found, expected = _files(folder), manifest["sha256"]
    for name in sorted({*found, *expected}):
        if name not in found:
            raise CacheError(f"damaged: {name} is missing")
        if name not in expected and READ_BY_TENSORFLOW.fullmatch(name):
            raise CacheError(f"damaged: {name} does not belong to it")
        if name in expected and _digest(folder / name) != expected[name]:
            raise CacheError(f"damaged: {name} has changed")
    return Entry(folder / SAVED_MODEL, read_history(folder / HISTORY), manifest["environment"])


def changes(folder: Path, inputs: Inputs) -> list[str]:
    """Say how these inputs differ from an entry's, as in 'epochs changed from 5 to 3'.

    Raises
    ------
    EntryNotFound, CacheError
        If there is no entry, or its manifest is damaged.
    """
    return _differences(_read_manifest(folder)["inputs"], inputs)


def set_aside(folder: Path, to: Path) -> Path:
    """Move an entry that cannot be used into another folder; call this while `locked`.

    Returns
    -------
    Where it is now.
    """
    to.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        target = to / f"{folder.name}.damaged-{number}"
        if not target.exists():
            break
    return folder.rename(target)


def fingerprint(inputs: Inputs) -> str:
    """Return eight hexadecimal digits that differ, in all likelihood, when any input does."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]


def read_history(path: Path) -> History:
    """Read a pickled history without running anything that it may hold.

    Raises
    ------
    CacheError
        If it is no history, or not as `store` writes one.
    """
    try:
        content = read_at_most(path, MAX_HISTORY_BYTES)
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name not in OPCODES:
                raise ValueError(f"opcode {opcode.name}")
        history = pickle.loads(content)
        if not _is_history(history):
            expected = "a dict of text keys, each with an equally long list of finite floats"
            raise ValueError(f"expected {expected}")
        # A different pickle could give the same history, and carry more bytes behind its end.
        if pickle.dumps(history, PROTOCOL) != content:
            raise ValueError("expected the very bytes that this project writes")
        # For what is no number, `isfinite` raises an error, which is caught below.
        if not all(map(math.isfinite, itertools.chain(*history.values()))):
            raise ValueError("a value is not finite")
    except Exception as error:  # an unpickler may raise any
        what = getattr(error, "strerror", None) or error  # an OSError's own text has the path in it
        raise CacheError(f"damaged: {path.name} is no training history ({what})") from None
    return history


def _is_history(history: Any) -> bool:
    """Whether this is a dict from texts to equally long lists that are not empty."""
    if not isinstance(history, dict) or not all(isinstance(each, list) for each in history.values()):
        return False
    key_types = {type(key) for key in history}
    lengths = {len(values) for values in history.values()}
    return key_types == {str} and len(lengths) == 1 and 0 not in lengths


def _differences(before: Inputs, after: Inputs) -> list[str]:
    """Say what has changed, as in 'epochs changed from 5 to 3', with values where they are short."""
    said = []
    for key in {**after, **before}:
        if before.get(key) != after.get(key):
            old, new = str(before.get(key)), str(after.get(key))
            is_short = max(len(old), len(new)) <= 20
            said.append(f"{key} changed" + (f" from {old} to {new}" if is_short else ""))
    return said


def _clear(temporary: Path) -> None:
    """Remove a temporary folder. If no new entry has replaced the old one, put that back."""
    name = temporary.name.removeprefix(".").removesuffix(".writing")
    folder, old = temporary.with_name(name), temporary / "old"
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(temporary, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Read an entry's manifest without its seal, or raise a CacheError."""
    if not (folder.exists() or folder.is_symlink()):  # a broken link is there, and is damage
        raise EntryNotFound("no cached model")
    try:
        content = read_at_most(folder / MANIFEST, MAX_MANIFEST_BYTES)
        manifest = json.loads(content)
        del manifest["seal"]
        if not all(isinstance(manifest[key], dict) for key in ("inputs", "environment", "sha256")):
            raise ValueError
        if _sealed(manifest) != content or (folder / MANIFEST).is_symlink():
            raise CacheError(f"damaged: {MANIFEST} has changed")
    except FileNotFoundError:
        raise CacheError(f"damaged: {MANIFEST} is missing") from None
    except OSError as error:
        raise CacheError(f"damaged: {MANIFEST} cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CacheError(f"damaged: {MANIFEST} is no manifest") from None
    return manifest


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest's file, with a seal at its end: the SHA-256 of the rest."""
    seal = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    return json.dumps({**manifest, "seal": seal}, indent=2).encode() + b"\n"


def _files(folder: Path) -> list[str]:
    """List everything in an entry but folders and the manifest, by its path in the entry."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix() for path in paths}
    return sorted(names - {MANIFEST})


def _digest(path: Path) -> str:
    """Return a file's SHA-256; of a link, a folder or a pipe, a text that is no SHA-256."""
    if path.is_symlink() or not path.is_file():
        return "no regular file"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CacheError(f"damaged: {path.name} cannot be read ({error.strerror})") from None
