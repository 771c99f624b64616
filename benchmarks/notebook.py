"""Where the notebook's time goes: from nothing, with the models in place, and trained from scratch."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS = 5
Seconds = dict[str, float]


def measure(archive: str, folder: Path) -> dict[str, Seconds]:
    """Seconds of each part of each way to run the notebook; clones and outputs go to a folder."""
    environment = os.environ | {"MNIST_NPZ": archive}
    plain = []
    cached = []
    for number in range(ROUNDS):
        plain.append(timed([sys.executable, HERE / "plain.py"], HERE.parent, environment))
        cached.append(execute(HERE.parent, folder / "cached.ipynb", environment))
        print(
            f"notebook, round {number + 1}:", f"plain {plain[-1]:.1f} s, cached {cached[-1]['all']:.1f} s", flush=True
        )
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", HERE.parent, clone], check=True)
    nothing = from_nothing(clone, environment | {"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "home")})
    print("from nothing:", nothing, flush=True)
    for model in ("dense", "conv", "conv-normalised"):
        shutil.rmtree(clone / "models" / model)
    return {
        "plain": {"all": statistics.median(plain)},
        "cached": {part: statistics.median(run[part] for run in cached) for part in cached[0]},
        "scratch": execute(clone, folder / "scratch.ipynb", environment),
        "nothing": nothing,
        "packages": packages(clone, folder, environment),
    }


def timed(command: list, where: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, cwd=where, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def execute(project: Path, output: Path, environment: dict[str, str]) -> Seconds:
    """Seconds of executing the notebook, in all and by section."""
    command = [sys.executable, "-m", "papermill", "--kernel", "python3", "mnist_digits.ipynb", output]
    seconds = timed(command, project, environment)
    return {"all": seconds, **sections(json.loads(output.read_text()), seconds)}


def sections(notebook: dict, seconds: float) -> Seconds:
    """Seconds of an executed notebook's cells, added up by section; the rest is the kernel's start."""
    parts = {"papermill and the kernel": 0.0}
    section = "imports"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = [line[3:].strip() for line in "".join(cell["source"]).splitlines() if line.startswith("## ")]
            section = headings[-1] if headings else section
        else:
            parts[section] = parts.get(section, 0.0) + cell["metadata"]["papermill"]["duration"]
    return parts | {"papermill and the kernel": seconds - sum(parts.values())}


def from_nothing(clone: Path, environment: dict[str, str]) -> Seconds:
    """`make run` in a fresh clone, with an empty home: seconds of each of its parts."""
    milestones = {"virtual environment": ".venv/bin/pip", "uv": ".venv/bin/uv"}
    parts = {}
    start = last = time.perf_counter()
    making = subprocess.Popen(["make", ".venv/installed"], cwd=clone, env=environment, stdout=subprocess.DEVNULL)
    for part, path in milestones.items():
        while not (clone / path).exists() and making.poll() is None:
            time.sleep(0.05)
        last, parts[part] = time.perf_counter(), time.perf_counter() - last
    if making.wait() != 0:
        raise RuntimeError(f"make .venv/installed failed in {clone}, exit code {making.returncode}")
    last, parts["packages"] = time.perf_counter(), time.perf_counter() - last
    timed(["make", "run"], clone, environment)
    running = time.perf_counter() - last
    notebook = json.loads((clone / "build" / "mnist_digits.ipynb").read_text())
    about = notebook["metadata"]["papermill"]
    executed = (datetime.fromisoformat(about["end_time"]) - datetime.fromisoformat(about["start_time"])).total_seconds()
    imports = sections(notebook, executed)["imports"]
    parts |= {"import": imports, "run": executed - imports, "papermill's start and the report": running - executed}
    return {"all": time.perf_counter() - start} | parts


def packages(clone: Path, folder: Path, environment: dict[str, str]) -> Seconds:
    """Where the seconds of installing the packages go, and what compiling them to bytecode buys."""
    environment = environment | {"UV_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    uv = clone / ".venv" / "bin" / "uv"

    def install(name: str, *options: str) -> float:
        timed([uv, "venv", "--python", sys.executable, folder / name], clone, environment)
        command = [
            uv,
            "pip",
            "install",
            "--python",
            folder / name / "bin" / "python",
            *options,
            "-r",
            "requirements.txt",
        ]
        return timed(command, clone, environment)

    def importing(name: str) -> float:
        command = [folder / name / "bin" / "python", "-c", "import tensorflow"]
        return min(timed(command, clone, environment) for _ in range(3))

    cold, warm, compiled = install("cold"), install("warm"), install("compiled", "--compile-bytecode")
    return {
        "fetching and unpacking": cold - warm,
        "putting in place": warm,
        "compiling to bytecode": compiled - warm,
        "import of TensorFlow, compiled": importing("compiled"),
        "import of TensorFlow, not compiled, where Python may not write bytecode": importing("warm"),
    }
