"""The environment: what is asked for, what is locked, what is installed, on which Pythons and systems."""

import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

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
