"""A pad to draw a digit on, in the notebook's page: networks read it while one draws."""

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
TO_INSTALL = "To draw a digit here, install the package anywidget, restart the kernel and run all cells."
PAGE = Path(__file__).with_name("pad.js")
# A 3, on paper of 224 x 224 pixels.
EXAMPLE = [66, 66, 92, 42, 136, 46, 150, 78, 128, 100, 96, 106, 136, 112, 158, 140, 136, 176, 64, 170]


@dataclass(frozen=True)
class Pad:
    """A pad to draw on, where a person runs the cell whose value it is; elsewhere a picture of it, with a sentence."""

    networks: Mapping[str, Any]  # by name, what reads the drawings: it has a `predict`, as `training.TrainedModel` has

    def read(self, drawing: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The image that `as_mnist` makes of a drawing, and the networks' answers."""
        image = as_mnist(drawing, "drawing")
        return image, {name: network.predict(image[np.newaxis])[0] for name, network in self.networks.items()}

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        sentence, shown = TO_DRAW, dict[str, Any]()
        if _is_attended():
            try:
                shown = self._widget()._repr_mimebundle_()[0]
            except ImportError:
                sentence = TO_INSTALL
        # Also beside the widget, for pages that show none: a notebook that was saved with it can be read on GitHub.
        picture = Image.new("L", (224, 224), 255)
        ImageDraw.Draw(picture).line(EXAMPLE, fill=0, width=16, joint="curve")
        drawing = np.asarray(picture)
        image, answers = self.read(drawing)
        still = plots.readings({"the pad": drawing, "what they get": 255 - image}, answers, sentence)
        png, metadata = plots.as_png(still)
        data = {"text/plain": sentence, "image/png": base64.b64encode(png).decode()}
        return shown | data, {"image/png": metadata}

    def _widget(self) -> Any:
        import anywidget  # only here: a run that nobody attends does without it

        def answer(widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
            shades = np.frombuffer(buffers[0], np.uint8)
            found: dict[str, Any]
            try:
                image, answers = self.read(shades.reshape(math.isqrt(shades.size), -1))
                found = {"image": image.ravel().tolist(), "answers": [[n, a.tolist()] for n, a in answers.items()]}
            except Exception as error:  # whatever a network of one's own raises: the page waits for an answer
                found = {"sentence": reason(error)}
            widget.send(found | {"asked": content["asked"]})

        widget = anywidget.AnyWidget(_esm=PAGE.read_text(encoding="utf-8"))
        widget.on_msg(answer)
        return widget


def _is_attended() -> bool:
    """Whether a person sees what the running cell displays.

    Jupyter's messages tell: a page lets code ask for input (`allow_stdin`); nbclient, on which papermill and
    nbconvert are built, and nbval do not, for nobody would answer.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent("shell").get("content", {}).get("allow_stdin"))
