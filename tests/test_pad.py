"""The pad on Python's side: what it answers, what a page is given, and what a run without a person stores."""

import base64
import inspect
import io
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from jupyter_client.manager import start_new_kernel
from PIL import Image
from test_handwriting import PICTURE, drawn

from helpers import pad
from helpers.handwriting import as_mnist

ROOT = Path(__file__).parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"


class Counter:
    """Reads the number of dark pixels, its last digit: not much, but another drawing is another digit."""

    def predict(self, images):
        assert images.dtype == np.uint8 and images.shape[1:] == (28, 28)
        return np.eye(10, dtype=np.float32)[(images > 127).sum(axis=(1, 2)) % 10]


SOURCE = f"""
import numpy as np
from helpers import pad
{inspect.getsource(Counter)}
pad.Pad({{"counter": Counter()}})
"""


def expected(picture):
    return int((as_mnist(picture) > 127).sum() % 10)


def test_networks_get_the_drawing_as_they_get_pictures():
    image, answers = pad.Pad({"one": Counter(), "two": Counter()}).read(PICTURE)
    assert np.array_equal(image, as_mnist(PICTURE)) and list(answers) == ["one", "two"]
    assert answers["one"].argmax() == answers["two"].argmax() == expected(PICTURE)


def test_without_jupyter_it_is_a_picture():
    bundle, metadata = pad.Pad({"one": Counter()})._repr_mimebundle_()
    assert bundle.keys() == {"text/plain", "image/png"} and bundle["text/plain"] == pad.TO_DRAW
    assert pad.TO_DRAW in metadata["image/png"]["alt"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L"))
    assert picture.shape[1] > 800 and picture[0, 0] == 255


@pytest.mark.thorough
def test_where_nobody_attends_a_picture_and_a_sentence_are_stored_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = tmp_path / "pad.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SOURCE)], metadata=kernel), path)
    papermill.execute_notebook(path, path, progress_bar=False, cwd=ROOT)
    ((output,),) = [cell["outputs"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert output["data"].keys() == {"text/plain", "image/png"}
    assert "widget" not in path.read_text(encoding="utf-8")
    command = [sys.executable, "-m", "pytest", path, "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and "1 passed" in result.stdout, result.stdout


# --- where a person runs the cell


class Page:
    """A kernel, and what a page gets of it that lets code ask for input."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))

    def run(self, source: str) -> list[dict]:
        """All messages that come of a cell, until the kernel is idle."""
        return self.until_idle(self.client.execute(source, allow_stdin=True))

    def send(self, comm: str, content: dict, *buffers: bytes) -> list[dict]:
        data = {"comm_id": comm, "data": {"method": "custom", "content": content}}
        message = self.client.session.msg("comm_msg", data)
        self.client.session.send(self.client.shell_channel.socket, message, buffers=list(buffers))
        return self.until_idle(message["header"]["msg_id"])

    def until_idle(self, cause: str) -> list[dict]:
        found = []
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == cause:
                found.append(message)
                if message["content"].get("execution_state") == "idle":
                    return found


@pytest.fixture(scope="module")
def page():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        page = Page()
    yield page
    page.client.stop_channels()
    page.manager.shutdown_kernel(now=True)


def shown(messages: list[dict]) -> dict:
    (output,) = [each["content"]["data"] for each in messages if each["msg_type"] == "execute_result"]
    return output


@pytest.fixture(scope="module")
def live(page) -> dict:
    """What a page gets: the widget, and the picture beside it."""
    found = shown(page.run(SOURCE))
    assert found.keys() == {"text/plain", "image/png", WIDGET}
    assert found["text/plain"] == pad.TO_DRAW  # no address of an object, which would differ from run to run
    return found


def ask(page, live, picture):
    """The answer to a drawing that the page sends."""
    sent = page.send(live[WIDGET]["model_id"], {"asked": 0.5}, picture.tobytes())
    (answer,) = [each["content"]["data"]["content"] for each in sent if each["msg_type"] == "comm_msg"]
    assert answer.pop("asked") == 0.5
    return answer


@pytest.mark.thorough
def test_drawing_is_answered_and_a_wrong_one_with_a_sentence(page, live):
    for size in (224, 300):
        picture = drawn((size, size))
        answer = ask(page, live, picture)
        assert np.array_equal(np.reshape(answer["image"], (28, 28)), as_mnist(picture))
        assert answer["answers"] == [["counter", np.eye(10)[expected(picture)].tolist()]]
    answer = ask(page, live, np.full((224, 224), 255, np.uint8))
    assert answer.keys() == {"sentence"} and answer["sentence"].startswith("drawing: expected a digit, found no ink")


@pytest.mark.thorough
def test_network_that_fails_is_answered_with_its_error(page):
    source = SOURCE.replace("pad.Pad", "drawn = pad.Pad") + "counter = drawn.networks['counter']\ndrawn"
    output = shown(page.run(source))
    page.run("counter.predict = None")
    assert ask(page, output, PICTURE) == {"sentence": "'NoneType' object is not callable."}


@pytest.mark.thorough
def test_without_anywidget_a_sentence_says_so(page):
    page.run("import sys; kept = sys.modules['anywidget']; sys.modules['anywidget'] = None")
    messages = page.run(SOURCE)
    page.run("sys.modules['anywidget'] = kept")
    assert shown(messages).keys() == {"text/plain", "image/png"}
    assert shown(messages)["text/plain"] == pad.TO_INSTALL
    assert not [each for each in messages if each["msg_type"] in ("stream", "error")]
