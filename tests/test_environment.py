"""The environment: what is asked for, what is locked, what is installed, on which Pythons and systems."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from threading import Timer
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_notebook import CODE, source

ROOT = Path(__file__).parent.parent
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
PINS = [line for line in REQUIREMENTS if line and not line.startswith("#")]


def locked() -> list[tuple[str, str, int, bool]]:
    """Of each entry of the lock: pin, marker, number of digests, and whether requirements.txt asks for it."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S+==\S+)(?: ; (.*?))? \\\n((?: +.*\n?)+)", text, re.MULTILINE)
    return [(pin, marker, rest.count("--hash=sha256:"), "-r requirements.txt" in rest) for pin, marker, rest in entries]


def test_each_requirement_is_pinned_and_explained_and_locked_with_digests():
    """If the lock is not in line: make lock."""
    assert len(PINS) > 10
    for line in PINS:
        assert re.fullmatch(r"[a-z-]+==[\d.]+ +# .+", line), line
    asked_for = [pin for pin, marker, _, direct in locked() if direct and not marker]
    assert sorted(asked_for) == sorted(line.split()[0] for line in PINS)
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert len(locked()) == sum(bool(re.match(r"[^ #]", line)) for line in lines) > 100
    assert all(digests for _, _, digests, _ in locked())
    conda = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert conda.endswith("\n  - pip\n  - pip:\n      - -r requirements.lock\n")
    # TensorFlow comes as a wheel for each of three Pythons and four systems, and as nothing else.
    ((_, marker, digests, _),) = [entry for entry in locked() if entry[0].startswith("tensorflow==")]
    assert not marker and digests >= 3 * 4


@pytest.mark.parametrize("pin", [line.split()[0] for line in PINS])
def test_installed_is_what_is_pinned(pin):
    name, wanted = pin.split("==")
    assert version(name) == wanted


@pytest.mark.thorough
def test_no_file_names_a_package_index():
    """Where packages come from is the business of whoever installs them."""
    if not (ROOT / ".git").exists():
        pytest.skip("the files of the project are those that git tracks")
    index = (
        r"(pypi\.(org|python))|(files\.pythonhosted)|(^|[^-_[:alnum:]])--(extra-)?index-url[ =]|[a-z]+://[^ ]*/simple\b"
    )
    found = subprocess.run(
        ["git", "grep", "-lE", index, "--", ":!tests/test_environment.py"], cwd=ROOT, capture_output=True
    )
    assert (found.stdout, found.returncode) == (b"", 1)


@pytest.mark.thorough
def test_installers_of_packages_do_what_is_meant(tmp_path):
    """`pip install .` installs what the notebook needs; `uv sync` removes nothing."""
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("helpers", "tests", "models"):
        (tmp_path / name).mkdir()
    sync = [sys.executable, "-m", "uv", "sync", "--offline", "--dry-run", "--no-python-downloads"]
    assert "marked as unmanaged" in subprocess.run(sync, cwd=tmp_path, capture_output=True, text=True).stderr
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path / "out"), "."]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    if "No matching distribution found for setuptools" in built.stderr:
        pytest.skip("setuptools, which builds packages, cannot be had without a network")
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next((tmp_path / "out").iterdir())) as wheel:
        assert all(".dist-info/" in name for name in wheel.namelist())
        about = wheel.read(next(name for name in wheel.namelist() if name.endswith("METADATA"))).decode()
    assert re.findall("^Requires-Dist: (.*)$", about, re.MULTILINE) == [line.split()[0] for line in PINS]


HOSTILE = {
    ".keras/keras.json": '{"backend": "jax", "floatx": "float16", "image_data_format": "channels_first"}',
    ".config/matplotlib/matplotlibrc": "axes.facecolor: black\ntext.color: white\nlines.linewidth: 5\nfont.size: 20\n",
    ".ipython/profile_default/startup/mine.py": "import pandas\npandas.set_option('display.max_rows', 3)\n",
    ".ipython/profile_default/ipython_config.py": "c.InteractiveShell.ast_node_interactivity = 'all'\n"
    "c.InlineBackend.figure_formats = {'svg'}\n",
    "other/helpers/__init__.py": "1 / 0\n",
}
CELLS = [
    source(CODE[0]),
    "'one'\npd.DataFrame(np.eye(9) / 7)",
    "models.summary(models.CONV.build())",
    "keras.config.floatx(), keras.config.image_data_format(), keras.backend.backend()",
    "plots.history_curves({'dense': {'accuracy': [0.1, 0.9], 'val_accuracy': [0.2, 0.8]}}, 'Two epochs')",
]


@pytest.mark.thorough
@pytest.mark.tensorflow
def test_what_the_user_has_set_for_other_projects_stays_out(tmp_path):
    """In JupyterLab, too, which `make` does not shut off: a notebook's outputs are those of an empty home."""
    outputs = []
    hostile = {"KERAS_BACKEND": "torch", "PYTHONSAFEPATH": "1", "PYTHONPATH": str(tmp_path / "hostile" / "other")}
    for name, files, more in (("empty", {}, {}), ("hostile", HOSTILE, hostile)):
        (home := tmp_path / name).mkdir()
        for name, content in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(content)
        ours = {"IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_CONFIG_DIR"}
        environment = {name: value for name, value in os.environ.items() if name not in ours} | more
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
        client = NotebookClient(book, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
        client.execute(env=environment | {"HOME": str(home)})
        outputs.append([cell.outputs for cell in book.cells])
    assert outputs[0] == outputs[1] and [len(shown) for shown in outputs[0]] == [0, 1, 1, 1, 1]


FOREIGN = (
    "PYTHONINSPECT PYTHONPATH PYTEST_ADDOPTS PYTEST_DISABLE_PLUGIN_AUTOLOAD PYTEST_DEBUG MPLBACKEND MATPLOTLIBRC "
    "JUPYTER_CONFIG_PATH JUPYTER_PATH JUPYTER_NO_CONFIG JPY_SESSION_NAME IPYTHON_SUPPRESS_CONFIG_ERRORS "
    "PIP_TARGET PIP_CONSTRAINT PIP_NO_DEPS UV_PRERELEASE UV_EXCLUDE_NEWER MYPYPATH RUFF_OUTPUT_FORMAT"
).split()
SOURCES = (
    "PIP_INDEX_URL PIP_CERT PIP_CONFIG_FILE UV_INDEX_URL UV_DEFAULT_INDEX UV_INDEX_OURS_PASSWORD "
    "HTTPS_PROXY SSL_CERT_FILE PYENV_VERSION MNIST_NPZ DASK_LOGGING__DISTRIBUTED"
).split()


def test_variables_for_other_projects_stay_out(tmp_path):
    """By their kind; only where packages come from is the user's to say, and what JupyterLab is like."""
    (including := tmp_path / "Makefile").write_text(f"include {ROOT / 'Makefile'}\nenvironment lab:\n\t@env\n")
    hostile = os.environ | {"BASH_FUNC_hello%%": "() { true; }"} | dict.fromkeys(FOREIGN + SOURCES, "theirs")

    def seen(goal: str) -> set[str]:
        command = ["make", "--silent", "--file", str(including), goal]
        printed = subprocess.run(command, cwd=ROOT, env=hostile, capture_output=True, text=True, check=True).stdout
        return set(re.findall("^([A-Z_]+)=theirs$", printed, re.MULTILINE))

    assert seen("environment") == set(SOURCES)
    assert seen("lab") == {*SOURCES, "JUPYTER_CONFIG_PATH", "JUPYTER_NO_CONFIG", "IPYTHON_SUPPRESS_CONFIG_ERRORS"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="here, no process is kept to one core")
def test_as_many_tests_run_at_once_as_there_is_room_for(request, monkeypatch, tmp_path):
    count = request.config.pluginmanager.hook.pytest_xdist_auto_num_workers
    assert 1 <= count(config=request.config) <= min(4, os.cpu_count())
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert count(config=request.config) == 1
    finally:
        os.sched_setaffinity(0, cores)
    monkeypatch.setattr("joblib.cpu_count", lambda: 96)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=400e9))
    assert count(config=request.config) == 4
    (conftest,) = (each for each in request.config.pluginmanager.get_plugins() if hasattr(each, "CONTROL_GROUP"))
    monkeypatch.setattr(conftest, "CONTROL_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert count(config=request.config) == 4
    (tmp_path / "memory.max").write_text("3221225472\n")
    assert count(config=request.config) == 2


@pytest.mark.thorough
def test_jupyterlab_opens_the_notebook_whatever_folder_is_set(tmp_path):
    """For root, too, as whom many work in a container."""
    (tmp_path / "other").mkdir()
    (tmp_path / "jupyter_server_config.py").write_text(
        f"c.ServerApp.root_dir = {str(tmp_path)!r}\nc.FileContentsManager.root_dir = {str(tmp_path)!r}\n"
        "c.FileContentsManager.preferred_dir = 'other'\nc.ServerApp.open_browser = False\n"
    )
    command = ["make", "--old-file=.venv/installed", f"BIN={Path(sys.executable).parent}", "lab"]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path)}
    said = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as lab:
        (patience := Timer(60, os.killpg, (lab.pid, signal.SIGKILL))).start()
        try:
            for line in lab.stderr:
                said.append(line)
                if found := re.search(r"(http://127\.0\.0\.1:\d+/)lab(\?token=\w+)", line):
                    break
            else:
                pytest.fail("".join(said))
            while lab.poll() is None:
                with suppress(urllib.error.URLError):  # it prints its address before it answers
                    url = f"{found[1]}api/contents/mnist_digits.ipynb{found[2]}&content=0"
                    size = json.load(urllib.request.urlopen(url))["size"]
                    break
                time.sleep(0.1)
            assert size == (ROOT / "mnist_digits.ipynb").stat().st_size
        finally:
            patience.cancel()
            os.killpg(lab.pid, signal.SIGKILL)


@pytest.mark.thorough
def test_notebooks_are_compared_and_merged_in_every_work_tree(tmp_path):
    """By nbdime, which the work tree beside has; as text when the clone was moved, and .venv is gone."""
    identity = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull}

    def call(*command: str | Path, cwd: str, check: bool = True) -> str:
        return subprocess.run(
            command, cwd=tmp_path / cwd, env=environment, capture_output=True, text=True, check=check
        ).stdout

    (clone := tmp_path / "clone").mkdir()
    for name in ("Makefile", ".gitattributes", ".gitignore", ".pre-commit-config.yaml"):
        shutil.copyfile(ROOT / name, clone / name)
    cells = [nbformat.v4.new_code_cell(text, id=text) for text in ("one", "two", "three")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), clone / "book.ipynb")
    call("git", "init", "--quiet", "--initial-branch=main", cwd="clone")
    call("git", "add", ".", cwd="clone")
    call("git", "commit", "--quiet", "--message=one", cwd="clone")
    (clone / ".venv").symlink_to(Path(sys.prefix))
    call("make", "--old-file=.venv/installed", "setup-git", cwd="clone")
    (clone / ".git" / "hooks" / "pre-commit").unlink()
    call("git", "worktree", "add", "--quiet", "-b", "side", "../other", cwd="clone")
    for folder, text in (("clone", "one"), ("other", "three")):
        book = tmp_path / folder / "book.ipynb"
        book.write_text(book.read_text().replace(f'"{text}"\n   ]', f'"{text} here"\n   ]'))
    assert "## modified /cells/2/source" in call("git", "diff", cwd="other")
    call("git", "commit", "--quiet", "--all", "--message=here", cwd="clone")
    call("git", "commit", "--quiet", "--all", "--message=there", cwd="other")
    call("git", "merge", "--quiet", "main", cwd="other")
    assert [cell.source for cell in nbformat.read(book, 4).cells] == ["one here", "two", "three here"]

    call("git", "reset", "--quiet", "--hard", "HEAD~", cwd="other")
    (clone / ".venv").unlink()
    assert "+++ b/book.ipynb\n" in call("git", "diff", "HEAD~", cwd="other")
    call("git", "merge", "--quiet", "main", cwd="other")
    assert [cell.source for cell in nbformat.read(book, 4).cells] == ["one here", "two", "three here"]


def test_a_filter_of_the_users_leaves_a_clone_as_it_is(tmp_path):
    """Such as nbstripout, which many have git call for each notebook."""
    if not (ROOT / ".git").exists():
        pytest.skip("there is nothing to clone")
    (tmp_path / "attributes").write_text("*.ipynb filter=strip\n*.png filter=strip\n*.md ident\n")
    (tmp_path / "config").write_text(
        f"[core]\nattributesFile = {tmp_path / 'attributes'}\n"
        '[filter "strip"]\nclean = sed s/o/0/\nsmudge = sed s/o/0/\nrequired = true\n'
    )
    environment = os.environ | {"GIT_CONFIG_GLOBAL": str(tmp_path / "config")}
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], env=environment, check=True)
    status = ["git", "status", "--porcelain"]
    assert subprocess.check_output(status, cwd=tmp_path / "clone", env=environment) == b""
    for name in ("mnist_digits.ipynb", "figures/runs.png"):
        committed = subprocess.check_output(["git", "show", f"HEAD:{name}"], cwd=ROOT)
        assert (tmp_path / "clone" / name).read_bytes() == committed


def set_up(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Start the set-up of a project in a folder, whose only package is found in the folder `packages`."""
    ours = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "packages")}
    return subprocess.Popen(
        ["make", ".venv/installed"], cwd=folder, env=os.environ | ours | variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def what_works(folder: Path) -> str:
    """What the package in the environment says, called as a command."""
    return subprocess.check_output([folder / ".venv" / "bin" / "tiny"], text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Makefile and set-up as they are here, a package in two versions, and a lock that names the first."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Makefile", "helpers/__init__.py", "helpers/environment.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "packages").mkdir()
    for number in ("1", "2"):
        wheel = folder / "packages" / f"tiny-{number}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr("tiny.py", f"def main():\n    print({number})\n")
            about = f"tiny-{number}.dist-info"
            file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {number}\n")
            file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr(f"{about}/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
            file.writestr(f"{about}/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (folder / f"lock-{number}").write_text(f"tiny=={number} \\\n    --hash=sha256:{digest}\n")
    shutil.copyfile(folder / "lock-1", folder / "requirements.lock")
    return folder


@contextmanager
def a_silent_index() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """An index that accepts connections and never answers, and the variables that name it."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        url = f"http://127.0.0.1:{index.getsockname()[1]}/"
        yield index, {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": url, "NO_PROXY": "127.0.0.1"}


def stopped(folder: Path, by: signal.Signals) -> str:
    """What a set-up says that is stopped while it waits for its index."""
    with a_silent_index() as (index, variables):
        setting_up = set_up(folder, **variables)
        index.accept()
        os.killpg(setting_up.pid, by)
        return setting_up.communicate()[0]


@pytest.mark.thorough
@pytest.mark.skipif(os.name == "nt", reason="stops commands as Unix does")
def test_a_set_up_is_whole_or_the_one_before_stays(project):
    """Without a network, after Ctrl-C, after kill -9, and when it was killed between its last two steps."""
    assert "Stopped. .venv is not there yet" in stopped(project, signal.SIGINT)
    first, second = set_up(project), set_up(project)
    said = sorted((first.communicate()[0], second.communicate()[0]), key=len)
    assert first.returncode == second.returncode == 0 and "waiting" in "".join(said)
    assert "".join(said).count("Setting up .venv") == 1 and what_works(project) == "1\n"

    (project / "requirements.lock").touch()  # as a branch checked out and back does
    assert subprocess.run(["make", "--question", ".venv/installed"], cwd=project).returncode == 0

    shutil.copyfile(project / "lock-2", project / "requirements.lock")
    stopped(project, signal.SIGKILL)
    assert what_works(project) == "1\n"
    (project / ".venv").rename(project / ".venv.old")
    failing = set_up(project, PIP_FIND_LINKS="")
    assert ".venv is left as it was" in failing.communicate()[0] and failing.returncode == 2
    assert what_works(project) == "1\n"

    assert set_up(project).wait() == 0
    assert what_works(project) == "2\n"
    assert not [*project.glob(".venv.*")]
