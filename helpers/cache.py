"""A trained model on disk: written whole or not at all, verified before it is read.

An entry is a folder::

    saved_model/       a TensorFlow SavedModel
    history.pickle     the training's history: accuracy and loss, epoch by epoch
    manifest.json      what the model was made from and with, and the SHA-256 of every file

The digests prove that an entry is what was once written, nothing more: a SavedModel
from a stranger is a stranger's program, whatever its manifest says.
"""

import hashlib
import io
import itertools
import json
import math
import pickle
import pickletools
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAVED_MODEL, HISTORY, MANIFEST = "saved_model", "history.pickle", "manifest.json"
MAX_HISTORY_BYTES = 1_000_000

History = dict[str, list[float]]


class CacheError(Exception):
    """An entry cannot be used; the message says why, in a few words."""


class NoEntry(CacheError):
    """There is nothing where the entry would be."""


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
        Versions and processor, as `store` was told.
    """

    saved_model: Path
    history: History
    made_with: dict[str, str]


def store(
    folder: Path,
    write_model: Callable[[Path], None],
    history: Mapping[str, list[float]],
    made_from: Mapping[str, Any],
    made_with: Mapping[str, str],
) -> None:
    """Write an entry to a temporary folder beside `folder`, and put it in its place when it is whole.

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
        Versions and processor: recorded, not compared.

    Raises
    ------
    OSError
        If something cannot be written. `folder` is then as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    replaced = temporary.with_name(temporary.name + "-replaced")
    try:
        temporary.mkdir()
        write_model(temporary / SAVED_MODEL)
        (temporary / HISTORY).write_bytes(pickle.dumps(dict(history)))
        manifest = {"made_from": made_from, "made_with": made_with, "sha256": _digests(temporary)}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def load(folder: Path, made_from: Mapping[str, Any]) -> Entry:
    """Verify every file of an entry, then read it.

    Parameters
    ----------
    folder
        The entry's folder.
    made_from
        What the model must have been made from.

    Raises
    ------
    CacheError
        If there is no entry, if it was made from something else, or if any of its files is
        missing, changed, or not one of its own.
    """
    manifest = _read_manifest(folder)
    if changed := changes(folder, made_from):
        raise CacheError(", ".join(changed))
    found = _digests(folder)
    for name in sorted(manifest["sha256"].keys() | found.keys()):
        if name not in found:
            raise CacheError(f"damaged: {name} is missing")
        if name not in manifest["sha256"]:
            raise CacheError(f"damaged: {name} does not belong to it")
        if found[name] != manifest["sha256"][name]:
            raise CacheError(f"damaged: {name} has changed")
    return Entry(folder / SAVED_MODEL, read_history(folder / HISTORY), manifest["made_with"])


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


def set_aside(folder: Path, to: Path) -> None:
    """Move an entry that cannot be used into another folder, under a name that is free there."""
    to.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1)
    while (target := to / f"{folder.name}.damaged-{next(numbers)}").exists():
        pass
    folder.rename(target)


def fingerprint(made_from: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that differ, in all likelihood, when anything in `made_from` does."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:8]


def read_history(path: Path) -> History:
    """Read a pickled history without running anything that the pickle says.

    Parameters
    ----------
    path
        A pickle of a dict with text keys, each holding an equally long, non-empty
        list of finite floats.

    Raises
    ------
    CacheError
        If the file holds anything else, or is larger than a megabyte.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_HISTORY_BYTES + 1)
        if len(content) > MAX_HISTORY_BYTES:
            raise ValueError(f"more than {MAX_HISTORY_BYTES:,} bytes")
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name not in _HISTORY_OPCODES:
                raise ValueError(f"opcode {opcode.name}")
        stream = io.BytesIO(content)
        history = _HistoryUnpickler(stream).load()
        if stream.read(1):
            raise ValueError("more bytes after its end")
        _check_history(history)
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError,
            IndexError, KeyError, OverflowError, MemoryError, RecursionError) as error:  # fmt: skip
        raise CacheError(f"damaged: {path.name} is no training history ({error})") from None
    return history


# All that pickle, in any protocol from 2 on, needs for dicts, lists, strings and floats.
# None takes more than a fixed multiple of its bytes in memory, so the cap on the file caps all.
_HISTORY_OPCODES = frozenset(
    "PROTO FRAME STOP MARK EMPTY_DICT EMPTY_LIST APPEND APPENDS SETITEM SETITEMS BINFLOAT "
    "SHORT_BINUNICODE BINUNICODE MEMOIZE BINPUT BINGET".split()
)


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
    if not folder.is_dir():
        raise NoEntry("no cached model")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not all(isinstance(manifest[key], dict) for key in ("made_from", "made_with", "sha256")):
            raise ValueError
    except FileNotFoundError:
        raise CacheError(f"damaged: {MANIFEST} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise CacheError(f"damaged: {MANIFEST} is no manifest") from None
    return manifest


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in an entry but the manifest, by its path in the entry."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (name := path.relative_to(folder).as_posix()) != MANIFEST
    }


def _in_words(key: str, before: Any, after: Any) -> str:
    brief = all(len(str(value)) <= 20 for value in (before, after))
    return f"{key} changed from {before} to {after}" if brief else f"{key} changed"
