// <dp-steps>: every equation of the pass in order, each with a strip of its numbers as colours; the
// active one is highlighted.

import { make, onScheme, paint, short } from "./numbers.js";

const HEADINGS = { forward: "Forward", loss: "Loss", backward: "Backward" };

class Steps extends HTMLElement {
  build(steps) {
    this.items = {};
    const lists = Object.entries(HEADINGS).map(([phase, heading]) => {
      const items = steps.filter((step) => step.phase === phase).map((step) => this.#item(step));
      return make("section", {}, make("h3", {}, heading), make("ol", {}, ...items));
    });
    this.replaceChildren(make("h2", {}, "All equations"), ...lists);
    onScheme(() => this.#paint());
  }

  show(active, strips) {
    this.strips = strips;
    for (const [key, item] of Object.entries(this.items)) {
      const here = key === active;
      if (here && item.button.getAttribute("aria-current") !== "step") this.#reveal(item.button);
      if (here) item.button.setAttribute("aria-current", "step");
      else item.button.removeAttribute("aria-current");
      item.rms.textContent = `rms ${short(strips[key].rms)}`;
    }
    this.#paint();
  }

  #item(step) {
    const formula = make("span", { className: "equation" });
    formula.innerHTML = step.formula;
    const strip = make("canvas", { "aria-hidden": "true" });
    const rms = make("span", { className: "rms" });
    const button = make("button", { type: "button", "aria-label": step.title }, formula, strip, rms);
    button.dataset.key = step.key;
    button.addEventListener("click", () => this.dispatchEvent(
      new CustomEvent("step", { bubbles: true, detail: step.key })));
    this.items[step.key] = { button, strip, rms };
    return make("li", {}, button);
  }

  // Scroll this list, not the page.
  #reveal(button) {
    const [top, bottom] = [button.offsetTop - this.offsetTop, button.offsetTop - this.offsetTop + button.offsetHeight];
    if (top < this.scrollTop) this.scrollTop = top - 40;
    else if (bottom > this.scrollTop + this.clientHeight) this.scrollTop = bottom - this.clientHeight + 40;
  }

  #paint() {
    for (const [key, { strip }] of Object.entries(this.items)) {
      const { values, most } = this.strips[key];
      strip.hidden = values === null;
      if (values !== null) paint(strip, values, Number(most));
    }
  }
}

customElements.define("dp-steps", Steps);
