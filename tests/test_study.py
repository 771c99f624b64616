"""The study's file, its continuation after a kill, and the committed runs. Those that train for long are slow."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest
from distributed import LocalCluster
from filelock import FileLock

from helpers import study
from helpers.data import load_mnist
from tests.same_bits import skip_unless_promised

ROOT = Path(__file__).parent.parent


@pytest.fixture
def on_the_sample(monkeypatch):
    """Make a study of the sample, whose 4,000 training images are soon learned."""
    monkeypatch.setenv("MNIST_DATA", "sample")


def run(candidate="dense", seed=1, training=0.98, validation=0.97, misread=(2, 5)):
    """A made-up run on ten images, 0 to 9 in their order, of which the misread ones are taken for a 1."""
    predicted = np.array([1 if digit in misread else digit for digit in range(10)])
    history = {"accuracy": [0.5, training], "val_accuracy": [0.6, validation]}
    origin = {"seconds": 1.5, "fingerprint": "0a1b2c3d", "data": "of ten digits", "environment": {}}
    return study.outcome(candidate, seed, history, np.arange(10), predicted) | origin


def write(path, runs, end=""):
    path.write_text("".join(f"{json.dumps(run)}\n" for run in runs) + end)
    return path


def outcomes(runs):
    return sorted(json.dumps(run | {"seconds": 0, "environment": {}}) for run in runs)


def test_runs_are_read_as_written(tmp_path):
    """In an order of their own: trainings that end in another order give the same figures. Half a line is no run."""
    runs = [run("conv", seed=2), run(seed=2), run(seed=10)]
    assert study.load_runs(write(tmp_path / "runs.jsonl", runs[::-1], end='{"candidate": "de')) == runs
    ends = write(tmp_path / "runs.jsonl", runs)
    ends.write_bytes(ends.read_bytes().removesuffix(b"\n"))  # as some editors do
    assert study.load_runs(ends) == runs
    with pytest.raises(study.StudyError, match="line 4: dense with seed 2 is there already"):
        study.load_runs(write(tmp_path / "runs.jsonl", [*runs, run(seed=2)]))
    with pytest.raises(study.StudyError, match="line 1: expected a run with"):
        study.load_runs(write(tmp_path / "notes", [], end="notes, without an end of line"))
    with pytest.raises(study.StudyError, match="no study can be read .* `make study` makes one"):
        study.load_runs(tmp_path / "none.jsonl")


OTHER_KINDS = [json.dumps(run() | entry) for entry in ({"candidate": [1]}, {"seed": "1"}, {"history": 0}, {"more": 1})]


@pytest.mark.parametrize("line", ["[]", "{}", "", "not JSON", '{"candidate": "dense"}', "[" * 9999, *OTHER_KINDS])
def test_a_line_that_is_no_run_is_named(tmp_path, line):
    path = write(tmp_path / "runs.jsonl", [run()], end=f"{line}\n")
    with pytest.raises(study.StudyError, match="line 2: expected a run with candidate, .*found"):
        study.load_runs(path)


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_a_study_is_continued_not_repeated(on_the_sample, tmp_path, capfd, monkeypatch):
    path = tmp_path / "new" / "runs.jsonl"
    assert study.run_study([1], path, epochs=1, names=["dense"]) == 1
    assert "study" in capfd.readouterr().err
    (done,) = study.load_runs(path)
    assert (done["candidate"], done["seed"], len(done["history"]["val_loss"])) == ("dense", 1, 1)
    counts, labels = np.array(done["confusion"]), load_mnist().test_labels
    assert np.trace(counts) / len(labels) == pytest.approx(done["history"]["val_accuracy"][-1])
    predicted = labels.copy()
    predicted[done["misread"]] = done["taken_for"]
    assert np.array_equal(np.histogram2d(labels, predicted, bins=np.arange(11))[0], counts)
    assert done["data"] == load_mnist().digest and done["environment"]["processor"]
    assert study.run_study([1, 1], path, epochs=1, names=["dense"]) == 0
    assert study.load_runs(path) == [done]
    with pytest.raises(study.StudyError, match=f"dense with seed 1 was made from {study.WHAT_COUNTS}"):
        study.run_study([1], path, epochs=2)
    with pytest.raises(study.StudyError, match=study.WHAT_COUNTS), monkeypatch.context() as patch:
        patch.setenv("MNIST_COMPUTE", "native")
        study.run_study([1, 2], path, epochs=1, names=["dense"])
    # By the process that would train, as on a machine of a cluster with another data set or another commit:
    with pytest.raises(study.StudyError, match=f"seed 1 failed, exit code 1: .*{study.WHAT_COUNTS}"):
        study.train_in_subprocess("dense", 1, 1, fingerprint="0a1b2c3d")
    with FileLock(f"{path}.lock"), pytest.raises(study.StudyError, match="another process is writing to it"):
        study.run_study([1], path, epochs=1)


@pytest.mark.parametrize("address", ["10.0.0.1", "foo://1:2", "tcp://127.0.0.1:9"])
def test_where_no_scheduler_answers_is_named(address):
    soon = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    refused = pytest.raises(study.StudyError, match=f"^{address}: no Dask scheduler answers")
    with refused, soon, study._workers(1, address):
        pass


STUDY = """
from pathlib import Path
from helpers.study import run_study
run_study(range(1, 7), Path(%r), jobs=2, epochs=1, names=["dense"])
"""


@pytest.mark.slow
@pytest.mark.tensorflow
def test_killed_and_started_again(on_the_sample, tmp_path):
    """SIGKILL once a run is in the file: it stays, the processes go, and the rest is done after."""
    path = tmp_path / "runs.jsonl"
    process = subprocess.Popen([sys.executable, "-c", STUDY % str(path)], cwd=ROOT, start_new_session=True)
    try:
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 1)
        children = psutil.Process(process.pid).children()
    finally:
        process.kill()
        process.wait()
    assert children
    wait_until(lambda: not any(map(is_running, children)))
    before = study.load_runs(path)
    assert 1 <= len(before) < 6

    with path.open("ab") as file:
        file.write(b'{"candidate": "dense", "se')  # as if it had been killed while it wrote
    assert study.run_study(range(1, 7), path, epochs=1, names=["dense"]) == 6 - len(before)
    runs = study.load_runs(path)
    assert all(run in runs for run in before) and [run["seed"] for run in runs] == [1, 2, 3, 4, 5, 6]


def wait_until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)


def is_running(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # which stays where nobody asks for its exit code
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_dask_cluster_gives_the_same_runs(on_the_sample, tmp_path):
    """Bit for bit, with workers as README starts them; one started elsewhere has not got the project: that is said."""
    (command,) = re.findall("@(.* dask worker .*)", (ROOT / "Makefile").read_text())
    command = f"exec env {command}".replace("$(BIN)/python", sys.executable)
    here, there, names = tmp_path / "here.jsonl", tmp_path / "there.jsonl", ["dense", "conv"]
    assert study.run_study([1, 2], here, epochs=1, names=names) == 4
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        refused = pytest.raises(study.StudyError, match="not got the project .*make worker")
        for folder, expectation in ((ROOT, nullcontext()), (tmp_path, refused)):
            started = ["sh", "-c", command.replace("$(SCHEDULER)", address)]
            worker = subprocess.Popen(started, cwd=folder, start_new_session=True)
            try:
                wait_until(lambda: len(cluster.scheduler.workers) > 0)
                with expectation:
                    study.run_study([1, 2], there, scheduler=address, epochs=1, names=names)
            finally:
                os.killpg(worker.pid, signal.SIGTERM)
                worker.wait()
            wait_until(lambda: len(cluster.scheduler.workers) == 0)
    one, other = (outcomes(study.load_runs(path)) for path in (here, there))
    assert one == other and len(set(one)) == 4


@pytest.fixture(scope="module")
def committed():
    return study.load_runs()


def test_committed_study_is_large_and_sound(committed):
    seeds = {}
    for done in committed:
        seeds.setdefault(done["candidate"], set()).add(done["seed"])
        counts = np.array(done["confusion"])
        assert counts.sum() == 10_000 and len(done["misread"]) == len(done["taken_for"]) == 10_000 - np.trace(counts)
        assert np.trace(counts) == round(10_000 * done["history"]["val_accuracy"][-1])
        assert {len(values) for values in done["history"].values()} == {5}
    first, *others = seeds.values()
    assert len(first) >= 12 and others and all(each == first for each in others)


@pytest.mark.tensorflow
def test_committed_study_is_of_these_networks(committed, mnist, tmp_path, monkeypatch):
    """Of the layers, settings and data that the project has now; to find that out, no network is built."""
    from helpers import models
    from helpers.training import Settings

    monkeypatch.setattr(models.Candidate, "build", lambda candidate: pytest.fail("a network was built"))
    settings = Settings(seed=1)
    assert study.matching_runs(models.CANDIDATES, mnist, settings) == committed
    other = replace(models.CONV_NORMALISED, make_layers=lambda: models.conv_layers()[1:])
    for others in (
        (models.CANDIDATES[:2], mnist, settings),
        ((models.DENSE, models.CONV, other), mnist, settings),
        (models.CANDIDATES, mnist, Settings(epochs=4)),
        (models.CANDIDATES, replace(mnist, digest="of other data"), settings),
    ):
        assert study.matching_runs(*others) == []
    few = write(tmp_path / "runs.jsonl", [run for run in committed if run["candidate"] != "conv" or run["seed"] == 1])
    assert study.matching_runs(models.CANDIDATES, mnist, settings, few) == []


@pytest.mark.tensorflow
def test_a_study_of_other_arithmetic_is_shown_only_where_that_is_in_use(committed, mnist, tmp_path, monkeypatch):
    """The committed study, whose arithmetic is the portable one, is shown everywhere."""
    from helpers import compute, models
    from helpers.loading import describe_inputs
    from helpers.training import Settings

    compute.start_tensorflow()
    arguments = models.CANDIDATES, mnist, Settings()
    monkeypatch.setenv("MNIST_COMPUTE", "native")
    assert study.matching_runs(*arguments) == committed
    asked = {each.name: describe_inputs(each, mnist, Settings()) for each in models.CANDIDATES}
    asked = study._with_own_arithmetic(asked)
    native = [done | {"fingerprint": study._fingerprint(asked, done["candidate"], done["seed"])} for done in committed]
    path = write(tmp_path / "runs.jsonl", native)
    assert study.matching_runs(*arguments, path) == native
    monkeypatch.delenv("MNIST_COMPUTE")
    assert study.matching_runs(*arguments, path) == [] or compute.deviations()


@pytest.fixture(scope="module")
def again(committed):
    """A committed run of dense, and the same once more."""
    done = next(done for done in committed if done["candidate"] == "dense")
    inputs = study._describe_inputs(load_mnist(), epochs=5)
    fingerprint = study._fingerprint(inputs, "dense", done["seed"])
    return done, study.train_in_subprocess("dense", done["seed"], 5, fingerprint)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_committed_run_comes_out_again_alike(again, mnist):
    one, other = (run["history"]["val_accuracy"][-1] for run in again)
    assert one == pytest.approx(other, abs=0.004)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_committed_run_comes_out_again_to_the_last_bit(again, mnist):
    done, once_more = again
    skip_unless_promised(once_more["environment"])
    assert outcomes([once_more]) == outcomes([done])
