// The page of helpers/pad.py. It sends a drawing only once the one before is answered, so none piles up in a slow kernel.
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
