"""Which trainings must give the same bits, by what they were made with."""

from collections.abc import Mapping

from helpers.startup import PORTABLE


def is_portable(environment: Mapping[str, str]) -> bool:
    """Whether a process with this `arithmetic` gives the bits that every such process gives."""
    expected = {"AVX2": "yes", "oneDNN": PORTABLE["ONEDNN_MAX_CPU_ISA"], "device": "CPU", "system": "Linux x86_64"}
    return environment.items() >= expected.items() and environment.get("threads") in ("1", "2")


def same_bits(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether the same training must give the same bits, with what two models or runs were made with."""
    if is_portable(one) and is_portable(other):
        return all(one[name] == other[name] for name in ("TensorFlow", "Keras"))
    return one == other
