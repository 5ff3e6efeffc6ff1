// Numbers as text and as colours: blue is positive, orange negative. Colour-blind people can tell
// them apart.

const LIGHT = [[179, 88, 6], [244, 178, 102], [250, 250, 250], [128, 177, 222], [8, 81, 156]];
const DARK = [[255, 179, 92], [150, 84, 22], [30, 33, 40], [30, 88, 150], [124, 190, 255]];
const dark = matchMedia("(prefers-color-scheme: dark)");

export function onScheme(redraw) {
  dark.addEventListener("change", redraw);
}

// Three significant digits, with a minus sign (not a hyphen).
export function short(value) {
  const v = Number(value);
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "NaN" : v > 0 ? "∞" : "−∞";
  if (v === 0) return "0";
  const size = Math.abs(v);
  const text = size >= 1e4 || size < 1e-3
    ? v.toExponential(1).replace("e+", "e")
    : String(Number(v.toPrecision(3)));
  return text.replaceAll("-", "−");
}

// All digits of the network's precision, in the form that an input field accepts.
export function full(value, digits) {
  const v = Number(value);
  return Number.isFinite(v) ? String(Number(v.toPrecision(digits))) : short(v);
}

// [r, g, b] of a value between -most and most.
export function colour(value, most) {
  const v = Number(value);
  if (Number.isNaN(v)) return [128, 128, 128];
  const fraction = most > 0 ? Math.max(-1, Math.min(1, Number.isFinite(v) ? v / most : Math.sign(v))) : 0;
  const stops = dark.matches ? DARK : LIGHT;
  const at = (fraction + 1) * 2;
  const i = Math.min(3, Math.floor(at));
  return stops[i].map((low, c) => Math.round(low + (at - i) * (stops[i + 1][c] - low)));
}

// Black or white, whichever has more contrast with that colour.
export function ink([r, g, b]) {
  const [R, G, B] = [r, g, b].map((c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * R + 0.7152 * G + 0.0722 * B > 0.179 ? "#000" : "#fff";
}

// Paint a matrix with one pixel per cell.
export function paint(canvas, values, most) {
  canvas.width = values[0].length;
  canvas.height = values.length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  let at = 0;
  for (const row of values) {
    for (const value of row) {
      image.data.set([...colour(value, most), 255], at);
      at += 4;
    }
  }
  context.putImageData(image, 0, 0);
}

// Mark a field while the user types in it, so that `fill` does not overwrite it.
export function typing(input) {
  input.addEventListener("input", () => { input.dataset.typing = "yes"; });
  input.addEventListener("change", () => { delete input.dataset.typing; });
  return input;
}

export function fill(input, value) {
  if (!input.dataset.typing || document.activeElement !== input) input.value = value;
}

// Create an element with properties and children.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}
