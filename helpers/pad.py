"""A cell of the notebook shows a pad, and networks classify the digit that one draws on it.

The page's side is `pad.js`. It sends the drawing to the kernel while one draws. `Pad` answers with
the image that the networks get and with their probabilities. anywidget carries the messages.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from IPython import get_ipython
from PIL import Image, ImageDraw

from helpers import plots
from helpers.errors import reason
from helpers.handwriting import as_mnist

TO_DRAW = "To draw a digit here, run all cells in JupyterLab, Jupyter Notebook or VS Code."
TO_INSTALL = (
    "To draw a digit here, install the package anywidget, restart the kernel and run all cells."
)
PAGE = Path(__file__).with_name("pad.js")
# The same numbers stand in pad.js: change both.
SIZE = 224  # pixels of the paper's sides
PEN = 16  # pixels, the width of a stroke
# A stroke that looks like a 3: x and y of its points, in pixels.
EXAMPLE = [
    (66, 66),
    (92, 42),
    (136, 46),
    (150, 78),
    (128, 100),
    (96, 106),
    (136, 112),
    (158, 140),
    (136, 176),
    (64, 170),
]


class Classifier(Protocol):
    """What can classify drawings, such as a `training.TrainedModel`."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n, 10), for images, uint8 of shape (n, 28, 28)."""


@dataclass(frozen=True)
class Pad:
    """A pad, which a cell shows as its value.

    If a person runs the cell, the pad is live. Otherwise the cell shows a picture of a pad, with a
    sentence that says how to get a live one.

    Attributes
    ----------
    networks
        The networks that classify the drawings, by their names.
    """

    networks: Mapping[str, Classifier]

    def read(self, drawing: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Let the networks classify a drawing.

        Parameters
        ----------
        drawing
            Grey values from 0 (black) to 255 (white), uint8, shape (n, n).

        Returns
        -------
        image
            What the networks get, as `as_mnist` makes it: uint8, shape (28, 28).
        answers
            Ten probabilities for each network, by its name.

        Raises
        ------
        HandwritingError
            From `as_mnist`, if the drawing is not a single digit.
        """
        image = as_mnist(drawing, "drawing")
        images = image[np.newaxis]
        answers = {name: network.predict(images)[0] for name, network in self.networks.items()}
        return image, answers

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what IPython shows, by MIME type, and its metadata."""
        sentence = TO_DRAW
        live: dict[str, Any] = {}
        if _is_attended():
            try:
                live = self._widget()._repr_mimebundle_()[0]
            except ImportError:
                sentence = TO_INSTALL
        # A saved notebook keeps the picture, for places that show no widgets, such as GitHub.
        png, metadata = self._picture(sentence)
        still = {"text/plain": sentence, "image/png": base64.b64encode(png).decode()}
        # `still` replaces the widget's text, an object's address, which would differ in each run.
        return live | still, {"image/png": metadata}

    def _picture(self, sentence: str) -> tuple[bytes, dict[str, Any]]:
        """Return a picture of the pad with the example on it, as a PNG, and its metadata."""
        paper = Image.new("L", (SIZE, SIZE), 255)
        ImageDraw.Draw(paper).line(EXAMPLE, fill=0, width=PEN, joint="curve")
        drawing = np.asarray(paper)
        image, answers = self.read(drawing)
        # Networks get light ink. It is shown dark, as on the paper.
        shown = {"the pad": drawing, "what they get": 255 - image}
        return plots.as_png(plots.readings(shown, answers, sentence))

    def _widget(self) -> Any:
        """Make a live pad, which answers each drawing that its page sends.

        Raises
        ------
        ImportError
            If anywidget is not installed.
        """
        import anywidget  # not at the top, so that `_repr_mimebundle_` can do without it

        def answer(sender: Any, question: dict[str, Any], buffers: list[memoryview]) -> None:
            # `asked` tells the page which drawing is answered.
            sender.send(self._answer(buffers[0]) | {"asked": question["asked"]})

        widget = anywidget.AnyWidget(_esm=PAGE.read_text(encoding="utf-8"))
        widget.on_msg(answer)
        # ipywidgets, on which anywidget is built, keeps each widget until it is closed.
        return widget

    def _answer(self, grey_values: memoryview) -> dict[str, Any]:
        """Return `image` and `answers`, or a `sentence` that says what is wrong with a drawing."""
        shades = np.frombuffer(grey_values, np.uint8)
        side = math.isqrt(shades.size)
        try:
            image, answers = self.read(shades.reshape(side, side))
            return {
                "image": image.ravel().tolist(),
                "answers": [[name, each.tolist()] for name, each in answers.items()],
            }
        except Exception as error:  # of any kind: a network of the reader's own may fail
            return {"sentence": reason(error)}


def _is_attended() -> bool:
    """Say whether a person runs the current cell.

    The request to run the cell tells: ``{"code": "Pad(networks)", "allow_stdin": True, ...}``. A
    page allows code to ask for input on stdin, since a person can answer. nbval and nbclient, on
    which papermill and nbconvert are built, do not.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell").get("content", {})
    return bool(request.get("allow_stdin"))
