"""The pad in JupyterLab, in a real browser: drawn on, cleared, in both themes, and after the kernel was restarted."""

import json
import statistics
from math import cos, pi, sin

import nbformat
import pytest
from matplotlib.transforms import Bbox
from test_browser import NOW, SHOTS, browser, choose, jupyterlab, opened, run_all  # noqa: F401 -- a fixture

from tests.thorough.test_colours import contrast

SOURCES = [
    "from helpers.compute import start_tensorflow\nstart_tensorflow()\nfrom helpers import models, pad\n"
    "from helpers.data import load_mnist\nfrom helpers.loading import train_or_load\n"
    "from helpers.training import Settings",
    "digits = load_mnist()\ncandidates = models.DENSE, models.CONV, models.CONV_NORMALISED\n"
    "networks = {each.name: train_or_load(each, digits, Settings()) for each in candidates}",
    "pad.Pad(networks)",
]
ANSWERED = "document.querySelector('.pad .answers').ariaBusy === 'false'"
KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
NO_ANSWER = "No answer yet. If the kernel is not busy, it was restarted: run all cells again."


def arc(x, y, width, height, start, end):
    """Points on an ellipse around (x, y), from one angle to another in quarters; 0 is right, and 1 below."""
    angles = [pi / 2 * (start + (end - start) * step / 12) for step in range(13)]
    return [(x + width * cos(angle), y + height * sin(angle)) for angle in angles]


# Of each digit its strokes, in a square of side 1.
STROKES = [
    [arc(0.5, 0.5, 0.32, 0.5, -1, 3.1)],
    [[(0.55, 0.0), (0.45, 1.0)]],
    [[*arc(0.5, 0.28, 0.3, 0.28, -2, 0.5), (0.15, 1.0), (0.85, 0.97)]],
    [[*arc(0.45, 0.25, 0.3, 0.25, -2, 1), *arc(0.45, 0.75, 0.34, 0.25, -1, 2)]],
    [[(0.2, 0.0), (0.15, 0.5), (0.8, 0.5)], [(0.8, 0.05), (0.75, 1.0)]],
    [[(0.8, 0.0), (0.3, 0.02), (0.25, 0.42), *arc(0.45, 0.68, 0.32, 0.3, -1, 2)]],
    [[(0.65, 0.0), (0.35, 0.3), (0.22, 0.7), *arc(0.5, 0.73, 0.28, 0.26, 2, -2)]],
    [[(0.15, 0.05), (0.85, 0.03), (0.45, 1.0)]],
    [[*arc(0.5, 0.25, 0.26, 0.25, -1, -5)[::-1], *arc(0.5, 0.75, 0.3, 0.25, -1, 3)]],
    [[*arc(0.5, 0.28, 0.28, 0.28, 0, -4), (0.75, 0.6), (0.65, 1.0)]],
]


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):  # noqa: F811
    """A page with a notebook of three cells, the last of which is the pad, all run."""
    cells = [nbformat.v4.new_code_cell(source) for source in SOURCES]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    with jupyterlab(tmp_path_factory.mktemp("pad")) as (address, project):
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), project / "pad.ipynb")
        page = opened(browser, address.replace("mnist_digits.ipynb", "pad.ipynb"), cells=len(cells))
        run_all(page)
        page.locator(".pad").wait_for()
        yield page, project


def draw(page, strokes):
    """Draw strokes as a hand does, in some tenths of a second each, and wait for the answer to the last."""
    page.locator(".pad .paper").scroll_into_view_if_needed()
    box = page.locator(".pad .paper").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + 50 + 120 * x, box["y"] + 35 + 150 * y) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()
    page.wait_for_function(ANSWERED)


def answers(page) -> dict[str, int]:
    """What each network reads; nothing where a sentence is shown."""
    shown = page.locator(".pad .answers > div").all()
    return {each.locator("p").inner_text(): int(each.locator("b").inner_text().split(",")[0]) for each in shown}


def clear(page):
    page.locator(".pad").get_by_role("button", name="Clear").click()
    page.get_by_text("Draw a digit.").wait_for()


# From the end of a stroke until what is shown has been replaced, in milliseconds.
MEASURE = """() => {
  const [paper, answers] = ['.paper', '.answers'].map(name => document.querySelector('.pad ' + name));
  window.delays = [];
  let ended = null;
  paper.addEventListener('pointerup', () => ended = performance.now(), {capture: true});
  new MutationObserver(() => {
    if (ended !== null && answers.ariaBusy === 'false') { window.delays.push(performance.now() - ended); ended = null; }
  }).observe(answers, {attributes: true, childList: true});
}"""


def test_ten_digits_are_read_and_bars_follow_at_once(lab):
    page, _ = lab
    page.evaluate(MEASURE)
    read = []
    for digit, strokes in enumerate(STROKES):
        draw(page, strokes)
        read.append(answers(page))
        page.locator(".pad").screenshot(path=SHOTS / f"pad-{digit}.png")
        clear(page)
        assert answers(page) == {}
    assert read[0].keys() == {"dense", "conv", "conv-normalised"}
    assert sum(each["conv-normalised"] == digit for digit, each in enumerate(read)) >= 9
    delays = page.evaluate("window.delays")
    assert len(delays) >= 10 and statistics.median(delays) < 150


def test_wrong_drawings_and_keys(lab):
    """What is wrong is said in place of the bars; the button can be pressed by keys."""
    page, _ = lab
    draw(page, [[(-0.2, 0), (-0.2, 1)], [(0.9, 0), (0.9, 1)]])
    expected = "drawing: expected a single digit, found 2 side by side."
    assert page.locator(".pad .answers").inner_text().startswith(expected)
    for key in ("Enter", "Space"):
        draw(page, STROKES[1])
        page.locator(".pad button").focus()
        page.keyboard.press(key)
        assert page.locator(".pad .answers").inner_text() == "Draw a digit."


def test_finger(lab):
    """It draws, and does not scroll the page."""
    page, _ = lab
    before = page.locator(".pad .paper").bounding_box()
    finger = page.context.new_cdp_session(page)
    places = [{"x": before["x"] + 110, "y": before["y"] + 30 + 8 * step} for step in range(20)]
    for kind, points in [("touchStart", places[:1]), *(("touchMove", [place]) for place in places), ("touchEnd", [])]:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function(ANSWERED)
    assert answers(page)["conv-normalised"] == 1 and page.locator(".pad .paper").bounding_box() == before
    clear(page)


SLOW = """
import time
from helpers.training import TrainedModel
usual, TrainedModel.predict = TrainedModel.predict, lambda *given: time.sleep(1) or usual(*given)
"""


def test_late_answer_is_better_than_none(lab):
    """While none comes, the pad says what that may mean."""
    page, _ = lab
    execute = f"async code => {{ await {KERNEL}.requestExecute({{code}}).done }}"
    page.evaluate(execute, SLOW)
    draw(page, STROKES[4])
    assert page.locator(".pad .answers").inner_text() == NO_ANSWER
    page.evaluate(execute, "TrainedModel.predict = usual")
    page.locator(".pad .answers b").first.wait_for()
    page.wait_for_function(ANSWERED)
    assert answers(page)["conv-normalised"] == 4
    clear(page)


# Of the page and of the text on it, which may let the page shine through: what a pixel of each comes to.
COLOURS = """pad => {
  const pixel = new OffscreenCanvas(1, 1).getContext('2d');
  return ['backgroundColor', 'color'].map(name => {
    pixel.fillStyle = getComputedStyle(pad)[name];
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data].map(shade => shade / 255);
  });
}"""


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_legible_in_both_themes(lab, theme):
    """On a narrow page, nothing lies over anything else, or is out of shape."""
    page, _ = lab
    page.set_viewport_size({"width": 900, "height": 700})
    page.evaluate("jupyterapp.shell.collapseLeft()")
    page.evaluate("name => jupyterapp.commands.execute('apputils:change-theme', {theme: name})", f"JupyterLab {theme}")
    page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(theme == "Light").lower())
    clear(page)
    draw(page, STROKES[3])
    page.screenshot(path=SHOTS / f"pad-{theme.lower()}.png")
    assert contrast(*page.locator(".pad").evaluate(COLOURS)) >= 7
    parts = page.locator(".pad canvas, .pad button, .pad .answers > div").all()
    boxes = [Bbox.from_bounds(*map(part.bounding_box().get, ("x", "y", "width", "height"))) for part in parts]
    assert all(box.width == box.height for box in boxes[:2])  # else it would be drawn beside the pointer
    assert len({(round(box.width), box.y0) for box in boxes[-3:]}) == 1  # so that bars can be compared
    assert max(box.x1 for box in boxes) <= 900
    assert all(box.count_overlaps(boxes) == 1 for box in boxes)  # itself
    page.set_viewport_size({"width": 1280, "height": 900})


def test_after_a_restart_the_old_pad_says_so(lab):
    """And a pad in a cell that is run again works."""
    page, _ = lab
    choose(page, "Kernel", "Restart Kernel…")
    page.locator(".jp-Dialog").get_by_role("button", name="Confirm").click()
    page.locator(".jp-Dialog").wait_for(state="detached")
    page.wait_for_function(f"() => ({NOW})().idle")
    draw(page, STROKES[7])
    said = page.locator(".pad .answers").inner_text()
    assert said in ("The kernel was restarted: run all cells again.", NO_ANSWER)
    page.locator(".pad").screenshot(path=SHOTS / "pad-restarted.png")
    run_all(page)
    draw(page, STROKES[7])
    assert answers(page)["conv-normalised"] == 7


def test_saved_and_opened_again(lab):
    """What a person saves holds the picture, too, for pages without widgets; and the pad outlives a reload."""
    page, project = lab
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!document.querySelector('.jp-mod-dirty')")
    stored = json.loads((project / "pad.ipynb").read_text(encoding="utf-8"))
    page.reload()
    page.locator(".pad").wait_for()
    draw(page, STROKES[2])
    assert answers(page)["conv-normalised"] == 2
    assert "image/png" in stored["cells"][-1]["outputs"][0]["data"] and "widgets" not in stored["metadata"]
