"""A pad to draw a digit on, in the notebook's page: networks read it while one draws."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from IPython import get_ipython
from PIL import Image, ImageDraw

from helpers import plots
from helpers.checks import reason
from helpers.handwriting import as_mnist

TO_DRAW = "To draw a digit here, run all cells in JupyterLab, Jupyter Notebook or VS Code."
TO_INSTALL = "To draw a digit here, install the package anywidget, restart the kernel and run all cells."
# A 3, on paper of 224 x 224 pixels.
EXAMPLE = [66, 66, 92, 42, 136, 46, 150, 78, 128, 100, 96, 106, 136, 112, 158, 140, 136, 176, 64, 170]


def draw(networks: Mapping[str, Any]) -> "Pad":
    """A pad to draw on, where a person runs the cell whose value it is; elsewhere a picture of it, with a sentence.

    What reads the drawings has a name and a `predict`, such as that of `training.TrainedModel`.
    """
    return Pad(networks)


@dataclass(frozen=True)
class Pad:
    """What `draw` returns."""

    networks: Mapping[str, Any]

    def read(self, drawing: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The image that `as_mnist` makes of a drawing, and the networks' answers."""
        image = as_mnist(drawing, "drawing")
        return image, {name: network.predict(image[np.newaxis])[0] for name, network in self.networks.items()}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        sentence, shown = TO_DRAW, dict[str, Any]()
        if _is_attended():
            try:
                shown = self._widget()._repr_mimebundle_()[0]
            except ImportError:
                sentence = TO_INSTALL
        # Also beside the widget, for pages that show none: a notebook that was saved with it can be read on GitHub.
        picture, png = Image.new("L", (224, 224), 255), io.BytesIO()
        ImageDraw.Draw(picture).line(EXAMPLE, fill=0, width=16, joint="curve")
        drawing = np.asarray(picture)
        plots.handwriting(drawing, *self.read(drawing), sentence).savefig(png)
        return shown | {"text/plain": sentence, "image/png": base64.b64encode(png.getvalue()).decode()}

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

        widget = anywidget.AnyWidget(_esm=JAVASCRIPT)
        widget.on_msg(answer)
        return widget


def _is_attended() -> bool:
    """Whether a person sees what the running cell displays.

    Jupyter's messages tell: a page lets code ask for input (`allow_stdin`); nbclient, on which papermill and
    nbconvert are built, and nbval do not, for nobody would answer.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


# The page sends a drawing only once the one before is answered, so none piles up in a slow kernel.
JAVASCRIPT = """
const STYLE = `.pad { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 14px; padding: 6px;
    font: 13px system-ui, sans-serif; color: var(--jp-ui-font-color1, #222); background: var(--jp-layout-color1, #fff) }
  .pad canvas { border: 1px solid #888; background: #fff } .pad p { margin: 4px 0 }
  .pad .paper { touch-action: none; cursor: crosshair } .pad .small { width: 112px; image-rendering: pixelated }
  .pad button { font: inherit; color: inherit; background: none; border: 1px solid; padding: 4px 14px }
  .pad .answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(102px, 1fr)); flex: 1; gap: 10px;
    min-width: 326px } .pad .answers > p { grid-column: 1 / -1 } .pad .answers div p { white-space: nowrap }
  .pad .row { display: flex; gap: 6px; line-height: 18px } .pad .row i { background: #3f90da; margin: 2px 0 }`
const SIZE = 224, PEN = 16, PAUSE = 80, PATIENCE = 2000  // pixels and milliseconds

function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties))
}
function render({ model, el }) {
  add(el, "style", { textContent: STYLE })
  const pad = add(el, "div", { className: "pad" })
  const paper = add(pad, "canvas", { className: "paper", width: SIZE, height: SIZE, role: "img", ariaLabel:
    "Paper: draw a digit with mouse, pen or finger" }), pen = paper.getContext("2d", { willReadFrequently: true })
  const side = add(pad, "div"), small = add(side, "canvas", { className: "small", width: 28, height: 28, role: "img",
    ariaLabel: "The 28 x 28 pixels that the networks are given" }), pixels = small.getContext("2d")
  add(side, "p", { textContent: "as networks get it" })
  add(side, "button", { textContent: "Clear", onclick: clear })
  const answers = add(pad, "div", { className: "answers", ariaLive: "polite" })
  let asked, waiting, again, timer, last, sent = 0

  function say(sentence) { answers.replaceChildren(); add(answers, "p", { textContent: sentence }) }
  function clear() {
    clearTimeout(timer); asked = waiting = again = null; answers.ariaBusy = false
    Object.assign(pen, { fillStyle: "#fff", lineWidth: PEN, lineCap: "round", lineJoin: "round" })
    pen.fillRect(0, 0, SIZE, SIZE); pixels.clearRect(0, 0, 28, 28); say("Draw a digit.")
  }
  function ask() {
    if (again = waiting) return  // `show` asks again
    asked = Math.random(); waiting = true; sent = performance.now(); answers.ariaBusy = true
    const shades = pen.getImageData(0, 0, SIZE, SIZE).data.filter((_, place) => place % 4 === 0)
    clearTimeout(timer); timer = setTimeout(giveUp, PATIENCE)
    try { model.send({ asked }, undefined, [shades.buffer]) } catch { giveUp("The kernel was restarted:") }
  }
  function giveUp(why = "No answer yet. If the kernel is not busy, it was restarted:") {
    clearTimeout(timer); waiting = false; answers.ariaBusy = false; say(`${why} run all cells again.`)
  }
  function show(found) {
    if (found.asked !== asked) return  // of what has been cleared, or of another view of this pad
    clearTimeout(timer); waiting = false; answers.ariaBusy = false
    pixels.clearRect(0, 0, 28, 28)
    if (found.sentence) say(found.sentence)
    else {
      const shades = found.image.flatMap(ink => [255 - ink, 255 - ink, 255 - ink, 255])
      pixels.putImageData(new ImageData(new Uint8ClampedArray(shades), 28, 28), 0, 0)
      answers.replaceChildren(...found.answers.map(bars))
    }
    if (again) ask()
  }
  function bars([name, answer]) {
    const most = Math.max(...answer), best = answer.indexOf(most), figure = document.createElement("div")
    add(figure, "p", { textContent: name }); add(figure, "b", { textContent: `${best}, ${most.toFixed(2)}` })
    const rows = add(figure, "div", { role: "img", ariaLabel: answer.map((p, digit) => `${digit}: ${p.toFixed(2)}`) })
    answer.forEach((p, digit) => {
      const row = add(rows, "div", { className: "row", textContent: digit })
      add(row, "i").style = `width: ${90 * p}%; opacity: ${digit === best ? 1 : 0.4}`
    })
    return figure
  }
  function point(event) { return [event.offsetX, event.offsetY].map(at => at * SIZE / paper.clientWidth) }
  paper.onpointerdown = event => {
    if (!event.isPrimary || event.button) return
    paper.setPointerCapture(event.pointerId); last = point(event); paper.onpointermove(event)
  }
  paper.onpointermove = event => {
    if (!paper.hasPointerCapture(event.pointerId)) return
    pen.beginPath(); pen.moveTo(...last); pen.lineTo(...(last = point(event))); pen.stroke()
    if (performance.now() - sent > PAUSE) ask()
  }
  paper.onlostpointercapture = ask
  model.on("msg:custom", show); clear()
  return () => { clearTimeout(timer); model.off("msg:custom", show) }
}
export default { render }
"""
