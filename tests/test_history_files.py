"""Histories that a stranger made, thousands of them: none runs, takes much memory, or passes for one."""

import math
import pickle
import pickletools
import random
import sys
import tracemalloc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import cache

HISTORY = {"accuracy": [0.9, 0.95], "val_accuracy": [0.91, 0.94]}
MAX_MEMORY = 64_000_000
# In a pickle, code is run by way of something looked up by its name, and Python reports each such look-up.
looked_up = []
sys.addaudithook(lambda event, arguments: looked_up.append(arguments) if event == "pickle.find_class" else None)


@pytest.fixture
def read(tmp_path):
    """Read a history from these bytes: what comes of it is one, or None for a CacheError that names the file."""
    path = tmp_path / "history.pickle"

    def read(content):
        path.write_bytes(content)
        looked_up.clear()
        tracemalloc.start()
        try:
            history = cache.read_history(path)
        except cache.CacheError as error:
            history, refusal = None, str(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert not looked_up and peak < MAX_MEMORY
        if history is None:
            assert refusal.startswith("damaged: history.pickle is no training history (")
            return None
        assert type(history) is dict and all(type(key) is str for key in history)
        assert all(type(values) is list and values for values in history.values())
        assert all(type(each) is float and math.isfinite(each) for values in history.values() for each in values)
        assert len({len(values) for values in history.values()}) == 1
        return history

    return read


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
HISTORIES = st.integers(1, 6).flatmap(
    lambda epochs: st.dictionaries(
        st.text(max_size=12), st.lists(FLOATS, min_size=epochs, max_size=epochs), min_size=1, max_size=5
    )
)


@settings(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORIES)
def test_every_history_survives_a_round_trip(read, history):
    assert read(pickle.dumps(history, cache.PROTOCOL)) == history


def test_large_histories_survive_a_round_trip(read):
    """Pickle writes a thousand epochs or keys at a time, and longer texts with an opcode of their own."""
    many = [n / 7 for n in range(1_001)]
    for history in ({"accuracy": many}, {f"key {each}": [each] for each in many}, {"a" * 300: [0.5]}):
        assert read(pickle.dumps(history, cache.PROTOCOL)) == history


NO_HISTORIES = [
    {}, [], {"a": []}, {"a": [1]}, {"a": (1.0,)}, {1: [1.0]}, {"a": [math.nan]}, {"a": [math.inf]}, {"a": [True]},
    {"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}, {"a": {"b": 1.0}}, {"a": ["1"]}, {"a": 1.0}, {0.5: [1.0]},
]  # fmt: skip


@pytest.mark.parametrize("value", NO_HISTORIES, ids=str)
def test_what_is_no_history(read, value):
    assert read(pickle.dumps(value, cache.PROTOCOL)) is None


SHARED = [0.5]
STORED = pickle.dumps(HISTORY, cache.PROTOCOL)
FRAMED = pickle.dumps({"a": [0.5]}, 3)[2:] + b"X" * 100
HOSTILE = {
    "other protocol": pickle.dumps(HISTORY, 5),
    "twice": STORED * 2,
    "more in the frame": b"\x80\x04\x95" + len(FRAMED).to_bytes(8, "little") + FRAMED,
    "something below": STORED[:11] + b"]" + STORED[11:],
    "one list under two keys": pickle.dumps({"a": SHARED, "b": SHARED}, cache.PROTOCOL),
    "function": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "text that says it is large": b"\x80\x04X\xff\xff\xff\xff.",
    "frame that says it is large": b"\x80\x04\x95" + b"\xff" * 7 + b"\x0f}.",
    "place in the memo": b"\x80\x04}r\xff\xff\xff\x00.",
    "lists in lists": b"\x80\x04" + b"]" * 32_000 + b"a" * 31_999 + b".",
    "larger than 64 KB": pickle.dumps({"a": [0.5] * 7_300}, cache.PROTOCOL),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickle(read, content):
    assert read(content) is None


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
ARGUMENTS = [b"", b"\x00", b"\x01", b"1\n", b"\x01\x00\x00\x00", b"\xff\xff\xff\x00", b"\x8c\x01a", b"builtins\nexec\n"]


def mutant(content, chance):
    """The same with one to three changes: a byte left out, replaced or repeated, or an opcode put in."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content) + 1)
        opcode = chance.choice(OPCODES) + chance.choice(ARGUMENTS)
        new = chance.choice([b"", chance.randbytes(1), content[place : place + 9], opcode])
        content = content[:place] + new + content[place + chance.choice([0, 1, len(new)]) :]
    return content


@pytest.mark.thorough
def test_mutants(read):
    """Ten thousand of them. Some are still histories, so that not all are refused for one and the same reason."""
    chance = random.Random(1)
    count = Counter(read(mutant(STORED, chance)) is not None for _ in range(10_000))
    assert count[True] >= 500 and count[False] >= 5_000
