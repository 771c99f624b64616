// The page of helpers/pad.py: paper to draw on, the pixels that networks get, their probabilities.
//
// anywidget calls `render` for each place that shows the pad. While one draws, the page sends the
// drawing to the kernel: a random number, `asked`, and the grey values. The answer has the same
// number. A drawing is sent only once the one before is answered, so none pile up in a slow kernel.

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
const SIZE = 224 // pixels of the paper's sides
const PEN = 16 // pixels, the width of a stroke
const PAUSE = 80 // milliseconds between two questions, at least, while one draws
const PATIENCE = 2000 // milliseconds without an answer, until a sentence says so

// Append an element, with properties, to another, and return it.
function add(parent, tag, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties))
}

// Make a figure of one network's answer: the digit it reads, and a bar for each digit.
function bars([name, probabilities]) {
  const highest = Math.max(...probabilities)
  const digitRead = probabilities.indexOf(highest)
  const figure = document.createElement("div")
  add(figure, "p", { textContent: name })
  add(figure, "b", { textContent: `${digitRead}, ${highest.toFixed(2)}` })
  const inWords = probabilities.map((p, digit) => `${digit}: ${p.toFixed(2)}`).join()
  const rows = add(figure, "div", { role: "img", ariaLabel: inWords })
  probabilities.forEach((p, digit) => {
    const row = add(rows, "div", { className: "row", textContent: digit })
    add(row, "i").style = `width: ${90 * p}%; opacity: ${digit === digitRead ? 1 : 0.4}`
  })
  return figure
}

function render({ model, el }) {
  // --- what is on the page

  add(el, "style", { textContent: STYLE })
  const pad = add(el, "div", { className: "pad" })
  const paper = add(pad, "canvas", {
    className: "paper",
    width: SIZE,
    height: SIZE,
    role: "img",
    ariaLabel: "Paper: draw a digit with mouse, pen or finger",
  })
  const pen = paper.getContext("2d", { willReadFrequently: true })
  const side = add(pad, "div")
  const small = add(side, "canvas", {
    className: "small",
    width: 28,
    height: 28,
    role: "img",
    ariaLabel: "The 28 x 28 pixels that the networks are given",
  })
  const pixels = small.getContext("2d")
  add(side, "p", { textContent: "as networks get it" })
  add(side, "button", { textContent: "Clear", onclick: clear })
  const answers = add(pad, "div", { className: "answers", ariaLive: "polite" })

  function say(sentence) {
    answers.replaceChildren()
    add(answers, "p", { textContent: sentence })
  }

  // Show grey values as the networks get them: ink is light there, and dark on this page.
  function showPixels(image) {
    const rgba = image.flatMap(ink => [255 - ink, 255 - ink, 255 - ink, 255])
    pixels.putImageData(new ImageData(new Uint8ClampedArray(rgba), 28, 28), 0, 0)
  }

  function clear() {
    stopWaiting()
    asked = null // an answer that is still to come is of what has been cleared
    again = false
    Object.assign(pen, { fillStyle: "#fff", lineWidth: PEN, lineCap: "round", lineJoin: "round" })
    pen.fillRect(0, 0, SIZE, SIZE)
    pixels.clearRect(0, 0, 28, 28)
    say("Draw a digit.")
  }

  // --- questions to the kernel, and answers

  let asked = null // the number of the last question
  let sent = 0 // when it was sent, in milliseconds
  let waiting = false // whether its answer is still to come
  let again = false // whether the drawing has changed since
  let timer

  function ask() {
    if (waiting) {
      again = true // `show` asks again, once the answer is there
      return
    }
    again = false
    waiting = true
    answers.ariaBusy = true
    asked = Math.random()
    sent = performance.now()
    // Of the four values of each pixel, red, green, blue and alpha, the first is its grey value.
    const shades = pen.getImageData(0, 0, SIZE, SIZE).data.filter((_, place) => place % 4 === 0)
    clearTimeout(timer)
    timer = setTimeout(giveUp, PATIENCE)
    try {
      model.send({ asked }, undefined, [shades.buffer])
    } catch {
      giveUp("The kernel was restarted:")
    }
  }

  function stopWaiting() {
    clearTimeout(timer)
    waiting = false
    answers.ariaBusy = false
  }

  // Say that there is no answer. One that comes late is shown all the same.
  function giveUp(why = "No answer yet. If the kernel is not busy, it was restarted:") {
    stopWaiting()
    say(`${why} run all cells again.`)
  }

  function show(found) {
    if (found.asked !== asked) return // of what has been cleared, or of another view of this pad
    stopWaiting()
    pixels.clearRect(0, 0, 28, 28)
    if (found.sentence) {
      say(found.sentence)
    } else {
      showPixels(found.image)
      answers.replaceChildren(...found.answers.map(bars))
    }
    if (again) ask()
  }

  // --- drawing

  let last // where the pen was, in pixels of the paper

  function place(event) {
    const scale = SIZE / paper.clientWidth // a narrow page may show the paper smaller
    return [event.offsetX * scale, event.offsetY * scale]
  }

  paper.onpointerdown = event => {
    if (!event.isPrimary || event.button) return // a second finger, or not the main button
    paper.setPointerCapture(event.pointerId) // the stroke goes on though it leaves the paper
    last = place(event)
    paper.onpointermove(event) // a dot
  }
  paper.onpointermove = event => {
    if (!paper.hasPointerCapture(event.pointerId)) return
    const here = place(event)
    pen.beginPath()
    pen.moveTo(...last)
    pen.lineTo(...here)
    pen.stroke()
    last = here
    if (performance.now() - sent > PAUSE) ask()
  }
  paper.onlostpointercapture = ask // a stroke has ended

  clear()
  model.on("msg:custom", show)
  return () => { // anywidget calls this when the view goes
    clearTimeout(timer)
    model.off("msg:custom", show)
  }
}

export default { render }
