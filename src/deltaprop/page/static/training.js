// <dp-training>: loss curves, and the size of W, δ and ∂W of each layer, during training.

import { make, short } from "./numbers.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [320, 150, 62, 18, 8];

class Training extends HTMLElement {
  epochs = [];

  connectedCallback() {
    this.status = make("p", { className: "status", role: "status" }, "Waiting for the first epoch…");
    this.charts = make("div", { className: "charts", tabIndex: 0, role: "region", "aria-label": "Curves" });
    this.replaceChildren(make("h2", {}, "Training"), this.status, this.charts);
  }

  add(epochs, finished) {
    this.epochs.push(...epochs);
    const last = this.epochs.at(-1);
    if (!last) return;
    const validation = last.validation_loss === null ? "" : `, on validation rows ${short(last.validation_loss)}`;
    this.status.textContent = `${finished ? "Finished after" : "Now at"} epoch ${last.epoch} of at most `
      + `${last.max_epochs}, ${last.seconds.toFixed(1)} s: loss ${short(last.loss)}${validation}.`;
    if (epochs.length > 0) this.#draw();
  }

  #draw() {
    const points = (of) => this.epochs.filter((e) => of(e) !== null && of(e) !== undefined).map((e) => [e.epoch, Number(of(e))]);
    const layers = Math.max(0, ...this.epochs.map((e) => e.layers?.length ?? 0));
    const each = (name) => Array.from({ length: layers }, (_, l) => ({
      name: `layer ${l}`, points: points((e) => e.layers?.[l]?.[name]) }));
    this.charts.replaceChildren(
      chart("Loss", [
        { name: "training", points: points((e) => e.loss) },
        { name: "validation", points: points((e) => e.validation_loss) },
      ]),
      ...(layers ? [
        chart("Size of the weights W", each("W")),
        chart("Size of the error signals δ", each("delta")),
        chart("Size of the gradients ∂W", each("dW")),
      ] : []));
  }
}

// A line chart on a logarithmic scale; it is empty if no number is positive.
function chart(title, series) {
  const drawn = series.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points).filter(([, y]) => y > 0 && Number.isFinite(y));
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const latest = drawn.map(({ name, points }) => `${name} ${short(points.at(-1)[1])}`);
  svg.setAttribute("aria-label", `${title} over the epochs. Latest: ${latest.join(", ")}.`);
  if (all.length > 0) {
    const xs = all.map(([x]) => x);
    const ys = all.map(([, y]) => Math.log10(y));
    let [low, high] = [Math.min(...ys), Math.max(...ys)];
    if (high - low < 0.1) [low, high] = [low - 0.05, high + 0.05];
    const [from, to] = [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)];
    const x = (v) => LEFT + ((v - from) / (to - from)) * (WIDTH - LEFT - 8);
    const y = (v) => TOP + ((high - Math.log10(v)) / (high - low)) * (HEIGHT - TOP - BOTTOM);
    for (const fraction of [0, 0.5, 1]) {
      const value = 10 ** (low + fraction * (high - low));
      svg.append(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value) }),
        text(LEFT - 5, y(value) + 4, short(value), "end"));
    }
    svg.append(text(LEFT, HEIGHT - 3, String(from), "start"), text(WIDTH - 8, HEIGHT - 3, `epoch ${to}`, "end"));
    drawn.forEach(({ points }, i) => {
      const line = points.filter(([, v]) => v > 0 && Number.isFinite(v)).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`);
      svg.append(shape("polyline", { class: `line line-${i % 6}`, points: line.join(" ") }));
    });
  }
  const keys = drawn.map(({ name, points }, i) => make("li", { className: `key key-${i % 6}` }, `${name} ${short(points.at(-1)[1])}`));
  return make("figure", {}, make("figcaption", {}, title), svg, make("ul", { className: "keys" }, ...keys));
}

function shape(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function text(x, y, words, anchor) {
  const element = shape("text", { x, y, "text-anchor": anchor });
  element.textContent = words;
  return element;
}

customElements.define("dp-training", Training);
