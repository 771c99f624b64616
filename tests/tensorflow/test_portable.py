"""The same bits on other processors and with other numbers of threads; the same printed digits in other arithmetic.

They take minutes: `make portable`. Processors are emulated by `qemu-x86_64`, of Debian's package qemu-user.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from helpers import compute
from tests.test_compute import HOSTILE

WHY = "bits are promised for x86-64 processors with AVX2, under Linux"
pytestmark = [pytest.mark.portable, pytest.mark.skipif(not compute._is_portable_machine(), reason=WHY)]
ROOT = Path(__file__).parents[2]
STORED = json.loads((ROOT / "tests" / "portable.json").read_text(encoding="utf-8"))["digests"]
QEMU = shutil.which("qemu-x86_64")
# With caches of other sizes than most, and as one maker and the other have built them.
PROCESSORS = ("Haswell", "EPYC-Milan")
CLEAN = {name: value for name, value in os.environ.items() if name not in {*compute.PORTABLE, "MNIST_COMPUTE"}}


def start(command, **environment):
    return subprocess.Popen(
        [*command, "-m", "tests.short_training", environment.pop("threads", "2")],
        cwd=ROOT, env=CLEAN | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def digests(process):
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    return json.loads(output)["digests"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_same_bits_with_one_thread_and_with_two(threads):
    assert digests(start([sys.executable], threads=threads)) == STORED


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that binds processes to cores")
def test_same_bits_on_one_core():
    core = str(min(os.sched_getaffinity(0)))
    assert digests(start(["taskset", "-c", core, sys.executable])) == STORED


def test_same_bits_whatever_else_is_set():
    assert digests(start([sys.executable], **HOSTILE)) == STORED


def test_other_instructions_give_other_bits():
    """Else the digests would show nothing: networks and training are the same, and only the last bits differ."""
    found = digests(start([sys.executable], ONEDNN_MAX_CPU_ISA="SSE41"))
    assert found.keys() == STORED.keys()
    assert all(found[what] != STORED[what] for what in STORED if "history" not in what)


@pytest.fixture(scope="module")
def emulated():
    """The training on each emulated processor, all at once."""
    if QEMU is None and not os.environ.get("PORTABLE_REQUIRED"):
        pytest.skip("needs qemu-x86_64, of the package qemu-user")
    python = Path(sys.executable).resolve()
    packages = sysconfig.get_path("purelib")
    processes = {name: start([QEMU, "-cpu", name, str(python)], PYTHONPATH=packages) for name in PROCESSORS}
    yield processes
    for process in processes.values():
        process.kill()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_same_bits_on_another_processor(emulated, processor):
    assert digests(emulated[processor]) == STORED


@pytest.mark.parametrize(
    "environment",
    [
        {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"TF_ENABLE_ONEDNN_OPTS": "0", "OPENBLAS_CORETYPE": "Prescott"},
        {"MNIST_COMPUTE": "native", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
        | {"OMP_NUM_THREADS": "1"},
    ],
    ids=["fewer instructions", "without oneDNN", "native, NumPy without AVX2"],
)
def test_notebook_reads_the_same_under_other_arithmetic(mnist, environment):
    """Texts, tables and figures."""
    command = "-m pytest mnist_digits.ipynb --nbval --nbval-current-env --nbval-cell-timeout=1200 -q".split()
    command, environment = [sys.executable, *command], CLEAN | environment
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
