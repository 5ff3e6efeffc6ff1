// <dp-row>: which rows are shown, a form for the first of them, and its prediction.

import { fill, full, make, short, typing } from "./numbers.js";

const MOST_FIELDS = 60;

class Row extends HTMLElement {
  build(network) {
    this.network = network;
    const last = network.n_rows - 1;
    this.first = make("input", { type: "number", min: 0, max: last, id: "row" });
    this.count = make("input", { type: "number", min: 1, max: Math.min(network.most_rows, network.n_rows), id: "count" });
    for (const input of [this.first, this.count]) {
      typing(input).addEventListener("change", () => this.#rows(Number(this.first.value)));
    }
    const button = (label, text, by) => {
      const element = make("button", { type: "button", "aria-label": label }, text);
      element.addEventListener("click", () => this.#rows(Number(this.first.value) + by));
      return element;
    };
    this.inputs = network.columns.slice(0, MOST_FIELDS).map((column, k) => this.#field("inputs", column, k));
    this.targets = network.targets.map((column, k) => this.#field("targets", column, k));
    this.outputs = make("dl", { className: "outputs" });
    this.prediction = make("p", { className: "prediction", "aria-live": "polite" });
    this.undo = make("button", { type: "button", className: "undo", hidden: true });
    this.undo.addEventListener("click", () => this.dispatchEvent(new CustomEvent("undo", { bubbles: true })));
    const more = network.columns.length - this.inputs.length;
    this.replaceChildren(
      make("h2", { tabIndex: -1 }, "Your row"),
      make("div", { className: "which" },
        button("Previous row", "‹", -1),
        make("label", {}, "row ", this.first), make("span", {}, `0 – ${last}`),
        button("Next row", "›", 1)),
      make("div", { className: "which" }, make("label", {}, "rows at once ", this.count)),
      make("details", { open: matchMedia("(min-width: 900px)").matches },
        make("summary", {}, "Inputs"),
        make("div", { className: "fields" }, ...this.inputs.map((field) => field.label)),
        ...(more > 0 ? [make("p", { className: "note" }, `and ${more} more: edit them in X₀.`)] : [])),
      make("h3", {}, "Target"),
      make("div", { className: "fields" }, ...this.targets.map((field) => field.label)),
      make("h3", {}, "Output"), this.prediction, this.outputs, this.undo);
  }

  show(answer, count, n_edits, isEdited) {
    this.answer = answer;
    fill(this.first, answer.first);
    fill(this.count, count);
    for (const [name, fields] of [["inputs", this.inputs], ["targets", this.targets]]) {
      fields.forEach(({ input, label, column }, k) => {
        const value = answer[name][0][k];
        const shown = value === null ? "" : name === "targets" && column.kind === "choice" ? String(value) : value;
        if (column.kind === "choice") offer(input, shown);
        fill(input, typeof shown === "number" ? full(shown, 9) : shown);
        label.classList.toggle("edited", isEdited(name, answer.first, k));
      });
    }
    this.prediction.hidden = answer.prediction === null;
    this.prediction.textContent = answer.prediction;
    const { outputs } = this.network;
    this.outputs.replaceChildren(...answer.yhat.slice(0, 20).flatMap((value, h) => [
      make("dt", {}, outputs[h]), make("dd", {}, short(value))]));
    this.undo.hidden = n_edits === 0;
    this.undo.textContent = `Undo ${n_edits === 1 ? "the edit" : `all ${n_edits} edits`}`;
  }

  #field(name, column, k) {
    let input;
    if (column.kind === "choice") {
      const options = column.choices.map((choice, i) => make("option", { value: name === "targets" ? i : choice }, choice));
      if (name === "inputs") options.unshift(make("option", { value: "" }, "(missing)"));
      input = make("select", {}, ...options);
    } else {
      input = make("input", column.kind === "number" ? { type: "number", step: "any" } : { type: "text" });
    }
    typing(input).addEventListener("change", () => {
      const number = column.kind === "number" || name === "targets";
      const value = input.value === "" ? null : number ? Number(input.value) : input.value;
      this.dispatchEvent(new CustomEvent("edit", {
        bubbles: true, detail: { of: name, row: 0, column: k, value },
      }));
    });
    const label = make("label", {}, make("span", {}, column.name), input);
    return { input, label, column };
  }

  #rows(first) {
    const last = this.network.n_rows - 1;
    const clean = (value, low, high) => Math.max(low, Math.min(high, Math.round(value) || 0));
    this.dispatchEvent(new CustomEvent("rows", {
      bubbles: true,
      detail: { first: clean(first, 0, last), count: clean(Number(this.count.value), 1, Number(this.count.max)) },
    }));
  }
}

// Add a category that did not occur in training to the choices.
function offer(select, value) {
  if (![...select.options].some((option) => option.value === value)) {
    select.append(make("option", { value }, value));
  }
}

customElements.define("dp-row", Row);
