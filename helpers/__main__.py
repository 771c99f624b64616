"""The commands behind the Makefile: ``python -m helpers COMMAND``.

Each public function but `main` is a command, and the first line of its docstring is its help.
A command imports what it needs when it is called, so that a mistake in the command line is reported
without delay.
"""

import argparse
import base64
import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = "The packages are in the project's environment: use `make`, or the Python in .venv."
try:
    from helpers.data import DataError, load_mnist
    from helpers.errors import InputError, ReadableError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. {ENVIRONMENT}")

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "mnist_digits.ipynb"
TEMPLATE = Path(__file__).with_name("report.html.j2")
MAX_SEEDS = 2**32 - 1  # the largest seed that `training.Settings` takes
DATA_ADVICE = "Let MNIST_NPZ name an mnist.npz, or allow a download."
ROOM_ADVICE = "Make room, and start it again."
PERMISSIONS_ADVICE = "Check permissions, and start it again."
NAME_ADVICE = "Move away what has this name, and start it again."
MEMORY_ADVICE = "Close other programs, or allow more memory, and start it again."
# What helps against an error of the operating system.
ADVICE = {
    errno.ENOSPC: ROOM_ADVICE,
    errno.EDQUOT: ROOM_ADVICE,
    errno.EACCES: PERMISSIONS_ADVICE,
    errno.EPERM: PERMISSIONS_ADVICE,
    errno.EROFS: PERMISSIONS_ADVICE,
    errno.EEXIST: NAME_ADVICE,
    errno.ENOTDIR: NAME_ADVICE,
    errno.EISDIR: NAME_ADVICE,
    errno.ENOMEM: MEMORY_ADVICE,
    errno.ENOENT: "`git status` tells whether a file of the project is missing.",
}


class KernelError(ReadableError):
    """The kernel, the process that executes the notebook, has died or does not start."""


def run(parameters: Sequence[tuple[str, str]] = (), folder: Path = ROOT / "build") -> None:
    """Execute the notebook; write it and a report to a folder.

    Parameters
    ----------
    parameters
        Names and values, as text, of those parameters of the notebook that change.
    folder
        Where to write; it is made if it does not exist.

    Raises
    ------
    InputError
        If the file is no notebook, or the notebook has no such parameter.
    KernelError
        If the kernel dies or does not start.
    SystemExit
        If a cell fails. The message says how.
    """
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebook = _read_notebook(NOTEBOOK)
    known = papermill.inspect_notebook(notebook)
    unknown = [name for name, _ in parameters if name not in known]
    if unknown:
        found = f"unknown parameter {', '.join(unknown)}; the notebook has {', '.join(known)}"
        raise InputError(f"PARAMETERS: {found}.")
    path = folder / NOTEBOOK.name
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    # In a path, papermill replaces a name in braces by a parameter's value.
    place = str(path).replace("{", "{{").replace("}", "}}")
    values = {name: _value(text) for name, text in parameters}
    try:
        with _kernel_of_this_python() as kernel:
            executed = papermill.execute_notebook(place, place, values, cwd=ROOT, **kernel)
    except PapermillExecutionError as error:
        # A ReadableError says all in its message; its `_render_traceback_` returns one line.
        sys.exit(f"error: {error.evalue}" if len(error.traceback) == 1 else str(error))
    report = _write_report(executed, folder)
    print(f"\n{_first_screen(executed.cells)}\n")
    print(f"Notebook: {os.path.relpath(path)}\nReport:   {os.path.relpath(report)}")


def _value(text: str) -> int | str:
    """Return the whole number that a text gives; the text itself if it gives none."""
    # `int` fails at more than 4,300 digits. What stays text is refused where a number is expected.
    return int(text) if text.isdecimal() and len(text) < 100 else text


def html(folder: Path = ROOT / "build") -> None:
    """Write the report of the notebook as it is stored, without executing it."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"Report: {os.path.relpath(_write_report(_read_notebook(NOTEBOOK), folder))}")


def nbval() -> None:
    """Print the option with which pytest compares the notebook's stored outputs with new ones.

    They were made with the complete data, so with a sample only cells that ask for it are compared.
    """
    _read_notebook(NOTEBOOK)  # else pytest would show a traceback if it is none
    if load_mnist().is_full:
        print("--nbval")
    else:
        said = "Only a sample of MNIST is at hand: the notebook's outputs are not compared."
        print(said, file=sys.stderr)
        print("--nbval-lax")


def retrain() -> None:
    """Train again the models that come with the project.

    Raises
    ------
    DataError
        If only a sample of the data is at hand.
    InputError
        If what is trained here would have other bits than elsewhere.
    """
    digits = load_mnist()
    if not digits.is_full:
        wanted = "The project's models are trained on the complete data set"
        found = f"only a sample is at hand: {digits.sample_reason}"
        raise DataError(f"{wanted}, and {found}. {DATA_ADVICE}")
    from helpers.compute import require_portable, start_tensorflow

    start_tensorflow()
    require_portable("What stands in models/")
    from helpers import loading
    from helpers.models import CANDIDATES
    from helpers.training import Settings

    for candidate in CANDIDATES:
        history = loading.retrain(candidate, digits, Settings()).history
        training = f"training accuracy {history['accuracy'][-1]:.4f}"
        validation = f"validation accuracy {history['val_accuracy'][-1]:.4f}"
        print(f"{candidate.name}: {training}, {validation}")
    print("Stored in models/. `make refresh` brings the notebook's outputs up to date.")


def study(seeds: int, scheduler: str | None = None) -> None:
    """Train every network with the seeds 1 to SEEDS, or go on with what was begun.

    Parameters
    ----------
    seeds
        How often each network is trained, counting what was done before.
    scheduler
        The address of a Dask scheduler whose workers train. Without one, this machine does.

    Raises
    ------
    DataError
        If only a sample of the data is at hand.
    StudyError
        If the study cannot be continued, or a training fails.
    """
    from helpers.study import RUNS, run_study

    if not load_mnist().is_full:
        raise DataError(f"The study is of the complete data set. {DATA_ADVICE}")
    try:
        count = run_study(range(1, seeds + 1), scheduler=scheduler)
    except KeyboardInterrupt:
        sys.exit("Stopped. What was finished is kept; the same command goes on from there.")
    print(f"{count} runs done, appended to {RUNS.relative_to(ROOT)}.")


def pictures(folder: str, trainings: int = 0) -> None:
    """Measure how the pictures of digits in a folder are read, and print the report.

    Parameters
    ----------
    folder
        Holds ``pictures/`` and ``table.csv``.
    trainings
        How many trainings of each network read them; the results are stored as the project's study
        then. With 0, the models that come with the project read them, and nothing is stored.

    Raises
    ------
    InputError
        If the folder holds no pictures, or no table of them, or if what would be stored would have
        other bits than elsewhere.
    DataError
        If only a sample of the data is at hand, for what would be stored.
    """
    from helpers.compute import require_portable, start_tensorflow
    from helpers.pictures import MEASURED, REPORT, measure, report

    if not folder:  # as after a bare `make handwriting`
        expected = "expected a folder with table.csv and pictures/; found no name"
        raise InputError(f"HANDWRITING: {expected}. Give one: make handwriting HANDWRITING=folder")
    if trainings and not load_mnist().is_full:
        raise DataError(f"The study is of the complete data set. {DATA_ADVICE}")
    if trainings:
        start_tensorflow()
        require_portable("What is stored in study/")
    measured = measure(Path(folder).expanduser(), trainings)
    print(report(measured))
    if trainings:
        MEASURED.write_text(json.dumps(measured, indent=1, allow_nan=False) + "\n")
        REPORT.write_text(report(measured), encoding="utf-8")
        stored = f"Stored in {MEASURED.relative_to(ROOT)} and {REPORT.relative_to(ROOT)}"
        print(f"{stored}; `git checkout study` brings back what was there.")


def refresh(root: Path = ROOT) -> None:
    """Execute the notebook on the complete data; store it and README's figures if all went well."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    from helpers.compute import require_portable, start_tensorflow

    # The kernel inherits this process's environment, so what holds here holds there.
    start_tensorflow()
    require_portable("The notebook that is stored")
    notebook, build = root / NOTEBOOK.name, root / "build"
    build.mkdir(exist_ok=True)
    os.environ["MNIST_DATA"] = "full"
    executed = _read_notebook(notebook)
    place = {"metadata": {"path": str(root)}}
    try:
        with _kernel_of_this_python() as kernel:
            options = {"timeout": None, "record_timing": False, "resources": place, **kernel}
            NotebookClient(executed, **options).execute()
    except CellExecutionError as error:
        sys.exit(f"{error}\nerror: a cell failed, as shown above; nothing is stored.")
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    if noise := "".join(output["text"] for output in outputs if output.get("name") == "stderr"):
        sys.exit(f"error: the run was not clean; nothing is stored. It said:\n{noise}")
    files = {notebook: f"{nbformat.writes(executed)}\n".encode()}
    for name in ("runs", "embedding"):
        files[root / "figures" / f"{name}.png"] = _figure(executed.cells, name)
    # All are written first and then moved, so that a full disk leaves the old files.
    with tempfile.TemporaryDirectory(dir=build) as folder:
        for path, content in files.items():
            Path(folder, path.name).write_bytes(content)
        for path in files:
            Path(folder, path.name).replace(path)


def _figure(cells: list[Any], name: str) -> bytes:
    """Return the PNG under the cell that calls a function of `helpers.plots`."""
    drawing = [cell for cell in cells if f"plots.{name}(" in cell["source"]]
    for cell in drawing:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    sys.exit(f"error: no cell shows plots.{name}, which README needs; nothing is stored.")


def _read_notebook(path: Path) -> Any:
    """Read a notebook, without what other programs have left in its metadata.

    Raises
    ------
    InputError
        If the file holds no notebook.
    OSError
        If it cannot be read.
    """
    import nbformat

    content = path.read_bytes()
    try:
        notebook = nbformat.reads(content.decode(), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # of many kinds, from json, nbformat and jsonschema
        found = f"expected a Jupyter notebook; found none that can be read ({_first_line(error)})"
        remedy = "Resolve it if it has marks of a merge, <<<<<<<; or take the stored one"
        raise InputError(f"{path}: {found}. {remedy}: git checkout {path.name}.") from None
    # Widgets are those of an earlier run. As Colab leaves them, nbconvert and GitHub fail at them.
    notebook.metadata.pop("widgets", None)
    # Somebody may have chosen another kernel in JupyterLab; papermill needs the language.
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    return notebook


@contextmanager
def _kernel_of_this_python() -> Iterator[dict[str, Any]]:
    """Give the options with which nbclient starts a kernel of the Python that runs this.

    Left to itself, it starts the one that the user or the system has installed as python3.

    Raises
    ------
    KernelError
        If the kernel dies or does not start. Other errors pass.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            # Where there is no folder to look for kernels in, python3 is the kernel of this Python.
            super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)

    try:
        yield {"kernel_manager_class": Manager, "kernel_name": "python3"}
    except RuntimeError as error:
        # nbclient says so of a kernel that dies, and jupyter_client of one that does not start. The
        # latter raises no type of its own.
        if not str(error).startswith(("Kernel died", "Kernel didn't respond")):
            raise
        found = f"{_first_line(error)}: the process that executes the notebook does not answer"
        raise KernelError(f"{found}, as when memory runs out. {MEMORY_ADVICE}") from None


def _first_line(error: Exception) -> str:
    """Return how an error's message begins, or its type if it has no message.

    This is a phrase for a place within a sentence. `errors.reason` returns a sentence, and
    `loading._cause` leaves out folders of this machine.
    """
    return str(error).partition("\n")[0][:100].rstrip(" .") or type(error).__name__


def _write_report(notebook: Any, folder: Path) -> Path:
    """Write a notebook to a folder as a page of HTML; return the page's path."""
    from nbconvert import HTMLExporter

    name = {"metadata": {"name": NOTEBOOK.stem}}
    page, _ = HTMLExporter(template_file=str(TEMPLATE)).from_notebook_node(notebook, name)
    path = folder / f"{NOTEBOOK.stem}.html"
    path.write_text(page, encoding="utf-8")
    return path


def _first_screen(cells: list[Any]) -> str:
    """Return what the notebook's first screen says; nothing if somebody has taken it out."""
    screens = [cell for cell in cells if 'display_id="first-screen"' in cell.source]
    outputs = [output for cell in screens for output in cell.get("outputs", [])]
    return outputs[0].get("data", {}).get("text/plain", "") if outputs else ""


def _whole_number(text: str) -> int:
    """Return the number that an argument gives; an error of argparse if it gives none."""
    number = _value(text)
    if not isinstance(number, int) or not 1 <= number <= MAX_SEEDS:
        expected = f"expected a whole number from 1 to {MAX_SEEDS}, such as 30"
        raise argparse.ArgumentTypeError(f"{expected}; found {text!r}")
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    Raises
    ------
    SystemExit
        With 1 and a sentence if that cannot be done; with 2 if the line makes no sense.
    """
    summary = str(__doc__).partition("\n")[0]
    parser = argparse.ArgumentParser("python -m helpers", description=summary, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    made = {}
    for function in (run, html, nbval, retrain, refresh, study, pictures):
        name = function.__name__
        summary = str(function.__doc__).partition("\n")[0]
        made[name] = commands.add_parser(name, help=summary, allow_abbrev=False)
        made[name].set_defaults(function=function)
    made["run"].add_argument(
        "-p", dest="parameters", action="append", default=[], nargs=2, metavar=("NAME", "VALUE")
    )  # fmt: skip
    made["study"].add_argument("seeds", type=_whole_number, metavar="SEEDS")
    made["study"].add_argument("scheduler", nargs="?")
    made["pictures"].add_argument("folder", metavar="FOLDER")
    made["pictures"].add_argument(
        "trainings", type=_whole_number, nargs="?", default=0, metavar="TRAININGS"
    )
    given = vars(parser.parse_args(arguments))
    try:
        with _without_the_users_jupyter():
            given.pop("function")(**given)
        sys.stdout.flush()  # so that a broken pipe shows here, not at exit
    except ReadableError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        # At its end Python writes what is left, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        stopped = "Stopped: what read the output of this command has ended."
        sys.exit(f"{stopped} What was stored is kept.")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = error.strerror or str(error) or type(error).__name__
        advice = ADVICE.get(error.errno or 0, "")
        sys.exit(f"error: {where}{said}. {advice}".rstrip())
    except MemoryError:
        sys.exit(f"error: memory ran out. {MEMORY_ADVICE}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}. {ENVIRONMENT}")
    except KeyboardInterrupt:
        sys.exit("Stopped. What was stored before is as it was.")


@contextmanager
def _without_the_users_jupyter() -> Iterator[None]:
    """Give Jupyter and IPython a temporary folder instead of the home folder.

    There may be no home folder; or it holds settings, templates and kernels for other projects.
    """
    before = dict(os.environ)
    for name in before:
        if name.startswith(("JUPYTER_", "IPYTHON")):
            del os.environ[name]
    # A kernel that has just been stopped may still write there.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            os.environ[name] = str(Path(folder, name))
        # What is in the virtual environment comes before what the system has installed.
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


if __name__ == "__main__":
    main()
