import errno
import os
import random
import re
from pathlib import Path

import pytest

from helpers import cache
from tests import killing

INPUTS = {"name": "dense", "seed": 1, "epochs": 5, "layers": [{"class": "keras.Dense", "units": 512}], "data": "a" * 64}
ENVIRONMENT = {"TensorFlow": "2.21.0"}
HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.91, 0.94]}


def write_model(folder):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")


@pytest.fixture
def entry(tmp_path):
    folder = tmp_path / "dense"
    cache.store(folder, write_model, HISTORY, INPUTS, ENVIRONMENT)
    return folder


def problem(folder, inputs=INPUTS):
    with pytest.raises(cache.CacheError) as error:
        cache.load(folder, inputs)
    return str(error.value)


def test_what_is_stored_is_loaded_and_replaces_whole_entries(entry):
    loaded = cache.load(entry, INPUTS)
    assert loaded.history == HISTORY and loaded.environment == ENVIRONMENT
    assert (loaded.saved_model / "variables" / "data").read_bytes() == b"weights"
    (entry / "saved_model" / "old").write_text("of the entry before")
    cache.store(entry, write_model, {"loss": [1.0]}, INPUTS, ENVIRONMENT)
    assert cache.load(entry, INPUTS).history == {"loss": [1.0]}
    assert not (entry / "saved_model" / "old").exists() and [path.name for path in entry.parent.iterdir()] == ["dense"]


def test_an_entry_that_cannot_be_put_in_place_leaves_the_old_one(entry, monkeypatch):
    rename = Path.rename

    def fail(path, target):
        if target == entry and path.name == "new":
            raise OSError("no space left")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no space left"):
        cache.store(entry, write_model, {"loss": [1.0]}, INPUTS, ENVIRONMENT)
    assert cache.load(entry, INPUTS).history == HISTORY
    assert [path.name for path in entry.parent.iterdir()] == ["dense"]


def test_no_entry_or_one_inputs_something_else(entry):
    assert problem(entry.with_name("conv")) == "no cached model"
    assert problem(entry, INPUTS | {"seed": 2, "layers": []}) == "seed changed from 1 to 2, layers changed"
    assert problem(entry, INPUTS | {"pixels": "raw"}) == "pixels changed from None to raw"
    assert problem(entry, {key: INPUTS[key] for key in ("name", "epochs", "layers", "data")}).startswith("seed")
    assert cache.fingerprint(INPUTS) == cache.fingerprint(dict(reversed(INPUTS.items())))
    assert cache.fingerprint(INPUTS) != cache.fingerprint(INPUTS | {"epochs": 3})


FILES = ["history.pickle", "manifest.json", "saved_model/saved_model.pb", "saved_model/variables/data"]


@pytest.mark.parametrize("name", FILES)
def test_any_single_byte_changed(entry, name):
    """Each byte: another case, the next value, any other value."""
    path, chance = entry / name, random.Random(1)
    content = path.read_bytes()
    for place, byte in enumerate(content):
        for other in {byte ^ 32, byte ^ 1, (byte + chance.randrange(1, 256)) % 256}:
            path.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
            assert re.fullmatch(f"damaged: {name} (has changed|is no manifest)", problem(entry)), (place, other)
    path.write_bytes(content)
    assert cache.load(entry, INPUTS)


DAMAGES = {
    "missing": lambda path, _: path.unlink(),
    "cut off": lambda path, _: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path, _: path.write_bytes(path.read_bytes() + b"\n"),
    "a link": lambda path, elsewhere: path.symlink_to(path.rename(elsewhere)),  # to the very same content
    "a folder": lambda path, _: (path.unlink(), path.mkdir()),
    "a pipe": lambda path, _: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_any_file_that_is(name, damage, entry, tmp_path):
    """It is named, and nothing waits for a pipe."""
    DAMAGES[damage](entry / name, tmp_path / "elsewhere")
    is_missing = not (entry / name).is_file() and (damage != "a pipe" or name == "manifest.json")
    what = "is missing" if is_missing else "(has changed|is no manifest)"
    assert re.fullmatch(f"damaged: {name} {what}", problem(entry))


READ = ["saved_model.cpb", "fingerprint.pb", "assets/more", "variables/variables.data-00001-of-00002"]
NOT_READ = [".DS_Store", "saved_model/.DS_Store", "saved_model/desktop.ini", "more/notes.txt"]


@pytest.mark.parametrize("name", [*(f"saved_model/{name}" for name in READ), *NOT_READ])
def test_any_file_added_is_damage_if_tensorflow_would_read_it(name, entry):
    (entry / name).parent.mkdir(exist_ok=True)
    (entry / name).write_text("more")
    if name in NOT_READ:
        assert cache.load(entry, INPUTS).history and (entry / name).read_text() == "more"
    else:
        assert problem(entry) == f"damaged: {name} does not belong to it"


def test_manifest_that_is_none(entry):
    no_dicts = '{"inputs": 1, "environment": 2, "sha256": 3, "seal": 0}'
    for content in ("", "{", "[]", '{"seal": 0}', no_dicts, "[" * 100_000):
        (entry / "manifest.json").write_text(content)
        assert problem(entry) == "damaged: manifest.json is no manifest"


def test_file_that_cannot_be_read(entry, monkeypatch):
    """As on a bad sector, or where others may not read: it is damage, too."""
    opened = Path.open

    def fail(path, *args):
        if path.name == "data":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *args)

    monkeypatch.setattr(Path, "open", fail)
    assert problem(entry) == "damaged: data cannot be read (Input/output error)"


def test_only_what_storing_leaves_is_cleared_and_not_while_another_process_holds_the_cache(
    entry, tmp_path, monkeypatch
):
    """In an entry, a folder of such a name is somebody's."""
    monkeypatch.setattr(cache, "LOCK_SECONDS", 0.1)
    left, foreign = tmp_path / "local" / ".conv.writing", entry / ".more.writing" / "thesis.txt"
    (left / "new").mkdir(parents=True)
    foreign.parent.mkdir()
    foreign.write_text("mine")
    with cache.FileLock(tmp_path / ".lock"):
        with pytest.raises(OSError), cache.locked(tmp_path):
            pass
        assert left.exists()
    with cache.locked(tmp_path):
        assert not list((tmp_path / "local").iterdir())
        assert cache.load(entry, INPUTS).history and foreign.read_text() == "mine"


def test_setting_aside_keeps_what_was_there(tmp_path):
    """A file where the entry would be is somebody's: it is damage to be set aside, not a place to write to."""
    for number in (1, 2):
        (tmp_path / "dense").write_text(f"mine {number}")
        assert problem(tmp_path / "dense") == "damaged: manifest.json is missing"
        aside = cache.set_aside(tmp_path / "dense", to=tmp_path / "local")
        assert (aside.name, aside.read_text()) == (f"dense.damaged-{number}", f"mine {number}")
    assert len(list((tmp_path / "local").iterdir())) == 2


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that start as copies of another")
def test_killed_at_any_moment_of_storing_and_again_of_clearing_up(tmp_path):
    """At each line: the next one finds the old entry or the new one, whole, or none if there was none; and stores."""
    count = killing.outcomes(tmp_path)
    found = ("none, none before", "new, none before", "old, old before", "new, old before")
    assert count.keys() == {f"{each}, {then}" for each in found for then in ("cleared", "killed again")}
    assert sum(count.values()) >= 200 and min(count.values()) >= 5
