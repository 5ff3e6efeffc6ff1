// Entry point: requests data from Python and passes it to the custom elements.

import "./row.js";
import "./stage.js";
import "./steps.js";
import "./training.js";
import { short } from "./numbers.js";

const POLL = 300; // ms
const $ = (selector) => document.querySelector(selector);
const parts = { row: $("dp-row"), steps: $("dp-steps"), stage: $("dp-stage"), training: $("dp-training") };

let network;
const view = { step: "a_0", first: 0, count: 1, entry: [0, 0] };
const edits = { inputs: new Map(), targets: new Map(), W: new Map(), b: new Map() };

async function ask(path, body) {
  const options = body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("Python no longer serves this page.");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function say(message) {
  $("#message").textContent = message;
  $("#message").hidden = message === "";
}

// ---------------------------------------------------------------- requests

let traceRequests = 0;
let entryRequests = 0;
let latest; // the response that is shown

function post(path) {
  const body = { ...view };
  for (const [name, values] of Object.entries(edits)) {
    body[name] = [...values].map(([place, value]) => [...place.split(",").map(Number), value]);
  }
  return ask(path, body);
}

// Request the numbers of this view. If several requests are pending, only the last response is shown.
async function refresh() {
  const request = ++traceRequests;
  const { entry } = view;
  let answer;
  try {
    answer = await post("api/trace");
  } catch (error) {
    if (request === traceRequests) say(error.message);
    return false;
  }
  if (request === traceRequests) {
    say("");
    show(answer);
    view.entry = parts.stage.result.selected;
    if (String(entry) !== String(view.entry)) work();
  }
  return true;
}

// Request another entry of the result that is shown.
async function work() {
  const [request, trace] = [++entryRequests, traceRequests];
  try {
    const answer = await post("api/worked");
    if (request !== entryRequests || trace !== traceRequests) return;
    latest.worked = answer;
    parts.stage.work(answer);
  } catch (error) {
    say(error.message);
  }
}

function show(answer) {
  latest = answer;
  const { steps } = network;
  const at = steps.findIndex((step) => step.key === answer.step);
  const n_edits = Object.values(edits).reduce((n, values) => n + values.size, 0);
  $("#loss").textContent = `L = ${short(answer.loss)}`;
  $("#where").textContent = `${at + 1} of ${steps.length}`;
  $("#first").disabled = $("#back").disabled = at === 0;
  $("#last").disabled = $("#next").disabled = at === steps.length - 1;
  parts.row.show(answer, view.count, n_edits, (name, row, column) => edits[name].has(`${row},${column}`));
  parts.steps.show(answer.step, answer.strips);
  parts.stage.show(steps[at], answer, (matrix, row, column) =>
    matrix.edits !== null && edits[matrix.edits].has(place(matrix.edits, matrix.key, row, column)));
  document.body.dataset.step = answer.step;
}

// ---------------------------------------------------------------- stepping

function go(key) {
  if (key !== view.step) view.entry = [0, 0];
  view.step = key;
  refresh();
}

function stepBy(by) {
  const { steps } = network;
  const at = steps.findIndex((step) => step.key === view.step);
  go(steps[Math.max(0, Math.min(steps.length - 1, at + by))].key);
}

const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

document.addEventListener("keydown", (event) => {
  const elsewhere = event.target.closest("input, select, textarea, .box");
  if (!network || elsewhere || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.key in KEYS) {
    stepBy(KEYS[event.key]);
    event.preventDefault();
  }
});
document.addEventListener("step", (event) => go(event.detail));
document.addEventListener("entry", ({ detail }) => {
  view.entry = detail;
  work();
});
for (const [id, by] of [["first", -Infinity], ["back", -1], ["next", 1], ["last", Infinity]]) {
  $(`#${id}`).addEventListener("click", () => stepBy(by));
}

// ---------------------------------------------------------------- editing

// The key of an edit: a row and column of the data, or a layer and an entry of its parameters.
function place(of, key, row, column) {
  if (of === "inputs" || of === "targets") return `${view.first + row},${column}`;
  const l = key.split("_")[1];
  return of === "W" ? `${l},${row},${column}` : `${l},${column}`;
}

document.addEventListener("edit", async ({ detail: { of, key, row, column, value } }) => {
  const where = place(of, key, row, column);
  const before = edits[of].get(where);
  edits[of].set(where, value);
  if (await refresh()) return;
  if (before === undefined) edits[of].delete(where); // Python rejected it, and its message is shown
  else edits[of].set(where, before);
  show(latest);
});

document.addEventListener("undo", () => {
  for (const values of Object.values(edits)) values.clear();
  refresh();
  $("dp-row h2").focus();
});

document.addEventListener("rows", ({ detail }) => {
  Object.assign(view, detail);
  refresh();
});

// ---------------------------------------------------------------- start, and training

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function start() {
  network = await ask("api/network");
  parts.training.hidden = !network.live;
  while (!network.ready) {
    $("#network").textContent = "Waiting for training to start…";
    await pause(POLL);
    network = await ask("api/network");
  }
  $("#network").textContent = `${network.title}, ${network.loss}`;
  document.title = `${network.title} · deltaprop`;
  parts.row.build(network);
  parts.steps.build(network.steps);
  for (const part of [parts.row, parts.steps, parts.stage, $("nav")]) part.hidden = false;
  await refresh();
  if (network.live) await follow();
}

async function follow() {
  let after = 0;
  for (let finished = false; ; await pause(finished ? 4 * POLL : POLL)) {
    const update = await ask(`api/epochs?after=${after}`);
    const changed = update.total > after || update.finished !== finished;
    after = update.total;
    finished = update.finished;
    if (!changed) continue;
    parts.training.add(update.epochs, finished);
    await refresh();
  }
}

start().catch((error) => say(error.message));
