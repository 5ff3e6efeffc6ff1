// <dp-stage>: the active equation, its matrices, and one entry of the result written out with numbers.

import "./matrix.js";
import { make } from "./numbers.js";

class Stage extends HTMLElement {
  connectedCallback() {
    this.addEventListener("cell", (event) => {
      if (event.target === this.result) {
        this.dispatchEvent(new CustomEvent("entry", { bubbles: true, detail: this.result.selected }));
      }
    });
  }

  show(step, answer, isEdited) {
    if (this.step?.key !== step.key) this.#build(step);
    for (const element of this.querySelectorAll("dp-matrix")) {
      const key = element.key;
      element.show(answer.matrices[key], (row, column) => isEdited(answer.matrices[key], row, column));
    }
    this.work(answer.worked);
  }

  // Write out the selected entry, and mark the rows and columns that it is computed from.
  work({ text, marks }) {
    this.line.textContent = text;
    for (const element of this.querySelectorAll(".operands dp-matrix")) {
      element.mark(marks[element.key] ?? {});
    }
  }

  #build(step) {
    this.step = step;
    const formula = make("div", { className: "formula", tabIndex: 0, role: "group", "aria-label": "The active equation" });
    formula.innerHTML = step.formula.replace("<math", '<math display="block"');
    this.line = make("p", { className: "worked", "aria-live": "polite" });
    const matrix = (key) => Object.assign(make("dp-matrix"), { key });
    this.result = matrix(step.key);
    this.replaceChildren(
      make("p", { className: `phase ${step.phase}` }, { forward: "Forward", loss: "Loss", backward: "Backward" }[step.phase]),
      make("h2", { id: "title" }, step.title),
      formula,
      make("p", { className: "note" }, step.note),
      ...(step.way.length ? [way(step.way)] : []),
      make("section", { className: "result", "aria-label": "Result" }, this.result, this.line),
      make("section", { className: "operands", "aria-label": "Computed from" },
        make("h3", {}, "Computed from"), ...step.operands.map(matrix)));
  }
}

// The lines that lead to an equation, each below the rule that leads to it; closed at first.
function way(lines) {
  const shown = lines.map(({ rule, formula, source }) => {
    const why = make("p", { className: "rule" });
    why.innerHTML = rule;
    const equation = make("p", { className: "line" });
    equation.innerHTML = `${formula} <span class="source">(${source})</span>`;
    return make("li", {}, ...(rule ? [why] : []), equation);
  });
  return make("details", { className: "way" }, make("summary", {}, "How this follows, line by line"), make("ol", {}, ...shown));
}

customElements.define("dp-stage", Stage);
