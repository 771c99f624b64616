"""Which trainings must give the same bits, by what they were made with."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from helpers.compute import PORTABLE

LOCK = Path(__file__).parent.parent / "requirements.lock"
EXPECTED = {
    "system": "Linux x86_64",
    "AVX2": "yes",
    "oneDNN": PORTABLE["ONEDNN_MAX_CPU_ISA"],
    "device": "CPU",
}


def is_portable(environment: Mapping[str, str]) -> bool:
    """Whether a process with this `arithmetic` gives the bits that every such process gives."""
    return environment.items() >= EXPECTED.items() and environment.get("threads") in ("1", "2")


def skip_unless_promised(here: Mapping[str, str]) -> None:
    """Skip a test of bits, with a reason, where this process is not one that must give them."""
    if not is_portable(here):
        said = ", ".join(f"{name} {here.get(name)}" for name in (*EXPECTED, "threads"))
        pytest.skip(f"bits are promised for x86-64 processors with AVX2, under Linux; here: {said}")
    for package in ("TensorFlow", "Keras"):
        if f"\n{package.lower()}=={here[package]} " not in LOCK.read_text(encoding="utf-8"):
            pytest.skip(f"bits are promised with the lock's {package}; here it is {here[package]}")
