"""What the notebook costs: from nothing, with the models in place, and trained from scratch."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measuring import HERE, PROJECT, Figures, in_turn, medians, table, timed

ROUNDS = 3
NOT_COMPILED = "import of TensorFlow, not compiled, where Python may not write bytecode"
START = "papermill and the kernel"
FIRST = "the first screen: imports, the data, a figure"  # before the first numbered section


def measure(archive: str, folder: Path) -> dict[str, Figures]:
    """Seconds of each way to run the notebook, by part; clones and outputs go to a folder."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
    shutil.rmtree(clone / "models")

    def from_scratch() -> Figures:
        shutil.rmtree(clone / "models", ignore_errors=True)
        return execute(clone, folder / "scratch.ipynb", archive)

    ways = {
        "plain": lambda: {"all": timed(sys.executable, HERE / "plain.py", MNIST_NPZ=archive)},
        "cached": lambda: execute(PROJECT, folder / "cached.ipynb", archive),
        "scratch": from_scratch,
        "nothing": lambda: from_nothing(folder / "new", archive),
        "packages": lambda: packages(folder / "packages"),
    }
    return medians(in_turn(ways, ROUNDS))


def execute(project: Path, output: Path, archive: str) -> Figures:
    """Seconds of executing the notebook, in all and by section."""
    command = [sys.executable, "-m", "papermill", "--kernel", "python3", "mnist_digits.ipynb"]
    taken = timed(*command, output, where=project, MNIST_NPZ=archive)
    return {"all": taken, **sections(json.loads(output.read_text(encoding="utf-8")), taken)}


def by_section(notebook: dict) -> Iterator[tuple[str, dict]]:
    """Each code cell, after the name of its section."""
    section = FIRST
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield section, cell
        else:
            lines = "".join(cell["source"]).splitlines()
            section = next((line[3:].strip() for line in lines if line.startswith("## ")), section)


def sections(notebook: dict, taken: float) -> Figures:
    """Seconds of an executed notebook's cells, added up by section; the rest is its start."""
    parts = {START: taken}
    for section, cell in by_section(notebook):
        duration = cell["metadata"]["papermill"]["duration"]
        parts[section] = parts.get(section, 0.0) + duration
        parts[START] -= duration
    return parts


def from_nothing(clone: Path, archive: str) -> Figures:
    """`make run` in a fresh clone, with an empty home."""
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
    home = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), str(clone / "home")) | {"MNIST_NPZ": archive}
    setting_up = timed("make", ".venv/installed", where=clone, **home)
    running = timed("make", "run", where=clone, **home)
    both = {"setting up .venv": setting_up, "the notebook and its report": running}
    return both | {"all": setting_up + running}


def packages(folder: Path) -> Figures:
    """Where the seconds of installing what `make run` installs go, and what compiling it buys."""
    shutil.rmtree(folder, ignore_errors=True)
    options = {"UV_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    uv = [sys.executable, "-m", "uv"]

    def install(name: str, *compiling: str) -> float:
        timed(*uv, "venv", "--python", sys.executable, folder / name, **options)
        command = [*uv, "pip", "install", "--python", folder / name, *compiling]
        return timed(*command, "--require-hashes", "-r", "requirements.lock", **options)

    def importing(name: str) -> float:
        return timed(folder / name / "bin" / "python", "-c", "import tensorflow", **options)

    cold, warm = install("cold"), install("warm")
    compiled = install("compiled", "--compile-bytecode")
    return {
        "fetching and unpacking": cold - warm,
        "putting in place": warm,
        "compiling to bytecode": compiled - warm,
        "import of TensorFlow, compiled": importing("compiled"),
        NOT_COMPILED: importing("warm"),
    }


def seconds_of(parts: Figures) -> list[str]:
    return table("| part | seconds |", *((part, f"{each:.1f}") for part, each in parts.items()))


def report(cost: dict[str, Figures]) -> list[str]:
    """What each way costs, and its parts."""
    plain, cached, scratch = (cost[way]["all"] for way in ("plain", "cached", "scratch"))
    return [
        *table(
            "| | seconds |",
            ("a plain script: TensorFlow, embedding, one network's predictions", f"{plain:.1f}"),
            ("the notebook, models in place, in turn with the script", f"{cached:.1f}"),
            ("**their ratio**", f"**{cached / plain:.2f}**"),
            ("the notebook, all networks trained from scratch", f"{scratch:.1f}"),
        ),
        *table(
            "| seconds by section | models in place | from scratch |",
            *(
                (part, f"{each:.1f}", f"{cost['scratch'][part]:.1f}")
                for part, each in cost["cached"].items()
                if part != "all"
            ),
        ),
        "### `make run` from nothing: a fresh clone, no `.venv`, an empty home, the data at hand",
        "",
        *seconds_of(cost["nothing"]),
        "The packages take longest. Installed again, in steps, and TensorFlow imported from them:",
        "",
        *seconds_of(cost["packages"]),
        "Compiling costs seconds once. It saves them in the first start, and in every start where",
        "Python may not write bytecode itself; so `make run` has uv do it, on all cores.",
        "",
    ]
