"""The notebook in JupyterLab, in a real browser: run, changed, interrupted, and run again; and as it looks on GitHub.

Screenshots for a look at them go to build/browser/.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from jupyter_server.serverapp import list_running_servers

from tests.test_notebook import CODE, PATH
from tests.thorough.test_github import as_on_github

ROOT = PATH.parent
SHOTS = ROOT / "build" / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update".split()
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # All cells are laid out, so none moves while its picture is taken.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
SECONDS = 150  # for a run of the notebook; on an idle machine with two cores it takes 30
# JupyterLab's own idea of the notebook: its page shows no execution count where a cell's code is folded away.
NOW = """() => {
    const {content, sessionContext} = jupyterapp.shell.currentWidget;
    const idle = sessionContext.session?.kernel?.status === 'idle'
        && content.widgets.every(cell => cell.model.executionState !== 'running');
    return {idle, cells: content.model.toJSON().cells.filter(cell => cell.cell_type === 'code')};
}"""
FAILED = "cell => cell.outputs.some(output => output.output_type === 'error')"
DONE = f"""() => {{
  const {{idle, cells}} = ({NOW})();
  return idle && (cells.at(-1).execution_count || cells.some({FAILED}));
}}"""
CLEARED = f"() => {{ const {{idle, cells}} = ({NOW})(); return idle && cells.every(cell => !cell.execution_count); }}"


@pytest.fixture(scope="module")
def browser():
    give_up = pytest.fail if os.environ.get("BROWSER_REQUIRED") else pytest.skip
    for package in ("jupyterlab", "playwright"):
        if find_spec(package) is None:
            give_up(f"needs the package {package}; `make browser-test` installs it")
    names = list(filter(None, [os.environ.get("CHROMIUM")])) or BROWSERS
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        give_up(f"needs Chromium or Chrome, on the path or named by CHROMIUM; found no {', no '.join(names)}")
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # for root, Chromium has no sandbox
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=QUIET, chromium_sandbox=not root)
        yield browser
        browser.close()


@contextmanager
def jupyterlab(folder: Path, **environment: str) -> Iterator[tuple[str, Path]]:
    """JupyterLab with settings of its own and a copy of the project; yields the notebook's address, and the copy."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "build", "local", "__pycache__"))
    for name, settings in SETTINGS.items():
        file = folder / "config/lab/user-settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    own = {f"JUPYTER_{name.upper()}_DIR": str(folder / name) for name in ("config", "data", "runtime")}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"), "IPYTHONDIR": str(folder / "ipython")}
    options = "--no-browser --allow-root --expose-app-in-browser --ServerApp.ip=127.0.0.1 --ServerApp.port=0".split()
    command, environment = [sys.executable, "-m", "jupyterlab", *options], os.environ | own | environment
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        yield _address(server, folder), project
    finally:
        server.terminate()  # it takes its kernels with it
        server.wait(60)


def _address(server: subprocess.Popen, folder: Path) -> str:
    """Where the notebook is to be opened, once the server has written down its port and its token."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        for found in list_running_servers(folder / "runtime"):
            return f"{found['url']}lab/tree/{PATH.name}?token={found['token']}"
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{(folder / 'server.log').read_text()[-2000:]}")


def opened(browser, address: str, cells: int = len(CODE)):
    """The page with the notebook, once all of its code cells are there."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)  # milliseconds; on an idle machine with two cores nothing takes more than 15,000
    page.goto(address)
    page.wait_for_function(f"document.querySelectorAll('.jp-Notebook .jp-CodeCell').length === {cells}")
    page.wait_for_function(f"() => ({NOW})().idle")
    return page


def shoot(page, cell_with: str, name: str) -> None:
    """Take a screenshot with the first code cell that shows this text at its top."""
    page.locator(".jp-CodeCell", has_text=cell_with).first.evaluate("cell => cell.scrollIntoView()")
    page.screenshot(path=SHOTS / f"{name}.png")


def choose(page, menu: str, item: str) -> None:
    page.locator("#jp-MainMenu .lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()


def run_all(page) -> list[dict]:
    """Clear all outputs, run all cells, wait for the end, and return what each code cell shows."""
    choose(page, "Edit", "Clear Outputs of All Cells")
    page.wait_for_function(CLEARED)
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(DONE, timeout=1000 * SECONDS)
    return page.evaluate(NOW)["cells"]


def text(cell: dict) -> str:
    """What a code cell shows, as plain text; of an error its name and message."""

    def shown(output: dict) -> str:
        if output["output_type"] == "error":
            return f"{output['ename']}: {output['evalue']}"
        return "".join(output.get("text") or output["data"]["text/plain"])

    return "\n".join(map(shown, cell["outputs"]))


def check_clean(cells: list[dict]) -> None:
    """All cells have been run, in their order, without an error, and nothing is left of a progress bar."""
    for number, cell in enumerate(cells, start=1):
        kinds = {output.get("name", output["output_type"]) for output in cell["outputs"]}
        assert kinds <= {"stdout", "display_data", "execute_result"}, f"code cell {number}: {text(cell)}"
        assert isinstance(cell["execution_count"], int), f"code cell {number} was not run"
        assert "step/s" not in text(cell), f"code cell {number}: {text(cell)}"


def stored_models(project: Path) -> dict[str, bytes]:
    """Every file under models/ by its name, but for the lock."""
    files = [path for path in (project / "models").rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(project / "models")): path.read_bytes() for path in files}


def test_run_all(browser, tmp_path):
    """As a newcomer does it. Each figure can be seen whole."""
    with jupyterlab(tmp_path) as (address, _):
        page = opened(browser, address)
        cells = run_all(page)
        check_clean(cells)
        assert "the better of its two networks is" in text(cells[2])
        page.locator(".jp-Notebook .jp-Cell").first.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / "first-screen.png")
        figures = page.locator(".jp-OutputArea-output img").all()
        assert len(figures) >= 11  # the twelfth compares with the study, which a run on the sample does not
        for number, figure in enumerate(figures, start=1):
            figure.screenshot(path=SHOTS / f"figure-{number:02}.png")
            widths = "image => [image.naturalWidth, image.width, image.closest('.jp-OutputArea').clientWidth]"
            width, shown, room = figure.evaluate(widths)
            assert width > 0 and shown <= room, f"figure {number}: {width} pixels, shown in {shown} of {room}"


@pytest.fixture(scope="module")
def sample(browser, tmp_path_factory):
    """The notebook in JupyterLab on the sample, on which training takes seconds; and the copy of the project."""
    with jupyterlab(tmp_path_factory.mktemp("sample"), MNIST_DATA="sample") as (address, project):
        yield opened(browser, address), project


def test_interrupted_training_leaves_nothing_and_is_done_again(sample):
    page, project = sample
    choose(page, "Run", "Run All Cells")
    page.get_by_text(re.compile("training conv: .*epoch=1")).wait_for()
    shoot(page, "training conv:", "training")
    before = stored_models(project)
    choose(page, "Kernel", "Interrupt Kernel")
    page.wait_for_function(DONE)
    cells = page.evaluate(NOW)["cells"]
    ((interrupted, error),) = [(cell, each) for cell in cells for each in cell["outputs"] if "traceback" in each]
    assert "(conv, *own)" in interrupted["source"] and "step/s" not in text(interrupted)
    said = "TrainingError: training conv was stopped, and nothing was stored. Start it again to train it."
    assert error["traceback"] == [said] and interrupted["outputs"][-1] == error
    shoot(page, "TrainingError", "interrupted")
    assert stored_models(project) == before and not any("conv-" in name for name in before if name.startswith("local"))
    cells = run_all(page)
    check_clean(cells)
    origins = "\n".join(map(text, cells))
    assert "dense: loaded from the cache" in origins  # it was stored before the interruption
    assert "conv: trained here" in origins and "conv-normalised: trained here" in origins


def test_changed_parameter_is_the_reason_for_training_anew(sample):
    page, _ = sample
    choose(page, "Kernel", "Restart Kernel and Clear Outputs of All Cells…")
    page.locator(".jp-Dialog").get_by_role("button", name="Confirm").click()
    page.wait_for_function(CLEARED)
    page.locator(".cm-line").get_by_text("epochs = 5", exact=True).click()
    for key in ("End", "Backspace", "1"):
        page.keyboard.press(key)
    cells = run_all(page)
    check_clean(cells)
    origins = "\n".join(map(text, cells))
    for name in ("dense", "conv", "conv-normalised"):
        assert f"{name}: trained here (epochs changed from 5 to 1" in origins
    shoot(page, "dense: trained here", "epochs-changed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_on_github(browser, width, scheme):
    """Nothing makes the page itself wider than the screen; on a large one, no table has to be scrolled."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_content(f"<style>{GITHUB_LIKE}</style><body>{as_on_github()}</body>")
    page.screenshot(path=SHOTS / f"github-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    if width == 1280:
        is_wide = "area => area.scrollWidth > area.clientWidth"
        wide = f"() => [...document.querySelectorAll('.output_subarea')].filter({is_wide})"
        assert page.evaluate(f"({wide})().map(area => area.innerText)") == []


# GitHub's own is not public; this has its colours, its width, and nbconvert's tables.
GITHUB_LIKE = """
:root { color-scheme: light dark; --text: light-dark(#1f2328, #f0f6fc); --page: light-dark(#fff, #0d1117);
        --grey: light-dark(#f6f8fa, #151b23); --line: light-dark(#d1d9e0, #3d444d) }
body { max-width: 880px; margin: 0 auto; padding: 16px; color: var(--text); background: var(--page);
       font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1, h2 { border-bottom: 1px solid var(--line) } .prompt, .anchor-link { display: none }
.input_area { margin: 12px 0; padding: 8px; background: var(--grey); overflow-x: auto }
pre { margin: 0; font-size: 13px }
blockquote { margin: 0; padding: 0 1em; border-left: .25em solid var(--line) }
.output_subarea { overflow-x: auto } img { max-width: 100% } table { border-collapse: collapse; font-size: 13px }
th, td { padding: 6px; text-align: right } thead { border-bottom: 1px solid var(--line) }
tbody tr:nth-child(odd) { background: var(--grey) }
"""
