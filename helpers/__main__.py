"""The commands behind the Makefile: ``python -m helpers COMMAND``."""

import argparse
import base64
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.checks import InputError, ReadableError
from helpers.data import DataError, load_mnist

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "mnist_digits.ipynb"
TEMPLATE = Path(__file__).with_name("report.html.j2")


def run(parameters: Sequence[tuple[str, str]] = (), folder: Path = ROOT / "build") -> None:
    """Execute the notebook, with other values for some of its parameters; write it, and a report, to a folder."""
    import papermill
    from nbconvert import HTMLExporter
    from papermill.exceptions import PapermillExecutionError

    known = papermill.inspect_notebook(NOTEBOOK)
    if unknown := [name for name, _ in parameters if name not in known]:
        raise InputError(f"PARAMETERS: the notebook has {', '.join(known)}; found {', '.join(unknown)}. Use these.")
    path, html = folder / NOTEBOOK.name, folder / f"{NOTEBOOK.stem}.html"
    values = {name: int(text) if text.isdecimal() else text for name, text in parameters}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        executed = papermill.execute_notebook(NOTEBOOK, path, values, kernel_name="python3", cwd=ROOT)
        html.write_text(HTMLExporter(template_file=str(TEMPLATE)).from_notebook_node(executed)[0], encoding="utf-8")
    except PapermillExecutionError as error:
        # An error that says all in its message has no more than a line of traceback.
        sys.exit(f"error: {error.evalue}" if len(error.traceback) == 1 else str(error))
    (first_screen,) = (cell for cell in executed.cells if 'display_id="first-screen"' in cell.source)
    found = first_screen.outputs[0].data["text/plain"]
    print(f"\n{found}\n\nNotebook: {os.path.relpath(path)}\nReport:   {os.path.relpath(html)}")


def nbval() -> None:
    """Print how the notebook's stored outputs, made with the complete data, are to be compared."""
    if is_sample := not load_mnist().is_full:
        print("Only a sample of MNIST is at hand: the notebook's outputs are not compared.", file=sys.stderr)
    print("--nbval-lax" if is_sample else "--nbval")


def retrain() -> None:
    """Train again the models that come with the project."""
    digits = load_mnist()
    if not digits.is_full:
        found = f"trained on the complete data set, and only a sample is at hand: {digits.sample_reason}"
        raise DataError(f"The project's models are {found}. Let MNIST_NPZ name an mnist.npz, or allow a download.")
    from helpers.startup import start_tensorflow

    start_tensorflow()
    from helpers.models import CANDIDATES
    from helpers.training import Settings, retrain

    for candidate in CANDIDATES:
        history = retrain(candidate, digits, Settings()).history
        training, validation = history["accuracy"][-1], history["val_accuracy"][-1]
        print(f"{candidate.name}: training accuracy {training:.4f}, validation accuracy {validation:.4f}")
    print("Stored in models/. `make refresh` brings the notebook's outputs up to date.")


def study(seeds: int, scheduler: str | None = None) -> None:
    """Train every candidate with the seeds 1, 2, ..., here or on a Dask cluster; continue what was begun."""
    from helpers.study import RUNS, run_study

    if not load_mnist().is_full:
        raise DataError("The study is of the complete data set. Let MNIST_NPZ name an mnist.npz, or allow a download.")
    try:
        count = run_study(range(1, seeds + 1), scheduler=scheduler)
    except KeyboardInterrupt:
        sys.exit("Stopped. What was finished is kept; the same command goes on from there.")
    print(f"{count} runs done, appended to {RUNS.relative_to(ROOT)}.")


def refresh(root: Path = ROOT) -> None:
    """Execute the notebook on the complete data; store it and README's figures if all went well."""
    import nbformat
    from nbconvert.preprocessors import CellExecutionError, ExecutePreprocessor

    notebook, build = root / NOTEBOOK.name, root / "build"
    build.mkdir(exist_ok=True)
    os.environ["MNIST_DATA"] = "full"
    executed = nbformat.read(notebook, as_version=4)
    try:
        ExecutePreprocessor(timeout=None, record_timing=False).preprocess(executed, {"metadata": {"path": str(root)}})
    except CellExecutionError as error:
        sys.exit(f"{error}\nerror: a cell failed, as shown above; nothing is stored.")
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    if noise := "".join(output["text"] for output in outputs if output.get("name") == "stderr"):
        sys.exit(f"error: the run was not clean; nothing is stored. It said:\n{noise}")
    files = {notebook: f"{nbformat.writes(executed)}\n".encode()}
    files |= {root / "figures" / f"{name}.png": _figure(executed.cells, name) for name in ("runs", "embedding")}
    with tempfile.TemporaryDirectory(dir=build) as folder:
        for path, content in files.items():
            Path(folder, path.name).write_bytes(content)
        for path in files:
            Path(folder, path.name).replace(path)


def _figure(cells: list[Any], name: str) -> bytes:
    """The PNG under the cell that draws a figure of `helpers.plots`."""
    for output in (each for cell in cells if f"plots.{name}(" in cell["source"] for each in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            return base64.b64decode(output["data"]["image/png"])
    sys.exit(f"error: no cell shows plots.{name}, which README needs; nothing is stored.")


def _whole_number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, such as 30; found {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; end with 1 and a sentence if that cannot be done, with 2 if it makes no sense."""
    parser = argparse.ArgumentParser("python -m helpers", description=__doc__, allow_abbrev=False)
    commands, made = parser.add_subparsers(required=True, metavar="COMMAND"), {}
    for function in (run, nbval, retrain, refresh, study):
        name, summary = function.__name__, str(function.__doc__).splitlines()[0]
        made[name] = commands.add_parser(name, help=summary, allow_abbrev=False)
        made[name].set_defaults(function=function)
    made["run"].add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    made["study"].add_argument("seeds", type=_whole_number, metavar="SEEDS")
    made["study"].add_argument("scheduler", nargs="?")
    given = vars(parser.parse_args(arguments))
    try:
        given.pop("function")(**given)
    except ReadableError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{error.strerror or error}. Make room, or check permissions, and start it again.")
    except KeyboardInterrupt:
        sys.exit("Stopped. What was stored before is as it was.")


if __name__ == "__main__":
    main()
