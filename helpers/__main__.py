"""The commands behind the Makefile: ``python -m helpers COMMAND``."""

import argparse
import base64
import errno
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = "The packages are in the project's environment: use `make`, or the Python in .venv"
try:
    from helpers.checks import InputError, ReadableError
    from helpers.data import DataError, load_mnist
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. {ENVIRONMENT}.")

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "mnist_digits.ipynb"
RESULTS, CHECKED_RESULTS = ROOT / "build" / "results.json", ROOT / "tests" / "results.json"
TEMPLATE = Path(__file__).with_name("report.html.j2")
# What helps against an error of the operating system. For those not listed, nothing is known to help.
MEMORY = "Close other programs, or allow more memory, and start it again"
ADVICE = (
    ({errno.ENOSPC, errno.EDQUOT}, "Make room, and start it again"),
    ({errno.EACCES, errno.EPERM, errno.EROFS}, "Check permissions, and start it again"),
    ({errno.ENOENT}, "`git status` tells whether a file of the project is missing"),
    ({errno.EEXIST, errno.ENOTDIR, errno.EISDIR}, "Move away what has this name, and start it again"),
    ({errno.ENOMEM}, MEMORY),
)


class KernelError(ReadableError):
    """The process that executes the notebook ended before the notebook did."""


def run(parameters: Sequence[tuple[str, str]] = (), folder: Path = ROOT / "build") -> None:
    """Execute the notebook, with other values for some of its parameters; write it, and a report, to a folder."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebook = _read_notebook(NOTEBOOK)
    known = papermill.inspect_notebook(notebook)
    if unknown := [name for name, _ in parameters if name not in known]:
        raise InputError(f"PARAMETERS: the notebook has {', '.join(known)}; found {', '.join(unknown)}. Use these.")
    path = folder / NOTEBOOK.name
    # Python refuses to read thousands of digits; the notebook will say that this is no number it takes.
    values = {name: int(text) if text.isdecimal() and len(text) < 100 else text for name, text in parameters}
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    # papermill puts values in place of names in braces, which the name of a folder may have, too.
    place = str(path).replace("{", "{{").replace("}", "}}")
    try:
        with _kernel_of_this_python() as kernel:
            executed = papermill.execute_notebook(place, place, values, cwd=ROOT, **kernel)
    except PapermillExecutionError as error:
        # An error that says all in its message has no more than a line of traceback.
        sys.exit(f"error: {error.evalue}" if len(error.traceback) == 1 else str(error))
    report = _write_report(executed, folder)
    print(f"\n{_first_screen(executed.cells)}\n")
    print(f"Notebook: {os.path.relpath(path)}\nReport:   {os.path.relpath(report)}")


def html(folder: Path = ROOT / "build") -> None:
    """Write the report of the notebook as it is stored, without executing it."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Report: {os.path.relpath(_write_report(_read_notebook(NOTEBOOK), folder))}")


def nbval() -> None:
    """Print how the notebook's stored outputs, made with the complete data, are to be compared."""
    _read_notebook(NOTEBOOK)
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


def results() -> None:
    """Check that the last run came to the results that the text is checked against."""
    if not load_mnist().is_full:
        print("Only a sample of MNIST is at hand: the results are not compared.", file=sys.stderr)
        return
    try:
        fresh, stored = (json.loads(path.read_text(encoding="utf-8")) for path in (RESULTS, CHECKED_RESULTS))
        names = sorted(fresh.keys() | stored.keys())
    except (OSError, ValueError, AttributeError) as error:
        advice = "`make run` writes those of a run, `git checkout tests` brings the others back"
        sys.exit(f"error: no results can be read ({error}). {advice}.")
    if differing := [name for name in names if not _alike(fresh.get(name), stored.get(name))]:
        found = f"{', '.join(differing)} differ from tests/results.json, which the text is checked against"
        sys.exit(f"error: {found}. If that is as intended: make refresh, then correct the text.")


def _alike(value: Any, other: Any) -> bool:
    """Whether two results read the same: counts and names exactly, other numbers to nearly the printed digits."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_alike(value[key], other[key]) for key in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_alike, value, other))
    if isinstance(value, float) and isinstance(other, float):
        # Half a step of the last digit: two decimals of a percent are printed, of small numbers less.
        return math.isclose(value, other, rel_tol=5e-5, abs_tol=1e-9) and abs(value - other) <= 0.005
    return value == other


def refresh(root: Path = ROOT) -> None:
    """Execute the notebook on the complete data; store it, its results and README's figures if all went well."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook, results = root / NOTEBOOK.name, root / "build" / RESULTS.name
    results.parent.mkdir(exist_ok=True)
    results.unlink(missing_ok=True)  # else those of an earlier run would pass for this one's
    os.environ["MNIST_DATA"] = "full"
    executed = _read_notebook(notebook)
    place = {"metadata": {"path": str(root)}}
    try:
        with _kernel_of_this_python() as kernel:
            NotebookClient(executed, timeout=None, record_timing=False, resources=place, **kernel).execute()
    except CellExecutionError as error:
        sys.exit(f"{error}\nerror: a cell failed, as shown above; nothing is stored.")
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    if noise := "".join(output["text"] for output in outputs if output.get("name") == "stderr"):
        sys.exit(f"error: the run was not clean; nothing is stored. It said:\n{noise}")
    if not results.exists():
        sys.exit("error: the run wrote no build/results.json; nothing is stored.")
    files = {notebook: f"{nbformat.writes(executed)}\n".encode(), root / "tests" / RESULTS.name: results.read_bytes()}
    files |= {root / "figures" / f"{name}.png": _figure(executed.cells, name) for name in ("runs", "embedding")}
    with tempfile.TemporaryDirectory(dir=results.parent) as folder:
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


def _read_notebook(path: Path) -> Any:
    """Read a notebook, and take out what other programs have left in it; an InputError if it is none."""
    import nbformat

    content = path.read_bytes()
    try:
        notebook = nbformat.reads(content.decode(), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # of many kinds, from nbformat, jsonschema and json; all say that it is none
        found = f"{path}: expected a Jupyter notebook; found none that can be read ({_first_line(error)})"
        remedy = f"Resolve it if it has marks of a merge, <<<<<<<; or take the stored one: git checkout {path.name}"
        raise InputError(f"{found}. {remedy}.") from None
    # Widgets are those of an earlier run. Colab leaves them in a form that GitHub and nbconvert cannot show.
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return notebook


@contextmanager
def _kernel_of_this_python() -> Iterator[dict[str, Any]]:
    """Give the options with which nbclient starts a kernel of this very Python; a KernelError if the kernel dies.

    Under the name python3 Jupyter may find a kernel of another Python that the user or the system has installed.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError

    class Manager(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            # Where there is no folder to look for kernels in, python3 is the kernel of this Python.
            super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)

    try:
        yield {"kernel_manager_class": Manager, "kernel_name": "python3"}
    except DeadKernelError:
        found = "The kernel, which executes the notebook, has died, as it does when memory runs out"
        raise KernelError(f"{found}. {MEMORY}.") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:100].rstrip(" .") or type(error).__name__


def _write_report(notebook: Any, folder: Path) -> Path:
    """Write a notebook to the folder as a page of HTML, and return its path."""
    from nbconvert import HTMLExporter

    name = {"metadata": {"name": NOTEBOOK.stem}}
    page, _ = HTMLExporter(template_file=str(TEMPLATE)).from_notebook_node(notebook, name)
    path = folder / f"{NOTEBOOK.stem}.html"
    path.write_text(page, encoding="utf-8")
    return path


def _first_screen(cells: list[Any]) -> str:
    """Return what the notebook's first screen says; nothing if a reader has taken it out."""
    screens = [cell for cell in cells if 'display_id="first-screen"' in cell.source]
    outputs = [output for cell in screens for output in cell.get("outputs", [])]
    return outputs[0].get("data", {}).get("text/plain", "") if outputs else ""


def _whole_number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, such as 30; found {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; end with 1 and a sentence if that cannot be done, with 2 if it makes no sense."""
    parser = argparse.ArgumentParser("python -m helpers", description=__doc__, allow_abbrev=False)
    commands, made = parser.add_subparsers(required=True, metavar="COMMAND"), {}
    for function in (run, html, nbval, results, retrain, refresh, study):
        name, summary = function.__name__, str(function.__doc__).splitlines()[0]
        made[name] = commands.add_parser(name, help=summary, allow_abbrev=False)
        made[name].set_defaults(function=function)
    made["run"].add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    made["study"].add_argument("seeds", type=_whole_number, metavar="SEEDS")
    made["study"].add_argument("scheduler", nargs="?")
    given = vars(parser.parse_args(arguments))
    try:
        with _without_the_users_jupyter():
            given.pop("function")(**given)
        sys.stdout.flush()
    except ReadableError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # Python would fail once more when it writes out the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit("Stopped: what read the output of this command has ended. What was stored is kept.")
    except OSError as error:
        sys.exit(f"error: {_sentences(error)}")
    except MemoryError:
        sys.exit(f"error: memory ran out. {MEMORY}.")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}. {ENVIRONMENT}.")
    except KeyboardInterrupt:
        sys.exit("Stopped. What was stored before is as it was.")


@contextmanager
def _without_the_users_jupyter() -> Iterator[None]:
    """Let Jupyter and IPython use a temporary folder instead of the home folder.

    There may be no home folder; or one with settings, templates and kernels for something else.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith(("JUPYTER_", "IPYTHON")):
            del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="jupyter-") as folder:
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            os.environ[name] = str(Path(folder, name))
        # What is in the environment comes before what the system has installed.
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _sentences(error: OSError) -> str:
    """Say what the operating system could not do, where, and what helps if that is known."""
    where = f"{error.filename}: " if error.filename else ""
    said = f"{where}{error.strerror or str(error) or type(error).__name__}"
    return ". ".join([said, *(advice for numbers, advice in ADVICE if error.errno in numbers), ""]).strip()


if __name__ == "__main__":
    main()
