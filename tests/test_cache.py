import json
import os
import pickle
import tracemalloc

import pytest

from helpers import cache

MADE_FROM = {"name": "dense", "seed": 1, "epochs": 5, "layers": [{"layer": "Dense", "units": 512}], "data": "a" * 64}
MADE_WITH = {"TensorFlow": "2.21.0"}
HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.91, 0.94]}


def write_model(folder):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")


@pytest.fixture
def entry(tmp_path):
    folder = tmp_path / "dense"
    cache.store(folder, write_model, HISTORY, MADE_FROM, MADE_WITH)
    return folder


def problem(folder, made_from=MADE_FROM):
    with pytest.raises(cache.CacheError) as error:
        cache.load(folder, made_from)
    return str(error.value)


# --- stored and loaded


def test_what_is_stored_is_loaded(entry):
    loaded = cache.load(entry, MADE_FROM)
    assert loaded.history == HISTORY and loaded.made_with == MADE_WITH
    assert (loaded.saved_model / "variables" / "data").read_bytes() == b"weights"


def test_nothing_else_is_left_behind(entry):
    cache.store(entry, write_model, HISTORY, MADE_FROM, MADE_WITH)
    assert [path.name for path in entry.parent.iterdir()] == ["dense"]


def test_storing_replaces_whole_entries(entry):
    (entry / "saved_model" / "old").write_text("of the entry before")
    cache.store(entry, write_model, {"loss": [1.0]}, MADE_FROM, MADE_WITH)
    assert cache.load(entry, MADE_FROM).history == {"loss": [1.0]}


def test_an_entry_that_cannot_be_written_leaves_the_old_one(entry):
    def fail(folder):
        write_model(folder)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        cache.store(entry, fail, {"loss": [1.0]}, MADE_FROM, MADE_WITH)
    assert cache.load(entry, MADE_FROM).history == HISTORY
    assert [path.name for path in entry.parent.iterdir()] == ["dense"]


def test_an_entry_that_cannot_be_put_in_place_leaves_the_old_one(entry, monkeypatch):
    rename = cache.Path.rename

    def fail(path, target):
        if target == entry and not path.name.endswith("-replaced"):
            raise OSError("read-only")
        return rename(path, target)

    monkeypatch.setattr(cache.Path, "rename", fail)
    with pytest.raises(OSError, match="read-only"):
        cache.store(entry, write_model, {"loss": [1.0]}, MADE_FROM, MADE_WITH)
    assert cache.load(entry, MADE_FROM).history == HISTORY
    assert [path.name for path in entry.parent.iterdir()] == ["dense"]


# --- not the entry that is wanted


def test_no_entry(tmp_path):
    assert problem(tmp_path / "dense") == "no cached model"


def test_made_from_something_else(entry):
    assert problem(entry, MADE_FROM | {"epochs": 3}) == "epochs changed from 5 to 3"
    assert problem(entry, MADE_FROM | {"data": "b" * 64}) == "data changed"
    assert problem(entry, MADE_FROM | {"seed": 2, "layers": []}) == "seed changed from 1 to 2, layers changed"
    assert problem(entry, MADE_FROM | {"pixels": "raw"}) == "pixels changed from None to raw"
    assert problem(entry, {key: MADE_FROM[key] for key in ("name", "epochs", "layers", "data")}).startswith("seed")


def test_versions_do_not_count(entry):
    manifest = json.loads((entry / "manifest.json").read_text())
    manifest["made_with"] = {"TensorFlow": "3.0"}
    (entry / "manifest.json").write_text(json.dumps(manifest))
    assert cache.load(entry, MADE_FROM).made_with == {"TensorFlow": "3.0"}


def test_fingerprint():
    assert cache.fingerprint(MADE_FROM) == cache.fingerprint(dict(reversed(MADE_FROM.items())))
    assert cache.fingerprint(MADE_FROM) != cache.fingerprint(MADE_FROM | {"epochs": 3})


# --- damage

FILES = ["history.pickle", "saved_model/saved_model.pb", "saved_model/variables/data"]


@pytest.mark.parametrize("name", FILES)
def test_changed_byte(entry, name):
    content = bytearray((entry / name).read_bytes())
    content[len(content) // 2] ^= 1
    (entry / name).write_bytes(content)
    assert problem(entry) == f"damaged: {name} has changed"


@pytest.mark.parametrize("name", FILES)
def test_truncated_file(entry, name):
    content = (entry / name).read_bytes()
    (entry / name).write_bytes(content[:-1])
    assert problem(entry) == f"damaged: {name} has changed"


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_missing_file(entry, name):
    (entry / name).unlink()
    assert problem(entry) == f"damaged: {name} is missing"


def test_added_file(entry):
    (entry / "saved_model" / "assets").mkdir()
    (entry / "saved_model" / "assets" / "more").write_text("more")
    assert problem(entry) == "damaged: saved_model/assets/more does not belong to it"


def test_history_of_another_run(entry, tmp_path):
    cache.store(tmp_path / "other", write_model, {"accuracy": [0.1]}, MADE_FROM | {"seed": 2}, MADE_WITH)
    os.replace(tmp_path / "other" / "history.pickle", entry / "history.pickle")
    assert problem(entry) == "damaged: history.pickle has changed"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"made_from": {}}', '{"made_from": 1, "made_with": 2, "sha256": 3}'])
def test_manifest_that_is_none(entry, content):
    (entry / "manifest.json").write_text(content)
    assert problem(entry) == "damaged: manifest.json is no manifest"


def test_setting_aside_keeps_what_was_there(entry, tmp_path):
    aside = tmp_path / "local"
    for number in (1, 2):
        cache.set_aside(entry, to=aside)
        assert (aside / f"dense.damaged-{number}" / "saved_model" / "saved_model.pb").read_bytes() == b"graph"
        cache.store(entry, write_model, HISTORY, MADE_FROM, MADE_WITH)


# --- histories


class Stranger:
    """Runs code when it is unpickled the ordinary way."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a stranger ran code')",)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_history_of_any_modern_protocol(tmp_path, protocol):
    path = tmp_path / "history.pickle"
    path.write_bytes(pickle.dumps(HISTORY, protocol))
    assert cache.read_history(path) == HISTORY


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_stranger_is_not_let_in(tmp_path, protocol):
    path = tmp_path / "history.pickle"
    path.write_bytes(pickle.dumps({"accuracy": [Stranger()]}, protocol))
    with pytest.raises(cache.CacheError, match="history.pickle is no training history"):
        cache.read_history(path)


@pytest.mark.parametrize(
    "history",
    [{}, [], {"a": []}, {"a": [1]}, {"a": (1.0,)}, {1: [1.0]}, {"a": [float("nan")]}, {"a": [float("inf")]},
     {"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}, {"a": [True]}, {"a": ["1"]}, {"a": [None]}],
    ids=str,
)  # fmt: skip
def test_what_is_no_history(tmp_path, history):
    path = tmp_path / "history.pickle"
    path.write_bytes(pickle.dumps(history))
    with pytest.raises(cache.CacheError):
        cache.read_history(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"accuracy: 0.9", pickle.dumps(HISTORY)[:-2], pickle.dumps(HISTORY) + b"more",
     b"\x80\x04}r\xff\xff\xff\x0f.", b"\x80\x02\x82\x01.", b"\x80\x04" + b"]" * 100_000 + b"."],
    ids=["empty", "text", "cut", "longer", "huge memo", "extension code", "deep"],
)  # fmt: skip
def test_bytes_that_are_no_history(tmp_path, content):
    path = tmp_path / "history.pickle"
    path.write_bytes(content)
    with pytest.raises(cache.CacheError):
        cache.read_history(path)


def test_short_pickle_takes_little_memory(tmp_path):
    """Ten bytes that have an ordinary unpickler make room for 268 million objects."""
    path = tmp_path / "history.pickle"
    path.write_bytes(b"\x80\x04}r\xff\xff\xff\x0f.")
    tracemalloc.start()
    with pytest.raises(cache.CacheError, match="LONG_BINPUT"):
        cache.read_history(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_large_file_is_not_read(tmp_path):
    path = tmp_path / "history.pickle"
    path.write_bytes(pickle.dumps({"a": [0.5] * 300_000}))
    with pytest.raises(cache.CacheError, match="more than 1,000,000 bytes"):
        cache.read_history(path)
