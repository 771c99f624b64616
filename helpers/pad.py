"""A pad in the notebook's page to draw a digit on, which networks read while one draws.

The page, `pad.js`, sends the drawing to the kernel; `Pad` answers it with what the networks get and
with their probabilities. The library anywidget carries the messages.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from IPython import get_ipython
from PIL import Image, ImageDraw

from helpers import plots
from helpers.checks import reason
from helpers.handwriting import as_mnist

TO_DRAW = "To draw a digit here, run all cells in JupyterLab, Jupyter Notebook or VS Code."
TO_INSTALL = (
    "To draw a digit here, install the package anywidget, restart the kernel and run all cells."
)
PAGE = Path(__file__).with_name("pad.js")
# A stroke that looks like a 3, on paper of 224 x 224 pixels: x and y of each of its points.
EXAMPLE = [
    66, 66, 92, 42, 136, 46, 150, 78, 128, 100, 96, 106, 136, 112, 158, 140, 136, 176, 64, 170,
]  # fmt: skip


@dataclass(frozen=True)
class Pad:
    """A pad, shown where a person runs the cell whose value it is.

    Elsewhere a picture of a pad is shown, with a sentence that says how to get a live one.

    Attributes
    ----------
    networks : by name
        What reads the drawings. Each has a `predict` like that of `training.TrainedModel`.
    """

    networks: Mapping[str, Any]

    def read(self, drawing: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Let the networks read a drawing.

        Parameters
        ----------
        drawing : grey values from 0 (black) to 255 (white), uint8, shape (n, n)

        Returns
        -------
        image : what the networks get, as `as_mnist` makes it: uint8, shape (28, 28)
        answers : for each network, by its name, ten probabilities

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
        """Return what IPython shows, by type, and what describes it."""
        sentence = TO_DRAW
        live: dict[str, Any] = {}
        if _is_attended():
            try:
                live = self._widget()._repr_mimebundle_()[0]
            except ImportError:
                sentence = TO_INSTALL
        # The picture goes beside the widget, too: a notebook that was saved with a widget can be
        # read where there are no widgets, on GitHub for instance.
        png, description = self._picture(sentence)
        still = {"text/plain": sentence, "image/png": base64.b64encode(png).decode()}
        return live | still, {"image/png": description}

    def _picture(self, sentence: str) -> tuple[bytes, dict[str, Any]]:
        """Draw a pad with the example on it: a PNG, and the metadata that describe it."""
        paper = Image.new("L", (224, 224), 255)
        ImageDraw.Draw(paper).line(EXAMPLE, fill=0, width=16, joint="curve")
        drawing = np.asarray(paper)
        image, answers = self.read(drawing)
        shown = {"the pad": drawing, "what they get": 255 - image}
        return plots.as_png(plots.readings(shown, answers, sentence))

    def _widget(self) -> Any:
        """Make the live pad, which answers the drawings that its page sends."""
        import anywidget  # only here: a run that nobody attends does without it

        def answer(widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
            shades = np.frombuffer(buffers[0], np.uint8)
            side = math.isqrt(shades.size)
            found: dict[str, Any]
            try:
                image, answers = self.read(shades.reshape(side, side))
                found = {
                    "image": image.ravel().tolist(),
                    "answers": [[name, each.tolist()] for name, each in answers.items()],
                }
            except Exception as error:
                # Of any kind, for networks may be the reader's own: the page waits for an answer.
                found = {"sentence": reason(error)}
            # By what it asked with, the page knows which drawing is answered.
            widget.send(found | {"asked": content["asked"]})

        widget = anywidget.AnyWidget(_esm=PAGE.read_text(encoding="utf-8"))
        widget.on_msg(answer)
        return widget


def _is_attended() -> bool:
    """Say whether a person sees what the running cell displays.

    Jupyter's messages tell. A page lets code ask its reader for input (`allow_stdin`). nbval does
    not, nor does nbclient, on which papermill and nbconvert are built: nobody would answer.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))
