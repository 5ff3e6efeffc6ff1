// <dp-matrix>: one matrix as a heat map. Small ones are tables of numbers; larger ones are drawn on
// a canvas. The number of the selected cell is shown below, and can be edited if Python allows it.

import { colour, fill, full, ink, make, onScheme, paint, short, typing } from "./numbers.js";

const MOST_IN_TABLE = 640; // cells
const ARROWS = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
};

class Matrix extends HTMLElement {
  selected = [0, 0];
  marks = {};

  connectedCallback() {
    onScheme(() => this.#paint());
  }

  // Show the numbers of one response. Elements of the same matrix are reused, so they keep the focus.
  show(matrix, isEdited) {
    const [rows, columns] = [matrix.values.length, matrix.values[0].length];
    const same = this.matrix?.key === matrix.key && this.matrix.values.length === rows
      && this.matrix.values[0].length === columns;
    this.matrix = matrix;
    this.isEdited = isEdited;
    this.selected = [Math.min(this.selected[0], rows - 1), Math.min(this.selected[1], columns - 1)];
    if (!same) this.#build();
    this.#legend();
    this.#paint();
    this.#readout();
  }

  // Mark the row and column that the selected entry of the result is computed from.
  mark(marks) {
    this.marks = marks;
    this.#outline();
  }

  select(row, column, focus = false) {
    const { values } = this.matrix;
    this.selected = [
      Math.max(0, Math.min(values.length - 1, row)),
      Math.max(0, Math.min(values[0].length - 1, column)),
    ];
    this.#outline();
    this.#readout();
    if (focus && this.cells) this.cells[this.selected[0]][this.selected[1]].focus();
    if (this.canvas) this.cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.dispatchEvent(new CustomEvent("cell", { bubbles: true }));
  }

  get name() {
    return `${this.matrix.key.replace("_", " ")}, ${this.matrix.name}`;
  }

  #build() {
    const { matrix } = this;
    const [R, C] = matrix.shape;
    this.dataset.key = matrix.key;
    this.replaceChildren();
    const symbol = make("span", { className: "symbol" });
    symbol.innerHTML = `<math>${matrix.symbol}</math>`;
    this.low = make("span");
    this.high = make("span");
    const cut = R > matrix.values.length || C > matrix.values[0].length;
    this.append(make("div", { className: "caption" },
      symbol,
      make("span", { className: "kind" }, matrix.name),
      make("span", { className: "shape" }, `${R} × ${C}${cut ? ", the first entries" : ""}`),
      make("span", { className: "legend" },
        this.low, make("span", { className: "ramp", role: "img", "aria-label": "Colours from orange (negative) through 0 to blue (positive)" }), this.high)));
    this.box = make("div", { className: "box" });
    this.cells = this.canvas = null;
    if (matrix.values.length * matrix.values[0].length <= MOST_IN_TABLE) this.#table();
    else this.#picture();
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.append(this.box, this.#form());
  }

  #table() {
    const { matrix } = this;
    this.cells = matrix.values.map((row, r) => row.map((_, c) => {
      const cell = make("td", { tabIndex: -1, role: "gridcell" });
      cell.addEventListener("click", () => this.select(r, c, true));
      cell.addEventListener("focus", () => {
        if (this.selected[0] !== r || this.selected[1] !== c) this.select(r, c);
      });
      if (matrix.edits) cell.addEventListener("dblclick", () => this.input.select());
      return cell;
    }));
    const head = make("tr", {}, make("td"), ...matrix.columns.map((name) => make("th", { scope: "col", title: name }, make("span", {}, name))));
    const body = this.cells.map((row, r) => make("tr", {},
      make("th", { scope: "row", title: matrix.rows[r] }, make("span", {}, matrix.rows[r])), ...row));
    this.box.append(make("table", { role: "grid", "aria-label": this.name }, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  #picture() {
    const [R, C] = [this.matrix.values.length, this.matrix.values[0].length];
    this.size = Math.max(4, Math.min(16, Math.floor(2000 / Math.max(R, C))));
    this.canvas = make("canvas");
    this.canvas.style.width = `${C * this.size}px`;
    this.canvas.style.height = `${R * this.size}px`;
    this.cursor = make("div", { className: "cursor" });
    this.bands = [make("div", { className: "band" }), make("div", { className: "band" })];
    const picture = make("div", { className: "picture", tabIndex: 0, role: "application",
      "aria-roledescription": "heat map",
      "aria-label": `${this.name}, ${R} by ${C}. The arrow keys move from cell to cell.` },
      this.canvas, ...this.bands, this.cursor);
    const place = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [Math.floor((event.clientY - box.top) / this.size), Math.floor((event.clientX - box.left) / this.size)];
    };
    picture.addEventListener("click", (event) => this.select(...place(event)));
    picture.addEventListener("pointermove", (event) => {
      const [r, c] = place(event);
      picture.title = this.matrix.values[r]?.[c] === undefined ? "" : this.#text(r, c);
    });
    this.box.append(picture);
  }

  #form() {
    this.label = make("span", { "aria-live": "polite" });
    if (!this.matrix.edits) return make("p", { className: "readout" }, this.label);
    this.input = make("input", { type: "number", step: "any", "aria-label": `New value in ${this.name}` });
    typing(this.input).addEventListener("change", () => this.#edit());
    const form = make("form", { className: "readout" }, this.label, this.input);
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }

  #edit() {
    if (this.input.value === "" || this.input.value === this.input.dataset.shown) return;
    const [row, column] = this.selected;
    this.dispatchEvent(new CustomEvent("edit", {
      bubbles: true,
      detail: { of: this.matrix.edits, key: this.matrix.key, row, column, value: Number(this.input.value) },
    }));
  }

  #key(event) {
    if (event.key in ARROWS) {
      const [down, right] = ARROWS[event.key];
      this.select(this.selected[0] + down, this.selected[1] + right, true);
    } else if (event.key === "Home" || event.key === "End") {
      this.select(this.selected[0], event.key === "Home" ? 0 : Infinity, true);
    } else if (event.key === "Enter" && this.input) {
      this.input.focus();
      this.input.select();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #text(row, column) {
    const { matrix } = this;
    return `${matrix.rows[row]}, ${matrix.columns[column]}: ${full(matrix.values[row][column], matrix.digits).replaceAll("-", "−")}`;
  }

  #legend() {
    this.low.textContent = `−${short(this.matrix.most)}`;
    this.high.textContent = short(this.matrix.most);
  }

  #paint() {
    if (!this.matrix) return;
    const { values, most, rows, columns } = this.matrix;
    if (this.canvas) paint(this.canvas, values, Number(most));
    this.cells?.forEach((row, r) => row.forEach((cell, c) => {
      const value = values[r][c];
      const background = colour(value, Number(most));
      cell.textContent = short(value);
      cell.style.backgroundColor = `rgb(${background})`;
      cell.style.color = ink(background);
      cell.title = this.#text(r, c);
      cell.classList.toggle("edited", this.isEdited(r, c));
    }));
    this.#outline();
  }

  #outline() {
    const [row, column] = this.selected;
    const { row: inRow, column: inColumn } = this.marks;
    if (this.canvas) {
      const frame = (element, top, left, height, width) => {
        Object.assign(element.style, { top: `${top * this.size}px`, left: `${left * this.size}px`,
          height: `${height * this.size}px`, width: `${width * this.size}px` });
      };
      const [R, C] = [this.matrix.values.length, this.matrix.values[0].length];
      frame(this.cursor, row, column, 1, 1);
      this.bands[0].hidden = inRow === undefined;
      this.bands[1].hidden = inColumn === undefined;
      if (inRow !== undefined) frame(this.bands[0], inRow, 0, 1, C);
      if (inColumn !== undefined) frame(this.bands[1], 0, inColumn, R, 1);
    }
    this.cells?.forEach((cells, r) => cells.forEach((cell, c) => {
      const here = r === row && c === column;
      cell.tabIndex = here ? 0 : -1;
      cell.setAttribute("aria-selected", here);
      const marked = (inRow !== undefined || inColumn !== undefined)
        && (inRow ?? r) === r && (inColumn ?? c) === c;
      cell.classList.toggle("marked", marked);
    }));
  }

  #readout() {
    const { matrix } = this;
    const [row, column] = this.selected;
    this.label.textContent = this.#text(row, column);
    if (!matrix.edits) return;
    const edited = this.isEdited(row, column) ? " (edited)" : "";
    this.label.textContent = `${matrix.rows[row]}, ${matrix.columns[column]}${edited}:`;
    const shown = full(matrix.values[row][column], matrix.digits);
    fill(this.input, shown);
    this.input.dataset.shown = shown;
  }
}

customElements.define("dp-matrix", Matrix);
