"""Histories that a stranger made: thousands of them, of every protocol. None runs, takes much memory, or passes for one."""

import math
import os
import pickle
import pickletools
import random
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import cache

resource = pytest.importorskip("resource", reason="without it, memory cannot be limited")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
MEMORY = 64_000_000
MAX_EXAMPLES = 2_300  # from each come a pickle and seven mutants
# What CPython reports of a program that does more than compute.
DEEDS = (
    "builtins.breakpoint", "builtins.input", "code.", "compile", "cpython.", "ctypes.", "exec", "fcntl.", "ftplib.", "http.",
    "import", "marshal.", "mmap.", "open", "os.", "pickle.", "pty.", "shutil.", "signal.", "socket.",
    "sqlite3.", "subprocess.", "sys.", "tempfile.", "urllib.", "webbrowser.",
)  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")  # pickletools, of Python 2's strings
deeds: list[str] | None = None
reader = 0


def listen(event, arguments):
    if deeds is not None and event.startswith(DEEDS) and threading.get_ident() == reader:
        deeds.append(f"open {arguments[0]}" if event == "open" else event)


sys.addaudithook(listen)  # it cannot be removed again


@contextmanager
def nothing_runs_and_little_memory_is_taken(path):
    """But for opening this file, no deed; and where Linux can be told, no more than this memory."""
    global deeds, reader
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, limits[1]))
    reader = threading.get_ident()  # what other threads do is not the pickle's doing
    seen = deeds = []
    try:
        yield
    finally:
        deeds = None
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert set(seen) <= {f"open {path}"}


@pytest.fixture
def read(tmp_path):
    """Read a history from these bytes: what comes of it is one, or it is a CacheError that names the file."""
    path = tmp_path / "history.pickle"
    for protocol in PROTOCOLS:  # Python imports what it decodes text with when it is first needed
        path.write_bytes(pickle.dumps({"é": [0.5]}, protocol))
        cache.read_history(path)

    def read(content):
        path.write_bytes(content)
        with nothing_runs_and_little_memory_is_taken(path):
            history = refusal = None
            try:
                history = cache.read_history(path)
            except cache.CacheError as error:
                refusal = error
        if refusal:
            assert "history.pickle" in str(refusal) and not isinstance(refusal.__context__, MemoryError)
            return None
        assert type(history) is dict and history and all(type(key) is str for key in history)
        assert all(type(values) is list and values for values in history.values())
        assert all(type(value) is float and math.isfinite(value) for values in history.values() for value in values)
        assert len({len(values) for values in history.values()}) == 1
        return history

    return read


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_may_come_after_the_pickle(read, protocol):
    """Not even where a frame covers it, which the unpickler takes in as a whole."""
    pickled = pickle.dumps({"a": [0.5]}, protocol)
    assert read(pickled) and read(pickled + b"X") is None and read(pickled * 2) is None
    inner = pickle.dumps({"a": [0.5]}, 3)[2:] + b"X" * 100
    assert read(b"\x80\x04\x95" + len(inner).to_bytes(8, "little") + inner) is None


def each_example(count):
    """As many examples as that, the same in each run."""
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
HISTORIES = st.integers(1, 6).flatmap(
    lambda epochs: st.dictionaries(st.text(max_size=12), st.lists(FLOATS, min_size=epochs, max_size=epochs), min_size=1, max_size=5)
)


@each_example(300)
@given(history=HISTORIES)
@pytest.mark.thorough
def test_every_history_survives_a_round_trip(read, history):
    for protocol in PROTOCOLS:
        assert read(pickle.dumps(history, protocol)) == history


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_histories_survive_a_round_trip(read, protocol):
    """Many keys, many epochs, and one list under two keys."""
    shared = [0.5]
    keys, epochs = {f"key {n}": [n / 7] for n in range(5_000)}, {"accuracy": [n / 7 for n in range(40_000)]}
    for history in (keys, epochs, {"a": shared, "b": shared}):
        assert read(pickle.dumps(history, protocol)) == history


class Stranger:
    """Runs code when it is unpickled the ordinary way."""

    def __init__(self, function, arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def ran(*arguments):
    raise AssertionError("a stranger's code ran")


CALLS = st.sampled_from([(ran, ("x",)), (exec, ("raise SystemExit",)), (print, ("ran",)), (open, ("ran", "w")), (bytearray, (2**30,))])
STRANGERS = st.builds(lambda call: Stranger(*call), CALLS)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), st.complex_numbers(), STRANGERS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4), st.tuples(inner, inner),
        st.frozensets(st.integers(), max_size=3),
    ),
    max_leaves=10,
)  # fmt: skip
OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
# Arguments that have done harm: large counts and places, and names of code.
ARGUMENTS = [
    b"", b"\x00", b"\x01", b"\xff" * 4, b"\xff\xff\xff\x0f", b"\xff" * 8, b"\x00" * 8, b"0\n", b"268435455\n", b"cos\nsystem\n",
    b"nan\n", b"1e999\n",
]  # fmt: skip


def mutant(content, chance):
    """The same with a few bytes changed, removed, doubled, or replaced by an opcode with an argument."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content) + 1)
        kind = chance.randrange(5)
        if kind == 0:
            content[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del content[place : place + chance.randint(1, 8)]
        elif kind == 2:
            content[place:place] = content[place : place + chance.randint(1, 16)]
        else:
            content[place : place + chance.randrange(2)] = chance.choice(OPCODES) + chance.choice(ARGUMENTS)
    return bytes(content)


COUNT = {"tried": 0, "read": 0}


def try_it_and_its_mutants(read, content, seed):
    chance = random.Random(seed)
    for candidate in (content, *(mutant(content, chance) for _ in range(7))):
        COUNT["tried"] += 1
        COUNT["read"] += read(candidate) is not None


@each_example(MAX_EXAMPLES)
@given(value=HISTORIES | VALUES, protocol=st.sampled_from(PROTOCOLS), seed=st.integers(0, 2**32))
@pytest.mark.thorough
def test_pickle_made_by_a_stranger(read, value, protocol, seed):
    try_it_and_its_mutants(read, pickle.dumps(value, protocol), seed)


@each_example(MAX_EXAMPLES // 7)
@given(
    opcodes=st.lists(st.tuples(st.sampled_from(OPCODES), st.sampled_from(ARGUMENTS) | st.binary(max_size=6)), max_size=12),
    protocol=st.sampled_from(PROTOCOLS), seed=st.integers(0, 2**32),
)  # fmt: skip
@pytest.mark.thorough
def test_opcodes_in_any_order(read, opcodes, protocol, seed):
    try_it_and_its_mutants(read, b"\x80" + bytes([protocol]) + b"".join(map(b"".join, opcodes)) + b".", seed)


@pytest.mark.thorough
def test_so_many_were_tried():
    """And some of the mutants are still histories, so that not all was refused for one and the same reason."""
    if not COUNT["tried"]:
        pytest.skip("goes with the tests before it")
    assert COUNT["tried"] >= 20_000 and COUNT["read"] >= 1_000


GREEDY = {
    "empty lists": b"\x80\x02" + b"]" * 999_990 + b".",
    "empty dicts": b"\x80\x02" + b"}" * 999_990 + b".",
    "empty lists, as text": b"(l" * 499_990 + b".",
    "lists in lists": b"\x80\x02" + b"]" * 499_990 + b"a" * 499_990 + b".",
    "lists with floats": b"\x80\x02" + b"]G" + bytes(8) + b"]G" * 90_000 + bytes(8) + b".",
    "marks": b"\x80\x02" + b"(" * 999_990 + b".",
    "floats": b"\x80\x02]" + (b"G" + bytes(8) + b"a") * 99_990 + b".",
    "floats and lists": b"\x80\x02" + (b"]G" + bytes(8)) * 99_990 + b".",
    "floats as text": b"(" + b"F0\n" * 300_000 + b"l.",
    "floats and lists as text": b"\x80\x02" + b"]F0\n" * 249_990 + b".",
    "floats and dicts as text": b"\x80\x02" + b"}F0\n" * 249_990 + b".",
    "texts": b"\x80\x02" + b"\x8c\x02ab" * 249_990 + b".",
    "short texts": b"\x80\x02" + b"\x8c\x02\xc3\xbf" * 249_990 + b".",
    "text of a megabyte": b"\x80\x02X" + (999_900).to_bytes(4, "little") + b"\xf0\x9f\x98\x80" * 249_975 + b".",
    "text that says it is large": b"\x80\x02X\xff\xff\xff\xff.",
    "place in the memo": b"\x80\x02}r\xff\xff\xff\x0f.",
    "place in the memo, as text": b"}p268435455\n.",
    "memo": b"\x80\x04}" + b"\x94" * 999_990 + b".",
    "frame": b"\x80\x04\x95" + b"\xff" * 7 + b"\x0f}.",
    "number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "more than a megabyte": pickle.dumps({"a": [0.5] * 300_000}),
}


@pytest.mark.parametrize("content", GREEDY.values(), ids=GREEDY)
@pytest.mark.thorough
def test_greedy_pickle(content, tmp_path, in_a_new_process):
    """In a process of its own, whose memory the system counts."""
    path = tmp_path / "history.pickle"
    path.write_bytes(content)
    code = (
        "import pathlib, sys\nfrom helpers import cache\nbefore = peak()\ntry: cache.read_history(pathlib.Path(sys.argv[1]))\n"
        "except cache.CacheError as error: print(error)\nprint(peak() - before)"
    )
    error, taken = in_a_new_process(code, path)
    assert error.startswith("damaged: history.pickle is no training history")
    assert int(taken) < MEMORY


def test_many_keys_with_one_float(read):
    """The history that takes most memory for its bytes is read all the same."""
    history = {f"{n:x}": [0.5] for n in range(40_000)}
    content = pickle.dumps(history, 4)
    assert 600_000 < len(content) <= 1_000_000 and read(content) == history


def test_pipe_and_folder_are_no_histories(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(cache.CacheError, match=path.name):
            cache.read_history(path)


def test_the_traps_work(monkeypatch, read):
    """An ordinary unpickler is caught in them."""
    monkeypatch.setattr(cache, "_check_opcodes", lambda content: None)
    with pytest.raises(AssertionError):
        read(b"\x80\x02}r\xff\xff\xff\x0f.")
    monkeypatch.setattr(cache, "_HistoryUnpickler", pickle.Unpickler)
    with pytest.raises(AssertionError):
        read(pickle.dumps(Stranger(eval, ("1",))))
