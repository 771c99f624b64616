// The page of helpers/pad.py shows paper to draw on, the pixels that networks get, and answers.
//
// anywidget calls `render` for each view: each place that shows the pad. While one draws, the page
// sends the drawing to the kernel, as grey values with a number, `asked`. The answer has the same
// number. It comes to all views. The number is random: views that each counted from 0 would use the
// same numbers.
//
// While the page waits for an answer, it sends no other drawing, so that none pile up in a slow
// kernel. It stops waiting when the answer comes, after `PATIENCE`, when the paper is cleared, or if
// sending fails.

const STYLE = `
  .pad {
    display: flex; flex-wrap: wrap; align-items: flex-start; gap: 14px; padding: 6px;
    font: 13px system-ui, sans-serif;
    color: var(--jp-ui-font-color1, #222); background: var(--jp-layout-color1, #fff);
  }
  .pad p { margin: 4px 0 }
  .pad canvas { border: 1px solid #888; background: #fff }
  .pad .paper { touch-action: none; cursor: crosshair }
  .pad .small { width: 112px; image-rendering: pixelated }
  .pad button {
    font: inherit; color: inherit; background: none; border: 1px solid; padding: 4px 14px;
  }
  .pad .answers {
    display: grid; grid-template-columns: repeat(auto-fit, minmax(102px, 1fr)); flex: 1;
    gap: 10px; min-width: 326px;
  }
  .pad .answers > p { grid-column: 1 / -1 }
  .pad .answers div p { white-space: nowrap }
  .pad .row { display: flex; gap: 6px; line-height: 18px }
  .pad .row i { background: #3f90da; margin: 2px 0 }
`
// SIZE and PEN stand in pad.py, too: change both.
const SIZE = 224 // pixels of the paper's sides
const PEN = 16 // pixels, the width of a stroke
const SMALL = 28 // pixels of the sides of what networks get
const PAUSE = 80 // milliseconds at least from one drawing sent to the next during a stroke
const PATIENCE = 2000 // milliseconds without an answer, until a sentence says so
const INVITATION = "Draw a digit."
const NO_ANSWER = "No answer yet. If the kernel is not busy, it was restarted: run all cells again."
const RESTARTED = "The kernel was restarted: run all cells again."

// --- what is on the page

// Append an element, with properties, to another, and return it.
function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties))
}

// Fill an element with the pad, and return the pad's parts.
function layOut(el) {
  add(el, "style", { textContent: STYLE })
  const pad = add(el, "div", { className: "pad" })
  const paper = add(pad, "canvas", {
    className: "paper",
    width: SIZE,
    height: SIZE,
    role: "img",
    ariaLabel: "Paper: draw a digit with mouse, pen or finger",
  })
  const side = add(pad, "div")
  const small = add(side, "canvas", {
    className: "small",
    width: SMALL,
    height: SMALL,
    role: "img",
    ariaLabel: "The 28 x 28 pixels that the networks are given",
  })
  add(side, "p", { textContent: "as networks get it" })
  const button = add(side, "button", { textContent: "Clear" })
  const answers = add(pad, "div", { className: "answers", ariaLive: "polite" })
  return { paper, small, button, answers }
}

// Make a figure of one network's answer: the digit it predicts, and a bar for each digit.
function answerFigure([name, probabilities]) {
  const highest = Math.max(...probabilities)
  const predicted = probabilities.indexOf(highest)
  const figure = document.createElement("div")
  add(figure, "p", { textContent: name })
  add(figure, "b", { textContent: `${predicted}, ${highest.toFixed(2)}` })
  const inWords = probabilities.map((p, digit) => `${digit}: ${p.toFixed(2)}`).join()
  const rows = add(figure, "div", { role: "img", ariaLabel: inWords })
  probabilities.forEach((p, digit) => {
    const row = add(rows, "div", { className: "row", textContent: digit })
    const bar = add(row, "i")
    bar.style.width = `${90 * p}%`
    bar.style.opacity = digit === predicted ? 1 : 0.4
  })
  return figure
}

// Say a sentence in place of the answers.
function say(answers, sentence) {
  answers.replaceChildren()
  add(answers, "p", { textContent: sentence })
}

// Show the pixels that networks get. Their ink is light, and is shown dark, as on the paper.
function showPixels(small, image) {
  const rgba = image.flatMap(ink => [255 - ink, 255 - ink, 255 - ink, 255])
  const pixels = new ImageData(new Uint8ClampedArray(rgba), SMALL, SMALL)
  small.getContext("2d").putImageData(pixels, 0, 0)
}

function clearPixels(small) {
  small.getContext("2d").clearRect(0, 0, SMALL, SMALL)
}

// --- the paper

// Return a pen for the paper, whose pixels the browser keeps where they are read fast.
function takePen(paper) {
  const pen = paper.getContext("2d", { willReadFrequently: true })
  return Object.assign(pen, {
    fillStyle: "#fff",
    lineWidth: PEN,
    lineCap: "round",
    lineJoin: "round",
  })
}

// Return the grey values of the paper, row by row.
function greyValues(pen) {
  const rgba = pen.getImageData(0, 0, SIZE, SIZE).data
  const shades = new Uint8Array(SIZE * SIZE)
  for (let place = 0; place < shades.length; place++) {
    shades[place] = rgba[4 * place] // red; green and blue are the same
  }
  return shades
}

// Let one draw on the paper. `changed` is called after each piece of a stroke, `ended` at its end.
function letDraw(paper, pen, changed, ended) {
  let last // where the pen was, in pixels of the paper

  function place(event) {
    const scale = SIZE / paper.clientWidth // a narrow page may show the paper smaller
    return [event.offsetX * scale, event.offsetY * scale]
  }

  function drawTo(here) {
    pen.beginPath()
    pen.moveTo(...last)
    pen.lineTo(...here)
    pen.stroke()
    last = here
    changed()
  }

  paper.onpointerdown = event => {
    if (!event.isPrimary || event.button) return // a second finger, or not the main button
    paper.setPointerCapture(event.pointerId) // the stroke goes on though it leaves the paper
    last = place(event)
    drawTo(last) // so that a click leaves a dot
  }
  paper.onpointermove = event => {
    if (paper.hasPointerCapture(event.pointerId)) drawTo(place(event))
  }
  paper.onlostpointercapture = ended
}

// --- what the page does
//
// A page is idle or waits for an answer:
// idle -> (ask) -> waiting -> (show | giveUp | clear) -> idle.
// If the drawing has changed while it waits, `show` asks again.
// After `giveUp` a late answer is still shown; after `clear` it isn't.

function render({ model, el }) {
  const { paper, small, button, answers } = layOut(el)
  const pen = takePen(paper)
  let asked = null // the number of the last drawing sent, unless it has been cleared
  let sentAt = 0 // when it was sent, in milliseconds
  let waiting = false // whether the page waits for its answer
  let changedSince = false // whether the drawing has changed while the page waits
  let timer // ends the wait

  // Send the drawing: at once, or after the answer that the page waits for.
  function ask() {
    if (waiting) {
      changedSince = true
      return
    }
    changedSince = false
    waiting = true
    answers.ariaBusy = true
    asked = Math.random()
    sentAt = performance.now()
    timer = setTimeout(() => giveUp(NO_ANSWER), PATIENCE)
    const drawing = greyValues(pen)
    try {
      model.send({ asked }, undefined, [drawing.buffer])
    } catch {
      giveUp(RESTARTED)
    }
  }

  // Send the drawing during a stroke, not more often than `PAUSE` allows.
  function askNowAndThen() {
    if (performance.now() - sentAt > PAUSE) ask()
  }

  function stopWaiting() {
    clearTimeout(timer)
    waiting = false
    answers.ariaBusy = false
  }

  // Say why there is no answer. `asked` stays, so that `show` still shows a late one.
  function giveUp(why) {
    stopWaiting()
    say(answers, why)
  }

  function show(found) {
    if (found.asked !== asked) return // for an older or cleared drawing, or for another view
    stopWaiting()
    clearPixels(small)
    if (found.sentence) {
      say(answers, found.sentence)
    } else {
      showPixels(small, found.image)
      answers.replaceChildren(...found.answers.map(answerFigure))
    }
    if (changedSince) ask()
  }

  function clear() {
    stopWaiting()
    asked = null // so that `show` ignores an answer for the cleared drawing
    changedSince = false
    pen.fillRect(0, 0, SIZE, SIZE)
    clearPixels(small)
    say(answers, INVITATION)
  }

  clear()
  button.onclick = clear
  letDraw(paper, pen, askNowAndThen, ask)
  model.on("msg:custom", show)
  return () => { // anywidget calls this when the view goes
    clearTimeout(timer)
    model.off("msg:custom", show)
  }
}

export default { render }
